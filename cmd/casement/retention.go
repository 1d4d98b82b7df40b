package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/remedy"
)

func (c *cli) retentionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "Show what is kept beside the ledger, and prune it",
		Long: `The raw record behind each first sight or change of a finding is kept as evidence:
redacted, compressed, once by its content. The events of its case name its hash. It goes
when every case it belongs to was settled for retention.raw_days; a record of a case that
is open, or in which something was changed, stays. The ledger is never pruned.`,
		Example: "  casement ledger retention show\n  casement ledger retention prune --dry-run",
	}
	cmd.AddCommand(c.retentionShowCommand(), c.retentionPruneCommand())
	return cmd
}

func (c *cli) retentionShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show sizes, ages and the policy",
		Example: "  casement ledger retention show\n  casement ledger retention show -o json | jq .raw_records.stored_bytes",
		Args:    cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			var r app.RetentionReport
			if err := k.call(ctx, "GET", "/api/v1/retention", nil, &r); err != nil {
				return err
			}
			if f.word == "json" {
				return emitJSON(c, r)
			}
			c.fact("raw records", rawWords(r.Raw.Records, r.Raw.Size, r.Raw.Stored)+ago(c.now(), r.Raw.Oldest), "")
			c.fact("kept for", daysWord(r.RawDays, "ever")+" after the case is settled; room "+sizeWord(r.RawSize), "")
			c.fact("quarantine", fmt.Sprintf("%s of %s; dropped after %s", plural(r.Quarantine.Quarantined, "body"), bytesWord(r.Quarantine.Bytes), daysWord(r.QuarantineDays, "a person's decision only")), "")
			c.fact("ledger", "never pruned", "")
			return nil
		})
	})
	return cmd
}

func (c *cli) retentionPruneCommand() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:     "prune",
		Short:   "Remove raw records that the policy lets go; the server does so every hour",
		Example: "  casement ledger retention prune --dry-run\n  casement ledger retention prune",
		Args:    cobra.NoArgs,
	}
	f := output(cmd, "text", "json")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only count")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			var out app.Pruned
			if err := k.call(ctx, "POST", "/api/v1/retention/prune", map[string]bool{"dry_run": dry}, &out); err != nil {
				return err
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			word := "removed"
			if dry {
				word = "would remove"
			}
			fmt.Fprintf(c.out, "%s %s of %s\n", word, plural(out.Records, "raw record"), bytesWord(out.Stored))
			return nil
		})
	})
	return cmd
}

// rawWords says how many raw records there are and what they take.
func rawWords(n int, size, stored int64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, %s stored of %s, %d bytes each", plural(n, "record"), bytesWord(stored), bytesWord(size), stored/int64(n))
}

func daysWord(n int, none string) string {
	if n == 0 {
		return none
	}
	return plural(n, "day")
}

func sizeWord(n int64) string {
	if n == 0 {
		return "without bound"
	}
	return bytesWord(n)
}

// bytesWord rounds a size for people.
func bytesWord(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(int64(1)<<u.shift), u.name)
		}
	}
	return plural(int(n), "byte")
}

// rawLine is one raw record as case show --raw prints it.
type rawLine struct {
	Finding string `json:"finding"`
	app.RawRecord
}

// showRaw prints the newest raw record of each finding of a case.
func (c *cli) showRaw(ctx context.Context, k *client, f *formats, of remedy.Case) error {
	var lines []rawLine
	for _, m := range of.Members {
		if m.Raw == "" {
			continue
		}
		l := rawLine{Finding: m.UID}
		err := k.call(ctx, "GET", "/api/v1/cases/"+url.PathEscape(of.ID)+"/raw/"+m.Raw, nil, &l.RawRecord)
		if codeOf(err) == codeNotFound && len(of.Members) > 1 {
			c.sayf("finding %s: its raw record is not kept any more", m.UID)
			continue
		}
		if err != nil {
			return err
		}
		lines = append(lines, l)
	}
	if f.word == "json" {
		return emitJSON(c, lines)
	}
	if len(lines) == 0 {
		fmt.Fprintln(c.out, "no raw record is kept of this case")
	}
	for _, l := range lines {
		fmt.Fprintf(c.out, "%s\n", c.term.paint(dim, fmt.Sprintf("finding %s, sha256 %s, named by event %v", clean(l.Finding), l.Hash, l.Events)))
		text := l.Record
		var pretty json.RawMessage
		if json.Unmarshal([]byte(text), &pretty) == nil {
			if b, err := json.MarshalIndent(pretty, "", "  "); err == nil {
				text = string(b)
			}
		}
		fmt.Fprintln(c.out, cleanLines(text))
	}
	return nil
}
