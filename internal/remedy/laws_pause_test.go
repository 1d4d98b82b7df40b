package remedy

import (
	"time"
)

// stand is a time in which the clock stood still, as the laws noted it.
type stand struct {
	from, until, ended time.Time
	person             bool // a person paused it; else an exception
}

func (s stand) end() time.Time {
	if s.ended.IsZero() {
		return s.until
	}
	return s.ended
}

// stopped returns the time in which the clock stands still now, nil if it runs.
func (l *laws) stopped() *stand {
	if n := len(l.stands); n > 0 && l.stands[n-1].ended.IsZero() {
		return &l.stands[n-1]
	}
	return nil
}

// pauses holds law 11 of paused SLA time: an enumerated reason, a person, words,
// an end, a cap; and notes how long the clock stood still.
func (l *laws) pauses(c Case, e Event) {
	over := func(at time.Time) {
		if s := l.stopped(); s != nil {
			s.ended = at
			if s.until.Before(at) {
				s.ended = s.until
			}
		}
	}
	switch b := e.Body.(type) {
	case ClockPaused:
		p := b.Pause
		l.must(p.Reason == "vendor" || p.Reason == "change_freeze" || p.Reason == "legal_hold", "a pause has an enumerated reason: %q", p.Reason)
		l.must(e.By.Kind == Person && p.By == e.By.ID && p.Note != "", "a person pauses, in words: %+v by %s", p, e.By.Kind)
		l.must(p.Until.After(e.At) && p.From.Equal(e.At) && p.Ended.IsZero(), "a pause begins now and has an end: %+v at %s", p, e.At)
		l.must(c.Open() && c.Exception == nil && l.stopped() == nil, "only a running clock is paused")
		l.stands = append(l.stands, stand{from: e.At, until: p.Until, person: true})
		l.capped(c, e.At)
	case ClockResumed:
		s := l.stopped()
		l.must(s != nil && s.person, "only a paused clock is resumed")
		l.must(!b.At.After(s.until) && !b.At.After(e.At) && !b.At.Before(s.from), "a pause ends at its date or earlier: %s, until %s, now %s", b.At, s.until, e.At)
		l.must(b.At.Equal(s.until) || b.At.Equal(e.At), "a pause lasts exactly until its end: %s", b.At)
		s.ended = b.At
	case ExceptionGranted:
		l.must(l.stopped() == nil, "an exception takes the place of a pause")
		l.stands = append(l.stands, stand{from: e.At, until: b.Exception.Until})
	case ExceptionEnded, EpisodeClosed, MergedInto:
		over(e.At)
	case EpisodeStarted:
		l.stands = nil
	case ClockSaid:
		if b.Breach {
			due, at := l.due(c, b.Duty), e.At
			l.must(b.Due.Equal(due) && !due.After(at), "a breach is of a time that has passed, pauses left out: %s said %s, due %s, now %s", b.Duty, b.Due, due, at)
			s := l.stopped()
			l.must(s == nil || !at.Before(s.until) || !due.After(s.from), "no breach while the clock stands still: %s of %s, paused %s to %s", b.Duty, due, l.from(s), at)
		}
	}
}

func (l *laws) from(s *stand) time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.from
}

// base are the instants as judged, without any pause.
func base(c Case, duty string) time.Time {
	k := c.Judgement.Clocks
	return map[string]time.Time{"ack": k.Ack, "contain": k.Contain, "fix": k.Fix}[duty]
}

// due is when a duty is due: the term judged, and what the clock stood still
// before it came, to the nanosecond.
func (l *laws) due(c Case, duty string) time.Time {
	at := base(c, duty)
	for _, s := range l.stands {
		if !at.IsZero() && s.from.Before(at) {
			at = at.Add(s.end().Sub(s.from))
		}
	}
	return at
}

// open are the duties that are not met.
func unmet(c Case) []string {
	var out []string
	ep := c.Episode()
	if !ep.acked() {
		out = append(out, "ack")
	}
	if ep.ContainedAt.IsZero() {
		out = append(out, "contain")
	}
	return append(out, "fix")
}

// capped: what people paused in this episode is at most three tenths of the term
// of each duty that still runs.
func (l *laws) capped(c Case, at time.Time) {
	var sum time.Duration
	for _, s := range l.stands {
		if s.person {
			sum += s.end().Sub(s.from)
		}
	}
	for _, duty := range unmet(c) {
		t := base(c, duty)
		if t.IsZero() || !at.Before(l.due(c, duty)) {
			continue
		}
		l.must(sum*10 <= t.Sub(c.Episode().OpenedAt)*3, "pauses are capped: %s of the %s to %s", sum, t.Sub(c.Episode().OpenedAt), duty)
	}
}

// still: what the case says of its pauses is what happened.
func (l *laws) still(c Case) {
	var sum time.Duration
	for _, s := range l.stands {
		sum += s.end().Sub(s.from)
	}
	l.must(c.Episode().Paused(c.At.Add(100*365*24*time.Hour)) == sum, "paused time is the sum of the pauses: %s, %s", c.Episode().Paused(c.At.Add(100*365*24*time.Hour)), sum)
	for _, duty := range []string{"ack", "contain", "fix"} {
		l.must(c.Clocks().Due(duty).Equal(l.due(c, duty)), "deadlines move by the paused time exactly: %s is %s, want %s", duty, c.Clocks().Due(duty), l.due(c, duty))
	}
	if s := l.stopped(); s != nil {
		l.must(c.Open(), "a closed case is not paused")
		l.must(!WakeAt(c).After(s.until), "a pause ends by itself: wakes %s, until %s", WakeAt(c), s.until)
	}
}

// ticked: after the clocks spoke, what is overdue is known to be.
func (l *laws) ticked(c Case, at time.Time) {
	if !c.Open() || c.Exception != nil {
		return
	}
	for _, duty := range unmet(c) {
		t := l.due(c, duty)
		l.must(t.IsZero() || t.After(at) || l.said[duty+" true "], "no breach is passed over: %s was due %s, now %s", duty, t, at)
	}
	if s := l.stopped(); s != nil {
		l.must(s.until.After(at), "a pause is over at its date: %s, now %s", s.until, at)
	}
}
