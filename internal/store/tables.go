package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// tables is what the SQL stores do alike: one text of each statement, in the
// SQL that both databases read. Places of arguments are written ?; what differs
// is in link and database.
type tables struct {
	db database
	// logins is nil where other processes may change accounts.
	logins *logins
	// memory holds what was committed and would be read again, nil where other
	// processes may write. With it, states are mostly behind their rows; see states.go.
	memory *memory
}

// database is one SQL database as the tables need it.
type database interface {
	// put writes one part in a transaction and returns its error.
	put(ctx context.Context, p part) error
	// join is put in the next commit that is made anyway, for a part that waits for
	// nobody.
	join(ctx context.Context, p part) error
	// one reads one row; sql.ErrNoRows if there is none.
	one(ctx context.Context, dest []any, text string, args ...any) error
	// each calls f for every row.
	each(ctx context.Context, f func(scanner) error, text string, args ...any) error
	// reads runs short reads.
	reads(ctx context.Context, f func(q querier) error) error
	// snapshot runs reads that see one state of the database.
	snapshot(ctx context.Context, f func(q querier) error) error
	// ledgerText is the place of an event in the tree, -1 for none, the tables
	// that tell it, and the order of the ledger.
	ledgerText() (place, from, order string)
}

// link is a connection that writes, one transaction at a time.
type link interface {
	begin() error
	commit() error
	// rollback does nothing when the transaction is gone.
	rollback()
	exec(text string, args ...any) (int64, error)
	get(dest []any, text string, args ...any) error
	each(f func(scanner) error, text string, args ...any) error
	// send is exec for a statement whose outcome is not looked at: it may run as
	// late as the next read, and fail only there.
	send(text string, args ...any) error
	// lock serializes with every other transaction that locks the same name,
	// until the end of this one; shared locks only exclude unshared ones.
	lock(name string, shared bool) error
	// rowLock ends a SELECT of rows that will be changed, skipLocked one that
	// passes over rows others are changing.
	rowLock() string
	skipLocked() string
}

// The names of locks.
const (
	lockClaims = "claims"
	lockPauses = "pauses"
)

// liteLink is SQLite's only connection that writes. Its statements are
// prepared once, by their text.
type liteLink struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

func (l *liteLink) prepare(text string) (*sql.Stmt, error) {
	if s, ok := l.stmts[text]; ok {
		return s, nil
	}
	s, err := l.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	l.stmts[text] = s
	return s, nil
}

func (l *liteLink) run(text string) error {
	_, err := l.exec(text)
	return err
}

func (l *liteLink) begin() error  { return l.run("BEGIN IMMEDIATE") }
func (l *liteLink) commit() error { return l.run("COMMIT") }
func (l *liteLink) rollback()     { _ = l.run("ROLLBACK") } // fails if SQLite rolled back by itself

// Writers of SQLite never meet: there is nothing to lock.
func (l *liteLink) lock(string, bool) error { return nil }
func (l *liteLink) rowLock() string         { return "" }
func (l *liteLink) skipLocked() string      { return "" }

func (l *liteLink) exec(text string, args ...any) (int64, error) {
	s, err := l.prepare(text)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (l *liteLink) send(text string, args ...any) error {
	_, err := l.exec(text, args...)
	return err
}

func (l *liteLink) get(dest []any, text string, args ...any) error {
	s, err := l.prepare(text)
	if err != nil {
		return err
	}
	return s.QueryRowContext(context.Background(), args...).Scan(dest...)
}

func (l *liteLink) each(f func(scanner) error, text string, args ...any) error {
	s, err := l.prepare(text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(context.Background(), args...)
	return eachRow(rows, err, f)
}

func (l *liteLink) close() error {
	var errs []error
	for _, st := range l.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, l.conn.Close())...)
}
