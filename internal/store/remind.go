package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/casement/casement/internal/record"
)

// QuarantineSummary is what waits in quarantine of one source.
type QuarantineSummary struct {
	Bodies int       `json:"bodies"`
	Oldest time.Time `json:"oldest,omitzero"`
	// Owner and Error are those of the newest body.
	Owner string `json:"owner,omitempty"`
	Error string `json:"error,omitempty"`
}

// quarantineCase is what stands for the case of a reminder: one is told at a
// time, and one that did not arrive yet is not called for again.
func quarantineCase(source string) string { return "quarantine/" + source }

// QuarantineRemind calls for one reminder by each route of all bodies of a source
// that lie in quarantine, if the reminder of one of them has come at now; their
// next one comes at next. The reminder is an effect like any other: it is kept
// in the same transaction. A route whose last reminder did not arrive yet gets
// no second one.
func (s *tables) QuarantineRemind(ctx context.Context, tenant, source string, routes []string, now, next time.Time) error {
	err := s.db.put(ctx, func(w *writer) error {
		if err := w.lock("quarantine/"+tenant, false); err != nil {
			return err
		}
		var due int
		if err := w.get([]any{&due}, "SELECT count(*) FROM inbox WHERE tenant = ? AND source = ? AND quarantined = 1 AND next_at <= ?", tenant, source, nanos(now)); err != nil || due == 0 {
			return err // another node was here
		}
		if _, err := w.exec("UPDATE inbox SET next_at = ? WHERE tenant = ? AND source = ? AND quarantined = 1", nanos(next), tenant, source); err != nil {
			return err
		}
		for _, route := range routes {
			name := "reminder/" + route + "/" + strconv.FormatInt(nanos(now), 36)
			_, err := w.exec(`INSERT INTO effect (id, tenant, case_id, effect_id, kind, action, n, object, not_before, next_at, epoch, lease_until, attempt, dropped, last_error, door, trace, since)
				SELECT ?, ?, ?, ?, ?, ?, 0, '', ?, ?, 0, 0, 0, 0, '', ?, '', ? WHERE NOT EXISTS (SELECT 1 FROM effect WHERE tenant = ? AND case_id = ? AND door = ?)`,
				quarantineCase(source)+"/"+name, tenant, quarantineCase(source), name, string(record.EffectReminder), source, nanos(now), nanos(now), route, nanos(now),
				tenant, quarantineCase(source), route)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remind of the quarantine of %s: %w", source, err)
	}
	return nil
}

// QuarantineOf sums up what lies in quarantine of a source.
func (s *tables) QuarantineOf(ctx context.Context, tenant, source string) (QuarantineSummary, error) {
	var q QuarantineSummary
	var oldest int64
	err := s.db.one(ctx, []any{&q.Bodies, &oldest}, "SELECT count(*), coalesce(min(received_at), 0) FROM inbox WHERE tenant = ? AND source = ? AND quarantined = 1", tenant, source)
	if err == nil && q.Bodies > 0 {
		q.Oldest = instant(oldest)
		err = s.db.each(ctx, func(row scanner) error { return row.Scan(&q.Owner, &q.Error) },
			"SELECT owner, error FROM inbox WHERE tenant = ? AND source = ? AND quarantined = 1 ORDER BY id DESC LIMIT 1", tenant, source)
	}
	if err != nil {
		return q, fmt.Errorf("read quarantine: %w", err)
	}
	return q, nil
}

// QuarantineReminded ends the effect of a reminder that is leased and records it
// in the source's stream; ErrStale if the lease was lost. An event without a
// stream is not recorded: nobody had to be told.
func (s *tables) QuarantineReminded(ctx context.Context, l record.Lease, e StreamEvent) error {
	return s.db.put(ctx, func(w *writer) error {
		n, err := w.exec("DELETE FROM effect WHERE id = ? AND epoch = ? AND lease_until > 0", l.Row.ID, l.Epoch)
		if err == nil && n == 0 {
			err = staleError(l)
		}
		if err != nil || e.Stream == "" {
			return err
		}
		if err := checkStream(e); err != nil {
			return err
		}
		_, err = w.appendEvent(e)
		return err
	})
}
