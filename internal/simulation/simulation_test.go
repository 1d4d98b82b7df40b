package simulation

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	from  = flag.Uint64("from", 1, "first seed")
	seeds = flag.Uint64("seeds", 200, "number of seeds")
	first = flag.Bool("first", false, "stop at the first seed that breaks a law, and do not shrink it")
)

// TestSeeds lives the lives of many seeds on all cores: no law may be broken.
func TestSeeds(t *testing.T) {
	var next, stop atomic.Uint64
	next.Store(*from)
	var wg sync.WaitGroup
	var mu sync.Mutex
	sum, bad := map[string]int{}, map[uint64]*Breach{}
	begun, lives := time.Now(), 0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for stop.Load() == 0 {
				seed := next.Add(1) - 1
				if seed >= *from+*seeds {
					return
				}
				r := Run(Life{Seed: seed})
				mu.Lock()
				for k, n := range r.Counts {
					sum[k] += n
				}
				if lives++; lives%1000 == 0 {
					t.Logf("%d lives after %s", lives, time.Since(begun).Round(time.Second))
				}
				if r.Broken != nil {
					t.Logf("seed %d: %v", seed, r.Broken)
					bad[seed] = r.Broken
					if *first || len(bad) >= 3 {
						stop.Store(1)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d lives, %.0f a second: %s", lives, float64(lives)/time.Since(begun).Seconds(), counted(sum))
	for seed, b := range bad {
		if *first {
			t.Errorf("seed %d: %v", seed, b)
			continue
		}
		t.Error(Report(seed, Shrink(Life{Seed: seed}, 300)))
	}
	// A simulation in which nothing happens would find nothing.
	for _, k := range happens() {
		if sum[k] == 0 && len(bad) == 0 && *seeds >= 200 {
			t.Errorf("in %d lives there was not one of: %s", *seeds, k)
		}
	}
}

// happens is what has to happen in a few hundred lives.
func happens() []string {
	return []string{"acts", "undos", "crashes", "sightings", "commit faults", "act faults", "approvals", "closed proven", "closed suppressed", "closed gone",
		"kill switch", "clock pauses", "refused: budget is used up", "refused: case was changed meanwhile", "refused: effect lease was lost", "refused: paused by the kill switch"}
}

func counted(sum map[string]int) string {
	var out []string
	for k, n := range sum {
		out = append(out, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// TestReplay: the same seed is the same life, to the byte.
func TestReplay(t *testing.T) {
	other := Run(Life{Seed: 100})
	for seed := uint64(1); seed <= 10; seed++ {
		a, b := Run(Life{Seed: seed}), Run(Life{Seed: seed})
		if a.Trace != b.Trace || a.Trace == other.Trace {
			t.Errorf("seed %d: %x, then %x", seed, a.Trace, b.Trace)
		}
	}
}

// TestOne shows one life: -run TestOne -from SEED -v.
func TestOne(t *testing.T) {
	r := Run(Life{Seed: *from, Log: testing.Verbose()})
	for _, l := range r.Lines {
		t.Log(l)
	}
	t.Log(r.Broken, counted(r.Counts))
}
