package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
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
		trial, err := c.trial(jd, &pile, f, top)
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

// trial judges what is on the pile and prints it: a table of the first ones, or
// all cases by way of a file, so that not all are in memory at once.
func (c *cli) trial(j judge.Judge, pile *finding.Pile, f *formats, top int) (trial backtest.Trial, err error) {
	if f.word == "table" {
		if trial, err = backtest.Try(j, pile, c.now(), top, nil); err == nil {
			c.showTrial(trial, top)
		}
		return trial, err
	}
	file, remove, err := nameless()
	if err != nil {
		return trial, noOrder(err)
	}
	defer func() { err = firstOf(err, remove()) }()
	cases := tried{file: file, w: bufio.NewWriter(file)}
	if trial, err = backtest.Try(j, pile, c.now(), 1, cases.add); err != nil { // one, for the next command
		return trial, err
	}
	w := bufio.NewWriter(c.out)
	if f.word == "jsonl" {
		err = cases.each(func(line []byte) error {
			_, err := w.Write(line)
			return err
		})
	} else {
		err = writeTrial(w, trial, &cases)
	}
	return trial, firstOf(err, w.Flush())
}

// noOrder words that the file in which cases wait can't be had.
func noOrder(err error) error {
	return failf(codeError, "make room for temporary files, or set TMPDIR to a folder with room", "cases can't be put in order: %w", err)
}

// writeTrial writes a trial with all its cases as one JSON document.
func writeTrial(w *bufio.Writer, trial backtest.Trial, cases *tried) error {
	trial.Items = []backtest.TrialCase{}
	b, err := json.MarshalIndent(trial, "", "  ")
	if err != nil {
		return err
	}
	b, last := bytes.CutSuffix(b, []byte("]\n}"))
	if !last {
		return errors.New("the items are not the last of a trial")
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	between, end := "\n    ", "]\n}\n"
	err = cases.each(func(line []byte) error {
		var out bytes.Buffer
		if err := json.Indent(&out, bytes.TrimSpace(line), "    ", "  "); err != nil {
			return err
		}
		_, err := w.WriteString(between + out.String())
		between, end = ",\n    ", "\n  ]\n}\n"
		return err
	})
	_, werr := w.WriteString(end)
	return firstOf(err, werr)
}

// tried is the cases of a trial in a file, and where each stands there.
type tried struct {
	file io.ReaderAt
	w    *bufio.Writer
	at   int64
	list []triedCase
}

type triedCase struct {
	rank backtest.Rank
	at   int64
	n    int
}

// add puts a case into the file.
func (t *tried) add(k backtest.TrialCase) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	t.list = append(t.list, triedCase{k.Rank(), t.at, len(b)})
	t.at += int64(len(b))
	if _, err := t.w.Write(b); err != nil {
		return noOrder(err)
	}
	return nil
}

// each hands out the cases as lines, the most pressing first.
func (t *tried) each(do func(line []byte) error) error {
	if err := t.w.Flush(); err != nil {
		return noOrder(err)
	}
	slices.SortFunc(t.list, func(a, b triedCase) int { return a.rank.Compare(b.rank) })
	var line []byte
	for _, k := range t.list {
		line = slices.Grow(line[:0], k.n)[:k.n]
		if n, err := t.file.ReadAt(line, k.at); n < k.n {
			return err
		}
		if err := do(line); err != nil {
			return err
		}
	}
	return nil
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
