package main

import (
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
)

// TestDoctorJudges: figures on both sides of every bound.
func TestDoctorJudges(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	results := func(f func(p *patient)) (out string) {
		p := &patient{}
		f(p)
		for _, c := range p.checks {
			out += c.What + " " + c.Result + "\n"
		}
		return out
	}
	for _, x := range []struct {
		what, want string
		do         func(p *patient)
	}{
		{"a fast disk", "fsync ok\n", func(p *patient) { p.sync([]time.Duration{time.Millisecond, 5 * time.Millisecond, time.Second}) }},
		{"a slow disk", "fsync warn\n", func(p *patient) { p.sync([]time.Duration{time.Millisecond, 6 * time.Millisecond, time.Second}) }},
		{"clocks agree", "schema ok\nclock ok\nqueues ok\n", func(p *patient) { p.queues(app.Health{SkewMillis: -2000, Now: now}) }},
		{"clocks differ", "schema ok\nclock warn\nqueues ok\n", func(p *patient) { p.queues(app.Health{SkewMillis: -2001, Now: now}) }},
		{"clocks differ much", "schema ok\nclock bad\nqueues ok\n", func(p *patient) { p.queues(app.Health{SkewMillis: 60001, Now: now}) }},
		{"nothing due", "", func(p *patient) { p.lag("x", "", "it", time.Time{}, now) }},
		{"due", "", func(p *patient) { p.lag("x", "", "it", now.Add(-time.Minute), now) }},
		{"late", "x warn\n", func(p *patient) { p.lag("x", "", "it", now.Add(-15*time.Minute), now) }},
		{"very late", "x bad\n", func(p *patient) { p.lag("x", "", "it", now.Add(-16*time.Minute), now) }},
		{"valid", "c ok\n", func(p *patient) { p.ends("c", "", "it", now.Add(21*24*time.Hour), now) }},
		{"ends soon", "c warn\n", func(p *patient) { p.ends("c", "", "it", now.Add(time.Hour), now) }},
		{"ended", "c bad\n", func(p *patient) { p.ends("c", "", "it", now, now) }},
		{"a fresh token", "tokens ok\n", func(p *patient) { p.tokens([]tokenAge{{"t", now, time.Time{}}}, now) }},
		{"an old token", "tokens warn\n", func(p *patient) { p.tokens([]tokenAge{{"t", now.AddDate(-1, 0, -1), time.Time{}}}, now) }},
		{"no token", "", func(p *patient) { p.tokens(nil, now) }},
	} {
		if got := results(x.do); got != x.want {
			t.Errorf("%s: %q, want %q", x.what, got, x.want)
		}
	}
}
