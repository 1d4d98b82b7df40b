package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/owner"
)

// resolved is one exposure and whose it is.
type resolved struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Asset string `json:"asset"`
	owner.Assignment
}

func (c *cli) ownerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "owner",
		Short:   "Ask whose an alert is, and what is missing to know it",
		Example: "  casement owner resolve alerts.json --owners owners.yaml\n  casement owner gaps alerts.json --owners owners.yaml",
	}
	cmd.AddCommand(c.ownerResolveCommand(), c.ownerGapsCommand())
	return cmd
}

// ownership reads the directory and the alerts of the two commands.
func (c *cli) ownership(ctx context.Context, j *judging, args, mappings []string) (*owner.Directory, alerts, error, error) {
	jd, err := c.judge(ctx, j)
	if err != nil {
		return nil, alerts{}, nil, err
	}
	a, err := c.readAlerts(ctx, args, mappings, "")
	if err != nil {
		return nil, a, nil, err
	}
	verdict := c.tell(a)
	if verdict != nil && a.summary.Kept == 0 {
		return nil, a, nil, verdict
	}
	return jd.Directory, a, verdict, nil
}

func (c *cli) ownerResolveCommand() *cobra.Command {
	var mappings []string
	var why bool
	cmd := &cobra.Command{
		Use:   "resolve FILE...",
		Short: "Show owner, approver and backup of each exposure",
		Long: `Show whose each exposure is, who approves a change to it and who stands in. Sources in
order: override, tag, CODEOWNERS, catalog, hint of the alert, account, fallback. --why
shows what each source said.`,
		Example: "  casement owner resolve alerts.json --owners owners.yaml --owners acme/shop=CODEOWNERS\n  casement owner resolve alerts.json --why",
		Args:    atLeast(1, "FILE"),
	}
	f := lists(cmd)
	j := judges(cmd)
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	cmd.Flags().BoolVar(&why, "why", false, "show what each source said")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		d, a, verdict, err := c.ownership(ctx, j, args, mappings)
		if err != nil {
			return err
		}
		var list []resolved
		for _, g := range backtest.GroupOf(a.findings) {
			list = append(list, resolved{g.Key, g.Finding.Title, g.Finding.Asset.Name, owner.Resolve(d, owner.Question{Finding: g.Finding, At: c.now()})})
		}
		if err := emit(c, f, list, func(list []resolved) { c.showOwners(list, why) }); err != nil {
			return err
		}
		return verdict
	})
	return cmd
}

func (c *cli) showOwners(list []resolved, why bool) {
	t := c.term
	if why {
		for _, r := range list {
			fmt.Fprintf(t.w, "%s  %s\n", t.paint(bold, clean(r.Asset)), t.paint(dim, clean(r.Title)))
			fmt.Fprintf(t.w, "    owner %s, approver %s, backup %s, manager %s\n", r.Owner, orWords(r.Approver, "nobody"), orWords(r.Backup, "nobody"), orWords(r.Manager, "nobody"))
			for _, s := range r.Chain {
				mark := "-"
				if s.Answered {
					mark = "*"
				}
				fmt.Fprintf(t.w, "    %s %-11s %s\n", mark, s.Source, clean(strings.TrimSpace(s.Value+" "+s.Why)))
			}
		}
		return
	}
	tab := newTable("asset~", "what~", "owner", "by", "sure>", "approver", "backup")
	for _, r := range list {
		o := cell{r.Owner, ""}
		if !r.Known() {
			o.style = yellow
		}
		tab.add(r.Asset, r.Title, o, string(r.Source), fmt.Sprintf("%d %%", r.Confidence), orWords(r.Approver, "-"), orWords(r.Backup, "-"))
	}
	tab.print(t, "")
}

func (c *cli) ownerGapsCommand() *cobra.Command {
	var mappings []string
	cmd := &cobra.Command{
		Use:     "gaps FILE...",
		Short:   "List what is missing to route alerts, most alerts first",
		Example: "  casement owner gaps alerts.json --owners owners.yaml",
		Args:    atLeast(1, "FILE"),
	}
	f := lists(cmd)
	j := judges(cmd)
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		d, a, verdict, err := c.ownership(ctx, j, args, mappings)
		if err != nil {
			return err
		}
		gaps := owner.Gaps(d, a.findings, c.now())
		if err := emit(c, f, gaps, func(gaps []owner.Gap) {
			if len(gaps) == 0 {
				fmt.Fprintf(c.out, "every alert has an owner and an approver: %s\n", plural(len(a.findings), "alert"))
				return
			}
			tab := newTable("alerts>", "gap~", "assets~")
			for _, g := range gaps {
				tab.add(group(g.Findings), g.Gap, strings.Join(g.Assets, ", "))
			}
			tab.print(c.term, "")
		}); err != nil {
			return err
		}
		return verdict
	})
	return cmd
}
