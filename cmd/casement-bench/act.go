package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/casement/casement/internal/policy/pack"
)

// writeActing writes the configuration in which every new case acts on the
// sink: the shipped policy, whose routes lead to a webhook instead of a ticket.
func writeActing(dir, config, sink string) error {
	policy := filepath.Join(dir, "policy")
	if err := os.MkdirAll(policy, 0o700); err != nil {
		return err
	}
	for _, f := range pack.Default() {
		data := f.Data
		switch {
		case strings.Contains(f.Name, "routes"):
			data = []byte("kind: routes\nroutes:\n  - name: all\n    notify: [sink]\n")
		case strings.Contains(f.Name, "tests"): // they expect the tickets
			continue
		}
		if err := os.WriteFile(filepath.Join(policy, filepath.Base(f.Name)), data, 0o600); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("policy: {dir: %s}\nconnectors:\n  hook:\n    kind: webhook\n    params: {notify_url: \"http://%s/\"}\n    secrets: {signing: env:CASEMENT_BENCH_SIGNING}\n    allow: [127.0.0.0/8]\nroutes:\n  sink: {connector: hook}\n", policy, sink)
	return os.WriteFile(config, []byte(text), 0o600)
}

// idle waits until a process does next to nothing: its effects are done.
func idle(p *process, limit time.Duration) {
	last, err := cpuOf(p.cmd.Process.Pid)
	for end := time.Now().Add(limit); err == nil && time.Now().Before(end); {
		time.Sleep(500 * time.Millisecond)
		var now time.Duration
		if now, err = cpuOf(p.cmd.Process.Pid); now-last < 25*time.Millisecond {
			return
		}
		last = now
	}
}

// latency is P3: alert to arrival at the target, 50 a second.
func latency(b *bench) ([]row, error) {
	l := load{conns: 16, rate: 50, dur: b.dur}
	var got50, got99, base50, base99, sync50, sync99 []float64
	for range b.repeats {
		one := func(p *process, to target) ([]time.Duration, error) {
			b.sink.reset()
			first := b.take(1_000_000)
			l.to, l.plan = to, distinct(first)
			s, err := b.measure(p, l)
			if err != nil {
				return nil, err
			}
			b.sink.settle(s.Accepted, time.Second, 30*time.Second)
			var took []time.Duration
			for n, at := range b.sink.sentAndArrived() {
				if n >= first {
					took = append(took, at)
				}
			}
			return took, nil
		}
		l.sent = b.sink.send
		floor, err := one(b.floors, target{addr: b.floors.addr, path: "/walrelay"})
		if err != nil {
			return nil, err
		}
		p, err := b.product(true)
		if err != nil {
			return nil, err
		}
		got, err := one(p, p.alerts())
		b.drop(p)
		if err != nil {
			return nil, err
		}
		base50, base99 = append(base50, quantile(floor, 0.5)), append(base99, quantile(floor, 0.99))
		got50, got99 = append(got50, quantile(got, 0.5)), append(got99, quantile(got, 0.99))
		a, z, err := fsync(b.dir, 300*time.Millisecond)
		if err != nil {
			return nil, err
		}
		sync50, sync99 = append(sync50, a), append(sync99, z)
		b.sayf("  /walrelay %.2f / %.2f ms, product %.2f / %.2f ms (%d arrived)", quantile(floor, 0.5), quantile(floor, 0.99), quantile(got, 0.5), quantile(got, 0.99), len(got))
	}
	r50, r99 := median(got50)/median(base50), median(got99)/median(base99)
	row50 := row{ID: "P3", What: "alert to action at the target, 50/s, p50", Got: median(got50), Unit: "ms", Floor: "/walrelay", FloorAt: median(base50), Ratio: r50,
		SyncP50: median(sync50), SyncP99: median(sync99), Target: "≤ 1.5 × /walrelay", Met: r50 <= 1.5}
	row99 := row50
	row99.What, row99.Got, row99.FloorAt, row99.Ratio, row99.Target, row99.Met = "alert to action at the target, 50/s, p99", median(got99), median(base99), r99, "≤ 2 × /walrelay", r99 <= 2
	return []row{row50, row99}, nil
}

// actions is P4 and the second half of P11: distinct alerts, each an action.
func actions(b *bench) ([]row, error) {
	var got, base, gotCPU, baseCPU []float64
	for range b.repeats {
		one := func(p *process, to target) (rate, cpu float64, err error) {
			b.sink.reset()
			before, err := cpuOf(p.cmd.Process.Pid)
			if err != nil {
				return 0, 0, err
			}
			start := time.Now()
			s, err := b.measure(p, load{to: to, conns: 64, dur: b.dur, plan: distinct(b.take(10_000_000))})
			if err != nil {
				return 0, 0, err
			}
			b.sink.settle(s.Accepted, 5*time.Second, 3*time.Minute)
			n, _, _ := b.sink.arrived()
			took := b.sink.latest().Sub(start)
			after, err := cpuOf(p.cmd.Process.Pid)
			if n < s.Accepted {
				b.sayf("  %d of %d arrived", n, s.Accepted)
			}
			return float64(n) / took.Seconds(), float64((after - before).Microseconds()) / float64(max(n, 1)), err
		}
		r, c, err := one(b.floors, target{addr: b.floors.addr, path: "/walrelay"})
		if err != nil {
			return nil, err
		}
		base, baseCPU = append(base, r), append(baseCPU, c)
		p, err := b.product(true)
		if err != nil {
			return nil, err
		}
		r, c, err = one(p, p.alerts())
		b.drop(p)
		if err != nil {
			return nil, err
		}
		got, gotCPU = append(got, r), append(gotCPU, c)
		b.sayf("  /walrelay %.0f/s, product %.0f/s", base[len(base)-1], r)
	}
	ratio, cpu := median(got)/median(base), median(gotCPU)/median(baseCPU)
	return []row{
		{ID: "P4", What: "actions, distinct, durable", Got: median(got), Unit: "/s", Floor: "/walrelay", FloorAt: median(base), Ratio: ratio, CPU: median(gotCPU), Target: "≥ 0.6 × /walrelay", Met: ratio >= 0.6},
		{ID: "P11", What: "CPU per distinct alert with its action", Got: median(gotCPU), Unit: "µs", Floor: "/walrelay", FloorAt: median(baseCPU), Ratio: cpu, Target: "≤ 2.5 × /walrelay", Met: cpu <= 2.5},
	}, nil
}
