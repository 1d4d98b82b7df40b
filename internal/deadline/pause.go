package deadline

import "time"

// MaxPausePercent bounds all pauses of one episode together: a share of the
// term of every duty that a pause would put off (reference: standards.md 8).
const MaxPausePercent = 30

// Still is a time in which duties stand still, UTC. While it lasts, To is its
// planned end.
type Still struct{ From, To time.Time }

// Shift returns an instant of a clock put off by the times in which the clock
// stood still, exactly: each that began before the instant came counts whole.
// What had come before a time began is not moved by it. The times are in order
// and don't overlap.
func Shift(at time.Time, still []Still) time.Time {
	if at.IsZero() {
		return at
	}
	for _, s := range still {
		if !s.From.Before(at) {
			break
		}
		at = at.Add(s.To.Sub(s.From))
	}
	return at
}

// Shift returns the clocks put off by the times in which they stood still.
func (c Clocks) Shift(still []Still) Clocks {
	if len(still) == 0 {
		return c
	}
	c.Ack, c.Contain, c.Fix = Shift(c.Ack, still), Shift(c.Contain, still), Shift(c.Fix, still)
	return c
}

// Stood is how much of the time between two instants a clock stood still.
func Stood(still []Still, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, s := range still {
		a, b := s.From, s.To
		if a.Before(from) {
			a = from
		}
		if b.After(to) {
			b = to
		}
		sum += max(0, b.Sub(a))
	}
	return sum
}

// MaxPause is the longest time for which a duty with these instants may stand
// still in all, in whole seconds.
func MaxPause(start, due time.Time) time.Duration {
	return max(0, due.Sub(start)/time.Second*MaxPausePercent/100) * time.Second
}
