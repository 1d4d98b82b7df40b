package app

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/report"
)

const (
	// reportPage is how many cases are read at a time, so that no read lasts.
	reportPage = 200
	// reportFresh is how long a report is shown again instead of made anew: it
	// reads every case of its window.
	reportFresh = time.Minute
)

// lastReport remembers the report that was made last. Its lock is held while one
// is made: two at once would read the same cases twice.
type lastReport struct {
	mu     sync.Mutex
	tenant string
	from   time.Time
	out    report.Closure
}

// reportQuery is the window of a report.
type reportQuery struct {
	Since time.Time `query:"since" doc:"The start of the window; all time if it is missing."`
}

func (a *App) apiReport(ctx context.Context, p auth.Principal, in *reportQuery) (report.Closure, error) {
	return a.Report(ctx, p, in.Since)
}

// Report measures the closure of the principal's organisation from an instant to
// now; a zero instant is all time. What was made less than a minute ago for the
// same minute of the window's start is given again.
func (a *App) Report(ctx context.Context, p auth.Principal, since time.Time) (report.Closure, error) {
	l := &a.lastReport
	l.mu.Lock()
	defer l.mu.Unlock()
	now, from := a.Store.Now(), since.UTC().Truncate(time.Minute)
	if since.IsZero() {
		from = time.Time{}
	}
	if from.After(now) {
		return report.Closure{}, badInput("since is in the future")
	}
	if age := now.Sub(l.out.At); l.tenant == p.Tenant && l.from.Equal(from) && age >= 0 && age < reportFresh {
		return l.out, nil
	}
	o := report.Options{At: now, From: from}
	meter := report.NewMeter(o)
	for after := ""; ; {
		cases, err := a.Store.States(ctx, p.Tenant, from, after, reportPage)
		if err != nil {
			return report.Closure{}, err
		}
		for _, c := range cases {
			more, asked, err := a.measured(ctx, c, o)
			if err != nil {
				return report.Closure{}, err
			}
			for _, it := range more {
				meter.Add(it)
			}
			if asked.Asked > 0 {
				meter.Asked(c.RiskClass(), asked)
			}
		}
		if len(cases) < reportPage {
			break
		}
		after = cases[len(cases)-1].ID
	}
	l.tenant, l.from, l.out = p.Tenant, from, meter.Closure()
	return l.out, nil
}

// measured returns the episodes of a case and what became of its requests. Its
// events are read only where its state does not tell: of earlier episodes, and
// of answers to plans.
func (a *App) measured(ctx context.Context, c remedy.Case, o report.Options) ([]report.Item, report.Approvals, error) {
	if len(c.Episodes) < 2 && len(c.Actions) == 0 {
		return report.Items(c), report.Approvals{}, nil
	}
	stored, err := a.Store.Events(ctx, c.Tenant, c.ID)
	events := make([]remedy.Event, len(stored))
	for i, e := range stored {
		events[i] = remedy.Event{At: e.At, By: e.By, Body: e.Decoded}
	}
	return report.History(slices.Values(events)), report.ApprovalsOf(slices.Values(events), o), err
}
