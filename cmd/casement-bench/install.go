package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// footprint is P8 and P9: memory and start, with nothing stored, after load,
// and with many cases waiting; and intake then beside intake before, and how late
// clocks are.
func footprint(b *bench) ([]row, error) {
	p, err := b.product(ticking)
	if err != nil {
		return nil, err
	}
	defer func() { b.drop(p) }()
	restart := func(kill bool) (float64, error) {
		if kill {
			p.kill()
		} else {
			p.stop()
		}
		again, err := b.productAt(p.folder, ticking)
		if err != nil {
			return 0, err
		}
		p = again
		return float64(p.ready) / float64(time.Millisecond), nil
	}
	empty, err := restart(false)
	if err != nil {
		return nil, err
	}
	rows := []row{{ID: "P9", What: "start to ready, nothing stored", Got: empty, Unit: "ms", Target: "≤ 150 ms", Met: empty <= 150}}
	idle(p, 10*time.Second)
	rss, _ := memoryOf(p.cmd.Process.Pid)
	rows = append(rows, row{ID: "P8", What: "memory, idle", Got: rss, Unit: "MB", Target: "≤ 45 MB", Met: rss <= 45})

	few := b.cases / 100
	fill := func(n int) (outcome, error) {
		s, err := b.measure(p, load{to: p.alerts(), conns: 16, batch: 100, limit: n / 100, plan: distinct(b.take(n))})
		b.sayf("  %d cases in batches: %.0f/s (%.0f µs)", n, s.rate(), s.cpu)
		return s.outcome, err
	}
	// The ratio is of what is stored, not of what is still under way: tickets, the
	// ledger's tree.
	probe := func() (float64, error) {
		begun := time.Now()
		idle(p, 10*time.Minute)
		b.sayf("  what was under way took %.1f s", time.Since(begun).Seconds())
		s, err := b.measure(p, load{to: p.alerts(), conns: 64, dur: b.dur, plan: repeating(b.take(10_000_000))})
		b.sayf("  one alert a request, 90 %% duplicates: %.0f/s (%.0f µs)", s.rate(), s.cpu)
		return s.rate(), err
	}
	if _, err := fill(few); err != nil {
		return rows, err
	}
	before, err := probe()
	if err != nil {
		return rows, err
	}
	_, peak := memoryOf(p.cmd.Process.Pid)
	rows = append(rows, row{ID: "P8", What: "memory, under load", Got: peak, Unit: "MB", Target: "≤ 200 MB", Met: peak <= 200})
	if _, err := fill(b.cases/10 - few); err != nil {
		return rows, err
	}
	tenth, err := restart(false)
	if err != nil {
		return rows, err
	}
	rows = append(rows, row{ID: "P9", What: fmt.Sprintf("start to ready, %d cases", b.cases/10), Got: tenth, Unit: "ms", Target: "≤ 500 ms", Met: tenth <= 500})
	if _, err := fill(b.cases - b.cases/10); err != nil {
		return rows, err
	}
	killed, err := restart(true)
	if err != nil {
		return rows, err
	}
	rows = append(rows, row{ID: "P9", What: fmt.Sprintf("start to ready after kill -9, %d cases", b.cases), Got: killed, Unit: "ms", Target: "≤ 2,000 ms", Met: killed <= 2000})
	after, err := probe()
	if err != nil {
		return rows, err
	}
	_, peak = memoryOf(p.cmd.Process.Pid)
	rows = append(rows, row{ID: "P8", What: fmt.Sprintf("memory under load with %d cases waiting", b.cases), Got: peak, Unit: "MB", Target: "≤ 250 MB", Met: peak <= 250})
	ratio := after / before
	late, fired, err := b.lateness(p)
	if err != nil {
		return rows, err
	}
	rows = append(rows, row{ID: "–", What: fmt.Sprintf("timer lateness p99, %d cases waiting, 50 alerts/s (%d clocks)", b.cases, fired), Got: late * 1000, Unit: "ms",
		Target: "≤ 20 ms", Met: late <= 0.020})
	return append(rows, row{ID: "–", What: fmt.Sprintf("intake at %d cases ÷ at %d", b.cases, few), Got: after, Unit: "/s", Floor: fmt.Sprintf("at %d", few), FloorAt: before, Ratio: ratio,
		Target: "≥ 0.7", Met: ratio >= 0.7}), nil
}

// size is P10: the one binary, stripped.
func size(b *bench) ([]row, error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "casement")
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./cmd/casement")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build (run this from the repository): %w: %s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	mb := float64(info.Size()) / 1e6
	return []row{{ID: "P10", What: "the one binary, stripped", Got: mb, Unit: "MB", Target: "≤ 48 MB", Met: mb <= 48}}, nil
}

// overload is P12: three times what the product takes.
func overload(b *bench) ([]row, error) {
	p, err := b.product(nil)
	if err != nil {
		return nil, err
	}
	defer b.drop(p)
	s, err := b.measure(p, load{to: p.alerts(), conns: 64, dur: b.dur, plan: repeating(b.take(10_000_000))})
	if err != nil {
		return nil, err
	}
	capacity := s.rate()
	o, err := b.measure(p, load{to: p.alerts(), conns: 1500, rate: 3 * capacity, dur: b.dur, plan: repeating(b.take(10_000_000))})
	if err != nil {
		return nil, err
	}
	p99 := quantile(o.Service, 0.99)
	note := fmt.Sprintf("p99 %.0f ms from when they were due; offered %.0f/s; %d accepted, %d turned away, %d of them without Retry-After, %d failed", quantile(o.Latency, 0.99), 3*capacity, o.Accepted, o.Turned, o.NoRetryAfter, o.Failed)
	return []row{{ID: "P12", What: "offered 3 × capacity: p99 of accepted", Got: p99, Unit: "ms", Target: "≤ 1,000 ms, 503 with Retry-After", CPU: o.cpu,
		Met: p99 <= 1000 && o.Turned > 0 && o.NoRetryAfter == 0 && o.Failed == 0, Note: note}}, nil
}
