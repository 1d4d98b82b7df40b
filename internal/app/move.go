package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/store"
)

// An install moves from SQLite to PostgreSQL by copy, drain, tail and cut over.
// At every instant at most one of the two may act: SQLite until it is marked as
// moving, nobody until PostgreSQL has committed, PostgreSQL from then on. The
// mark names the copy, so that a second run knows what became of the first.

// MoveOptions say how an install is moved.
type MoveOptions struct {
	// Wait is how long the server that holds the data folder may take to end.
	Wait time.Duration
	// Rehearse copies and verifies, and takes everything back.
	Rehearse bool
	// Cancel takes back a move that was begun and not committed, and does
	// nothing else.
	Cancel bool
	// Say is told how it goes.
	Say func(format string, a ...any)
}

// MoveReport is what a move did.
type MoveReport struct {
	// Copy is its id, Target host:port/database.
	Copy   string `json:"copy"`
	Target string `json:"target"`
	// Done is true when the install is in PostgreSQL now.
	Done bool `json:"done"`
	// Before is true when an earlier run had committed it.
	Before bool                `json:"finished_before,omitempty"`
	Tables []store.CopiedTable `json:"tables"`
	Rows   int64               `json:"rows"`
	Ledger LedgerReport        `json:"ledger"`
	// Replayed cases were what their events make of them.
	Replayed int `json:"replayed_cases"`
	// Beside is how long the copy beside the running server took, Waited how long
	// its end took, Stopped how long no server could run, in milliseconds.
	Beside  int64 `json:"beside_ms"`
	Waited  int64 `json:"waited_ms"`
	Stopped int64 `json:"stopped_ms"`
	// Ahead is how far the newest event is ahead of the database's clock, in
	// milliseconds; 0 if it is not.
	Ahead int64 `json:"clock_behind_ms,omitempty"`
}

// ErrLedger: the ledger does not hold.
var ErrLedger = errors.New("the ledger does not hold")

// sampled is about how many cases of a copy are replayed.
const sampled = 1000

// Move copies the install in cfg.DataDir to the PostgreSQL database that
// cfg.Database names, which must be empty, verifies it, and makes it the install.
// cfg.Failpoint is called between any two steps.
func Move(ctx context.Context, cfg Config, o MoveOptions) (rep MoveReport, err error) {
	m := mover{cfg: cfg, o: o, rep: &rep}
	defer func() { err = errors.Join(err, m.close()) }()
	return rep, m.run(ctx)
}

// mover is a move under way.
type mover struct {
	cfg  Config
	o    MoveOptions
	rep  *MoveReport
	keys *keys
	to   *store.Postgres
	copy *store.Copy
	from *store.SQLite
	// before is what an earlier run left in the data folder.
	before store.Move
	marked bool
	// passed is when the last pass beside the server ended, and lasted how long it
	// took.
	passed time.Time
	lasted time.Duration
	// stopped is when the data folder became ours.
	stopped time.Time
}

func (m *mover) reach(step string) {
	if m.cfg.Failpoint != nil {
		m.cfg.Failpoint(step)
	}
}

func (m *mover) close() error {
	var errs []error
	if m.copy != nil {
		m.copy.Rollback()
	}
	if m.to != nil {
		errs = append(errs, m.to.Close())
	}
	if m.from != nil {
		errs = append(errs, m.from.Close())
	}
	return errors.Join(errs...)
}

func (m *mover) run(ctx context.Context) (err error) {
	if m.cfg.InstallKey == "" {
		if _, err := os.Stat(filepath.Join(m.cfg.DataDir, keyFile)); err != nil {
			return fmt.Errorf("%s is no install: %w", m.cfg.DataDir, err)
		}
	}
	if m.keys, err = loadKeys(m.cfg.DataDir, m.cfg.InstallKey); err != nil {
		return err
	}
	if m.to, err = store.OpenPostgres(ctx, m.cfg.Database); err != nil {
		return err
	}
	m.rep.Target = m.to.Name()
	var came bool
	var arrived store.Move
	if m.copy, arrived, came, err = m.to.BeginCopy(ctx); err != nil {
		return err
	}
	m.reach("target locked")
	running, err := m.open(ctx)
	if err != nil {
		return err
	}
	done, err := m.settle(ctx, arrived, came)
	if err != nil || done {
		return err
	}
	if running {
		if err := m.beside(ctx); err != nil {
			return err
		}
		if m.o.Rehearse {
			m.rep.Tables = m.copy.Copied()
			m.count()
		}
	}
	if m.from == nil && !m.o.Rehearse {
		if err := m.drain(ctx); err != nil {
			return err
		}
	}
	m.reach("drained")
	if m.from != nil {
		if err := m.tail(ctx); err != nil {
			return err
		}
	}
	if m.o.Rehearse {
		return nil
	}
	// From here on it goes to its end, whatever the person wants.
	return m.cutOver(context.WithoutCancel(ctx))
}

// open opens the data folder, or says that a server runs on it.
func (m *mover) open(ctx context.Context) (running bool, err error) {
	from, err := store.OpenToMove(ctx, m.cfg.DataDir)
	if errors.Is(err, store.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	m.from, m.stopped = from, time.Now()
	m.before, m.marked, err = from.Move(ctx)
	return false, err
}

// settle compares what earlier runs left on both sides. done says that there is
// nothing to copy.
func (m *mover) settle(ctx context.Context, arrived store.Move, came bool) (done bool, err error) {
	switch {
	case came && m.marked && m.before.ID == arrived.ID:
		m.rep.Copy, m.rep.Done, m.rep.Before = arrived.ID, true, true
		m.before.State = store.Moved
		return true, m.from.SetMove(ctx, m.before)
	case m.marked && (m.before.State == store.Moved || m.before.Target != m.rep.Target):
		return false, &store.MovedError{Folder: m.cfg.DataDir, Move: m.before}
	case m.o.Cancel && m.from == nil:
		return false, fmt.Errorf("%w: a server runs on %s, so there is no move to take back", store.ErrLocked, m.cfg.DataDir)
	case m.o.Cancel && m.marked:
		// The tables are locked: a commit of the earlier run would be seen.
		return true, m.from.ClearMove(ctx)
	case m.o.Cancel:
		return true, nil
	case came:
		return false, fmt.Errorf("%w: another install came there by copy %s", store.ErrNotEmpty, arrived.ID)
	}
	return false, m.copy.Empty(ctx)
}

// beside copies what is there while the server works on, and then what changed
// meanwhile.
func (m *mover) beside(ctx context.Context) error {
	begun := time.Now()
	err := m.pass(ctx, func() { m.o.Say("Copying beside the running server to %s.", m.rep.Target) })
	if errors.Is(err, store.ErrOtherRelease) {
		m.o.Say("The server is of another release: everything is copied after it ended.")
		return nil
	}
	if err == nil {
		err = m.copy.Analyze(ctx)
	}
	if err == nil {
		err = m.pass(ctx, func() {})
	}
	m.rep.Beside = time.Since(begun).Milliseconds()
	m.reach("copied beside")
	return err
}

// pass copies once what is new or changed, beside the running server.
func (m *mover) pass(ctx context.Context, begins func()) error {
	begun := time.Now()
	r, err := store.OpenReader(ctx, m.cfg.DataDir)
	if err != nil {
		return err
	}
	begins()
	if err = errors.Join(m.copy.Bulk(ctx, r), r.Close()); err == nil {
		err = m.audit(ctx)
	}
	m.passed, m.lasted = time.Now(), time.Since(begun)
	return err
}

// audit verifies the part of the ledger that is there.
func (m *mover) audit(ctx context.Context) error {
	checks, fault, err := signed(ctx, m.keys.Verifier, m.copy)
	if err != nil {
		return err
	}
	if fault == "" {
		if err = m.copy.Audit(ctx, checks...); err == nil {
			return nil
		}
		if _, ok := errors.AsType[*ledger.Fault](err); !ok {
			return err
		}
		fault = err.Error()
	}
	return fmt.Errorf("%w: %s", ErrLedger, fault)
}

// count adds up what was copied.
func (m *mover) count() {
	for _, t := range m.rep.Tables {
		m.rep.Rows += t.Rows
	}
}

// passRest is how many times longer than a pass the rest after it is: the running
// server has the better part of the machine. It is at least leastRest.
const (
	passRest  = 4
	leastRest = 2 * time.Second
)

// lookAgain is how often the data folder is tried while its server ends.
const lookAgain = 200 * time.Millisecond

// drain waits until the server has finished what is under way and ended, and goes
// on copying what changes, so that little is left when it has.
func (m *mover) drain(ctx context.Context) error {
	begun := time.Now()
	m.o.Say("Now stop the server: it finishes what is under way. The copy goes on by itself when it has ended\n(within %s; after that everything stays as it was).", m.o.Wait)
	t := time.NewTicker(lookAgain)
	defer t.Stop()
	end := time.After(m.o.Wait)
	for {
		running, err := m.open(ctx)
		if err != nil {
			return err
		}
		if !running {
			break
		}
		if m.rep.Beside > 0 && time.Since(m.passed) > max(leastRest, passRest*m.lasted) {
			if err := m.pass(ctx, func() {}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return fmt.Errorf("%w: the server on %s did not end within %s; nothing was changed", store.ErrLocked, m.cfg.DataDir, m.o.Wait)
		case <-t.C:
		}
	}
	m.rep.Waited = time.Since(begun).Milliseconds()
	if m.marked {
		return &store.MovedError{Folder: m.cfg.DataDir, Move: m.before}
	}
	return nil
}

// tail copies the rest and verifies everything that arrived.
func (m *mover) tail(ctx context.Context) error {
	have, err := m.from.Setting(ctx, "", keySetting)
	if err == nil && string(have) != m.keys.Verifier {
		err = fmt.Errorf("%w: the data folder belongs to %s, the key here is %s", ErrOtherKey, keyHash(string(have)), keyHash(m.keys.Verifier))
	}
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	m.o.Say("Copying what is left.")
	if err := m.copy.Rest(ctx, m.from); err != nil {
		return err
	}
	m.reach("copied the rest")
	m.o.Say("Verifying what arrived.")
	if m.rep.Tables, err = m.copy.Verify(ctx, m.from); err != nil {
		return err
	}
	m.count()
	if m.rep.Beside == 0 { // else its figures are good enough
		if err := m.copy.Analyze(ctx); err != nil {
			return err
		}
	}
	if m.rep.Ledger, err = verifyLedger(ctx, m.keys.Verifier, m.copy); err != nil {
		return err
	}
	if !m.rep.Ledger.OK {
		return fmt.Errorf("%w: %s", ErrLedger, m.rep.Ledger.Fault)
	}
	if m.rep.Ahead, err = m.ahead(ctx); err != nil {
		return err
	}
	if m.rep.Replayed, err = m.copy.VerifySample(ctx, m.rep.Ledger.Cases/sampled+1); err != nil {
		return err
	}
	m.rep.Stopped = time.Since(m.stopped).Milliseconds()
	m.reach("verified")
	return nil
}

// ahead is how far the newest event is ahead of the database's clock, in
// milliseconds.
func (m *mover) ahead(ctx context.Context) (int64, error) {
	at, err := m.from.NewestEvent(ctx)
	return max(0, at.Sub(m.to.Now()).Milliseconds()), err
}

// cutOver hands the install over.
func (m *mover) cutOver(ctx context.Context) error {
	move := store.Move{ID: rand.Text()[:12], Target: m.rep.Target, State: store.Moving, At: m.from.Now()}
	m.rep.Copy = move.ID
	arrived := move
	arrived.State = store.Arrived
	if err := m.copy.Prepare(ctx, arrived); err != nil {
		return err
	}
	if err := m.from.SetMove(ctx, move); err != nil {
		return err
	}
	m.reach("marked as moving")
	known, err := m.copy.Commit(ctx)
	if err != nil {
		if known {
			return errors.Join(err, m.from.ClearMove(ctx))
		}
		return fmt.Errorf("%w; it is not known whether it was: run this command again", err)
	}
	m.reach("committed")
	m.rep.Done = true
	move.State = store.Moved
	if err := m.from.SetMove(ctx, move); err != nil {
		return err
	}
	m.rep.Stopped = time.Since(m.stopped).Milliseconds()
	m.reach("marked as moved")
	return nil
}
