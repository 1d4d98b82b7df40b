package main

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/policy/pack"
)

// tickClass is the class of alerts whose clocks run out while they are looked
// at; none of the other alerts has it.
const tickClass = "endpoint.malware"

// ticking is a setup with the shipped policy, in which cases of one class have
// to be acknowledged within two seconds. The others have a month, and are probed
// again after one: a million that come in a quarter of an hour must wait, as those
// of a year would, and not run out at the rate at which they came.
func ticking(dir, config, _ string) error {
	policy := filepath.Join(dir, "policy")
	if err := os.MkdirAll(policy, 0o700); err != nil {
		return err
	}
	for _, f := range pack.Default() {
		text := string(f.Data)
		if strings.Contains(f.Name, "deadlines") {
			quick := "  - {name: quick, use: default, match: {class: [" + tickClass + "]}, classes: {K1: {ack: 2s}, K2: {ack: 2s}, K3: {ack: 2s}, K4: {ack: 2s}, K5: {ack: 2s}}}\n"
			text = strings.Replace(text, "\nsla:\n", "\nsla:\n"+quick, 1)
			const month = "{ack: 30d, contain: 30d, fix: 30d}"
			const standard = "    warn_percent: 75\n"
			calm := standard + "    classes: {K1: " + month + ", K2: " + month + ", K3: " + month + ", K4: " + month + ", K5: " + month + "}\n"
			if !strings.Contains(text, standard) {
				return errors.New("the shipped deadlines read otherwise: cases would not wait")
			}
			text = strings.Replace(text, standard, calm, 1)
		}
		if strings.Contains(f.Name, "playbooks") {
			const description = "\n    description: "
			if !strings.Contains(text, description) {
				return errors.New("the shipped playbooks read otherwise: cases would be probed again at once")
			}
			text = strings.ReplaceAll(text, description, "\n    probe_every: 30d"+description)
		}
		if err := os.WriteFile(filepath.Join(policy, filepath.Base(f.Name)), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(config, fmt.Appendf(nil, "policy: {dir: %s}\nserver: {metrics: true}\n", policy), 0o600)
}

// lateness sends fifty alerts a second whose clocks run out after two, and
// returns the 99th percentile of how late those were served, in seconds, and how
// many they were.
func (b *bench) lateness(p *process) (late float64, fired int, err error) {
	before, err := p.lateness()
	if err != nil {
		return 0, 0, err
	}
	gen := newPlain(tickClass)
	if _, err := b.measure(p, load{to: p.alerts(), conns: 16, rate: 50, dur: max(b.dur, 10*time.Second), gen: gen, plan: distinct(b.take(1_000_000))}); err != nil {
		return 0, 0, err
	}
	time.Sleep(3 * time.Second) // the last clocks run out
	after, err := p.lateness()
	if err != nil {
		return 0, 0, err
	}
	for i := range after {
		if i < len(before) {
			after[i].n -= before[i].n
		}
	}
	if len(after) == 0 || after[len(after)-1].n == 0 {
		return 0, 0, errors.New("no clock ran out")
	}
	return after.quantile(0.99), int(after[len(after)-1].n), nil
}

// bucket is one line of a Prometheus histogram: how many values are at most le.
type bucket struct{ le, n float64 }

type buckets []bucket

// quantile interpolates within a bucket, as histogram_quantile does.
func (h buckets) quantile(q float64) float64 {
	want, low, under := q*h[len(h)-1].n, 0.0, 0.0
	for _, b := range h {
		if b.n >= want {
			if math.IsInf(b.le, 1) {
				return low
			}
			return low + (b.le-low)*(want-under)/(b.n-under)
		}
		low, under = b.le, b.n
	}
	return low
}

// lateness reads the histogram of how late clocks were served.
func (p *process) lateness() (h buckets, err error) {
	resp, err := http.Get("http://" + p.addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		le, ok := strings.CutPrefix(lines.Text(), `casement_timer_lateness_seconds_bucket{le="`)
		le, n, cut := strings.Cut(le, `"} `)
		if !ok || !cut {
			continue
		}
		var b bucket
		if b.le, err = strconv.ParseFloat(le, 64); err == nil {
			b.n, err = strconv.ParseFloat(n, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", lines.Text(), err)
		}
		h = append(h, b)
	}
	return h, nil
}
