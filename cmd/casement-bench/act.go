package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/casement/casement/internal/policy/pack"
)

// changing is a setup in which every new case is an enforced change of the
// sink's state: plan and probe before, intent, act, probe after.
func changing(dir, config, sink string) error {
	policy := filepath.Join(dir, "policy")
	if err := os.MkdirAll(policy, 0o700); err != nil {
		return err
	}
	text := `kind: playbooks
playbooks:
  - name: change
    description: Tells the sink to change, and asks it before and after.
    probe: hook/state
    grade: P2
    fix:
      - {name: change, do: hook/call, auth: enforce, settle: 1s, tries: 5, interval: 2s}
---
kind: rules
mode: enforce
rules:
  - {name: all, when: "true", class: K2, playbook: change, why: The sink is exposed until it is told.}
---
kind: guardrails
budgets:
  - {name: total, per: total, max: 100000000, window: 1h}
`
	if err := os.WriteFile(filepath.Join(policy, "policy.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	owners := filepath.Join(dir, "owners.yaml")
	people := `people:
  - {id: kim, email: kim@example.com, team: docs}
  - {id: lee, email: lee@example.com, team: docs}
teams:
  - {id: docs, lead: kim, members: [kim, lee]}
fallback: docs
operations_lead: lee
`
	if err := os.WriteFile(owners, []byte(people), 0o600); err != nil {
		return err
	}
	text = fmt.Sprintf(`policy: {dir: %[1]s}
owners: {files: [%[3]s]}
connectors:
  hook:
    kind: webhook
    allow: [127.0.0.0/8]
    params:
      url: http://%[2]s/change
      undo_url: http://%[2]s/undo
      state: {url: "http://%[2]s/state/{asset}", exposed: ["200"], not_exposed: ["403"]}
    secrets: {signing: env:CASEMENT_BENCH_SIGNING}
`, policy, sink, owners)
	return os.WriteFile(config, []byte(text), 0o600)
}

// acting is a setup in which every new case sends a message to the sink: the
// shipped policy, whose routes lead to a webhook instead of a ticket.
func acting(dir, config, sink string) error {
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

// latency is P3: alert to arrival at the target, 50 a second; beside it a change
// that is planned and probed before and whose intent is committed.
func latency(b *bench) ([]row, error) {
	var floor, message, change arrivals
	var sync50, sync99 []float64
	for range b.repeats {
		at := target{addr: b.floors.addr, path: "/walrelay"}
		if err := floor.add(b, b.floors, at, b.gen); err != nil {
			return nil, err
		}
		for _, x := range []struct {
			to   *arrivals
			with setup
			gen  *alerts
		}{{&message, acting, b.gen}, {&change, changing, newCertain()}} {
			p, err := b.product(x.with)
			if err != nil {
				return nil, err
			}
			err = x.to.add(b, p, p.alerts(), x.gen)
			b.drop(p)
			if err != nil {
				return nil, err
			}
		}
		a, z, err := fsync(b.dir, 300*time.Millisecond)
		if err != nil {
			return nil, err
		}
		sync50, sync99 = append(sync50, a), append(sync99, z)
		b.sayf("  /walrelay %s, message %s, change %s", floor, message, change)
	}
	line := func(what string, got, base []float64, target string, most float64) row {
		r := median(got) / median(base)
		return row{ID: "P3", What: what, Got: median(got), Unit: "ms", Floor: "/walrelay", FloorAt: median(base), Ratio: r,
			SyncP50: median(sync50), SyncP99: median(sync99), Target: target, Met: target == "" || r <= most}
	}
	return []row{
		line("alert to action at the target, 50/s, p50", message.p50, floor.p50, "≤ 1.5 × /walrelay", 1.5),
		line("alert to action at the target, 50/s, p99", message.p99, floor.p99, "≤ 2 × /walrelay", 2),
		line("alert to a change with plan, probe before and intent, p50", change.p50, floor.p50, "", 0),
		line("alert to a change with plan, probe before and intent, p99", change.p99, floor.p99, "", 0),
	}, nil
}

// arrivals are the quantiles of several runs, in milliseconds.
type arrivals struct{ p50, p99 []float64 }

// String is the last run.
func (a arrivals) String() string {
	return fmt.Sprintf("%.2f / %.2f ms", a.p50[len(a.p50)-1], a.p99[len(a.p99)-1])
}

// add measures one run.
func (a *arrivals) add(b *bench, p *process, to target, gen *alerts) error {
	b.sink.reset()
	first := b.take(1_000_000)
	s, err := b.measure(p, load{conns: 16, rate: 50, dur: b.dur, sent: b.sink.send, to: to, gen: gen, plan: distinct(first)})
	if err != nil {
		return err
	}
	b.sink.settle(s.Accepted, time.Second, 30*time.Second)
	var took []time.Duration
	for n, t := range b.sink.sentAndArrived() {
		if n >= first {
			took = append(took, t)
		}
	}
	if len(took) < s.Accepted {
		return fmt.Errorf("only %d of %d alerts arrived at the sink", len(took), s.Accepted)
	}
	a.p50, a.p99 = append(a.p50, quantile(took, 0.5)), append(a.p99, quantile(took, 0.99))
	return nil
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
		p, err := b.product(acting)
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
