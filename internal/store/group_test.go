package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// execFunc is what a raw write gets.
type execFunc = func(text string, args ...any) error

// gang holds the writer, queues the writes so that they share one group, lets
// go, and returns their errors.
func gang(t *testing.T, s *store.SQLite, writes ...func(execFunc) error) []error {
	t.Helper()
	var calls []func(context.Context) error
	for _, f := range writes {
		calls = append(calls, func(ctx context.Context) error { return s.Write(ctx, f) })
	}
	return together(t, s, calls...)
}

// together is gang for calls of the store that write once each.
func together(t *testing.T, s *store.SQLite, calls ...func(context.Context) error) []error {
	t.Helper()
	held, letGo := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Write(context.Background(), func(execFunc) error { close(held); <-letGo; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	errs := make([]error, len(calls))
	for i, f := range calls {
		wg.Go(func() { errs[i] = f(context.Background()) })
		for s.Queued() <= i { // in this order
			runtime.Gosched()
		}
	}
	close(letGo)
	wg.Wait()
	return errs
}

func set(key string) func(execFunc) error {
	return func(e execFunc) error {
		return e("INSERT INTO setting (tenant, key, value) VALUES ('', ?, x'01')", key)
	}
}

func isSet(t *testing.T, s *store.SQLite, key string) bool {
	t.Helper()
	_, err := s.Setting(t.Context(), "", key)
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestPartThatFailsLeavesTheOthers(t *testing.T) {
	s := open(t, t.TempDir())
	boom := errors.New("boom")
	errs := gang(t, s, set("a"), func(e execFunc) error { return errors.Join(set("b")(e), boom) }, set("a"), set("c"))
	if errs[0] != nil || !errors.Is(errs[1], boom) || errs[2] == nil || errs[3] != nil {
		t.Errorf("errors %v", errs)
	}
	if !isSet(t, s, "a") || isSet(t, s, "b") || !isSet(t, s, "c") {
		t.Error("the parts shared their fate")
	}
}

func TestLostTransactionIsReplayedAlone(t *testing.T) {
	s := open(t, t.TempDir())
	boom := errors.New("boom")
	runs := 0 // plainly, with savepoints, alone
	errs := gang(t, s, set("a"), func(e execFunc) error {
		runs++
		return errors.Join(e("ROLLBACK"), boom) // as SQLite does by itself when the disk is full
	}, set("b"))
	if errs[0] != nil || !errors.Is(errs[1], boom) || errs[2] != nil {
		t.Errorf("errors %v", errs)
	}
	if runs != 3 || !isSet(t, s, "a") || !isSet(t, s, "b") {
		t.Errorf("the bad part ran %d times; a %v, b %v", runs, isSet(t, s, "a"), isSet(t, s, "b"))
	}
}

// A group that is done again, because another part of it failed half way, grows
// the ledger's tree by all its hashes.
func TestTreeGrowsInAGroupThatIsDoneAgain(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 4)
	boom := errors.New("boom")
	errs := together(t, s, func(ctx context.Context) error { _, _, err := s.Sequence(ctx, 100); return err },
		func(ctx context.Context) error {
			return s.Write(ctx, func(e execFunc) error { return errors.Join(set("a")(e), boom) })
		})
	if errs[0] != nil || !errors.Is(errs[1], boom) {
		t.Fatalf("errors %v", errs)
	}
	rep, err := s.VerifyLedger(t.Context())
	if err != nil || rep.Sequenced == 0 || rep.Unsequenced != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	fill(t, s, 4, 2)
	if sequence(t, s, 100); t.Failed() {
		return
	}
	if _, err := s.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPanicFreesTheQueue(t *testing.T) {
	s := open(t, t.TempDir())
	var caught any
	errs := gang(t, s, func(execFunc) error { return nil }, set("a"))
	func() {
		defer func() { caught = recover() }()
		_ = s.Write(t.Context(), func(e execFunc) error { panic(errors.Join(set("b")(e), errors.New("boom"))) })
	}()
	if caught == nil || errors.Join(errs...) != nil {
		t.Fatalf("caught %v, errors %v", caught, errs)
	}
	if err := s.Write(t.Context(), set("c")); err != nil || isSet(t, s, "b") || !isSet(t, s, "c") {
		t.Errorf("after a panic: %v", err)
	}
}

func TestQueuedRequestIsWithdrawn(t *testing.T) {
	s := open(t, t.TempDir())
	held, letGo := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Write(context.Background(), func(execFunc) error { close(held); <-letGo; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	var err error
	done := make(chan bool)
	wg.Go(func() { err = s.Write(ctx, set("a")); close(done) })
	for s.Queued() == 0 {
		runtime.Gosched()
	}
	cancel()
	<-done // although the writer is still held
	close(letGo)
	wg.Wait()
	if !errors.Is(err, context.Canceled) || isSet(t, s, "a") {
		t.Errorf("error %v, stored %v", err, isSet(t, s, "a"))
	}
}

func TestFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 1)
	if err := s.Write(t.Context(), func(e execFunc) error { return e("PRAGMA max_page_count = 1") }); err != nil {
		t.Fatal(err) // SQLite sets it to the present size
	}
	stored := 0
	for i := range 1000 {
		u := storetest.NewCase("d"+strconv.Itoa(i), "kd"+strconv.Itoa(i))
		u.Case.Title = strings.Repeat("long ", 1000)
		errs, err := s.Commit(t.Context(), []record.Unit{u}, nil)
		if err = errors.Join(err, errs[0]); err == nil {
			stored++
			continue
		}
		if !errors.Is(err, record.ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
		if _, err := s.Load(t.Context(), u.Case.ID); !errors.Is(err, record.ErrNotFound) {
			t.Errorf("something of the refused unit is there: %v", err)
		}
		if err := s.Write(t.Context(), func(e execFunc) error { return e("PRAGMA max_page_count = 1000000") }); err != nil {
			t.Fatal(err)
		}
		errs, err = s.Commit(t.Context(), []record.Unit{u}, nil)
		if err = errors.Join(err, errs[0]); err != nil {
			t.Errorf("with room again: %v", err)
		}
		rep, err := s.VerifyLedger(t.Context())
		if err != nil || rep.Cases != stored+2 {
			t.Errorf("%d cases after %d, %v", rep.Cases, stored+2, err)
		}
		return
	}
	t.Fatal("the disk never got full")
}

// TestLockedByAnother: what can't be written because another process holds SQLite's
// lock for longer than is waited for is refused as a database that does not answer,
// nothing of it is there, and it can be stored afterwards.
func TestLockedByAnother(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	fill(t, s, 0, 1)
	if err := s.Write(t.Context(), func(e execFunc) error { return e("PRAGMA busy_timeout = 50") }); err != nil { // 10 s
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(folder, store.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.Conn(t.Context())
	if err == nil {
		_, err = other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	u := storetest.NewCase("locked", "key of locked")
	commit := func() error {
		errs, err := s.Commit(t.Context(), []record.Unit{u}, nil)
		return errors.Join(err, errs[0])
	}
	for range 2 {
		if err := commit(); !errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrUnsure) {
			t.Fatalf("while it is locked: %v, want ErrUnavailable", err)
		}
	}
	if _, err := s.Load(t.Context(), "locked"); !errors.Is(err, record.ErrNotFound) {
		t.Errorf("something of the refused unit is there: %v", err)
	}
	if _, err := other.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Close(), commit()); err != nil {
		t.Errorf("with the lock given back: %v", err)
	}
	if rep, err := s.VerifyLedger(t.Context()); err != nil || rep.Cases != 2 {
		t.Errorf("%d cases, %v", rep.Cases, err)
	}
}

func TestCheckpointBackupAndStats(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	fill(t, s, 0, 20)
	if err := s.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Commits != 60 || st.Parts != 60 || st.SyncP50 <= 0 || st.SyncP99 < st.SyncP50 || st.DatabaseBytes == 0 || st.WALBytes == 0 {
		t.Errorf("stats %+v, %v", st, err)
	}
	copyFolder := t.TempDir()
	file := filepath.Join(copyFolder, "casement.db")
	if err := s.Backup(t.Context(), file, store.BackupMark{At: "2026-01-02T03:04:05Z"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), file, store.BackupMark{At: "2026-01-02T03:04:05Z"}, nil); err == nil {
		t.Error("a backup overwrote a file")
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup: mode %v, %v", info.Mode().Perm(), err)
	}
	fill(t, s, 20, 1)
	restored := open(t, copyFolder)
	rep, err := restored.VerifyLedger(t.Context())
	if err != nil || rep.Cases != 20 {
		t.Errorf("the backup has %d cases, %v", rep.Cases, err)
	}
	if n, err := restored.VerifyReplay(t.Context()); err != nil || n != 20 {
		t.Errorf("%d cases replayed, %v", n, err)
	}
	if _, marked, err := s.Marked(t.Context()); marked || err != nil {
		t.Errorf("the original is marked as a copy: %v, %v", marked, err)
	}
	mark, marked, err := restored.Marked(t.Context())
	if err != nil || !marked || mark.At != "2026-01-02T03:04:05Z" {
		t.Errorf("the copy is not marked: %+v, %v, %v", mark, marked, err)
	}
	if err := restored.Unmark(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, marked, err = restored.Marked(t.Context()); marked || err != nil {
		t.Errorf("the mark stays: %v, %v", marked, err)
	}
}

// TestOpenTakesOver: what a process that is gone had leased is free at once,
// under a new epoch, and what it still says is stale.
func TestOpenTakesOver(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	now := storetest.Epoch()
	u := storetest.NewCase("c", "k")
	u.AddEffects = []record.EffectRow{storetest.Effect("c", "plan/1", "")}
	if errs, err := s.Commit(t.Context(), []record.Unit{u}, nil); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	if _, err := s.InboxPut(t.Context(), store.InboxItem{Tenant: "default", Source: "s", ReceivedAt: now, NextAt: now}); err != nil {
		t.Fatal(err)
	}
	old, err := s.Claim(t.Context(), now, time.Hour, 10)
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	held, err := s.InboxNext(t.Context(), now, time.Hour, 10)
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	if err := s.Close(); err != nil { // without giving anything back, as a kill does
		t.Fatal(err)
	}
	s = open(t, folder)
	again, err := s.Claim(t.Context(), now, time.Hour, 10)
	if err != nil || len(again) != 1 || again[0].Epoch <= old[0].Epoch || again[0].Attempt != 2 {
		t.Fatalf("claimed %+v after %+v, %v", again, old, err)
	}
	if err := s.Release(t.Context(), old[0], now, "late"); !errors.Is(err, record.ErrStale) {
		t.Errorf("an outcome of the dead process was taken: %v", err)
	}
	items, err := s.InboxNext(t.Context(), now, time.Hour, 10)
	if err != nil || len(items) != 1 {
		t.Errorf("inbox: %v, %v", items, err)
	}
	if err := s.InboxDone(t.Context(), held[0]); !errors.Is(err, record.ErrStale) {
		t.Errorf("the dead process finished a body: %v", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := behind(t, folder).Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), folder); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), []record.Unit{storetest.NewCase("c", "k")}, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
