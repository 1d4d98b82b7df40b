// Package gate decides whether a build may go on: it judges the findings of a
// report by policy, honours approved exceptions until their dates, and writes
// the verdict for people and machines (SARIF 2.1.0, JUnit).
//
// It is pure and may import judge, policy, deadline and finding.
// Invariants: what policy can't evaluate blocks; an exception lets pass only
// what it names, only until its date, and shows; one exposure is one result,
// however many tools and records speak of it; the same input gives the same
// verdict.
package gate

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/policy"
)

// Exception is an approved exception as it is kept in the store. Empty fields
// name nothing in particular; at least one of Class, Package, Project and
// Weakness has to be set, or it excepts nothing.
type Exception struct {
	ID       string        `json:"id"`
	Class    finding.Class `json:"class,omitempty"`
	Package  string        `json:"package,omitempty"`
	Project  string        `json:"project,omitempty"`
	Weakness string        `json:"weakness,omitempty"`
	// From and Until bound it: From ≤ now < Until, UTC.
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Approved string    `json:"approved_by"`
	Reason   string    `json:"reason,omitempty"`
}

// Covers reports whether the exception is for the finding, whatever the date.
func (e Exception) Covers(f finding.Finding, project string) bool {
	if e.Class == "" && e.Package == "" && e.Project == "" && e.Weakness == "" {
		return false
	}
	switch {
	case e.Class != "" && e.Class != f.Class,
		e.Package != "" && !strings.EqualFold(e.Package, f.Component.Name),
		e.Project != "" && !strings.EqualFold(e.Project, project):
		return false
	}
	return e.Weakness == "" || names(f, e.Weakness)
}

// names reports whether a finding speaks of nothing but the weakness: an
// exception for one CVE must not let another through with it.
func names(f finding.Finding, id string) bool {
	ids := f.Weakness.CVE
	if len(ids) == 0 {
		ids = f.Weakness.Advisory
	}
	if len(ids) == 0 && f.Rule != "" {
		ids = []string{f.Rule}
	}
	for _, w := range ids {
		if !strings.EqualFold(w, id) {
			return false
		}
	}
	return len(ids) > 0
}

// Options of one run.
type Options struct {
	// Project names what is built, "" to take it from the findings.
	Project    string
	Exceptions []Exception
	// At is the instant of the judgement, UTC.
	At time.Time
	// Keep bounds Report.Results to the most pressing; 0 is DefaultKeep.
	Keep int
}

// DefaultKeep is how many results a report lists at most, so that its size does
// not grow with the file: as many as GitHub shows of a run
// (docs.github.com, "SARIF support for code scanning").
const DefaultKeep = 5_000

// Outcome is what the gate does with one exposure.
type Outcome string

// The outcomes. Excepted would block but for an exception.
const (
	Blocked  Outcome = "block"
	Warned   Outcome = "warn"
	Excepted Outcome = "excepted"
	Passed   Outcome = "pass"
)

// Result is the verdict on one exposure.
type Result struct {
	Key      string             `json:"key"`
	UIDs     []string           `json:"uids"`
	Outcome  Outcome            `json:"outcome"`
	Title    string             `json:"title"`
	Class    finding.Class      `json:"class"`
	Risk     deadline.RiskClass `json:"risk"`
	Severity finding.Severity   `json:"severity"`
	// Weakness is the CVE, advisory or rule id.
	Weakness string `json:"weakness"`
	Project  string `json:"project"`
	Package  string `json:"package,omitempty"`
	Version  string `json:"version,omitempty"`
	Fixed    string `json:"fixed_version,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	// Do is the recommendation.
	Do string `json:"recommendation"`
	// Rule of the policy, and why.
	Rule  string `json:"rule"`
	Why   string `json:"why,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Unknown are facts that count as the worst because nobody knows them, and
	// may relax the class once they are known.
	Unknown []string `json:"unknown,omitempty"`
	// Exception that let it pass, and until when.
	Exception *Exception `json:"exception,omitempty"`
	// Ended is the newest exception for it that is over.
	Ended *Exception `json:"ended_exception,omitempty"`
	Error string     `json:"error,omitempty"`
	// Ticket and Case are filled in by the caller that opened them.
	Ticket string `json:"ticket,omitempty"`
	Case   string `json:"case,omitempty"`

	// Finding is the exposure itself, of what is blocked or excepted.
	Finding finding.Finding `json:"-"`
}

// Report is the verdict on a build.
type Report struct {
	Policy  string    `json:"policy"`
	Project string    `json:"project,omitempty"`
	At      time.Time `json:"at"`
	Alerts  int       `json:"alerts"`
	// Counts by outcome.
	Blocked  int `json:"blocked"`
	Warned   int `json:"warned"`
	Excepted int `json:"excepted"`
	Passed   int `json:"passed"`
	// Results, blocked first, then by risk class and severity. Unlisted counts
	// the exposures that come after them and are not listed.
	Results  []Result `json:"results"`
	Unlisted int      `json:"unlisted,omitempty"`
}

// Pass reports whether the build may go on.
func (r Report) Pass() bool { return r.Blocked == 0 }

// Evaluate judges findings, one result per exposure. The error is that of the
// pile; the verdict is then none.
func Evaluate(j judge.Judge, p *finding.Pile, o Options) (Report, error) {
	out := Report{Policy: j.Pack.Version(), Project: o.Project, At: o.At.UTC(), Alerts: p.Len(), Results: []Result{}}
	keep := cmp.Or(o.Keep, DefaultKeep)
	err := p.Each(func(part []finding.Piled) {
		for _, g := range grouped(part) {
			r := one(j, g, o)
			switch r.Outcome {
			case Blocked:
				out.Blocked++
			case Warned:
				out.Warned++
			case Excepted:
				out.Excepted++
			case Passed:
				out.Passed++
			}
			if r.Outcome == Warned || r.Outcome == Passed {
				r.Finding = finding.Finding{} // nobody asks for it, and there may be many
			}
			if out.Results = append(out.Results, r); len(out.Results) >= 2*keep {
				out.Results = mostPressing(out.Results, keep)
			}
		}
	})
	if err != nil {
		return Report{}, err
	}
	out.Results = mostPressing(out.Results, keep)
	out.Unlisted = out.Blocked + out.Warned + out.Excepted + out.Passed - len(out.Results)
	return out, nil
}

// mostPressing orders results and cuts them to as many as are kept. A key is
// there once, so the order is the same however often it is cut.
func mostPressing(list []Result, keep int) []Result {
	slices.SortFunc(list, func(a, b Result) int {
		return cmp.Or(cmp.Compare(rank(a.Outcome), rank(b.Outcome)), cmp.Compare(a.Risk, b.Risk), cmp.Compare(b.Severity, a.Severity),
			cmp.Compare(a.Package, b.Package), cmp.Compare(a.Key, b.Key))
	})
	if len(list) > keep {
		clear(list[keep:])
		list = list[:keep]
	}
	return list
}

func rank(o Outcome) int {
	return slices.Index([]Outcome{Blocked, Excepted, Warned, Passed}, o)
}

// exposure is the findings of one key.
type exposure struct {
	finding finding.Finding
	uids    []string
	key     string
}

// grouped joins findings by exposure key, in order of appearance. What the
// source says is fixed or dismissed is still judged: that is a claim.
func grouped(findings []finding.Piled) []exposure {
	index := map[string]int{}
	var out []exposure
	for _, x := range findings {
		f := x.Finding
		key := finding.ExposureKey(f).String()
		i, ok := index[key]
		switch {
		case !ok:
			index[key] = len(out)
			out = append(out, exposure{f, []string{f.UID}, key})
		case !slices.Contains(out[i].uids, f.UID):
			out[i].finding = finding.Merge(out[i].finding, f)
			out[i].uids = append(out[i].uids, f.UID)
		}
	}
	return out
}

// one judges one exposure.
func one(j judge.Judge, g exposure, o Options) Result {
	f := g.finding
	v, why := j.Judge(f, policy.CaseFacts{Members: len(g.uids)}, o.At)
	d := v.Decision
	r := Result{Key: g.key, UIDs: g.uids, Title: f.Title, Class: f.Class, Risk: d.Class, Severity: f.Severity, Weakness: weakness(f),
		Project: ProjectOf(f, o.Project), Package: f.Component.Name, Version: f.Component.Version, Fixed: f.Component.FixedVersion,
		File: f.Location.File, Line: f.Location.Line, Do: Recommendation(f, j.Pack.ManualSteps(d.Playbook)), Rule: d.Rule, Why: d.Why, Error: d.Error, Unknown: why.Trace.Would, Finding: f}
	if v.Routing.Known {
		r.Owner = v.Routing.Owner
	}
	switch j.Pack.Gate(d) {
	case policy.GatePass:
		r.Outcome = Passed
		if d.Suppress && d.Error == "" {
			r.Outcome = Excepted
			r.Exception = &Exception{ID: d.Rule, Until: d.Until, Reason: d.Why}
		}
		return r
	case policy.GateWarn:
		r.Outcome = Warned
		return r
	}
	r.Outcome = Blocked
	if d.Error != "" {
		return r // what can't be judged can't be excepted either
	}
	for _, e := range o.Exceptions {
		switch {
		case !e.Covers(f, r.Project):
		case o.At.Before(e.From):
		case o.At.Before(e.Until):
			if r.Exception == nil || e.Until.After(r.Exception.Until) {
				r.Outcome, r.Exception = Excepted, &e
			}
		case r.Ended == nil || e.Until.After(r.Ended.Until):
			r.Ended = &e
		}
	}
	return r
}

// weakness is the id people look up.
func weakness(f finding.Finding) string {
	switch {
	case len(f.Weakness.CVE) > 0:
		return strings.Join(f.Weakness.CVE, ", ")
	case len(f.Weakness.Advisory) > 0:
		return strings.Join(f.Weakness.Advisory, ", ")
	case f.Rule != "":
		return f.Rule
	}
	return string(f.Class)
}

// ProjectOf names the project of a finding: as given, else its repository,
// application or asset.
func ProjectOf(f finding.Finding, given string) string {
	return cmp.Or(given, f.Location.Repository, f.Asset.App, f.Asset.Name, f.Asset.UID)
}

// Recommendation says what to do, from the most exact source there is.
func Recommendation(f finding.Finding, manual []string) string {
	c := f.Component
	switch {
	case c.Name != "" && c.FixedVersion != "":
		from := ""
		if c.Version != "" {
			from = " from " + c.Version
		}
		return "upgrade " + c.Name + from + " to " + c.FixedVersion
	case f.Recommended != "":
		return firstLine(f.Recommended)
	case f.Weakness.SecretHash != "":
		return "revoke the secret at its issuer, then remove it from the code"
	case c.Name != "" && f.Class == finding.VulnerablePackage:
		return "no fixed version of " + c.Name + " is known: replace it, or ask for an exception with a date"
	case len(manual) > 0:
		return manual[0]
	}
	return "see the finding at its source"
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:299]) + "…"
	}
	return s
}

// Label is what an exposure is called in one line: package and version, or
// file and line.
func (r Result) Label() string {
	switch {
	case r.Package != "" && r.Version != "":
		return r.Package + " " + r.Version
	case r.Package != "":
		return r.Package
	case r.File != "":
		return r.File
	}
	return r.Project
}

// Reason says in one sentence why the outcome is what it is.
func (r Result) Reason() string {
	switch {
	case r.Error != "":
		return "the policy could not be evaluated: " + r.Error
	case r.Exception != nil:
		s := "excepted by " + r.Exception.ID + " until " + r.Exception.Until.UTC().Format(time.DateOnly)
		if r.Exception.Reason != "" {
			s += ": " + r.Exception.Reason
		}
		return s
	case r.Ended != nil:
		return "the exception " + r.Ended.ID + " ended on " + r.Ended.Until.UTC().Format(time.DateOnly)
	}
	s := "rule " + r.Rule + ", risk class " + r.Risk.String()
	if r.Why != "" {
		s += ": " + r.Why
	}
	if len(r.Unknown) > 0 {
		s += " Judged as the worst, because unknown: " + strings.Join(r.Unknown, ", ") + "."
	}
	return s
}
