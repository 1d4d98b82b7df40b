package store

import "context"

// Write runs f as one part of a commit.
func (s *SQLite) Write(ctx context.Context, f func(exec func(text string, args ...any) error) error) error {
	return s.put(ctx, func(w *writer) error {
		return f(func(text string, args ...any) error {
			_, err := w.exec(text, args...)
			return err
		})
	})
}

// Queued returns how many requests wait for the next group.
func (s *SQLite) Queued() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return len(s.group.queue)
}

// CountSome counts the repeats of up to n findings.
func (s *SQLite) CountSome(ctx context.Context, n int) error {
	return s.put(ctx, func(w *writer) error { return w.fold(n) })
}

// Plan says how SQLite would run a statement.
func (s *SQLite) Plan(ctx context.Context, text string) (string, error) {
	var plan string
	rows, err := s.check.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text)
	err = eachRow(rows, err, func(row scanner) error {
		var a, b, c int
		var step string
		err := row.Scan(&a, &b, &c, &step)
		plan += step + "; "
		return err
	})
	return plan, err
}
