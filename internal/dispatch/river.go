package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/casement/casement/internal/record"
)

// Couriers makes jobs in a transaction, one for each effect, and returns their
// numbers in the same order. old are the numbers of those sent before, 0 for
// none; nil if none was.
type Couriers = func(ctx context.Context, tx pgx.Tx, effects []string, old []int64) ([]int64, error)

// Carried is a source whose effects River carries; *store.Postgres is one.
type Carried interface {
	Source
	Rider
	// Carry has every commit send couriers for the effects it adds, in the same
	// transaction, while open says that there is room; nil ends that.
	Carry(now func() time.Time, open func() bool, send Couriers)
	// Unsent counts the couriers under way, and reports whether effects wait for
	// one or for one that was sent before since.
	Unsent(ctx context.Context, now, since time.Time) (underWay int, waits bool, err error)
	// Send sends couriers anew for effects whose were sent before since, and for
	// up to n due ones that have none under way.
	Send(ctx context.Context, now, since time.Time, n int, send Couriers) (int, error)
	// ClaimThese leases those of the effects about which something can be done.
	ClaimThese(ctx context.Context, now time.Time, lease time.Duration, ids []string) ([]record.Lease, error)
}

// River runs effects of several nodes. The node whose commit calls for an effect
// leases it with that commit and begins at once, as far as it has workers. What it
// can't take, what is due later, is tried again or was left by a node that died is
// carried by River (the queue in PostgreSQL): the id of each effect to one of the
// nodes, while the rows of the store stay the truth. A courier that is lost, late
// or doubled does no harm: the effect is leased when one arrives, and sent again
// when none did. The fields of Local but Source are its settings.
type River struct {
	Local
	Store Carried
	Pool  *pgxpool.Pool
	// Most bounds the couriers under way on all nodes, and with them River's
	// tables: the rest waits in our own rows. DefaultMost if zero.
	Most int

	// room is how many couriers commits of this node may send until it looks
	// again.
	room   atomic.Int64
	claims claims
}

const (
	// riverCooldown is the least time between two looks of a node for jobs: it
	// decides how soon an effect starts (reference: 1 to 5 ms).
	riverCooldown = 2 * time.Millisecond
	// riverSweep is the least time between two looks for effects to send, while
	// this node leaves some to others; else it is riverCalm.
	riverSweep = 5 * time.Millisecond
	riverCalm  = 20 * time.Millisecond
	riverQueue = "effects"
	// riverAgain is the wait after a start that failed.
	riverAgain = 2 * time.Second
	// riverSend is how many effects one look sends.
	riverSend = 256
	// DefaultMost bounds the couriers under way.
	DefaultMost = 2048
	// riverKeep is how long finished jobs are shown: they prove nothing, the
	// ledger does.
	riverKeep = 5 * time.Minute
	// riverKeepFailed is the same for those that River gave up.
	riverKeepFailed = 24 * time.Hour
	// riverRescue is when River gives up a job of a dead node. Our rows send the
	// effect again long before.
	riverRescue = 5 * time.Minute
	// riverTries is how often River brings a courier when the store fails.
	riverTries = 3
)

// errand is a job: the id of an effect, and nothing else.
type errand struct {
	Effect string `json:"effect"`
}

// Kind implements river.JobArgs.
func (errand) Kind() string { return "casement_effect" }

// MigrateRiver brings River's own tables up to date; one node at a time.
func MigrateRiver(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		return fmt.Errorf("migrate River's tables: %w", err)
	}
	return nil
}

// Run does effects until ctx ends; then it sends and takes no more, waits for
// those under way (at most Grace, then their contexts end) and returns. A
// database that does not answer is logged and asked again.
func (d *River) Run(ctx context.Context) error {
	d.Source = d.Store
	d.setUp()
	if d.Most <= 0 {
		d.Most = DefaultMost
	}
	for {
		err := d.run(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		d.Log.Error("effects can't be carried", "error", err, "again in", riverAgain)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(riverAgain):
		}
	}
}

func (d *River) run(ctx context.Context) error {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	c := newCrew(&d.Local, work)
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(work context.Context, j *river.Job[errand]) error {
		if ctx.Err() != nil || !c.enter() {
			return river.JobSnooze(0) // another node may have it
		}
		defer c.leave()
		return d.carry(work, j.Args.Effect)
	}))
	client, err := river.NewClient(riverpgxv5.New(d.Pool), &river.Config{
		Queues: map[string]river.QueueConfig{riverQueue: {MaxWorkers: d.Workers}}, Workers: workers,
		FetchCooldown: riverCooldown, FetchPollInterval: max(d.Poll, riverCooldown), JobTimeout: -1, RescueStuckJobsAfter: riverRescue, MaxAttempts: riverTries,
		CompletedJobRetentionPeriod: riverKeep, CancelledJobRetentionPeriod: riverKeepFailed, DiscardedJobRetentionPeriod: riverKeepFailed,
		Logger: slog.New(warnings{d.Log.Handler()}),
	})
	if err == nil {
		err = client.Start(context.WithoutCancel(ctx))
	}
	if err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	send := couriers(client)
	d.Store.Carry(d.Clock, func() bool { return d.room.Load() > 0 }, func(ctx context.Context, tx pgx.Tx, effects []string, old []int64) ([]int64, error) {
		d.room.Add(-int64(len(effects)))
		return send(ctx, tx, effects, old)
	})
	d.Store.Ride(c.want, c.start)
	d.sends(ctx, c, send)
	d.Store.Ride(nil, nil) // what is added from now on is for other nodes
	d.Store.Carry(nil, nil, nil)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Grace)
	defer cancel()
	context.AfterFunc(end, cut)
	defer c.close()
	c.shut() // couriers that wait go to another node
	if err := client.Stop(end); errors.Is(err, context.DeadlineExceeded) {
		return client.StopAndCancel(context.WithoutCancel(ctx))
	} else if err != nil {
		return fmt.Errorf("stop River: %w", err)
	}
	return nil
}

// couriers makes jobs, but none where one waits already: River may be slower
// than the effects are due.
func couriers(client *river.Client[pgx.Tx]) Couriers {
	return func(ctx context.Context, tx pgx.Tx, effects []string, old []int64) ([]int64, error) {
		jobs := make([]int64, len(effects))
		copy(jobs, old)
		waiting, err := stillWaiting(ctx, tx, client, old)
		if err != nil {
			return nil, err
		}
		var params []river.InsertManyParams
		var places []int
		for i, id := range effects {
			if !waiting[jobs[i]] {
				params, places = append(params, river.InsertManyParams{Args: errand{id}, InsertOpts: &river.InsertOpts{Queue: riverQueue}}), append(places, i)
			}
		}
		if len(params) == 0 {
			return jobs, nil
		}
		made, err := client.InsertManyTx(ctx, tx, params)
		if err != nil {
			return nil, err
		}
		for i, r := range made {
			jobs[places[i]] = r.Job.ID
		}
		return jobs, nil
	}
}

// stillWaiting returns those of the jobs that no node has taken.
func stillWaiting(ctx context.Context, tx pgx.Tx, client *river.Client[pgx.Tx], jobs []int64) (map[int64]bool, error) {
	jobs = slices.DeleteFunc(slices.Clone(jobs), func(id int64) bool { return id == 0 })
	if len(jobs) == 0 {
		return nil, nil
	}
	found, err := client.JobListTx(ctx, tx, river.NewJobListParams().IDs(jobs...).First(len(jobs)).
		States(rivertype.JobStateAvailable, rivertype.JobStateRetryable, rivertype.JobStateScheduled))
	if err != nil {
		return nil, err
	}
	waiting := make(map[int64]bool, len(found.Jobs))
	for _, j := range found.Jobs {
		waiting[j.ID] = true
	}
	return waiting, nil
}

// sends sends what is due and was not sent by the commit that added it, until
// ctx ends. A failing store is logged and asked again.
func (d *River) sends(ctx context.Context, c *crew, send Couriers) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	hint := d.hint
	for faults := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			hint = d.hint
		case <-hint:
			hint = nil // others that come soon are met by one look
			if c.full() {
				timer.Reset(riverSweep)
			} else {
				timer.Reset(riverCalm)
			}
			continue
		}
		n, err := d.sweep(ctx, send)
		wait := d.Poll
		switch {
		case err != nil && ctx.Err() == nil:
			faults++
			wait = max(wait, min(d.Poll<<min(faults, 10), 10*time.Second))
			d.Log.Error("effects could not be sent", "error", err, "again in", wait)
		case n > 0:
			faults, wait = 0, 0
		default:
			faults = 0
		}
		timer.Reset(wait)
	}
}

// sweep is one look for effects to send.
func (d *River) sweep(ctx context.Context, send Couriers) (int, error) {
	now := d.Clock()
	underWay, waits, err := d.Store.Unsent(ctx, now, now.Add(-d.Lease))
	if err != nil {
		return 0, err
	}
	d.room.Store(int64(d.Most - underWay))
	if !waits {
		return 0, nil
	}
	return d.Store.Send(ctx, now, now.Add(-d.Lease), max(0, min(riverSend, d.Most-underWay)), send)
}

// carry does the effect that a courier brought. Its error is one of the store:
// River brings the courier again.
func (d *River) carry(ctx context.Context, id string) error {
	l, ok, err := d.claims.one(id, func(ids []string) ([]record.Lease, error) {
		return d.Store.ClaimThese(context.WithoutCancel(ctx), d.Clock(), d.Lease, ids)
	})
	if err != nil || !ok {
		return err
	}
	d.doOne(ctx, l)
	d.Wake() // the next effect of the case may go
	return nil
}

// claims leases together what arrives while others are being leased.
type claims struct {
	mu      sync.Mutex
	waiting []*arrival
	busy    bool
}

type arrival struct {
	id    string
	lease record.Lease
	ok    bool
	err   error
	// turn tells a waiting courier to lead (true) or that it has its answer.
	turn chan bool
}

// one leases an effect by f, together with the others that wait.
func (c *claims) one(id string, f func(ids []string) ([]record.Lease, error)) (record.Lease, bool, error) {
	a := &arrival{id: id, turn: make(chan bool, 1)}
	c.mu.Lock()
	c.waiting = append(c.waiting, a)
	lead := !c.busy
	c.busy = true
	c.mu.Unlock()
	if lead || <-a.turn {
		c.lead(f)
	}
	return a.lease, a.ok, a.err
}

// lead leases for all who wait and hands the lead on.
func (c *claims) lead(f func(ids []string) ([]record.Lease, error)) {
	c.mu.Lock()
	group := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	byID := make(map[string]*arrival, len(group))
	ids := make([]string, 0, len(group))
	for _, a := range group {
		if byID[a.id] == nil { // the second of two couriers goes away
			byID[a.id], ids = a, append(ids, a.id)
		}
	}
	leases, err := f(ids)
	for _, l := range leases {
		byID[l.Row.ID].lease, byID[l.Row.ID].ok = l, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range group {
		a.err = err
		a.turn <- false // a leader does not listen
	}
	if c.busy = len(c.waiting) > 0; c.busy {
		c.waiting[0].turn <- true
	}
}

// warnings lets through what a person should see of River's own log.
type warnings struct{ slog.Handler }

// Enabled implements slog.Handler.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }
