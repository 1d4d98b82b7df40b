package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/casement/casement/internal/record"
)

// Carried is a source whose effects River carries; *store.Postgres is one.
type Carried interface {
	Source
	// Send marks up to n due effects as sent until until, and calls send with
	// their ids in the same transaction.
	Send(ctx context.Context, now, until time.Time, n int, send func(ctx context.Context, tx pgx.Tx, ids []string) error) (int, error)
	// ClaimOne leases an effect; false if there is nothing to do about it.
	ClaimOne(ctx context.Context, now time.Time, lease time.Duration, id string) (record.Lease, bool, error)
}

// River runs effects of several nodes: River (the queue in PostgreSQL) carries
// the id of each to one of the nodes, and the rows of the store stay the truth.
// A courier that is lost, late or doubled does no harm: the effect is leased
// when one arrives, and sent again when none did. The fields of Local but Source
// are its settings.
type River struct {
	Local
	Store Carried
	Pool  *pgxpool.Pool
}

const (
	// riverCooldown is the least time between two looks of a node for jobs: it
	// decides how soon an effect starts (reference: 1 to 5 ms).
	riverCooldown = 2 * time.Millisecond
	riverQueue    = "effects"
	// riverAgain is the wait after a start that failed.
	riverAgain = 2 * time.Second
	// riverSend is how many effects one look sends.
	riverSend = 256
	// riverKeep is how long finished jobs are shown: they prove nothing, the
	// ledger does.
	riverKeep = 15 * time.Minute
	// riverRescue is when River gives up a job of a dead node. Our rows send the
	// effect again long before.
	riverRescue = 5 * time.Minute
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
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[errand]) error { return d.carry(ctx, j.Args.Effect) }))
	client, err := river.NewClient(riverpgxv5.New(d.Pool), &river.Config{
		Queues: map[string]river.QueueConfig{riverQueue: {MaxWorkers: d.Workers}}, Workers: workers,
		FetchCooldown: riverCooldown, FetchPollInterval: max(d.Poll, riverCooldown), JobTimeout: -1, RescueStuckJobsAfter: riverRescue,
		MaxAttempts: 3, CompletedJobRetentionPeriod: riverKeep, Logger: slog.New(warnings{d.Log.Handler()}),
	})
	if err == nil {
		err = client.Start(context.WithoutCancel(ctx))
	}
	if err != nil {
		return fmt.Errorf("start River: %w", err)
	}
	d.sends(ctx, client)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Grace)
	defer cancel()
	if err := client.Stop(end); errors.Is(err, context.DeadlineExceeded) {
		return client.StopAndCancel(context.WithoutCancel(ctx))
	} else if err != nil {
		return fmt.Errorf("stop River: %w", err)
	}
	return nil
}

// sends sends what is due until ctx ends. A failing store is logged and asked
// again.
func (d *River) sends(ctx context.Context, client *river.Client[pgx.Tx]) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for faults := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.hint:
		}
		now, wait := d.Clock(), d.Poll
		n, err := d.Store.Send(ctx, now, now.Add(d.Lease), riverSend, func(ctx context.Context, tx pgx.Tx, ids []string) error {
			jobs := make([]river.InsertManyParams, len(ids))
			for i, id := range ids {
				jobs[i] = river.InsertManyParams{Args: errand{id}, InsertOpts: &river.InsertOpts{Queue: riverQueue}}
			}
			_, err := client.InsertManyFastTx(ctx, tx, jobs)
			return err
		})
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

// carry does the effect that a courier brought. Its error is one of the store:
// River brings the courier again.
func (d *River) carry(ctx context.Context, id string) error {
	l, ok, err := d.Store.ClaimOne(ctx, d.Clock(), d.Lease, id)
	if err != nil || !ok {
		return err
	}
	d.work(ctx, l)
	d.Wake() // the next effect of the case may go
	return nil
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
