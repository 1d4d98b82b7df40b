package app

import "testing"

// TestCollectorKeepsItsDistance: the limit stays away from what lives, however much
// that is, and garbage is collected less often only while it is collected often and there is room for it.
func TestCollectorKeepsItsDistance(t *testing.T) {
	c := &collector{}
	percent, limit := c.tune(6<<20, 5)
	if percent != percentIdle || limit != leastLimit {
		t.Errorf("after the start: %d %%, limit %d", percent, limit)
	}
	c.begun = true
	for _, x := range []struct {
		live, cycles uint64
		percent      int
		limit        int64
	}{
		{20 << 20, 9, 300, leastLimit},                     // busy: 80 MiB and what else it takes
		{20 << 20, 10, 300, leastLimit},                    // in between: as before
		{20<<20 + 1, 11, 200, leastLimit},                  // in between, but it does not fit any more
		{15 << 20, 15, percentMost, leastLimit},            // busy, little lives
		{100 << 20, 20, percentIdle, 200<<20 + overhead},   // much lives
		{95 << 20, 30, percentIdle, 200<<20 + overhead},    // hardly less
		{1000 << 20, 40, percentIdle, 2000<<20 + overhead}, // one large body
		{8 << 20, 40, percentIdle, leastLimit},             // quiet
	} {
		c.percent, c.limit = percent, limit
		percent, limit = c.tune(x.live, x.cycles)
		if percent != x.percent || limit != x.limit {
			t.Errorf("%d MiB live, %d cycles: %d %%, limit %d; want %d %%, %d", x.live>>20, x.cycles, percent, limit, x.percent, x.limit)
		}
		if limit < 2*int64(x.live) {
			t.Errorf("%d MiB live under a limit of %d", x.live>>20, limit)
		}
	}
}
