// Package backtest runs history against another policy: which decisions would
// change and why, how far people agreed, and what a pack makes of a file of
// alerts (inventory and try).
//
// It is pure and may import judge, policy, owner, deadline, remedy and finding.
// Invariant: it judges with the code that runs live and decides nothing by
// itself; the same input gives the same report.
package backtest

import (
	"sort"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// Group is the findings of one exposure, as the engine would keep them in one
// case.
type Group struct {
	Tenant, Key string
	// Finding is all members merged, as the engine judges them.
	Finding finding.Finding
	// UIDs are the distinct findings, in order of appearance.
	UIDs []string
	// Sources that speak of it, in order of appearance.
	Sources []string
	// Alerts counts everything that came, repeats included.
	Alerts int

	first int // the number of its first alert
}

// GroupOf groups findings by tenant and exposure key, in order of appearance.
// Of findings with one uid the last word counts, as with a source that repeats
// itself.
func GroupOf(fs []finding.Finding) []Group {
	list := make([]finding.Piled, len(fs))
	for i, f := range fs {
		list[i] = finding.Piled{N: i, Finding: f}
	}
	return groups(list)
}

func groups(list []finding.Piled) []Group {
	type id struct{ tenant, key string }
	index := map[id]int{}
	var out []Group
	members := map[id]map[string]finding.Finding{}
	for _, x := range list {
		f := x.Finding
		k := id{f.Tenant, finding.ExposureKey(f).String()}
		i, ok := index[k]
		if !ok {
			i = len(out)
			index[k] = i
			out = append(out, Group{Tenant: k.tenant, Key: k.key, first: x.N})
			members[k] = map[string]finding.Finding{}
		}
		out[i].Alerts++
		out[i].Sources = appendNew(out[i].Sources, f.Source)
		if _, seen := members[k][f.UID]; !seen {
			out[i].UIDs = append(out[i].UIDs, f.UID)
		}
		members[k][f.UID] = f
	}
	for i := range out {
		g := &out[i]
		k := id{g.Tenant, g.Key}
		g.Finding = members[k][g.UIDs[0]]
		for _, uid := range g.UIDs[1:] {
			g.Finding = finding.Merge(g.Finding, members[k][uid])
		}
	}
	return out
}

// eachGroup hands out the groups of a pile, a part of it in memory at a time.
func eachGroup(p *finding.Pile, do func(Group)) error {
	return p.Each(func(part []finding.Piled) {
		for _, g := range groups(part) {
			do(g)
		}
	})
}

// Past is one decision of history: stored, or made of a file.
type Past struct {
	// ID is the case id, or the exposure key where there is no case.
	ID    string   `json:"id"`
	Key   string   `json:"key,omitempty"`
	UIDs  []string `json:"uids,omitempty"`
	Title string   `json:"title"`
	// Facts are the snapshot the decision was made on.
	Facts    policy.Facts    `json:"-"`
	Decision remedy.Decision `json:"-"`
	// Alerts is the number of alerts behind it, for weighing.
	Alerts int `json:"alerts"`
}

// FromFindings makes history of a file: what j decides of each exposure.
func FromFindings(j judge.Judge, fs []finding.Finding, at time.Time) []Past {
	var out []Past
	for _, g := range GroupOf(fs) {
		d, e := j.Judge(g.Finding, policy.CaseFacts{Members: len(g.UIDs)}, at)
		out = append(out, Past{ID: g.Key, Key: g.Key, UIDs: g.UIDs, Title: g.Finding.Title, Facts: e.Facts, Decision: d.Decision, Alerts: g.Alerts})
	}
	return out
}

// Label is the path a decision is listed under in a backtest: for one in shadow
// the path it would have taken, as `casement try` counts it. Decisions stored by
// an early release name what the rule meant before unknown facts lowered it.
func Label(d remedy.Decision) remedy.Path {
	switch {
	case d.Mode != remedy.ModeShadow:
		return d.Path()
	case d.Intended == remedy.PathEnforce && len(d.Unknown) > 0:
		return remedy.PathApprove
	}
	return d.Intended
}

// Matrix counts pairs of paths: first the row, then the column.
type Matrix map[remedy.Path]map[remedy.Path]int

func (m Matrix) add(row, col remedy.Path) {
	if m[row] == nil {
		m[row] = map[remedy.Path]int{}
	}
	m[row][col]++
}

// Paths lists the paths in the order tables show them, from most to least
// intrusive.
func Paths() []remedy.Path {
	return []remedy.Path{remedy.PathIncident, remedy.PathEnforce, remedy.PathApprove, remedy.PathTicket, remedy.PathMonitor, remedy.PathSuppress}
}

// Comparison is old decisions against those of another pack.
type Comparison struct {
	OldVersion string `json:"old_version,omitempty"`
	NewVersion string `json:"new_version"`
	Cases      int    `json:"cases"`
	// Same counts cases with equal path, class, rule and actions.
	Same    int      `json:"same"`
	Matrix  Matrix   `json:"matrix"`
	Changed []Change `json:"changed"`
	// Tighter and Looser count changed risk classes.
	Tighter int `json:"tighter"`
	Looser  int `json:"looser"`
	// NewlyEnforced counts cases that would be acted on without a person only
	// under the new pack.
	NewlyEnforced int `json:"newly_enforced"`
	// Errors counts cases whose decision the new pack could not evaluate.
	Errors int `json:"errors"`
}

// Change is one case whose decision differs.
type Change struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Old   Side   `json:"old"`
	New   Side   `json:"new"`
	// Why says in words what differs.
	Why []string `json:"why"`
}

// Side is one of the two decisions.
type Side struct {
	Path  remedy.Path        `json:"path"`
	Class deadline.RiskClass `json:"class"`
	Rule  string             `json:"rule"`
	// Actions are "name (authorization)".
	Actions []string `json:"actions,omitempty"`
	Error   string   `json:"error,omitempty"`
}

func sideOf(d remedy.Decision) Side {
	s := Side{Path: Label(d), Class: d.Class, Rule: d.Rule, Error: d.Error}
	for _, a := range d.Actions {
		s.Actions = append(s.Actions, a.Name+" ("+string(a.Auth)+")")
	}
	return s
}

// Compare judges the facts of history by another pack, at the instants of the
// old decisions.
func Compare(past []Past, next *policy.Pack) Comparison {
	out := Comparison{NewVersion: next.Version(), Cases: len(past), Matrix: Matrix{}, Changed: []Change{}}
	for _, p := range past {
		d, trace := next.Decide(p.Facts)
		before, after := sideOf(p.Decision), sideOf(d)
		out.Matrix.add(before.Path, after.Path)
		if after.Error != "" {
			out.Errors++
		}
		why := differences(before, after)
		if len(why) == 0 {
			out.Same++
			continue
		}
		switch {
		case after.Class < before.Class:
			out.Tighter++
		case after.Class > before.Class:
			out.Looser++
		}
		if after.Path == remedy.PathEnforce && before.Path != remedy.PathEnforce {
			out.NewlyEnforced++
		}
		if len(trace.Lowered) > 0 {
			why = append(why, trace.Lowered...)
		}
		out.Changed = append(out.Changed, Change{p.ID, p.Title, before, after, why})
	}
	sort.SliceStable(out.Changed, func(i, j int) bool { return weight(out.Changed[i]) > weight(out.Changed[j]) })
	return out
}

// weight puts first what a reviewer has to look at first: new enforcement, then
// looser classes, then the rest.
func weight(c Change) int {
	switch {
	case c.New.Error != "":
		return 4
	case c.New.Path == remedy.PathEnforce && c.Old.Path != remedy.PathEnforce:
		return 3
	case c.New.Class > c.Old.Class:
		return 2
	case c.New.Path != c.Old.Path:
		return 1
	}
	return 0
}

func differences(a, b Side) []string {
	var out []string
	if a.Path != b.Path {
		out = append(out, "path "+string(a.Path)+" → "+string(b.Path))
	}
	if a.Class != b.Class {
		out = append(out, "class "+a.Class.String()+" → "+b.Class.String())
	}
	if a.Rule != b.Rule {
		out = append(out, "rule "+a.Rule+" → "+b.Rule)
	}
	if x, y := list(a.Actions), list(b.Actions); x != y {
		out = append(out, "actions "+x+" → "+y)
	}
	if b.Error != "" && a.Error == "" {
		out = append(out, "error: "+b.Error)
	}
	return out
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	out := words[0]
	for _, w := range words[1:] {
		out += ", " + w
	}
	return out
}
