package remedy

import (
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
)

// TestKeeps: the raw record is kept of what changes the case, not of a repeat,
// and its hash stands in the event and at the member.
func TestKeeps(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	var c Case
	// report has f reported with a raw record if it would be kept, and returns how
	// many events name it.
	report := func(what string, f finding.Finding, keep bool) {
		t.Helper()
		at = at.Add(time.Minute)
		o := observe(f, judged(at))
		if c.Keeps(f, o.Digest) != keep {
			t.Fatalf("%s: keeps %v, want %v", what, !keep, keep)
		}
		o.Raw = what
		events, after, err := Step(c, Command{At: at, By: Actor{Kind: Source, ID: f.Source}, Do: o})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		named := 0
		for _, e := range events {
			switch b := e.Body.(type) {
			case Joined:
				if b.Member.Raw == what {
					named++
				}
			case MemberChanged:
				if b.Raw == what {
					named++
				}
			}
		}
		if keep != (named == 1) {
			t.Fatalf("%s: %d events name it", what, named)
		}
		c = after
		if m, ok := c.Member(f.UID); !ok || keep != (m.Raw == what) {
			t.Fatalf("%s: the member has %q", what, m.Raw)
		}
	}
	a, b := public("a"), public("b")
	report("first sight", a, true)
	report("a repeat", a, false)
	report("another finding", b, true)
	worse := a
	worse.Severity = finding.SeverityCritical
	report("a severity rise", worse, true)
	report("a repeat of it", worse, false)
	fixed := worse
	fixed.Status = finding.StatusFixed
	report("called fixed", fixed, true)
	report("called fixed again", fixed, false)
	report("open again", worse, true)

	closed := Event{At: at, By: Actor{Kind: System, ID: "test"}, Body: EpisodeClosed{How: ClosedProven, Why: "test"}}
	c = Apply(c, closed)
	report("reported after closing", worse, true)
	report("once more, while it is probed", worse, false)
	c = Apply(c, Event{At: at, By: closed.By, Body: EpisodeClosed{How: ClosedSuppressed, Why: "test", Until: at.Add(time.Hour)}})
	report("set aside", worse, false)
}
