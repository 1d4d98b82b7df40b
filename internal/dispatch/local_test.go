package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/dispatch/dispatchtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

func now() time.Time { return time.Now().UTC() }

// backend is a store as the rig needs it.
type backend interface {
	dispatch.Source
	Commit(ctx context.Context, units []record.Unit, seen []record.Sighting) ([]error, error)
	Load(ctx context.Context, id string) (remedy.Case, error)
	EffectsOf(ctx context.Context, caseID string, n int) ([]store.EffectStatus, error)
	Postpone(ctx context.Context, l record.Lease, at time.Time, reason string) error
}

// rig is a Local over a store, the model in a bubble.
func rig(t *testing.T, m backend) dispatchtest.Rig {
	return rigAt(t, m, now, time.Sleep) // of the bubble
}

func rigAt(t *testing.T, m backend, now func() time.Time, pass func(time.Duration)) dispatchtest.Rig {
	commit := func(u record.Unit) error {
		errs, err := m.Commit(context.Background(), []record.Unit{u}, nil)
		return errors.Join(err, errs[0])
	}
	step := func(id string, change func(*record.Unit)) error {
		for {
			c, err := m.Load(context.Background(), id)
			if err != nil {
				return err
			}
			u := storetest.Step(c, remedy.Acked{}, now())
			change(&u)
			if err = commit(u); !errors.Is(err, record.ErrConflict) {
				return err
			}
		}
	}
	r := dispatchtest.Rig{Source: m, Now: now, Workers: 4, Lease: 30 * time.Second, Grace: 20 * time.Second}
	r.Runner = func(d dispatch.Doer) dispatchtest.Runner {
		return &dispatch.Local{Source: m, Doer: d, Clock: now, Workers: r.Workers, Lease: r.Lease, Grace: r.Grace}
	}
	r.Add = func(id, object string, n int) {
		u := storetest.NewCase(id, "key of "+id)
		u.AddEffects = nil
		for i := range n {
			u.AddEffects = append(u.AddEffects, storetest.Effect(id, "message/"+strconv.Itoa(i), object))
		}
		if err := commit(u); err != nil {
			t.Error(err)
		}
	}
	r.Finish = func(l record.Lease) error { return step(l.Row.CaseID, func(u *record.Unit) { u.Done = &l }) }
	r.Drop = func(id string) {
		list, err := m.EffectsOf(context.Background(), id, 100)
		if err == nil {
			err = step(id, func(u *record.Unit) {
				for _, e := range list {
					u.DropEffects = append(u.DropEffects, e.ID)
				}
			})
		}
		if err != nil {
			t.Error(err)
		}
	}
	r.Mute = func(d dispatch.Doer) dispatchtest.Runner {
		return &dispatch.Local{Source: mute{m}, Doer: d, Clock: now, Workers: r.Workers, Lease: r.Lease, Grace: r.Grace}
	}
	r.Postpone = func(l record.Lease, at time.Time) error { return m.Postpone(context.Background(), l, at, "held") }
	r.Pass, r.Leap = pass, pass
	return r
}

func TestLocalConformance(t *testing.T) {
	dispatchtest.Run(t, func(t *testing.T, test func(t *testing.T, r dispatchtest.Rig)) {
		synctest.Test(t, func(t *testing.T) { test(t, rig(t, store.NewModel())) })
	})
}

// doFunc is a Doer.
type doFunc func(ctx context.Context, l record.Lease, now time.Time) error

func (f doFunc) Do(ctx context.Context, l record.Lease, now time.Time) error { return f(ctx, l, now) }

// TestWakeIsAHint: a hint starts an effect at once, and without one polling
// finds it.
func TestWakeIsAHint(t *testing.T) {
	for _, woken := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := rig(t, store.NewModel())
			var took time.Duration
			var added time.Time
			d := &dispatch.Local{Source: r.Source, Clock: now, Poll: time.Hour, Doer: doFunc(func(_ context.Context, l record.Lease, at time.Time) error {
				took = at.Sub(added)
				return r.Finish(l)
			})}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = d.Run(ctx) })
			time.Sleep(time.Minute)
			added = now()
			r.Add("case", "", 1)
			if woken {
				for range 3 { // never blocks
					d.Wake()
				}
			}
			time.Sleep(2 * time.Hour)
			cancel()
			wg.Wait()
			if want := map[bool]time.Duration{true: 0, false: 59 * time.Minute}[woken]; took != want {
				t.Errorf("woken %v: started after %v, want %v", woken, took, want)
			}
		})
	}
}

// TestNextStartsWhenAWorkerIsFree: neither a hint nor the clock is needed.
func TestNextStartsWhenAWorkerIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig(t, store.NewModel())
		r.Add("case", "", 3)
		began, done := now(), 0
		d := &dispatch.Local{Source: r.Source, Clock: now, Poll: time.Hour, Workers: 1, Doer: doFunc(func(_ context.Context, l record.Lease, at time.Time) error {
			if at.Sub(began) != time.Duration(done)*time.Second {
				t.Errorf("effect %d started after %v", done, at.Sub(began))
			}
			done++
			time.Sleep(time.Second)
			return r.Finish(l)
		})}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx) })
		time.Sleep(time.Minute)
		cancel()
		wg.Wait()
		if done != 3 {
			t.Errorf("%d done, want 3", done)
		}
	})
}

// faulty is a Source whose store is down until a time.
type faulty struct {
	dispatch.Source
	until time.Time
	calls atomic.Int32
}

func (f *faulty) Claim(ctx context.Context, at time.Time, lease time.Duration, n int) ([]record.Lease, error) {
	if f.calls.Add(1); at.Before(f.until) {
		return nil, errors.New("the store is down")
	}
	return f.Source.Claim(ctx, at, lease, n)
}

func TestStoreThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig(t, store.NewModel())
		r.Add("case", "", 1)
		f := &faulty{Source: r.Source, until: now().Add(time.Minute)}
		done := 0
		d := &dispatch.Local{Source: f, Clock: now, Doer: doFunc(func(_ context.Context, l record.Lease, _ time.Time) error {
			done++
			return r.Finish(l)
		})}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx) })
		time.Sleep(time.Minute)
		if n := f.calls.Load(); n > 20 {
			t.Errorf("a store that is down was asked %d times in a minute", n)
		}
		time.Sleep(15 * time.Second)
		cancel()
		wg.Wait()
		if done != 1 {
			t.Errorf("done %d times after the store came back", done)
		}
	})
}

// mute is a Source whose leases cannot be prolonged.
type mute struct{ dispatch.Source }

func (mute) Extend(context.Context, record.Lease, time.Time) error {
	return errors.New("the store is down")
}

// TestLeaseThatRunsOutEndsTheWork: work does not outlive its lease, even if
// nobody can say that it was lost.
func TestLeaseThatRunsOutEndsTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig(t, store.NewModel())
		r.Add("case", "", 1)
		began := now()
		var ended time.Time
		d := &dispatch.Local{Source: mute{r.Source}, Clock: now, Doer: doFunc(func(ctx context.Context, l record.Lease, _ time.Time) error {
			if l.Attempt == 1 {
				<-ctx.Done()
				ended = now()
			}
			return r.Finish(l)
		})}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx) })
		time.Sleep(2 * time.Minute)
		cancel()
		wg.Wait()
		if took := ended.Sub(began); took != dispatch.DefaultLease {
			t.Errorf("the work ended after %v, want %v", took, dispatch.DefaultLease)
		}
	})
}

func TestStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rig(t, store.NewModel())
		r.Add("a", "", 2)
		r.Add("b", "", 1)
		var order []string
		d := &dispatch.Local{Source: r.Source, Doer: doFunc(func(_ context.Context, l record.Lease, _ time.Time) error {
			order = append(order, l.Row.ID)
			if l.Row.CaseID == "b" && l.Attempt == 1 {
				return errors.New("503")
			}
			return r.Finish(l)
		})}
		at := now()
		for i, want := range []int{2, 1, 0} {
			if n, err := d.Step(t.Context(), at); n != want || err != nil {
				t.Errorf("step %d did %d, %v; want %d", i, n, err, want)
			}
		}
		if n, err := d.Step(t.Context(), at.Add(record.Backoff("b/message/0", 1))); n != 1 || err != nil {
			t.Errorf("after the back-off: %d, %v", n, err)
		}
		if want := []string{"a/message/0", "b/message/0", "a/message/1", "b/message/0"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		id := rapid.String().Draw(r, "id")
		n := rapid.IntRange(-3, 100).Draw(r, "attempt")
		a, b := record.Backoff(id, n), record.Backoff(id, n+1)
		if a < time.Second || b < a || b > 5*time.Minute*5/4 || a != record.Backoff(id, n) {
			r.Fatalf("attempt %d waits %v, the next %v", n, a, b)
		}
		if n >= 1 && n < 8 && b <= a {
			r.Fatalf("attempt %d waits %v, the next %v: no growth", n, a, b)
		}
	})
}
