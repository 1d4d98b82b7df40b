package store_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// nodes opens an empty database three times at once: each brings the schema up
// to date, one after the other.
func nodes(t *testing.T) []*store.Postgres {
	t.Helper()
	srv, _ := emptyPG(t)
	url := srv.Database(t)
	out := make([]*store.Postgres, 3)
	errs := make([]error, len(out))
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i], errs[i] = store.OpenPostgres(context.Background(), url) })
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, s := range out {
			if s != nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return out
}

func commitOne(s *store.Postgres, u record.Unit) error {
	errs, err := s.Commit(context.Background(), []record.Unit{u}, nil)
	return errors.Join(append(errs, err)...)
}

// TestNodesDoNotDoubleSpend: of 60 intents on three nodes exactly the budget's
// number is stored, and an exhausted budget is the only refusal.
func TestNodesDoNotDoubleSpend(t *testing.T) {
	ns := nodes(t)
	const limit, each = 7, 20
	var mu sync.Mutex
	took := 0
	var wg sync.WaitGroup
	for i, s := range ns {
		for j := range each {
			wg.Go(func() {
				id := strconv.Itoa(i) + "-" + strconv.Itoa(j)
				u := storetest.NewCase("c"+id, "k"+id)
				for _, key := range []string{"day", "hour"} {
					u.Reserve = append(u.Reserve, record.Reservation{Key: key, N: 1, Limit: limit, From: storetest.Epoch(), At: storetest.Epoch()})
				}
				if j%2 == 0 { // whoever asks in another order must not wait for ever
					u.Reserve[0], u.Reserve[1] = u.Reserve[1], u.Reserve[0]
				}
				err := commitOne(s, u)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					took++
				} else if !errors.Is(err, record.ErrBudget) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if took != limit {
		t.Errorf("%d intents were stored, the budget is %d", took, limit)
	}
}

// TestNodesClaimApart: three nodes that claim at once never hold two effects of
// a case or on an object, and every epoch is drawn once.
func TestNodesClaimApart(t *testing.T) {
	ns := nodes(t)
	const cases = 12
	for i := range cases {
		u := storetest.NewCase("c"+strconv.Itoa(i), "k"+strconv.Itoa(i))
		object := []string{"", "bucket", "role"}[i%3]
		u.AddEffects = []record.EffectRow{storetest.Effect(u.Case.ID, "message/1", object), storetest.Effect(u.Case.ID, "message/2", "")}
		if err := commitOne(ns[i%3], u); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	held, epochs, n := map[string]bool{}, map[uint64]bool{}, 0
	var wg sync.WaitGroup
	for range 4 {
		for _, s := range ns {
			wg.Go(func() {
				ls, err := s.Claim(context.Background(), storetest.Epoch(), time.Minute, 2)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, l := range ls {
					if held["case "+l.Row.CaseID] || l.Row.Object != "" && held["object "+l.Row.Object] || epochs[l.Epoch] {
						t.Errorf("claimed twice: %+v", l)
					}
					held["case "+l.Row.CaseID], held["object "+l.Row.Object], epochs[l.Epoch] = true, true, true
					n++
				}
			})
		}
	}
	wg.Wait()
	if n < 6 || n > cases {
		t.Errorf("%d effects were claimed", n)
	}
}

// TestNodesOneOpenCase: of nodes that open a case for one key at once, one
// does; and steps of one case on all nodes all happen, one after the other.
func TestNodesOneOpenCase(t *testing.T) {
	ns := nodes(t)
	var wg sync.WaitGroup
	errs := make([]error, len(ns))
	for i, s := range ns {
		wg.Go(func() { errs[i] = commitOne(s, storetest.NewCase("c"+strconv.Itoa(i), "one key")) })
	}
	wg.Wait()
	id, opened := "", 0
	for i, err := range errs {
		if err == nil {
			id, opened = "c"+strconv.Itoa(i), opened+1
		} else if !errors.Is(err, record.ErrConflict) {
			t.Error(err)
		}
	}
	if opened != 1 {
		t.Fatalf("%d cases were opened for one key", opened)
	}
	const steps = 8
	for _, s := range ns {
		wg.Go(func() {
			for done := 0; done < steps; {
				c, err := s.Load(context.Background(), id)
				if err == nil {
					err = commitOne(s, storetest.Step(c, remedy.Acked{}, storetest.Epoch()))
				}
				if err == nil {
					done++
				} else if !errors.Is(err, record.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	c, err := ns[0].Load(context.Background(), id)
	if want := storetest.NewCase("x", "k").Case.Version + uint64(len(ns)*steps); err != nil || c.Version != want {
		t.Errorf("version %d, %v; want %d", c.Version, err, want)
	}
}

// TestNodesGrowOneTree: sequencers on all nodes beside writers make one tree
// that verifies.
func TestNodesGrowOneTree(t *testing.T) {
	ns := nodes(t)
	var wg sync.WaitGroup
	for i, s := range ns {
		wg.Go(func() {
			for j := range 10 {
				id := strconv.Itoa(i) + "-" + strconv.Itoa(j)
				if err := commitOne(s, storetest.NewCase("c"+id, "k"+id)); err != nil {
					t.Error(err)
				}
				if _, _, err := s.Sequence(context.Background(), 5); err != nil && !errors.Is(err, record.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	size, root, err := ns[1].Sequence(t.Context(), 1000)
	if err != nil || size != 90 {
		t.Fatalf("size %d, %v; want 90", size, err)
	}
	rep, err := ns[2].VerifyLedger(t.Context(), ledger.Checkpoint{Origin: "test", Size: size, Root: root, At: storetest.Epoch()})
	if err != nil || rep.Sequenced != 90 || rep.Cases != 30 || rep.Root != root {
		t.Errorf("report %+v, %v", rep, err)
	}
	if n, err := ns[0].VerifyReplay(t.Context()); err != nil || n != 30 {
		t.Errorf("replayed %d, %v", n, err)
	}
}

// TestSwitchReachesAllNodes: what one node paused, no other stores an intent
// for; an intent under way and the switch never cross.
func TestSwitchReachesAllNodes(t *testing.T) {
	ns := nodes(t)
	p := store.Pause{Scope: "all", By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, At: storetest.Epoch()}
	if err := ns[0].SetPause(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for i, s := range ns {
		u := storetest.NewCase("c"+strconv.Itoa(i), "k"+strconv.Itoa(i))
		u.PauseScopes = []string{"all"}
		if err := commitOne(s, u); !errors.Is(err, record.ErrPaused) {
			t.Errorf("node %d: %v, want ErrPaused", i, err)
		}
	}
}
