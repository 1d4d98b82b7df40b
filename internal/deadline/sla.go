package deadline

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Unit says how the length of a term is counted.
type Unit uint8

// The units. The zero Unit means that the class has no such duty.
const (
	NoDuty       Unit = iota
	Seconds           // wall-clock seconds, around the clock
	Days              // calendar days: same time of day in the calendar's zone
	WorkSeconds       // seconds of working time
	BusinessDays      // business days, see Calendar.AddWorkingDays
	NextWindow        // end of the next maintenance window
	NextUpgrade       // the next scheduled upgrade or rebuild
)

// Term is the length of one duty. The zero Term is no duty.
type Term struct {
	Unit Unit
	// N is the number of units; NextWindow and NextUpgrade have none.
	N int64
}

// Wall returns a term of wall-clock time, to the second.
func Wall(d time.Duration) Term { return Term{Seconds, int64(d / time.Second)} }

// CalendarDays returns a term of calendar days.
func CalendarDays(n int64) Term { return Term{Days, n} }

// Business tells whether the term stands still outside working hours.
func (t Term) Business() bool {
	return t.Unit == WorkSeconds || t.Unit == BusinessDays || t.Unit == NextWindow
}

// maxTermSeconds bounds every term to 20 years: longer is a slip of the pen.
const maxTermSeconds = 20 * 366 * 24 * 3600

// String returns the form ParseTerm reads: "15m", "3d", "8h working",
// "1 business day", "next window", "next upgrade" or "".
func (t Term) String() string {
	switch t.Unit {
	case Seconds:
		return shortDuration(t.N)
	case Days:
		return strconv.FormatInt(t.N, 10) + "d"
	case WorkSeconds:
		return shortDuration(t.N) + " working"
	case BusinessDays:
		if t.N == 1 {
			return "1 business day"
		}
		return strconv.FormatInt(t.N, 10) + " business days"
	case NextWindow:
		return "next window"
	case NextUpgrade:
		return "next upgrade"
	}
	return ""
}

// MarshalText writes String.
func (t Term) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what ParseTerm reads.
func (t *Term) UnmarshalText(b []byte) error {
	v, err := ParseTerm(string(b))
	*t = v
	return err
}

// ParseTerm reads the length of a duty: "90s", "15m", "4h" or "1h30m"
// (wall-clock), "3d" (calendar days), "8h working" (working time),
// "1 business day", "next window", "next upgrade"; "" and "none" are no duty.
func ParseTerm(s string) (Term, error) {
	bad := func(why string) (Term, error) {
		return Term{}, fmt.Errorf(`term %q: %s: want e.g. 15m, 4h, 3d, "8h working", "1 business day", "next window", "next upgrade" or "none"`, s, why)
	}
	words := strings.Fields(strings.ToLower(s))
	switch strings.Join(words, " ") {
	case "", "none":
		return Term{}, nil
	case "next window", "next maintenance window":
		return Term{Unit: NextWindow}, nil
	case "next upgrade":
		return Term{Unit: NextUpgrade}, nil
	}
	t, number := Term{Unit: Seconds}, words[0]
	switch {
	case len(words) == 2 && words[1] == "working":
		t.Unit = WorkSeconds
	case len(words) == 3 && words[1] == "business" && (words[2] == "day" || words[2] == "days"):
		t.Unit = BusinessDays
	case len(words) != 1:
		return bad("not understood")
	case strings.HasSuffix(number, "d"):
		t.Unit, number = Days, strings.TrimSuffix(number, "d")
	}
	secondsPerUnit := int64(1)
	if t.Unit == Days || t.Unit == BusinessDays {
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			return bad("not a whole number of days")
		}
		t.N, secondsPerUnit = n, 24*3600
	} else {
		d, err := time.ParseDuration(number)
		if err != nil {
			return bad("not a duration")
		}
		if d%time.Second != 0 {
			return bad("smaller than a second")
		}
		t.N = int64(d / time.Second)
	}
	if t.N <= 0 {
		return bad("not a positive length")
	}
	if t.N*secondsPerUnit > maxTermSeconds {
		return bad("longer than 20 years")
	}
	return t, nil
}

// shortDuration writes seconds as 1h30m, without empty parts.
func shortDuration(seconds int64) string {
	var b strings.Builder
	for _, p := range []struct {
		n    int64
		unit string
	}{{seconds / 3600, "h"}, {seconds / 60 % 60, "m"}, {seconds % 60, "s"}} {
		if p.n != 0 {
			fmt.Fprintf(&b, "%d%s", p.n, p.unit)
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// Duties are the terms of one risk class.
type Duties struct {
	Ack     Term `json:"ack,omitzero" yaml:"ack"`
	Contain Term `json:"contain,omitzero" yaml:"contain"`
	Fix     Term `json:"fix,omitzero" yaml:"fix"`
}

// Defaults of an SLA.
const (
	// DefaultWarnPercent is the share of a term after which a warning goes out.
	DefaultWarnPercent = 75
	// DefaultUpgradeDays stands in for a next upgrade nobody has scheduled.
	DefaultUpgradeDays = 90
)

// SLA gives every risk class its duties.
type SLA struct {
	Name    string
	Classes map[RiskClass]Duties
	// WarnPercent is 1..99.
	WarnPercent int
	// Calendar is the working time of the people who owe the duties. Its zone
	// also says when a calendar day is over (UTC without a calendar).
	Calendar *Calendar
	// Maintenance holds the maintenance windows; needed by "next window" only.
	Maintenance *Calendar
	// Upgrade is the next scheduled upgrade. Zero, or not after a clock's start,
	// it is DefaultUpgradeDays after that start.
	Upgrade time.Time
}

// DefaultSLA is the pack whose fix terms are the tiers of CISA BOD 26-04: 3, 14
// and 60 calendar days and the next upgrade. Working time, which only the
// acknowledgement of K3 uses, is Monday to Friday 9 to 17 in UTC; a real install
// names its own calendar.
func DefaultSLA() SLA {
	return SLA{
		Name: "default", WarnPercent: DefaultWarnPercent, Calendar: officeHours(),
		Classes: map[RiskClass]Duties{
			K1: {Ack: Wall(15 * time.Minute), Contain: Wall(time.Hour), Fix: CalendarDays(3)},
			K2: {Ack: Wall(4 * time.Hour), Contain: Wall(24 * time.Hour), Fix: CalendarDays(3)},
			K3: {Ack: Term{BusinessDays, 1}, Fix: CalendarDays(14)},
			K4: {Fix: CalendarDays(60)},
			K5: {Fix: Term{Unit: NextUpgrade}},
		},
	}
}

// LadderSLA is the pack "1 hour, one business day, next maintenance window": K1
// an hour, K2 and K3 one business day, K4 and K5 the next window. Containment of
// K2 runs around the clock and so has 24 hours. Windows are Saturday 22:00 to
// Sunday 04:00 UTC until an install names its own.
func LadderSLA() SLA {
	oneDay, window := Term{BusinessDays, 1}, Term{Unit: NextWindow}
	return SLA{
		Name: "ladder", WarnPercent: DefaultWarnPercent, Calendar: officeHours(), Maintenance: weekendNight(),
		Classes: map[RiskClass]Duties{
			K1: {Ack: Wall(15 * time.Minute), Contain: Wall(time.Hour), Fix: Wall(time.Hour)},
			K2: {Ack: Wall(time.Hour), Contain: Wall(24 * time.Hour), Fix: oneDay},
			K3: {Ack: oneDay, Fix: oneDay},
			K4: {Fix: window},
			K5: {Fix: window},
		},
	}
}

// Check reports everything in the SLA that could not be kept: a class without
// duties, business time for K1 or for containment, a term whose calendar is
// missing, duties in an order that makes no sense of a clock.
func (s SLA) Check() error {
	var errs []error
	fail := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("sla %q: "+format, append([]any{s.Name}, a...)...))
	}
	if s.WarnPercent < 1 || s.WarnPercent > 99 {
		fail("warn_percent is %d: want 1 to 99", s.WarnPercent)
	}
	for class := range s.Classes {
		if class < K1 || class > K5 {
			fail("class %d does not exist: want K1 to K5", class)
		}
	}
	for class := K1; class <= K5; class++ {
		d, ok := s.Classes[class]
		if !ok || d.Fix.Unit == NoDuty {
			fail("%s has no fix term: a case of this class would never fall due", class)
		}
		for _, p := range []struct {
			name string
			term Term
		}{{"ack", d.Ack}, {"contain", d.Contain}, {"fix", d.Fix}} {
			if err := s.checkTerm(class, p.name, p.term); err != nil {
				fail("%s %s: %w", class, p.name, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (s SLA) checkTerm(class RiskClass, duty string, t Term) error {
	switch {
	case t.Unit > NextUpgrade:
		return fmt.Errorf("unknown unit %d", t.Unit)
	case t.Business() && class == K1:
		return fmt.Errorf("%q stands still outside working hours; K1 runs around the clock: give wall-clock time or days", t)
	case t.Business() && duty == "contain":
		return fmt.Errorf("%q stands still outside working hours; containment runs around the clock: give wall-clock time or days", t)
	case (t.Unit == WorkSeconds || t.Unit == BusinessDays) && s.Calendar == nil:
		return fmt.Errorf("%q needs a calendar", t)
	case t.Unit == NextWindow && s.Maintenance == nil:
		return fmt.Errorf("%q needs maintenance windows", t)
	case t.Unit != NoDuty && t.Unit < NextWindow && t.N <= 0:
		return fmt.Errorf("%q is not a positive length", t)
	}
	return nil
}

// Clocks returns the due instants of a case of the class whose clock starts at
// start. It fails for a class without duties, for business time where it is
// forbidden, and when a calendar has no answer within its bounds.
func (s SLA) Clocks(class RiskClass, start time.Time) (Clocks, error) {
	d, ok := s.Classes[class]
	if !ok {
		return Clocks{}, fmt.Errorf("sla %q has no duties for class %s", s.Name, class)
	}
	c := Clocks{WarnPercent: s.WarnPercent}
	for _, p := range []struct {
		name string
		term Term
		at   *time.Time
	}{{"ack", d.Ack, &c.Ack}, {"contain", d.Contain, &c.Contain}, {"fix", d.Fix, &c.Fix}} {
		err := s.checkTerm(class, p.name, p.term)
		if err == nil {
			*p.at, err = s.due(p.term, start.UTC())
		}
		if err != nil {
			return Clocks{}, fmt.Errorf("sla %q %s %s: %w", s.Name, class, p.name, err)
		}
	}
	return c, nil
}

// due returns the instant a term that starts at start ends; zero for no duty.
func (s SLA) due(t Term, start time.Time) (time.Time, error) {
	switch t.Unit {
	case Seconds:
		return start.Add(time.Duration(t.N) * time.Second), nil
	case Days:
		return s.addDays(start, int(t.N)), nil
	case WorkSeconds:
		return s.Calendar.AddWorking(start, time.Duration(t.N)*time.Second)
	case BusinessDays:
		return s.Calendar.AddWorkingDays(start, int(t.N))
	case NextWindow:
		w, err := s.Maintenance.NextOpening(start)
		return w.To, err
	case NextUpgrade:
		if s.Upgrade.After(start) {
			return s.Upgrade.UTC(), nil
		}
		return s.addDays(start, DefaultUpgradeDays), nil
	}
	return time.Time{}, nil
}

// addDays keeps the time of day on the calendar's clock.
func (s SLA) addDays(start time.Time, n int) time.Time {
	loc := time.UTC
	if s.Calendar != nil {
		loc = s.Calendar.Zone()
	}
	at := start.In(loc)
	since := time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute +
		time.Duration(at.Second())*time.Second + time.Duration(at.Nanosecond())
	return DateOf(start, loc).AddDays(n).Instant(since, loc, End)
}

// WarnAt returns the instant at which percent of the time from start to due has
// passed; due itself if the clock is already over at its start, and the zero
// time for a duty that does not exist.
func WarnAt(start, due time.Time, percent int) time.Time {
	if due.IsZero() || !due.After(start) {
		return due
	}
	percent = min(max(percent, 0), 100)
	// In whole seconds, so that a term of decades does not overflow.
	seconds := int64(due.Sub(start)/time.Second) * int64(percent) / 100
	return start.Add(time.Duration(seconds) * time.Second)
}

// officeHours is Monday to Friday 9 to 17 in UTC.
func officeHours() *Calendar {
	w := []window{{9 * time.Hour, 17 * time.Hour}}
	return &Calendar{
		spec: CalendarSpec{Name: "office-hours-utc", Zone: "UTC", Hours: []Hours{{"mon-fri", "09:00", "17:00"}}},
		loc:  time.UTC, week: [7][]window{1: w, 2: w, 3: w, 4: w, 5: w},
	}
}

// weekendNight is Saturday 22:00 to Sunday 04:00 in UTC.
func weekendNight() *Calendar {
	return &Calendar{
		spec: CalendarSpec{Name: "weekend-night-utc", Zone: "UTC", Hours: []Hours{{"sat", "22:00", "04:00"}}},
		loc:  time.UTC, week: [7][]window{time.Saturday: {{22 * time.Hour, 28 * time.Hour}}},
	}
}
