package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// kills is P5: acknowledged alerts whose action never arrived, after kill -9 at
// random moments.
func kills(b *bench) ([]row, error) {
	var rows []row
	for _, s := range []struct {
		what    string
		down    bool
		backlog time.Duration
	}{
		{"kill -9 under load", false, 0},
		{"target down, then kill -9", true, 0},
		{"backlog of a target that is down, then kill -9", true, b.backlog()},
	} {
		acked, lost, doubled, failed := 0, 0, 0, 0
		n := b.kills
		if s.backlog > 0 {
			n = max(1, n/10) // each takes the backlog's time
		}
		for range n {
			a, l, d, f, err := b.killOnce(s.down, s.backlog)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", s.what, err)
			}
			acked, lost, doubled, failed = acked+a, lost+l, doubled+d, failed+f
			b.sayf("  %s: %d acknowledged, %d lost, %d raw doubles, %d refused before the kill", s.what, a, l, d, f)
		}
		rows = append(rows, row{ID: "P5", What: fmt.Sprintf("lost after %s, %d kills", s.what, n), Got: float64(lost), Unit: fmt.Sprintf("of %d", acked),
			Target: "0", Met: lost == 0 && failed == 0 && acked > 0, Hard: true, Note: fmt.Sprintf("%d arrived twice with the same key", doubled)})
	}
	return rows, nil
}

// backlog is a minute in a full run and shorter in a short one.
func (b *bench) backlog() time.Duration { return min(12*b.dur, time.Minute) }

func (b *bench) killOnce(down bool, backlog time.Duration) (acked, lost, doubled, refused int, err error) {
	b.sink.reset()
	b.sink.down.Store(down)
	defer b.sink.down.Store(false)
	p, err := b.product(acting)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	defer func() { b.drop(p) }()
	l := load{to: p.alerts(), gen: b.gen, conns: 32, plan: distinct(b.take(1_000_000)), stopOnError: true, keepAcked: true, dur: 10 * time.Minute}
	if down {
		l.rate = 200
	}
	after := time.Duration(500+rand.IntN(2500))*time.Millisecond + backlog
	var o outcome
	var wg sync.WaitGroup
	wg.Go(func() { o = l.run() })
	time.Sleep(after)
	p.kill()
	wg.Wait()
	b.sink.down.Store(false)
	again, err := b.productAt(p.folder, acting)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	p = again
	missing := func() int {
		n := 0
		for _, x := range o.Acked {
			if !b.sink.has(x) {
				n++
			}
		}
		return n
	}
	// Retries back off up to minutes after an outage: wait as long as it takes.
	for end := time.Now().Add(5 * time.Minute); missing() > 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	_, keys, raw := b.sink.arrived()
	return len(o.Acked), missing(), raw - keys, o.Turned, nil
}

// exactlyOnce is P6: ten alerts of each finding, and a kill half way.
func exactlyOnce(b *bench) ([]row, error) {
	findings := min(10_000, b.cases/100)
	b.sink.reset()
	p, err := b.product(acting)
	if err != nil {
		return nil, err
	}
	defer func() { b.drop(p) }()
	first := b.take(findings)
	// Each finding ten times, spread over the whole run.
	seq := func(i int) int { return first + i*7919%findings }
	total := 10 * findings
	half := load{to: p.alerts(), gen: b.gen, conns: 64, plan: seq, limit: total, stopOnError: true, keepAcked: true}
	var o outcome
	var wg sync.WaitGroup
	wg.Go(func() { o = half.run() })
	for n := 0; n < findings/2; n, _, _ = b.sink.arrived() {
		time.Sleep(time.Millisecond)
	}
	p.kill()
	wg.Wait()
	if p, err = b.productAt(p.folder, acting); err != nil {
		return nil, err
	}
	// The sender repeats what was not acknowledged, as any sender would.
	rest := load{to: p.alerts(), gen: b.gen, conns: 64, plan: seq, limit: total}
	if o2 := rest.run(); o2.Accepted < total {
		b.sayf("  %d of %d accepted after the kill", o2.Accepted, total)
	}
	b.sink.settle(findings, 20*time.Second, 5*time.Minute)
	time.Sleep(time.Second) // a double would arrive now
	n, keys, raw := b.sink.arrived()
	const inFlight = 64 // as many as the product runs at a time
	met := keys == findings && n == findings && raw <= findings+inFlight
	return []row{{ID: "P6", What: fmt.Sprintf("effective actions for %d findings, ten alerts each, killed half way", findings), Got: float64(keys), Unit: "actions",
		Target: fmt.Sprintf("exactly %d", findings), Met: met, Hard: true, Note: fmt.Sprintf("%d raw arrivals of at most %d, %d distinct findings, %d alerts acknowledged before the kill", raw, findings+inFlight, n, len(o.Acked))}}, nil
}

// confusion is P7: actions that carry another alert's data.
func confusion(b *bench) ([]row, error) {
	b.sink.reset()
	p, err := b.product(acting)
	if err != nil {
		return nil, err
	}
	defer b.drop(p)
	runs := min(100_000, b.cases/10)
	var mu sync.Mutex
	cases := map[int]string{}
	l := load{to: p.alerts(), gen: b.gen, conns: 64, plan: distinct(b.take(runs)), limit: runs, answered: func(n int, body []byte) {
		_, rest, ok := strings.Cut(string(body), `"case":"`)
		id, _, ok2 := strings.Cut(rest, `"`)
		if ok && ok2 {
			mu.Lock()
			defer mu.Unlock()
			cases[n] = id
		}
	}}
	o := l.run()
	b.sink.settle(o.Accepted, 20*time.Second, 10*time.Minute)
	wrong := b.sink.compare(cases)
	n, _, _ := b.sink.arrived()
	note := fmt.Sprintf("%d alerts answered, %d actions compared with the case and asset of their alert", o.Accepted, n)
	if len(wrong) > 0 {
		note += "; first: " + wrong[0]
	}
	return []row{{ID: "P7", What: "actions with another alert's data", Got: float64(len(wrong)), Unit: fmt.Sprintf("of %d", n), Target: "0",
		Met: len(wrong) == 0 && n == o.Accepted && n > 0, Hard: true, Note: note}}, nil
}
