package deadline

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPacks(t *testing.T) {
	// Friday afternoon.
	const start = "2026-11-20T16:00:00Z"
	tests := []struct {
		sla               SLA
		class             RiskClass
		ack, contain, fix string
	}{
		{DefaultSLA(), K1, "2026-11-20T16:15:00Z", "2026-11-20T17:00:00Z", "2026-11-23T16:00:00Z"},
		{DefaultSLA(), K2, "2026-11-20T20:00:00Z", "2026-11-21T16:00:00Z", "2026-11-23T16:00:00Z"},
		{DefaultSLA(), K3, "2026-11-23T16:00:00Z", "", "2026-12-04T16:00:00Z"},
		{DefaultSLA(), K4, "", "", "2027-01-19T16:00:00Z"},
		{DefaultSLA(), K5, "", "", "2027-02-18T16:00:00Z"},
		{LadderSLA(), K1, "2026-11-20T16:15:00Z", "2026-11-20T17:00:00Z", "2026-11-20T17:00:00Z"},
		{LadderSLA(), K2, "2026-11-20T17:00:00Z", "2026-11-21T16:00:00Z", "2026-11-23T16:00:00Z"},
		{LadderSLA(), K3, "2026-11-23T16:00:00Z", "", "2026-11-23T16:00:00Z"},
		{LadderSLA(), K4, "", "", "2026-11-22T04:00:00Z"},
		{LadderSLA(), K5, "", "", "2026-11-22T04:00:00Z"},
	}
	for _, test := range tests {
		t.Run(test.sla.Name+" "+test.class.String(), func(t *testing.T) {
			if err := test.sla.Check(); err != nil {
				t.Fatal(err)
			}
			c, err := test.sla.Clocks(test.class, instant(t, start))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []struct {
				duty, want string
				got        time.Time
			}{{"ack", test.ack, c.Ack}, {"contain", test.contain, c.Contain}, {"fix", test.fix, c.Fix}} {
				want := time.Time{}
				if p.want != "" {
					want = instant(t, p.want)
				}
				if !p.got.Equal(want) {
					t.Errorf("%s: got %s, want %s", p.duty, p.got, want)
				}
			}
			if c.WarnPercent != DefaultWarnPercent {
				t.Errorf("warn percent %d", c.WarnPercent)
			}
		})
	}
}

// The windows written as values are the ones their specs say.
func TestBuiltInCalendarsMatchTheirSpecs(t *testing.T) {
	for _, c := range []*Calendar{officeHours(), weekendNight()} {
		made := calendar(t, c.Spec())
		if made.week[time.Monday] == nil != (c.week[time.Monday] == nil) || made.Version() != c.Version() {
			t.Errorf("%s differs from its spec", c.Spec().Name)
		}
		for d := (Date{2026, 11, 16}); d.Day < 28; d = d.AddDays(1) {
			if a, b := made.Day(d), c.Day(d); len(a) != len(b) || (len(a) == 1 && a[0] != b[0]) {
				t.Errorf("%s on %s: %v and %v", c.Spec().Name, d, a, b)
			}
		}
	}
}

func TestDaysKeepTheTimeOfDay(t *testing.T) {
	s := DefaultSLA()
	s.Calendar = calendar(t, CalendarSpec{Name: "paris", Zone: "Europe/Paris", Hours: []Hours{{"mon-fri", "09:00", "17:00"}}})
	s.Classes[K4] = Duties{Fix: CalendarDays(1)}
	c, err := s.Clocks(K4, instant(t, "2026-10-24T12:00:00+02:00"))
	if err != nil {
		t.Fatal(err)
	}
	if want := instant(t, "2026-10-25T12:00:00+01:00"); !c.Fix.Equal(want) {
		t.Errorf("got %s, want %s, 25 hours later", c.Fix, want)
	}
}

func TestNextUpgrade(t *testing.T) {
	s, start := DefaultSLA(), instant(t, "2026-11-20T16:00:00Z")
	s.Upgrade = instant(t, "2026-12-15T02:00:00Z")
	if c, err := s.Clocks(K5, start); err != nil || !c.Fix.Equal(s.Upgrade) {
		t.Errorf("got %s, %v", c.Fix, err)
	}
	s.Upgrade = start // a date that has passed is no promise
	if c, err := s.Clocks(K5, start); err != nil || !c.Fix.Equal(instant(t, "2027-02-18T16:00:00Z")) {
		t.Errorf("got %s, %v", c.Fix, err)
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := []struct {
		name string
		edit func(*SLA)
		want string
	}{
		{"business time for K1", func(s *SLA) { s.Classes[K1] = Duties{Ack: Term{BusinessDays, 1}, Fix: CalendarDays(3)} }, "K1 ack"},
		{"business time for containment", func(s *SLA) {
			s.Classes[K2] = Duties{Contain: Term{WorkSeconds, 3600}, Fix: CalendarDays(3)}
		}, "K2 contain"},
		{"no fix", func(s *SLA) { delete(s.Classes, K4) }, "K4 has no fix"},
		{"no calendar", func(s *SLA) { s.Calendar = nil }, "needs a calendar"},
		{"no maintenance windows", func(s *SLA) { s.Classes[K5] = Duties{Fix: Term{Unit: NextWindow}} }, "maintenance windows"},
		{"a class that is none", func(s *SLA) { s.Classes[9] = Duties{} }, "class 9"},
		{"warning percent", func(s *SLA) { s.WarnPercent = 100 }, "warn_percent"},
		{"no length", func(s *SLA) { s.Classes[K4] = Duties{Fix: Term{Days, 0}} }, "positive"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := DefaultSLA()
			test.edit(&s)
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a word of %q", err, test.want)
			}
		})
	}
	s := DefaultSLA()
	s.Classes[K1] = Duties{Fix: Term{BusinessDays, 1}}
	if _, err := s.Clocks(K1, instant(t, "2026-11-20T16:00:00Z")); err == nil {
		t.Error("Clocks counted business time for K1")
	}
	if _, err := s.Clocks(0, instant(t, "2026-11-20T16:00:00Z")); err == nil {
		t.Error("Clocks answered for no class")
	}
}

// Every class's deadlines order as the classes do: a stricter class is never
// due later, whatever the start.
func TestStricterClassIsNeverDueLater(t *testing.T) {
	for _, s := range []SLA{DefaultSLA(), LadderSLA()} {
		rapid.Check(t, func(t *rapid.T) {
			start := time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "start"), 0).UTC()
			classes := []RiskClass{K1, K2, K3, K4, K5}
			if s.Name == "ladder" { // a window may be nearer than a business day
				classes = classes[:3]
			}
			var last Clocks
			for _, class := range classes {
				c, err := s.Clocks(class, start)
				if err != nil {
					t.Fatal(err)
				}
				if !c.Fix.After(start) || c.Fix.Before(last.Fix) {
					t.Fatalf("%s is due at %s, the class above at %s", class, c.Fix, last.Fix)
				}
				last = c
			}
		})
	}
}

func TestParseTerm(t *testing.T) {
	for text, want := range map[string]Term{
		"15m": {Seconds, 900}, "1h30m": {Seconds, 5400}, "3d": {Days, 3}, " 8h  Working": {WorkSeconds, 28800},
		"1 business day": {BusinessDays, 1}, "2 business days": {BusinessDays, 2}, "next maintenance window": {Unit: NextWindow},
		"next upgrade": {Unit: NextUpgrade}, "": {}, "none": {},
	} {
		if got, err := ParseTerm(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"3", "d", "-1h", "0d", "1.5d", "99999999d", "500000h", "3 days", "1ms", "soon", "8h business day", "1 2 3 4"} {
		if got, err := ParseTerm(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func FuzzParseTerm(f *testing.F) {
	for _, s := range []string{"15m", "3d", "8h working", "1 business day", "next window", "none", "1h1m1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		term, err := ParseTerm(s)
		if err != nil {
			return
		}
		if again, err := ParseTerm(term.String()); err != nil || again != term {
			t.Fatalf("%q is %v, written %q, read as %v (%v)", s, term, term.String(), again, err)
		}
	})
}

func TestWarnAt(t *testing.T) {
	start := instant(t, "2026-11-20T16:00:00Z")
	if got := WarnAt(start, start.Add(4*time.Hour), 75); !got.Equal(start.Add(3 * time.Hour)) {
		t.Errorf("got %s", got)
	}
	if got := WarnAt(start, time.Time{}, 75); !got.IsZero() {
		t.Errorf("no duty warns at %s", got)
	}
	if got := WarnAt(start, start.Add(-time.Hour), 75); !got.Equal(start.Add(-time.Hour)) {
		t.Errorf("a clock that is over warns at %s", got)
	}
	if got, due := WarnAt(start, start.AddDate(20, 0, 0), 99), start.AddDate(20, 0, 0); !got.After(start) || !got.Before(due) {
		t.Errorf("20 years overflow to %s", got)
	}
}

func TestFreeze(t *testing.T) {
	f := Freeze{instant(t, "2026-12-20T00:00:00Z"), instant(t, "2027-01-02T00:00:00Z"), "*", "year end"}
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]bool{"2026-12-19T23:59:59Z": false, "2026-12-20T00:00:00Z": true,
		"2027-01-01T23:59:59Z": true, "2027-01-02T00:00:00Z": false} {
		if got := f.Active(instant(t, at)); got != want {
			t.Errorf("at %s: %v", at, got)
		}
		if got := len(ActiveAt([]Freeze{f, f}, instant(t, at))); got != map[bool]int{true: 2}[want] {
			t.Errorf("at %s: %d active", at, got)
		}
	}
	err := Freeze{From: f.Until, Until: f.From}.Check()
	for _, want := range []string{"not after it starts", "no scope", "no reason"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in %v", want, err)
		}
	}
	if (Freeze{From: f.From, Scope: "*", Reason: "x"}).Check() == nil {
		t.Error("a freeze without end was accepted")
	}
}

func TestRiskClassText(t *testing.T) {
	for c := K1; c <= K5; c++ {
		got, err := ParseRiskClass(strings.ToLower(c.String()))
		if err != nil || got != c {
			t.Errorf("%s read as %s, %v", c, got, err)
		}
		if Stricter(c, K5) != c || Stricter(K5, c) != c || Stricter(c, 0) != c || Stricter(0, c) != c {
			t.Errorf("stricter of %s", c)
		}
	}
	if _, err := ParseRiskClass("K6"); err == nil {
		t.Error("K6 was read")
	}
}

// Tightening never moves an instant later and keeps every duty of either side.
func TestTighten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) time.Time {
			if n := rapid.Int64Range(0, 5).Draw(t, label); n > 0 {
				return time.Unix(n, 0)
			}
			return time.Time{}
		}
		a, b := Clocks{Fix: draw("a")}, Clocks{Fix: draw("b")}
		got := a.Tighten(b)
		for _, c := range []Clocks{a, b} {
			if !c.Fix.IsZero() && (got.Fix.IsZero() || got.Fix.After(c.Fix)) {
				t.Fatalf("%s and %s became %s", a.Fix, b.Fix, got.Fix)
			}
		}
		if got != b.Tighten(a) {
			t.Fatal("not symmetric")
		}
	})
}

func BenchmarkClocks(b *testing.B) {
	s := DefaultSLA()
	s.Calendar = calendar(b, CalendarSpec{Name: "paris", Zone: "Europe/Paris", Hours: []Hours{{"mon-fri", "09:00", "17:00"}}})
	start := instant(b, "2026-10-23T16:00:00Z")
	for b.Loop() {
		if _, err := s.Clocks(K3, start); err != nil {
			b.Fatal(err)
		}
	}
}

// A clock that stood still is due later by exactly that time; what had come
// before it stood still is not moved.
func TestShift(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	in := func(h int) time.Time { return at.Add(time.Duration(h) * time.Hour) }
	still := []Still{{in(2), in(5)}, {in(8), in(9)}}
	for _, c := range []struct{ due, want time.Time }{
		{in(1), in(1)}, {in(2), in(2)}, {in(3), in(6)}, {in(5), in(8)}, {in(5).Add(time.Nanosecond), in(9).Add(time.Nanosecond)},
		{in(10), in(14)}, {time.Time{}, time.Time{}},
	} {
		if got := Shift(c.due, still); !got.Equal(c.want) {
			t.Errorf("%s is moved to %s, want %s", c.due, got, c.want)
		}
	}
	if got := Stood(still, in(3), in(8).Add(time.Minute)); got != 2*time.Hour+time.Minute {
		t.Errorf("stood still for %s", got)
	}
	if got := MaxPause(at, in(10)); got != 3*time.Hour {
		t.Errorf("10 h may stand still for %s, want 30 %%", got)
	}
}
