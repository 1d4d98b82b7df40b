package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Couriers makes jobs in a transaction, one for each effect, and returns their
// numbers in the same order. old are the numbers of those sent before, 0 for
// none; nil if none was.
type Couriers = func(ctx context.Context, tx pgx.Tx, effects []string, old []int64) ([]int64, error)

// carriage is what commits need to send couriers by themselves.
type carriage struct {
	now  func() time.Time
	open func() bool
	send Couriers
}

// Carry has every commit send couriers for the effects it adds and that are due,
// in the same transaction, as long as open says that there is room; nil ends
// that. What is not sent here, Send finds.
func (s *Postgres) Carry(now func() time.Time, open func() bool, send Couriers) {
	if send == nil {
		s.carriage.Store(nil)
		return
	}
	s.carriage.Store(&carriage{now, open, send})
}

// Pool returns new connections to the same database, at most n at once; the
// caller closes it.
func (s *Postgres) Pool(ctx context.Context, n int32) (*pgxpool.Pool, error) {
	cfg := s.pool.Config()
	cfg.MaxConns = n
	return pgPool(ctx, cfg)
}

// sent is when couriers went off, and the job of each effect.
type sent struct {
	at   int64
	jobs map[string]int64
}

// of returns when a courier went off for an effect, and its job: -1 and 0 if none did.
func (s sent) of(effect string) []any {
	if job, ok := s.jobs[effect]; ok {
		return []any{s.at, job}
	}
	return []any{-1, 0}
}

// sendAhead sends couriers for what the units of a group will add: one for each
// case and object, because they do one thing at a time, and none for what this
// node leases along. An effect that is not stored in the end costs a courier who
// finds nothing to do.
func (l *pgLink) sendAhead(batch []*request, ride *riding) (out sent, err error) {
	c := l.carriage.Load()
	if c == nil || !c.open() {
		return out, nil
	}
	now := c.now()
	busy := map[string]bool{}
	var list []string
	for _, r := range batch {
		for _, u := range slices.Concat(r.units...) {
			for _, e := range u.AddEffects {
				if u.Hold || ride.covers(e.CaseID) || e.NotBefore.After(now) || busy["case "+e.CaseID] || e.Object != "" && busy["object "+e.Object] {
					continue
				}
				busy["case "+e.CaseID], busy["object "+e.Object] = true, true
				list = append(list, pgText(e.ID))
			}
		}
	}
	if len(list) == 0 {
		return out, nil
	}
	jobs, err := c.send(l.context(), l.tx, list, nil)
	if err != nil {
		return out, fmt.Errorf("send couriers: %w", err)
	}
	out = sent{at: nanos(now), jobs: make(map[string]int64, len(list))}
	for i, id := range list {
		out.jobs[id] = jobs[i]
	}
	return out, nil
}

// Unsent counts the couriers under way, and reports whether effects wait at now
// for one: none was sent, or it was sent before since and did not arrive.
func (s *Postgres) Unsent(ctx context.Context, now, since time.Time) (underWay int, waits bool, err error) {
	err = s.one(ctx, []any{&underWay, &waits}, `SELECT (SELECT count(*) FROM effect WHERE sent_at >= next_at),
		(EXISTS (SELECT 1 FROM effect WHERE sent_at < next_at AND next_at <= ? AND dropped = 0) OR EXISTS (SELECT 1 FROM effect WHERE sent_at >= next_at AND sent_at <= ?))::int`,
		nanos(now), nanos(since))
	if err != nil {
		return 0, false, fmt.Errorf("look for effects to send: %w", err)
	}
	return underWay, waits, nil
}

// Send sends couriers, in the transaction that notes it: anew for effects whose
// last one was sent before since, and for up to n that are due at now and have
// none under way. Cases and objects have one at a time.
func (s *Postgres) Send(ctx context.Context, now, since time.Time, n int, send Couriers) (int, error) {
	at, lost := nanos(now), nanos(since)
	const (
		columns = "SELECT id, case_id, object, courier FROM effect e WHERE dropped = 0 AND "
		free    = ` AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND (o.lease_until > ?1 OR o.sent_at >= o.next_at AND o.sent_at > ?2))
			AND NOT EXISTS (SELECT 1 FROM effect o WHERE e.object <> '' AND o.object = e.object AND o.object <> '' AND o.lease_until > ?1)`
		order = " ORDER BY next_at, id LIMIT ?3 FOR UPDATE SKIP LOCKED"
		again = 256 // lost couriers are sent anew, so many in one transaction
	)
	var ids []string
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		ids = nil
		var old []int64
		busy := map[string]bool{}
		collect := func(row scanner) error {
			var id, caseID, object string
			var courier int64
			err := row.Scan(&id, &caseID, &object, &courier)
			if err != nil || busy["case "+caseID] || object != "" && busy["object "+object] {
				return err
			}
			busy["case "+caseID], busy["object "+object] = true, true
			ids, old = append(ids, id), append(old, courier)
			return nil
		}
		if err := pgEach(ctx, tx, collect, columns+"sent_at >= next_at AND sent_at <= ?2"+free+order, []any{at, lost, again}); err != nil {
			return err
		}
		if err := pgEach(ctx, tx, collect, columns+"sent_at < next_at AND next_at <= ?1"+free+order, []any{at, lost, n}); err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		jobs, err := send(ctx, tx, ids, old)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE effect SET sent_at = $1, courier = s.courier FROM unnest($2::text[], $3::bigint[]) AS s (id, courier) WHERE effect.id = s.id", at, ids, jobs)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("send effects: %w", err)
	}
	return len(ids), nil
}

// Mark notes that the database is a copy. Couriers under way belong to the
// history it was copied from: none is waited for.
func (s *Postgres) Mark(ctx context.Context, mark BackupMark) error {
	err := s.put(ctx, func(w *writer) error {
		_, err := w.exec("UPDATE effect SET sent_at = -1 WHERE sent_at >= 0")
		return err
	})
	if err != nil {
		return fmt.Errorf("forget couriers under way: %w", err)
	}
	return s.tables.Mark(ctx, mark)
}
