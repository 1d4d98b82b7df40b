package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// twinOf marks the case that shares the fate of another.
const twinOf = "-twin"

// crashFolder names the data folder of the child process that is killed.
const crashFolder = "CASEMENT_TEST_CRASH_FOLDER"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if folder := os.Getenv(crashFolder); folder != "" {
		fmt.Fprintln(os.Stderr, crashWriter(folder))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// crashWriter commits from many goroutines for ever and says on standard
// output what was acknowledged: "case version" per line.
func crashWriter(folder string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, folder)
	if err != nil {
		return err
	}
	var say sync.Mutex // one write per line, unbuffered: what was said was said
	acknowledged := func(format string, a ...any) {
		say.Lock()
		defer say.Unlock()
		fmt.Printf(format+"\n", a...)
	}
	fail := make(chan error)
	for i := range 8 {
		go func() { fail <- crashCaller(ctx, s, i, acknowledged) }()
	}
	go func() {
		for {
			if err := s.Checkpoint(ctx); err != nil {
				fail <- err
			}
			if _, _, err := s.Sequence(ctx, 100); err != nil {
				fail <- err
			}
		}
	}()
	return <-fail
}

// crashCaller opens cases in pairs that share their fate, and steps them.
func crashCaller(ctx context.Context, s *store.SQLite, caller int, acknowledged func(string, ...any)) error {
	run := strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(caller)
	for n := 0; ; n++ {
		id := run + "-" + strconv.Itoa(n)
		u, twin := storetest.NewCase(id, "key-"+id), storetest.NewCase(id+twinOf, "key-"+id+twinOf)
		for step := range 4 {
			u.Together, twin.Together = id, id
			errs, err := s.Commit(ctx, []record.Unit{u, twin}, nil)
			if err = errors.Join(err, errs[0], errs[1]); err != nil {
				return err
			}
			acknowledged("%s %d", id, u.Case.Version)
			at := storetest.Epoch().Add(time.Duration(step) * time.Second)
			u, twin = storetest.Step(u.Case, remedy.Acked{}, at), storetest.Step(twin.Case, remedy.Acked{}, at)
		}
	}
}

// TestKillInMidCommit kills a writer under load again and again: what it
// acknowledged is there, of two that share their fate both or none, every
// history replays to its case, the ledger verifies, and the folder is free at
// once.
func TestKillInMidCommit(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	folder := t.TempDir()
	acknowledged := map[string]uint64{}
	for round := range 4 {
		killWriter(t, folder, 100+50*round, acknowledged)
		s, err := store.Open(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		for id, version := range acknowledged {
			c, err := s.Load(t.Context(), id)
			if err != nil || c.Version < version {
				t.Fatalf("round %d: case %s was acknowledged at version %d, the store has %d, %v", round, id, version, c.Version, err)
			}
		}
		rep, err := s.VerifyLedger(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if rep.Cases < len(acknowledged) {
			t.Fatalf("%d cases, %d were acknowledged", rep.Cases, len(acknowledged))
		}
		replayAll(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter starts a writer and kills it after it acknowledged n commits.
func killWriter(t *testing.T, folder string, n int, acknowledged map[string]uint64) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashFolder+"="+folder)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); seen++ {
		id, version, ok := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseUint(version, 10, 64)
		if !ok || err != nil {
			break // the line that the kill cut off
		}
		acknowledged[id] = max(acknowledged[id], v)
		if seen == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if stderr.Len() > 0 {
		t.Fatalf("the writer failed: %s", stderr.String())
	}
}

// replayAll applies every history and compares it with the stored case.
func replayAll(t *testing.T, s *store.SQLite) {
	t.Helper()
	events, _, err := s.EventsSince(t.Context(), 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]remedy.Case{}
	for _, e := range events {
		id := strings.TrimPrefix(e.Stream, store.CaseStream(""))
		cases[id] = remedy.Apply(cases[id], remedy.Event{At: e.At, By: e.By, Body: e.Decoded})
	}
	for id, want := range cases {
		got, err := s.Load(t.Context(), id)
		if err != nil || got.Version != want.Version || got.Bottleneck != want.Bottleneck {
			t.Fatalf("case %s: stored version %d, its history gives %d, %v", id, got.Version, want.Version, err)
		}
		if twin := cases[id+twinOf]; !strings.HasSuffix(id, twinOf) && twin.Version != want.Version {
			t.Fatalf("case %s is at version %d, its twin at %d", id, want.Version, twin.Version)
		}
	}
}
