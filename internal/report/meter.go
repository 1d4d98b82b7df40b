package report

import (
	"cmp"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// Meter measures episodes as they come: any number of cases, one after another
// and in any order. It keeps some 100 bytes of each episode and none of its
// texts.
type Meter struct {
	o         Options
	byClass   map[deadline.RiskClass]*folder
	traces    []trace
	paused    map[[2]string]*PausedCase
	approvals map[deadline.RiskClass]*Approvals
}

// trace is what an episode says of others: where it was and when. Its texts are
// hashed: two of one hash would be taken for one place, which in 64 bits does
// not happen by chance.
type trace struct {
	opened time.Duration // since 1970, UTC
	// closed is set where the episode counts as closed by proof in the window.
	closed            time.Duration
	key, asset, place uint64
	n                 int
	class             deadline.RiskClass
}

// NewMeter makes a meter.
func NewMeter(o Options) *Meter {
	return &Meter{o: o, byClass: map[deadline.RiskClass]*folder{}, paused: map[[2]string]*PausedCase{}, approvals: map[deadline.RiskClass]*Approvals{}}
}

// Add measures an episode.
func (m *Meter) Add(it Item) {
	o := m.o
	if it.OpenedAt.After(o.At) {
		return
	}
	gone := !o.From.IsZero() && !it.open(o.At) && it.ClosedAt.Before(o.From)
	t := trace{opened: time.Duration(it.OpenedAt.UnixNano()), key: hash(it.Key), asset: hash(it.Asset), place: hash(it.Tenant + "\x00" + it.Case), n: it.N, class: it.Class}
	if !gone {
		f := m.byClass[it.Class]
		if f == nil {
			f = new(folder)
			m.byClass[it.Class] = f
		}
		if f.add(it, o) {
			t.closed = time.Duration(it.ClosedAt.UnixNano())
		}
		m.pause(it)
	}
	m.traces = append(m.traces, t)
}

// Asked counts the requests for approval of a case.
func (m *Meter) Asked(class deadline.RiskClass, a Approvals) {
	if m.approvals[class] == nil {
		m.approvals[class] = new(Approvals)
	}
	m.approvals[class].Add(a)
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, s) // a hash takes all
	return h.Sum64()
}

// pause adds the time for which an episode's clock stood still to its case.
func (m *Meter) pause(it Item) {
	p := paused(it, m.o)
	if p.Seconds == 0 || it.dropped(m.o.At) {
		return
	}
	key := [2]string{it.Tenant, it.Case}
	if m.paused[key] == nil {
		m.paused[key] = &PausedCase{Tenant: it.Tenant, Case: it.Case}
	}
	m.paused[key].add(p)
}

// Numbers are those of all episodes so far.
func (m *Meter) Numbers() Numbers {
	m.followUps()
	n := Numbers{At: m.o.At, From: m.o.From, ByClass: make(map[deadline.RiskClass]Group, len(m.byClass))}
	var all folder
	var lists [distributions][]*Sample
	for _, class := range slices.Sorted(maps.Keys(m.byClass)) {
		f := m.byClass[class]
		all.plus(f)
		for i := range f.times {
			lists[i] = append(lists[i], &f.times[i])
		}
		n.ByClass[class] = f.group(func(i int) Time { return f.times[i].Time() })
	}
	n.All = all.group(func(i int) Time { return join(lists[i]).Time() })
	for _, p := range m.paused {
		n.Paused = append(n.Paused, *p)
	}
	slices.SortFunc(n.Paused, func(a, b PausedCase) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Case, b.Case))
	})
	return n
}

// Closure is the report of all that was added.
func (m *Meter) Closure() Closure {
	approvals := make(map[deadline.RiskClass]Approvals, len(m.approvals))
	for class, a := range m.approvals {
		approvals[class] = *a
	}
	return ClosureOf(m.Numbers(), approvals)
}

// followUps counts what came back after a proven close: at the same place as a
// later episode, or elsewhere with the same key.
func (m *Meter) followUps() {
	for _, f := range m.byClass {
		f.reopened, f.recurred = 0, 0
	}
	at := time.Duration(m.o.At.UnixNano())
	// came counts the closes after which one of the traces of the same group, as
	// sorted by it, was opened within the window.
	came := func(group func(trace) uint64, window time.Duration, same func(closed, later trace) bool, into func(*folder) *int) {
		slices.SortFunc(m.traces, func(a, b trace) int { return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(a.opened, b.opened)) })
		for _, t := range m.traces {
			if t.closed == 0 {
				continue
			}
			first, _ := slices.BinarySearchFunc(m.traces, t, func(x, t trace) int { return cmp.Or(cmp.Compare(group(x), group(t)), cmp.Compare(x.opened, t.closed)) })
			for _, x := range m.traces[first:] {
				if group(x) != group(t) || x.opened > min(t.closed+window, at) {
					break
				}
				if same(t, x) {
					*into(m.byClass[t.class])++
					break
				}
			}
		}
	}
	came(func(t trace) uint64 { return t.place }, ReopenWindow, func(t, x trace) bool { return x.n > t.n }, func(f *folder) *int { return &f.reopened })
	came(func(t trace) uint64 { return t.key }, RecurrenceWindow, func(t, x trace) bool { return x.asset != t.asset && x.place != t.place }, func(f *folder) *int { return &f.recurred })
}
