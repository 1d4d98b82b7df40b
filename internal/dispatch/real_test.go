package dispatch_test

import (
	"context"
	"flag"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/dispatch/dispatchtest"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// speed is how many times faster the clock of a real store's rig goes: its
// leases of 30 seconds last 3.
const speed = 10

// TestMain runs tests side by side: those on PostgreSQL wait for real time, and
// need little else.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	m.Run()
}

// fastRig is a rig over a real server: its clock goes faster. Runners are the
// caller's, their own waits as much shorter.
func fastRig(t *testing.T, s backend) dispatchtest.Rig {
	began := time.Now()
	var leapt atomic.Int64
	clock := func() time.Time {
		return began.Add(time.Since(began)*speed + time.Duration(leapt.Load())).UTC()
	}
	r := rigAt(t, s, clock, func(d time.Duration) { time.Sleep(d / speed) }) // real time has to pass
	r.Slack = time.Minute
	r.Leap = func(d time.Duration) {
		for end := clock().Add(d); ; {
			next := busyUntil(t, s, clock)
			if next.IsZero() || next.After(end) {
				next = end
			}
			leapt.Add(int64(max(0, next.Sub(clock()))))
			if next.Equal(end) {
				time.Sleep(3 * time.Second / speed) // what is due now
				return
			}
		}
	}
	return r
}

// busyUntil waits while effects are due or under way, and returns when the next
// one will be, zero for never.
func busyUntil(t *testing.T, s backend, clock func() time.Time) (next time.Time) {
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(2 * time.Millisecond) {
		list, err := s.EffectsOf(context.Background(), "", 100)
		if err != nil {
			t.Error(err)
			return time.Time{}
		}
		now := clock()
		next = time.Time{}
		busy := false
		for _, e := range list {
			busy = busy || e.LeaseUntil.After(now) || !e.NextAt.After(now)
			if next.IsZero() || e.NextAt.Before(next) {
				next = e.NextAt
			}
		}
		if !busy {
			return next
		}
	}
	t.Error("effects were due or under way for a minute")
	return time.Time{}
}

func closing(t *testing.T, s interface{ Close() error }) {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestLocalOnSQLite: the store is real, in a file; the time is that of a bubble,
// in which nothing waits.
func TestLocalOnSQLite(t *testing.T) {
	dispatchtest.Run(t, func(t *testing.T, test func(t *testing.T, r dispatchtest.Rig)) {
		folder := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			s, err := store.Open(context.Background(), folder)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, s)
			test(t, rig(t, s))
		})
	})
}

// carried is what a River of a test runs on.
type carried struct {
	*store.Postgres
	pool *pgxpool.Pool
}

// openCarried opens a fresh database with River's tables in it.
func openCarried(t *testing.T, url string) carried {
	s, err := store.OpenPostgres(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	pool, err := s.Pool(context.Background(), 6)
	if err == nil {
		err = dispatch.MigrateRiver(context.Background(), pool)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return carried{s, pool}
}

// muteCarried is a Carried whose leases cannot be prolonged.
type muteCarried struct{ dispatch.Carried }

func (muteCarried) Extend(ctx context.Context, l record.Lease, until time.Time) error {
	return mute{}.Extend(ctx, l, until)
}

// riverRig is a rig whose runners are Rivers.
func riverRig(t *testing.T, c carried) dispatchtest.Rig {
	r := fastRig(t, c)
	runner := func(s dispatch.Carried, d dispatch.Doer) *dispatch.River {
		x := &dispatch.River{Store: s, Pool: c.pool}
		x.Doer, x.Clock, x.Workers, x.Lease = d, r.Now, r.Workers, r.Lease
		x.Beat, x.Poll, x.Grace = r.Lease/3/speed, 20*time.Millisecond, r.Grace/speed
		return x
	}
	r.Runner = func(d dispatch.Doer) dispatchtest.Runner { return runner(c, d) }
	r.Mute = func(d dispatch.Doer) dispatchtest.Runner { return runner(muteCarried{c}, d) }
	return r
}

func TestRiverOnPostgres(t *testing.T) {
	t.Parallel()
	srv := pgtest.Start(t)
	dispatchtest.Run(t, func(t *testing.T, test func(t *testing.T, r dispatchtest.Rig)) {
		t.Parallel()
		test(t, riverRig(t, openCarried(t, srv.Database(t))))
	})
}
