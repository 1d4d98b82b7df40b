package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// moveWait is how long a move waits for a server's end in tests.
const moveWait = time.Minute

// moveChild moves an install until it is killed at CASEMENT_KILL_AT.
func moveChild(dir string) error {
	cfg := app.Config{DataDir: dir, Database: os.Getenv("CASEMENT_MOVE_TO"), Failpoint: func(step string) {
		if step == os.Getenv("CASEMENT_KILL_AT") {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	_, err := app.Move(context.Background(), cfg, app.MoveOptions{Wait: moveWait, Say: func(string, ...any) {}})
	return err
}

// movable makes an install with a closed case and one whose change is made and
// not yet proven, and stops it.
func movable(t *testing.T, dir, url string, k *killTarget) app.Config {
	t.Helper()
	cfg, err := killConfig(dir, url)
	if err != nil {
		t.Fatal(err)
	}
	s := startInstall(t, cfg)
	s.send(killAlert(1))
	s.await("a case is closed", func() bool { return s.of(1).Closed == remedy.ClosedProven })
	acted(s, k, 5)
	s.stop()
	return cfg
}

// acted sends an alert and returns when it has been acted on: the probe comes a
// second later.
func acted(s install, target *killTarget, asset int) {
	s.t.Helper()
	s.send(killAlert(asset))
	s.await("the target is told", func() bool { return target.raw(fmt.Sprint("bucket-", asset)) == 1 })
}

// TestMoveDies kills a move between any two steps. Whatever it leaves, at most
// one of both databases may act, none is half there, and a second run ends it.
func TestMoveDies(t *testing.T) {
	srv := pgtest.Start(t)
	target := newKillTarget()
	web := httptest.NewServer(target)
	defer web.Close()
	base := filepath.Join(t.TempDir(), "base")
	movable(t, base, web.URL, target)
	for _, x := range []struct {
		step         string
		lite, server bool // may act afterwards
	}{
		{"target locked", true, false},
		{"drained", true, false},
		{"copied the rest", true, false},
		{"verified", true, false},
		{"marked as moving", false, false},
		{"committed", false, true},
		{"marked as moved", false, true},
	} {
		t.Run(x.step, func(t *testing.T) {
			dir, url := filepath.Join(t.TempDir(), "data"), srv.Database(t)
			if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
				t.Fatal(err)
			}
			dies(t, dir, url, x.step)
			if lite, server := acts(t, dir, url); lite != x.lite || server != x.server {
				t.Errorf("may act: SQLite %v, PostgreSQL %v", lite, server)
			}
			if !x.server { // it can be taken back as long as PostgreSQL has nothing
				if _, err := app.Move(t.Context(), app.Config{DataDir: dir, Database: url}, app.MoveOptions{Cancel: true}); err != nil {
					t.Fatal(err)
				}
				if lite, server := acts(t, dir, url); !lite || server {
					t.Errorf("after cancelling may act: SQLite %v, PostgreSQL %v", lite, server)
				}
				dies(t, dir, url, x.step)
			}
			rep, err := app.Move(t.Context(), app.Config{DataDir: dir, Database: url}, app.MoveOptions{Say: t.Logf})
			if err != nil || !rep.Done || rep.Before != x.server {
				t.Fatalf("the second run: %+v %v", rep, err)
			}
			if lite, server := acts(t, dir, url); lite || !server {
				t.Errorf("at the end may act: SQLite %v, PostgreSQL %v", lite, server)
			}
			if _, err := app.Move(t.Context(), app.Config{DataDir: dir, Database: url}, app.MoveOptions{Cancel: true}); err != nil {
				t.Error(err)
			}
			if lite, server := acts(t, dir, url); lite || !server {
				t.Errorf("what is moved was taken back: SQLite %v, PostgreSQL %v", lite, server)
			}
		})
	}
}

// dies runs a move that kills itself at a step.
func dies(t *testing.T, dir, url, step string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "CASEMENT_MOVE_CHILD="+dir, "CASEMENT_MOVE_TO="+url, "CASEMENT_KILL_AT="+step)
	var out bytes.Buffer
	cmd.Stderr = &out
	err = cmd.Run()
	if how, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || how.Signal() != syscall.SIGKILL {
		t.Fatalf("it did not die at %q: %v\n%s", step, err, out.String())
	}
}

// acts says which of the two databases is an install that a server starts on.
func acts(t *testing.T, dir, url string) (lite, server bool) {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err == nil {
		lite, err = true, s.Close()
	} else if moved, ok := errors.AsType[*store.MovedError](err); ok {
		err = nil
		if !strings.Contains(moved.Error(), moved.Move.ID) {
			t.Error(moved)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.OpenPostgres(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	counts, err := p.Counts(t.Context(), finding.DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := p.VerifyLedger(t.Context())
	if err != nil || rep.Cases != 0 && rep.Cases != 2 {
		t.Errorf("the copy: %+v %v", rep, err)
	}
	return lite, len(counts) > 0
}

// TestMoveBeside: a server runs while the move begins, and goes on when the move
// dies, when its database goes away, and when the server does not end in time.
// Then it ends, and the install goes on in PostgreSQL: what was under way is
// finished there, once.
func TestMoveBeside(t *testing.T) {
	srv := pgtest.Start(t)
	target := newKillTarget()
	web := httptest.NewServer(target)
	defer web.Close()
	dir, url := filepath.Join(t.TempDir(), "data"), srv.Database(t)
	cfg := movable(t, dir, web.URL, target)
	first := startInstall(t, cfg)
	dies(t, dir, url, "copied beside")
	move := app.Config{DataDir: dir, Database: url}
	rep, err := app.Move(t.Context(), move, app.MoveOptions{Rehearse: true, Say: t.Logf})
	if err != nil || rep.Done || rep.Rows == 0 {
		t.Fatalf("rehearsed beside the server: %+v %v", rep, err)
	}
	if _, err := app.Move(t.Context(), move, app.MoveOptions{Wait: time.Millisecond, Say: t.Logf}); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("the server did not end: %v", err)
	}
	move.Failpoint = func(step string) {
		if step == "copied beside" {
			acted(first, target, 8) // it works on
			first.stop()
		}
		if step == "marked as moving" {
			ended := srv.Admin(fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", url[strings.LastIndex(url, "/")+1:strings.Index(url, "?")]))
			if ended != nil {
				t.Error(ended)
			}
		}
	}
	if _, err := app.Move(t.Context(), move, app.MoveOptions{Wait: moveWait, Say: t.Logf}); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Fatalf("the connection was cut before the commit: %v", err)
	}
	if _, err := app.New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "its end is not known") {
		t.Fatalf("a server started on a folder that may have moved: %v", err)
	}
	move.Failpoint = nil
	if rep, err = app.Move(t.Context(), move, app.MoveOptions{Say: t.Logf}); err != nil || !rep.Done || rep.Before || rep.Replayed != 3 || !rep.Ledger.OK {
		t.Fatalf("%+v %v", rep, err)
	}
	if _, err := app.Restore(t.Context(), dir, app.Config{DataDir: filepath.Join(t.TempDir(), "restored")}, false); err == nil || !strings.Contains(err.Error(), "--moved "+dir) {
		t.Fatalf("restored what had moved: %v", err)
	}
	cfg.Database = url
	second := startInstall(t, cfg)
	defer second.stop()
	for _, n := range []int{1, 5, 8} {
		second.await(fmt.Sprint("case ", n, " is proven"), func() bool { return second.of(n).Actions[0].After.Result == remedy.NotExposed })
		if k := target.raw(fmt.Sprint("bucket-", n)); k != 1 {
			t.Errorf("%d requests to change asset %d", k, n)
		}
	}
	ledger, err := second.VerifyLedger(t.Context())
	if err != nil || !ledger.OK {
		t.Errorf("ledger: %+v, %v", ledger, err)
	}
	back := cfg
	back.Database, back.DataDir = "", filepath.Join(t.TempDir(), "back")
	if _, err := app.Restore(t.Context(), dir, back, true); err != nil {
		t.Fatal(err)
	}
}
