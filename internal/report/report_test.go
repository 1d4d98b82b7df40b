package report

import (
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

const day = 24 * time.Hour

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func on(days float64) time.Time { return start.Add(time.Duration(days * float64(day))) }

// vector is ten exposures: the day on which each was closed, or last seen open.
var vector = []struct {
	day    int
	closed bool
}{{1, true}, {2, true}, {2, true}, {3, true}, {5, false}, {6, true}, {8, true}, {10, false}, {14, true}, {20, false}}

func TestSurvivalOfTheVector(t *testing.T) {
	var obs []Observation
	for _, v := range vector {
		obs = append(obs, Observation{Exit: time.Duration(v.day) * day, Event: v.closed})
	}
	c := Survival(obs)
	want := []struct {
		day  int
		open float64
	}{{1, 0.9}, {2, 0.7}, {3, 0.6}, {6, 0.48}, {8, 0.36}, {14, 0.18}}
	if len(c) != len(want) {
		t.Fatalf("%d steps: %v", len(c), c)
	}
	for i, w := range want {
		if c[i].Age != time.Duration(w.day)*day || math.Abs(c[i].Open-w.open) > 1e-9 {
			t.Errorf("step %d: day %v, open %v, want day %d, %v", i, c[i].Age.Hours()/24, c[i].Open, w.day, w.open)
		}
		if !(c[i].Low < c[i].Open && c[i].Open < c[i].High && c[i].Low > 0 && c[i].High < 1) {
			t.Errorf("step %d: limits %v and %v around %v", i, c[i].Low, c[i].High, c[i].Open)
		}
	}
	if age, ok := c.Quantile(0.5); !ok || age != 6*day {
		t.Errorf("median %v", age)
	}
	if _, ok := c.Quantile(0.9); ok {
		t.Error("a tail nobody has reached was extrapolated")
	}
	if mean := c.Mean(20 * day); math.Abs(mean.Hours()/24-8.6) > 1e-6 {
		t.Errorf("restricted mean %v days", mean.Hours()/24)
	}
	if open := c.At(7 * day); math.Abs(open-0.48) > 1e-9 {
		t.Errorf("open after 7 days: %v", open)
	}
}

// The limits of the first step by hand: S = 0.9, d = 1, n = 10.
func TestConfidenceLimits(t *testing.T) {
	obs := []Observation{{Exit: 1, Event: true}}
	for range 9 {
		obs = append(obs, Observation{Exit: 2})
	}
	p := Survival(obs)[0]
	if math.Abs(p.Low-0.4730086) > 1e-6 || math.Abs(p.High-0.9852813) > 1e-6 {
		t.Errorf("limits %.7f and %.7f", p.Low, p.High)
	}
}

// naive computes the same estimate straight from its definition.
func naive(obs []Observation) map[time.Duration]float64 {
	out := make(map[time.Duration]float64)
	var ages []time.Duration
	for _, o := range obs {
		if o.Event && (o.Entry < o.Exit || o.Entry == 0 && o.Exit == 0) {
			ages = append(ages, o.Exit)
		}
	}
	slices.Sort(ages)
	s := 1.0
	for _, age := range slices.Compact(ages) {
		n, d := 0, 0
		for _, o := range obs {
			if (o.Entry < age || o.Entry == 0) && o.Exit >= age && (o.Exit > o.Entry || o.Entry == 0) {
				n++
				d += count(o.Event && o.Exit == age)
			}
		}
		s *= 1 - float64(d)/float64(n)
		out[age] = s
	}
	return out
}

func TestSurvivalAgainstDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Observation {
			return Observation{Entry: time.Duration(rapid.IntRange(0, 6).Draw(t, "entry")), Exit: time.Duration(rapid.IntRange(0, 10).Draw(t, "exit")), Event: rapid.Bool().Draw(t, "event")}
		}), 0, 30).Draw(t, "observations")
		valid := slices.DeleteFunc(slices.Clone(obs), func(o Observation) bool { return o.Exit < o.Entry })
		want, got := naive(valid), Survival(obs)
		if len(got) != len(want) {
			t.Fatalf("%d steps, want %d", len(got), len(want))
		}
		last := 1.0
		for _, p := range got {
			if math.Abs(p.Open-want[p.Age]) > 1e-12 || p.Open > last || p.Open < 0 || p.AtRisk < p.Events {
				t.Fatalf("at %d: %+v, want %v", p.Age, p, want[p.Age])
			}
			last = p.Open
		}
	})
}

// vectorCases are the ten exposures as cases, all opened on day 0 of their own
// and reported at one instant.
func vectorCases() (cases []remedy.Case, at time.Time) {
	at = on(20)
	for i, v := range vector {
		opened := on(0)
		if !v.closed {
			opened = at.AddDate(0, 0, -v.day)
		}
		ep := remedy.Episode{N: 1, DetectedAt: opened, OpenedAt: opened}
		if v.closed {
			ep.ClosedAt, ep.How = opened.AddDate(0, 0, v.day), remedy.ClosedProven
		}
		c := remedy.Case{ID: string(rune('a' + i)), Asset: finding.Asset{UID: string(rune('a' + i))}, Episodes: []remedy.Episode{ep}}
		c.Judgement.Clocks.Fix = opened.AddDate(0, 0, 7)
		c.Judgement.Decision.Class = deadline.K3
		cases = append(cases, c)
	}
	return cases, at
}

func TestMeasureOfTheVector(t *testing.T) {
	cases, at := vectorCases()
	n := Measure(slices.Values(cases), Options{At: at})
	g := n.All
	if g.Window.P50 == nil || *g.Window.P50 != 6*86400 || *g.Window.DoneP50 != 3*86400 || g.Window.P90 != nil || g.Window.N != 10 || g.Window.Done != 7 {
		t.Errorf("window %+v", g.Window)
	}
	if g.Fix.Met != 5 || g.Fix.Missed != 2 || g.Fix.OpenPastDue != 2 || g.Fix.NotYetDue != 1 || math.Abs(*g.Fix.Attained.Percent-100*5.0/9) > 1e-9 {
		t.Errorf("fix %+v", g.Fix)
	}
	if g.MeanOpenAge == nil || *g.MeanOpenAge != Seconds(35*86400/3) {
		t.Errorf("mean open age %v", g.MeanOpenAge)
	}
	if g.ExposureHours != 71*24 {
		t.Errorf("exposure %v hours", g.ExposureHours)
	}
	if g.Proven != 7 || g.Open != 3 || *g.AutoResolved.Percent != 100 || g.Reopened.Part != 0 {
		t.Errorf("%+v", g)
	}
	if !reflect.DeepEqual(n.ByClass[deadline.K3], g) || len(n.ByClass) != 1 {
		t.Error("all cases are K3, but the numbers of K3 differ")
	}
	if text, err := json.Marshal(n); err != nil || !strings.Contains(string(text), `"K3":{`) {
		t.Errorf("as JSON: %v", err)
	}
}

func TestEpisodesAndReturns(t *testing.T) {
	c := remedy.Case{ID: "c", Class: finding.StoragePublic, Asset: finding.Asset{UID: "x", Type: "bucket"}, AssignedTo: "team", Episodes: []remedy.Episode{
		{N: 1, DetectedAt: on(0), OpenedAt: on(1), AckAt: on(1.5), AckBy: "alice", ContainedAt: on(2), ActedAt: on(3), ClosedAt: on(4), How: remedy.ClosedProven, Human: true},
		{N: 2, DetectedAt: on(10), OpenedAt: on(10), AckAt: on(10), AckBy: "policy:1", ActedAt: on(11), ClosedAt: on(12), How: remedy.ClosedProven},
		{N: 3, DetectedAt: on(60), OpenedAt: on(60)},
	}}
	elsewhere := c
	elsewhere.ID, elsewhere.Asset.UID = "d", "y"
	elsewhere.Episodes = []remedy.Episode{{N: 1, DetectedAt: on(80), OpenedAt: on(80), ClosedAt: on(81), How: remedy.ClosedAttested}}
	g := Measure(slices.Values([]remedy.Case{c, elsewhere}), Options{At: on(90)}).All
	if g.Proven != 2 || g.Reopened.Part != 1 || g.Recurred.Part != 2 || g.AutoResolved.Part != 1 || g.Attested != 1 || g.Open != 1 {
		t.Errorf("proven %d, reopened %+v, recurred %+v, auto %+v, attested %d", g.Proven, g.Reopened, g.Recurred, g.AutoResolved, g.Attested)
	}
	if g.AutoAcknowledged != 1 || g.Acknowledge.Done != 1 || g.Acknowledge.P50 != nil || *g.Acknowledge.DoneP50 != 43200 {
		t.Errorf("acknowledge %+v, auto %d", g.Acknowledge, g.AutoAcknowledged)
	}
	if g.Verify.N != 2 || g.Verify.Done != 2 || *g.Verify.P50 != 86400 || *g.SourceLag.P99 != 86400 || g.Remediate.Done != 2 || g.Contain.Done != 2 {
		t.Errorf("verify %+v, lag %+v, remediate %+v, contain %+v", g.Verify, g.SourceLag, g.Remediate, g.Contain)
	}
	// 0..2 contained, 10..12, 60..90, 80..81.
	if g.ExposureHours != 24*(2+2+30+1) {
		t.Errorf("exposure %v days", g.ExposureHours/24)
	}
	// The same place in a new case is no recurrence elsewhere, and an episode that
	// opens and closes at one instant does not follow itself.
	anew, blink := c, c
	anew.ID, anew.Episodes = "e", []remedy.Episode{{N: 1, DetectedAt: on(13), OpenedAt: on(13)}}
	blink.Episodes = []remedy.Episode{{N: 1, DetectedAt: on(12), OpenedAt: on(12), ClosedAt: on(12), How: remedy.ClosedProven}}
	if g := Measure(slices.Values([]remedy.Case{blink, anew}), Options{At: on(90)}).All; g.Proven != 1 || g.Reopened.Part != 0 || g.Recurred.Part != 0 {
		t.Errorf("proven %d, reopened %+v, recurred %+v", g.Proven, g.Reopened, g.Recurred)
	}
	// Seen from the middle of it all, later days do not exist.
	g = Measure(slices.Values([]remedy.Case{c}), Options{At: on(3.5), From: on(1.2)}).All
	if g.Episodes != 1 || g.Open != 1 || g.Proven != 0 || g.OpenAtStart != 1 || g.Verify.Done != 0 || g.Verify.N != 1 || math.Abs(g.ExposureHours-0.8*24) > 1e-9 {
		t.Errorf("%+v", g)
	}
}

func TestExceptionsAndDropped(t *testing.T) {
	build := func(id string, how remedy.How, x *remedy.Exception) remedy.Case {
		c := remedy.Case{ID: id, Exception: x, Episodes: []remedy.Episode{{N: 1, DetectedAt: on(0), OpenedAt: on(0)}}}
		if how != "" {
			c.Episodes[0].ClosedAt, c.Episodes[0].How = on(1), how
		}
		c.Judgement.Clocks.Fix = on(7)
		return c
	}
	g := Measure(slices.Values([]remedy.Case{
		build("suppressed", remedy.ClosedSuppressed, nil), build("merged", remedy.ClosedMerged, nil),
		build("wrong", "", &remedy.Exception{Kind: "false-positive", From: on(2), Until: on(50)}),
		build("accepted", "", &remedy.Exception{Kind: "accepted", From: on(2), Until: on(50)}),
		build("accepted too late", "", &remedy.Exception{Kind: "accepted", From: on(8), Until: on(50)}),
		build("exception over", "", &remedy.Exception{Kind: "accepted", From: on(2), Until: on(9)}),
		build("attested", remedy.ClosedAttested, nil),
	}), Options{At: on(10)}).All
	if g.Dropped != 3 || g.Open != 3 || g.Accepted != 2 || g.Attested != 1 || g.Proven != 0 {
		t.Errorf("%+v", g)
	}
	if g.Fix.Excused != 2 || g.Fix.OpenPastDue != 2 || *g.Fix.Attained.Percent != 0 {
		t.Errorf("fix %+v", g.Fix)
	}
	if g.Window.N != 4 || g.Window.Done != 0 || g.Window.P50 != nil {
		t.Errorf("window %+v", g.Window)
	}
	if e := Measure(slices.Values([]remedy.Case(nil)), Options{At: on(1)}).All; e.Fix.Attained.Percent != nil || e.MeanOpenAge != nil {
		t.Errorf("numbers of nothing: %+v", e)
	}
}

// drawItems draws episodes in a plausible order of instants.
func drawItems(t *rapid.T) []Item {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Item {
		at := func(label string, after time.Time, always bool) time.Time {
			if after.IsZero() || (!always && rapid.Bool().Draw(t, "no "+label)) {
				return time.Time{}
			}
			return after.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, label)) * 6 * time.Hour)
		}
		it := Item{Case: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "case"), Key: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key"),
			Asset: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "asset"), Class: deadline.RiskClass(rapid.IntRange(0, 5).Draw(t, "class")), HasClocks: true}
		it.N = rapid.IntRange(1, 1000).Draw(t, "n")
		it.DetectedAt = at("detected", on(0), true)
		it.OpenedAt = at("opened", it.DetectedAt, true)
		it.AckAt, it.ContainedAt, it.ActedAt = at("acked", it.OpenedAt, false), at("contained", it.OpenedAt, false), at("acted", it.OpenedAt, false)
		it.ClosedAt = at("closed", slices.MaxFunc([]time.Time{it.OpenedAt, it.AckAt, it.ContainedAt, it.ActedAt}, time.Time.Compare), false)
		if !it.ClosedAt.IsZero() {
			it.How = rapid.SampledFrom([]remedy.How{remedy.ClosedProven, remedy.ClosedGone, remedy.ClosedAttested, remedy.ClosedSuppressed, remedy.ClosedMerged}).Draw(t, "how")
		} else if rapid.Bool().Draw(t, "exception") {
			it.Exception = &remedy.Exception{Kind: rapid.SampledFrom([]string{"accepted", "false-positive"}).Draw(t, "kind"), From: at("from", it.OpenedAt, true), Until: on(60)}
		}
		it.Human = rapid.Bool().Draw(t, "human")
		it.Clocks = deadline.Clocks{Ack: at("ack due", it.OpenedAt, false), Contain: at("contain due", it.OpenedAt, false), Fix: at("fix due", it.OpenedAt, true)}
		return it
	}), 0, 25).Draw(t, "items")
}

func TestMeasureLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.N, b.N) })
		items = slices.CompactFunc(items, func(a, b Item) bool { return a.N == b.N })
		o := Options{At: on(float64(rapid.IntRange(0, 40).Draw(t, "at")))}
		n := MeasureItems(items, o)
		shuffled := rapid.Permutation(items).Draw(t, "order")
		if !reflect.DeepEqual(n, MeasureItems(shuffled, o)) {
			t.Fatal("the order of items changes the numbers")
		}
		g := n.All
		if g.Dropped+g.Open+g.Proven+g.Attested != g.Episodes || g.OpenAtStart != 0 {
			t.Fatalf("episodes do not add up: %+v", g)
		}
		// Every fix duty of an exposure is in exactly one place.
		if s := g.Fix; s.Met+s.Missed+s.OpenPastDue+s.NotYetDue+s.Excused != g.Episodes-g.Dropped {
			t.Fatalf("duties do not add up: %+v of %d", s, g.Episodes-g.Dropped)
		}
		if g.Window.N != g.Episodes-g.Dropped || g.Window.Done != g.Proven {
			t.Fatalf("windows do not add up: %+v", g)
		}
		if g.ExposureHours < 0 || g.Reopened.Part > g.Proven || g.Recurred.Part > g.Proven || g.AutoResolved.Part > g.Proven {
			t.Fatalf("%+v", g)
		}
		classes := 0
		for _, x := range n.ByClass {
			classes += x.Episodes
		}
		if classes != g.Episodes {
			t.Fatal("the classes do not add up")
		}
		// Two halves of the time hold the exposure of the whole.
		half := Options{At: o.At.Add(-o.At.Sub(start) / 2)}
		second := Options{At: o.At, From: half.At}
		var kept []Item
		for _, it := range items { // what is dropped at the end was exposure before
			if !it.dropped(o.At) && !it.dropped(half.At) {
				kept = append(kept, it)
			}
		}
		whole := MeasureItems(kept, o).All.ExposureHours
		parts := MeasureItems(kept, half).All.ExposureHours + MeasureItems(kept, second).All.ExposureHours
		late := 0.0 // detected before the middle, opened by us after it: only the second report knows
		for _, it := range kept {
			if it.OpenedAt.After(half.At) && it.DetectedAt.Before(half.At) && !it.OpenedAt.After(o.At) {
				late += exposed(it, half).Hours()
			}
		}
		if math.Abs(whole-parts-late) > 1e-6 {
			t.Fatalf("exposure %v in all, %v and %v in parts", whole, parts, late)
		}
	})
}

func TestHistoryKeepsEarlierClocks(t *testing.T) {
	judged := func(at time.Time, class deadline.RiskClass, fix time.Time) remedy.Event {
		j := remedy.Judgement{Clocks: deadline.Clocks{Fix: fix}}
		j.Decision.Class = class
		return remedy.Event{At: at, Body: remedy.Judged{Judgement: j}}
	}
	events := []remedy.Event{
		{At: on(0), Body: remedy.Opened{ID: "c", DetectedAt: on(0)}},
		judged(on(0), deadline.K2, on(3)),
		{At: on(5), Body: remedy.EpisodeClosed{How: remedy.ClosedProven}},
		{At: on(9), Body: remedy.EpisodeStarted{N: 2, DetectedAt: on(9)}},
		judged(on(9), deadline.K1, on(12)),
	}
	items := History(slices.Values(events))
	if len(items) != 2 || !items[0].HasClocks || !items[0].Clocks.Fix.Equal(on(3)) || items[0].Class != deadline.K2 || items[1].Class != deadline.K1 {
		t.Fatalf("%+v", items)
	}
	g := MeasureItems(items, Options{At: on(20)}).All
	if g.Fix.Missed != 1 || g.Fix.OpenPastDue != 1 || g.Reopened.Part != 1 {
		t.Errorf("fix %+v, reopened %+v", g.Fix, g.Reopened)
	}
	// The state alone does not know them, and says so by leaving them out.
	var c remedy.Case
	for _, e := range events {
		c = remedy.Apply(c, e)
	}
	if got := Items(c); got[0].HasClocks || !got[1].HasClocks {
		t.Errorf("%+v", got)
	}
}

func TestApprovalsOf(t *testing.T) {
	ask := func(at float64, action string, needed int) remedy.Event {
		return remedy.Event{At: on(at), Body: remedy.ApprovalAsked{Action: action, Approval: remedy.Approval{Needed: needed, ExpiresAt: on(at + 1)}}}
	}
	grant := func(at float64, action, by string) remedy.Event {
		return remedy.Event{At: on(at), Body: remedy.Approved{Action: action, Grant: remedy.Grant{By: by}}}
	}
	void := func(at float64, action string) remedy.Event {
		return remedy.Event{At: on(at), Body: remedy.ApprovalVoided{Action: action}}
	}
	events := []remedy.Event{
		ask(0, "a", 2), grant(0.1, "a", "x"), grant(0.2, "a", "x"), grant(0.5, "a", "y"), void(0.6, "a"),
		ask(1, "b", 1), {At: on(1.5), Body: remedy.Rejected{Action: "b"}},
		ask(2, "c", 1), void(3, "c"),
		ask(4, "c", 1), void(4.5, "c"),
		ask(5, "d", 1), {At: on(5.5), Body: remedy.ActionMoved{Action: "d", To: remedy.ActionDropped}},
		ask(6, "e", 1),
		ask(8, "later", 1),
	}
	a := ApprovalsOf(slices.Values(events), Options{At: on(7)})
	want := Approvals{Asked: 6, Approved: 1, Rejected: 1, Expired: 1, Voided: 2, Waiting: 1}
	got := a
	got.AnswerTimes = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if s := a.RejectedShare(); s.Part != 1 || s.Whole != 3 {
		t.Errorf("rejected %+v", s)
	}
	if at := a.AnswerTime(); at.N != 6 || at.Done != 2 || at.P50 != nil || *at.DoneP50 != 86400/2 {
		t.Errorf("answers %+v", at)
	}
	late := ApprovalsOf(slices.Values(events), Options{From: on(4.2), At: on(7)})
	if late.Asked != 3 || late.Voided != 2 || late.Waiting != 1 || len(late.AnswerTimes) != 3 {
		t.Errorf("in a window: %+v", late)
	}
	two := a
	two.AnswerTimes = slices.Clone(a.AnswerTimes)
	two.Add(a)
	if two.Asked != 12 || len(two.AnswerTimes) != 12 || len(a.AnswerTimes) != 6 {
		t.Errorf("twice %+v", two)
	}
}

// Paused time is counted per case and in all, its reasons apart. It moves the
// duty and nothing else: windows and exposure count all the time there was.
func TestPausedTime(t *testing.T) {
	item := func(id string, pauses ...remedy.Pause) Item {
		return Item{Case: id, Tenant: "default", Class: deadline.K3, HasClocks: true,
			Clocks:  deadline.Clocks{Fix: on(10)}.Shift(remedy.Episode{Pauses: pauses}.Still()),
			Episode: remedy.Episode{N: 1, DetectedAt: start, OpenedAt: start, ClosedAt: on(11), How: remedy.ClosedProven, Pauses: pauses}}
	}
	items := []Item{
		item("a"),
		item("b", remedy.Pause{Reason: remedy.PauseVendor, From: on(1), Until: on(4), Ended: on(3)}, remedy.Pause{Reason: remedy.PauseException, From: on(5), Until: on(6), Ended: on(6)}),
		item("c", remedy.Pause{Reason: remedy.PauseLegal, From: on(8), Until: on(10), Ended: on(10)}),
	}
	n := MeasureItems(items, Options{At: on(20)})
	if g := n.All.Paused; g.Episodes != 2 || g.Seconds != 5*24*3600 || g.ByReason[remedy.PauseVendor] != 2*24*3600 || g.ByReason[remedy.PauseException] != 24*3600 {
		t.Errorf("paused in all: %+v", g)
	}
	if len(n.Paused) != 2 || n.Paused[0].Case != "b" || n.Paused[0].Seconds != 3*24*3600 || n.Paused[1].Seconds != 2*24*3600 {
		t.Errorf("paused by case: %+v", n.Paused)
	}
	if n.All.Fix.Met != 2 || n.All.Fix.Missed != 1 {
		t.Errorf("met without the pauses: %+v", n.All.Fix)
	}
	if *n.All.Window.P50 != 11*24*3600 || n.All.ExposureHours != 3*11*24 {
		t.Errorf("windows: %d s, exposure %v h: pauses have no part in them", *n.All.Window.P50, n.All.ExposureHours)
	}
	if half := MeasureItems(items, Options{From: on(2), At: on(9)}); half.All.Paused.Seconds != 3*24*3600 {
		t.Errorf("paused from day 2 to 9: %+v", half.All.Paused)
	}
}
