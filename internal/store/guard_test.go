package store

import "github.com/casement/casement/internal/engine"

// The stores satisfy what the engine needs.
var (
	_ engine.Store   = (*SQLite)(nil)
	_ engine.Effects = (*SQLite)(nil)
	_ engine.Store   = (*Postgres)(nil)
	_ engine.Effects = (*Postgres)(nil)
	_ engine.Store   = (*Model)(nil)
	_ engine.Effects = (*Model)(nil)
)
