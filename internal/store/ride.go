package store

import (
	"time"

	"github.com/casement/casement/internal/record"
)

// rider leases effects in commits that are made anyway.
type rider struct {
	want func(ending int) (now, until time.Time, n int)
	got  func([]record.Lease)
}

// Ride leases due effects in each commit that calls for some or ends one, so that leasing
// them needs no commit of its own. want is asked before the commit for the time
// (UTC), the end of the leases and how many there may be, given how many effects
// the commit ends; if it wants any, got is told which they are once they are on
// disk, or none. Both are called by the writer of the group and must not wait. nil
// ends it.
func (s *SQLite) Ride(want func(ending int) (now, until time.Time, n int), got func([]record.Lease)) {
	s.group.ridden(rider{want, got})
}

// Ride is SQLite.Ride for the effects of the cases that a commit writes: those of
// others are not looked at.
func (s *Postgres) Ride(want func(ending int) (now, until time.Time, n int), got func([]record.Lease)) {
	s.group.ridden(rider{want, got})
}

func (g *group) ridden(r rider) {
	g.tx.Lock() // no commit is under way
	defer g.tx.Unlock()
	g.rider = r
}

// ride claims in SQLite's transaction under way. told must be called with the
// outcome of the commit.
func (g *group) ride() (told func(stored bool), err error) {
	told = func(bool) {}
	if g.rider.want == nil || g.w.memory == nil || !g.w.txn.due {
		return told, nil
	}
	now, until, n := g.rider.want(g.w.txn.ended)
	if n <= 0 {
		return told, nil
	}
	got := g.rider.got
	leases, err := g.w.claim(nanos(now), until, n)
	return func(stored bool) {
		if !stored {
			leases = nil
		}
		got(leases)
	}, err
}
