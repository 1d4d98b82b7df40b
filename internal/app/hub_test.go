package app

import (
	"testing"
	"time"
)

// TestHubHintsSweep: the sweep hears of a wake-up only if it would come too late
// for it by itself.
func TestHubHintsSweep(t *testing.T) {
	h := newHub()
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	hinted := func() bool {
		select {
		case <-h.sweep:
			return true
		default:
			return false
		}
	}
	for _, x := range []struct {
		name          string
		planned, wake time.Time
		want          bool
	}{
		{"at work", time.Time{}, at.Add(time.Hour), true},
		{"earlier than planned", at, at.Add(-time.Nanosecond), true},
		{"as planned", at, at, false},
		{"later than planned", at, at.Add(time.Second), false},
		{"no wake-up", at, time.Time{}, false},
		{"no wake-up, at work", time.Time{}, time.Time{}, false},
	} {
		h.plan(x.planned)
		h.poke("default", x.wake)
		if got := hinted(); got != x.want {
			t.Errorf("%s: hinted %v, want %v", x.name, got, x.want)
		}
	}
	h.plan(at)
	h.hear("default")
	if !hinted() {
		t.Error("another node's hint does not say when a case is due: the sweep has to look")
	}
}
