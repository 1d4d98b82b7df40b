package policy

import (
	"fmt"
	"strings"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// loader turns decoded documents into a pack and checks what needs more than
// one of them.
type loader struct {
	pack     *Pack
	compiler *compiler
	env      Environment
	names    map[string]pos
}

func (l *loader) all(r raws) {
	l.names = map[string]pos{}
	l.templates(r.templates)
	l.playbooks(r.playbooks)
	for _, doc := range r.rules {
		for _, raw := range doc.Rules {
			if len(l.pack.rules) == maxRules {
				raw.Place.at.failf("let conditions share a rule, or class rows a condition", "the policy has more than %d rules", maxRules)
				return
			}
			l.rule(raw, doc.Mode)
		}
	}
	l.unreachable()
	l.routes(r.routes)
	l.deadlines(r.slas, l.calendars(r.calendars))
	l.escalations(r.escalations)
	for _, g := range r.guardrails {
		l.guardrails(g)
	}
	l.exceptions(r.exceptions)
	for _, t := range r.tests {
		l.test(t)
	}
}

// unique records a name of a kind and refuses its second use.
func (l *loader) unique(kind string, t text) {
	if t.at.src == nil {
		return
	}
	if t.s == "" || len(t.s) > 100 || strings.Trim(t.s, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		t.at.failf("use lower-case letters, digits, dashes and dots", "%s is not a name", quote(t.s))
		return
	}
	key := kind + " " + t.s
	if at, ok := l.names[key]; ok {
		t.at.failf("rename one of them", "%s %q is already at %s", kind, t.s, at)
		return
	}
	l.names[key] = t.at
}

func (l *loader) rule(raw rawRule, docMode text) {
	l.unique("rule", raw.Name)
	if raw.Name.s == FallbackRule {
		raw.Name.at.failf("rename it", "%q is the built-in rule for what nothing matches", FallbackRule)
	}
	r := rule{
		name: raw.Name.s, why: raw.Why.s, at: raw.Place.at, where: raw.Place.at.String(), playbook: raw.Playbook.s,
		contain: remedy.Authorization(raw.Contain.s), fix: remedy.Authorization(raw.Fix.s), optIn: raw.OptIn.words(),
		incident: raw.Incident, ticket: raw.Ticket, mode: remedy.Mode(raw.Mode.s), notify: raw.Notify.words(),
		gate: GateAction(raw.Gate.s),
	}
	r.when, _ = l.condition(raw.When)
	r.class = l.classRows(raw)
	if raw.Suppress.Place.at.src != nil {
		r.suppress = &suppress{raw.Suppress.Until.t, raw.Suppress.Reason.s}
		if r.playbook != "" || r.incident || r.ticket {
			raw.Suppress.Place.at.failf("remove playbook, incident and ticket", "rule %q suppresses and acts at once", r.name)
		}
	} else if len(r.class) == 0 && raw.Class.at.src == nil {
		raw.Place.at.failf("add class: K1 to K5, or rows of when and class", "rule %q has no class, so no clock would run", r.name)
	}
	if r.mode == "" {
		r.mode = remedy.Mode(docMode.s)
	}
	if r.mode == "" {
		r.mode = remedy.ModeShadow
	}
	for _, m := range raw.Modes {
		if m.Team.s+m.Account.s+m.Environment.s == "" {
			m.Place.at.failf("set mode on the rule instead", "mode has no team, account or environment")
		}
		r.modes = append(r.modes, scopedMode{m.Team.s, m.Account.s, m.Environment.s, remedy.Mode(m.Mode.s)})
	}
	for _, n := range raw.Notify {
		l.known(n, "channel", l.env.Channels)
	}
	l.rulePlaybook(raw, r)
	l.pack.rules = append(l.pack.rules, r)
}

func (l *loader) condition(t text) (condition, bool) {
	if t.at.src == nil { // missing: already reported
		return condition{}, false
	}
	return l.compiler.condition(t)
}

// classRows compiles the class of a rule; the last row must always fit.
func (l *loader) classRows(raw rawRule) []classRow {
	var rows []classRow
	for i, row := range raw.Class.rows {
		class, err := deadline.ParseRiskClass(row.Class.s)
		if err != nil {
			return rows // reported by the decoder
		}
		out := classRow{class: class, source: row.When.s}
		switch last := i == len(raw.Class.rows)-1; {
		case row.When.at.src != nil:
			if c, ok := l.condition(row.When); ok {
				out.when = &c
			}
			if last {
				row.Place.at.failf("end with a row that has only class", "the last class row of rule %q has a condition: a case could get no class", raw.Name.s)
			}
		case !last:
			row.Place.at.failf("move it to the end", "class rows after this one are never reached")
		}
		rows = append(rows, out)
	}
	if raw.Class.at.src != nil && len(rows) == 0 && len(raw.Class.rows) == 0 {
		raw.Class.at.failf("add rows of when and class", "rule %q has an empty class table", raw.Name.s)
	}
	return rows
}

// rulePlaybook checks a rule against its playbook: what may be enforced, and
// whether the probe can prove what the class demands.
func (l *loader) rulePlaybook(raw rawRule, r rule) {
	if r.playbook == "" {
		if r.contain != "" || r.fix != "" {
			raw.Place.at.failf("add playbook or remove contain and fix", "rule %q authorizes actions but has no playbook", r.name)
		}
		for _, o := range raw.OptIn {
			o.at.failf("", "rule %q opts in to %q but has no playbook", r.name, o.s)
		}
		return
	}
	pb, ok := l.pack.playbooks[r.playbook]
	if !ok {
		l.known(raw.Playbook, "playbook", keysOf(l.pack.playbooks))
		return
	}
	var names []string
	for _, a := range pb.actions {
		names = append(names, a.spec.Name)
		l.enforceable(raw, r, a)
	}
	for _, o := range raw.OptIn {
		l.known(o, "action of the playbook", names)
	}
	for _, row := range r.class {
		if pb.probe.Connector != "" && pb.probe.Grade < leastGrade(row.class) {
			raw.Playbook.at.failf("use a probe of a better grade or a milder class",
				"class %s closes only on a probe of grade %s, but %s of playbook %q has %s", row.class, leastGrade(row.class), pb.probe.Name(), pb.name, pb.probe.Grade)
			break
		}
	}
}

// enforceable refuses enforcement of what cannot be proven or undone.
func (l *loader) enforceable(raw rawRule, r rule, a action) {
	if r.auth(a.spec) != remedy.AuthEnforce {
		return
	}
	at := raw.Place.at
	for _, t := range []text{raw.Contain, raw.Fix} {
		if t.s == "enforce" {
			at = t.at
		}
	}
	verb, known := l.env.action(a.spec.Connector + "/" + a.spec.Verb)
	if !known {
		return
	}
	if verb.Probe == "" {
		at.failf("authorize approve", "rule %q enforces %s/%s, which has no probe: success could not be proven", r.name, verb.Connector, verb.Verb)
	}
	if !verb.Undoable && !contains(r.optIn, a.spec.Name) {
		at.failf(fmt.Sprintf("authorize approve, or name it: opt_in: [%s]", a.spec.Name), "rule %q enforces %s/%s, which cannot be undone", r.name, verb.Connector, verb.Verb)
	}
}

// auth is the authorization of an action before modes, limits and unknowns.
func (r rule) auth(a remedy.ActionSpec) remedy.Authorization {
	switch {
	case a.Phase == remedy.Contain && r.contain != "":
		return r.contain
	case a.Phase == remedy.Fix && r.fix != "":
		return r.fix
	}
	return a.Auth
}

// unreachable refuses rules that an earlier one always pre-empts. A suppressing
// rule ends at its date and so pre-empts nothing.
func (l *loader) unreachable() {
	for i, r := range l.pack.rules {
		for _, e := range l.pack.rules[:i] {
			if r.when.prog == nil || e.when.prog == nil || e.suppress != nil || !r.when.implies(e.when) {
				continue
			}
			r.when.at.failf("move it before that rule, or change one of the conditions", "rule %q is never reached: rule %q at %s matches everything it could match", r.name, e.name, e.at)
			break
		}
	}
}

// known checks a name against what exists.
func (l *loader) known(t text, kind string, names []string) bool {
	if t.at.src == nil || contains(names, t.s) {
		return true
	}
	t.at.failf(didYouMean(t.s, names), "there is no %s %s", kind, quote(t.s))
	return false
}

func (l *loader) playbooks(raws []rawPlaybook) {
	l.pack.playbooks = map[string]playbook{}
	for _, raw := range raws {
		l.unique("playbook", raw.Name)
		pb := playbook{name: raw.Name.s, description: raw.Description.s, at: raw.Place.at, probeEvery: raw.ProbeEvery.seconds, links: raw.Links}
		for i, g := range []string{"P0", "P1", "P2", "P3"} {
			if raw.Grade.s == g {
				pb.grade = remedy.Grade(i)
			}
		}
		for _, m := range raw.Manual {
			pb.manual = append(pb.manual, m.s)
		}
		seen := map[string]bool{}
		add := func(as []rawAction, phase remedy.Phase) {
			for _, a := range as {
				if seen[a.Name.s] {
					a.Name.at.failf("rename one of them", "playbook %q has two actions %q", pb.name, a.Name.s)
				}
				seen[a.Name.s] = true
				pb.actions = append(pb.actions, l.action(a, phase))
			}
		}
		add(raw.Contain, remedy.Contain)
		add(raw.Fix, remedy.Fix)
		l.playbookProbe(raw, &pb)
		if len(pb.actions) == 0 && len(pb.manual) == 0 {
			raw.Place.at.failf("add contain, fix or manual", "playbook %q does nothing", pb.name)
		}
		l.pack.playbooks[pb.name] = pb
	}
}

// playbookProbe finds the probe of the exposure.
func (l *loader) playbookProbe(raw rawPlaybook, pb *playbook) {
	name := raw.Probe.s
	if name == "" && len(pb.actions) > 0 {
		first := pb.actions[0].spec
		if verb, ok := l.env.action(first.Connector + "/" + first.Verb); ok && verb.Probe != "" {
			name = verb.Connector + "/" + verb.Probe
		}
	}
	if name == "" {
		return
	}
	probe, ok := l.env.probe(name)
	if !ok {
		if raw.Probe.at.src != nil {
			l.known(raw.Probe, "probe", l.probeNames())
		} else {
			raw.Place.at.failf("name one in the field probe", "probe %q of the first action does not exist", name)
		}
		return
	}
	pb.probe = remedy.ProbeSpec{Connector: probe.Connector, Verb: probe.Verb, Grade: probe.Grade, Params: l.params(raw.ProbeParams, probe.Params)}
}

// Defaults of an action.
const (
	defaultTries         = 3
	defaultInterval      = 10
	defaultWatch         = 600
	defaultWatchEvery    = 60
	defaultApproveWithin = 24 * 3600
)

func (l *loader) action(raw rawAction, phase remedy.Phase) action {
	out := action{at: raw.Place.at}
	verb, ok := l.env.action(raw.Do.s)
	if !ok {
		var names []string
		for _, a := range l.env.Actions {
			names = append(names, a.Connector+"/"+a.Verb)
		}
		l.known(raw.Do, "action", names)
	}
	s := remedy.ActionSpec{
		Name: raw.Name.s, Phase: phase, Connector: verb.Connector, Verb: verb.Verb, Auth: remedy.Authorization(raw.Auth.s),
		Reversibility: verb.Reversibility, Once: verb.Once, Undoable: verb.Undoable, Quorum: max(raw.Quorum.n, 1),
		Settle: raw.Settle.seconds, Tries: orDefault(raw.Tries.n, defaultTries), Interval: orDefault(raw.Interval.seconds, defaultInterval),
		Expires: raw.Expires.seconds, ApproveWithin: orDefault(raw.ApproveWithin.seconds, defaultApproveWithin),
		UnknownModifierOK: raw.UnknownModifier,
	}
	if ok {
		s.Params = l.params(raw.Params, verb.Params)
		out.required = verb.Required
	}
	if s.Auth == "" {
		s.Auth = remedy.AuthApprove
	}
	if raw.Expires.seconds > 0 && phase != remedy.Contain {
		raw.Expires.at.failf("move it under contain", "a fix does not expire: only a containment may end by itself")
	}
	if raw.Expires.seconds > 0 && ok && !verb.Undoable {
		raw.Expires.at.failf("remove expires", "%s cannot be undone, so it cannot end by itself", raw.Do.s)
	}
	if ok && verb.Continuity != "" {
		if c, found := l.env.probe(verb.Connector + "/" + verb.Continuity); found {
			s.Continuity = remedy.ProbeSpec{Connector: c.Connector, Verb: c.Verb, Grade: c.Grade, Params: l.params(raw.ContinuityParams, c.Params)}
			s.Watch, s.WatchEvery = orDefault(raw.Watch.seconds, defaultWatch), orDefault(raw.WatchEvery.seconds, defaultWatchEvery)
		}
	} else if raw.Watch.set || len(raw.ContinuityParams) > 0 {
		raw.Place.at.failf("remove watch and continuity_params", "%s has no continuity probe to watch", raw.Do.s)
	}
	out.spec = s
	return out
}

// params checks names against what the verb knows and placeholders against the
// variables.
func (l *loader) params(raw map[string]text, names []string) map[string]string {
	if len(raw) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, k := range keysOf(raw) {
		t := raw[k]
		if !contains(names, k) {
			t.at.failf(didYouMean(k, names), "there is no parameter %s", quote(k))
		}
		l.placeholders(t, factNames())
		out[k] = t.s
	}
	return out
}

func (l *loader) probeNames() []string {
	var names []string
	for _, p := range l.env.Probes {
		names = append(names, p.Connector+"/"+p.Verb)
	}
	return names
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// leastGrade is the least probe grade that closes a class: K1 and K2 need an
// observation by another way than the change (law 6).
func leastGrade(c deadline.RiskClass) remedy.Grade {
	if c == deadline.K1 || c == deadline.K2 {
		return remedy.P2
	}
	return remedy.P0
}
