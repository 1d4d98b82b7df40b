package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casement/casement/internal/record"
)

// pgAgain reports whether the transaction may succeed if it is run again.
func pgAgain(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == pgDeadlock || e.Code == pgSerialization)
}

// pgDead reports whether the transaction is lost for a reason outside of it:
// somebody else's locks, or the connection.
func pgDead(err error) bool { return pgAgain(err) || pgLost(err) }

// pgLink writes on a connection that it takes from the pool for one
// transaction. Without a context a transaction that has begun runs to its end.
type pgLink struct {
	pool *pgxpool.Pool
	ctx  context.Context
	tx   pgx.Tx
	// lazy sends are queued and go out together with the next statement that is
	// waited for. A fault shows late then: the group is done again without.
	lazy  bool
	queue pgx.Batch
	// own are rows of units that are not in the queue yet, counts what they add to
	// the counters of states.
	own    [rowKinds]rowLists
	counts map[stateWord]int
	texts  [allRows]string
	// sorts: writes of rows that cases share go to shared, to be sent in one order.
	sorts  bool
	shared []sharedWrite
	// held are the locks that the transaction has.
	held map[string]bool
	// carriage is what the group sends couriers by.
	carriage *atomic.Pointer[carriage]
	// silent bounds each statement, 0 for none; wait does so in a transaction.
	silent time.Duration
	wait   *patience
}

// context is for the next statement.
func (l *pgLink) context() context.Context {
	if l.wait != nil {
		l.wait.again()
		return l.wait
	}
	return l.base()
}

func (l *pgLink) base() context.Context {
	if l.ctx == nil {
		return context.Background()
	}
	return l.ctx
}

// named names the server's silence.
func (l *pgLink) named(err error) error { return l.wait.named(err) }

func (l *pgLink) begin() (err error) {
	l.queue, l.shared, l.held, l.wait = pgx.Batch{}, nil, nil, patient(l.base(), l.silent)
	l.own, l.counts = [rowKinds]rowLists{}, map[stateWord]int{}
	l.tx, err = l.pool.Begin(l.wait)
	if err != nil {
		l.wait.end()
	}
	return err
}

func (l *pgLink) commit() error {
	if err := l.flush(); err != nil {
		l.rollback()
		return err
	}
	// Once it is sent the outcome is awaited: it can no longer be taken back.
	sent := !l.tx.Conn().IsClosed()
	l.wait.end()
	wait := patient(context.WithoutCancel(l.base()), l.silent)
	defer wait.end()
	err := l.tx.Commit(wait)
	if named := wait.named(err); named != err && sent {
		return fmt.Errorf("%w: %w for %s (%v)", record.ErrUnsure, errSilent, l.silent, err)
	}
	return unreached(err, sent)
}

func (l *pgLink) rollback() {
	if l.wait != nil {
		l.wait.end()
	}
	if l.tx != nil {
		wait := patient(context.WithoutCancel(l.base()), l.silent)
		defer wait.end()
		_ = l.tx.Rollback(wait) // the connection is closed if it fails
	}
}

func (l *pgLink) send(text string, args ...any) error {
	if l.lazy {
		l.drain()
		l.queue.Queue(dialect(text), laterArgs(args)...)
		return nil
	}
	_, err := l.exec(text, args...)
	return err
}

// laterArgs are arguments that are sent when their owner may have changed them.
func laterArgs(args []any) []any {
	later := pgArgs(args)
	for i, a := range later {
		if b, ok := a.([]byte); ok {
			later[i] = bytes.Clone(b)
		}
	}
	return later
}

// flush runs what is queued.
func (l *pgLink) flush() error {
	l.drain()
	if l.queue.Len() == 0 {
		return nil
	}
	b := l.queue
	l.queue = pgx.Batch{}
	return l.tx.SendBatch(l.context(), &b).Close()
}

func (l *pgLink) exec(text string, args ...any) (int64, error) {
	l.drain()
	if l.queue.Len() > 0 {
		var n int64
		b := l.queue
		l.queue = pgx.Batch{}
		b.Queue(dialect(text), pgArgs(args)...).Exec(func(tag pgconn.CommandTag) error { n = tag.RowsAffected(); return nil })
		return n, l.tx.SendBatch(l.context(), &b).Close()
	}
	tag, err := l.tx.Exec(l.context(), dialect(text), pgArgs(args)...)
	return tag.RowsAffected(), err
}

func (l *pgLink) get(dest []any, text string, args ...any) error {
	l.drain()
	if l.queue.Len() > 0 {
		b := l.queue
		l.queue = pgx.Batch{}
		var found error
		b.Queue(dialect(text), pgArgs(args)...).QueryRow(func(row pgx.Row) error { found = pgRow{row}.Scan(dest...); return nil })
		return cmp.Or(l.tx.SendBatch(l.context(), &b).Close(), found)
	}
	return pgRow{l.tx.QueryRow(l.context(), dialect(text), pgArgs(args)...)}.Scan(dest...)
}

func (l *pgLink) each(f func(scanner) error, text string, args ...any) error {
	if err := l.flush(); err != nil {
		return err
	}
	return pgEach(l.context(), l.tx, f, text, args)
}

func (l *pgLink) rowLock() string    { return " FOR UPDATE" }
func (l *pgLink) skipLocked() string { return " FOR UPDATE SKIP LOCKED" }
