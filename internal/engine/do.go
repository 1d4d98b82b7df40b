package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// maxAttempts is how often an effect is tried before it is given up and a
// person is told. With the back-off of retryAt that is about a day.
const maxAttempts = 12

// onItsWay is how long after its intent an act may still arrive at the target
// though its runner is dead: a look-up that finds nothing earlier proves
// nothing. It is the longest a connector waits for an answer.
const onItsWay = 30 * time.Second

// Do does one leased effect at now and commits its outcome. An error is a
// fault of our own store; failures of the outside world end up in the case or
// give the lease back for later.
func (e *Engine) Do(ctx context.Context, l Lease, now time.Time) error {
	e.Failpoint("after claim")
	if l.Row.Effect.Kind == record.EffectReminder {
		return e.remind(ctx, l, now)
	}
	c, err := e.caseOf(ctx, l)
	if err != nil {
		return err
	}
	if !isPending(c, l.Row.Effect.ID) {
		return e.finish(ctx, c, l)
	}
	r := &run{e: e, l: l, c: c, now: now}
	switch l.Row.Effect.Kind {
	case remedy.EffectPlan:
		err = r.plan(ctx)
	case remedy.EffectAct:
		err = r.act(ctx)
	case remedy.EffectLook:
		err = r.look(ctx)
	case remedy.EffectUndo:
		err = r.undo(ctx)
	case remedy.EffectProbe:
		err = r.probe(ctx)
	case remedy.EffectMessage:
		err = r.message(ctx)
	case remedy.EffectTicket, remedy.EffectSay:
		err = r.ticket(ctx)
	case remedy.EffectJudge:
		err = r.judge(ctx)
	default:
		err = r.die(ctx, "this release does not know effects of kind "+string(l.Row.Effect.Kind))
	}
	switch {
	case errors.Is(err, ErrStale):
		e.Log.WarnContext(ctx, "outcome of a lost lease ignored", "case", c.ID, "effect", l.Row.Effect.ID, "epoch", l.Epoch)
		return nil
	case remedy.CodeOf(err) != "":
		// The case moved on: what it calls for now is in its own effects.
		e.Log.InfoContext(ctx, "outcome no longer wanted", "case", c.ID, "effect", l.Row.Effect.ID, "why", err.Error())
		return e.settle(ctx, l, now)
	case err == nil && r.held:
		// The case calls for the same effect again (a plan drifted under an
		// enforcement): give it back at once instead of waiting for the lease.
		return ignoreStale(e.Effects.Release(ctx, l, now, "planned anew"))
	}
	return err
}

// caseOf is the case of an effect. One that comes with the lease is as new as one
// that is read: in both cases it may change right afterwards, and the commit of
// what is made of it says so.
func (e *Engine) caseOf(ctx context.Context, l Lease) (remedy.Case, error) {
	if l.Case != nil {
		return *l.Case, nil
	}
	return e.Store.Load(ctx, l.Row.CaseID)
}

func isPending(c remedy.Case, id string) bool {
	for _, ef := range remedy.Pending(c) {
		if ef.ID == id {
			return true
		}
	}
	return false
}

// finish removes the row of an effect that the case no longer calls for.
func (e *Engine) finish(ctx context.Context, c remedy.Case, l Lease) error {
	u := unitOf(c, nil)
	u.Done = &l
	err := e.commit(ctx, u)
	if errors.Is(err, ErrStale) || errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// settle gives back the lease of an effect whose outcome was not taken: it is
// removed if the case no longer calls for it and tried again soon if it does.
func (e *Engine) settle(ctx context.Context, l Lease, now time.Time) error {
	c, err := e.Store.Load(ctx, l.Row.CaseID)
	if err != nil {
		return err
	}
	if !isPending(c, l.Row.Effect.ID) {
		return e.finish(ctx, c, l)
	}
	return ignoreStale(e.Effects.Release(ctx, l, now.Add(retryAfter(l)), "the case was not ready for it"))
}

func ignoreStale(err error) error {
	if errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

// retryAfter is the back-off of a lease's attempt: 1 s doubling to 2 h.
func retryAfter(l Lease) time.Duration {
	return min(time.Second<<min(l.Attempt, 13), 2*time.Hour)
}

// run is one effect being done.
type run struct {
	e   *Engine
	l   Lease
	c   remedy.Case
	now time.Time
	// scopes are the kill-switch scopes of the change that is made.
	scopes []string
	// repeat: an earlier try may have reached the target.
	repeat bool
	// held: the last outcome kept the effect's row, and nobody continues it.
	held bool
}

// outcome commits a command with the lease as its licence.
func (r *run) outcome(ctx context.Context, do remedy.Do, extra func(*Unit)) (remedy.Case, error) {
	return r.e.tellAs(ctx, r.c.ID, &r.c, func(c remedy.Case) (remedy.Command, error) {
		return remedy.Command{At: r.now, By: remedy.Actor{Kind: remedy.System, ID: "engine"}, Do: do}, nil
	}, func(u *Unit) {
		l := r.l
		u.Done = &l
		if extra != nil {
			extra(u)
		}
		// The effect goes on when the case still calls for it under this id.
		u.Hold = isPending(u.Case, l.Row.Effect.ID)
		r.held = u.Hold
	})
}

// later gives the effect back for another try, or gives it up.
func (r *run) later(ctx context.Context, err error) error {
	if r.l.Attempt >= maxAttempts {
		switch r.l.Row.Effect.Kind {
		case remedy.EffectMessage, remedy.EffectTicket, remedy.EffectSay:
			// The case has no other way to reach these people: it goes on trying.
			return r.bury(ctx, err.Error())
		}
		return r.die(ctx, err.Error())
	}
	r.held = false
	wait := retryAfter(r.l)
	wait = max(wait, afterOf(err))
	r.e.Log.InfoContext(ctx, "effect will be tried again", "case", r.c.ID, "effect", r.l.Row.Effect.ID, "attempt", r.l.Attempt, "in", wait, "why", err.Error())
	return ignoreStale(r.e.Effects.Release(ctx, r.l, r.now.Add(wait), err.Error()))
}

func (r *run) die(ctx context.Context, why string) error {
	_, err := r.outcome(ctx, remedy.Died{Effect: r.l.Row.Effect, Reason: why}, nil)
	return err
}

// request builds the connector request of an action or probe.
func (r *run) request(a remedy.Action, params map[string]string) connector.Request {
	p := make(map[string]string, len(r.c.Params)+len(a.Spec.Params)+len(params))
	for _, m := range []map[string]string{r.c.Params, a.Spec.Params, params} {
		for k, v := range m {
			p[k] = v
		}
	}
	return connector.Request{CaseID: r.c.ID, ActionID: a.ID, Key: a.Key, Asset: r.c.Asset, Params: p, Plan: a.Plan,
		UndoHandle: a.UndoHandle, Now: r.now}
}

// change is the request of a change: it can read the kill switch.
func (r *run) change(a remedy.Action) connector.Request {
	q := r.request(a, nil)
	q.Stopped = func(ctx context.Context) (string, error) { return r.e.Guards.Paused(ctx, r.scopes) }
	return q
}

// afterOf is the wait a connector's error asks for, at most a day.
func afterOf(err error) time.Duration {
	ce, ok := errors.AsType[*connector.Error](err)
	if !ok {
		return 0
	}
	return min(ce.After, 24*time.Hour)
}

// observe runs the exposure probe. A missing or failing prober is an
// inconclusive observation: it can never close a case.
func (r *run) observe(ctx context.Context, a remedy.Action, spec remedy.ProbeSpec) remedy.Observation {
	o := remedy.Observation{Probe: spec.Name(), Result: remedy.Inconclusive, Grade: spec.Grade, At: r.now}
	p, ok := r.e.Doors.Prober(spec.Connector)
	if !ok {
		o.Detail = "connector " + spec.Connector + " is not set up: add it to the configuration"
		return o
	}
	got, err := p.Probe(ctx, spec.Verb, r.request(a, spec.Params))
	if err != nil {
		o.Detail = err.Error()
		return o
	}
	got.Probe, got.At = spec.Name(), r.now
	return got
}

// makePlan reads the live state: the plan and what the probe sees.
func (r *run) makePlan(ctx context.Context, a remedy.Action) (remedy.Plan, remedy.Observation, error) {
	spec := a.Spec
	actor, ok := r.e.Doors.Actor(spec.Connector)
	if !ok {
		return remedy.Plan{}, remedy.Observation{}, connector.Errorf(connector.KindConfig, "connector %s is not set up: add it to the configuration", spec.Connector)
	}
	before := remedy.Observation{Result: remedy.Inconclusive, At: r.now, Detail: "the playbook has no probe"}
	if r.c.Judgement.Decision.Probe.Name() != "" {
		before = r.observe(ctx, a, r.c.Judgement.Decision.Probe)
	}
	if before.Result == remedy.Gone {
		return remedy.Plan{}, before, nil
	}
	req := r.request(a, nil)
	p, err := actor.Plan(ctx, spec.Verb, req)
	if err != nil {
		return p, before, err
	}
	return connector.Seal(p, spec.Connector, spec.Verb, req, r.now), before, nil
}

func (r *run) plan(ctx context.Context) error {
	a, _ := r.c.Action(r.l.Row.Effect.Action)
	p, before, err := r.makePlan(ctx, a)
	if err != nil {
		return r.planFailed(ctx, a, err)
	}
	guard, _, _ := r.e.Guards.Check(ctx, r.c, a, r.now)
	_, err = r.outcome(ctx, remedy.PlanMade{Action: a.ID, Gen: a.Gen, Plan: p, Before: before, Guard: guard}, nil)
	return err
}

func (r *run) planFailed(ctx context.Context, a remedy.Action, err error) error {
	switch connector.KindOf(err) {
	case connector.KindRefused:
		_, err = r.outcome(ctx, remedy.PlanFailed{Action: a.ID, Gen: a.Gen, Reason: err.Error(), Final: true}, nil)
		return err
	case connector.KindConfig:
		_, err = r.outcome(ctx, remedy.PlanFailed{Action: a.ID, Gen: a.Gen, Reason: err.Error()}, nil)
		return err
	}
	return r.later(ctx, err) // planning changes nothing: even an unsure error may be repeated
}

// act makes the change: plan anew, compare, commit the intent, act, record.
func (r *run) act(ctx context.Context) error {
	a, _ := r.c.Action(r.l.Row.Effect.Action)
	if a.Status == remedy.ActionIntended {
		return r.recover(ctx, a)
	}
	p, before, err := r.makePlan(ctx, a)
	if err != nil {
		return r.planFailed(ctx, a, err)
	}
	if before.Result == remedy.Inconclusive {
		return r.later(ctx, connector.Errorf(connector.KindRetry, "the probe before the act could not tell: %s", before.Detail))
	}
	guard, reserve, scopes := r.e.Guards.Check(ctx, r.c, a, r.now)
	r.scopes = scopes
	if p.Hash != a.Plan.Hash || !r.c.Reproduced(a, before) || guard.Deny != "" || guard.Ask != "" && len(a.Approval.Grants) == 0 {
		_, err = r.outcome(ctx, remedy.PlanMade{Action: a.ID, Gen: a.Gen, Plan: p, Before: before, Guard: guard, Diff: diffPlans(a.Plan, p)}, nil)
		return err
	}
	entitled, err := r.entitled(ctx, a)
	if err != nil {
		return r.later(ctx, err)
	}
	r.e.Failpoint("before intent")
	c, err := r.outcome(ctx, remedy.Intend{Action: a.ID, Gen: a.Gen, PlanHash: p.Hash, Entitled: entitled}, func(u *Unit) {
		u.Reserve, u.PauseScopes = reserve, scopes
	})
	switch {
	case errors.Is(err, ErrBudget):
		return r.hold(ctx, a, "a budget of changes is used up; tried again by itself", nextWindow(reserve, r.now))
	case errors.Is(err, ErrPaused):
		return r.hold(ctx, a, pausedWhy, r.now.Add(5*time.Minute))
	case err != nil:
		return err
	}
	r.e.Failpoint("after intent")
	r.c = c
	a, _ = c.Action(a.ID)
	if a.Status != remedy.ActionIntended {
		return nil // asked again instead
	}
	if why, thrown := r.brake(ctx, scopes); why != "" {
		again := unreadAgain
		if thrown {
			again = 5 * time.Minute
		}
		_, err = r.outcome(ctx, remedy.Refused{Action: a.ID, Gen: a.Gen, Reason: why, RetryAt: r.now.Add(again)}, nil)
		return err
	}
	return r.perform(ctx, a)
}

// Doubt counts everything of a case that may have touched the world, and whose
// outcome is not recorded, as unsure: after a restore nobody knows what became
// of it. It returns how many actions that are.
func (e *Engine) Doubt(ctx context.Context, id, reason string, at time.Time) (int, error) {
	c, err := e.Store.Load(ctx, id)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, a := range c.Actions {
		var do remedy.Do
		switch {
		case a.Status == remedy.ActionIntended:
			do = remedy.Unsure{Action: a.ID, Gen: a.Gen, Reason: reason, Forgotten: true}
		case a.Status == remedy.ActionUndoing && !a.UndoIntentAt.IsZero():
			do = remedy.UndoDone{Action: a.ID, Failed: reason}
		default:
			continue
		}
		_, err := e.Tell(ctx, id, remedy.Command{At: at, By: remedy.Actor{Kind: remedy.System, ID: "engine"}, Do: do})
		if err != nil && remedy.CodeOf(err) == "" {
			return n, err
		}
		n++
	}
	return n, nil
}

// perform touches the world and records what came of it.
func (r *run) perform(ctx context.Context, a remedy.Action) error {
	actor, ok := r.e.Doors.Actor(a.Spec.Connector)
	if !ok {
		return r.later(ctx, connector.Errorf(connector.KindConfig, "connector %s is not set up: add it to the configuration", a.Spec.Connector))
	}
	r.e.Failpoint("before act")
	o, err := actor.Act(ctx, a.Spec.Verb, r.change(a))
	r.e.Failpoint("after act")
	var do remedy.Do = remedy.Done{Action: a.ID, Gen: a.Gen, UndoHandle: o.UndoHandle, Ref: o.Ref, Detail: o.Detail, Nothing: o.Nothing}
	if r.repeat && errors.Is(err, connector.ErrStopped) {
		return r.paused(ctx, err.Error(), min(afterOf(err), time.Minute)) // what was begun stays in doubt
	}
	if err != nil {
		switch connector.KindOf(err) {
		case connector.KindRefused:
			do = remedy.Refused{Action: a.ID, Gen: a.Gen, Reason: err.Error()}
		case connector.KindRetry, connector.KindConfig:
			least := 30 * time.Second // for a target in trouble
			if errors.Is(err, connector.ErrStopped) {
				least = 0
			}
			do = remedy.Refused{Action: a.ID, Gen: a.Gen, Reason: err.Error(), RetryAt: r.now.Add(max(retryAfter(r.l), afterOf(err), least))}
		default:
			do = remedy.Unsure{Action: a.ID, Gen: a.Gen, Reason: err.Error()}
		}
	}
	_, err = r.outcome(ctx, do, nil)
	r.e.Failpoint("after outcome")
	return err
}

// recover goes on after a runner died between intent and outcome: look before
// acting again.
func (r *run) recover(ctx context.Context, a remedy.Action) error {
	switch a.Spec.Once {
	case remedy.OnceKey:
		return r.again(ctx, a) // the target knows the key
	case remedy.OnceLookup:
		return r.look(ctx)
	}
	// Paused, the one repeat is not used up. It is an intent of its own: the kill
	// switch is read with it, and once more before the act.
	if stop, err := r.stopped(ctx, a); stop {
		return err
	}
	_, _, scopes := r.e.Guards.Check(ctx, r.c, a, r.now)
	c, err := r.outcome(ctx, remedy.Intend{Action: a.ID, Gen: a.Gen, PlanHash: a.Plan.Hash, Entitled: true, Repeat: true}, func(u *Unit) { u.PauseScopes = scopes })
	if errors.Is(err, ErrPaused) {
		return r.paused(ctx, pausedWhy, time.Minute)
	}
	if err != nil {
		return err
	}
	r.c = c
	if a, _ = c.Action(a.ID); a.Status != remedy.ActionIntended {
		return nil
	}
	return r.again(ctx, a)
}

// again acts once more, unless the kill switch is thrown meanwhile.
func (r *run) again(ctx context.Context, a remedy.Action) error {
	if stop, err := r.stopped(ctx, a); stop {
		return err
	}
	r.repeat = true
	return r.perform(ctx, a)
}

// stopped gives the effect back, and says so, when the kill switch covers the
// action or can't be read. What was begun stays in doubt meanwhile.
func (r *run) stopped(ctx context.Context, a remedy.Action) (bool, error) {
	_, _, r.scopes = r.e.Guards.Check(ctx, r.c, a, r.now)
	return r.braked(ctx)
}

const (
	// pausedWhy is the reason that people read while the kill switch is thrown.
	pausedWhy = "paused by the kill switch"
	// unreadAgain is when a change is tried again whose kill switch could not be
	// read: it holds the change back, but no longer than the fault lasts.
	unreadAgain = 5 * time.Second
)

// brake reads the kill switch: why the change may not go out, empty if it may,
// and whether somebody threw the switch. What can't be read stops as well.
func (r *run) brake(ctx context.Context, scopes []string) (why string, thrown bool) {
	scope, err := r.e.Guards.Paused(ctx, scopes)
	switch {
	case err != nil:
		return "the kill switch can't be read; tried again by itself", false
	case scope != "":
		return pausedWhy, true
	}
	return "", false
}

// braked gives the effect back, and says so, while the brake is on.
func (r *run) braked(ctx context.Context) (bool, error) {
	why, thrown := r.brake(ctx, r.scopes)
	switch {
	case why == "":
		return false, nil
	case thrown:
		return true, r.paused(ctx, why, time.Minute)
	}
	return true, r.paused(ctx, why, unreadAgain)
}

// look asks the target whether an act with the key has happened.
func (r *run) look(ctx context.Context) error {
	a, _ := r.c.Action(r.l.Row.Effect.Action)
	actor, ok := r.e.Doors.Actor(a.Spec.Connector)
	looker, can := actor.(connector.Looker)
	if !ok || !can {
		if ok && a.Spec.Once == remedy.OnceKey {
			if a.Forgotten {
				return r.lookByProbe(ctx, a)
			}
			return r.again(ctx, a)
		}
		return r.later(ctx, connector.Errorf(connector.KindConfig, "connector %s can't look up what it did", a.Spec.Connector))
	}
	o, found, err := looker.Look(ctx, a.Spec.Verb, r.request(a, nil))
	if err != nil {
		return r.later(ctx, err)
	}
	if early := a.IntentAt.Add(onItsWay).Sub(r.now); !found && early > 0 {
		r.held = false
		return ignoreStale(r.e.Effects.Postpone(ctx, r.l, r.now.Add(early), "too early to say that it did not arrive"))
	}
	_, err = r.outcome(ctx, remedy.Looked{Action: a.ID, Gen: a.Gen, Found: found, UndoHandle: o.UndoHandle, Ref: o.Ref}, nil)
	return err
}

// lookByProbe looks at the exposure where the target may have forgotten the key
// and can't be asked for it: a state that is not risky any more needs no second
// act.
func (r *run) lookByProbe(ctx context.Context, a remedy.Action) error {
	if r.c.Judgement.Decision.Probe.Name() == "" {
		return r.again(ctx, a)
	}
	switch o := r.observe(ctx, a, r.c.Judgement.Decision.Probe); o.Result {
	case remedy.Exposed:
		return r.again(ctx, a)
	case remedy.Inconclusive:
		return r.later(ctx, connector.Errorf(connector.KindRetry, "the probe could not tell whether it happened: %s", o.Detail))
	}
	_, err := r.outcome(ctx, remedy.Looked{Action: a.ID, Gen: a.Gen, Found: true}, nil)
	return err
}

func (r *run) hold(ctx context.Context, a remedy.Action, why string, retry time.Time) error {
	_, err := r.outcome(ctx, remedy.Hold{Action: a.ID, Gen: a.Gen, Reason: why, RetryAt: retry}, nil)
	return err
}

// entitled: everyone whose approval counts is still entitled.
func (r *run) entitled(ctx context.Context, a remedy.Action) (bool, error) {
	for _, g := range a.Approval.Grants {
		as, err := r.e.Principals.Entitled(ctx, g.By, r.c, a)
		if err != nil {
			return false, err
		}
		if as == "" {
			return false, nil
		}
	}
	return true, nil
}

func nextWindow(rs []Reservation, now time.Time) time.Time {
	at := now.Add(15 * time.Minute)
	for _, x := range rs {
		if end := x.From.Add(time.Hour); end.After(now) && end.Before(at) {
			at = end
		}
	}
	return at
}

func diffPlans(old, new remedy.Plan) string {
	if old.Hash == "" || old.Hash == new.Hash {
		return ""
	}
	if old.Text == new.Text {
		return fmt.Sprintf("the live state changed (before-state %.12s is now %.12s)", old.BeforeDigest, new.BeforeDigest)
	}
	return "was: " + old.Text + "\nnow: " + new.Text
}
