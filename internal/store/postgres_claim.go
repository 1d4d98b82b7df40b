package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/record"
)

// Who leases an effect on PostgreSQL, or holds on to a lease, has the row of its
// case and the lock of its object from before it looks at what else is leased
// there until its commit. Claims of several nodes and their commits wait for each
// other only where they meet on a case or an object. All of them hold lockClaims
// as well, shared: nodes of the release before have it alone while they claim.

// objectLock names the lock of an outside object.
func objectLock(object string) string { return "object/" + object }

// guard keeps all others from leasing anything of the case or on the object of a
// lease, in the order of lockGroups: with its effect where it is written as well.
// SQLite has one writer.
func (w *writer) guard(l record.Lease, effect bool) error {
	pg, ok := w.link.(*pgLink)
	if !ok {
		return nil
	}
	if err := w.lock(lockClaims, true); err != nil {
		return err
	}
	if l.Row.Object != "" {
		if err := w.lock(objectLock(pgText(l.Row.Object)), false); err != nil {
			return err
		}
	}
	if effect {
		pg.queue.Queue("SELECT 1 FROM effect WHERE id = $1 FOR UPDATE", pgText(l.Row.ID))
	}
	pg.queue.Queue("SELECT 1 FROM case_state WHERE id = $1 FOR UPDATE", pgText(l.Row.CaseID))
	return nil
}

// claim leases up to n effects that are due at now until an instant, of those named
// if there are names. It looks without locks first; what it finds it looks at again
// once cases and objects are locked, in the order of lockGroups. Effects that
// others change just now are passed over: who holds one may wait for its case.
func (l *pgLink) claim(now, until int64, n int, only []string) ([]record.Lease, error) {
	text, args := dueText, []any{now, now, now}
	if only != nil {
		text, args = text+" AND id = ANY(?)", append(args, only)
	}
	found, err := dueEffects(l.each, n, text+" AND dropped = 0 ORDER BY next_at, id", args...)
	if err != nil {
		return nil, err
	}
	var leases []record.Lease
	if len(found) > 0 {
		l.queueClaim(found, now, until, &leases)
	}
	l.queue.Queue("DELETE FROM effect WHERE id IN (SELECT id FROM effect WHERE dropped = 1 AND next_at <= $1 FOR UPDATE SKIP LOCKED)", now)
	err = l.flush()
	slices.SortFunc(leases, func(a, b record.Lease) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return leases, err
}

// queueClaim queues what leases those of the effects that are found again.
func (l *pgLink) queueClaim(found []EffectStatus, now, until int64, leases *[]record.Lease) {
	var ids, cases, objects []string
	for _, e := range found {
		ids, cases = append(ids, e.ID), append(cases, e.CaseID)
		if e.Object != "" {
			objects = append(objects, e.Object)
		}
	}
	l.held = map[string]bool{}
	l.queueLock(lockGroups, true)
	l.queueLock(lockClaims, true)
	for _, object := range distinct(objects) {
		l.queueLock(objectLock(object), false)
	}
	l.queue.Queue("SELECT 1 FROM case_state WHERE id = ANY($1) ORDER BY id FOR UPDATE", cases)
	l.queue.Queue(dialect(`WITH due AS (
			SELECT id, next_at FROM effect AS e WHERE id = ANY(?1) AND dropped = 0 AND next_at <= ?2
			AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND o.lease_until > ?2)
			AND NOT EXISTS (SELECT 1 FROM effect o WHERE e.object <> '' AND o.object = e.object AND o.object <> '' AND o.lease_until > ?2)
			FOR UPDATE SKIP LOCKED),
		drawn AS MATERIALIZED (SELECT id, nextval('effect_epoch') AS epoch FROM (SELECT id FROM due ORDER BY next_at, id) q)
		UPDATE effect AS e SET epoch = drawn.epoch, attempt = e.attempt + 1, lease_until = ?3, next_at = ?3
			FROM drawn WHERE e.id = drawn.id RETURNING `+rideColumns), ids, now, until).
		Query(func(rows pgx.Rows) error {
			return l.collect(rows, func(row scanner) error {
				e, err := scanEffect(row)
				*leases = append(*leases, record.Lease{Row: e.EffectRow, Epoch: e.Epoch, Attempt: e.Attempt, Until: e.LeaseUntil})
				return err
			})
		})
}

// ClaimThese leases the effects whose couriers arrived. One about which nothing
// can be done (it is done, leased, put off, or its case or object is busy) is not
// in the answer, and may be sent again.
func (s *Postgres) ClaimThese(ctx context.Context, now time.Time, lease time.Duration, ids []string) ([]record.Lease, error) {
	var leases []record.Lease
	err := s.put(ctx, func(w *writer) (err error) {
		if leases, err = w.link.(*pgLink).claim(nanos(now), nanos(now.Add(lease)), len(ids), ids); err != nil || len(leases) == len(ids) {
			return err
		}
		refused := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
			return slices.ContainsFunc(leases, func(l record.Lease) bool { return l.Row.ID == id })
		})
		// It waits for no row: who holds one may wait for the claims.
		_, err = w.exec(`UPDATE effect SET sent_at = -1 WHERE id IN (SELECT id FROM effect WHERE id = ANY(?) AND sent_at >= 0 AND lease_until <= ?
			FOR UPDATE SKIP LOCKED)`, refused, nanos(now))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim effects: %w", err)
	}
	return leases, nil
}
