package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// testLists pages through every filter and compares with a plain look at all.
func testLists(t *testing.T, b Backend) {
	for i := range 23 {
		u := NewCase(name("case-", i), name("k", i))
		j := u.Case.Judgement
		j.Decision.Class = deadline.RiskClass(i % 6) // 0 is unclassified
		j.Decision.Ticket = i%2 == 0
		j.Clocks.Fix = Epoch().Add(time.Duration(i%5) * time.Hour)
		if i%7 == 0 {
			j.Clocks.Fix = time.Time{}
		}
		must(t, b, u)
		must(t, b, Step(u.Case, remedy.Judged{Judgement: j}, Epoch()))
		if i%4 == 0 {
			must(t, b, closed(load(t, b, u.Case.ID), Epoch().Add(time.Duration(i)*time.Minute)))
		}
	}
	all := pages(t, b, store.CaseFilter{Tenant: tenant}, 100)
	equal(t, "cases", len(all), 23)
	rank := func(r store.CaseRow) string { // open, risk class, next duty
		due := "9"
		if !r.NextDue.IsZero() {
			due = r.NextDue.Format("0 " + time.RFC3339)
		}
		if !r.Open {
			return "1"
		}
		return "0 " + strings.Replace(r.Risk, "K?", "K0", 1) + due
	}
	if !slices.IsSortedFunc(all, func(a, b store.CaseRow) int { return strings.Compare(rank(a), rank(b)) }) {
		t.Error("the list is not in the order of urgency")
	}
	for i := range all[1:] {
		if a, b := all[i], all[i+1]; !a.Open && !b.Open && a.ClosedAt.Before(b.ClosedAt) {
			t.Errorf("closed %s stands before %s, which closed later", a.ID, b.ID)
		}
	}
	for _, f := range []store.CaseFilter{
		{}, {State: all[0].State}, {State: string(remedy.StateClosed)}, {Class: "storage.public"}, {Class: "none"}, {Path: remedy.PathTicket}, {Path: remedy.PathMonitor},
		{Owner: "team-1"}, {Risk: "K2"}, {Risk: "k2"}, {Risk: "K?"}, {Risk: "nonsense"}, {Open: finding.Yes}, {Open: finding.No}, {Text: "CASE-1"}, {Text: "bucket case-7 is"}, {Text: "%"},
		{Open: finding.Yes, Owner: "team-2", Text: "2"},
	} {
		f.Tenant = tenant
		var want []store.CaseRow
		for _, r := range all {
			if passes(f, r) {
				want = append(want, r)
			}
		}
		for _, size := range []int{1, 4, 50} {
			equal(t, "page", pages(t, b, f, size), want)
		}
	}
	equal(t, "another tenant", len(pages(t, b, store.CaseFilter{Tenant: "other"}, 5)), 0)
	_, err := b.ListCases(ctx, store.CaseFilter{Tenant: tenant}, "garbage", 5)
	wantErr(t, err, store.ErrInvalid)
	counts, err := b.Counts(ctx, tenant)
	equal(t, "counts error", err, nil)
	want := map[string]int{}
	for _, r := range all {
		want[r.State]++
	}
	equal(t, "counts", counts, want)
}

// pages reads a list page by page.
func pages(t *testing.T, b Backend, f store.CaseFilter, size int) []store.CaseRow {
	t.Helper()
	var list []store.CaseRow
	for cursor := ""; ; {
		p, err := b.ListCases(ctx, f, cursor, size)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Cases) > size {
			t.Fatalf("a page of %d cases, want at most %d", len(p.Cases), size)
		}
		list = append(list, p.Cases...)
		if cursor = p.Next; cursor == "" {
			return list
		}
	}
}

// passes is the meaning of a filter, said once more.
func passes(f store.CaseFilter, r store.CaseRow) bool {
	text := strings.ToLower(f.Text)
	return (f.State == "" || f.State == r.State) && (f.Class == "" || f.Class == r.Class) && (f.Path == "" || f.Path == r.Path) &&
		(f.Owner == "" || f.Owner == r.Owner) && (f.Risk == "" || strings.EqualFold(f.Risk, r.Risk)) &&
		(f.Open == finding.Unknown || (f.Open == finding.Yes) == r.Open) &&
		(strings.Contains(strings.ToLower(r.Title), text) || strings.Contains(strings.ToLower(r.ID), text) || strings.Contains(strings.ToLower(r.Asset), text))
}
