package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/web"
)

// caseLine is one case as lists print it.
type caseLine struct {
	ID       string    `json:"id"`
	State    string    `json:"state"`
	Open     bool      `json:"open"`
	Risk     string    `json:"risk"`
	Path     string    `json:"path"`
	Class    string    `json:"class"`
	Severity string    `json:"severity"`
	Title    string    `json:"title"`
	Asset    string    `json:"asset"`
	Owner    string    `json:"owner"`
	WaitsFor string    `json:"waits_for,omitempty"`
	Since    time.Time `json:"waits_since,omitzero"`
	NextDue  time.Time `json:"next_due,omitzero"`
	FixDue   time.Time `json:"fix_due,omitzero"`
	OpenedAt time.Time `json:"opened_at"`
	ClosedAt time.Time `json:"closed_at,omitzero"`
	How      string    `json:"closed_as,omitempty"`
}

func lineOf(r store.CaseRow) caseLine {
	return caseLine{ID: r.ID, State: r.State, Open: r.Open, Risk: r.Risk, Path: string(r.Path), Class: string(r.Class), Severity: r.Severity.String(),
		Title: r.Title, Asset: r.Asset, Owner: r.Owner, WaitsFor: waits(r.Bottleneck), Since: r.Bottleneck.Since, NextDue: r.NextDue, FixDue: r.FixDue,
		OpenedAt: r.OpenedAt, ClosedAt: r.ClosedAt, How: string(r.How)}
}

func waits(b remedy.Bottleneck) string {
	switch {
	case b.Who == "" || b.Who == b.Kind || b.Who == "casement": // what it does by itself needs nobody
		return b.Kind
	case b.Kind == "approval":
		return "approval by " + b.Who
	}
	return b.Kind + " " + b.Who
}

func (c *cli) caseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "case",
		Short:   "List cases, look at one, and tell it what to do",
		Example: "  casement case list\n  casement case show cas_0123\n  casement case ack cas_0123",
	}
	cmd.AddCommand(c.caseListCommand(), c.caseShowCommand(), c.caseTimelineCommand())
	cmd.AddCommand(c.caseVerbs()...)
	return cmd
}

func (c *cli) caseListCommand() *cobra.Command {
	var q = map[string]*string{}
	var limit int
	cmd := &cobra.Command{
		Use:     "list [TEXT]",
		Short:   "List cases, the most urgent first",
		Long:    "List cases, the most urgent first: open ones unless --open says otherwise. TEXT is looked\nfor in id, title and asset. States:\n" + wrap(strings.Join(stateWords(), ", "), reportWidth, "") + ".",
		Example: "  casement case list\n  casement case list --state approval --risk K1\n  casement case list --open all -o json bucket",
		Args:    atMost(1, "TEXT"),
	}
	f := lists(cmd)
	for _, x := range [][2]string{{"state", "one `state` of those above"}, {"class", "`class`, e.g. storage.public"}, {"path", "`path`: " + strings.Join(pathWords(), ", ")},
		{"owner", "`name` of a person or team"}, {"risk", "risk `class`: K1 to K5"}, {"open", "which `ones`: open (yes), closed (no) or all (default yes)"}} {
		q[x[0]] = cmd.Flags().String(x[0], "", x[1])
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "`number` of cases to list; 0 for all")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		v := url.Values{}
		switch p, o := *q["path"], *q["open"]; {
		case p != "" && !slices.Contains(pathWords(), p):
			return failf(codeUsage, "", "path %q: want one of %s", p, strings.Join(pathWords(), ", "))
		case o != "" && o != "yes" && o != "no" && o != "all":
			return failf(codeUsage, "", "open %q: want yes, no or all", o)
		case limit < 0:
			return failf(codeUsage, "", "limit %d: want a number of cases, 0 for all", limit)
		}
		for name, p := range q {
			if *p != "" {
				v.Set(name, *p)
			}
		}
		if len(args) == 1 {
			v.Set("q", args[0])
		}
		filtered := len(v) > 1 || len(v) == 1 && !v.Has("open")
		return c.with(ctx, false, func(k *client) error {
			list, more, err := k.cases(ctx, v, limit)
			if err != nil {
				return err
			}
			lines := make([]caseLine, len(list))
			for i, r := range list {
				lines[i] = lineOf(r)
			}
			if err := emit(c, f, lines, func(lines []caseLine) { c.showCases(lines, filtered) }); err != nil {
				return err
			}
			if more {
				c.sayf("there are more; list all with --limit 0")
			}
			if len(lines) > 0 {
				c.next("casement case show " + lines[0].ID)
			}
			return nil
		})
	})
	return cmd
}

// stateWords are the states that a case in a list can have.
func stateWords() (out []string) {
	for _, s := range remedy.States() {
		if s != remedy.StateNone {
			out = append(out, string(s))
		}
	}
	return out
}

// pathWords are the paths, the most urgent first.
func pathWords() (out []string) {
	for _, p := range remedy.Paths() {
		out = append(out, string(p))
	}
	return out
}

// cases reads the pages of a list up to a limit; 0 reads all.
func (k *client) cases(ctx context.Context, v url.Values, limit int) (out []store.CaseRow, more bool, err error) {
	for {
		n := 500
		if limit > 0 {
			n = min(n, limit-len(out))
		}
		v.Set("limit", strconv.Itoa(n))
		var page struct {
			Cases []store.CaseRow `json:"cases"`
			Next  string          `json:"next"`
		}
		if err := k.call(ctx, "GET", "/api/v1/cases?"+v.Encode(), nil, &page); err != nil {
			return nil, false, err
		}
		out = append(out, page.Cases...)
		if page.Next == "" || limit > 0 && len(out) >= limit {
			return out, page.Next != "", nil
		}
		v.Set("cursor", page.Next)
	}
}

// showCases prints a list; filtered says that filters left some out.
func (c *cli) showCases(lines []caseLine, filtered bool) {
	switch {
	case len(lines) == 0 && filtered:
		fmt.Fprintln(c.out, "no case fits")
		c.next("casement case list --open all")
		return
	case len(lines) == 0:
		fmt.Fprintln(c.out, "no cases")
		c.next("casement ingest alerts.json", "casement case list --open all")
		return
	}
	now := c.now()
	tab := newTable("case", "risk", "state", "what~", "asset~", "owner~", "waits for~", "due>", "open for>")
	for _, l := range lines {
		due := cell{"-", dim}
		if !l.NextDue.IsZero() {
			left := l.NextDue.Sub(now)
			due = cell{"in " + span(left), ""}
			if left < 0 {
				due = cell{span(-left) + " over", red}
			}
		}
		open := span(now.Sub(l.OpenedAt))
		if !l.ClosedAt.IsZero() {
			open = span(l.ClosedAt.Sub(l.OpenedAt)) + ", closed"
		}
		tab.add(l.ID, cell{l.Risk, riskWordStyle(l.Risk)}, cell{l.State, stateStyle(l.State)}, l.Title, l.Asset, l.Owner, l.WaitsFor, due, open)
	}
	tab.print(c.term, "")
}

func riskWordStyle(w string) string {
	switch w {
	case "K1":
		return bold + ";" + red
	case "K2":
		return red
	case "K3":
		return yellow
	}
	return ""
}

func stateStyle(s string) string {
	switch remedy.State(s) {
	case remedy.StateApproval, remedy.StateHeld, remedy.StateUnsure:
		return yellow
	case remedy.StateClosed, remedy.StateSettled, remedy.StateContained:
		return green
	case remedy.StateOpen:
		return ""
	}
	return blue
}

// caseView is what the API says of one case.
type caseView struct {
	State string      `json:"state"`
	Path  remedy.Path `json:"path"`
	Owner string      `json:"owner"`
	Case  remedy.Case `json:"case"`
	// Clocks are the due instants in force, PausedSeconds the time they were put
	// off by.
	Clocks        deadline.Clocks `json:"clocks"`
	PausedSeconds int64           `json:"paused_seconds"`
	Steps         []web.Step      `json:"steps,omitempty"`
	Dead          []deadLetter    `json:"dead_letters,omitempty"`
}

func (k *client) oneCase(ctx context.Context, id string) (v caseView, err error) {
	err = k.call(ctx, "GET", "/api/v1/cases/"+url.PathEscape(id), nil, &v)
	return v, noCase(id, err)
}

func (c *cli) caseShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show CASE",
		Short: "Show one case: state, decision, actions, proof",
		Long: `Show one case: its state and whom it waits for, the decision and by which rule, owner,
deadlines, actions, tickets, what the last probe saw, and the findings that speak of it.`,
		Example: "  casement case show cas_0123\n  casement case show cas_0123 -o json | jq .case.actions\n  casement case show cas_0123 --raw",
		Args:    exactly("CASE"),
	}
	f := output(cmd, "text", "json")
	raw := cmd.Flags().Bool("raw", false, "show the raw records its findings were read from; the ledger holds who looked")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		return c.with(ctx, false, func(k *client) error {
			v, err := k.oneCase(ctx, args[0])
			if err != nil {
				return err
			}
			if *raw {
				return c.showRaw(ctx, k, f, v.Case)
			}
			if f.word == "json" {
				return emitJSON(c, v)
			}
			c.showCase(v)
			next := []string{"casement case timeline " + v.Case.ID}
			for _, a := range v.Case.Actions {
				if a.Status == remedy.ActionAsking {
					next = []string{"casement approval show " + v.Case.ID + " " + a.ID}
				}
			}
			c.next(next...)
			return nil
		})
	})
	return cmd
}

func (c *cli) showCase(v caseView) {
	t, k, now := c.term, v.Case, c.now()
	d := k.Judgement.Decision
	fmt.Fprintf(t.w, "%s  %s\n", t.paint(bold, clean(k.Title)), t.paint(dim, k.ID))
	state := v.State
	if k.Closed != "" && string(k.Closed) != state {
		state += ", " + string(k.Closed)
	}
	c.fact("state", state+"; waits for "+orWords(waits(k.Bottleneck), "nobody")+since(now, k.Bottleneck.Since), stateStyle(v.State))
	for _, l := range v.Dead {
		c.fact("dead letter", fmt.Sprintf("%s failed %s: %s; tried again at %s, or by casement deadletter retry %s", l.Kind, plural(l.Tries, "time"), l.Reason, l.NextAt.UTC().Format("15:04 UTC"), l.ID), red)
	}
	c.fact("risk", fmt.Sprintf("%s, severity %s, class %s", d.Class, k.Severity, orWords(string(k.Class), "none")), riskStyle(d.Class))
	c.fact("asset", strings.TrimSpace(k.Asset.Name+" "+k.Asset.Type+" "+k.Asset.Environment), "")
	who := v.Owner
	if !k.Judgement.Routing.Known {
		who += " (the fallback)"
	}
	c.fact("owner", who+"; approvers "+orWords(strings.Join(k.Judgement.Routing.Approvers, ", "), "nobody")+"; backup "+orWords(k.Judgement.Routing.Backup, "nobody"), "")
	c.fact("decision", pathWord(v.Path)+", rule "+d.Rule+": "+d.Why, pathStyle(v.Path))
	if len(d.Unknown) > 0 {
		c.fact("unknown", strings.Join(d.Unknown, ", "), yellow)
	}
	if n := len(k.Episodes); n > 0 {
		e := k.Episodes[n-1]
		j := k.Judgement
		j.Clocks = v.Clocks
		if !e.AckAt.IsZero() {
			j.Clocks.Ack = time.Time{}
			c.fact("noted", "acknowledged"+ago(now, e.AckAt), "")
		}
		if e.ClosedAt.IsZero() {
			c.fact("deadlines", deadlineWords(j, now), "")
		}
		if v.PausedSeconds > 0 || len(e.Pauses) > 0 {
			c.fact("paused", pausedWords(k, v.PausedSeconds), yellow)
		}
		open := "exposed for " + span(now.Sub(e.DetectedAt))
		if !e.ClosedAt.IsZero() {
			open = "was exposed for " + span(e.ClosedAt.Sub(e.DetectedAt))
		}
		if n > 1 {
			open += fmt.Sprintf(", episode %d", n)
		}
		c.fact("window", open, "")
	}
	if o := k.LastProbe; !o.At.IsZero() {
		c.fact("last probe", fmt.Sprintf("%s%s: %s (%s, grade %s)", strings.ReplaceAll(string(o.Result), "_", " "), ago(now, o.At), o.Detail, o.Probe, o.Grade), "")
	}
	for _, a := range k.Actions {
		s := fmt.Sprintf("%s %s: %s/%s, %s", a.ID, a.Spec.Name, a.Spec.Connector, a.Spec.Verb, strings.ReplaceAll(string(a.Status), "_", " "))
		if a.Reason != "" {
			s += " (" + a.Reason + ")"
		}
		c.fact(string(a.Spec.Phase), s, "")
	}
	for i, st := range v.Steps {
		said := ""
		if st.Done {
			said = " (done, says " + st.By + ago(now, st.At) + ")"
		}
		c.fact("step "+strconv.Itoa(i+1), st.Text+said, "")
	}
	for _, x := range k.Tickets {
		c.fact("ticket", strings.TrimSpace(x.System+" "+orWords(x.Ref, "not opened yet")+", "+x.Status+" "+x.URL), "")
	}
	if x := k.Exception; x != nil {
		c.fact("exception", fmt.Sprintf("%s until %s, granted by %s", x.ID, x.Until.Format(time.DateOnly), x.By), yellow)
	}
	if k.MergedInto != "" {
		c.fact("merged into", k.MergedInto+", which goes on with its findings", "")
	}
	for _, a := range k.Absorbed {
		c.fact("merged from", fmt.Sprintf("%s, with %s%s", a.From, plural(len(a.UIDs), "finding"), ago(now, a.At)), "")
	}
	if k.SplitFrom != "" {
		c.fact("split from", k.SplitFrom, "")
	}
	for _, m := range k.Members {
		uid := ""
		if len(k.Members) > 1 {
			uid = m.UID + " " // what a split names
		}
		c.fact("finding", fmt.Sprintf("%s%s %s, %s (%s)", uid, m.Source, m.Rule, orWords(string(m.Status), "open"), m.Why), "")
	}
}

// since says how long something lasts already.
func since(now, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " (for " + span(now.Sub(at)) + ")"
}

func ago(now, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", " + span(now.Sub(at)) + " ago"
}

func (c *cli) caseTimelineCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:     "timeline CASE",
		Short:   "Show everything that happened in a case, oldest first",
		Example: "  casement case timeline cas_0123\n  casement case timeline cas_0123 --kind action -o jsonl",
		Args:    exactly("CASE"),
	}
	f := lists(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "one `kind` of entry: finding, decision, action, verify, human or notice")
	cmd.RunE = c.does(func(ctx context.Context, args []string) error {
		if kind != "" && !slices.Contains([]string{"finding", "decision", "action", "verify", "human", "notice"}, kind) {
			return failf(codeUsage, "", "kind %q: want finding, decision, action, verify, human or notice", kind)
		}
		return c.with(ctx, false, func(k *client) error {
			var out struct {
				Timeline []web.TimelineEntry `json:"timeline"`
			}
			if err := k.call(ctx, "GET", "/api/v1/cases/"+url.PathEscape(args[0])+"/timeline?kind="+kind, nil, &out); err != nil {
				return noCase(args[0], err)
			}
			return emit(c, f, out.Timeline, func(list []web.TimelineEntry) {
				t := c.term
				for _, e := range list {
					fmt.Fprintf(t.w, "%s  %s %s\n", t.paint(dim, e.At.UTC().Format("2006-01-02 15:04:05")), t.paint(bold, clean(e.Actor)), strings.TrimSpace(clean(e.Verb+" "+e.Object)))
					if e.Detail != "" {
						fmt.Fprintf(t.w, "                     %s\n", clean(e.Detail))
					}
					if e.Quote != "" {
						fmt.Fprintf(t.w, "                     “%s”\n", clean(e.Quote))
					}
				}
			})
		})
	})
	return cmd
}

// pausedWords says for how long the SLA clock of a case stood still, and until
// when it does.
func pausedWords(k remedy.Case, seconds int64) string {
	words := "the SLA clock stood still for " + span(time.Duration(seconds)*time.Second)
	if p, ok := k.Pausing(); ok {
		words += ", now until " + p.Until.UTC().Format("2006-01-02 15:04 UTC") + ": " + p.Reason.Words() + ", by " + p.By
	}
	return words
}
