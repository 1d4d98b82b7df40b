package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// epochCounter numbers claims over the life of the store, so that an epoch
// grows even for an effect that was removed and called for again. On PostgreSQL it
// is a sequence.
const epochCounter = "effect-epoch"

const effectColumns = "id, tenant, case_id, effect_id, kind, action, n, object, not_before, epoch, lease_until, next_at, attempt, last_error, door, trace, dead_since"

func scanEffect(row scanner) (EffectStatus, error) {
	var e EffectStatus
	var kind string
	var notBefore, until, next, dead int64
	err := row.Scan(&e.ID, &e.Tenant, &e.CaseID, &e.Effect.ID, &kind, &e.Effect.Action, &e.Effect.N, &e.Object, &notBefore, &e.Epoch, &until, &next, &e.Attempt, &e.LastError, &e.Door, &e.Trace, &dead)
	e.Effect.Kind = remedy.EffectKind(kind)
	e.NotBefore, e.LeaseUntil, e.NextAt, e.DeadSince = instant(notBefore), instant(until), instant(next), instant(dead)
	return e, err
}

// settleLease checks the lease whose outcome the unit is and, unless it is
// held on, removes its row. An intent (Hold) is refused as well if something
// else of the case or on the object was claimed since: then the lease had run
// out and acting would make two in flight.
func (w *writer) settleLease(u *unit) error {
	l := u.Done
	if u.Hold {
		return w.holds(*l, false)
	}
	w.txn.due = true
	w.txn.ended++
	if epoch, known := w.ahead.lease(u); known {
		if epoch != l.Epoch {
			return staleError(*l)
		}
		return w.rows(rowDone, "DELETE FROM effect WHERE id = ?", l.Row.ID)
	}
	n, err := w.exec("DELETE FROM effect WHERE id = ? AND epoch = ? AND lease_until > 0 AND dropped = 0", l.Row.ID, l.Epoch)
	if err != nil {
		return err
	}
	if n == 0 {
		return staleError(*l)
	}
	return nil
}

// holds checks that a lease is still the newest claim of its effect, case and
// object, and keeps it so until the transaction ends, which may go on to write
// the effect.
func (w *writer) holds(l record.Lease, written bool) error {
	if err := w.guard(l, written); err != nil {
		return err
	}
	var id string
	err := w.get([]any{&id}, `SELECT id FROM effect AS e WHERE id = ? AND epoch = ? AND lease_until > 0 AND dropped = 0
		AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND o.lease_until > 0 AND o.epoch > e.epoch)
		AND NOT EXISTS (SELECT 1 FROM effect o WHERE e.object <> '' AND o.object = e.object AND o.object <> '' AND o.lease_until > 0 AND o.epoch > e.epoch)`, l.Row.ID, l.Epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return staleError(l)
	}
	return err
}

func staleError(l record.Lease) error {
	return fmt.Errorf("effect %s, epoch %d: %w", l.Row.ID, l.Epoch, record.ErrStale)
}

// effectAgain: a dropped effect that is called for again is a new one (epoch 0)
// that waits for the end of the old lease.
const effectAgain = ` ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, action = excluded.action, n = excluded.n, object = excluded.object, door = excluded.door, trace = excluded.trace, since = excluded.since,
	not_before = excluded.not_before, next_at = CASE WHEN excluded.next_at < effect.lease_until THEN effect.lease_until ELSE excluded.next_at END,
	epoch = CASE WHEN effect.dropped = 1 THEN 0 ELSE effect.epoch END, attempt = CASE WHEN effect.dropped = 1 THEN 0 ELSE effect.attempt END,
	dead_since = CASE WHEN effect.dropped = 1 THEN 0 ELSE effect.dead_since END, dropped = 0`

// effects adds and drops effects. A dropped effect that is in flight keeps its
// row until its lease ends, because the world may be being touched.
func (w *writer) effects(u *unit) error {
	for _, id := range u.DropEffects {
		if err := w.rows(rowDrop, "UPDATE effect SET dropped = 1, next_at = lease_until WHERE id = ? AND lease_until > ?", id, nanos(u.Case.At)); err != nil {
			return err
		}
		if err := w.rows(rowUndrop, "DELETE FROM effect WHERE id = ? AND dropped = 0", id); err != nil {
			return err
		}
	}
	for _, e := range u.AddEffects {
		at := nanos(e.NotBefore)
		w.txn.due = w.txn.due || !e.NotBefore.After(u.Case.At)
		if w.aboard(u, e) {
			continue
		}
		args := []any{e.ID, e.Tenant, e.CaseID, e.Effect.ID, string(e.Effect.Kind), e.Effect.Action, e.Effect.N, e.Object, at, at, e.Door, e.Trace, nanos(u.Case.At)}
		if _, ok := w.link.(*pgLink); ok {
			args = append(args, w.ahead.sent.of(e.ID)...)
		}
		err := w.rows(rowEffect, `INSERT INTO effect (id, tenant, case_id, effect_id, kind, action, n, object, not_before, next_at, door, trace, since, epoch, lease_until, attempt, dropped, last_error)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '')`+effectAgain, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// Claim leases due effects (engine.Effects).
func (s *tables) Claim(ctx context.Context, now time.Time, lease time.Duration, n int) ([]record.Lease, error) {
	// Asking first costs no sync when nothing is due, which is most of the time.
	var due int
	if err := s.db.one(ctx, []any{&due}, "SELECT count(*) FROM (SELECT 1 FROM effect WHERE next_at <= ? LIMIT 1) q", nanos(now)); err != nil {
		return nil, fmt.Errorf("claim effects: %w", err)
	}
	if due == 0 || n <= 0 {
		return nil, nil
	}
	var leases []record.Lease
	err := s.db.put(ctx, func(w *writer) (err error) {
		leases, err = w.claim(nanos(now), now.Add(lease), n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim effects: %w", err)
	}
	return leases, nil
}

// claim leases up to n due effects.
func (w *writer) claim(now int64, until time.Time, n int) ([]record.Lease, error) {
	if l, ok := w.link.(*pgLink); ok {
		return l.claim(now, nanos(until), n, nil)
	}
	if _, err := w.exec("DELETE FROM effect WHERE dropped = 1 AND next_at <= ?", now); err != nil {
		return nil, err
	}
	found, err := dueEffects(w.each, n, dueText+" ORDER BY next_at, id", now, now, now)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	last, err := w.draw(epochCounter, len(found))
	if err != nil {
		return nil, err
	}
	leases := make([]record.Lease, len(found))
	for i, e := range found {
		l := record.Lease{Row: e.EffectRow, Attempt: e.Attempt + 1, Until: utc(until), Epoch: last - uint64(len(found)-1-i)}
		if err := w.send("UPDATE effect SET epoch = ?, attempt = ?, lease_until = ?, next_at = ? WHERE id = ?", l.Epoch, l.Attempt, nanos(until), nanos(until), e.ID); err != nil {
			return nil, err
		}
		leases[i] = l
	}
	return leases, nil
}

// dueText selects effects that are due, and whose case and object are free.
const dueText = "SELECT " + effectColumns + ` FROM effect AS e WHERE next_at <= ?
	AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND o.lease_until > ?)
	AND NOT EXISTS (SELECT 1 FROM effect o WHERE e.object <> '' AND o.object = e.object AND o.object <> '' AND o.lease_until > ?)`

// dueEffects returns the first n that a text like dueText finds, one of a case and
// of an object.
func dueEffects(each eachFunc, n int, text string, args ...any) (found []EffectStatus, err error) {
	busy := map[string]bool{}
	err = each(func(row scanner) error {
		e, err := scanEffect(row)
		if err != nil || busy["case "+e.CaseID] || (e.Object != "" && busy["object "+e.Object]) {
			return err
		}
		busy["case "+e.CaseID], busy["object "+e.Object] = true, true
		if found = append(found, e); len(found) == n {
			return errEnough
		}
		return nil
	}, text, args...)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// errEnough ends an iteration early.
var errEnough = errors.New("enough")

// next draws the next number of a counter, from 1.
func (w *writer) next(name string) (uint64, error) { return w.draw(name, 1) }

// draw draws the next count numbers of a counter and returns the last.
func (w *writer) draw(name string, count int) (uint64, error) {
	var n uint64
	err := w.get([]any{&n}, "INSERT INTO counter (tenant, name, n) VALUES ('', ?, ?) ON CONFLICT (tenant, name) DO UPDATE SET n = counter.n + excluded.n RETURNING n", name, count)
	return n, err
}

// Extend prolongs a lease (engine.Effects). A lease that ran out is lost once
// anything of its case or on its object was claimed.
func (s *tables) Extend(ctx context.Context, l record.Lease, until time.Time) error {
	return s.db.put(ctx, func(w *writer) error {
		if err := w.holds(l, true); err != nil {
			return err
		}
		n, err := w.exec("UPDATE effect SET lease_until = ?, next_at = ? WHERE id = ? AND epoch = ? AND dropped = 0", nanos(until), nanos(until), l.Row.ID, l.Epoch)
		if err == nil && n == 0 {
			err = staleError(l)
		}
		return err
	})
}

// Release gives an effect back (engine.Effects); reason is shown to people and
// must hold no secret. Releasing a dropped effect removes it and is ErrStale.
func (s *tables) Release(ctx context.Context, l record.Lease, at time.Time, reason string) error {
	return s.giveBack(ctx, l, "next_at = ?, last_error = ?", nanos(at), record.Reason(reason))
}

// giveBack ends a lease and sets columns of its row.
func (s *tables) giveBack(ctx context.Context, l record.Lease, set string, args ...any) error {
	dropped := false
	err := s.db.put(ctx, func(w *writer) error {
		gone, err := w.exec("DELETE FROM effect WHERE id = ? AND epoch = ? AND dropped = 1", l.Row.ID, l.Epoch)
		if dropped = gone > 0; err != nil || dropped {
			return err
		}
		n, err := w.exec("UPDATE effect SET lease_until = 0, "+set+" WHERE id = ? AND epoch = ? AND lease_until > 0", append(args[:len(args):len(args)], l.Row.ID, l.Epoch)...)
		if err == nil && n == 0 {
			err = staleError(l)
		}
		return err
	})
	if err == nil && dropped {
		return staleError(l)
	}
	return err
}

// EffectsOf returns the effects of a case that wait or run, next first. With
// an empty id it returns those of all cases, at most n.
func (s *tables) EffectsOf(ctx context.Context, caseID string, n int) ([]EffectStatus, error) {
	var list []EffectStatus
	err := s.db.each(ctx, func(row scanner) error {
		e, err := scanEffect(row)
		list = append(list, e)
		return err
	}, "SELECT "+effectColumns+" FROM effect WHERE dropped = 0 AND (? = '' OR case_id = ?) ORDER BY next_at, id LIMIT ?", caseID, caseID, n)
	if err != nil {
		return nil, fmt.Errorf("read effects: %w", err)
	}
	return list, nil
}
