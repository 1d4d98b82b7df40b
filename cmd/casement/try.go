package main

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
)

func (c *cli) tryCommand() *cobra.Command {
	var mappings []string
	var event string
	var top int
	cmd := &cobra.Command{
		Use:   "try FILE...",
		Short: "Run the loop over a file in shadow: cases, decisions, approvers",
		Long: `Read alerts, join them to cases and judge each as the policy would once its rules are
trusted: what would be enforced, approved, ticketed, what has no owner. The limits
that always hold (unknown facts, irreversible actions) are applied. Nothing is stored
and nothing is touched. FILE - is standard input.
Exit code 9: some records could not be read; 1: none.`,
		Example: `  casement try trivy.json
  casement try --owners owners.yaml --policy ./policy alerts.json
  casement try alerts.json -o jsonl | jq 'select(.path=="enforce")'`,
		Args: atLeast(1, "FILE"),
	}
	f := lists(cmd)
	j := judges(cmd)
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	c.scans(cmd)
	cmd.Flags().StringVar(&event, "event", "", "event `name` of the sender, e.g. of its X-GitHub-Event header")
	cmd.Flags().IntVar(&top, "top", 20, "`number` of cases to show; 0 for all")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		jd, err := c.judge(ctx, j)
		if err != nil {
			return err
		}
		var pile finding.Pile
		a, err := c.readEach(ctx, args, mappings, event, pile.Add)
		if err != nil {
			return err
		}
		verdict := c.tell(a)
		if verdict != nil && a.summary.Kept == 0 {
			return verdict
		}
		keep := top // a table needs no more
		if f.word == "json" || f.word == "jsonl" {
			keep = 0
		}
		trial, err := backtest.Try(jd, &pile, c.now(), keep)
		if err != nil {
			return err
		}
		switch f.word {
		case "json":
			err = emitJSON(c, trial)
		case "jsonl":
			err = emit(c, f, trial.Items, nil)
		default:
			c.showTrial(trial, top)
		}
		if err != nil {
			return err
		}
		if len(trial.Items) > 0 {
			files := fileWords(args)
			c.next("casement policy explain "+files+" --key "+shortKey(trial.Items[0].Key)+"   # why the first one", "casement serve   # take alerts in for real; rules on connectors start in shadow")
		}
		return verdict
	})
	return cmd
}

// shortKey is enough of an exposure key to name it.
func shortKey(key string) string { return key[:min(len(key), 11)] }

func (c *cli) showTrial(trial backtest.Trial, top int) {
	t := c.term
	fmt.Fprintln(t.w, t.paint(bold, trial.String()))
	if len(trial.Items) == 0 {
		return
	}
	fmt.Fprintln(t.w)
	shown := trial.Items
	if top > 0 {
		shown = shown[:min(top, len(shown))]
	}
	// Columns that would say nothing leave their room to the others.
	cols := []string{"key", "risk", "would be", "alerts>", "what~", "asset^"}
	where := slices.ContainsFunc(shown, func(it backtest.TrialCase) bool { return it.Where != "" })
	acts := slices.ContainsFunc(shown, func(it backtest.TrialCase) bool { return len(it.Actions) > 0 })
	if where {
		cols = append(cols, "where^")
	}
	if acts {
		cols = append(cols, "action~")
	}
	tab := newTable(append(cols, "owner~", "fix in>")...)
	for _, it := range shown {
		owner := cell{it.Owner, ""}
		if !it.OwnerKnown {
			owner = cell{"? (" + it.Owner + ")", yellow}
		}
		action := "-"
		if len(it.Actions) > 0 {
			action = strings.Join(it.Actions, ", ")
		}
		row := []any{cell{shortKey(it.Key), dim}, cell{it.Risk.String(), riskStyle(it.Risk)}, cell{pathWord(it.Path), pathStyle(it.Path)}, group(it.Alerts),
			it.Title, it.Asset}
		if where {
			row = append(row, it.Where)
		}
		if acts {
			row = append(row, action)
		}
		tab.add(append(row, owner, it.FixBy)...)
	}
	tab.print(t, "")
	if n := trial.Cases - top; top > 0 && n > 0 {
		fmt.Fprintf(t.w, "… %s more; show all with --top 0\n", plural(n, "case"))
	}
	c.counts("What keeps it from acting by itself", trial.Held, "case")
	c.counts("Facts that are unknown and counted as the worst case", trial.Relax, "case")
	c.counts("Policy errors (a person decides these)", trial.Failed, "case")
	if trial.NoOwner > 0 {
		c.showUnowned(trial)
	}
}

// showUnowned says what would become of cases nobody owns.
func (c *cli) showUnowned(trial backtest.Trial) {
	var parts []string
	for _, p := range backtest.Paths() {
		if n := trial.Unowned[p]; n > 0 {
			parts = append(parts, pathWord(p)+" "+group(n))
		}
	}
	fmt.Fprintf(c.term.w, "\n%s\n  %12s  %s\n", c.term.paint(bold, "No owner is known"), plural(trial.NoOwner, "case"),
		"the fallback team gets them ("+strings.Join(parts, ", ")+"); --owners FILE names owners")
}

// counts prints reasons by how often they occur.
func (c *cli) counts(title string, m map[string]int, unit string) {
	if len(m) == 0 {
		return
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if m[keys[i]] != m[keys[j]] {
			return m[keys[i]] > m[keys[j]]
		}
		return keys[i] < keys[j]
	})
	fmt.Fprintf(c.term.w, "\n%s\n", c.term.paint(bold, title))
	for i, k := range keys {
		if i == 8 {
			fmt.Fprintf(c.term.w, "  … %d more\n", len(keys)-i)
			break
		}
		fmt.Fprintf(c.term.w, "  %12s  %s\n", plural(m[k], unit), clean(k))
	}
}

func riskStyle(k deadline.RiskClass) string {
	switch k {
	case deadline.K1:
		return bold + ";" + red
	case deadline.K2:
		return red
	case deadline.K3:
		return yellow
	}
	return ""
}
