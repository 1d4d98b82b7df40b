package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// passenger takes the leases of a store's commits.
type passenger struct {
	mu     sync.Mutex
	room   int
	leases []record.Lease
	ending []int
}

func (p *passenger) on(s *store.Postgres) {
	s.Ride(func(ending int) (time.Time, time.Time, int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ending = append(p.ending, ending)
		return storetest.Epoch(), storetest.Epoch().Add(time.Minute), p.room
	}, func(l []record.Lease) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leases = append(p.leases, l...)
	})
}

// take returns the effects leased since the last call, sorted.
func (p *passenger) take() (ids []string, leases []record.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.leases {
		ids = append(ids, l.Row.ID)
	}
	slices.Sort(ids)
	leases, p.leases = p.leases, nil
	return ids, leases
}

func openRide(t *testing.T, url string) *store.Postgres {
	t.Helper()
	s, err := store.OpenPostgres(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestRideOnPostgres: what a commit calls for is leased in it, once, one of a case
// and of an object, no more than wanted, and only if it is stored.
func TestRideOnPostgres(t *testing.T) {
	ctx := t.Context()
	s := openRide(t, pgtest.Start(t).Database(t))
	p := &passenger{room: 9}
	p.on(s)
	open := func(id string, effects ...record.EffectRow) error {
		u := storetest.NewCase(id, "key of "+id)
		u.AddEffects = effects
		return commitOne(s, u)
	}
	step := func(l record.Lease, add ...record.EffectRow) record.Unit {
		c, err := s.Load(ctx, l.Row.CaseID)
		if err != nil {
			t.Fatal(err)
		}
		u := storetest.Step(c, remedy.Acked{}, storetest.Epoch())
		u.Done, u.AddEffects = &l, add
		return u
	}
	now := storetest.Epoch()
	later := storetest.Effect("cas_l", "message/1", "")
	later.NotBefore = now.Add(time.Hour)
	if err := open("cas_l", later); err != nil {
		t.Fatal(err)
	}
	if ids, _ := p.take(); len(ids) != 0 {
		t.Fatalf("leased what is not due: %v", ids)
	}
	if err := open("cas_a", storetest.Effect("cas_a", "message/2", ""), storetest.Effect("cas_a", "message/1", "")); err != nil {
		t.Fatal(err)
	}
	ids, got := p.take()
	if !slices.Equal(ids, []string{"cas_a/message/1"}) {
		t.Fatalf("leased %v", ids)
	}
	first := got[0]
	if first.Attempt != 1 || !first.Until.Equal(now.Add(time.Minute)) || first.Epoch == 0 || first.Case == nil || first.Case.ID != "cas_a" || first.Case.Version == 0 {
		t.Errorf("%+v", first)
	}
	if again, err := s.Claim(ctx, now, time.Minute, 10); err != nil || len(again) != 0 {
		t.Errorf("claimed beside it: %+v %v", again, err)
	}
	// The outcome takes the next of the case; the one after goes to a claim while nobody is free.
	if err := commitOne(s, step(first, storetest.Effect("cas_a", "message/3", ""))); err != nil {
		t.Fatal(err)
	}
	if ids, got = p.take(); !slices.Equal(ids, []string{"cas_a/message/2"}) || got[0].Epoch <= first.Epoch || got[0].Case.Version <= first.Case.Version {
		t.Fatalf("leased %v %+v", ids, got)
	}
	if n := p.ending[len(p.ending)-1]; n != 1 {
		t.Errorf("told of %d effects that end, want 1", n)
	}
	p.room = 0
	if err := commitOne(s, step(got[0])); err != nil {
		t.Fatal(err)
	}
	if ids, _ := p.take(); len(ids) != 0 {
		t.Fatalf("leased %v though nobody is free", ids)
	}
	if again, err := s.Claim(ctx, now, time.Minute, 10); err != nil || len(again) != 1 || again[0].Row.ID != "cas_a/message/3" || again[0].Epoch <= got[0].Epoch {
		t.Errorf("claimed %+v %v", again, err)
	}
	// A lease that ran out is no free place: what became of it is for a claim to see.
	p.room = 9
	if err := open("cas_b", storetest.Effect("cas_b", "message/1", ""), storetest.Effect("cas_b", "message/2", "")); err != nil {
		t.Fatal(err)
	}
	_, got = p.take()
	c := *got[0].Case
	if err := commitOne(s, storetest.Step(c, remedy.Acked{}, now.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if ids, _ := p.take(); len(ids) != 0 {
		t.Errorf("leased %v beside a lease that ran out", ids)
	}
	// What is not stored is not leased.
	var units []record.Unit
	for i := range 3 {
		u := storetest.NewCase(fmt.Sprint("cas_d", i), "one key")
		u.AddEffects = []record.EffectRow{storetest.Effect(u.Case.ID, "message/1", "")}
		units = append(units, u)
	}
	if errs, err := s.Commit(ctx, units, nil); err != nil || errs[0] != nil || !errors.Is(errs[1], record.ErrConflict) {
		t.Fatal(err, errs)
	}
	for _, l := range p.leases {
		if l.Row.CaseID != "cas_d0" {
			t.Errorf("leased %s of a case that is not there", l.Row.ID)
		}
	}
	p.take()
	s.Ride(nil, nil)
	if err := open("cas_e", storetest.Effect("cas_e", "message/1", "")); err != nil || len(p.leases) != 0 {
		t.Errorf("%v; leased %+v after the end", err, p.leases)
	}
}

// TestRidesOfNodesAtOnce: nodes that commit for the same object, and claims of
// two others, never lease two effects of one case or object at once, and each lease has
// an epoch of its own.
func TestRidesOfNodesAtOnce(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	var mu sync.Mutex
	flying, epochs := map[string]string{}, map[uint64]string{}
	clash := func(l record.Lease) {
		mu.Lock()
		defer mu.Unlock()
		for _, k := range []string{"case " + l.Row.CaseID, "object " + l.Row.Object} {
			if k != "object " && flying[k] != "" {
				t.Errorf("%s of %s while %s is under way", l.Row.ID, k, flying[k])
			}
			flying[k] = l.Row.ID
		}
		if epochs[l.Epoch] != "" {
			t.Errorf("epoch %d of %s and %s", l.Epoch, epochs[l.Epoch], l.Row.ID)
		}
		epochs[l.Epoch] = l.Row.ID
	}
	land := func(l record.Lease) {
		mu.Lock()
		defer mu.Unlock()
		delete(flying, "case "+l.Row.CaseID)
		delete(flying, "object "+l.Row.Object)
	}
	finish := func(s *store.Postgres, l record.Lease) error {
		c, err := s.Load(context.Background(), l.Row.CaseID)
		if err != nil {
			return err
		}
		u := storetest.Step(c, remedy.Acked{}, storetest.Epoch())
		u.Done = &l
		land(l)
		return commitOne(s, u)
	}
	var wg sync.WaitGroup
	for node := range 3 {
		s := openRide(t, url)
		var todo []record.Lease // only this node's goroutine commits
		s.Ride(func(int) (time.Time, time.Time, int) {
			return storetest.Epoch(), storetest.Epoch().Add(time.Minute), 8
		}, func(list []record.Lease) {
			for _, l := range list {
				clash(l)
			}
			todo = append(todo, list...)
		})
		wg.Go(func() {
			for i := range 12 {
				id := fmt.Sprintf("cas_%d_%d", node, i)
				u := storetest.NewCase(id, "key of "+id)
				u.AddEffects = []record.EffectRow{storetest.Effect(id, "plan/1", "")}
				if err := commitOne(s, u); err != nil {
					t.Error(err)
				}
				c, err := s.Load(context.Background(), id)
				if err != nil {
					t.Error(err)
				}
				for _, l := range todo {
					if l.Row.ID == id+"/plan/1" { // its outcome calls for a change of the shared object
						next := storetest.Step(c, remedy.Acked{}, storetest.Epoch())
						next.Done, next.AddEffects = &l, []record.EffectRow{storetest.Effect(id, "act/1", "role")}
						land(l)
						todo = slices.DeleteFunc(todo, func(o record.Lease) bool { return o.Row.ID == l.Row.ID })
						if err := commitOne(s, next); err != nil {
							t.Error(err)
						}
						break
					}
				}
				for len(todo) > 0 {
					l := todo[0]
					todo = todo[1:]
					if err := finish(s, l); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var claimers sync.WaitGroup
	for range 2 {
		s := openRide(t, url)
		claimers.Go(func() {
			for running := true; ; {
				select {
				case <-done:
					running = false // and once more for what is left
				default:
				}
				list, err := s.Claim(context.Background(), storetest.Epoch(), time.Minute, 4)
				if err != nil {
					t.Error(err)
					return
				}
				for _, l := range list {
					clash(l)
				}
				for _, l := range list {
					if err := finish(s, l); err != nil {
						t.Error(err)
					}
				}
				if !running && len(list) == 0 {
					return
				}
			}
		})
	}
	claimers.Wait()
	if len(epochs) != 72 {
		t.Errorf("%d effects were done, want 72", len(epochs))
	}
}

// TestEpochsOfOldNodes: a node of the release before, which draws from the row of
// the counter, gets epochs that follow each other and those of the others.
func TestEpochsOfOldNodes(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	s := openRide(t, url)
	if err := commitOne(s, storetest.NewCase("cas_a", "a")); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	draw := func(count int) (n int64) {
		err := c.QueryRow(t.Context(), "INSERT INTO counter (tenant, name, n) VALUES ('', 'effect-epoch', $1) ON CONFLICT (tenant, name) DO UPDATE SET n = counter.n + excluded.n RETURNING n", count).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	next := func() (n int64) {
		if err := c.QueryRow(t.Context(), "SELECT nextval('effect_epoch')").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	draw(1)
	last := next()
	for _, count := range []int{1, 5, 2} {
		if n := draw(count); n < last+int64(count) {
			t.Errorf("drew %d numbers up to %d after %d", count, n, last)
		}
		last = next()
	}
}

// TestClaimsAtOnce: of claims for two effects of one case, or on one object, that
// nodes make at the same time, one succeeds.
func TestClaimsAtOnce(t *testing.T) {
	url := pgtest.Start(t).Database(t)
	nodes := []*store.Postgres{openRide(t, url), openRide(t, url)}
	now := storetest.Epoch()
	for i := range 40 {
		id := fmt.Sprint("cas_", i)
		effects := []record.EffectRow{storetest.Effect(id, "act/1", "role"), storetest.Effect(id, "act/2", "bucket")} // of one case
		if i%2 == 1 {                                                                                                 // on one object
			other := storetest.NewCase("cas_b"+fmt.Sprint(i), "key of b"+fmt.Sprint(i))
			effects = []record.EffectRow{storetest.Effect(id, "act/1", "role"), storetest.Effect(other.Case.ID, "act/2", "role")}
			other.AddEffects = effects[1:]
			if err := commitOne(nodes[0], other); err != nil {
				t.Fatal(err)
			}
		}
		u := storetest.NewCase(id, "key of "+id)
		u.AddEffects = effects[:2-i%2]
		if err := commitOne(nodes[0], u); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var got []record.Lease
		var wg sync.WaitGroup
		for n, s := range nodes {
			wg.Go(func() {
				list, err := s.ClaimThese(context.Background(), now, time.Minute, []string{effects[n].ID})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, list...)
			})
		}
		wg.Wait()
		if len(got) != 1 {
			t.Fatalf("round %d: %d leases, want one: %+v", i, len(got), got)
		}
		if err := nodes[0].Release(t.Context(), got[0], now.Add(time.Hour), "later"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHoldIsAloneOnItsCase: whether a lease still holds is not looked at while
// somebody else has the case or the object, who may lease there.
func TestHoldIsAloneOnItsCase(t *testing.T) {
	ctx := t.Context()
	url := pgtest.Start(t).Database(t)
	s := openRide(t, url)
	u := storetest.NewCase("cas_a", "a")
	u.AddEffects = []record.EffectRow{storetest.Effect("cas_a", "act/1", "role")}
	if err := commitOne(s, u); err != nil {
		t.Fatal(err)
	}
	list, err := s.Claim(ctx, storetest.Epoch(), time.Minute, 1)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	other, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	for _, lock := range []string{"SELECT 1 FROM case_state WHERE id = 'cas_a' FOR UPDATE", "SELECT pg_advisory_xact_lock(x'63617365'::int, hashtext('object/role'))"} {
		tx, err := other.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(ctx, lock); err != nil {
			t.Fatal(err)
		}
		held := make(chan error, 1)
		go func() { held <- s.Extend(ctx, list[0], storetest.Epoch().Add(time.Hour)) }()
		for waits := false; !waits; {
			select {
			case err := <-held:
				t.Fatalf("%s: the lease was looked at meanwhile: %v", lock, err)
			default:
			}
			if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-held; err != nil {
			t.Error(err)
		}
	}
}

// TestClaimsKeepTheOrder: what claims and holds on to leases locks in the order of
// all commits, so that they never wait for each other in a circle.
func TestClaimsKeepTheOrder(t *testing.T) {
	ctx := t.Context()
	url := pgtest.Start(t).Database(t)
	s := openRide(t, url)
	var units []record.Unit
	for _, id := range []string{"cas_a", "cas_b"} {
		u := storetest.NewCase(id, "key of "+id)
		u.AddEffects = []record.EffectRow{storetest.Effect(id, "act/1", "")}
		units = append(units, u)
	}
	if errs, err := s.Commit(ctx, units, nil); err != nil || errors.Join(errs...) != nil {
		t.Fatal(err, errs)
	}
	other, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	// beside runs f while another transaction has the first lock, and gets the second
	// once f waits.
	beside := func(first, second string, f func() error) {
		t.Helper()
		tx, err := other.Begin(ctx)
		if err == nil {
			_, err = tx.Exec(ctx, first)
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- f() }()
		for waits := false; !waits; {
			select {
			case err := <-done:
				t.Fatalf("it waited for nobody: %v", err)
			default:
			}
			if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := tx.Exec(ctx, second+" NOWAIT"); err != nil {
			t.Errorf("beside %s: %v", first, err)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	var leases []record.Lease
	beside("SELECT pg_advisory_xact_lock(x'63617365'::int, hashtext('groups'))", "SELECT 1 FROM case_state WHERE id = 'cas_a' FOR UPDATE", func() (err error) {
		leases, err = s.Claim(ctx, storetest.Epoch(), time.Minute, 2)
		return err
	})
	if len(leases) != 2 {
		t.Fatalf("%d leases, want 2", len(leases))
	}
	beside("SELECT 1 FROM effect WHERE id = 'cas_a/act/1' FOR UPDATE", "SELECT 1 FROM case_state WHERE id = 'cas_a' FOR UPDATE", func() error {
		return s.Extend(ctx, leases[0], storetest.Epoch().Add(time.Hour))
	})
}
