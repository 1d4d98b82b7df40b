package store

import (
	"context"
	"time"

	"github.com/casement/casement/internal/record"
)

// uidsOf names the findings of sightings.
func uidsOf(seen []record.Sighting) []uidKey {
	keys := make([]uidKey, len(seen))
	for i, x := range seen {
		keys[i] = uidKey{x.Tenant, x.UID}
	}
	return keys
}

// Sight counts repeats (engine.Store). What is remembered spares a commit that
// would count none.
func (s *SQLite) Sight(ctx context.Context, tenant string, rs []record.Repeat, at time.Time) ([]record.Known, error) {
	uids := make([]string, len(rs))
	for i, r := range rs {
		uids[i] = r.UID
	}
	known, err := s.Known(ctx, tenant, uids)
	if err != nil {
		return nil, err
	}
	out, some := make([]record.Known, len(rs)), false
	for i, r := range rs {
		out[i] = known[r.UID]
		some = some || out[i].Repeats(r.Digest)
	}
	if !some {
		return out, nil
	}
	return sightTo(ctx, &s.group, tenant, rs, at)
}

// Sight counts repeats (engine.Store).
func (s *Postgres) Sight(ctx context.Context, tenant string, rs []record.Repeat, at time.Time) ([]record.Known, error) {
	return sightTo(ctx, &s.group, tenant, rs, at)
}

// sightTo counts in a commit those of rs that are repeats then.
func sightTo(ctx context.Context, g *group, tenant string, rs []record.Repeat, at time.Time) (known []record.Known, err error) {
	r := request{asks: make([]uidKey, len(rs))}
	for i, x := range rs {
		r.asks[i] = uidKey{tenant, x.UID}
	}
	r.tail = func(w *writer) (err error) {
		if known, err = w.knownOf(r.asks); err != nil {
			return err
		}
		for i, x := range rs {
			if known[i].Repeats(x.Digest) {
				w.txn.seen = append(w.txn.seen, record.Sighting{Tenant: tenant, UID: x.UID, At: at, Count: 1})
			}
		}
		return nil
	}
	if err := g.do(ctx, &r); err != nil {
		return nil, err
	}
	return known, nil
}

// Sight counts repeats (engine.Store).
func (m *Model) Sight(ctx context.Context, tenant string, rs []record.Repeat, at time.Time) ([]record.Known, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]record.Known, len(rs))
	for i, r := range rs {
		f := m.findings[findingKey{tenant, r.UID}]
		if f == nil {
			continue
		}
		out[i] = record.Known{CaseID: f.caseID, Digest: f.digest, Quiet: m.cases[f.caseID].quiet}
		if out[i].Repeats(r.Digest) {
			f.sightings++
			f.last = max(f.last, nanos(at))
		}
	}
	return out, nil
}
