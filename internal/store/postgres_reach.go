package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casement/casement/internal/record"
)

// How long a database that does not answer is waited for, where its URL does not
// say otherwise by the parameters of libpq.
const (
	// pgConnect is connect_timeout.
	pgConnect = 3 * time.Second
	// pgUnheard is tcp_user_timeout: how long what was sent may stay unconfirmed. A
	// server that was cut off is given up then, not after a quarter of an hour.
	pgUnheard = 5 * time.Second
	// pgIdle is how long a connection may rest before it is tried.
	pgIdle = time.Second
	// pgJoin is how long a caller waits for another one that tries to connect to a
	// server that did not answer before.
	pgJoin = 100 * time.Millisecond
)

// reachable makes the connections of a pool give up on a server that does not
// answer: no caller waits longer than connect_timeout and tcp_user_timeout
// together, and while the server is not reached one caller at a time tries. It
// returns tcp_user_timeout.
func reachable(cfg *pgxpool.Config) (time.Duration, error) {
	c := cfg.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = pgConnect
	}
	unheard := pgUnheard
	if v, ok := c.RuntimeParams["tcp_user_timeout"]; ok {
		ms, err := strconv.Atoi(v)
		if err != nil || ms <= 0 {
			return 0, fmt.Errorf("database: tcp_user_timeout is a number of milliseconds above 0, not %q", v)
		}
		unheard = time.Duration(ms) * time.Millisecond
	}
	c.RuntimeParams["tcp_user_timeout"] = strconv.FormatInt(unheard.Milliseconds(), 10)
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pgAlive, Interval: pgAlive, Count: 2},
		Control: func(network, _ string, raw syscall.RawConn) error { return pgSocket(network, raw, unheard) }}
	c.DialFunc = newReach(dialer.DialContext, c.ConnectTimeout).connect
	cfg.PingTimeout = min(c.ConnectTimeout, unheard)
	return unheard, nil
}

// pgPool is a pool that tries a connection that rested. One that does not answer
// in time ends those that rest beside it: a new one tells whether the server is
// there.
func pgPool(ctx context.Context, cfg *pgxpool.Config) (pool *pgxpool.Pool, err error) {
	cfg.ShouldPing = func(ctx context.Context, p pgxpool.ShouldPingParams) bool {
		if p.IdleDuration <= pgIdle {
			return false
		}
		try, cancel := context.WithTimeout(ctx, cfg.PingTimeout)
		defer cancel()
		if p.Conn.Ping(try) != nil && ctx.Err() == nil && try.Err() != nil {
			pool.Reset()
		}
		return p.Conn.IsClosed() // then it fails again, and is let go
	}
	pool, err = pgxpool.NewWithConfig(ctx, cfg)
	return pool, err
}

// reach connects to servers and remembers which did not answer.
type reach struct {
	dial pgconn.DialFunc
	// within bounds an attempt.
	within time.Duration
	mu     sync.Mutex
	at     map[string]*place // those that did not answer
}

func newReach(dial pgconn.DialFunc, within time.Duration) *reach {
	return &reach{dial: dial, within: within, at: map[string]*place{}}
}

// place is a server that did not answer.
type place struct {
	why error
	// trying ends with the attempt to connect that is under way; nil for none.
	trying chan struct{}
}

// connect connects to a server. While it does not answer, who comes beside an
// attempt waits a moment for its outcome and is refused.
func (r *reach) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	trying, err := r.enter(ctx, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	c, err := r.dial(ctx, network, addr)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch p := r.at[addr]; {
	case err == nil:
		delete(r.at, addr)
	case p != nil:
		p.why = err
		if p.trying == trying {
			p.trying = nil
		}
	case !errors.Is(err, context.Canceled): // its caller's, not the server's
		r.at[addr] = &place{why: err}
	}
	if trying != nil {
		close(trying)
	}
	return c, err
}

// enter returns what ends with the caller's attempt, nil as long as the server
// answers, or why it is not to be tried now.
func (r *reach) enter(ctx context.Context, addr string) (chan struct{}, error) {
	r.mu.Lock()
	p := r.at[addr]
	if p == nil || p.trying == nil {
		defer r.mu.Unlock()
		if p == nil {
			return nil, nil
		}
		p.trying = make(chan struct{})
		return p.trying, nil
	}
	other := p.trying
	r.mu.Unlock()
	wait, cancel := context.WithTimeout(ctx, pgJoin)
	defer cancel()
	select {
	case <-other:
	case <-wait.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p = r.at[addr]; p == nil {
		return nil, nil
	}
	return nil, p.why
}

// pgLost reports whether the connection to the server ended or never was: no
// fault of a statement.
func pgLost(err error) bool {
	if pgGone(err) {
		return true
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(e.Code, "08") || strings.HasPrefix(e.Code, "57P") // connection exceptions; ended or not yet started by its operator
	}
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) { // the caller's
		return false
	}
	_, net := errors.AsType[net.Error](err)
	return net || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// pgGone reports whether another attempt is of no use now: connecting failed, or
// what was sent was not confirmed or not answered in time.
func pgGone(err error) bool {
	_, dial := errors.AsType[*pgconn.ConnectError](err)
	return dial || errors.Is(err, errSilent) || errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// unreached names the loss of a connection; sent says that a COMMIT was under
// way on it. pgx calls the loss of one safe to retry, which it is not.
func unreached(err error, sent bool) error {
	if !pgLost(err) || errors.Is(err, record.ErrUnavailable) {
		return err
	}
	if sent {
		return fmt.Errorf("%w: %w", record.ErrUnsure, err)
	}
	return fmt.Errorf("%w: %w", record.ErrUnavailable, err)
}
