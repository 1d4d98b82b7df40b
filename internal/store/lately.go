package store

import (
	"context"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/recent"
	"github.com/casement/casement/internal/remedy"
)

// keep remembers a stored unit whole; mu is held.
func (m *memory) keep(u *unit) {
	m.cases.Set(u.Case.ID, smallCase(u.Case))
	for i, f := range u.findings {
		k := uidKey{u.Case.Tenant, f.uid}
		m.bodies.Set(k, small(u.Findings[i], f.body))
		m.unseen.add(k)
	}
	for _, k := range u.AddKey {
		m.unseen.add(k)
	}
	for hash, body := range u.Facts {
		if len(body) <= latelyBytes {
			m.facts.Set(uidKey{u.Case.Tenant, hash}, body)
		}
	}
}

// smallCase is a copy of c, nil if it has many parts: up to 1 kB each.
func smallCase(c remedy.Case) *remedy.Case {
	if len(c.Members)+len(c.Episodes)+len(c.Actions)+len(c.Tickets)+len(c.Messages)+len(c.Absorbed) > latelyParts {
		return nil
	}
	return &c
}

// small is a copy of v, nil if it is too large as JSON.
func small[V any](v V, text []byte) *V {
	if len(text) > latelyBytes {
		return nil
	}
	return &v
}

// ofLate returns a value of one of the memory's maps that was committed lately.
func ofLate[K comparable, V any](m *memory, values *recent.Values[K, *V], k K) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, _ := values.Get(k)
	if p == nil {
		return v, false
	}
	return *p, true
}

// Load returns the case (engine.Store).
func (s *SQLite) Load(ctx context.Context, id string) (remedy.Case, error) {
	if c, ok := ofLate(s.memory, &s.memory.cases, id); ok {
		return c, nil
	}
	return s.tables.Load(ctx, id)
}

// Finding returns the stored finding (engine.Store).
func (s *SQLite) Finding(ctx context.Context, tenant, uid string) (finding.Finding, error) {
	if f, ok := ofLate(s.memory, &s.memory.bodies, uidKey{tenant, uid}); ok {
		return f, nil
	}
	return s.tables.Finding(ctx, tenant, uid)
}

// Fact returns a snapshot of facts by its content address; it must not be
// changed.
func (s *SQLite) Fact(ctx context.Context, tenant, hash string) ([]byte, error) {
	s.memory.mu.Lock()
	b, ok := s.memory.facts.Get(uidKey{tenant, hash})
	s.memory.mu.Unlock()
	if ok {
		return b, nil
	}
	return s.tables.Fact(ctx, tenant, hash)
}
