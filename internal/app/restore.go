package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// A restored install does not know what the world did since the copy was made,
// nor whether the original still runs. So it begins a new epoch of the ledger,
// counts every change that was under way as unsure, and does nothing by itself
// until a person resumes it (design, section 4).

// restoreID is the actor of what a restore does, and the mark of its pause.
const restoreID = "restore"

// epochSetting holds the ledger's epoch; missing in the first one.
const epochSetting = "ledger-epoch"

// epoch is a stretch of the ledger between two restores.
type epoch struct {
	N int `json:"n"`
	// Name tells two restores of one backup apart; "" in the first epoch.
	Name string `json:"name,omitempty"`
	// Follows is the digest of the last checkpoint of the epoch before.
	Follows ledger.Hash `json:"follows,omitzero"`
}

// epoch returns the ledger's epoch.
func (a *App) epoch(ctx context.Context) (epoch, error) {
	e := epoch{N: 1}
	b, err := a.Store.Setting(ctx, "", epochSetting)
	if errors.Is(err, record.ErrNotFound) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &e)
	}
	return e, err
}

// origin names the ledger of this install by the hash in its verifier key and
// the epoch.
func (a *App) origin(e epoch) string {
	s := "casement/" + keyHash(a.keys.Verifier) + "/" + strconv.Itoa(e.N)
	if e.Name != "" {
		s += "." + e.Name
	}
	return s
}

// mark signs a checkpoint and is the mark of a copy made now.
func (a *App) mark(ctx context.Context) (store.BackupMark, error) {
	if err := a.checkpoint(ctx); err != nil {
		return store.BackupMark{}, err
	}
	return a.lastMark(ctx)
}

// lastMark names the newest checkpoint that is there.
func (a *App) lastMark(ctx context.Context) (store.BackupMark, error) {
	m := store.BackupMark{At: a.Store.Now().Format(time.RFC3339)}
	list, err := a.Store.Checkpoints(ctx, 1)
	if err == nil && len(list) == 1 {
		m.Origin, m.Size, m.Checkpoint = list[0].Origin, list[0].Size, list[0].Digest()
	}
	return m, err
}

// begin makes an install out of a copy, and holds the engine while the pause
// of a restore is thrown. Every step can be repeated: the mark goes last.
func (a *App) begin(ctx context.Context) error {
	err := a.Store.Alone(ctx, "begin", func(ctx context.Context) error {
		m, copied, err := a.Store.Marked(ctx)
		if err == nil && copied {
			err = a.restored(ctx, m)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("take the restored data folder into use: %w", err)
	}
	why, err := a.Held(ctx)
	a.held.Store(why != "")
	return err
}

// restoredBody is the body of the restored event.
type restoredBody struct {
	Backup string      `json:"backup_at"`
	Origin string      `json:"origin"`
	After  string      `json:"after,omitempty"`
	Size   int64       `json:"size,omitempty"`
	Last   ledger.Hash `json:"checkpoint,omitzero"`
	Unsure int         `json:"unsure"`
}

func (a *App) restored(ctx context.Context, m store.BackupMark) error {
	now, by := a.Store.Now(), remedy.Actor{Kind: remedy.System, ID: restoreID}
	_, texts, err := a.Engine.Note("restored from the copy of " + m.At + ": look whether the original still runs, then resume")
	if err != nil {
		return err
	}
	// A pause that was in force when the copy was made gives way to this one,
	// which ends only when a person resumes.
	if err := a.Store.ClearPause(ctx, store.Pause{Scope: pauseAll, By: by, At: now}); err != nil && !errors.Is(err, record.ErrNotFound) {
		return err
	}
	if err := a.Store.SetPause(ctx, store.Pause{Scope: pauseAll, By: by, At: now, Reason: texts[0]}); err != nil {
		return err
	}
	e, err := a.epoch(ctx)
	if err != nil {
		return err
	}
	var name [4]byte
	if _, err := rand.Read(name[:]); err != nil {
		return err
	}
	e = epoch{N: e.N + 1, Name: hex.EncodeToString(name[:]), Follows: m.Checkpoint}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := a.Store.SetSetting(ctx, "", epochSetting, b); err != nil {
		return err
	}
	ids, err := a.Store.Touching(ctx)
	if err != nil {
		return err
	}
	unsure := 0
	for _, id := range ids {
		n, err := a.Engine.Doubt(ctx, id, "restored from the copy of "+m.At+": not known whether it happened", now)
		if err != nil {
			return err
		}
		unsure += n
	}
	body, err := json.Marshal(restoredBody{Backup: m.At, Origin: a.origin(e), After: m.Origin, Size: m.Size, Last: m.Checkpoint, Unsure: unsure})
	if err != nil {
		return err
	}
	if _, err := a.Store.AppendEvent(ctx, store.StreamEvent{Tenant: a.Tenant(), Stream: store.StreamGuardrail, Type: store.EventRestored, Schema: 1, At: now, By: by, Body: body}); err != nil {
		return err
	}
	a.cfg.Log.Warn("restored data folder: paused in a new epoch of the ledger", "copy of", m.At, "epoch", a.origin(e), "follows", m.Origin, "unsure", unsure)
	return a.Store.Unmark(ctx)
}

// Held says why the engine does nothing by itself, "" if it works.
func (a *App) Held(ctx context.Context) (string, error) {
	ps, err := a.Store.Pauses(ctx)
	for _, p := range ps {
		if p.Scope == pauseAll && p.By.ID == restoreID {
			return p.Reason.Text, err
		}
	}
	return "", err
}

// awaitResume returns nil when no restore holds the engine.
func (a *App) awaitResume(ctx context.Context) error {
	t := time.NewTicker(resumeEvery)
	defer t.Stop()
	for a.held.Load() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		why, err := a.Held(ctx)
		if err != nil && ctx.Err() == nil {
			a.cfg.Log.Error("will be tried again", "loop", "resume", "err", err)
			continue
		}
		a.held.Store(why != "")
	}
	return nil
}

// RestoreReport is what a restore looked at before it let the copy be used.
type RestoreReport struct {
	Folder string `json:"folder"`
	// Backup is when the copy was made.
	Backup string `json:"backup_at"`
	// Ledger is the verification of the copy, Replayed the number of cases whose
	// events made exactly the stored case.
	Ledger   LedgerReport `json:"ledger"`
	Replayed int          `json:"replayed"`
}

// Restore copies a backup, or the data folder of a server that is stopped, to
// the folder of cfg, which must not hold an install, verifies ledger and
// replay, and marks it: the server that is started on it begins paused. When
// anything does not hold, the folder is left as it was. An install that moved to
// PostgreSQL is refused unless moved: what it was then becomes an install again.
func Restore(ctx context.Context, from string, cfg Config, moved bool) (rep RestoreReport, err error) {
	to := cfg.DataDir
	rep.Folder = to
	for _, name := range []string{store.DatabaseFile, keyFile} {
		if _, err := os.Lstat(filepath.Join(to, name)); err == nil {
			return rep, fmt.Errorf("%s holds %s already: name a folder that does not exist", to, name)
		}
		if _, err := os.Stat(filepath.Join(from, name)); err != nil {
			return rep, fmt.Errorf("%s is no backup and no data folder: %w", from, err)
		}
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return rep, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeInstall(to))
		}
	}()
	for _, name := range []string{store.DatabaseFile, store.DatabaseFile + "-wal", keyFile} {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil && !(errors.Is(err, os.ErrNotExist) && name != keyFile) {
			return rep, err
		}
	}
	if moved {
		if err := store.Unmove(ctx, to); err != nil {
			return rep, err
		}
	}
	cfg.Listen = "127.0.0.1:0"
	a, err := New(ctx, cfg)
	if gone, ok := errors.AsType[*store.MovedError](err); ok {
		gone.Folder = from
	}
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, a.Stop(ctx)) }()
	m, marked, err := a.Store.Marked(ctx)
	if err == nil && !marked {
		m, err = a.lastMark(ctx)
		if err == nil {
			err = a.Store.Mark(ctx, m)
		}
	}
	if err != nil {
		return rep, err
	}
	rep.Backup = m.At
	if rep.Ledger, err = a.VerifyLedger(ctx); err != nil {
		return rep, err
	}
	if !rep.Ledger.OK {
		return rep, fmt.Errorf("the ledger of the backup does not hold: %s", rep.Ledger.Fault)
	}
	rep.Replayed, err = a.Store.VerifyReplay(ctx)
	return rep, err
}

// ErrNodes says that nodes use a database that nobody may use now.
var ErrNodes = errors.New("nodes are using the database: end them all first")

// RestoreDatabase takes the PostgreSQL database of cfg, which went back to a
// point in time, for a copy of what it was then: ledger and replay are verified,
// and the node that is started next begins paused, as after Restore. ErrNodes
// while any node is connected; nothing is changed then, nor when anything does
// not hold.
func RestoreDatabase(ctx context.Context, cfg Config) (rep RestoreReport, err error) {
	s, err := store.OpenApart(ctx, cfg.Database)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	rep.Folder, cfg.Listen = s.Name(), "127.0.0.1:0"
	// A node that starts meanwhile waits here, and then sees the mark.
	err = s.Alone(ctx, "begin", func(ctx context.Context) (err error) {
		if n, err := s.Nodes(ctx); err != nil || n > 0 {
			return cmp.Or(err, fmt.Errorf("%d sessions: %w", n, ErrNodes))
		}
		a, err := New(ctx, cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.Stop(ctx)) }()
		if rep.Ledger, err = a.VerifyLedger(ctx); err != nil {
			return err
		}
		if !rep.Ledger.OK {
			return fmt.Errorf("the ledger of the database does not hold: %s", rep.Ledger.Fault)
		}
		if rep.Replayed, err = a.Store.VerifyReplay(ctx); err != nil {
			return err
		}
		m, err := a.lastMark(ctx)
		if err != nil {
			return err
		}
		rep.Backup = m.At
		return a.Store.Mark(ctx, m)
	})
	return rep, err
}

// copyFile copies a file to a new one and syncs it.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
