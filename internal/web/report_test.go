package web

import (
	"context"
	"testing"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/report"
)

// closures is a report over two closed exposures and an open one.
func closures(t *testing.T, at, from time.Time) report.Closure {
	t.Helper()
	item := func(id string, k deadline.RiskClass, opened time.Duration, ep remedy.Episode) report.Item {
		ep.N, ep.OpenedAt, ep.DetectedAt = 1, at.Add(-opened), at.Add(-opened-time.Hour)
		return report.Item{Case: id, Tenant: "default", Class: k, Key: id, Asset: id, Episode: ep, HasClocks: true,
			Clocks: deadline.Clocks{Ack: ep.OpenedAt.Add(time.Hour), Fix: ep.OpenedAt.Add(24 * time.Hour)}}
	}
	items := []report.Item{
		item("a", deadline.K1, 48*time.Hour, remedy.Episode{AckAt: at.Add(-47 * time.Hour), AckBy: "u-dana", ActedAt: at.Add(-46 * time.Hour), ClosedAt: at.Add(-45 * time.Hour), How: remedy.ClosedProven}),
		item("b", deadline.K1, 72*time.Hour, remedy.Episode{ClosedAt: at.Add(-time.Hour), How: remedy.ClosedProven, Human: true,
			Pauses: []remedy.Pause{{Reason: remedy.PauseVendor, From: at.Add(-70 * time.Hour), Until: at.Add(-60 * time.Hour)}}}),
		item("c", deadline.K3, 30*time.Hour, remedy.Episode{}),
	}
	return report.ClosureOf(report.MeasureItems(items, report.Options{At: at, From: from}),
		map[deadline.RiskClass]report.Approvals{deadline.K1: {Asked: 3, Approved: 1, Rejected: 1, Waiting: 1}})
}

// TestReportPage: the numbers stand there by class, each percentage with its
// counts, and what is not reached is not guessed.
func TestReportPage(t *testing.T) {
	w := newWorld(t)
	var asked time.Time
	w.config.Report = func(_ context.Context, p auth.Principal, since time.Time) (report.Closure, error) {
		asked = since
		return closures(t, w.clock(), since), nil
	}
	w.h = New(w.config)
	contains(t, w.status(200, "vic", "GET", "/cases", ""), `<a href="/report">Report</a>`)
	page := w.status(200, "vic", "GET", "/report", "")
	if want := epoch().AddDate(0, 0, -30); !asked.Equal(want) {
		t.Errorf("the window begins at %s, want %s", asked, want)
	}
	contains(t, page, `<th scope="row">K1</th>`, "50 % (1 of 2)", "not reached (0 of 1)", "waiting for the vendor 10 h", "3 h (2 of 2)")
	w.status(200, "vic", "GET", "/report?days=0", "")
	if !asked.IsZero() {
		t.Errorf("all time begins at %s", asked)
	}
	w.status(400, "vic", "GET", "/report?days=8", "")
}
