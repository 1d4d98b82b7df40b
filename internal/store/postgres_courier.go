package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casement/casement/internal/record"
)

// Pool returns new connections to the same database, at most n at once; the
// caller closes it.
func (s *Postgres) Pool(ctx context.Context, n int32) (*pgxpool.Pool, error) {
	cfg := s.pool.Config()
	cfg.MaxConns = n
	return pgxpool.NewWithConfig(ctx, cfg)
}

// Send hands up to n effects that are due at now, and whose case and object are
// free, to couriers: send gets their ids in the transaction that marks them as
// sent until until. An effect is not sent again before, unless its courier
// arrived. It returns how many it sent.
func (s *Postgres) Send(ctx context.Context, now, until time.Time, n int, send func(ctx context.Context, tx pgx.Tx, ids []string) error) (int, error) {
	const due = `next_at <= ? AND sent_until <= ? AND dropped = 0
		AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND o.lease_until > ?)
		AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND o.sent_until > ? AND o.sent_until > 0)
		AND NOT EXISTS (SELECT 1 FROM effect o WHERE e.object <> '' AND o.object = e.object AND o.object <> '' AND o.lease_until > ?)`
	at := nanos(now)
	var found bool
	if err := s.one(ctx, []any{&found}, "SELECT count(*) FROM (SELECT 1 FROM effect e WHERE "+due+" LIMIT 1) q", at, at, at, at, at); err != nil || !found {
		return 0, err
	}
	var ids []string
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{}, func(tx pgx.Tx) error {
		ids = ids[:0]
		busy := map[string]bool{}
		err := pgEach(ctx, tx, func(row scanner) error {
			var id, caseID, object string
			if err := row.Scan(&id, &caseID, &object); err != nil {
				return err
			}
			if busy["case "+caseID] || object != "" && busy["object "+object] {
				return nil
			}
			busy["case "+caseID], busy["object "+object] = true, true
			ids = append(ids, id)
			return nil
		}, "SELECT id, case_id, object FROM effect e WHERE "+due+" ORDER BY next_at, id LIMIT ? FOR UPDATE SKIP LOCKED", []any{at, at, at, at, at, n})
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE effect SET sent_until = $1 WHERE id = ANY($2)", nanos(until), ids); err != nil {
			return err
		}
		return send(ctx, tx, ids)
	})
	if err != nil {
		return 0, fmt.Errorf("send effects: %w", err)
	}
	return len(ids), nil
}

// ClaimOne leases one effect whose courier arrived; false if there is nothing to
// do: it is done, leased, not due, or its case or object is busy.
func (s *Postgres) ClaimOne(ctx context.Context, now time.Time, lease time.Duration, id string) (l record.Lease, ok bool, err error) {
	err = s.put(ctx, func(w *writer) error {
		leases, err := w.claim(nanos(now), now.Add(lease), 1, id)
		if ok = err == nil && len(leases) == 1; ok {
			l = leases[0]
		}
		if err != nil {
			return err
		}
		_, err = w.exec("UPDATE effect SET sent_until = 0 WHERE id = ?", id)
		return err
	})
	if err != nil {
		return l, false, fmt.Errorf("claim effect %s: %w", id, err)
	}
	return l, ok, nil
}
