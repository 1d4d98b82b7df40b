package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

func open(t testing.TB, folder string) *store.SQLite {
	t.Helper()
	s, err := store.Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLiteConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend { return open(t, t.TempDir()) })
}

func TestModelConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Backend { return store.NewModel() })
}

func TestBothAgree(t *testing.T) {
	// Opening a copy of an empty store is cheaper than creating one.
	empty := t.TempDir()
	if err := open(t, empty).Close(); err != nil {
		t.Fatal(err)
	}
	folder, n := t.TempDir(), 0
	storetest.Agree(t, func() (storetest.Backend, func()) {
		n++
		sub := filepath.Join(folder, strconv.Itoa(n))
		if err := os.CopyFS(sub, os.DirFS(empty)); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(context.Background(), sub)
		if err != nil {
			t.Fatal(err)
		}
		return s, func() {
			if err := errors.Join(s.Close(), os.RemoveAll(sub)); err != nil {
				t.Error(err)
			}
		}
	}, func() (storetest.Backend, func()) { return store.NewModel(), func() {} })
}

func TestFolderIsPrivateAndLocked(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	s := open(t, folder)
	if _, err := s.Commit(t.Context(), []record.Unit{storetest.NewCase("c1", "k1")}, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", e.Name(), info.Mode().Perm())
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: mode %v, error %v; want 0700", info.Mode().Perm(), err)
	}
	_, err = store.Open(t.Context(), folder)
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second open: %v; want ErrLocked that names this process", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, folder)
	if _, err := again.Load(t.Context(), "c1"); err != nil {
		t.Errorf("after closing and opening again: %v", err)
	}
}

// openUnit opens one case: three events, a finding, a key and an effect.
func openUnit(caller, n int) record.Unit {
	id := strconv.Itoa(caller) + "-" + strconv.Itoa(n)
	return storetest.NewCase("case-"+id, "key-"+id)
}

// stepUnits step one case per caller: two events, the case, a new wake-up, one
// effect done and one added.
func stepUnits(callers int) func(caller, n int) record.Unit {
	cases := make([]record.Unit, callers)
	return func(caller, n int) record.Unit {
		if n == 0 {
			cases[caller] = storetest.NewCase("case-"+strconv.Itoa(caller), "key-"+strconv.Itoa(caller))
			return cases[caller]
		}
		last := cases[caller]
		u := storetest.Step(last.Case, remedy.Acked{}, storetest.Epoch().Add(time.Duration(n)*time.Millisecond))
		second := storetest.Step(u.Case, remedy.AssignedTo{To: "team-a"}, u.Case.At)
		second.Before, second.Events = u.Before, append(u.Events, second.Events...)
		second.DropEffects = []string{last.AddEffects[0].ID}
		second.AddEffects = []record.EffectRow{storetest.Effect(last.Case.ID, "message/"+strconv.Itoa(n), "")}
		cases[caller] = second
		return second
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(strconv.Itoa(callers)+"callers", func(b *testing.B) { benchCommit(b, open(b, b.TempDir()), callers, openUnit) })
	}
}

func BenchmarkStep(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(strconv.Itoa(callers)+"callers", func(b *testing.B) {
			benchCommit(b, open(b, b.TempDir()), callers, stepUnits(callers))
		})
	}
}

// benched is a store that is measured.
type benched interface {
	storetest.Backend
	Checkpoint(ctx context.Context) error
	Stats(ctx context.Context) (store.Stats, error)
}

// benchCommit commits b.N units from several callers beside a checkpointer.
func benchCommit(b *testing.B, s benched, callers int, unit func(caller, n int) record.Unit) {
	ctx, stop := context.WithCancel(context.Background())
	var checkpoints, wg sync.WaitGroup
	checkpoints.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-tick.C:
				if err := s.Checkpoint(context.Background()); err != nil {
					b.Error(err)
				}
			case <-ctx.Done():
			}
		}
	})
	var next atomic.Int64
	b.ResetTimer()
	for caller := range callers {
		wg.Go(func() {
			for n := 0; next.Add(1) <= int64(b.N); n++ {
				errs, err := s.Commit(context.Background(), []record.Unit{unit(caller, n)}, nil)
				if err = errors.Join(err, errs[0]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	stop()
	checkpoints.Wait()
	st, err := s.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
	b.ReportMetric(float64(st.Parts)/float64(st.Commits), "units/commit")
	b.ReportMetric(float64(st.SyncP50)/float64(time.Microsecond), "sync-p50-µs")
	b.ReportMetric(float64(st.SyncP99)/float64(time.Microsecond), "sync-p99-µs")
}
