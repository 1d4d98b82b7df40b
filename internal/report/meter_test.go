package report

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// TestFollowUpsAgainstDefinition: what came back after a proven close, counted
// straight from its definition.
func TestFollowUpsAgainstDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := drawItems(t)
		o := Options{At: on(float64(rapid.IntRange(0, 60).Draw(t, "at")))}
		if rapid.Bool().Draw(t, "window") {
			o.From = o.At.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "from")) * 24 * time.Hour)
		}
		reopened, recurred := 0, 0
		for _, it := range items {
			if !it.proven(o.At) || it.dropped(o.At) || it.OpenedAt.After(o.At) || it.ClosedAt.Before(o.From) {
				continue
			}
			back := func(window time.Duration, same func(Item) bool) bool {
				for _, x := range items {
					if same(x) && !x.OpenedAt.Before(it.ClosedAt) && !x.OpenedAt.After(it.ClosedAt.Add(window)) && !x.OpenedAt.After(o.At) {
						return true
					}
				}
				return false
			}
			reopened += count(back(ReopenWindow, func(x Item) bool { return x.Case == it.Case && x.N > it.N }))
			recurred += count(back(RecurrenceWindow, func(x Item) bool { return x.Key == it.Key && x.Asset != it.Asset && x.Case != it.Case }))
		}
		if g := MeasureItems(items, o).All; g.Reopened.Part != reopened || g.Recurred.Part != recurred {
			t.Fatalf("reopened %d, recurred %d; want %d and %d", g.Reopened.Part, g.Recurred.Part, reopened, recurred)
		}
	})
}

// TestLongSums: ages and exposures of many cases add up to more than a duration
// can hold.
func TestLongSums(t *testing.T) {
	m := NewMeter(Options{At: on(3650)})
	for i := range 1000 {
		m.Add(Item{Case: strconv.Itoa(i), Class: deadline.K3, Episode: remedy.Episode{N: 1, DetectedAt: on(0), OpenedAt: on(0)}})
	}
	const years = 3650 * 24 * 3600 // seconds of ten
	g := m.Numbers().All
	if *g.MeanOpenAge != years || g.ExposureHours != 1000*years/3600 {
		t.Errorf("mean age %d s, exposure %v h", *g.MeanOpenAge, g.ExposureHours)
	}
}

// TestMeterKeepsLittle: a report of many cases holds about 100 bytes of each, and
// none of their texts.
func TestMeterKeepsLittle(t *testing.T) {
	const n = 50_000
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	m := NewMeter(Options{At: on(400), From: on(30)})
	for i := range n {
		id := strings.Repeat("x", 200) + strconv.Itoa(i)
		at := on(float64(i) / 200)
		m.Add(Item{Case: id, Key: id, Asset: id, Class: deadline.RiskClass(1 + i%5), Episode: remedy.Episode{N: 1, DetectedAt: at, OpenedAt: at.Add(time.Hour),
			ActedAt: at.Add(2 * time.Hour), ClosedAt: at.Add(40 * 24 * time.Hour), How: remedy.ClosedProven}})
	}
	if each := float64(heap()-before) / n; each > 250 { // slices are up to twice as large as what is in them
		t.Errorf("%.0f bytes of each episode are kept", each)
	}
	if g := m.Numbers().All; g.Episodes == 0 || g.Proven == 0 {
		t.Errorf("%+v", g)
	}
}
