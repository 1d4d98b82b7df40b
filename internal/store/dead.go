package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// clockPrefix begins the id of a dead letter that is no effect.
const clockPrefix = record.KindClock + "/"

// Postpone gives an effect back until at without counting the try: nothing was
// tried, for instance because the kill switch is thrown (engine.Effects).
func (s *tables) Postpone(ctx context.Context, l record.Lease, at time.Time, reason string) error {
	return s.giveBack(ctx, l, "attempt = CASE WHEN attempt > 0 THEN attempt - 1 ELSE 0 END, next_at = ?, last_error = ?", nanos(at), record.Reason(reason))
}

// Bury gives an effect back as a dead letter, to be tried again at at
// (engine.Effects).
func (s *tables) Bury(ctx context.Context, l record.Lease, now, at time.Time, reason string) error {
	return s.giveBack(ctx, l, "dead_since = CASE WHEN dead_since = 0 THEN CAST(? AS BIGINT) ELSE dead_since END, next_at = ?, last_error = ?", nanos(now), nanos(at), record.Reason(reason))
}

// Stumbled records that a due case could not be woken at now, and puts its next
// wake-up off: damaged cases must not stand in the way of the others. It
// returns when it is tried again, and whether it is a dead letter by now
// (engine.Store).
func (s *tables) Stumbled(ctx context.Context, caseID string, now time.Time, reason string) (at time.Time, dead bool, err error) {
	err = s.db.put(ctx, func(w *writer) error {
		var tenant string
		var wake, next, since int64
		var failures int
		err := w.get([]any{&tenant, &wake}, "SELECT tenant, wake_at FROM case_state WHERE id = ?"+w.rowLock(), caseID)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("case %s: %w", caseID, record.ErrNotFound)
		}
		if err != nil {
			return err
		}
		err = w.get([]any{&failures, &next, &since}, "SELECT failures, next_at, dead_since FROM case_fault WHERE case_id = ?", caseID)
		if errors.Is(err, sql.ErrNoRows) || err == nil && next != wake {
			failures, since, err = 0, 0, nil // the first one, or it was well meanwhile
		}
		if err != nil {
			return err
		}
		var wait time.Duration
		wait, dead = record.NextTry(clockPrefix+caseID, failures+1)
		at = utc(now.Add(wait))
		if dead && since == 0 {
			since = nanos(now)
		}
		_, err = w.exec(`INSERT INTO case_fault (case_id, tenant, failures, reason, next_at, dead_since) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (case_id) DO UPDATE SET failures = excluded.failures, reason = excluded.reason, next_at = excluded.next_at, dead_since = excluded.dead_since`,
			caseID, tenant, failures+1, record.Reason(reason), nanos(at), since)
		if err != nil {
			return err
		}
		_, err = w.exec("UPDATE case_state SET wake_at = ? WHERE id = ?", nanos(at), caseID)
		return err
	})
	return at, dead, err
}

// deadEffects and deadClocks are the two kinds of dead letters, in the columns
// of scanDead.
const (
	deadEffects = `SELECT e.id, e.tenant, e.case_id, e.kind, e.action, e.last_error, e.attempt, e.dead_since, e.next_at, coalesce(c.owner, '')
		FROM effect e LEFT JOIN case_state c ON c.id = e.case_id WHERE e.tenant = ? AND e.dead_since > 0 AND e.dropped = 0`
	deadClocks = `SELECT '` + clockPrefix + `' || f.case_id, f.tenant, f.case_id, '` + record.KindClock + `', '', f.reason, f.failures, f.dead_since, f.next_at, c.owner
		FROM case_fault f JOIN case_state c ON c.id = f.case_id WHERE f.tenant = ? AND f.dead_since > 0 AND c.wake_at = f.next_at`
)

func scanDead(row scanner, list *[]record.DeadLetter) error {
	var d record.DeadLetter
	var since, next int64
	if err := row.Scan(&d.ID, &d.Tenant, &d.CaseID, &d.Kind, &d.Action, &d.Reason, &d.Tries, &since, &next, &d.Owner); err != nil {
		return err
	}
	d.Since, d.NextAt = instant(since), instant(next)
	d.Bottleneck = deadBottleneck(d.Since)
	*list = append(*list, d)
	return nil
}

// deadBottleneck: a fault of ours waits for whoever runs the install.
func deadBottleneck(since time.Time) remedy.Bottleneck {
	return remedy.Bottleneck{Kind: "dead letter", Who: "administrator", Since: since}
}

func sortDead(list []record.DeadLetter, n int) []record.DeadLetter {
	slices.SortFunc(list, func(a, b record.DeadLetter) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return list[:min(n, len(list))]
}

// DeadLetters returns up to n dead letters of a tenant, oldest first; with a
// case, only those of it.
func (s *tables) DeadLetters(ctx context.Context, tenant, caseID string, n int) ([]record.DeadLetter, error) {
	var list []record.DeadLetter
	for _, q := range [][2]string{{deadEffects, " AND (? = '' OR e.case_id = ?) ORDER BY e.dead_since, e.id LIMIT ?"}, {deadClocks, " AND (? = '' OR f.case_id = ?) ORDER BY f.dead_since, f.case_id LIMIT ?"}} {
		err := s.db.each(ctx, func(row scanner) error { return scanDead(row, &list) }, q[0]+q[1], tenant, caseID, caseID, n)
		if err != nil {
			return nil, fmt.Errorf("read dead letters: %w", err)
		}
	}
	return sortDead(list, n), nil
}

// DeadSummary counts the dead letters of a tenant.
func (s *tables) DeadSummary(ctx context.Context, tenant string) (record.DeadSummary, error) {
	var out record.DeadSummary
	var oldest int64
	err := s.db.one(ctx, []any{&out.N, &oldest}, "SELECT count(*), coalesce(min(q.dead_since), 0) FROM ("+deadEffects+" UNION ALL "+deadClocks+") q", tenant, tenant)
	if err != nil {
		return out, fmt.Errorf("count dead letters: %w", err)
	}
	out.Oldest = instant(oldest)
	return out, nil
}

// RetryDeadLetter has a dead letter tried again at at, by the decision of a
// person, who is recorded by e. It stays a dead letter until it worked.
func (s *tables) RetryDeadLetter(ctx context.Context, tenant, id string, at time.Time, e StreamEvent) error {
	if err := checkStream(e); err != nil {
		return err
	}
	return s.db.put(ctx, func(w *writer) error {
		caseID, clock := strings.CutPrefix(id, clockPrefix)
		var err error
		var n int64
		if !clock {
			n, err = w.exec("UPDATE effect SET next_at = ? WHERE tenant = ? AND id = ? AND dead_since > 0 AND lease_until = 0 AND dropped = 0", nanos(at), tenant, id)
		} else if n, err = w.exec("UPDATE case_fault SET next_at = ? WHERE tenant = ? AND case_id = ? AND dead_since > 0 AND next_at = (SELECT wake_at FROM case_state WHERE id = ?)", nanos(at), tenant, caseID, caseID); err == nil && n > 0 {
			_, err = w.exec("UPDATE case_state SET wake_at = ? WHERE id = ?", nanos(at), caseID)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("no dead letter %s waits: %w", id, record.ErrNotFound)
		}
		_, err = w.appendEvent(e)
		return err
	})
}
