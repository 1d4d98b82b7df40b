package simulation

import (
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// stood is a time in which the clock of a case stood still: an exception's, or
// one that a person paused it for. ended is zero while it lasts.
type stood struct{ from, until, ended time.Time }

func (x *stood) end() time.Time {
	if x.ended.IsZero() {
		return x.until
	}
	return x.ended
}

// stopped is the time in which the clock stands still now, nil if it runs.
func (v *caseView) stopped() *stood {
	if n := len(v.stood); n > 0 && v.stood[n-1].ended.IsZero() {
		return v.stood[n-1]
	}
	return nil
}

func (v *caseView) stops(from, until time.Time) {
	v.stood = append(v.stood, &stood{from: from, until: until})
}

// runs ends it: at its date, if that has passed.
func (v *caseView) runs(at time.Time) {
	if x := v.stopped(); x != nil {
		x.ended = at
		if x.until.Before(at) {
			x.ended = x.until
		}
	}
}

// due is an instant of the clock as judged, put off by the time that the clock
// stood still before it came.
func (v *caseView) due(at time.Time) time.Time {
	for _, x := range v.stood {
		if !at.IsZero() && x.from.Before(at) {
			at = at.Add(x.end().Sub(x.from))
		}
	}
	return at
}

// breached: a breach is of an instant that has come, and comes while the clock
// runs.
func (a *audit) breached(v *caseView, e store.StoredEvent, b remedy.ClockSaid) {
	k := v.judged.Clocks
	due := v.due(k.Due(b.Duty))
	if !due.Equal(b.Due) || due.After(e.At) {
		a.s.breach(11, "case %s is said to be overdue (%s, %s) at %s; due is %s", v.id, b.Duty, b.Due, e.At, due)
	}
	if x := v.stopped(); x != nil && e.At.Before(x.until) && due.After(x.from) {
		a.s.breach(11, "case %s is overdue (%s) while its clock is paused until %s", v.id, b.Duty, x.until)
	}
}
