package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/store"
)

// Several nodes share one PostgreSQL database. Each is equal and may die at any
// moment: what one knows, the others read from the database. They tell each
// other only hints; a lost one costs the time until the next look.

const (
	// DefaultTakeover bounds how long the effects of a node that died wait.
	DefaultTakeover = 25 * time.Second
	// hintEvery is how long changes are gathered before other nodes get a hint.
	hintEvery = 20 * time.Millisecond
	// listenAgain is the wait after the connection for hints broke.
	listenAgain = time.Second
	// riverConns is the size of River's own pool; one of them listens.
	riverConns = 6
	// maxHint bounds a hint, in bytes; PostgreSQL carries 8000.
	maxHint = 7000
	// keySetting names the install key that a database belongs to, by the public
	// half of the ledger's.
	keySetting = "install-key"
)

// bus carries hints between nodes; *store.Postgres is one.
type bus interface {
	Notify(ctx context.Context, word string) error
	Listen(ctx context.Context, f func(word string)) error
}

// openStore opens the database of the configuration and reads the install key.
func (a *App) openStore(ctx context.Context) (err error) {
	if a.cfg.Database == "" {
		a.Store, err = store.Open(ctx, a.cfg.DataDir)
	} else {
		a.Store, err = a.openShared(ctx)
	}
	if err != nil {
		a.Store = nil
		return err
	}
	a.close = append(a.close, a.Store.Close)
	a.Store.WatchCommits(a.metrics.committed)
	if a.keys, err = loadKeys(a.cfg.DataDir, a.cfg.InstallKey); err != nil {
		return err
	}
	return a.sameKey(ctx)
}

// openShared opens the database that nodes share. The data folder is held as
// well: key and address in it are of one node.
func (a *App) openShared(ctx context.Context) (Store, error) {
	lock, err := store.LockFolder(a.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	a.close = append(a.close, lock.Close)
	return store.OpenPostgres(ctx, a.cfg.Database)
}

// newRunner makes what does effects: River carries them where nodes share a
// database.
func (a *App) newRunner(ctx context.Context) (runner, error) {
	local := &dispatch.Local{Source: a.Store, Doer: watched{a.Engine, a.metrics}, Workers: a.cfg.Workers, Lease: a.cfg.Takeover, Clock: a.Store.Now, Log: a.cfg.Log}
	shared, ok := a.Store.(*store.Postgres)
	if !ok {
		return local, nil
	}
	pool, err := shared.Pool(ctx, riverConns)
	if err != nil {
		return nil, err
	}
	a.close = append(a.close, func() error { pool.Close(); return nil })
	if err := shared.Alone(ctx, "river", func(ctx context.Context) error { return dispatch.MigrateRiver(ctx, pool) }); err != nil {
		return nil, err
	}
	r := &dispatch.River{Store: shared, Pool: pool}
	r.Doer, r.Workers, r.Lease, r.Clock, r.Log = local.Doer, local.Workers, local.Lease, local.Clock, local.Log
	return r, nil
}

// sameKey refuses a database that another install key was used for: its sealed
// bodies could not be opened, and its ledger would be signed by two keys.
func (a *App) sameKey(ctx context.Context) error {
	have, err := a.Store.Setting(ctx, "", keySetting)
	if errors.Is(err, engine.ErrNotFound) {
		err = a.Store.CompareAndSetSetting(ctx, "", keySetting, nil, []byte(a.keys.Verifier))
		if !errors.Is(err, engine.ErrConflict) {
			return err
		}
		have, err = a.Store.Setting(ctx, "", keySetting) // another node was first
	}
	if err != nil || string(have) == a.keys.Verifier {
		return err
	}
	path, err := filepath.Abs(filepath.Join(a.cfg.DataDir, keyFile))
	if err != nil {
		path = keyFile
	}
	return fmt.Errorf("%w: the database belongs to the install key %s, this node has %s; put install.key of the first node at %s, or name it by data.key",
		ErrOtherKey, keyHash(string(have)), keyHash(a.keys.Verifier), path)
}

// ErrOtherKey is the cause when a node has another install key than the others.
var ErrOtherKey = errors.New("another install key")

// hints are the loops that carry hints to other nodes and hear theirs.
func (a *App) hints(ctx context.Context) {
	b, ok := a.Store.(bus)
	if !ok {
		return
	}
	a.loop(ctx, "hints", a.hub.abroad, time.Hour, func(ctx context.Context) (bool, error) {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(hintEvery): // gathers what happens at once
		}
		tenants := strings.Join(a.hub.changed(), " ")
		if len(tenants) > maxHint {
			tenants = allTenants
		}
		return false, b.Notify(ctx, a.node+" "+tenants)
	})
	a.loop(ctx, "listen", nil, listenAgain, func(ctx context.Context) (bool, error) {
		return false, b.Listen(ctx, func(word string) {
			from, tenants, _ := strings.Cut(word, " ")
			switch {
			case word == "": // what was hinted before is lost: look at everything
				a.hub.hear(allTenants)
			case from != a.node: // what a process hints it hears itself too
				a.hub.hear(strings.Fields(tenants)...)
			}
		})
	})
}
