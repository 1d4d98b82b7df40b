package simulation

import (
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// applyAction judges and notes an event about one action.
func (a *audit) applyAction(v *caseView, e store.StoredEvent) {
	switch b := e.Decoded.(type) {
	case remedy.ActionAdded:
		v.actions = append(v.actions, &actionView{id: b.Action, episode: v.episode, spec: b.Spec, requester: b.Requester, status: remedy.ActionWaiting})
	case remedy.ActionMoved:
		v.action(b.Action).status = b.To
		if b.To != remedy.ActionIntended && b.To != remedy.ActionUnsure {
			v.action(b.Action).doubt = false
		}
	case remedy.Planned:
		a.planned(v, b)
	case remedy.ApprovalAsked:
		x := v.action(b.Action)
		x.ask, x.grants, x.status = b.Approval, nil, remedy.ActionAsking
		x.shown = append(x.shown, b.Approval.PlanHash)
		if b.Approval.PlanHash != x.plan.Hash {
			a.s.breach(4, "action %s of %s: asked about plan %.8s, the newest is %.8s", x.id, v.id, b.Approval.PlanHash, x.plan.Hash)
		}
	case remedy.ApprovalVoided:
		x := v.action(b.Action)
		x.ask, x.grants = remedy.Approval{}, nil
	case remedy.Approved:
		a.approved(v, e, b)
	case remedy.Rejected:
		v.touched = true
		x := v.action(b.Action)
		x.ask, x.grants, x.status = remedy.Approval{}, nil, remedy.ActionDropped
	case remedy.Intended:
		a.intended(v, e, b)
	default:
		a.applyOutcome(v, e)
	}
}

// applyOutcome judges and notes what came of an action.
func (a *audit) applyOutcome(v *caseView, e store.StoredEvent) {
	s := a.s
	switch b := e.Decoded.(type) {
	case remedy.ActedOn:
		x := v.action(b.Action)
		if t := s.world.targets[v.target]; t.arrived[x.key] == 0 && !t.gone && !t.keys[x.key] && t.exposed && !t.contained {
			s.breach(8, "action %s of %s is said to be done; nothing with key %s arrived at %s", x.id, v.id, x.key, t.asset)
		}
		x.status, x.acted, x.doubt, x.expires, x.watch, x.works = remedy.ActionActed, true, false, b.ExpiresAt, time.Time{}, ""
		v.since = true
	case remedy.OutcomeUnknown:
		v.action(b.Action).status = remedy.ActionUnsure
	case remedy.Contained:
		v.contained = true
	case remedy.WatchStarted:
		x := v.action(b.Action)
		x.status, x.watch, x.works, x.doubt = remedy.ActionWatching, b.Until, "", false // the probe told
	case remedy.UndoAsked:
		x := v.action(b.Action)
		x.status, x.undoKey, x.expires, x.doubt = remedy.ActionUndoing, "", time.Time{}, false
	case remedy.UndoIntended:
		v.action(b.Action).undoKey = b.Key
		v.since = true
	case remedy.UndoneAt:
		v.action(b.Action).status = remedy.ActionUndone
	}
}

func (a *audit) planned(v *caseView, b remedy.Planned) {
	x, o := v.action(b.Action), b.Before
	x.plan, x.before = b.Plan, o
	v.touched = true
	if o.Result != remedy.Inconclusive {
		a.given(v, verbLook, o)
	}
	v.last, v.covers, v.since = o, nil, false
	if o.Result == remedy.Exposed {
		v.exposed[seenFrom(o)] = true
	}
}

// approved: somebody entitled, who is nobody of the other roles, said yes to
// what was shown, once.
func (a *audit) approved(v *caseView, e store.StoredEvent, b remedy.Approved) {
	s, x, g := a.s, v.action(b.Action), b.Grant
	v.touched = true
	since := s.tick
	if s.cur != nil {
		since = s.cur.since
	}
	p := s.world.people[g.By]
	switch {
	case e.By.Kind != remedy.Person || e.By.ID != g.By:
		s.breach(4, "%s of %s was approved for %s by %s", x.id, v.id, g.By, e.By.ID)
	case p == nil || p.as == "" && p.lost < since:
		s.breach(4, "%s approved %s of %s without the right to", g.By, x.id, v.id)
	case g.PlanHash != x.ask.PlanHash:
		s.breach(4, "%s approved plan %.8s of %s of %s, shown was %.8s", g.By, g.PlanHash, x.id, v.id, x.ask.PlanHash)
	case !e.At.Before(x.ask.ExpiresAt):
		s.breach(4, "%s approved %s of %s at %s, after the request had expired", g.By, x.id, v.id, e.At)
	case slices.ContainsFunc(x.grants, func(o remedy.Grant) bool { return o.By == g.By }):
		s.breach(4, "%s approved %s of %s twice", g.By, x.id, v.id)
	}
	a.otherPeople(v, x, g.By)
	x.grants = append(x.grants, g)
	s.counts["approvals"]++
}

// otherPeople: requester, last modifier, sole author and approver differ.
func (a *audit) otherPeople(v *caseView, x *actionView, who string) {
	authors := v.judged.Versions.Authors
	if who == x.requester || who == x.plan.LastModifier || len(authors) == 1 && authors[0] == who && strings.HasPrefix(x.requester, "policy:") {
		a.s.breach(4, "%s may not approve %s of %s: requester %s, last modifier %s, authors %v", who, x.id, v.id, x.requester, x.plan.LastModifier, authors)
	}
}

// intended is the last gate before the world is touched.
func (a *audit) intended(v *caseView, e store.StoredEvent, b remedy.Intended) {
	s, x := a.s, v.action(b.Action)
	v.touched, v.since = true, true
	x.status, x.doubt = remedy.ActionIntended, true
	for _, scope := range scopes(x.spec.Connector) {
		if a.held[scope] {
			s.breach(5, "%s of %s was intended while the kill switch held %s", x.id, v.id, scope)
		}
	}
	if b.Repeat {
		x.repeats++
		if x.key != b.Key || x.spec.Once == remedy.OnceNone && (x.repeats > 1 || x.spec.Reversibility >= 2) {
			s.breach(8, "%s of %s is repeated for the %d. time (promise %q, r%d)", x.id, v.id, x.repeats, x.spec.Once, x.spec.Reversibility)
		}
		return
	}
	switch {
	case a.keys[b.Key]:
		s.breach(8, "key %s was given twice", b.Key)
	case !v.open || v.except != nil:
		s.breach(5, "%s of %s was intended; the case is open %v, excepted %v", x.id, v.id, v.open, v.except != nil)
	case b.PlanHash != x.plan.Hash || b.PlanHash == "":
		s.breach(4, "%s of %s was intended by plan %.8s, the newest is %.8s", x.id, v.id, b.PlanHash, x.plan.Hash)
	case x.before.Result != remedy.Exposed && !(v.contained && x.spec.Phase == remedy.Fix && v.exposed[seenFrom(x.before)]):
		s.breach(5, "%s of %s was intended, and the probe before it saw %q", x.id, v.id, x.before.Result)
	}
	for _, o := range v.actions {
		if o != x && o.doubt {
			s.breach(8, "%s of %s was intended while nobody knows what became of %s", x.id, v.id, o.id)
		}
	}
	a.keys[b.Key], x.key, x.repeats, x.changes, x.undos = true, b.Key, 0, 0, 0
	a.authorized(v, x, e, b.PlanHash)
	a.spend()
	s.counts["intents"]++
}

// authorized: by enough people who saw exactly this plan, or by a rule that may.
func (a *audit) authorized(v *caseView, x *actionView, e store.StoredEvent, hash string) {
	s, j := a.s, v.judged
	mayEnforce := x.spec.Auth == remedy.AuthEnforce && j.Routing.Known && len(j.Decision.Unknown) == 0 && j.Decision.Error == "" &&
		j.Decision.Mode == remedy.ModeEnforce && (x.spec.Reversibility < 3 || x.spec.OptIn)
	needed := max(1, x.spec.Quorum)
	if x.plan.LastModifier == "" && !x.spec.UnknownModifierOK {
		needed = max(needed, 2)
	}
	by := map[string]bool{}
	for _, g := range x.grants {
		if g.PlanHash != hash {
			s.breach(4, "%s of %s rests on %s's approval of plan %.8s, the plan is %.8s", x.id, v.id, g.By, g.PlanHash, hash)
		}
		if !e.At.Before(x.ask.ExpiresAt) {
			s.breach(4, "%s of %s rests on %s's approval, which expired at %s", x.id, v.id, g.By, x.ask.ExpiresAt)
		}
		since := s.tick
		if s.cur != nil {
			since = s.cur.since
		}
		if p := s.world.people[g.By]; p.as == "" && p.lost < since {
			s.breach(4, "%s of %s rests on the approval of %s, who lost the right", x.id, v.id, g.By)
		}
		a.otherPeople(v, x, g.By)
		by[g.By] = true
	}
	if len(by) < needed && !mayEnforce {
		s.breach(4, "%s of %s was intended with %d approvals of %d, and no rule enforces it", x.id, v.id, len(by), needed)
	}
}

// spend: within any hour no more is changed than the budget says. Nodes whose
// clocks differ mean another hour by it: what they agree on is held.
func (a *audit) spend() {
	limit, now := a.s.world.rules.budget, a.s.now
	if limit == 0 {
		return
	}
	hour := time.Hour - (a.s.ahead - a.s.behind)
	n := 1
	for _, t := range a.spent {
		if now.Sub(t) < hour {
			n++
		}
	}
	a.spent = append(a.spent, now)
	if n > limit {
		a.s.breach(5, "%d changes within %s before %s, the budget is %d", n, hour, now, limit)
	}
}
