package deadline

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func calendar(t testing.TB, spec CalendarSpec) *Calendar {
	t.Helper()
	c, err := NewCalendar(spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAddWorking(t *testing.T) {
	office := []Hours{{"mon-fri", "09:00", "17:00"}}
	night := []Hours{{"mon-sun", "22:00", "06:00"}}
	lunch := []Hours{{"mon-fri", "09:00", "12:00"}, {"mon-fri", "13:00", "17:00"}}
	tests := []struct {
		name, zone string
		hours      []Hours
		holidays   []string
		start      string
		add        time.Duration
		want       string
	}{
		{"within a day", "UTC", office, nil, "2026-11-23T10:00:00Z", 2 * time.Hour, "2026-11-23T12:00:00Z"},
		{"to the minute of closing", "UTC", office, nil, "2026-11-23T09:00:00Z", 8 * time.Hour, "2026-11-23T17:00:00Z"},
		{"over a weekend", "UTC", office, nil, "2026-11-20T16:00:00Z", 2 * time.Hour, "2026-11-23T10:00:00Z"},
		{"from outside", "UTC", office, nil, "2026-11-21T03:00:00Z", time.Hour, "2026-11-23T10:00:00Z"},
		{"over lunch", "UTC", lunch, nil, "2026-11-23T11:30:00Z", time.Hour, "2026-11-23T13:30:00Z"},
		{"nothing to add", "UTC", office, nil, "2026-11-21T03:00:00Z", 0, "2026-11-21T03:00:00Z"},
		{"night of 23 h date", "Europe/Paris", night, nil, "2027-03-27T22:00:00+01:00", 7 * time.Hour, "2027-03-28T06:00:00+02:00"},
		{"night of 25 h date", "Europe/Paris", night, nil, "2026-10-24T22:00:00+02:00", 9 * time.Hour, "2026-10-25T06:00:00+01:00"},
		{"holiday", "UTC", office, []string{"2026-12-25"}, "2026-12-24T16:00:00Z", 2 * time.Hour, "2026-12-28T10:00:00Z"},
		{"holiday of every year", "UTC", office, []string{"12-25"}, "2026-12-24T16:00:00Z", 2 * time.Hour, "2026-12-28T10:00:00Z"},
		{"night before a holiday is worked to its end", "UTC", night, []string{"2026-12-25"}, "2026-12-24T22:00:00Z", 9 * time.Hour, "2026-12-26T23:00:00Z"},
		{"night touching the fold", "Europe/Paris", []Hours{{"mon-sun", "00:00", "02:30"}, {"mon-sun", "02:30", "04:00"}}, nil,
			"2026-10-25T00:00:00+02:00", 5 * time.Hour, "2026-10-25T04:00:00+01:00"},
		{"window inside the gap is empty", "Europe/Paris", []Hours{{"mon-sun", "02:10", "02:50"}}, nil,
			"2027-03-28T00:00:00+01:00", 40 * time.Minute, "2027-03-29T02:50:00+02:00"},
		{"date that never was", "Pacific/Apia", []Hours{{"mon-sun", "09:00", "17:00"}}, nil,
			"2011-12-29T16:00:00-10:00", 2 * time.Hour, "2011-12-31T10:00:00+14:00"},
		{"clock set back over midnight", "America/St_Johns", []Hours{{"mon-sun", "00:00", "00:10"}}, nil,
			"2006-10-28T12:00:00-02:30", 70 * time.Minute, "2006-10-29T00:10:00-03:30"},
		{"leap day", "UTC", office, nil, "2028-02-28T16:00:00Z", 9 * time.Hour, "2028-02-29T17:00:00Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := calendar(t, CalendarSpec{Name: "test", Zone: test.zone, Hours: test.hours, Holidays: test.holidays})
			got, err := c.AddWorking(instant(t, test.start), test.add)
			if err != nil {
				t.Fatal(err)
			}
			if want := instant(t, test.want); !got.Equal(want) {
				t.Errorf("got %s, want %s", got.In(c.Zone()), want.In(c.Zone()))
			}
		})
	}
}

func TestAddWorkingDays(t *testing.T) {
	c := calendar(t, CalendarSpec{Name: "test", Zone: "UTC", Hours: []Hours{{"mon-thu", "09:00", "17:00"}, {"fri", "09:00", "13:00"}}, Holidays: []string{"2026-12-25"}})
	tests := []struct {
		name, start string
		n           int
		want        string
	}{
		{"next day, same time", "2026-11-23T15:00:00Z", 1, "2026-11-24T15:00:00Z"},
		{"shorter day ends it", "2026-11-26T15:00:00Z", 1, "2026-11-27T13:00:00Z"},
		{"over the weekend", "2026-11-27T10:00:00Z", 1, "2026-11-30T10:00:00Z"},
		{"after hours starts tomorrow", "2026-11-23T20:00:00Z", 1, "2026-11-25T09:00:00Z"},
		{"at closing starts tomorrow", "2026-11-23T17:00:00Z", 1, "2026-11-25T09:00:00Z"},
		{"from Saturday", "2026-11-28T20:00:00Z", 1, "2026-12-01T09:00:00Z"},
		{"over a holiday", "2026-12-24T10:00:00Z", 1, "2026-12-28T10:00:00Z"},
		{"five", "2026-11-23T10:00:00Z", 5, "2026-11-30T10:00:00Z"},
		{"none", "2026-11-28T20:00:00Z", 0, "2026-11-28T20:00:00Z"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := c.AddWorkingDays(instant(t, test.start), test.n)
			if err != nil {
				t.Fatal(err)
			}
			if want := instant(t, test.want); !got.Equal(want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestNewCalendarReportsEverything(t *testing.T) {
	_, err := NewCalendar(CalendarSpec{Name: "bad", Zone: "Mars/Base",
		Hours: []Hours{{"mon-fri", "9:00", "17:00"}, {"someday", "09:00", "17:00"}, {"mon", "09:00", "09:00"},
			{"tue", "22:00", "06:00"}, {"wed", "05:00", "07:00"}},
		Holidays: []string{"2026-02-30", "13-01"}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Mars/Base", "hours[0]", "hours[1]", "hours[2]", "Tuesday 22:00-06:00", "holidays[0]", "holidays[1]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in: %v", want, err)
		}
	}
	if _, err := NewCalendar(CalendarSpec{Name: "empty"}); err == nil || !strings.Contains(err.Error(), "no hours") {
		t.Errorf("a calendar without hours: %v", err)
	}
	if _, err := NewCalendar(CalendarSpec{Name: "wrap", Hours: []Hours{{"sat", "22:00", "06:00"}, {"sun", "05:00", "07:00"}}}); err == nil {
		t.Error("an overlap over the end of the week was accepted")
	}
}

// In the hour that is shown again over midnight the next date has begun already.
func TestWorkingOverARepeatedMidnight(t *testing.T) {
	c := calendar(t, CalendarSpec{Name: "test", Zone: "America/St_Johns", Hours: []Hours{{"mon-sun", "00:00", "01:00"}}})
	// The clock went from 00:01 back to 23:01 on 2006-10-29.
	from, to := instant(t, "2006-10-28T23:59:00-02:30"), instant(t, "2006-10-28T23:30:00-03:30")
	if got := c.Working(from, to); got != 30*time.Minute {
		t.Errorf("got %v, want 30m: one minute before the change and 29 after it", got)
	}
}

// A calendar whose holidays leave nothing gives an error, not a loop.
func TestSearchIsBounded(t *testing.T) {
	var all []string
	for d := (Date{2000, 1, 1}); d.Year == 2000; d = d.AddDays(1) {
		all = append(all, d.String()[5:])
	}
	c := calendar(t, CalendarSpec{Name: "never", Hours: []Hours{{"mon-sun", "00:00", "24:00"}}, Holidays: all})
	if _, err := c.AddWorking(instant(t, "2026-01-01T00:00:00Z"), time.Hour); !errors.Is(err, ErrNoWorkingTime) {
		t.Errorf("AddWorking: %v", err)
	}
	if _, err := c.AddWorkingDays(instant(t, "2026-01-01T00:00:00Z"), 1); !errors.Is(err, ErrNoWorkingTime) {
		t.Errorf("AddWorkingDays: %v", err)
	}
	if _, err := c.NextOpening(instant(t, "2026-01-01T00:00:00Z")); !errors.Is(err, ErrNoWorkingTime) {
		t.Errorf("NextOpening: %v", err)
	}
	long := calendar(t, CalendarSpec{Name: "little", Hours: []Hours{{"mon", "09:00", "09:01"}}})
	if _, err := long.AddWorking(instant(t, "2026-01-01T00:00:00Z"), 1000*time.Hour); !errors.Is(err, ErrNoWorkingTime) {
		t.Errorf("a far answer: %v", err)
	}
	var none *Calendar
	if _, err := none.AddWorking(instant(t, "2026-01-01T00:00:00Z"), time.Hour); !errors.Is(err, ErrNoWorkingTime) {
		t.Errorf("nil calendar: %v", err)
	}
}

// drawCalendar draws any week of disjoint windows, nights included, in any zone.
func drawCalendar(t *rapid.T) *Calendar {
	spec := CalendarSpec{Name: "drawn", Zone: rapid.SampledFrom(zoneNames).Draw(t, "zone")}
	clock := func(minute int) string {
		return time.Date(2000, 1, 1, 0, minute, 0, 0, time.UTC).Format("15:04")
	}
	cuts := rapid.SliceOfNDistinct(rapid.IntRange(0, 23*60+59), 2, 6, rapid.ID[int]).Draw(t, "cuts")
	for i := 0; i+1 < len(cuts); i += 2 {
		spec.Hours = append(spec.Hours, Hours{
			Days: rapid.SampledFrom([]string{"mon-fri", "sun", "sat-sun", "mon-sun", "fri-mon"}).Draw(t, "days"),
			From: clock(cuts[i]), To: clock(cuts[i+1])})
	}
	for range rapid.IntRange(0, 3).Draw(t, "holidays") {
		spec.Holidays = append(spec.Holidays, Date{2026, 10, 20}.AddDays(rapid.IntRange(0, 20).Draw(t, "holiday")).String())
	}
	c, err := NewCalendar(spec)
	if err != nil {
		t.Skip("windows overlap")
	}
	return c
}

// near draws an instant around the transitions of 2026 and 2027.
func near(t *rapid.T, label string) time.Time {
	base := rapid.SampledFrom([]int64{1792886400, 1793404800, 1800000000, 1806192000, 1325203200, 1162089060}).Draw(t, label+" base")
	return time.Unix(base+rapid.Int64Range(-10*86400, 10*86400).Draw(t, label), 0).UTC()
}

// The working time between start and the result is the time added, and there is
// no earlier such instant.
func TestAddWorkingAddsWorkingTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, start := drawCalendar(t), near(t, "start")
		d := time.Duration(rapid.Int64Range(1, 80*3600).Draw(t, "seconds")) * time.Second
		due, err := c.AddWorking(start, d)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Working(start, due); got != d {
			t.Fatalf("%v of working time between %s and %s, want %v", got, start, due, d)
		}
		if got := c.Working(start, due.Add(-time.Nanosecond)); got >= d {
			t.Fatalf("an instant before %s already has %v", due, got)
		}
		later, err := c.AddWorking(start.Add(time.Duration(rapid.Int64Range(0, 7*86400).Draw(t, "shift"))*time.Second), d)
		if err != nil || later.Before(due) {
			t.Fatalf("a later start is due earlier: %s before %s (%v)", later, due, err)
		}
		longer, err := c.AddWorking(start, d+time.Minute)
		if err != nil || !longer.After(due) {
			t.Fatalf("a longer term is not due later: %s, %s (%v)", longer, due, err)
		}
	})
}

// Adding in two steps is adding at once, and IsWorking agrees with Working.
func TestWorkingTimeIsAdditive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, a := drawCalendar(t), near(t, "a")
		b := a.Add(time.Duration(rapid.Int64Range(0, 5*86400).Draw(t, "ab")) * time.Second)
		e := b.Add(time.Duration(rapid.Int64Range(0, 5*86400).Draw(t, "be")) * time.Second)
		if c.Working(a, b)+c.Working(b, e) != c.Working(a, e) {
			t.Fatal("working time is not additive")
		}
		if c.IsWorking(a) != (c.Working(a, a.Add(time.Nanosecond)) > 0) {
			t.Fatalf("IsWorking(%s) = %v", a, c.IsWorking(a))
		}
	})
}

func TestAddWorkingDaysLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, start := drawCalendar(t), near(t, "start")
		n := rapid.IntRange(1, 6).Draw(t, "n")
		due, err := c.AddWorkingDays(start, n)
		if err != nil {
			t.Fatal(err)
		}
		if due.Before(start) {
			t.Fatalf("due %s before start %s", due, start)
		}
		later, err := c.AddWorkingDays(start.Add(time.Duration(rapid.Int64Range(0, 4*86400).Draw(t, "shift"))*time.Second), n)
		if err != nil || later.Before(due) {
			t.Fatalf("a later start is due earlier: %s before %s (%v)", later, due, err)
		}
	})
}

// No text makes the readers panic, and what they accept can be searched.
func FuzzNewCalendar(f *testing.F) {
	f.Add("Europe/Paris", "mon-fri", "09:00", "17:00", "2026-12-25")
	f.Add("UTC", "fri-mon", "22:00", "06:00", "02-29")
	f.Add("", "x", "24:00", "00:00", "")
	f.Fuzz(func(t *testing.T, zone, days, from, to, holiday string) {
		c, err := NewCalendar(CalendarSpec{Zone: zone, Hours: []Hours{{days, from, to}}, Holidays: []string{holiday}})
		if err != nil {
			return
		}
		start := time.Unix(1_790_000_000, 0)
		due, err := c.AddWorking(start, time.Minute)
		if err == nil && due.Before(start) {
			t.Fatalf("due %s before start", due)
		}
	})
}
