package deadline

import (
	"fmt"
	"time"
)

// Date is a civil date without a zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf returns the civil date an instant has in a zone.
func DateOf(t time.Time, loc *time.Location) Date {
	y, m, d := t.In(loc).Date()
	return Date{y, m, d}
}

// ParseDate reads YYYY-MM-DD.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, fmt.Errorf("date %q: want YYYY-MM-DD", s)
	}
	return DateOf(t, time.UTC), nil
}

// String returns YYYY-MM-DD.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// AddDays returns the date n days later (earlier if n is negative).
func (d Date) AddDays(n int) Date { return DateOf(d.utc().AddDate(0, 0, n), time.UTC) }

// Weekday returns the day of the week.
func (d Date) Weekday() time.Weekday { return d.utc().Weekday() }

// utc is midnight of the date in UTC, where every civil time exists once.
func (d Date) utc() time.Time { return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC) }

// Edge says which of two instants a civil time means that a clock shows twice.
type Edge uint8

// Start takes the first of the two, End the second, so that a span never loses
// the repeated hour.
const (
	Start Edge = iota
	End
)

// Instant returns the instant at which a clock in loc shows the civil time
// `since` after midnight of d (0 to 48 h), in UTC. A time that the clock skips is
// the first instant after the gap; one that it shows twice is the first for
// Start and the second for End.
//
// time.Date is not used because it resolves gaps and folds differently from zone
// to zone, and Time.ZoneBounds because its bounds are a day off at the end of
// leap years that a zone covers by rule. It relies on a zone changing its offset
// at most once within two days.
func (d Date) Instant(since time.Duration, loc *time.Location, edge Edge) time.Time {
	wall := d.utc().Add(since) // the civil time, as if the zone were UTC
	// No offset from UTC in the tz database exceeds 16 h.
	const margin = 16 * time.Hour
	from, to := wall.Truncate(time.Second).Add(-margin), wall.Truncate(time.Second).Add(margin)
	before, after := offset(from, loc), offset(to, loc)
	if before == after {
		return wall.Add(-before)
	}
	// Narrow down to the second from which the clock shows the new offset.
	for to.Sub(from) > time.Second {
		middle := from.Add(to.Sub(from) / 2).Truncate(time.Second)
		if offset(middle, loc) == before {
			from = middle
		} else {
			to = middle
		}
	}
	change := to
	first, second := wall.Add(-before), wall.Add(-after)
	switch shown, shownAgain := first.Before(change), !second.Before(change); {
	case shown && shownAgain && edge == End:
		return second
	case shown:
		return first
	case shownAgain:
		return second
	}
	return change
}

// offset is what a clock in loc is ahead of UTC at an instant.
func offset(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}
