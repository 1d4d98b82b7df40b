package deadline

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}

// A civil time in a gap is the first instant after it, in every zone alike; in
// a fold Start and End differ by the repeated time.
func TestInstantAtTransitions(t *testing.T) {
	tests := []struct {
		name, zone, date, clock string
		start, end              string
	}{
		{"gap Paris", "Europe/Paris", "2027-03-28", "02:30", "2027-03-28T03:00:00+02:00", ""},
		{"gap New York", "America/New_York", "2027-03-14", "02:30", "2027-03-14T03:00:00-04:00", ""},
		{"gap at midnight Sao Paulo", "America/Sao_Paulo", "2018-11-04", "00:00", "2018-11-04T01:00:00-02:00", ""},
		{"gap at midnight Cairo", "Africa/Cairo", "2026-04-24", "00:00", "2026-04-24T01:00:00+03:00", ""},
		{"gap of 30 minutes Lord Howe", "Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-04T02:30:00+11:00", ""},
		{"date that never was, Apia", "Pacific/Apia", "2011-12-30", "12:00", "2011-12-31T00:00:00+14:00", ""},
		{"last minute of a gap", "Europe/Paris", "2027-03-28", "02:59", "2027-03-28T03:00:00+02:00", ""},
		{"end of a gap", "Europe/Paris", "2027-03-28", "03:00", "2027-03-28T03:00:00+02:00", ""},
		{"before a gap", "Europe/Paris", "2027-03-28", "01:59", "2027-03-28T01:59:00+01:00", ""},
		{"fold Paris", "Europe/Paris", "2026-10-25", "02:30", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"},
		{"fold New York", "America/New_York", "2026-11-01", "01:30", "2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"},
		{"fold before midnight Cairo", "Africa/Cairo", "2026-10-29", "23:30", "2026-10-29T23:30:00+03:00", "2026-10-29T23:30:00+02:00"},
		{"fold of 30 minutes Lord Howe", "Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30"},
		{"fold over midnight St John's", "America/St_Johns", "2006-10-28", "23:30", "2006-10-28T23:30:00-02:30", "2006-10-28T23:30:00-03:30"},
		{"after a fold", "Europe/Paris", "2026-10-25", "03:00", "2026-10-25T03:00:00+01:00", ""},
		{"leap day", "Europe/Paris", "2028-02-29", "09:00", "2028-02-29T09:00:00+01:00", ""},
		{"far future by rule", "Europe/Paris", "2099-07-01", "09:00", "2099-07-01T09:00:00+02:00", ""},
		{"UTC", "UTC", "2027-03-28", "02:30", "2027-03-28T02:30:00Z", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			loc := zone(t, test.zone)
			d, err := ParseDate(test.date)
			if err != nil {
				t.Fatal(err)
			}
			since, err := parseClock(test.clock)
			if err != nil {
				t.Fatal(err)
			}
			if test.end == "" {
				test.end = test.start
			}
			if got, want := d.Instant(since, loc, Start), instant(t, test.start); !got.Equal(want) {
				t.Errorf("start: got %s, want %s", got.In(loc), want.In(loc))
			}
			if got, want := d.Instant(since, loc, End), instant(t, test.end); !got.Equal(want) {
				t.Errorf("end: got %s, want %s", got.In(loc), want.In(loc))
			}
		})
	}
}

var zoneNames = []string{"UTC", "Europe/Paris", "America/New_York", "America/Sao_Paulo", "Africa/Cairo",
	"Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Antarctica/Troll", "Africa/Casablanca", "America/St_Johns"}

// What a clock shows at an instant resolves back to it, or to the other of two
// instants that show the same.
func TestInstantInvertsTheClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := LoadZone(rapid.SampledFrom(zoneNames).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(1_000_000_000, 4_000_000_000).Draw(t, "unix"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
		local := at.In(loc)
		since := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute +
			time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
		first, second := DateOf(at, loc).Instant(since, loc, Start), DateOf(at, loc).Instant(since, loc, End)
		if !at.Equal(first) && !at.Equal(second) {
			t.Fatalf("%s became %s or %s", local, first.In(loc), second.In(loc))
		}
		if first.After(second) {
			t.Fatalf("start %s after end %s", first, second)
		}
	})
}

func TestLoadZone(t *testing.T) {
	for _, bad := range []string{"Local", "Europe/Atlantis", "../etc/passwd", "Europe/", "europe/paris"} {
		if _, err := LoadZone(bad); err == nil {
			t.Errorf("zone %q was accepted", bad)
		}
	}
	// Changing the data without the version would make old deadlines lie.
	sum := sha256.Sum256([]byte(zoneData))
	const want = "8f55634d05f8bca1f7bc7c69c5933428c69357e0bdf565e5ba224e3f88ff12e8"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("zoneinfo.zip has hash %s, not that of release %s: update ZoneVersion and this hash together", got, ZoneVersion)
	}
}
