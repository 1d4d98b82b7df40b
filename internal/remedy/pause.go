package remedy

import (
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// PauseReason is why the SLA clock of a case stands still. There are no others;
// "waiting for the owner" is what the clock is there to measure.
type PauseReason string

// The reasons. PauseException is the time of an exception, which a second
// person granted; nobody can give it as the reason of a pause.
const (
	PauseVendor    PauseReason = "vendor"        // the mend has to come from a vendor
	PauseFreeze    PauseReason = "change_freeze" // changes are forbidden for now
	PauseLegal     PauseReason = "legal_hold"    // the state has to be kept as it is
	PauseException PauseReason = "exception"
)

// PauseReasons are the reasons a person can give.
func PauseReasons() []PauseReason { return []PauseReason{PauseVendor, PauseFreeze, PauseLegal} }

// Words are the reason for people.
func (r PauseReason) Words() string {
	switch r {
	case PauseVendor:
		return "waiting for the vendor"
	case PauseFreeze:
		return "change freeze"
	case PauseLegal:
		return "legal hold"
	}
	return string(r)
}

// waitsFor is the reason as a bottleneck.
func (r PauseReason) waitsFor() string {
	if r == PauseVendor {
		return "vendor"
	}
	return r.Words()
}

// Pause is a time in which the SLA clock of an episode stands still. The
// exposure goes on (law 11). All times are UTC.
type Pause struct {
	Reason PauseReason `json:"reason"`
	// By is the person who paused it, or granted the exception.
	By   string    `json:"by"`
	From time.Time `json:"from"`
	// Until is the end that was given; Ended the end that came, never later; zero
	// while the pause lasts.
	Until time.Time `json:"until"`
	Ended time.Time `json:"ended,omitzero"`
	Note  Note      `json:"note,omitempty"`
}

// End is when the pause ended, or will.
func (p Pause) End() time.Time {
	if p.Ended.IsZero() {
		return p.Until
	}
	return p.Ended
}

// Still are the times in which the clock of the episode stood still, in order.
func (e Episode) Still() []deadline.Still {
	if len(e.Pauses) == 0 {
		return nil
	}
	out := make([]deadline.Still, len(e.Pauses))
	for i, p := range e.Pauses {
		out[i] = deadline.Still{From: p.From, To: p.End()}
	}
	return out
}

// Paused is how long the clock of the episode stood still up to an instant.
func (e Episode) Paused(at time.Time) time.Duration {
	return deadline.Stood(e.Still(), time.Time{}, at)
}

// Pausing returns the pause that lasts, of an exception as well.
func (c Case) Pausing() (Pause, bool) {
	ps := c.Episode().Pauses
	if n := len(ps); n > 0 && ps[n-1].Ended.IsZero() {
		return ps[n-1], true
	}
	return Pause{}, false
}

// pausing returns the pause of the clock that lasts, exceptions left out.
func (c Case) pausing() (Pause, bool) {
	p, ok := c.Pausing()
	return p, ok && p.Reason != PauseException
}

// pauseClock lets the clock stand still for an enumerated reason until a date.
func (s *step) pauseClock(d PauseClock) error {
	switch {
	case !s.c.Open():
		return refuse(NotNow, "the case is closed")
	case s.by.Kind != Person:
		return refuse(Forbidden, "only a person can pause the SLA clock")
	case !slices.Contains(PauseReasons(), d.Reason):
		return refuse(Invalid, "the SLA clock is paused for one of %s; %q is none of them, and waiting for the owner is what the clock measures", reasonList(), d.Reason)
	case d.Note == "":
		return refuse(Invalid, "say who or what is waited for: it goes into the record")
	case !d.Until.After(s.at):
		return refuse(Invalid, "a pause ends: give a date in the future")
	case s.c.Exception != nil:
		return refuse(NotNow, "an exception is in force until %s: the clock stands still", s.c.Exception.Until.Format(time.RFC3339))
	}
	if p, ok := s.c.pausing(); ok {
		return refuse(NotNow, "the SLA clock is paused until %s (%s): resume it first", p.Until.Format(time.RFC3339), p.Reason.Words())
	}
	if err := s.c.mayStand(s.at, d.Until); err != nil {
		return err
	}
	s.emit(ClockPaused{Pause{Reason: d.Reason, By: s.by.ID, From: s.at, Until: d.Until.UTC().Round(0), Note: d.Note}})
	s.tell("SLA clock paused until " + d.Until.UTC().Format(time.RFC3339) + ": " + d.Reason.Words())
	return nil
}

func reasonList() string {
	var out []string
	for _, r := range PauseReasons() {
		out = append(out, string(r))
	}
	return strings.Join(out, ", ")
}

// mayStand: the pause leaves each duty that still runs within its cap, and
// there is one that runs.
func (c Case) mayStand(from, until time.Time) error {
	start, base, runs := c.Episode().OpenedAt, c.Judgement.Clocks, false
	stood := c.pausedByPeople()
	for _, d := range c.duties() {
		if !from.Before(d.due) {
			continue // overdue already: no pause moves it
		}
		runs = true
		limit := deadline.MaxPause(start, base.Due(d.name))
		if until.Sub(from)+stood > limit {
			return refuse(Invalid, "the clock to %s may stand still for %s in all (%d %% of its time), %s are used: give an earlier end than %s%s",
				dutyWord(d.name), limit, deadline.MaxPausePercent, stood, until.UTC().Format(time.RFC3339), meetFirst(d.name))
		}
	}
	if !runs {
		return refuse(NotNow, "no clock runs that could be paused: each is met or overdue; request an exception")
	}
	return nil
}

// dutyWord is the verb of a duty.
func dutyWord(duty string) string {
	if duty == "ack" {
		return "acknowledge"
	}
	return duty
}

// meetFirst is what stops a short clock that stands in the way of a pause.
func meetFirst(duty string) string {
	switch duty {
	case "ack":
		return ", or acknowledge the case first"
	case "contain":
		return ", or contain it first"
	}
	return ", or request an exception"
}

// pausedByPeople is the time of the pauses of the episode that have ended,
// exceptions left out: a second person granted those.
func (c Case) pausedByPeople() time.Duration {
	var sum time.Duration
	for _, p := range c.Episode().Pauses {
		if p.Reason != PauseException && !p.Ended.IsZero() {
			sum += p.Ended.Sub(p.From)
		}
	}
	return sum
}

// resumeClock ends the pause that lasts.
func (s *step) resumeClock(why string) error {
	p, ok := s.c.pausing()
	if !ok {
		return refuse(NotNow, "the SLA clock is not paused")
	}
	s.emit(ClockResumed{At: endOf(p, s.at), Why: why})
	text := "The SLA clock runs again: " + why
	if fix := s.c.Clocks().Fix; !fix.IsZero() {
		text += "; fix due " + fix.Format(time.RFC3339)
	}
	s.say("resumed", text, "", s.c.Owner())
	s.tell(text)
	return nil
}

// putInForce puts a judgement in force. A stricter class or an earlier deadline
// ends the pause: it was given for the time there was.
func (s *step) putInForce(next Judgement, trigger string) {
	was := s.c.Judgement
	k, n := was.Clocks, next.Clocks
	same := was.Decision.Class == next.Decision.Class && k.Ack.Equal(n.Ack) && k.Contain.Equal(n.Contain) && k.Fix.Equal(n.Fix)
	s.emit(Judged{next, trigger})
	if _, ok := s.c.pausing(); ok && !same {
		_ = s.resumeClock("the deadlines became stricter") // there is a pause
	}
}

// endOf is when a pause ends that is ended at an instant: a pause that nobody
// looked after ended at its date.
func endOf(p Pause, at time.Time) time.Time {
	if p.Until.Before(at) {
		return p.Until
	}
	return at
}

// paused begins a pause of the episode.
func paused(c Case, p Pause) Case {
	return withEpisode(c, func(ep *Episode) { ep.Pauses = append(slices.Clip(ep.Pauses), p) })
}

// resumed ends the pause that lasts, if one does.
func resumed(c Case, at time.Time) Case {
	if _, ok := c.Pausing(); !ok {
		return c
	}
	return withEpisode(c, func(ep *Episode) {
		ep.Pauses = slices.Clone(ep.Pauses)
		p := &ep.Pauses[len(ep.Pauses)-1]
		p.Ended = endOf(*p, at)
	})
}
