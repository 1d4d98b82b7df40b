package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// gatherLeads is how many callers send short reads at a time: a slow one holds
	// up those it was sent with.
	gatherLeads = 2
	// gatherMost bounds what is sent in one go.
	gatherMost = 128
)

// gather sends short reads in one go for all who ask at the same time, and equal
// ones once. No read begins before it is asked for, so nothing old is answered.
// One of the callers sends for all: there is nothing to start or to stop.
type gather struct {
	pool *pgxpool.Pool
	// silent bounds how long the server may say nothing.
	silent  time.Duration
	mu      sync.Mutex
	waiting []*ask
	leads   int
}

// ask is a read that somebody waits for.
type ask struct {
	text string
	args []any
	// same is equal for equal reads, "" for one that is not compared.
	same string
	err  error
	// turn tells a waiting caller that it has to send (true) or has its answer.
	turn     chan bool
	promoted bool // guarded by the gather's mu

	mu   sync.Mutex
	left bool // its caller waits no longer: row must not be called
	row  func(scanner) error
}

// errAskAgain: the caller that sent a read for others gave up.
var errAskAgain = errors.New("not asked")

// each calls row for every row of a read. row is called in another goroutine,
// and not after each has returned.
func (g *gather) each(ctx context.Context, row func(scanner) error, text string, args []any) error {
	a := &ask{text: dialect(text), args: pgArgs(args), same: sameAsk(text, args), row: row, turn: make(chan bool, 1)}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		a.err = nil
		g.mu.Lock()
		lead := g.leads < gatherLeads
		if lead {
			g.leads++
		} else {
			g.waiting = append(g.waiting, a)
		}
		g.mu.Unlock()
		if !lead {
			select {
			case lead = <-a.turn:
			case <-ctx.Done():
				g.leave(a)
				return ctx.Err()
			}
		}
		if lead {
			g.lead(ctx, a)
		}
		if !errors.Is(a.err, errAskAgain) {
			return a.err
		}
	}
}

// sameAsk names a read whose arguments are texts.
func sameAsk(text string, args []any) string {
	var b strings.Builder
	b.WriteString(text)
	for _, a := range args {
		s, ok := a.(string)
		if !ok {
			return ""
		}
		b.WriteByte(0)
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(0)
		b.WriteString(s)
	}
	return b.String()
}

// lead sends own and what waits, and hands the lead on.
func (g *gather) lead(ctx context.Context, own *ask) {
	g.mu.Lock()
	n := min(len(g.waiting), gatherMost-1)
	batch := append([]*ask{own}, g.waiting[:n]...)
	g.waiting = append([]*ask(nil), g.waiting[n:]...)
	g.mu.Unlock()
	defer g.handOn()
	defer func() {
		for _, a := range batch[1:] {
			a.turn <- false
		}
	}()
	g.send(ctx, batch)
}

// handOn lets the caller that waits longest send.
func (g *gather) handOn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.leads--
		return
	}
	next := g.waiting[0]
	g.waiting = g.waiting[1:]
	next.promoted = true
	next.turn <- true
}

// leave takes a read back.
func (g *gather) leave(a *ask) {
	g.mu.Lock()
	promoted := a.promoted
	if i := slices.Index(g.waiting, a); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if promoted {
		g.handOn()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = true
}

// askSet is equal reads.
type askSet struct {
	asks []*ask
	done bool
}

// send answers reads: sets their errors.
func (g *gather) send(ctx context.Context, batch []*ask) {
	var sets []*askSet
	named := map[string]*askSet{}
	for _, a := range batch {
		if s := named[a.same]; s != nil && a.same != "" {
			s.asks = append(s.asks, a)
			continue
		}
		s := &askSet{asks: []*ask{a}}
		named[a.same], sets = s, append(sets, s)
	}
	wait := patient(ctx, g.silent)
	defer wait.end()
	var err error
	if len(sets) > 1 {
		var b pgx.Batch
		for _, s := range sets {
			b.Queue(s.asks[0].text, s.asks[0].args...).Query(s.take)
		}
		err = wait.named(g.pool.SendBatch(wait, &b).Close())
	}
	for _, s := range sets {
		if s.done {
			continue
		}
		// One that fails takes those behind it along: they are asked alone.
		if _, refused := errors.AsType[*pgconn.PgError](err); err == nil || refused {
			wait.again()
			rows, err := g.pool.Query(wait, s.asks[0].text, s.asks[0].args...)
			if err == nil {
				err = s.take(rows)
				rows.Close()
			}
			s.fail(ctx, batch[0], wait.named(err))
			continue
		}
		s.fail(ctx, batch[0], err)
	}
}

// fail tells all that nothing was read: those whose caller did not end ctx, as
// own did, ask again.
func (s *askSet) fail(ctx context.Context, own *ask, err error) {
	if err == nil {
		return
	}
	for _, a := range s.asks {
		if a.err = err; a != own && ctx.Err() != nil {
			a.err = errAskAgain
		}
	}
}

// take hands the rows to all who asked for them: all of them or none, so that a
// read that was given up can be asked for again.
func (s *askSet) take(rows pgx.Rows) error {
	var list []pgValues
	for rows.Next() {
		raw := rows.RawValues()
		values := make([][]byte, len(raw))
		for i, v := range raw {
			values[i] = bytes.Clone(v)
		}
		list = append(list, pgValues{rows.Conn().TypeMap(), rows.FieldDescriptions(), values})
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, row := range list {
		for _, a := range s.asks {
			a.take(row)
		}
	}
	s.done = true
	return nil
}

// pgValues is a row that was read before.
type pgValues struct {
	types  *pgtype.Map
	fields []pgconn.FieldDescription
	values [][]byte
}

// Scan implements pgx.Row.
func (v pgValues) Scan(dest ...any) error { return pgx.ScanRow(v.types, v.fields, v.values, dest...) }

func (a *ask) take(row pgx.Row) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.left && a.err == nil {
		a.err = a.row(pgRow{row})
	}
}
