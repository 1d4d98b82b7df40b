package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// MoveState says how far the move of an install to another database came.
type MoveState string

// The states of a move. Of the two databases only one may act: while SQLite is
// Moving neither may until it is known whether PostgreSQL committed.
const (
	// Moving is written to SQLite before PostgreSQL commits, Moved after.
	Moving MoveState = "moving"
	Moved  MoveState = "moved"
	// Arrived is in PostgreSQL, committed with all that was copied.
	Arrived MoveState = "arrived"
)

// Move is the move of an install from SQLite to PostgreSQL.
type Move struct {
	// ID is the copy's own.
	ID string
	// Target is host:port/database, without user and password.
	Target string
	State  MoveState
	At     time.Time
}

// MovedError refuses a data folder whose install moved, or may have moved, to
// PostgreSQL.
type MovedError struct {
	Folder string
	Move   Move
}

// Error says what happened and how to go on.
func (e *MovedError) Error() string {
	at := e.Move.At.Format("2006-01-02 15:04 UTC")
	if e.Move.State == Moving {
		return fmt.Sprintf("%s: a copy of this install to PostgreSQL at %s was begun on %s (copy %s), and its end is not known: until it is, nothing may act from here. "+
			"Run casement db copy again with the same database: it finishes the copy or makes a new one; with --cancel it takes it back, if the database did not get it",
			e.Folder, e.Move.Target, at, e.Move.ID)
	}
	return fmt.Sprintf("%s: this install moved to PostgreSQL at %s on %s (copy %s), and acts from there: casement serve --database. "+
		"To go back to what it was then, end all nodes of that database and casement restore --moved %s --data NEW", e.Folder, e.Move.Target, at, e.Move.ID, e.Folder)
}

// OpenToMove is Open for moving the install: it opens one that moved as well.
func OpenToMove(ctx context.Context, folder string) (*SQLite, error) { return open(ctx, folder, true) }

// Unmove takes the mark of a move off a data folder that nobody holds: for a
// copy of the folder that becomes an install of its own.
func Unmove(ctx context.Context, folder string) error {
	s, err := OpenToMove(ctx, folder)
	if err != nil {
		return err
	}
	return errors.Join(s.ClearMove(ctx), s.Close())
}

// stayed refuses a database whose install moved.
func (s *SQLite) stayed(ctx context.Context) error {
	m, ok, err := s.Move(ctx)
	if err != nil || !ok {
		return err
	}
	return &MovedError{filepath.Dir(s.path), m}
}

// Move returns the move of this install; false if there is none.
func (s *tables) Move(ctx context.Context) (Move, bool, error) {
	var m Move
	var at int64
	err := s.db.one(ctx, []any{&m.ID, &m.Target, &m.State, &at}, "SELECT id, target, state, at FROM move")
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read where the install moved: %w", err)
	}
	m.At = instant(at)
	return m, true, nil
}

// SetMove marks the install, durably.
func (s *SQLite) SetMove(ctx context.Context, m Move) error {
	return s.put(ctx, func(w *writer) error { return w.setMove(m) })
}

func (w *writer) setMove(m Move) error {
	_, err := w.exec("DELETE FROM move")
	if err == nil {
		_, err = w.exec("INSERT INTO move (id, tenant, target, state, at) VALUES (?, '', ?, ?, ?)", m.ID, m.Target, string(m.State), nanos(m.At))
	}
	if err != nil {
		return fmt.Errorf("mark where the install moved: %w", err)
	}
	return nil
}

// ClearMove takes the mark off: the install stays.
func (s *SQLite) ClearMove(ctx context.Context) error {
	return s.put(ctx, func(w *writer) error {
		_, err := w.exec("DELETE FROM move")
		return err
	})
}

// NewestEvent is the time of the newest event, zero if there is none.
func (s *SQLite) NewestEvent(ctx context.Context) (time.Time, error) {
	var at int64
	err := s.one(ctx, []any{&at}, "SELECT at FROM event ORDER BY pos DESC LIMIT 1")
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return instant(at), err
}

// Reader reads the database of a data folder that another process holds.
type Reader struct{ db *sql.DB }

// ErrOtherRelease: the database has another schema than this release.
var ErrOtherRelease = errors.New("another release works on it")

// OpenReader opens a folder beside the server that holds it. It changes nothing;
// ErrOtherRelease if the schema is another one.
func OpenReader(ctx context.Context, folder string) (*Reader, error) {
	s := SQLite{path: filepath.Join(folder, DatabaseFile)}
	db, err := s.connect("ro", 1, "query_only(1)", "temp_store(memory)")
	if err != nil {
		return nil, err
	}
	have, want := int64(0), int64(0)
	err = db.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version").Scan(&have)
	if err == nil {
		want, err = newestMigration()
	}
	if err == nil && have != want {
		err = fmt.Errorf("schema %d, this one knows %d: %w", have, want, ErrOtherRelease)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", s.path, err), db.Close())
	}
	return &Reader{db}, nil
}

// Close ends the reading.
func (r *Reader) Close() error { return r.db.Close() }

// newestMigration is the version of SQLite's schema that this release makes.
func newestMigration() (int64, error) {
	list, err := migrations.ReadDir("migrations/sqlite")
	if err != nil || len(list) == 0 {
		return 0, fmt.Errorf("migrations: %w", err)
	}
	var n int64
	_, err = fmt.Sscanf(list[len(list)-1].Name(), "%d_", &n) // they are sorted by name
	return n, err
}
