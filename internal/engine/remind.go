package engine

import (
	"context"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/record"
)

// Reminders are messages that belong to no case: bodies in quarantine wait for a
// person.
type Reminders interface {
	// Reminder returns what is to be said now; ok is false when nothing waits any
	// more.
	Reminder(ctx context.Context, row EffectRow) (n connector.Notice, ok bool, err error)
	// Reminded ends the leased effect and, where somebody was told, records it;
	// ErrStale if the lease was lost.
	Reminded(ctx context.Context, l Lease, at time.Time, told bool) error
}

// remind tells a person of what waits. A crash between telling and recording
// repeats it with the same key.
func (e *Engine) remind(ctx context.Context, l Lease, now time.Time) error {
	n, wanted, err := e.Reminders.Reminder(ctx, l.Row)
	if err != nil {
		return err
	}
	door, ok := e.Doors.Notifier(l.Row.Door)
	if !ok && wanted {
		e.Log.WarnContext(ctx, "a reminder can't be sent: there is no such route any more", "route", l.Row.Door, "of", l.Row.Effect.Action)
		wanted = false
	}
	if wanted {
		n.Key = l.Row.ID
		if err := door.Notify(ctx, n); err != nil {
			return e.remindLater(ctx, l, now, err)
		}
		e.Failpoint("after reminder")
	}
	return ignoreStale(e.Reminders.Reminded(ctx, l, now, wanted))
}

// remindLater gives a reminder back for another try with the same key.
func (e *Engine) remindLater(ctx context.Context, l Lease, now time.Time, why error) error {
	e.Log.InfoContext(ctx, "a reminder will be tried again", "route", l.Row.Door, "of", l.Row.Effect.Action, "attempt", l.Attempt, "why", why.Error())
	if connector.KindOf(why) == connector.KindRefused || l.Attempt >= maxAttempts {
		wait, _ := record.NextTry(l.Row.ID, record.DeadAfter)
		return ignoreStale(e.Effects.Bury(ctx, l, now, now.Add(wait), why.Error()))
	}
	return ignoreStale(e.Effects.Release(ctx, l, now.Add(max(retryAfter(l), afterOf(why))), why.Error()))
}
