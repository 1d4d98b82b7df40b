package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// backtested is the whole report of a backtest.
type backtested struct {
	backtest.Comparison
	Agreement *backtest.Agreement `json:"agreement,omitempty"`
}

func (c *cli) policyBacktestCommand() *cobra.Command {
	var history, mappings []string
	var candidate, against string
	var stored bool
	var top int
	cmd := &cobra.Command{
		Use:   "backtest --policy DIR (--history FILE... | --stored)",
		Short: "Replay history against another policy and show what changes",
		Long: `Judge history by a candidate policy and show the matrix of changed decisions: rows are
what was decided, columns what the candidate would decide. History is a file of alerts,
judged by the policy in force, or the decisions stored in the data folder. --against
compares the candidate with what operators decided (CSV: case, key or uid, and path).`,
		Example: `  casement policy backtest --policy ./next --history alerts.json
  casement policy backtest --policy ./next --stored -o json
  casement policy backtest --policy ./next --history alerts.json --against operators.csv`,
		Args: cobra.NoArgs,
	}
	f := output(cmd, "table", "json", "jsonl")
	cmd.Flags().StringVar(&candidate, "policy", "", "`directory` of the candidate policy")
	cmd.Flags().StringArrayVar(&history, "history", nil, "`file` of alerts (repeatable)")
	cmd.Flags().BoolVar(&stored, "stored", false, "use the decisions in the data folder")
	cmd.Flags().StringVar(&against, "against", "", "CSV `file` of operators' decisions")
	cmd.Flags().StringArrayVar(&mappings, "mapping", nil, "mapping `file` for JSON that no reader knows (repeatable)")
	cmd.Flags().IntVar(&top, "top", 20, "`number` of changed cases to show; 0 for all")
	cmd.RunE = c.does(func(ctx context.Context, _ []string) error {
		if candidate == "" || stored == (len(history) > 0) {
			return failf(codeUsage, "casement policy backtest --help", "name the candidate with --policy, and history with either --history or --stored")
		}
		next, err := c.loadPack(candidate)
		if err != nil {
			return err
		}
		past, verdict, err := c.past(ctx, stored, history, mappings)
		if err != nil {
			return err
		}
		out := backtested{Comparison: backtest.Compare(past, next)}
		if against != "" {
			b, err := c.readNamed(against)
			if err != nil {
				return err
			}
			ops, err := backtest.ReadOperators(against, b)
			if err != nil {
				return err
			}
			agreement := backtest.Against(rejudged(past, next), ops)
			out.Agreement = &agreement
		}
		switch f.word {
		case "json":
			err = emitJSON(c, out)
		case "jsonl":
			err = emit(c, f, out.Changed, nil)
		default:
			c.showBacktest(out, top)
		}
		if err != nil {
			return err
		}
		if out.Errors > 0 && verdict == nil {
			verdict = failf(codePartial, "casement policy check "+candidate, "the candidate could not be evaluated for %s", plural(out.Errors, "case"))
		}
		return verdict
	})
	return cmd
}

// rejudged is history with the candidate's decisions in place of the old ones.
func rejudged(past []backtest.Past, next *policy.Pack) []backtest.Past {
	out := make([]backtest.Past, len(past))
	for i, p := range past {
		out[i] = p
		out[i].Decision, _ = next.Decide(p.Facts)
	}
	return out
}

// past reads history from files, judged by the policy in force, or from the
// data folder.
func (c *cli) past(ctx context.Context, stored bool, history, mappings []string) (past []backtest.Past, verdict, err error) {
	if stored {
		past, err = c.storedPast(ctx)
		return past, nil, err
	}
	j, err := c.judge(ctx, &judging{})
	if err != nil {
		return nil, nil, err
	}
	a, err := c.readAlerts(ctx, history, mappings, "")
	if err != nil {
		return nil, nil, err
	}
	verdict = c.tell(a)
	if verdict != nil && a.summary.Kept == 0 {
		return nil, nil, verdict
	}
	return backtest.FromFindings(j, a.findings, c.now()), verdict, nil
}

// storedPast reads the newest decision of every case in the data folder.
func (c *cli) storedPast(ctx context.Context) (out []backtest.Past, err error) {
	s, done, err := c.openStore(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, done()) }()
	for cursor := ""; ; {
		page, err := s.ListCases(ctx, store.CaseFilter{Tenant: tenant}, cursor, 500)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Cases {
			k, err := s.Load(ctx, row.ID)
			if err != nil {
				return nil, err
			}
			b, err := s.Fact(ctx, k.Tenant, k.Judgement.Facts)
			if err != nil {
				return nil, fmt.Errorf("facts of case %s: %w", k.ID, err)
			}
			p := backtest.Past{ID: k.ID, Key: k.Key, Title: k.Title, Decision: k.Judgement.Decision, Alerts: len(k.Members)}
			if err := json.Unmarshal(b, &p.Facts); err != nil {
				return nil, fmt.Errorf("facts of case %s: %w", k.ID, err)
			}
			for _, m := range k.Members {
				p.UIDs = append(p.UIDs, m.UID)
			}
			out = append(out, p)
		}
		if cursor = page.Next; cursor == "" {
			return out, nil
		}
	}
}

func (c *cli) showBacktest(b backtested, top int) {
	t := c.term
	changed := len(b.Changed)
	fmt.Fprintln(t.w, t.paint(bold, fmt.Sprintf("%s: %s the same, %s changed; %d tighter, %d looser, %d newly enforced",
		plural(b.Cases, "case"), group(b.Same), group(changed), b.Tighter, b.Looser, b.NewlyEnforced)))
	if b.Cases == 0 {
		return
	}
	fmt.Fprintf(t.w, "\nwas (rows) → would be (columns)\n")
	c.showMatrix(b.Matrix)
	if changed > 0 {
		fmt.Fprintln(t.w)
		tab := newTable("case", "what~", "was", "would be", "why~")
		for i, x := range b.Changed {
			if top > 0 && i == top {
				break
			}
			tab.add(cell{shortKey(x.ID), dim}, x.Title, side(x.Old), cell{side(x.New), pathStyle(x.New.Path)}, strings.Join(x.Why, "; "))
		}
		tab.print(t, "")
		if n := changed - top; top > 0 && n > 0 {
			fmt.Fprintf(t.w, "… %d more; show all with --top 0\n", n)
		}
	}
	if b.NewlyEnforced > 0 {
		fmt.Fprintf(t.w, "\n%s %s would be changed without a person only under the candidate\n", t.paint(red, "look here:"), plural(b.NewlyEnforced, "case"))
	}
	if a := b.Agreement; a != nil {
		c.showAgreement(*a, top)
	}
}

func side(s backtest.Side) string { return pathWord(s.Path) + " " + s.Class.String() }

func (c *cli) showMatrix(m backtest.Matrix) {
	names := []string{""}
	for _, p := range backtest.Paths() {
		names = append(names, pathWord(p)+">")
	}
	tab := newTable(names...)
	for _, row := range backtest.Paths() {
		if len(m[row]) == 0 {
			continue
		}
		cells := []any{pathWord(row)}
		for _, col := range backtest.Paths() {
			n := m[row][col]
			switch {
			case n == 0:
				cells = append(cells, cell{"·", dim})
			case row == col:
				cells = append(cells, group(n))
			default:
				cells = append(cells, cell{group(n), matrixStyle(col)})
			}
		}
		tab.add(cells...)
	}
	tab.print(c.term, "  ")
}

func matrixStyle(to remedy.Path) string {
	if to == remedy.PathEnforce {
		return bold + ";" + red
	}
	return yellow
}

func (c *cli) showAgreement(a backtest.Agreement, top int) {
	t := c.term
	share := 0
	if a.Compared > 0 {
		share = 100 * a.Agree / a.Compared
	}
	kappa := ""
	if a.Agree < a.Compared || a.Kappa != 0 { // 0 at full agreement: not defined
		kappa = fmt.Sprintf(", kappa %.2f", a.Kappa)
	}
	fmt.Fprintf(t.w, "\n%s\n", t.paint(bold, fmt.Sprintf("Operators: %d of %d decisions agree (%d %%%s); the candidate is bolder in %d", a.Agree, a.Compared, share, kappa, a.Bolder)))
	fmt.Fprintf(t.w, "operator (rows) → candidate (columns)\n")
	c.showMatrix(a.Matrix)
	for i, d := range a.Disagree {
		if top > 0 && i == top {
			fmt.Fprintf(t.w, "  … %d more\n", len(a.Disagree)-i)
			break
		}
		fmt.Fprintf(t.w, "  %s  %s: operator %s, candidate %s by %s\n", shortKey(d.ID), clean(d.Title), pathWord(d.Operator), pathWord(d.Policy), d.Rule)
	}
	if n := len(a.Unmatched); n > 0 {
		fmt.Fprintf(t.w, "  %s in the CSV match no case: %s\n", plural(n, "line"), clean(strings.Join(a.Unmatched[:min(n, 5)], ", ")))
	}
}
