package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// toldBoth is what the API answers to a command that two cases take together.
type toldBoth struct {
	Case  told `json:"case"`
	Other told `json:"other"`
}

// mergeOrder is a merge, split or undo as the API takes it.
type mergeOrder struct {
	Into     string   `json:"into,omitempty"`
	Case     string   `json:"case,omitempty"`
	Findings []string `json:"findings,omitempty"`
	Text     string   `json:"text"`
	Evidence string   `json:"alias_evidence,omitempty"`
}

func (k *client) tellBoth(ctx context.Context, id, verb string, o mergeOrder) (t toldBoth, err error) {
	return t, k.call(ctx, "POST", "/api/v1/cases/"+url.PathEscape(id)+"/commands/"+verb, o, &t)
}

func (c *cli) caseMergeCommand() *cobra.Command {
	const example = `casement case merge cas_0456 --into cas_0123 --why "both scanners see the same bucket"`
	var o mergeOrder
	cmd := &cobra.Command{
		Use:   "merge CASE",
		Short: "Merge a case into another one of the same asset",
		Long: `Merge a case into another one: its findings, and later alerts of its exposure, belong to that one.
Different assets are never merged. If the assets are one under two names, an approver signs in and
says so with --alias-evidence; it goes into the record, and an action still changes the asset of the
case that goes on. Undo it with: casement case split CASE --undo-merge OTHER`,
		Example: "  " + example + "\n  " + `casement case merge cas_0456 --into cas_0123 --why "one host" --alias-evidence "CMDB entry 12" --as kim`,
		Args:    exactly("CASE"),
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringVar(&o.Into, "into", "", "the `case` that goes on with the findings of both")
	cmd.Flags().StringVar(&o.Text, "why", "", "`reason`: why they are one exposure")
	cmd.Flags().StringVar(&o.Evidence, "alias-evidence", "", "`evidence` that both assets are one under two names")
	who := signsIn(cmd)
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		switch {
		case o.Into == "":
			return failf(codeUsage, example, "name the case that goes on with --into")
		case strings.TrimSpace(o.Text) == "":
			return failf(codeUsage, example, "say why with --why")
		}
		return c.with(ctx, false, func(k *client) error {
			verb := "merge"
			if o.Evidence != "" {
				verb = "merge-alias"
			}
			if o.Evidence != "" || who.as != "" {
				if err := c.signIn(ctx, k, who); err != nil {
					return err
				}
			}
			t, err := k.tellBoth(ctx, args[0], verb, o)
			if err != nil {
				return k.noneOf(ctx, err, args[0], o.Into)
			}
			if f.word == "json" {
				return emitJSON(c, t)
			}
			fmt.Fprintf(c.out, "%s: merged into %s, which is %s\n", t.Case.ID, t.Other.ID, c.term.paint(stateStyle(t.Other.State), t.Other.State))
			c.pending(k)
			c.next("casement case show "+t.Other.ID, "casement case split "+t.Other.ID+" --undo-merge "+t.Case.ID+" --why \"…\"")
			return nil
		})
	})
	return cmd
}

func (c *cli) caseSplitCommand() *cobra.Command {
	const example = `casement case split cas_0123 --finding 5f0c… --why "another bucket policy"`
	var o mergeOrder
	cmd := &cobra.Command{
		Use:   "split CASE",
		Short: "Split findings off to a new case, or undo a merge",
		Long: `Split findings off to a new case, or undo the merge of another case into this one. What is split
off keeps its deadlines; later alerts of it go to the new case. A merge is undone whole: findings
and keys go back to the case they came from, which goes on as it was; both are judged anew.`,
		Example: "  " + example + "\n  " + `casement case split cas_0123 --undo-merge cas_0456 --why "two buckets after all"`,
		Args:    exactly("CASE"),
	}
	f := output(cmd, "text", "json")
	cmd.Flags().StringSliceVar(&o.Findings, "finding", nil, "`uid` of a finding to split off (repeatable; casement case show names them)")
	cmd.Flags().StringVar(&o.Case, "undo-merge", "", "the `case` whose merge into this one is undone")
	cmd.Flags().StringVar(&o.Text, "why", "", "`reason`: why they are two exposures")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		switch {
		case (o.Case == "") == (len(o.Findings) == 0):
			return failf(codeUsage, example, "name either findings with --finding or a merge with --undo-merge")
		case strings.TrimSpace(o.Text) == "":
			return failf(codeUsage, example, "say why with --why")
		}
		return c.with(ctx, false, func(k *client) error {
			verb, done := "split", "findings split off to"
			if o.Case != "" {
				verb, done = "undo-merge", "merge undone; it goes on beside"
			}
			t, err := k.tellBoth(ctx, args[0], verb, o)
			if err != nil {
				return k.noneOf(ctx, err, args[0], orWords(o.Case, args[0]))
			}
			if f.word == "json" {
				return emitJSON(c, t)
			}
			fmt.Fprintf(c.out, "%s: %s %s, which is %s\n", t.Case.ID, done, t.Other.ID, c.term.paint(stateStyle(t.Other.State), t.Other.State))
			c.pending(k)
			c.next("casement case show " + t.Other.ID)
			return nil
		})
	})
	return cmd
}
