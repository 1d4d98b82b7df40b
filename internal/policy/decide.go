package policy

import (
	"fmt"
	"sort"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
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
		if v.result != holds {
			continue
		}
		name := "exception:" + e.name
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
			j.fail(r, v.err)
			if chosen == nil {
				chosen = r
			}
			return chosen
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
// the strictest class the rule could have given.
func (j *judging) fail(r *rule, msg string) {
	j.err = fmt.Sprintf("condition of rule %q (%s): %s", r.name, r.at, msg)
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

// mode is the ceiling of a rule in the scope of the facts. A scope that an
// unknown fact might be in counts with the lowest mode.
func (j *judging) mode(r *rule) remedy.Mode {
	if j.opt.IgnoreModes {
		return remedy.ModeEnforce
	}
	lowest := remedy.ModeEnforce
	for _, m := range r.modes {
		sure, may := true, true
		for _, p := range [][2]string{{m.team, j.facts.Team}, {m.account, j.facts.Account}, {m.environment, j.facts.Environment}} {
			if p[0] == "" {
				continue
			}
			sure = sure && p[1] != "" && wild(p[0], p[1])
			may = may && (p[1] == "" || wild(p[0], p[1]))
		}
		if may {
			lowest = lowerMode(lowest, m.mode)
		}
		if sure {
			return lowest
		}
	}
	return lowerMode(lowest, r.mode)
}

func lowerMode(a, b remedy.Mode) remedy.Mode {
	if modeRank(b) < modeRank(a) {
		return b
	}
	return a
}

func modeRank(m remedy.Mode) int {
	switch m {
	case remedy.ModeTicket:
		return 1
	case remedy.ModeApprove:
		return 2
	case remedy.ModeEnforce:
		return 3
	}
	return 0
}

// actions authorizes the actions of the playbook: the rule's word, the limits
// of irreversible and traffic-cutting actions, unknown facts, the mode.
func (j *judging) actions(r *rule, pb playbook, d *remedy.Decision) {
	if r == nil {
		d.Intended = d.Path()
		return
	}
	unknown := j.unknownFacts()
	intended := *d
	for _, a := range pb.actions {
		s := a.spec
		s.Params = j.pack.fillParams(s.Params, j.facts)
		s.Continuity.Params = j.pack.fillParams(s.Continuity.Params, j.facts)
		s.OptIn = contains(r.optIn, s.Name)
		s.Auth = j.limit(s, r.auth(s), d.Incident)
		intended.Actions = append(intended.Actions, s)
		if s.Auth == remedy.AuthEnforce {
			missing := append([]string(nil), unknown...)
			for _, name := range a.required {
				if s.Params[name] == "" && j.facts.Params[name] == "" {
					missing = append(missing, "params."+name)
				}
			}
			if len(missing) > 0 || j.err != "" {
				s.Auth = remedy.AuthApprove
				d.Unknown = unique(append(d.Unknown, missing...))
			}
		}
		s.Auth = underMode(s.Auth, d.Mode)
		d.Actions = append(d.Actions, s)
	}
	d.Intended = intended.Path()
	if len(d.Unknown) > 0 {
		j.lower("unknown or doubtful: " + joinWords(d.Unknown) + "; approve instead of enforce")
	}
	if d.Mode != remedy.ModeEnforce {
		j.lower("mode " + string(d.Mode))
	}
	if d.Mode == remedy.ModeShadow {
		d.Ticket = false
	}
	if d.Mode == remedy.ModeTicket && len(d.Actions) > 0 {
		d.Ticket = true
	}
}

// limit lowers an enforcement that no fact could justify: an irreversible
// action not opted in by name, and one that may cut traffic in production
// unless it contains an incident of high confidence and ends by itself.
func (j *judging) limit(s remedy.ActionSpec, auth remedy.Authorization, incident bool) remedy.Authorization {
	if auth != remedy.AuthEnforce {
		return auth
	}
	switch {
	case s.Reversibility >= 3 && !s.OptIn:
		j.lower(s.Name + " is irreversible and not opted in by name")
		return remedy.AuthApprove
	case s.Reversibility == 2 && j.facts.Environment == "production":
		if incident && s.Phase == remedy.Contain && s.Expires > 0 && j.facts.Confidence >= HighConfidence {
			return auth
		}
		j.lower(s.Name + " may cut traffic in production")
		return remedy.AuthApprove
	}
	return auth
}

func underMode(a remedy.Authorization, m remedy.Mode) remedy.Authorization {
	switch m {
	case remedy.ModeShadow, remedy.ModeTicket:
		return remedy.AuthNone
	case remedy.ModeApprove:
		if a == remedy.AuthEnforce {
			return remedy.AuthApprove
		}
	}
	return a
}

// unknownFacts are the facts without which nothing is enforced (law 5): those
// every enforcement needs, and those the choice of the rule hangs on.
func (j *judging) unknownFacts() []string {
	f, out := j.facts, []string(nil)
	if !f.OwnerKnown {
		out = append(out, "owner")
	}
	if f.Blast <= finding.BlastUnknown {
		out = append(out, "blast")
	}
	if f.Environment == "" {
		out = append(out, "environment")
	}
	if customer := f.CustomerFacing; customer != finding.Yes && customer != finding.No && (f.Environment == "production" || f.Environment == "") {
		out = append(out, "customer_facing")
	}
	if f.Confidence < LowConfidence {
		out = append(out, "confidence")
	}
	for n := range j.doubt {
		out = append(out, n)
	}
	return unique(out)
}

func (j *judging) lower(why string) {
	if !contains(j.trace.Lowered, why) {
		j.trace.Lowered = append(j.trace.Lowered, why)
	}
}

// routes fills in systems of record and channels.
func (j *judging) routes(r *rule, d *remedy.Decision) {
	for _, rt := range j.pack.routes {
		if !rt.match.fits(j.facts, d.Class) {
			continue
		}
		d.Notify = append(d.Notify, rt.notify...)
		for _, t := range rt.tickets {
			t.Project = j.pack.fillParams(map[string]string{"p": t.Project}, j.facts)["p"]
			d.Tickets = append(d.Tickets, t)
		}
		break
	}
	if r != nil {
		d.Notify = append(d.Notify, r.notify...)
	}
	d.Notify = unique(d.Notify)
	if d.Ticket && len(d.Tickets) == 0 && len(j.pack.env.Systems) > 0 {
		d.Tickets = []remedy.TicketSpec{{System: j.pack.env.Systems[0]}}
	}
	if !d.Ticket {
		d.Tickets = nil
	}
}

// probeEvery is the schedule of probes of an open case, in seconds.
func probeEvery(c deadline.RiskClass) int {
	switch c {
	case deadline.K1:
		return 5 * 60
	case deadline.K2:
		return 15 * 60
	case deadline.K3:
		return 6 * 3600
	}
	return 24 * 3600
}

// Clocks returns the due instants of a case opened at start: every SLA that may
// fit counts, and the earliest instant of each duty stands.
func (p *Pack) Clocks(f Facts, class deadline.RiskClass, start time.Time) (deadline.Clocks, error) {
	var out deadline.Clocks
	for _, s := range p.slas {
		if !s.match.mayFit(f, class) {
			continue
		}
		c, err := s.terms.Clocks(class, start)
		if err != nil {
			return deadline.Clocks{}, err
		}
		out = out.Tighten(c)
	}
	return out, nil
}

// Ladder returns the escalation for the facts, in order.
func (p *Pack) Ladder(f Facts, class deadline.RiskClass) []remedy.LadderStep {
	for _, e := range p.escalations {
		if e.match.fits(f, class) {
			return append([]remedy.LadderStep(nil), e.steps...)
		}
	}
	return []remedy.LadderStep{{After: 0, Who: "owner"}, {After: 1800, Who: "backup"}, {After: 2 * 3600, Who: "manager"}, {After: 4 * 3600, Who: "ops_lead"}}
}

func joinWords(words []string) string {
	out := ""
	for i, w := range words {
		if i > 0 {
			out += ", "
		}
		out += w
	}
	return out
}
