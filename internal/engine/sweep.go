package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Sweep ticks up to n cases whose clocks say something at now, in one group.
// It returns how many it ticked or put off. A case that can't be loaded, ticked
// or stored is put off with a growing wait, so that damaged ones never fill the
// group; its fault is in the error.
func (e *Engine) Sweep(ctx context.Context, now time.Time, n int) (int, error) {
	ids, err := e.Store.Due(ctx, now, n)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	units := make([]Unit, 0, len(ids))
	due := make([]time.Time, 0, len(ids)) // zero where nothing was to be said
	var faults []error
	done := 0
	putOff := func(id string, why error) {
		at, dead, err := e.Store.Stumbled(ctx, id, now, why.Error())
		if err == nil {
			done++
		}
		e.Log.Error("case can't be woken", "case", id, "error", why, "again at", at, "dead letter", dead)
		faults = append(faults, fmt.Errorf("case %s is due and can't be woken: %w", id, errors.Join(why, err)))
	}
	for _, id := range ids {
		u, said, err := e.wake(ctx, id, now)
		switch {
		case err == nil:
			units, due = append(units, u), append(due, said)
		case ctx.Err() != nil:
			return done, err
		default:
			putOff(id, err)
		}
	}
	e.Failpoint("before sweep commit")
	errs, err := e.Store.Commit(ctx, units, nil)
	e.Failpoint("after sweep commit")
	if err != nil {
		return done, errors.Join(append(faults, err)...)
	}
	for i, err := range errs {
		switch {
		case err == nil:
			done++
			if !due[i].IsZero() {
				e.Late(max(0, now.Sub(due[i])))
			}
		case !errors.Is(err, ErrConflict): // a conflict is due again at once
			putOff(units[i].Case.ID, err)
		}
	}
	return done, errors.Join(faults...)
}

// wake makes the unit of one due case, and tells when it was due if its clocks
// said something. A panic is an error of this case.
func (e *Engine) wake(ctx context.Context, id string, now time.Time) (u Unit, due time.Time, err error) {
	defer func() {
		if p := recover(); p != nil {
			e.Log.Error("waking a case panicked", "case", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("internal fault while waking the case; the log has the details")
		}
	}()
	c, err := e.Store.Load(ctx, id)
	if err != nil {
		return u, due, err
	}
	events, err := remedy.Handle(c, remedy.Command{At: now, By: remedy.Actor{Kind: remedy.System, ID: "clock"}, Do: remedy.Tick{}})
	if err != nil {
		events = nil // merged meanwhile: only its wake-up is recomputed
	}
	u = unitOf(c, events)
	if !u.WakeAt.IsZero() && !u.WakeAt.After(now) && len(events) == 0 {
		// Waits for an effect under way; look again shortly, don't spin.
		u.WakeAt = now.Add(time.Second)
	}
	if len(events) > 0 {
		due = remedy.WakeAt(c)
	}
	return u, due, nil
}

// bury makes the effect a dead letter: it is tried again at a slow rhythm, and
// the case says that it waits.
func (r *run) bury(ctx context.Context, why string) error {
	r.held = false
	wait, _ := record.NextTry(r.l.Row.ID, record.DeadAfter)
	if err := r.e.Effects.Bury(ctx, r.l, r.now, r.now.Add(wait), why); err != nil {
		return ignoreStale(err)
	}
	return r.e.Buried(ctx, r.l, r.now, why)
}

// Buried tells the case that an effect of it became a dead letter. A case that
// can't take it in is in the list of dead letters all the same.
func (e *Engine) Buried(ctx context.Context, l Lease, now time.Time, why string) error {
	if l.Row.Effect.Kind == record.EffectReminder {
		return nil // no case waits for it; the list of dead letters shows it
	}
	_, err := e.Tell(ctx, l.Row.CaseID, remedy.Command{At: now, By: remedy.Actor{Kind: remedy.System, ID: "engine"}, Do: remedy.Stuck{Effect: l.Row.Effect, Reason: why}})
	if remedy.CodeOf(err) != "" {
		return nil // told before, or no longer called for
	}
	return err
}
