package policy

import (
	"fmt"
	"sort"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// Confidence bounds, in the finding's 1..100.
const (
	// LowConfidence: below it nothing is enforced.
	LowConfidence = 50
	// HighConfidence is what containment of an incident in production needs.
	HighConfidence = 80
)

// Trace is how a decision came about, for `policy explain`.
type Trace struct {
	Version string  `json:"version"`
	Rules   []Tried `json:"rules"`
	// Class lists the class rows that counted; the strictest stands.
	Class []string `json:"class"`
	// Lowered says why an authorization is less than the rule's word.
	Lowered []string `json:"lowered,omitempty"`
	// Would are unknown facts that may relax the class once they are known.
	Would []string `json:"would_relax,omitempty"`
	// Cost is the sum of all evaluations, in CEL cost units.
	Cost uint64 `json:"cost"`
}

// Tried is one rule that was evaluated.
type Tried struct {
	Rule string `json:"rule"`
	// Where is file:line.
	Where string `json:"where"`
	// Result is no, matches, maybe (it depends on Unknown), expired or error.
	Result  string   `json:"result"`
	Unknown []string `json:"unknown,omitempty"`
	Error   string   `json:"error,omitempty"`
	Cost    uint64   `json:"cost"`
}

// Options change what Decide leaves out.
type Options struct {
	// IgnoreModes judges as if every rule had mode enforce: what the pack would
	// do once it is trusted. Limits by unknown facts stay.
	IgnoreModes bool
}

// Decide returns the decision for the facts and how it came about. It is total
// and a function of the pack and the facts alone.
func (p *Pack) Decide(f Facts) (remedy.Decision, Trace) { return p.DecideWith(f, Options{}) }

// DecideWith is Decide with options.
func (p *Pack) DecideWith(f Facts, o Options) (remedy.Decision, Trace) {
	j := &judging{pack: p, facts: f, act: newActivation(p.vars, f), opt: o}
	j.trace.Version = p.version
	j.doubt = map[string]bool{}
	if d, ok := j.exception(); ok {
		return d, j.trace
	}
	chosen := j.choose()
	d := j.decision(chosen)
	return d, j.trace
}

// judging is one run of Decide.
type judging struct {
	pack  *Pack
	facts Facts
	act   activation
	opt   Options
	trace Trace
	// class is the strictest class of all rules that may decide.
	class deadline.RiskClass
	// doubt are unknown facts on which the choice of the rule hangs.
	doubt map[string]bool
	err   string
}

// exception looks for an approved exception that holds whatever the unknown
// facts are.
func (j *judging) exception() (remedy.Decision, bool) {
	for _, e := range j.pack.exceptions {
		if j.facts.At.Before(e.from) || !j.facts.At.Before(e.until) {
			continue
		}
		v := e.when.eval(j.act, j.act.unknown)
		j.trace.Cost += v.cost
		name := "exception:" + e.name
		if v.result == failed { // it excuses nothing, and shows
			j.trace.Rules = append(j.trace.Rules, Tried{Rule: name, Where: e.when.at.String(), Result: "error", Error: v.err, Cost: v.cost})
		}
		if v.result != holds {
			continue
		}
		j.trace.Rules = append(j.trace.Rules, Tried{Rule: name, Where: e.when.at.String(), Result: "matches", Cost: v.cost})
		class := deadline.K5
		j.trace.Class = []string{class.String() + " by " + name}
		return remedy.Decision{
			Class: class, Rule: name, Why: fmt.Sprintf("%s (asked by %s, approved by %s)", e.reason, e.asked, e.approved),
			Suppress: true, Until: e.until, Mode: remedy.ModeTicket, Intended: remedy.PathSuppress, ProbeEvery: probeEvery(class),
		}, true
	}
	return remedy.Decision{}, false
}

// choose tries the rules in order and returns the one that decides, nil for the
// fallback. A rule that may match once unknown facts are known lends its class
// and puts the choice in doubt.
func (j *judging) choose() *rule {
	var chosen *rule
	for i := range j.pack.rules {
		r := &j.pack.rules[i]
		t := Tried{Rule: r.name, Where: r.where}
		if r.suppress != nil && !j.facts.At.Before(r.suppress.until) {
			t.Result = "expired"
			j.trace.Rules = append(j.trace.Rules, t)
			continue
		}
		v, sure := j.eval(r.when)
		t.Cost, t.Error, t.Unknown = v.cost+sure.cost, v.err, sure.unknown
		j.trace.Cost += t.Cost
		t.Result = []string{"no", "maybe", "matches", "error"}[v.result]
		if sure.result == maybe && v.result == never {
			t.Result = "maybe"
		}
		j.trace.Rules = append(j.trace.Rules, t)
		if v.result == failed {
			// It may have matched or not: its class counts, and so do those of
			// the rules after it.
			if chosen == nil {
				chosen = r
			}
			j.fail(r, v.err)
			continue
		}
		if r.suppress != nil {
			// Silence needs certainty: unknown facts never suppress.
			if chosen == nil && v.result == holds && sure.result == holds {
				return r
			}
			if sure.result != never {
				j.doubtBy(sure.unknown)
			}
			continue
		}
		if v.result == never && sure.result == never {
			continue
		}
		j.addClass(r)
		if sure.result != holds {
			j.doubtBy(sure.unknown)
		}
		if chosen == nil && v.result == holds {
			chosen = r
		}
		if sure.result == holds {
			return chosen
		}
	}
	j.strictest(deadline.K3, FallbackRule)
	return chosen
}

// eval judges a condition by the stand-in values of unknown facts and, where it
// reads one, by what holds for all values they could have.
func (j *judging) eval(c condition) (verdict, verdict) {
	v := c.eval(j.act, nil)
	for _, name := range j.act.unknown {
		if c.reads[name] {
			sure := c.eval(j.act, j.act.unknown)
			if sure.result == failed {
				// With a fact unknown the error may or may not come: in doubt.
				sure.result, sure.unknown = maybe, readUnknown(c, j.act.unknown)
			}
			return v, sure
		}
	}
	return v, verdict{result: v.result}
}

func readUnknown(c condition, unknown []string) []string {
	var out []string
	for _, n := range unknown {
		if c.reads[n] {
			out = append(out, n)
		}
	}
	return out
}

func (j *judging) doubtBy(names []string) {
	for _, n := range names {
		j.doubt[n] = true
	}
}

// addClass adds the class rows of a rule that may hold, up to the first that
// surely does.
func (j *judging) addClass(r *rule) {
	for _, row := range r.class {
		if row.when == nil {
			j.strictest(row.class, r.name)
			return
		}
		v, sure := j.eval(*row.when)
		j.trace.Cost += v.cost + sure.cost
		switch {
		case v.result == failed:
			if j.err == "" {
				j.err = fmt.Sprintf("class of rule %q: %s", r.name, v.err)
			}
			j.strictest(row.class, r.name+" (error)")
		case v.result == holds || sure.result != never:
			note := r.name + " (" + row.source + ")"
			if sure.result == maybe {
				j.would(sure.unknown)
			}
			j.strictest(row.class, note)
		}
		if sure.result == holds {
			return
		}
	}
}

func (j *judging) would(names []string) {
	for _, n := range names {
		if !contains(j.trace.Would, n) {
			j.trace.Would = append(j.trace.Would, n)
		}
	}
	sort.Strings(j.trace.Would)
}

func (j *judging) strictest(c deadline.RiskClass, by string) {
	j.class = deadline.Stricter(j.class, c)
	j.trace.Class = append(j.trace.Class, c.String()+" by "+by)
}

// fail notes a condition that could not be evaluated: a person decides, under
// K3 or the strictest class the rule could have given.
func (j *judging) fail(r *rule, msg string) {
	if j.err == "" {
		j.err = fmt.Sprintf("condition of rule %q (%s): %s", r.name, r.at, msg)
	}
	j.strictest(deadline.K3, r.name+" (error)")
	for _, row := range r.class {
		j.strictest(row.class, r.name+" (error)")
	}
}

// decision builds the decision of the chosen rule.
func (j *judging) decision(r *rule) remedy.Decision {
	if r != nil && r.suppress != nil && j.err == "" {
		class := deadline.Stricter(j.class, deadline.K5)
		return remedy.Decision{
			Class: class, Rule: r.name, Why: r.suppress.reason, Suppress: true, Until: r.suppress.until,
			Mode: remedy.ModeTicket, Intended: remedy.PathSuppress, ProbeEvery: probeEvery(class),
		}
	}
	d := remedy.Decision{Class: j.class, Rule: FallbackRule, Why: "no rule matches, so a person looks", Ticket: true, Mode: remedy.ModeTicket, Error: j.err}
	var pb playbook
	if r != nil {
		d.Rule, d.Why, d.Incident, d.Ticket, d.Mode = r.name, r.why, r.incident, r.ticket, j.mode(r)
		d.Playbook = r.playbook
		pb = j.pack.playbooks[r.playbook]
	}
	if j.err != "" {
		d.Ticket = true
		if d.Mode == remedy.ModeShadow {
			d.Mode = remedy.ModeTicket
		}
		j.lower("the policy could not be evaluated, so a person decides")
	}
	d.Grade = max(pb.grade, leastGrade(d.Class))
	d.ProbeEvery = orDefault(pb.probeEvery, probeEvery(d.Class))
	if pb.probe.Connector != "" {
		d.Probe = pb.probe
		d.Probe.Params = j.pack.fillParams(pb.probe.Params, j.facts)
	}
	j.actions(r, pb, &d)
	j.routes(r, &d)
	return d
}
