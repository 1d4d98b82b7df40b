package dispatch_test

import (
	"context"
	"testing"
	"time"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/dispatch/dispatchtest"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/store"
)

// speed is how many times faster the clock of a real store's rig goes: its
// leases of 30 seconds last 3.
const speed = 10

// fastRig is a rig over a real database: its clock goes faster, and the
// runner's own waits are as much shorter.
func fastRig(t *testing.T, s backend) dispatchtest.Rig {
	began := time.Now()
	clock := func() time.Time { return began.Add(time.Since(began) * speed).UTC() }
	r := rigAt(t, s, clock, func(d time.Duration) { time.Sleep(d / speed) }) // real time has to pass
	r.Runner = func(d dispatch.Doer) dispatchtest.Runner { l := fastLocal(r, clock, d); l.Source = s; return &l }
	return r
}

func fastLocal(r dispatchtest.Rig, clock func() time.Time, d dispatch.Doer) dispatch.Local {
	return dispatch.Local{Doer: d, Clock: clock, Workers: r.Workers, Lease: r.Lease, Beat: r.Lease / 3 / speed, Poll: 20 * time.Millisecond, Grace: r.Grace / speed}
}

func closing(t *testing.T, s interface{ Close() error }) {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLocalOnSQLite(t *testing.T) {
	dispatchtest.Run(t, func(t *testing.T, test func(t *testing.T, r dispatchtest.Rig)) {
		t.Parallel()
		s, err := store.Open(context.Background(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		closing(t, s)
		test(t, fastRig(t, s))
	})
}

func TestRiverOnPostgres(t *testing.T) {
	srv := pgtest.Start(t)
	dispatchtest.Run(t, func(t *testing.T, test func(t *testing.T, r dispatchtest.Rig)) {
		t.Parallel()
		s, err := store.OpenPostgres(context.Background(), srv.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		closing(t, s)
		pool, err := s.Pool(context.Background(), 8)
		if err == nil {
			err = dispatch.MigrateRiver(context.Background(), pool)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		r := fastRig(t, s)
		r.Runner = func(d dispatch.Doer) dispatchtest.Runner {
			x := &dispatch.River{Store: s, Pool: pool}
			x.Doer, x.Clock, x.Workers, x.Lease = d, r.Now, r.Workers, r.Lease
			x.Beat, x.Poll, x.Grace = r.Lease/3/speed, 20*time.Millisecond, r.Grace/speed
			return x
		}
		test(t, r)
	})
}
