package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
)

// readGroup is the reading twin of the group commit: callers queue, the first
// one leads and serves all that is queued in one read transaction on one
// connection. What a transaction costs by itself (the WAL's index, a page cache
// that every commit of the writer outdates) is paid once for all of them.
type readGroup struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // used by the leader only

	mu      sync.Mutex
	queue   []*readRequest
	leading bool
	closed  bool
	// busy is held by the leader.
	busy sync.Mutex
}

// readRequest is the reads of one caller. f runs in the leader's goroutine and
// only collects; what costs time is done by the caller afterwards.
type readRequest struct {
	f    func(q querier) error
	err  error
	turn chan bool
}

// querier runs reads.
type querier interface {
	each(f func(scanner) error, text string, args ...any) error
}

// do runs f in the next read transaction.
func (g *readGroup) do(ctx context.Context, f func(q querier) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &readRequest{f: f, turn: make(chan bool, 1)}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrClosed
	}
	g.queue = append(g.queue, r)
	lead := !g.leading
	g.leading = true
	g.mu.Unlock()
	// A queued read is answered within the time of one group: it is not
	// withdrawn when ctx ends.
	if lead || <-r.turn {
		g.lead()
	}
	return r.err
}

// lead serves all who wait and hands the lead on. The leader's own request is
// the first one.
func (g *readGroup) lead() {
	g.busy.Lock()
	defer g.busy.Unlock()
	g.mu.Lock()
	batch := g.queue
	g.queue = nil
	g.mu.Unlock()
	served := false
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, r := range batch[1:] {
			if !served { // a panic passes through
				r.err = fmt.Errorf("%w: the read was interrupted", ErrClosed)
			}
			r.turn <- false
		}
		if len(g.queue) == 0 {
			g.leading = false
		} else {
			g.queue[0].turn <- true
		}
	}()
	g.serve(batch)
	served = true
}

func (g *readGroup) serve(batch []*readRequest) {
	ctx := context.Background()
	if g.conn == nil {
		for _, r := range batch {
			r.err = ErrClosed
		}
		return
	}
	if len(batch) > 1 { // one alone is a transaction by itself
		if _, err := g.conn.ExecContext(ctx, "BEGIN"); err != nil {
			for _, r := range batch {
				r.err = err
			}
			return
		}
	}
	for _, r := range batch {
		r.err = r.f(g)
	}
	if len(batch) > 1 {
		if _, err := g.conn.ExecContext(ctx, "COMMIT"); err != nil {
			for _, r := range batch {
				r.err = errors.Join(r.err, err)
			}
		}
	}
}

// each implements querier.
func (g *readGroup) each(f func(scanner) error, text string, args ...any) error {
	st, ok := g.stmts[text]
	if !ok {
		var err error
		if st, err = g.conn.PrepareContext(context.Background(), text); err != nil {
			return fmt.Errorf("prepare %q: %w", text, err)
		}
		g.stmts[text] = st
	}
	rows, err := st.QueryContext(context.Background(), args...)
	return eachRow(rows, err, f)
}

// shut refuses further reads and waits for those under way.
func (g *readGroup) shut() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.busy.Lock()
	defer g.busy.Unlock()
	if g.conn == nil {
		return nil
	}
	var errs []error
	for _, st := range g.stmts {
		errs = append(errs, st.Close())
	}
	err := errors.Join(append(errs, g.conn.Close())...)
	g.conn = nil
	return err
}
