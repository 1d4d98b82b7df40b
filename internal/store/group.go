package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/casement/casement/internal/record"
)

// maxGroup is the number of parts that share one commit.
const maxGroup = 256

// writer writes inside a transaction, on the link of its store. It is used by
// one goroutine at a time.
type writer struct {
	link
	memory *memory // nil for a store that is not alone on its database
	// changed counts what changed since the transaction began: a part that fails
	// before it changed anything leaves nothing to take back.
	changed int
	// txn is what the transaction under way did so far.
	txn txn
	// ahead is what it has read for its units.
	ahead ahead
	// riding are the leases that it takes along; PostgreSQL's alone.
	riding *riding
}

// exec runs a statement and returns the number of rows it changed.
func (w *writer) exec(text string, args ...any) (int64, error) {
	n, err := w.link.exec(text, args...)
	if err != nil || n > 0 {
		w.changed++
	}
	return n, err
}

// send runs a statement whose outcome is not looked at.
func (w *writer) send(text string, args ...any) error {
	w.changed++
	return w.link.send(text, args...)
}

// lock takes a lock; see link.
func (w *writer) lock(name string, shared bool) error {
	err := w.link.lock(name, shared)
	if err != nil {
		w.changed++ // what was sent before may have failed
	}
	return err
}

// get scans one row; sql.ErrNoRows if there is none.
func (w *writer) get(dest []any, text string, args ...any) error {
	err := w.link.get(dest, text, args...)
	if !strings.HasPrefix(text, "SELECT") || err != nil && !errors.Is(err, sql.ErrNoRows) {
		w.changed++ // the database may have rolled back by itself
	}
	return err
}

// part is stored whole or not at all, in a savepoint of its own.
type part func(w *writer) error

// request is what one caller wants written in one commit.
type request struct {
	parts []part
	// units are what each of the parts writes; empty for other requests.
	units [][]*unit
	// asks are the findings that the tail asks for.
	asks []uidKey
	// tail runs after the parts; if it fails, nothing of the request is stored.
	tail part
	errs []error
	err  error
	// turn tells a waiting caller that it has to lead (true) or that its
	// request is done (false).
	turn     chan bool
	promoted bool
}

// group is the group commit: callers queue, the first one leads and writes all
// that is queued in one transaction with one sync, then hands the lead on.
type group struct {
	w *writer
	// tx is held while a transaction runs.
	tx sync.Mutex
	// bound ends a backup whose reading makes the WAL grow; nil without one.
	bound atomic.Pointer[walBound]

	mu      sync.Mutex
	queue   []*request
	leading bool
	broken  error
	stats   commitStats
	// watch is told of every commit, nil for nobody.
	watch func(CommitSample)
	// rider is guarded by tx.
	rider rider
}

// do writes one request and returns when it is on disk. A context that ends
// before the request is taken up withdraws it; afterwards the outcome is
// awaited, because it can no longer be taken back.
func (g *group) do(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.turn = make(chan bool, 1)
	r.errs = make([]error, len(r.parts))
	g.mu.Lock()
	if g.broken != nil {
		g.mu.Unlock()
		return g.broken
	}
	g.queue = append(g.queue, r)
	if !g.leading {
		g.leading = true
		g.mu.Unlock()
		g.lead()
		return r.err
	}
	g.mu.Unlock()
	select {
	case lead := <-r.turn:
		if lead {
			g.lead()
		}
	case <-ctx.Done():
		if g.withdraw(r) {
			return ctx.Err()
		}
		if lead := <-r.turn; lead {
			g.lead()
		}
	}
	return r.err
}

// one writes one part.
func (g *group) one(ctx context.Context, p part) error {
	r := request{parts: []part{p}}
	if err := g.do(ctx, &r); err != nil {
		return err
	}
	return r.errs[0]
}

// withdraw takes a request out of the queue unless it was taken up already.
func (g *group) withdraw(r *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, r)
	if i < 0 || r.promoted {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// lead writes the head of the queue, answers its callers and hands the lead to
// the caller that waits longest. The leader's own request is the first one.
func (g *group) lead() {
	batch := g.take()
	written := false
	var away error // the database can't be reached
	defer func() {
		g.mu.Lock()
		if away != nil { // who queues behind would only wait for the same
			for _, r := range g.queue {
				r.err = away
				r.turn <- false
			}
			g.queue = nil
		}
		for _, r := range batch[1:] {
			if !written { // a panic passes through
				r.err = fmt.Errorf("%w: the commit was interrupted", ErrClosed)
			}
			r.turn <- false
		}
		if len(g.queue) == 0 {
			g.leading = false
		} else {
			g.queue[0].promoted = true
			g.queue[0].turn <- true
		}
		g.mu.Unlock()
	}()
	g.tx.Lock()
	defer g.tx.Unlock()
	away = g.write(batch)
	written = true
}

// take cuts the next group off the queue.
func (g *group) take() []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, parts := 0, 0
	for n < len(g.queue) && (n == 0 || parts+g.queue[n].size() <= maxGroup) {
		parts += g.queue[n].size()
		n++
	}
	batch := slices.Clone(g.queue[:n])
	g.queue = append([]*request(nil), g.queue[n:]...)
	return batch
}

func (r *request) size() int {
	if r.tail != nil {
		return len(r.parts) + 1
	}
	return len(r.parts)
}

// write stores the requests in one transaction. A connection that was lost before
// the commit is tried once more. If the transaction dies as a whole, nothing of
// it is stored and each request is replayed alone, so that one of them cannot
// take the others with it. The error says that the database can't be reached:
// then what is left is refused with it at once.
func (g *group) write(batch []*request) error {
	err := g.whole(batch)
	if pgLost(err) && !pgGone(err) && !errors.Is(err, record.ErrUnsure) {
		err = g.whole(batch)
	}
	if err == nil {
		return nil
	}
	if pgGone(err) {
		for _, r := range batch {
			r.err = err
		}
		return errAway
	}
	if len(batch) == 1 && !pgAgain(err) {
		batch[0].err = err
		return nil
	}
	for i, r := range batch {
		r.err = g.attempt([]*request{r}, true)
		for try := 1; pgAgain(r.err) && try < pgTries; try++ {
			r.err = g.attempt([]*request{r}, true)
		}
		if pgGone(r.err) { // whether the first transaction was stored may not be known
			r.err = cmp.Or(unsureOf(err), r.err)
			for _, left := range batch[i+1:] {
				left.err = cmp.Or(unsureOf(err), errAway)
			}
			return errAway
		}
	}
	return nil
}

// whole is one transaction: first without savepoints, because they cost as much
// as the writing itself and are rarely needed. If a part fails after it changed
// something, all is taken back and done again with a savepoint for each.
func (g *group) whole(batch []*request) error {
	err := g.attempt(batch, false)
	if errors.Is(err, errUndo) {
		err = g.attempt(batch, true)
	}
	return err
}

// errAway refuses requests that were not begun.
var errAway = fmt.Errorf("%w: an attempt just before failed", record.ErrUnavailable)

// unsureOf is err if it leaves in doubt what was stored.
func unsureOf(err error) error {
	if errors.Is(err, record.ErrUnsure) {
		return err
	}
	return nil
}

// errUndo: a part failed half way and there is no savepoint to go back to.
var errUndo = errors.New("a part failed half way")

// attempt is one transaction, with a savepoint for each part or without. Its
// error means that nothing is stored.
func (g *group) attempt(batch []*request, savepoints bool) (err error) {
	if err := g.gaveUp(); err != nil {
		return err
	}
	if l, ok := g.w.link.(*pgLink); ok {
		defer func() { err = l.named(err) }()
	}
	begun, parts := time.Now(), 0
	g.w.txn, g.w.ahead, g.w.riding = txn{}, ahead{}, nil
	if err := g.w.begin(); err != nil {
		return g.failed(err)
	}
	done := false
	defer func() {
		if !done {
			g.w.rollback()
		}
	}()
	if l, ok := g.w.link.(*pgLink); ok {
		told := g.board(batch, savepoints)
		defer func() { told(done) }()
		l.inOrder(batch, savepoints, g.w.riding)
	}
	if l, ok := g.w.link.(*pgLink); ok && !savepoints {
		if g.w.ahead, err = l.readAhead(batch); err != nil {
			return g.failed(err)
		}
		if g.w.ahead.sent, err = l.sendAhead(batch, g.w.riding); err != nil && !pgDead(err) {
			return errUndo // what carries effects must not keep them from being stored
		} else if err != nil {
			return g.failed(err)
		}
	}
	for _, r := range batch {
		parts += r.size()
	}
	if savepoints {
		err = g.singly(batch)
	} else {
		err = g.plain(batch)
	}
	if err != nil {
		return g.failed(err)
	}
	told, err := g.ride()
	defer func() { told(done) }()
	if err != nil {
		return g.failed(err)
	}
	pos, err := g.w.endSightings()
	if err != nil {
		return g.failed(err)
	}
	if l, ok := g.w.link.(*pgLink); ok {
		g.w.rideAlong(l)
		if err := l.flush(); pgDead(err) {
			return g.failed(err)
		} else if err != nil {
			return errUndo
		}
	}
	before := time.Now()
	if err := g.commit(pos, batch); err != nil {
		return g.failed(err)
	}
	done = true
	g.bound.Load().look()
	now := time.Now()
	g.mu.Lock()
	g.stats.add(now.Sub(before), now.Sub(begun), parts)
	g.mu.Unlock()
	if g.watch != nil {
		g.watch(CommitSample{parts, now.Sub(before), now.Sub(begun)})
	}
	return nil
}

// commit ends the transaction and remembers what it did. pos is where its
// repeats were logged.
func (g *group) commit(pos int64, batch []*request) error {
	t, m := &g.w.txn, g.w.memory
	if m == nil {
		return g.w.commit()
	}
	if pos > 0 || len(t.counted) > 0 {
		m.counting.Lock()
		defer m.counting.Unlock()
	}
	if err := g.w.commit(); err != nil {
		return err
	}
	for _, k := range t.counted {
		delete(m.sealed, k)
	}
	if pos > 0 {
		m.count(t.seen, pos)
	}
	m.learn(t, batch)
	return nil
}

func (g *group) gaveUp() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken
}

// failed names the error of a transaction. After a failed sync the kernel may
// have dropped pages that it will report as clean: nothing written later could
// be trusted, so the store refuses to write until it is opened anew.
func (g *group) failed(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code() == sqlite3.SQLITE_IOERR_FSYNC {
		g.mu.Lock()
		g.broken = fmt.Errorf("%w: the disk failed to sync (%w); check the disk and restart", ErrClosed, err)
		g.mu.Unlock()
	}
	return storageError(err)
}

// shut refuses all further writes and waits for the one under way.
func (g *group) shut() {
	g.mu.Lock()
	if g.broken == nil {
		g.broken = ErrClosed
	}
	g.mu.Unlock()
	g.tx.Lock()
	defer g.tx.Unlock()
}
