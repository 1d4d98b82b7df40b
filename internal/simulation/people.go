package simulation

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// person is somebody who may approve, or not any more.
type person struct {
	as string
	// lost is the tick at which the right was lost last.
	lost int
}

func newPeople() map[string]*person {
	return map[string]*person{"anna": {as: "approver"}, "ben": {as: "backup"}, "carl": {as: "delegate"}, "eve": {}}
}

// approvers are asked in this order.
func approvers() []string { return []string{"anna", "ben", "carl"} }

// Entitled implements engine.Principals.
func (w *world) Entitled(_ context.Context, who string, _ remedy.Case, _ remedy.Action) (string, error) {
	w.s.pause("entitled")
	if p := w.people[who]; p != nil {
		return p.as, nil
	}
	return "", nil
}

// Ticket implements engine.Tickets.
func (w *world) Ticket(_ context.Context, c remedy.Case, _ remedy.Ticket, _ finding.Finding) connector.TicketRequest {
	return connector.TicketRequest{Title: c.Title}
}

// rules are the policy in force.
type rules struct {
	version  int
	auth     []remedy.Authorization // by target
	suppress []bool
	quorum   int
	authors  []string
	known    bool
	contain  []bool
	expires  int
	watch    int
	strict   bool // the act is of a kind that is never repeated blindly
	budget   int
}

func newRules(s *sim) rules {
	r := rules{version: 1, quorum: 1 + s.r.IntN(2), known: true, authors: []string{"pat", "quinn"}, expires: []int{0, 0, 7200}[s.r.IntN(3)],
		watch: []int{0, 60}[s.r.IntN(2)], budget: []int{0, 1, 2, 5}[s.r.IntN(4)], strict: s.r.IntN(3) == 0}
	for range 4 {
		r.auth = append(r.auth, anyAuth(s.r.IntN(5)))
		r.suppress = append(r.suppress, false)
		r.contain = append(r.contain, s.r.IntN(3) == 0)
	}
	return r
}

func anyAuth(n int) remedy.Authorization {
	return []remedy.Authorization{remedy.AuthEnforce, remedy.AuthApprove, remedy.AuthApprove, remedy.AuthEnforce, remedy.AuthNone}[n%5]
}

// judge says what the rules make of a finding.
type judge struct{ w *world }

// Judge implements engine.Judge.
func (j judge) Judge(f finding.Finding, c engine.CaseFacts, at time.Time) (remedy.Judgement, []byte) {
	r, t := j.w.rules, j.w.of(f.Asset)
	opened := c.Opened
	if opened.IsZero() {
		opened = at
	}
	class := deadline.K4
	switch f.Severity {
	case finding.SeverityCritical:
		class = deadline.K1
	case finding.SeverityHigh:
		class = deadline.K2
	case finding.SeverityMedium:
		class = deadline.K3
	}
	hours := time.Duration(class) * time.Hour
	d := remedy.Decision{Class: class, Rule: "r" + strconv.Itoa(t.i), Why: "it is reachable", Playbook: "p", Mode: remedy.ModeEnforce, Grade: gradeFor(class),
		Suppress: r.suppress[t.i], Probe: remedy.ProbeSpec{Connector: "probe", Verb: verbLook, Grade: remedy.P3}, ProbeEvery: 36 * 3600,
		Notify: []string{"chat"}, Ticket: t.i%2 == 0, Tickets: []remedy.TicketSpec{{System: "builtin"}}}
	if d.Suppress {
		d.Until = at.Add(3 * 24 * time.Hour)
	}
	d.Actions = r.actions(t)
	out := remedy.Judgement{Decision: d,
		Routing:  remedy.Routing{Owner: "olga", Approvers: approvers(), Backup: "ben", Manager: "mia", OpsLead: "oscar", Known: r.known},
		Clocks:   deadline.Clocks{Ack: opened.Add(hours), Contain: opened.Add(6 * hours), Fix: opened.Add(24 * hours), WarnPercent: 75},
		Ladder:   []remedy.LadderStep{{After: 0, Who: "owner"}, {After: 3600, Who: "backup"}, {After: 7200, Who: "manager"}},
		Versions: remedy.Versions{Policy: "p" + strconv.Itoa(r.version), Authors: r.authors, Owners: "o", TZ: "t"}}
	snapshot, err := json.Marshal([]any{f.UID, f.Severity, f.Status, c, at, r.version})
	j.w.s.must(err)
	out.Facts = connector.Digest(string(snapshot))
	return out, snapshot
}

// gradeFor is the grade of proof that a class demands (law 6).
func gradeFor(c deadline.RiskClass) remedy.Grade {
	if c <= deadline.K2 {
		return remedy.P2
	}
	return remedy.P1
}

// actions are the playbook for a target.
func (r rules) actions(t *target) []remedy.ActionSpec {
	name := t.connector
	if t.blind {
		name += "-blind"
	}
	fix := remedy.ActionSpec{Name: verbClose, Phase: remedy.Fix, Connector: name, Verb: verbClose, Auth: r.auth[t.i], Reversibility: 1,
		Once: remedy.Once(t.connector), Undoable: true, Tries: 2, Interval: 10, Quorum: r.quorum, ApproveWithin: 7200}
	if r.watch > 0 {
		fix.Watch, fix.WatchEvery = r.watch, 20
		fix.Continuity = remedy.ProbeSpec{Connector: "probe", Verb: verbWorks, Grade: remedy.P2}
	}
	if r.strict {
		fix.Reversibility = 2
	}
	second := fix
	second.Name, second.Verb = verbForce, verbForce
	out := []remedy.ActionSpec{fix, second}
	if r.contain[t.i] {
		block := fix
		block.Name, block.Verb, block.Phase, block.Expires = verbBlock, verbBlock, remedy.Contain, r.expires
		out = []remedy.ActionSpec{block, fix, second}
	}
	return out
}

// guards are the guardrails as the app applies them: budgets and kill switch.
type guards struct{ n *node }

// scopes are the kill-switch scopes that cover an action.
func scopes(connector string) []string { return []string{"all", "connector/" + connector} }

// Check implements engine.Guards.
func (g guards) Check(ctx context.Context, c remedy.Case, a remedy.Action, at time.Time) (remedy.Guard, []engine.Reservation, []string) {
	scopes := scopes(a.Spec.Connector)
	scope, err := g.Paused(ctx, scopes)
	switch {
	case err != nil:
		return remedy.Guard{Deny: "the kill switch could not be read", RetryAt: at.Add(5 * time.Minute)}, nil, scopes
	case scope != "":
		return remedy.Guard{Deny: "paused: " + scope, RetryAt: at.Add(5 * time.Minute)}, nil, scopes
	}
	var reserve []engine.Reservation
	if b := g.n.s.world.rules.budget; b > 0 {
		reserve = []engine.Reservation{{Key: budgetKey, N: 1, Limit: b, From: at.Add(-time.Hour), At: at}}
	}
	return remedy.Guard{}, reserve, scopes
}

// budgetKey counts every change, of whatever case.
const budgetKey = "install/hour"

// Paused implements engine.Guards.
func (g guards) Paused(ctx context.Context, scopes []string) (string, error) {
	s := g.n.s
	s.pause("read switch")
	ps, err := s.store.Pauses(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range ps {
		if slices.Contains(scopes, p.Scope) {
			s.pause("switch read")
			return p.Scope, nil
		}
	}
	if s.cur != nil {
		s.cur.looked = s.tick
	}
	s.pause("switch read")
	return "", nil
}

// press throws the kill switch for a scope.
func (s *sim) press(scope string) {
	p := store.Pause{Scope: scope, By: remedy.Actor{Kind: remedy.Person, ID: "olga"}, At: s.now}
	s.tolerate(s.store.SetPause(s.ctx, p))
	s.audit.pull()
	s.counts["kill switch"]++
}

// release ends a pause, if there is one.
func (s *sim) release(scope string) {
	ps, err := s.store.Pauses(s.ctx)
	s.tolerate(err)
	for _, p := range ps {
		if p.Scope == scope || scope == "" {
			s.tolerate(s.store.ClearPause(s.ctx, store.Pause{Tenant: p.Tenant, Scope: p.Scope, By: p.By, At: s.now}))
		}
	}
	s.audit.pull()
}
