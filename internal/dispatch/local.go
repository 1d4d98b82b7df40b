// Package dispatch runs effects: it leases them from the store, hands them to
// the engine, keeps the lease alive while they run and gives them back when
// they fail. Local is the runner in the process, River carries effects between
// the nodes of one PostgreSQL; one conformance suite (dispatchtest) holds both.
//
// It may import the lower floors; with app it is the only one that starts
// goroutines. Invariants: the rows of the store are the truth, a wake-up is
// only a hint; an effect whose lease was lost is told so at once; stopping
// waits for what is under way.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/casement/casement/internal/record"
)

// Source hands out effects; engine.Effects is one.
type Source interface {
	// Claim leases up to n due effects until now+lease.
	Claim(ctx context.Context, now time.Time, lease time.Duration, n int) ([]record.Lease, error)
	// Extend prolongs a lease; record.ErrStale if it was lost.
	Extend(ctx context.Context, l record.Lease, until time.Time) error
	// Release gives an effect back to be tried again at at.
	Release(ctx context.Context, l record.Lease, at time.Time, reason string) error
	// Bury gives an effect back as a dead letter since now, to be tried again at
	// at.
	Bury(ctx context.Context, l record.Lease, now, at time.Time, reason string) error
}

// Rider is a Source that leases effects in the commits that call for them: what
// follows from a commit then needs none of its own to be begun.
type Rider interface {
	// Ride asks want before each such commit for the time (UTC), the end of the
	// leases and how many there may be, given how many effects the commit ends, and
	// tells got what was leased once it is stored, or nothing. nil ends it;
	// afterwards none is called any more.
	Ride(want func(ending int) (now, until time.Time, n int), got func([]record.Lease))
}

// Doer does one leased effect and commits its outcome, or gives it back
// itself. After an error the runner gives it back. The context ends when the
// lease is lost.
type Doer interface {
	Do(ctx context.Context, l record.Lease, now time.Time) error
}

// Mourner is a Doer that wants to know when its effect became a dead letter.
type Mourner interface {
	Buried(ctx context.Context, l record.Lease, now time.Time, reason string) error
}

// The defaults of a Local.
const (
	// DefaultWorkers is the number of effects under way at a time.
	DefaultWorkers = 16
	// DefaultLease bounds how long the effects of a dead process wait.
	DefaultLease = 30 * time.Second
	// DefaultPoll is how often the store is asked without a hint.
	DefaultPoll = 100 * time.Millisecond
	// DefaultGrace is how long effects under way may go on after a stop.
	DefaultGrace = 20 * time.Second
)

// together is how long hints and effects that ended are gathered before a Rider
// is asked what is due: what a commit calls for was leased with it, so that mostly
// nothing is. While effects wait for a worker it is a fifth of that.
const together = 5 * time.Millisecond

// rested is how long a goroutine waits for its next effect before it ends.
const rested = time.Second

// stepSize is the number of effects one Step claims.
const stepSize = 64

// ErrLost is the cause of a context that ended because the lease was lost.
var ErrLost = errors.New("the lease was lost")

// Local runs effects in this process. Source, Doer and Clock are needed, the
// rest has defaults. It must not be copied.
type Local struct {
	Source Source
	Doer   Doer
	// Clock is the one clock of the store, UTC.
	Clock   func() time.Time
	Workers int
	Lease   time.Duration
	// Beat is how often a lease is prolonged; a third of it if zero.
	Beat  time.Duration
	Poll  time.Duration
	Grace time.Duration
	// Log gets faults; nil discards them.
	Log *slog.Logger

	once sync.Once
	hint chan struct{}
}

// setUp fills the defaults once.
func (d *Local) setUp() {
	d.once.Do(func() {
		d.hint = make(chan struct{}, 1)
		if d.Workers <= 0 {
			d.Workers = DefaultWorkers
		}
		if d.Lease <= 0 {
			d.Lease = DefaultLease
		}
		if d.Beat <= 0 {
			d.Beat = d.Lease / 3
		}
		if d.Poll <= 0 {
			d.Poll = DefaultPoll
		}
		if d.Grace <= 0 {
			d.Grace = DefaultGrace
		}
		if d.Log == nil {
			d.Log = slog.New(slog.DiscardHandler)
		}
	})
}

// Wake hints that effects may be due; it never blocks, and nothing is lost if
// it is not called.
func (d *Local) Wake() {
	d.setUp()
	select {
	case d.hint <- struct{}{}:
	default:
	}
}

// Step does once, one after the other, what is due at now, and returns how
// many effects that was. A simulation drives effects by it. Its error is one
// of the store; an effect that fails is given back.
func (d *Local) Step(ctx context.Context, now time.Time) (int, error) {
	d.setUp()
	leases, err := d.Source.Claim(ctx, now, d.Lease, stepSize)
	if err != nil {
		return 0, fmt.Errorf("claim effects: %w", err)
	}
	for i, l := range leases {
		if err := d.giveBack(ctx, l, now, d.do(ctx, l, now)); err != nil {
			return i, err
		}
	}
	return len(leases), nil
}

// Run does effects as they become due until ctx ends; then it claims no more,
// waits for those under way (at most Grace, then their contexts end) and
// returns nil. A failing store is logged and asked again.
func (d *Local) Run(ctx context.Context) error {
	d.setUp()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	c := newCrew(d, work)
	r, rides := d.Source.(Rider)
	if rides {
		r.Ride(c.want, c.start)
		defer r.Ride(nil, nil)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	faults, soon, gathering := 0, false, false
	for {
		select {
		case <-ctx.Done():
			grace := time.AfterFunc(d.Grace, stop)
			defer grace.Stop()
			c.close()
			return nil
		case <-timer.C:
			soon = false
		case <-d.hint:
			soon = rides
		case <-c.freed:
			soon = rides
		}
		if soon && !gathering {
			wait := together
			if c.short() {
				wait = together / 5
			}
			timer.Reset(wait)
		}
		if gathering = soon; soon {
			continue
		}
		wait := d.Poll
		if err := c.claim(); err != nil && ctx.Err() == nil {
			faults++
			wait = max(wait, min(d.Poll<<min(faults, 10), 10*time.Second))
			d.Log.Error("effects could not be claimed", "error", err, "again in", wait)
		} else {
			faults = 0
		}
		timer.Reset(wait)
	}
}

// crew is the workers of one Run. A worker is set aside before an effect is
// leased, so that no lease waits for one longer than for the end of an effect whose
// outcome is on disk.
type crew struct {
	d     *Local
	work  context.Context
	freed chan struct{}
	// next is read by goroutines that ended an effect, until over is closed.
	next chan record.Lease
	over chan struct{}
	busy sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// used are the workers that are busy or set aside; aside are those for a ride.
	used, aside int
	// missed: there were fewer workers than effects, as far as is known.
	missed bool
	// asking counts couriers that wait for a worker; room tells them.
	asking int
	room   *sync.Cond
}

func newCrew(d *Local, work context.Context) *crew {
	c := &crew{d: d, work: work, freed: make(chan struct{}, 1), next: make(chan record.Lease), over: make(chan struct{})}
	c.room = sync.NewCond(&c.mu)
	return c
}

// short reports whether effects wait for a worker.
func (c *crew) short() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missed
}

// full reports whether no worker is free.
func (c *crew) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used >= c.d.Workers
}

// take sets n workers aside; mu is held.
func (c *crew) take(n int) int {
	if c.closed || n <= 0 {
		return 0
	}
	c.used += n
	c.busy.Add(n)
	return n
}

// free gives n workers back; mu is held.
func (c *crew) free(n int) {
	c.used -= n
	for range n {
		c.busy.Done()
		c.room.Signal()
	}
}

// enter waits for a worker for a courier, false if there are none any more.
func (c *crew) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking++
	for c.used >= c.d.Workers && !c.closed {
		c.room.Wait()
	}
	c.asking--
	return c.take(1) == 1
}

// leave gives the worker of a courier back.
func (c *crew) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free(1)
}

// wake has the loop look for effects.
func (c *crew) wake() {
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// claim leases as many effects as there are free workers and starts them.
func (c *crew) claim() error {
	c.mu.Lock()
	n := c.take(c.d.Workers - c.used)
	c.missed = n == 0
	c.mu.Unlock()
	if n == 0 {
		return nil // freed tells when there is one
	}
	leases, err := c.d.Source.Claim(c.work, c.d.Clock(), c.d.Lease, n)
	c.begin(leases)
	c.mu.Lock()
	missed := c.missed // by a ride meanwhile
	c.missed = missed || len(leases) == n
	c.free(n - len(leases))
	c.mu.Unlock()
	if missed && len(leases) < n {
		c.wake()
	}
	return err
}

// want sets workers aside for a ride: those that are free, and those that will be
// with its commit; of these couriers that wait get half.
func (c *crew) want(ending int) (now, until time.Time, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = max(0, c.d.Workers-c.used+ending)
	c.aside = c.take(n - min(c.asking, (n+1)/2))
	now = c.d.Clock()
	return now, now.Add(c.d.Lease), c.aside
}

// start begins what a ride has leased.
func (c *crew) start(leases []record.Lease) {
	c.begin(leases)
	c.mu.Lock()
	missed := c.missed
	c.missed = missed || len(leases) == c.aside
	c.free(c.aside - len(leases))
	c.aside = 0
	c.mu.Unlock()
	if missed {
		c.wake()
	}
}

// begin has workers that were set aside do effects. A goroutine that ended one
// does the next: its stack has grown to what an effect needs.
func (c *crew) begin(leases []record.Lease) {
	for _, l := range leases {
		select {
		case c.next <- l:
		default:
			go c.serve(l)
		}
	}
}

// serve does effects until there are none for a while.
func (c *crew) serve(l record.Lease) {
	rest := time.NewTimer(rested)
	defer rest.Stop()
	for {
		c.d.doOne(c.work, l)
		c.leave()
		c.wake()
		rest.Reset(rested)
		select {
		case l = <-c.next:
		case <-rest.C:
			return
		case <-c.over:
			return
		}
	}
}

// shut takes no more effects.
func (c *crew) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.room.Broadcast()
}

// close takes no more effects and waits for those under way.
func (c *crew) close() {
	c.shut()
	c.busy.Wait()
	close(c.over)
}

// doOne does one effect while a heartbeat keeps its lease.
func (d *Local) doOne(ctx context.Context, l record.Lease) {
	run, lost := context.WithCancelCause(ctx)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		d.heartbeat(run, l, lost)
	}()
	err := d.do(run, l, d.Clock())
	gone := errors.Is(context.Cause(run), ErrLost)
	lost(nil)
	<-beating
	if gone {
		d.Log.Warn("effect lost its lease", "case", l.Row.CaseID, "effect", l.Row.Effect.ID, "epoch", l.Epoch)
		return
	}
	// Giving back has to work after a stop as well.
	if err := d.giveBack(context.WithoutCancel(ctx), l, d.Clock(), err); err != nil {
		d.Log.Error("effect could not be given back; its lease will run out", "case", l.Row.CaseID, "effect", l.Row.Effect.ID, "error", err)
	}
}

// heartbeat prolongs a lease until ctx ends. When the lease is lost, or could
// not be prolonged before it ran out, it ends the work.
func (d *Local) heartbeat(ctx context.Context, l record.Lease, lost context.CancelCauseFunc) {
	tick := time.NewTicker(d.Beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := d.Clock()
		err := d.Source.Extend(ctx, l, now.Add(d.Lease))
		switch {
		case err == nil:
			l.Until = now.Add(d.Lease)
		case errors.Is(err, record.ErrStale) || !now.Before(l.Until):
			lost(ErrLost)
			return
		case ctx.Err() == nil:
			d.Log.Warn("lease could not be prolonged", "case", l.Row.CaseID, "effect", l.Row.Effect.ID, "error", err)
		}
	}
}

// do runs the doer.
func (d *Local) do(ctx context.Context, l record.Lease, now time.Time) error {
	return d.safely(ctx, l, func() error { return d.Doer.Do(ctx, l, now) })
}

// safely makes a panic an error of this one effect.
func (d *Local) safely(ctx context.Context, l record.Lease, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.Log.ErrorContext(ctx, "effect panicked", "case", l.Row.CaseID, "effect", l.Row.Effect.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("internal fault while doing the effect; the log has the details")
		}
	}()
	return f()
}

// giveBack releases an effect after an error of its doer, or buries it when it
// failed too often. A lease that is not ours any more is left alone.
func (d *Local) giveBack(ctx context.Context, l record.Lease, now time.Time, failed error) error {
	if failed == nil || errors.Is(failed, record.ErrStale) {
		return nil
	}
	wait, dead := record.NextTry(l.Row.ID, l.Attempt)
	d.Log.Warn("effect failed", "case", l.Row.CaseID, "effect", l.Row.Effect.ID, "attempt", l.Attempt, "again in", wait, "dead letter", dead, "error", failed)
	if !dead {
		return ignoreStale(d.Source.Release(ctx, l, now.Add(wait), failed.Error()))
	}
	if err := d.Source.Bury(ctx, l, now, now.Add(wait), failed.Error()); err != nil {
		return ignoreStale(err)
	}
	if m, ok := d.Doer.(Mourner); ok {
		if err := d.safely(ctx, l, func() error { return m.Buried(ctx, l, now, failed.Error()) }); err != nil {
			d.Log.Error("case could not be told of its dead letter", "case", l.Row.CaseID, "effect", l.Row.Effect.ID, "error", err)
		}
	}
	return nil
}

func ignoreStale(err error) error {
	if errors.Is(err, record.ErrStale) {
		return nil
	}
	return err
}
