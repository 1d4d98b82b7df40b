package report

import (
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

// Survival estimates the curve of intervals.
func Survival(observations []Observation) Curve {
	var s Sample
	for _, o := range observations {
		s.Add(o)
	}
	return slices.Collect(s.curve())
}

// reached tells whether the share q (0..1) has ended at a step.
func (p Point) reached(q float64) bool {
	// Products of fractions miss a round share by the last bits.
	const tolerance = 1e-12
	return p.Open <= 1-q+tolerance
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
	for _, p := range c {
		if p.reached(q) {
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
