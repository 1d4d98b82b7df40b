package report

import (
	"iter"
	"math"
	"slices"
	"time"
)

// Sample is a set of intervals as a survival estimate needs them: 8 bytes for
// each, and 8 more for one that began before the window.
type Sample struct {
	// exits are the ages at which intervals ended: ns << 1, and 1 for an event.
	exits []int64
	// entries are the ages, in ns and above zero, at which intervals came under
	// observation.
	entries []int64
	// edges were never at risk: they ended at the very age at which they came under
	// observation. They count, and are in no curve.
	edges []int64
}

// Add puts an interval into the sample.
func (s *Sample) Add(o Observation) {
	if o.Exit < 0 || o.Exit < o.Entry {
		return
	}
	exit := int64(min(o.Exit, math.MaxInt64>>1)) << 1
	if o.Event {
		exit |= 1
	}
	switch {
	case o.Entry <= 0:
		s.exits = append(s.exits, exit)
	case o.Exit == o.Entry:
		s.edges = append(s.edges, exit)
	default:
		s.exits, s.entries = append(s.exits, exit), append(s.entries, int64(o.Entry))
	}
}

// join puts all intervals of samples into one.
func join(samples []*Sample) *Sample {
	var all Sample
	n := 0
	for _, s := range samples {
		n += len(s.exits)
	}
	all.exits = make([]int64, 0, n)
	for _, s := range samples {
		all.exits, all.entries, all.edges = append(all.exits, s.exits...), append(all.entries, s.entries...), append(all.edges, s.edges...)
	}
	return &all
}

// Time is the distribution of the intervals.
func (s *Sample) Time() Time {
	t := Time{N: len(s.exits) + len(s.edges)}
	shares := []struct {
		share float64
		into  **Seconds
	}{{0.5, &t.P50}, {0.9, &t.P90}, {0.99, &t.P99}}
	for p := range s.curve() {
		for len(shares) > 0 && p.reached(shares[0].share) {
			age := seconds(p.Age)
			*shares[0].into, shares = &age, shares[1:]
		}
	}
	slices.Sort(s.edges)
	for _, list := range [][]int64{s.exits, s.edges} {
		for _, x := range list {
			t.Done += int(x & 1)
		}
	}
	if t.Done > 0 {
		age := seconds(s.event((t.Done - 1) / 2))
		t.DoneP50 = &age
	}
	return t
}

// event is the age of the nth event, counted from 0, by age. Both lists are
// sorted.
func (s *Sample) event(nth int) time.Duration {
	a, b := s.exits, s.edges
	for {
		next := &a
		if len(a) == 0 || len(b) > 0 && b[0] < a[0] {
			next = &b
		}
		x := (*next)[0]
		*next = (*next)[1:]
		if x&1 == 1 {
			if nth == 0 {
				return time.Duration(x >> 1)
			}
			nth--
		}
	}
}

// curve yields the steps of the estimate (Kaplan and Meier 1958), youngest first.
// What is still open stays in the count until its present age; what ended at the
// age at which another was censored ended first.
func (s *Sample) curve() iter.Seq[Point] {
	return func(yield func(Point) bool) {
		slices.Sort(s.exits)
		slices.Sort(s.entries)
		open, variance := 1.0, 0.0
		in, out := len(s.exits)-len(s.entries), 0 // entered, left
		for out < len(s.exits) {
			age := s.exits[out] >> 1
			// What enters at this very age is at risk only later.
			for entered := in - (len(s.exits) - len(s.entries)); entered < len(s.entries) && s.entries[entered] < age; entered++ {
				in++
			}
			atRisk, events := in-out, 0
			for ; out < len(s.exits) && s.exits[out]>>1 == age; out++ {
				events += int(s.exits[out] & 1)
			}
			if events == 0 {
				continue
			}
			open *= 1 - float64(events)/float64(atRisk)
			if atRisk > events {
				variance += float64(events) / (float64(atRisk) * float64(atRisk-events))
			}
			p := Point{Age: time.Duration(age), AtRisk: atRisk, Events: events, Open: open}
			if open > 0 && open < 1 {
				theta := z95 * math.Sqrt(variance) / math.Log(open)
				p.Low, p.High = math.Pow(open, math.Exp(-theta)), math.Pow(open, math.Exp(theta))
				p.Low, p.High = min(p.Low, p.High), max(p.Low, p.High)
			}
			if !yield(p) {
				return
			}
		}
	}
}
