package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/record"
)

// deadLetter is one line of the list.
type deadLetter = record.DeadLetter

func (c *cli) deadLetterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "deadletter",
		Aliases: []string{"dead-letter"},
		Short:   "List what failed too often, and have it tried again",
		Long: `What fails ten times by a fault of the install itself (a panic, a store that refuses, a
case that can't be read), or a message or ticket that never arrives, becomes a dead
letter: it shows here, on its case and in casement doctor, and is tried again by itself
every hour. Mend the cause, then have it tried again at once.`,
		Example: "  casement deadletter list\n  casement deadletter retry clock/cas_0123",
	}
	cmd.AddCommand(c.deadListCommand(), c.deadRetryCommand())
	return cmd
}

func (c *cli) deadListCommand() *cobra.Command {
	var caseID string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, oldest first",
		Example: "  casement deadletter list\n  casement deadletter list --case cas_0123 -o jsonl",
		Args:    cobra.NoArgs,
	}
	f := lists(cmd)
	cmd.Flags().StringVar(&caseID, "case", "", "`id` of a case: only its dead letters")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, false, func(k *client) error {
			var out app.DeadLetters
			if err := k.call(ctx, "GET", "/api/v1/dead-letters?case="+url.QueryEscape(caseID), nil, &out); err != nil {
				return err
			}
			return emit(c, f, out.Letters, func(list []deadLetter) {
				if len(list) == 0 {
					fmt.Fprintln(c.out, "no dead letters")
					return
				}
				now := c.now()
				tab := newTable("dead letter", "kind", "tries", "since", "next try", "owner", "waits for", "why~")
				for _, l := range list {
					tab.add(cell{l.ID, red}, l.Kind, group(l.Tries), span(now.Sub(l.Since))+" ago", l.NextAt.UTC().Format("15:04 UTC"), l.Owner, l.Bottleneck.Who, l.Reason)
				}
				tab.print(c.term, "")
				c.next("casement deadletter retry " + list[0].ID)
			})
		})
	})
	return cmd
}

func (c *cli) deadRetryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "retry ID",
		Short:   "Have a dead letter tried again now; the ledger holds who wanted it",
		Example: "  casement deadletter retry clock/cas_0123\n  casement deadletter retry cas_0123/message/4",
		Args:    exactly("ID"),
	}
	f := output(cmd, "text", "json")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Retried string `json:"retried"`
			}
			err := k.call(ctx, "POST", "/api/v1/dead-letters/retry", map[string]string{"id": args[0]}, &out)
			if codeOf(err) == codeNotFound {
				return failf(codeNotFound, "casement deadletter list", "no dead letter %s waits; perhaps it is being tried right now", args[0])
			}
			if err != nil {
				return err
			}
			if f.word == "json" {
				return emitJSON(c, out)
			}
			fmt.Fprintf(c.out, "%s is due now; it leaves the list when it worked\n", out.Retried)
			if !k.live {
				c.next("casement serve   # tries it")
			}
			return nil
		})
	})
	return cmd
}
