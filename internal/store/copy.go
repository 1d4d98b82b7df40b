package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/casement/casement/internal/ledger"
)

// Errors of a copy.
var (
	// ErrNotEmpty: the database to copy to holds something.
	ErrNotEmpty = errors.New("the database is not empty")
	// ErrUncopyable: a row that PostgreSQL can't hold as it is.
	ErrUncopyable = errors.New("the row can't be copied")
	// ErrDiffers: what arrived is not what was sent.
	ErrDiffers = errors.New("the copy differs")
)

// Copy fills an empty PostgreSQL database with the install of a data folder, in
// one transaction that locks every table: other nodes that start meanwhile wait
// for its end, and nothing of it is there until Commit. Bulk may run beside the
// server that holds the folder, any number of times; Rest needs the folder. It
// is not safe for concurrent use.
type Copy struct {
	tables
	tx   pgx.Tx
	list []*copyTable
	buf  []byte
	// auditor has seen what was audited beside the server.
	auditor *ledger.Auditor
	// last are the numbers of rows that PostgreSQL goes on from.
	last map[string]int64
}

// copyLockWait bounds the wait for others' transactions, in milliseconds.
const copyLockWait = 15_000

// BeginCopy locks the tables of a database. It returns the move by which an
// install came there; false if none did.
func (s *Postgres) BeginCopy(ctx context.Context) (*Copy, Move, bool, error) {
	var m Move
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return nil, m, false, fmt.Errorf("database: %w", err)
	}
	c := &Copy{tx: tx, last: map[string]int64{}}
	c.tables = tables{db: copied{tx}}
	came := false
	if err = c.lockAll(ctx); err == nil {
		m, came, err = c.Move(ctx)
	}
	if err != nil {
		c.Rollback()
		return nil, m, false, err
	}
	return c, m, came, nil
}

// lockAll locks every table until the end of the transaction, which no timeout
// of the server ends.
func (c *Copy) lockAll(ctx context.Context) error {
	// Which timeouts there are depends on the server's release.
	_, err := c.tx.Exec(ctx, `SELECT set_config(name, CASE name WHEN 'lock_timeout' THEN $1::text ELSE '0' END, true) FROM pg_settings
		WHERE name IN ('lock_timeout', 'statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')`, fmt.Sprint(copyLockWait))
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	names, err := c.names(ctx)
	if err == nil {
		_, err = c.tx.Exec(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS EXCLUSIVE MODE")
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == pgLockTimeout {
		return fmt.Errorf("database: another process works on its tables: %w", err)
	}
	if err != nil {
		return fmt.Errorf("lock the tables: %w", err)
	}
	return nil
}

// pgLockTimeout ends a wait for a lock.
const pgLockTimeout = "55P03"

// names are the tables of the database, quoted, but for the schema's version.
func (c *Copy) names(ctx context.Context) ([]string, error) {
	rows, err := c.tx.Query(ctx, "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name <> $1 ORDER BY 1", pgSchemaTable)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var name string
		err := row.Scan(&name)
		return quoted(name), err
	})
}

// Empty returns ErrNotEmpty if any table holds a row.
func (c *Copy) Empty(ctx context.Context) error {
	names, err := c.names(ctx)
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	for _, name := range names {
		var n int64
		if err := c.tx.QueryRow(ctx, "SELECT count(*) FROM "+name).Scan(&n); err != nil {
			return fmt.Errorf("count %s: %w", name, err)
		}
		if n > 0 {
			return fmt.Errorf("%w: its table %s has %d rows", ErrNotEmpty, name, n)
		}
	}
	return nil
}

// Bulk copies what is there beside the server that works on: what changes
// afterwards is copied by Rest.
func (c *Copy) Bulk(ctx context.Context, from *Reader) error {
	err := c.pass(ctx, from.db, false)
	for _, t := range c.list {
		if err == nil {
			err = c.readBack(ctx, t) // no server has to wait for it later
		}
	}
	return err
}

// Rest copies what Bulk did not, or what changed since. The folder is ours: no
// server writes to it any more.
func (c *Copy) Rest(ctx context.Context, from *SQLite) error {
	if err := from.CountSightings(ctx); err != nil {
		return err
	}
	left := int64(0)
	if err := from.one(ctx, []any{&left}, "SELECT count(*) FROM sighting_log"); err != nil {
		return fmt.Errorf("count sightings: %w", err)
	}
	if left > 0 {
		return fmt.Errorf("%d rows of repeats were not counted", left)
	}
	if err := c.pass(ctx, from.read, true); err != nil {
		return err
	}
	return from.each(ctx, func(row scanner) error {
		var name string
		var n int64
		err := row.Scan(&name, &n)
		c.last[name] = n
		return err
	}, "SELECT name, seq FROM sqlite_sequence")
}

// pass copies every table as far as it was not copied.
func (c *Copy) pass(ctx context.Context, from *sql.DB, last bool) (err error) {
	if c.list == nil {
		if c.list, err = copyTables(ctx, from, c.tx); err != nil {
			return err
		}
	}
	// The size first: what the tree grows meanwhile is of the next pass.
	var size int64
	if err := from.QueryRowContext(ctx, "SELECT coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '"+treeSize+"'), 0)").Scan(&size); err != nil {
		return fmt.Errorf("read the tree: %w", err)
	}
	for _, t := range c.list {
		switch {
		case t.grows >= 0:
			err = c.more(ctx, from, t, size, last)
		case len(t.key) > 0 || last:
			err = c.changed(ctx, from, t, last)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", t.name, err)
		}
	}
	return nil
}

// moreRows is how many rows of a growing table one read holds: the server's WAL
// begins anew only when no read holds it.
const moreRows = 50_000

// more copies the rows by which a table grew. Events that are not in the tree
// yet wait for the last pass: their place changes.
func (c *Copy) more(ctx context.Context, from *sql.DB, t *copyTable, size int64, last bool) error {
	text := t.liteText() + " WHERE " + t.cols[t.grows].lite + " > ?2 ORDER BY " + t.cols[t.grows].lite + " LIMIT ?3"
	if t.name == "event" && !last {
		text = t.liteText() + " WHERE pos > ?2 AND pos <= ?1 ORDER BY pos LIMIT ?3"
	}
	if t.rows == 0 {
		t.high = -1
	}
	for {
		before := t.rows
		rows, err := from.QueryContext(ctx, text, size, t.high, moreRows)
		if err != nil {
			return err
		}
		err = c.send(ctx, t, rows, func(row []any, hash [32]byte) bool {
			t.high = *row[t.grows].(*int64)
			t.rows++
			t.sum.add(hash)
			return true
		})
		if err != nil || t.rows == before {
			return err
		}
	}
}

// changed copies the rows that are new or changed since they were copied, and
// removes those that are gone.
func (c *Copy) changed(ctx context.Context, from *sql.DB, t *copyTable, last bool) error {
	if len(t.seen) > 0 {
		if whole, err := c.difference(ctx, from, t, last); err != nil || whole {
			return err
		}
	}
	t.rows, t.sum, t.replaced = 0, rowSum{}, 0
	rows, err := from.QueryContext(ctx, t.liteText())
	if err != nil {
		return err
	}
	return c.send(ctx, t, rows, func(row []any, hash [32]byte) bool {
		t.rows++
		t.sum.add(hash)
		if len(t.key) == 0 {
			return true
		}
		key, whole := short(t.hash(row, &c.buf, t.key)), short(hash)
		there := t.seen[key] == whole
		if !there && !last {
			t.seen[key] = whole
		}
		return !there
	})
}

func short(h [32]byte) rowHash { return rowHash(h[:16]) }

// heldBytes bounds the rows that are kept between two statements.
const heldBytes = 32 << 20

// difference removes the rows that are no longer in the source as they were
// copied, and copies those that are new or changed. whole is false when these
// were too many to be kept meanwhile: they are not copied then.
func (c *Copy) difference(ctx context.Context, from *sql.DB, t *copyTable, last bool) (whole bool, err error) {
	t.rows, t.sum, t.replaced = 0, rowSum{}, 0
	rows, err := from.QueryContext(ctx, t.liteText())
	if err != nil {
		return false, err
	}
	stale := maps.Clone(t.seen)
	var held [][]any
	fresh := map[rowHash]rowHash{}
	room, row, all := heldBytes, t.places(), t.all()
	err = eachRow(rows, nil, func(r scanner) error {
		if err := r.Scan(row...); err != nil {
			return err
		}
		if err := t.mend(row); err != nil {
			return err
		}
		hash := t.hash(row, &c.buf, all)
		size := len(c.buf)
		t.rows++
		t.sum.add(hash)
		key := short(t.hash(row, &c.buf, t.key))
		if t.seen[key] == short(hash) {
			delete(stale, key)
			return nil
		}
		if room -= size; room >= 0 {
			held = append(held, t.values(row, make([]any, len(row))))
			fresh[key] = short(hash)
		}
		return nil
	})
	if err == nil {
		err = c.drop(ctx, t, stale)
	}
	if err != nil || room < 0 || len(held) == 0 {
		return room >= 0, err
	}
	if !last {
		maps.Copy(t.seen, fresh)
	}
	_, err = c.tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.names(), pgx.CopyFromRows(held))
	return true, err
}

// drop removes rows by the hashes of their keys.
func (c *Copy) drop(ctx context.Context, t *copyTable, stale map[rowHash]rowHash) error {
	if len(stale) == 0 {
		return nil
	}
	key := t.places()
	var words []string
	var places []any
	for _, i := range t.key {
		words, places = append(words, t.cols[i].pg), append(places, key[i])
	}
	var ids []string
	var id string
	found, err := c.tx.Query(ctx, "SELECT ctid::text, "+strings.Join(words, ", ")+" FROM "+quoted(t.name))
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(found, append([]any{&id}, places...), func() error {
		if _, ok := stale[short(t.hash(key, &c.buf, t.key))]; ok {
			ids = append(ids, id)
		}
		return nil
	})
	if err == nil && len(ids) != len(stale) {
		err = fmt.Errorf("%w: %d of %d changed rows are there", ErrDiffers, len(ids), len(stale))
	}
	if err != nil {
		return err
	}
	gone, err := c.tx.Query(ctx, "DELETE FROM "+quoted(t.name)+" WHERE ctid = ANY ($1::text[]::tid[]) RETURNING "+t.list(func(col copyColumn) string { return col.pg }), ids)
	if err != nil {
		return err
	}
	row, all := t.places(), t.all()
	_, err = pgx.ForEachRow(gone, row, func() error {
		t.backSum.sub(t.hash(row, &c.buf, all)) // Bulk had read it back
		t.backRows--
		return nil
	})
	for key := range stale {
		delete(t.seen, key)
	}
	return err
}

// send copies the rows that want says; it is called for each.
func (c *Copy) send(ctx context.Context, t *copyTable, rows *sql.Rows, want func(row []any, hash [32]byte) bool) error {
	defer rows.Close()
	row, all := t.places(), t.all()
	out := make([]any, len(row))
	var fault error // of the source; the server's is about it only
	next := func() (vals []any, err error) {
		defer func() { fault = err }()
		for rows.Next() {
			if err := rows.Scan(row...); err != nil {
				return nil, err
			}
			if err := t.mend(row); err != nil {
				return nil, err
			}
			if want(row, t.hash(row, &c.buf, all)) {
				return t.values(row, out), nil
			}
		}
		return nil, rows.Err()
	}
	_, err := c.tx.CopyFrom(ctx, pgx.Identifier{t.name}, t.names(), pgx.CopyFromFunc(next))
	return cmp.Or(fault, err)
}

// Prepare writes how the install came, and sets the numbers that PostgreSQL goes on
// from.
func (c *Copy) Prepare(ctx context.Context, m Move) error {
	for _, t := range c.list {
		for _, col := range t.cols {
			if !col.counts {
				continue
			}
			var n int64
			if err := c.tx.QueryRow(ctx, "SELECT coalesce(max("+quoted(col.name)+"), 0) FROM "+quoted(t.name)).Scan(&n); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			if n = max(n, c.last[t.name]); n == 0 {
				continue
			}
			if _, err := c.tx.Exec(ctx, "SELECT setval(pg_get_serial_sequence($1, $2), $3)", quoted(t.name), col.name, n); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	if _, err := c.tx.Exec(ctx, "SELECT setval('effect_epoch', n) FROM counter WHERE name = $1 AND n > 0", epochCounter); err != nil {
		return fmt.Errorf("epochs: %w", err)
	}
	w := &writer{link: &pgLink{tx: c.tx, ctx: ctx}}
	return w.setMove(m)
}

// Commit makes the copy the install. known is false when it was sent and not
// answered: it may be committed or not.
func (c *Copy) Commit(ctx context.Context) (known bool, err error) {
	if err := c.tx.Commit(ctx); err != nil {
		// A server that ends a session says so whether it had committed or not.
		e, said := errors.AsType[*pgconn.PgError](err)
		return said && e.SeverityUnlocalized == "ERROR" || errors.Is(err, pgx.ErrTxCommitRollback), fmt.Errorf("commit the copy: %w", err)
	}
	return true, nil
}

// Rollback takes everything back. It does nothing after Commit.
func (c *Copy) Rollback() { _ = c.tx.Rollback(context.Background()) } // the server does it when the connection ends
