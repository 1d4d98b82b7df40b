package store

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/casement/casement/internal/record"
)

// storageError maps the database's "no room" to record.ErrFull, a lost connection
// and a lock that another process holds for longer than is waited for to
// record.ErrUnavailable, and keeps the rest.
func storageError(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return fmt.Errorf("%w: %w", record.ErrFull, err)
		case sqlite3.SQLITE_BUSY:
			return fmt.Errorf("%w: another process holds the lock of the database: %w", record.ErrUnavailable, err)
		}
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == pgDiskFull {
		return fmt.Errorf("%w: %w", record.ErrFull, err)
	}
	return unreached(err, false)
}

// isUnique reports a violated unique index or primary key.
func isUnique(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == pgUnique
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isTrigger reports that one of SQLite's triggers refused a row.
func isTrigger(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_TRIGGER
}

// isNull reports a NULL in a column that takes none.
func isNull(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == pgNotNull
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_NOTNULL
}
