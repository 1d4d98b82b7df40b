package app

import (
	"os"
	"runtime/debug"
	gometrics "runtime/metrics"
	"time"
)

// How garbage is collected in a process of ours alone. Under load it is collected
// as seldom as fits below the limit, at 400 % a quarter as often as Go would, which
// saves up to an eighth of the CPU; when nothing goes on, or so much lives that even
// 200 % would not fit, as Go would.
const (
	percentStart, percentIdle, percentStep, percentMost = 400, 100, 100, 400
	// leastLimit is the soft limit of what Go takes. Beside it there are the page
	// caches (24 MiB for SQLite's writer, 4 for each reader) and the mapped program.
	leastLimit = 112 << 20
	// overhead is what stacks and the collector itself may take.
	overhead    = 32 << 20
	memoryEvery = time.Second
)

// collector sets the garbage collector by what the process does.
type collector struct {
	// freePercent and freeLimit: the operator's GOGC, GOMEMLIMIT is not set.
	freePercent, freeLimit bool
	percent                int
	limit                  int64
	cycles                 uint64
	begun                  bool
}

// newCollector prepares it for a start, of which nearly all garbage stays until
// step is called.
func newCollector() *collector {
	c := &collector{freePercent: os.Getenv("GOGC") == "", freeLimit: os.Getenv("GOMEMLIMIT") == ""}
	if c.freePercent {
		debug.SetGCPercent(percentStart)
	}
	return c
}

// step looks at the heap and sets percentage and limit; the first time it gives
// back what the start took.
func (c *collector) step() {
	s := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/automatic:gc-cycles"}}
	gometrics.Read(s)
	percent, limit := c.tune(s[0].Value.Uint64(), s[1].Value.Uint64())
	if c.freePercent && percent != c.percent {
		debug.SetGCPercent(percent)
	}
	if c.freeLimit && limit != c.limit {
		debug.SetMemoryLimit(limit)
	}
	c.percent, c.limit = percent, limit
	if !c.begun {
		c.begun = true
		debug.FreeOSMemory()
		giveBackProgram()
	}
}

// tune returns the percentage and the limit for so many bytes that live after the
// last collection, of so many since the process began. The limit is never so close
// to what lives that collecting takes more than it would without one.
func (c *collector) tune(live, cycles uint64) (percent int, limit int64) {
	percent = c.percent
	// In steps, because each change stops the process for a moment.
	room := (100*(leastLimit-overhead)/max(int64(live), 1) - 100) / percentStep * percentStep
	fits := int(min(max(room, percentIdle), percentMost))
	switch n := cycles - c.cycles; {
	case n == 0 || !c.begun:
		percent = percentIdle
	case n > 1 || percent > fits:
		percent = fits
	}
	c.cycles = cycles
	limit = max(leastLimit, 2*int64(live)+overhead)
	if limit < c.limit && limit > c.limit-c.limit/8 { // hardly less: stay, each change stops the process for a moment
		limit = c.limit
	}
	return percent, limit
}
