package report

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Observation is one interval of a survival estimate.
type Observation struct {
	// Entry is the age at which the interval came under observation: above zero
	// when it began before the reporting window (left truncation).
	Entry time.Duration
	// Exit is the age at which it ended or was last seen open.
	Exit time.Duration
	// Event is true when it ended by what is measured, false when it was still
	// open or left for another reason (censored).
	Event bool
}

// Point is one step of a survival curve.
type Point struct {
	// Age at which the curve steps down.
	Age time.Duration `json:"age_ns"`
	// AtRisk were open just before, Events ended at this age.
	AtRisk int `json:"at_risk"`
	Events int `json:"events"`
	// Open is the share still open after it: S(t).
	Open float64 `json:"open"`
	// Low and High are the 95 % confidence limits (Greenwood, log-log).
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Curve is the Kaplan-Meier estimate of the share that is still open.
type Curve []Point

// z95 is the 97.5 % quantile of the normal distribution.
const z95 = 1.959963984540054

// Survival estimates the curve (Kaplan and Meier 1958). What is still open
// stays in the count until its present age; what ended at the age at which
// another was censored ended first.
func Survival(observations []Observation) Curve {
	// An interval of no length that began before the window was never at risk.
	obs := slices.DeleteFunc(slices.Clone(observations), func(o Observation) bool {
		return o.Exit < 0 || o.Exit < o.Entry || (o.Exit == o.Entry && o.Entry > 0)
	})
	exits := slices.Clone(obs)
	slices.SortFunc(exits, func(a, b Observation) int { return cmp.Compare(a.Exit, b.Exit) })
	entries := slices.Clone(obs)
	slices.SortFunc(entries, func(a, b Observation) int { return cmp.Compare(a.Entry, b.Entry) })

	var curve Curve
	open, variance := 1.0, 0.0
	in, out := 0, 0 // entered, left
	for out < len(exits) {
		age := exits[out].Exit
		// What enters at this very age is at risk only later, unless it was there
		// from the start.
		for in < len(entries) && (entries[in].Entry < age || entries[in].Entry <= 0) {
			in++
		}
		atRisk, events := in-out, 0
		for ; out < len(exits) && exits[out].Exit == age; out++ {
			events += count(exits[out].Event)
		}
		if events == 0 {
			continue
		}
		open *= 1 - float64(events)/float64(atRisk)
		if atRisk > events {
			variance += float64(events) / (float64(atRisk) * float64(atRisk-events))
		}
		p := Point{Age: age, AtRisk: atRisk, Events: events, Open: open}
		if open > 0 && open < 1 {
			theta := z95 * math.Sqrt(variance) / math.Log(open)
			p.Low, p.High = math.Pow(open, math.Exp(-theta)), math.Pow(open, math.Exp(theta))
			p.Low, p.High = min(p.Low, p.High), max(p.Low, p.High)
		}
		curve = append(curve, p)
	}
	return curve
}

// At returns the share still open at an age.
func (c Curve) At(age time.Duration) float64 {
	open := 1.0
	for _, p := range c {
		if p.Age > age {
			break
		}
		open = p.Open
	}
	return open
}

// Quantile returns the age at which the share q (0..1) has ended. ok is false
// when it never did: nothing is extrapolated.
func (c Curve) Quantile(q float64) (age time.Duration, ok bool) {
	// Products of fractions miss a round share by the last bits.
	const tolerance = 1e-12
	for _, p := range c {
		if p.Open <= 1-q+tolerance {
			return p.Age, true
		}
	}
	return 0, false
}

// Mean returns the mean time open up to a horizon (the restricted mean: the area
// under the curve).
func (c Curve) Mean(horizon time.Duration) time.Duration {
	area, open, last := 0.0, 1.0, time.Duration(0)
	for _, p := range c {
		if p.Age >= horizon {
			break
		}
		area += open * float64(p.Age-last)
		open, last = p.Open, p.Age
	}
	return time.Duration(math.Round(area + open*float64(horizon-last)))
}
