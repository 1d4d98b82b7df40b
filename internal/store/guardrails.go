package store

import (
	"context"
	"fmt"
	"time"
)

// fleetMost bounds how many cases Fleet looks at. More of them only make the
// answer too small, which errs on the strict side.
const fleetMost = 100_000

// Drawn is how much of the budget key was drawn since an instant. What it says
// is for people: a draw is refused in the transaction of the intent.
func (s *tables) Drawn(ctx context.Context, key string, since time.Time) (int, error) {
	var n int
	err := s.db.one(ctx, []any{&n}, "SELECT coalesce(sum(n), 0) FROM budget WHERE key = ? AND at >= ?", key, nanos(since))
	if err != nil {
		return 0, fmt.Errorf("read budget %s: %w", key, err)
	}
	return n, nil
}

// Fleet is the number of assets of a tenant that were ever found in the risky
// state of a class: at most as many as there are.
func (s *tables) Fleet(ctx context.Context, tenant, class string) (int, error) {
	var n int
	err := s.db.one(ctx, []any{&n}, "SELECT count(DISTINCT q.asset) FROM (SELECT asset FROM case_state WHERE tenant = ? AND class = ? LIMIT ?) q", tenant, class, fleetMost)
	if err != nil {
		return 0, fmt.Errorf("count the assets of class %s: %w", class, err)
	}
	return n, nil
}

// Drawn is how much of a budget was drawn; see the SQL stores.
func (m *Model) Drawn(_ context.Context, key string, since time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, t := range m.budgets[key] {
		if t.at >= nanos(since) {
			n += t.n
		}
	}
	return n, nil
}

// Fleet counts the assets of a class; see the SQL stores.
func (m *Model) Fleet(_ context.Context, tenant, class string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	assets := map[string]bool{}
	for _, c := range m.cases {
		if c.row.Tenant == tenant && string(c.row.Class) == class {
			assets[c.row.Asset] = true
		}
	}
	return len(assets), nil
}
