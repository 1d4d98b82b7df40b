package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// How often the loops look by themselves; hints only make them look sooner.
const (
	sweepEvery      = time.Second
	inboxEvery      = time.Second
	sequenceEvery   = 2 * time.Second
	checkpointEvery = time.Minute
	walEvery        = time.Second
	countEvery      = 5 * time.Second
	// A piece takes some 30 ms; a million cases are read in half a minute.
	learnEvery  = 100 * time.Millisecond
	clockEvery  = 5 * time.Second
	resumeEvery = 200 * time.Millisecond
	// clockJump pauses enforcement: due times can't be trusted (design, 6.6).
	clockJump = 60 * time.Second
)

// AddressFile tells commands on this machine where the running server is.
const AddressFile = "server.json"

// Address is the content of the address file.
type Address struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	PID   int    `json:"pid"`
	// Cert is the SHA-256 of the server's certificate, in hex; "" for plain HTTP.
	Cert string `json:"cert,omitempty"`
}

// Start begins serving and working. It returns when the server answers; use
// Stop to end it.
func (a *App) Start(ctx context.Context) error {
	ctx, a.stop = context.WithCancel(ctx)
	if err := a.begin(ctx); err != nil {
		return err
	}
	if err := a.writeAddress(); err != nil {
		return err
	}
	// No WriteTimeout: streams of events stay open, and set their own deadlines.
	srv := &http.Server{Handler: a.Handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, BaseContext: nil}
	a.goes("http", func() error {
		if err := srv.Serve(a.ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	a.profiles(ctx)
	a.goes("shutdown", func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
		defer cancel()
		a.hub.shut()
		return srv.Shutdown(end)
	})
	a.goes("effects", func() error {
		if err := a.awaitResume(ctx); err != nil {
			return err
		}
		return a.runner.Run(ctx)
	})
	a.readStreams(ctx)
	a.hints(ctx)
	a.timed(ctx, "sweep", a.hub.sweep, sweepEvery, a.sweep)
	a.loop(ctx, "inbox", nil, inboxEvery, func(ctx context.Context) (bool, error) {
		n, err := a.Intake.Work(ctx, 16)
		return n > 0, err
	})
	a.loop(ctx, "ledger", nil, sequenceEvery, a.sequence)
	a.loop(ctx, "checkpoint", nil, checkpointEvery, func(ctx context.Context) (bool, error) { return false, a.checkpoint(ctx) })
	a.loop(ctx, "wal", nil, walEvery, func(ctx context.Context) (bool, error) { return false, a.Store.MoveWAL(ctx) })
	a.loop(ctx, "count", nil, countEvery, func(ctx context.Context) (bool, error) { return false, a.Store.Checkpoint(ctx) })
	a.timed(ctx, "learn", nil, learnEvery, func(ctx context.Context) (time.Duration, error) {
		if more, err := a.Store.Learn(ctx); more || err != nil {
			return learnEvery, err
		}
		return time.Hour, nil
	})
	a.timed(ctx, "retention", nil, pruneEvery, a.retention())
	a.loop(ctx, "follow", nil, followEvery, a.follow)
	a.loop(ctx, "rejudge", a.rejudge, time.Hour, (&rejudging{a: a}).step)
	if a.collector != nil {
		a.loop(ctx, "memory", nil, memoryEvery, func(context.Context) (bool, error) {
			a.collector.step()
			return false, nil
		})
	}
	last, wall := time.Now(), a.Store.Now().Round(0)
	a.loop(ctx, "clock", nil, clockEvery, func(ctx context.Context) (bool, error) {
		now, says := time.Now(), a.Store.Now().Round(0)
		jump := says.Sub(wall) - now.Sub(last) // the store's clock against the monotonic one
		last, wall = now, says
		return false, a.watchClock(ctx, jump, says)
	})
	return nil
}

// goes runs f in a goroutine that Stop waits for.
func (a *App) goes(name string, f func() error) {
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		if err := f(); err != nil && !errors.Is(err, context.Canceled) {
			a.cfg.Log.Error("loop ended", "loop", name, "err", err)
		}
	}()
}

// loop calls f again at once while it finds work, else after every or a hint.
func (a *App) loop(ctx context.Context, name string, hint <-chan struct{}, every time.Duration, f func(context.Context) (more bool, err error)) {
	a.timed(ctx, name, hint, every, func(ctx context.Context) (time.Duration, error) {
		more, err := f(ctx)
		if more {
			return 0, err
		}
		return every, err
	})
}

// timed calls f again after the time it asks for or a hint, after every when it
// failed.
func (a *App) timed(ctx context.Context, name string, hint <-chan struct{}, every time.Duration, f func(context.Context) (wait time.Duration, err error)) {
	a.goes(name, func() error {
		t := time.NewTimer(0)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			case <-hint:
			}
			wait, err := f(ctx)
			if err != nil {
				wait = every
				if ctx.Err() == nil {
					a.cfg.Log.Error("will be tried again", "loop", name, "err", err)
				}
			}
			t.Reset(wait)
		}
	})
}

// sweep ticks due cases and returns how long until the next one is. A group is
// bounded so that intake is never starved.
func (a *App) sweep(ctx context.Context) (time.Duration, error) {
	if a.held.Load() {
		return sweepEvery, nil
	}
	a.hub.plan(time.Time{})
	n, err := a.Engine.Sweep(ctx, a.Store.Now(), 64)
	if n > 0 {
		a.runner.Wake()
	}
	if err != nil || n == 64 {
		return 0, err
	}
	now := a.Store.Now()
	next, err := a.Store.NextDue(ctx, now)
	if err != nil || next.IsZero() || next.After(now.Add(sweepEvery)) {
		next = now.Add(sweepEvery)
	}
	a.hub.plan(next)
	a.runner.Wake() // an effect may be what is due next
	return next.Sub(now), err
}

// sequence appends what was committed to the ledger's tree.
func (a *App) sequence(ctx context.Context) (bool, error) {
	before, err := a.Store.Tail(ctx)
	if err != nil || before.Events == 0 {
		return false, err
	}
	_, _, err = a.Store.Sequence(ctx, 2000)
	if errors.Is(err, engine.ErrConflict) {
		return true, nil
	}
	return before.Events > 2000, err
}

// checkpoint signs the tree if it grew since the last one. A copy signs nothing
// before its epoch has begun: the original may have signed something else.
func (a *App) checkpoint(ctx context.Context) error {
	if _, copied, err := a.Store.Marked(ctx); err != nil || copied {
		return err
	}
	if _, err := a.sequence(ctx); err != nil {
		return err
	}
	size, root, err := a.Store.Sequence(ctx, 0)
	if err != nil {
		return err
	}
	old, err := a.Store.Checkpoints(ctx, 1)
	if err != nil || size == 0 || len(old) == 1 && old[0].Size == size {
		return err
	}
	signer, err := note.NewSigner(a.keys.signer)
	if err != nil {
		return err
	}
	e, err := a.epoch(ctx)
	if err != nil {
		return err
	}
	c := ledger.Checkpoint{Origin: a.origin(e), Size: size, Root: root, At: a.Store.Now(), Follows: e.Follows}
	text, err := ledger.Sign(c, signer)
	if err != nil {
		return err
	}
	return a.Store.SaveCheckpoint(ctx, store.StoredCheckpoint{Checkpoint: c, Note: text})
}

// Verifier is the public key of the ledger's checkpoints.
func (a *App) Verifier() string { return a.keys.Verifier }

// pauseAll is the kill-switch entry that covers every action.
const pauseAll = "all"

// watchClock pauses enforcement when the wall clock jumped, and ends its own
// pause after a stretch without another jump.
func (a *App) watchClock(ctx context.Context, jump time.Duration, now time.Time) error {
	system := remedy.Actor{Kind: remedy.System, ID: "clock"}
	if jump > clockJump || jump < -clockJump {
		_, texts, err := a.Engine.Note(fmt.Sprintf("the clock of this machine jumped by %s", jump.Round(time.Second)))
		if err != nil {
			return err
		}
		a.cfg.Log.Error("clock jumped: enforcement paused", "by", jump)
		return a.Store.SetPause(ctx, store.Pause{Scope: pauseAll, By: system, At: now, Reason: texts[0]})
	}
	ps, err := a.Store.Pauses(ctx)
	if err != nil {
		return err
	}
	for _, p := range ps {
		if p.By == system && now.Sub(p.At) > clockJump {
			return a.Store.ClearPause(ctx, store.Pause{Tenant: p.Tenant, Scope: p.Scope, By: system, At: now})
		}
	}
	return nil
}

// writeAddress tells commands on this machine where we are, by a file only the
// owner can read.
func (a *App) writeAddress() error {
	at := Address{URL: a.URL, Token: a.local, PID: os.Getpid()}
	if a.cfg.TLS != nil {
		sum := sha256.Sum256(a.cfg.TLS.Certificate[0])
		at.Cert = hex.EncodeToString(sum[:])
	}
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	path := filepath.Join(a.cfg.DataDir, AddressFile)
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", AddressFile, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write %s: %w", AddressFile, err)
	}
	a.close = append(a.close, func() error { return os.Remove(path) })
	return nil
}

// SetupLink returns the one-time link that makes the first administrator, ""
// when there are users already.
func (a *App) SetupLink(ctx context.Context) (string, error) {
	done, err := a.Auth.SetUp(ctx)
	if err != nil || done {
		return "", err
	}
	secret, err := a.Auth.NewSetupLink(ctx)
	return a.cfg.BaseURL + "/setup?token=" + secret, err
}

// Stop drains what is under way, signs a last checkpoint and closes everything.
func (a *App) Stop(ctx context.Context) error {
	if a.stop != nil {
		a.stop()
		a.wg.Wait()
	}
	err := a.checkpoint(ctx)
	return errors.Join(err, a.closeAll())
}

// Ingest takes a body in as a file of the operator, without a network.
func (a *App) Ingest(ctx context.Context, name string, body []byte) (answer any, status int) {
	ans := a.Intake.Take(ctx, intakeFile(name), "", body)
	a.runner.Wake()
	return ans, ans.Status
}

// Tenant is the tenant of people and files of this install.
func (a *App) Tenant() string { return finding.DefaultTenant }
