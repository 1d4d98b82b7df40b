package deadline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"
)

// Hours is one weekly window of a calendar as people write it.
type Hours struct {
	// Days are weekdays and ranges: "mon-fri", "sat", "mon,wed,fri-sun".
	Days string `json:"days" yaml:"days"`
	// From and To are HH:MM on the zone's clock, To up to 24:00. A To that is
	// not after From is on the next day: 22:00 to 06:00 is a night shift, which
	// belongs to the day it starts on.
	From string `json:"from" yaml:"from"`
	To   string `json:"to" yaml:"to"`
}

// CalendarSpec is a calendar as written in a file.
type CalendarSpec struct {
	Name string `json:"name" yaml:"name"`
	// Zone is an IANA name; "" is UTC.
	Zone  string  `json:"zone" yaml:"zone"`
	Hours []Hours `json:"hours" yaml:"hours"`
	// Holidays are dates, YYYY-MM-DD, or MM-DD for every year. No window starts
	// on a holiday; a night shift begun the evening before is worked to its end.
	Holidays []string `json:"holidays,omitempty" yaml:"holidays,omitempty"`
}

// Calendar says which instants are working time. It is immutable; make one with
// NewCalendar. The nil calendar has no working time.
type Calendar struct {
	spec     CalendarSpec
	loc      *time.Location
	week     [7][]window
	holidays map[Date]bool // year 0 stands for every year
}

// window is a span of a day's clock; end may pass 24 h.
type window struct{ from, to time.Duration }

// Span is a half-open interval of instants, UTC.
type Span struct{ From, To time.Time }

// Bounds of a search for working time: an answer that is farther away is a
// mistake in the calendar or the duration, and an error.
const (
	maxIdleDays   = 400       // longest run of days without working time
	maxSearchDays = 100 * 366 // longest way to an answer
	maxHolidays   = 100 * 366 // most holidays of one calendar
	day           = 24 * time.Hour
)

// ErrNoWorkingTime is in the error of a search that found no working time
// within its bounds.
var ErrNoWorkingTime = errors.New("the calendar has no working time there")

// NewCalendar checks a spec and makes the calendar. All faults of the spec are
// reported together; a calendar without any working time is a fault.
func NewCalendar(spec CalendarSpec) (*Calendar, error) {
	c := &Calendar{spec: spec, holidays: make(map[Date]bool)}
	var errs []error
	fail := func(format string, a ...any) {
		errs = append(errs, fmt.Errorf("calendar %q: "+format, append([]any{spec.Name}, a...)...))
	}
	var err error
	if c.loc, err = LoadZone(spec.Zone); err != nil {
		fail("%w", err)
	}
	for i, h := range spec.Hours {
		w, err := parseWindow(h)
		if err != nil {
			fail("hours[%d]: %w", i, err)
			continue
		}
		days, err := parseDays(h.Days)
		if err != nil {
			fail("hours[%d]: %w", i, err)
		}
		for _, d := range days {
			c.week[d] = append(c.week[d], w)
		}
	}
	if len(spec.Hours) == 0 {
		fail("it has no hours, so no duty could ever fall due: add at least one window, e.g. days mon-fri from 09:00 to 17:00")
	}
	if err := c.overlap(); err != nil {
		fail("%w", err)
	}
	if len(spec.Holidays) > maxHolidays {
		fail("%d holidays are more than %d", len(spec.Holidays), maxHolidays)
		return nil, errors.Join(errs...)
	}
	for i, s := range spec.Holidays {
		d, err := parseHoliday(s)
		if err != nil {
			fail("holidays[%d]: %w", i, err)
		}
		c.holidays[d] = true
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// Spec returns what the calendar was made of.
func (c *Calendar) Spec() CalendarSpec { return c.spec }

// Zone returns the zone whose clock the calendar follows.
func (c *Calendar) Zone() *time.Location { return c.loc }

// Version names content and tz database: decisions store it, and equal versions
// give equal deadlines.
func (c *Calendar) Version() string {
	b, err := json.Marshal(c.spec)
	if err != nil { // strings only: cannot fail
		return "invalid"
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6]) + "+tz" + ZoneVersion
}

// Day returns the working spans that start on a civil date, in order, disjoint.
func (c *Calendar) Day(d Date) []Span {
	if c == nil || c.holidays[d] || c.holidays[Date{0, d.Month, d.Day}] {
		return nil
	}
	var spans []Span
	last := c.tail(d)
	for _, w := range c.week[d.Weekday()] {
		s := Span{d.Instant(w.from, c.loc, Start), d.Instant(w.to, c.loc, End)}
		// At a fold a window can end in the second showing of an hour and the
		// next start in the first: the repeated hour counts once.
		if s.From.Before(last) {
			s.From = last
		}
		if s.To.After(s.From) {
			spans = append(spans, s)
			last = s.To
		}
	}
	return spans
}

// tail is the end of the last window of the day before d, which may reach into
// d; the zero time if that day has none.
func (c *Calendar) tail(d Date) time.Time {
	y := d.AddDays(-1)
	ws := c.week[y.Weekday()]
	if len(ws) == 0 || c.holidays[y] || c.holidays[Date{0, y.Month, y.Day}] {
		return time.Time{}
	}
	return y.Instant(ws[len(ws)-1].to, c.loc, End)
}

// IsWorking tells whether an instant is working time.
func (c *Calendar) IsWorking(t time.Time) bool {
	s, err := c.NextSpan(t)
	return err == nil && !s.From.After(t)
}

// NextSpan returns the working span that t lies in, or else the next one.
func (c *Calendar) NextSpan(t time.Time) (Span, error) {
	var found Span
	err := c.spans(t, func(_ Date, s Span) bool {
		found = s
		return false
	})
	return found, err
}

// AddWorking returns the earliest instant at which d of working time has passed
// since start, UTC. d = 0 returns start itself; a negative d is an error.
func (c *Calendar) AddWorking(start time.Time, d time.Duration) (time.Time, error) {
	start = start.UTC()
	if d < 0 {
		return time.Time{}, fmt.Errorf("working time %v is negative", d)
	}
	if d == 0 {
		return start, nil
	}
	var due time.Time
	err := c.spans(start, func(_ Date, s Span) bool {
		if s.From.Before(start) {
			s.From = start
		}
		if have := s.To.Sub(s.From); have < d {
			d -= have
			return true
		}
		due = s.From.Add(d)
		return false
	})
	return due, err
}

// AddWorkingDays returns the instant n business days after start, UTC: as far
// into that day's working time as start is into its own, at most its end. Time
// outside working hours counts as the start of the next working day; n = 0
// returns start itself.
func (c *Calendar) AddWorkingDays(start time.Time, n int) (time.Time, error) {
	start = start.UTC()
	if n < 0 || n > maxSearchDays {
		return time.Time{}, fmt.Errorf("%d business days: want 0 to %d", n, maxSearchDays)
	}
	if n == 0 {
		return start, nil
	}
	var target Date
	var into time.Duration
	seen := 0
	err := c.spans(start, func(d Date, _ Span) bool {
		switch {
		case seen == 0: // the day the clock starts on; later days are counted
			for _, s := range c.Day(d) {
				into += overlapOf(s, Span{s.From, start})
			}
			target, seen = d, 1
		case d != target:
			target, seen = d, seen+1
		}
		return seen <= n
	})
	if err != nil {
		return time.Time{}, err
	}
	var due time.Time
	for _, s := range c.Day(target) {
		length := s.To.Sub(s.From)
		if due = s.From.Add(min(into, length)); into <= length {
			break
		}
		into -= length
	}
	return due, nil
}

// NextOpening returns the first working span that starts at t or later.
func (c *Calendar) NextOpening(t time.Time) (Span, error) {
	var found Span
	err := c.spans(t, func(_ Date, s Span) bool {
		found = s
		return s.From.Before(t)
	})
	return found, err
}

// Working returns the working time between two instants; 0 if to is not after
// from.
func (c *Calendar) Working(from, to time.Time) time.Duration {
	if c == nil {
		return 0
	}
	var sum time.Duration
	// A clock set back over midnight shows the date before again, after windows
	// of the next one have begun.
	last := DateOf(to, c.loc).AddDays(1)
	for d := DateOf(from, c.loc).AddDays(-1); !after(d, last); d = d.AddDays(1) {
		for _, s := range c.Day(d) {
			sum += overlapOf(s, Span{from, to})
		}
	}
	return sum
}

// spans calls yield for the working spans that end after t, in order, until it
// returns false. It gives up with ErrNoWorkingTime at its bounds.
func (c *Calendar) spans(t time.Time, yield func(Date, Span) bool) error {
	if c == nil {
		return ErrNoWorkingTime
	}
	idle := 0
	// A window that starts the day before may reach t.
	d := DateOf(t, c.loc).AddDays(-1)
	for range maxSearchDays {
		idle++
		for _, s := range c.Day(d) {
			idle = 0
			if s.To.After(t) && !yield(d, s) {
				return nil
			}
		}
		if idle > maxIdleDays {
			return fmt.Errorf("calendar %q, %d days up to %s: %w", c.spec.Name, maxIdleDays, d, ErrNoWorkingTime)
		}
		d = d.AddDays(1)
	}
	return fmt.Errorf("calendar %q, %d days after %s: %w", c.spec.Name, maxSearchDays, t.UTC().Format(time.RFC3339), ErrNoWorkingTime)
}

// overlap sorts the windows of each day and reports two that share time.
func (c *Calendar) overlap() error {
	type slot struct {
		at, to time.Duration // since the start of Sunday
		w      window
		d      time.Weekday
	}
	var all []slot
	for d := range c.week {
		sort.Slice(c.week[d], func(i, j int) bool { return c.week[d][i].from < c.week[d][j].from })
		for _, w := range c.week[d] {
			base := time.Duration(d) * day
			all = append(all, slot{base + w.from, base + w.to, w, time.Weekday(d)})
		}
	}
	for i, s := range all {
		next, shift := all[(i+1)%len(all)], time.Duration(0)
		if i+1 == len(all) {
			shift = 7 * day
		}
		if s.to > next.at+shift {
			return fmt.Errorf("the windows %s %s and %s %s overlap", s.d, s.w, next.d, next.w)
		}
	}
	return nil
}

// String returns HH:MM-HH:MM.
func (w window) String() string {
	clock := func(d time.Duration) string { return fmt.Sprintf("%02d:%02d", int(d.Hours()), int(d.Minutes())%60) }
	to := w.to
	if to > day {
		to -= day
	}
	return clock(w.from) + "-" + clock(to)
}

func overlapOf(a, b Span) time.Duration {
	if b.From.After(a.From) {
		a.From = b.From
	}
	if b.To.Before(a.To) {
		a.To = b.To
	}
	return max(0, a.To.Sub(a.From))
}

func after(a, b Date) bool { return a.utc().After(b.utc()) }

// parseWindow reads the clock times of a window.
func parseWindow(h Hours) (window, error) {
	from, err := parseClock(h.From)
	if err != nil {
		return window{}, fmt.Errorf("from: %w", err)
	}
	to, err := parseClock(h.To)
	if err != nil {
		return window{}, fmt.Errorf("to: %w", err)
	}
	switch {
	case from == day:
		return window{}, errors.New("from: 24:00 is the end of a day: write 00:00 of the next")
	case from == to:
		return window{}, fmt.Errorf("from and to are both %s: write 00:00 to 24:00 for a whole day", h.From)
	case to < from:
		to += day
	}
	return window{from, to}, nil
}

// parseClock reads HH:MM, up to 24:00.
func parseClock(s string) (time.Duration, error) {
	if s == "24:00" {
		return day, nil
	}
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("time %q: want HH:MM, from 00:00 to 24:00", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// parseDays reads "mon-fri,sun"; a range may pass the end of the week.
func parseDays(s string) ([]time.Weekday, error) {
	var set [7]bool
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		a, b := weekday(from), weekday(to)
		if a < 0 || b < 0 {
			return nil, fmt.Errorf("days %q: want weekdays and ranges such as mon-fri or sat,sun", s)
		}
		for d := a; ; d = (d + 1) % 7 {
			set[d] = true
			if d == b {
				break
			}
		}
	}
	var days []time.Weekday
	for d, on := range set {
		if on {
			days = append(days, time.Weekday(d))
		}
	}
	return days, nil
}

// weekday reads a day's English name or its first three letters, -1 if it is none.
func weekday(s string) time.Weekday {
	s = strings.ToLower(strings.TrimSpace(s))
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); s == name || s == name[:3] {
			return d
		}
	}
	return -1
}

// parseHoliday reads YYYY-MM-DD or MM-DD.
func parseHoliday(s string) (Date, error) {
	if d, err := ParseDate(s); err == nil {
		return d, nil
	}
	// 2000 is a leap year, so 02-29 is a date.
	d, err := ParseDate("2000-" + s)
	if err != nil {
		return Date{}, fmt.Errorf("holiday %q: want YYYY-MM-DD, or MM-DD for every year", s)
	}
	return Date{0, d.Month, d.Day}, nil
}
