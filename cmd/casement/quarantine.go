package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/web"
)

func (c *cli) quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "Look at alerts that could not be read, read them again, or drop them",
		Long: `A body that no reader understands, or only in part, is kept whole until a person decides.
Nothing in it is a case yet. Mend what reads it (a mapping file, docs/mapping.md), then
release it: it is read again, and what became of it is told.`,
		Example: "  casement quarantine list\n  casement quarantine show 7\n  casement quarantine release 7 --mapping acme.yaml\n  casement quarantine drop 7 -m \"a test of the sender\"",
	}
	cmd.AddCommand(c.quarantineListCommand(), c.quarantineShowCommand(), c.quarantineReleaseCommand(), c.quarantineDropCommand())
	return cmd
}

func (c *cli) quarantineListCommand() *cobra.Command {
	var source string
	var after int64
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what could not be read, oldest first",
		Example: "  casement quarantine list\n  casement quarantine list --source github -o jsonl",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.Flags().StringVar(&source, "source", "", "`name` of a source: only its bodies")
	cmd.Flags().Int64Var(&after, "after", 0, "`number` of a body: only later ones (the next page)")
	cmd.Flags().IntVar(&limit, "limit", 100, "`number` of bodies to list at most")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		q := url.Values{"source": {source}, "after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Bodies []web.Body `json:"bodies"`
				Next   int64      `json:"next"`
			}
			if err := k.call(ctx, "GET", "/api/v1/quarantine?"+q.Encode(), nil, &out); err != nil {
				return err
			}
			return emit(c, f, out.Bodies, func(list []web.Body) {
				if len(list) == 0 {
					fmt.Fprintln(c.out, "nothing in quarantine")
					return
				}
				now := c.now()
				tab := newTable("body", "source", "received", "size", "waits for", "why~")
				for _, b := range list {
					tab.add(strconv.FormatInt(b.ID, 10), b.Source, span(now.Sub(b.ReceivedAt))+" ago", bytesWord(int64(b.Bytes)), b.Owner, b.Why)
				}
				tab.print(c.term, "")
				if out.Next > 0 {
					c.sayf("more: casement quarantine list --after %d", out.Next)
				}
				c.next(fmt.Sprintf("casement quarantine show %d", list[0].ID))
			})
		})
	})
	return cmd
}

// bodyNumber reads the number of a body.
func bodyNumber(word string) (string, error) {
	if n, err := strconv.ParseInt(word, 10, 64); err != nil || n < 1 {
		return "", failf(codeUsage, "casement quarantine list", "%q is not the number of a body", word)
	}
	return word, nil
}

// noBody words that a body is not there.
func noBody(id string, err error) error {
	if codeOf(err) != codeNotFound {
		return err
	}
	return failf(codeNotFound, "casement quarantine list", "no body %s lies in quarantine", id)
}

func (c *cli) quarantineShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a body, secrets redacted; the ledger holds who looked",
		Long: `Show the beginning of a body (256 KiB) on standard output, and why it is here on standard
error. Texts that may be secret are redacted; responders and above may look.`,
		Example: "  casement quarantine show 7\n  casement quarantine show 7 -o json | jq -r .text",
		Args:    exactly("ID"),
	}
	f := output(cmd, "text", "json")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		id, err := bodyNumber(args[0])
		if err != nil {
			return err
		}
		return c.with(ctx, false, func(k *client) error {
			var b web.BodyText
			if err := k.call(ctx, "GET", "/api/v1/quarantine/"+id, nil, &b); err != nil {
				return noBody(id, err)
			}
			if f.word == "json" {
				return emitJSON(c, b)
			}
			c.sayf("body %d of %s, received %s, %s, waits for %s\nwhy: %s", b.ID, clean(b.Source), b.ReceivedAt.UTC().Format("2006-01-02 15:04 UTC"), bytesWord(int64(b.Size)), clean(b.Owner), clean(b.Why))
			fmt.Fprintln(c.out, cleanLines(strings.TrimRight(b.Text, "\n")))
			if b.Cut {
				c.sayf("only the beginning is shown")
			}
			c.next("casement quarantine release "+id, "casement quarantine drop "+id+" -m REASON")
			return nil
		})
	})
	return cmd
}

func (c *cli) quarantineReleaseCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "release ID...",
		Short: "Read bodies again; what can be read becomes cases and leaves",
		Long: `Read bodies again by the readers and mappings there are now; --mapping names a mapping
file for this once. A body that is read whole leaves the quarantine; one that is not, or
only in part, stays, and the reason is told. Administrators only. Exit code 9: some of it
can't be read yet, 1: nothing could.`,
		Example: "  casement quarantine release 7\n  casement quarantine release 7 8 9 --mapping acme.yaml",
		Args:    atLeast(1, "ID"),
	}
	f := lists(cmd)
	cmd.Flags().StringVar(&file, "mapping", "", "mapping `file` that reads it, for this once")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		in := map[string]string{}
		if file != "" {
			b, err := os.ReadFile(file)
			if err != nil {
				return fileError(file, err)
			}
			in["mapping"] = string(b)
		}
		for _, word := range args {
			if _, err := bodyNumber(word); err != nil {
				return err
			}
		}
		return c.with(ctx, false, func(k *client) error {
			var list []web.Released
			var failed error
			for _, id := range args {
				var out web.Released
				if failed = k.call(ctx, "POST", "/api/v1/quarantine/"+id+"/release", in, &out); failed != nil {
					failed = noBody(id, failed)
					break
				}
				list = append(list, out)
			}
			if len(list) == 0 {
				return failed
			}
			if err := emit(c, f, list, c.showReleased); err != nil {
				return err
			}
			if failed != nil {
				return failed
			}
			return releaseVerdict(list)
		})
	})
	return cmd
}

func (c *cli) showReleased(list []web.Released) {
	for _, x := range list {
		if x.Kept+x.Suppressed > 0 {
			fmt.Fprintf(c.out, "body %d: %s read (%s), %s opened, %s joined, %s seen before", x.ID, group(x.Read), x.Format, plural(x.Opened, "case"), group(x.Joined), group(x.Seen))
			if x.Suppressed > 0 {
				fmt.Fprintf(c.out, ", %s no findings by their source's own word", group(x.Suppressed))
			}
			fmt.Fprintln(c.out)
		}
		switch {
		case x.Later:
			fmt.Fprintf(c.out, "body %d: left the quarantine and is tried again by itself: %s\n", x.ID, clean(x.Why))
		case x.Stays:
			fmt.Fprintf(c.out, "body %d: stays in quarantine: %s\n", x.ID, clean(x.Why))
		}
	}
}

func releaseVerdict(list []web.Released) error {
	stays, good := 0, 0
	for _, x := range list {
		if x.Stays {
			stays++
		}
		if !x.Stays || x.Kept+x.Suppressed > 0 {
			good++
		}
	}
	switch {
	case stays == 0:
		return nil
	case good == 0:
		return failf(codeError, "write a mapping file (docs/mapping.md) and name it with --mapping", "nothing could be read")
	}
	return silent(codePartial)
}

func (c *cli) quarantineDropCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "drop ID",
		Short:   "Drop a body for good; the ledger keeps who did it, and why",
		Example: "  casement quarantine drop 7 -m \"a test of the sender\"\n  casement quarantine drop 7 -m \"no alerts in it\" --yes",
		Args:    exactly("ID"),
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringVarP(&reason, "message", "m", "", "`reason`, for the record")
	c.dangerous(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		id, err := bodyNumber(args[0])
		if err != nil {
			return err
		}
		if strings.TrimSpace(reason) == "" {
			return failf(codeUsage, "casement quarantine drop "+id+" -m REASON", "dropping a body needs a reason (-m)")
		}
		return c.with(ctx, false, func(k *client) error {
			if err := c.confirm(fmt.Sprintf("Body %s is deleted for good; whatever alerts are in it never become cases.", id)); err != nil {
				return err
			}
			var out struct {
				Dropped int64 `json:"dropped"`
			}
			if err := k.call(ctx, "POST", "/api/v1/quarantine/"+id+"/drop", map[string]string{"reason": reason}, &out); err != nil {
				return noBody(id, err)
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			fmt.Fprintf(c.out, "body %d is dropped; the ledger holds it\n", out.Dropped)
			return nil
		})
	})
	return cmd
}
