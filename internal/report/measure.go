package report

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// Windows within which trouble counts as the same trouble again.
const (
	ReopenWindow     = 30 * 24 * time.Hour
	RecurrenceWindow = 90 * 24 * time.Hour
)

// Options say what to report on.
type Options struct {
	// At is the instant of the report; nothing later counts. UTC.
	At time.Time
	// From is the start of the window, zero for all time. What was open then
	// counts from its age at that instant.
	From time.Time
}

// Numbers is the whole report.
type Numbers struct {
	At   time.Time `json:"at"`
	From time.Time `json:"from,omitzero"`
	All  Group     `json:"all"`
	// ByClass has an entry for each risk class that occurs; K? is not judged yet.
	ByClass map[deadline.RiskClass]Group `json:"by_class"`
	// Paused are the cases whose SLA clock stood still in the window, by id.
	Paused []PausedCase `json:"paused,omitempty"`
}

// Group is the numbers of a set of episodes.
type Group struct {
	// Episodes counted; Dropped were no exposure (suppressed, merged, false
	// positive) and are in no other number.
	Episodes int `json:"episodes"`
	Dropped  int `json:"dropped"`
	// OpenAtStart were open at the start of the window, Opened within it.
	OpenAtStart int `json:"open_at_start"`
	Opened      int `json:"opened"`
	// Open are open at the end, Accepted those of them with an exception.
	Open     int `json:"open"`
	Accepted int `json:"accepted"`
	// Proven closed by proof in the window; Attested without, on a person's word.
	Proven   int `json:"proven"`
	Attested int `json:"attested"`

	// Acknowledge: from our detection to the first acknowledgement by a person.
	Acknowledge Time `json:"acknowledge"`
	// AutoAcknowledged were acknowledged by policy, which is not in Acknowledge.
	AutoAcknowledged int `json:"auto_acknowledged"`
	// Contain: from our detection to proof that the state is out of reach.
	Contain Time `json:"contain"`
	// Remediate: from our detection to the action applied; where somebody mended
	// it without us, to the proof.
	Remediate Time `json:"remediate"`
	// Verify: from the action applied to the proof. Without proof it never ends.
	Verify Time `json:"verify"`
	// Window: from the source's detection to the proof. Its P50 is the half-life.
	Window Time `json:"window"`
	// SourceLag: from the source's detection to ours.
	SourceLag Time `json:"source_lag"`

	// ExposureHours: hours in which a state was exposed within the window.
	ExposureHours float64 `json:"exposure_hours"`
	// MeanOpenAge is the mean age of what is open at the end; nil if nothing is.
	MeanOpenAge *Seconds `json:"mean_open_age_seconds"`

	Ack  SLA `json:"sla_acknowledge"`
	Cont SLA `json:"sla_contain"`
	Fix  SLA `json:"sla_fix"`

	// Paused is the time that the SLA clocks stood still. Duties are measured
	// without it, all other times with it.
	Paused Paused `json:"paused"`

	// AutoResolved of Proven had no decision of a person.
	AutoResolved Share `json:"auto_resolved"`
	// Reopened of Proven: exposed again at the same place within ReopenWindow.
	Reopened Share `json:"reopened"`
	// Recurred of Proven: the same kind of trouble of the same owner elsewhere
	// within RecurrenceWindow.
	Recurred Share `json:"recurred"`
}

// Seconds is a length of time in whole seconds.
type Seconds int64

// Time is the distribution of a duration, what is still running included.
type Time struct {
	// N is the number of intervals, Done of them ended by what is measured.
	N    int `json:"n"`
	Done int `json:"done"`
	// P50, P90 and P99 are nil where that share has not been reached.
	P50 *Seconds `json:"p50_seconds"`
	P90 *Seconds `json:"p90_seconds"`
	P99 *Seconds `json:"p99_seconds"`
	// DoneP50 is the median of what is done alone: what a report that forgets
	// the open ones would say.
	DoneP50 *Seconds `json:"done_only_p50_seconds"`
	Curve   Curve    `json:"curve,omitempty"`
}

// SLA says how a duty was kept.
type SLA struct {
	Met    int `json:"met"`
	Missed int `json:"missed"`
	// OpenPastDue are not done and too late already.
	OpenPastDue int `json:"open_past_due"`
	NotYetDue   int `json:"not_yet_due"`
	// Excused left before their due instant without being done: accepted by an
	// exception, or closed on a person's word.
	Excused int `json:"excused"`
	// Attained is Met of Met + Missed + OpenPastDue.
	Attained Share `json:"attained"`
}

// Share is a part of a whole.
type Share struct {
	Part  int `json:"part"`
	Whole int `json:"whole"`
	// Percent is nil where the whole is 0.
	Percent *float64 `json:"percent"`
}

// ShareOf returns part of whole.
func ShareOf(part, whole int) Share {
	s := Share{Part: part, Whole: whole}
	if whole > 0 {
		p := 100 * float64(part) / float64(whole)
		s.Percent = &p
	}
	return s
}

// Measure folds cases, known by their state, into numbers.
func Measure(cases iter.Seq[remedy.Case], o Options) Numbers {
	var items []Item
	for c := range cases {
		items = append(items, Items(c)...)
	}
	return MeasureItems(items, o)
}

// MeasureItems folds episodes into numbers. The order of items plays no part.
func MeasureItems(items []Item, o Options) Numbers {
	n := Numbers{At: o.At, From: o.From, ByClass: make(map[deadline.RiskClass]Group)}
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Case, b.Case), cmp.Compare(a.N, b.N))
	})
	again := followUps(items, o.At)
	var all folder
	byClass := make(map[deadline.RiskClass]*folder)
	counted := items[:0:0]
	for i, it := range items {
		if it.OpenedAt.After(o.At) || (!o.From.IsZero() && !it.open(o.At) && it.ClosedAt.Before(o.From)) {
			continue
		}
		if byClass[it.Class] == nil {
			byClass[it.Class] = new(folder)
		}
		counted = append(counted, it)
		all.add(it, again[i], o)
		byClass[it.Class].add(it, again[i], o)
	}
	n.All, n.Paused = all.group(), pausedCases(counted, o)
	for class, f := range byClass {
		n.ByClass[class] = f.group()
	}
	return n
}

// followUp is what came after a proven close.
type followUp struct{ reopened, recurred bool }

// followUps finds for each item (sorted by OpenedAt) whether the trouble came
// back: at the same place as a later episode, or elsewhere with the same key.
func followUps(items []Item, at time.Time) []followUp {
	out := make([]followUp, len(items))
	byKey, byCase := make(map[string][]int), make(map[string][]int)
	for i, it := range items {
		byKey[it.Key] = append(byKey[it.Key], i)
		byCase[it.Tenant+"\x00"+it.Case] = append(byCase[it.Tenant+"\x00"+it.Case], i)
	}
	within := func(list []int, from, to time.Time, match func(Item) bool) bool {
		first, _ := slices.BinarySearchFunc(list, from, func(i int, t time.Time) int { return items[i].OpenedAt.Compare(t) })
		for _, i := range list[first:] {
			if items[i].OpenedAt.After(to) {
				return false
			}
			if match(items[i]) {
				return true
			}
		}
		return false
	}
	until := func(t time.Time, window time.Duration) time.Time {
		if t = t.Add(window); t.After(at) {
			return at
		}
		return t
	}
	for i, it := range items {
		if !it.proven(at) {
			continue
		}
		out[i].reopened = within(byCase[it.Tenant+"\x00"+it.Case], it.ClosedAt, until(it.ClosedAt, ReopenWindow), func(o Item) bool { return o.N > it.N })
		out[i].recurred = within(byKey[it.Key], it.ClosedAt, until(it.ClosedAt, RecurrenceWindow), func(o Item) bool { return o.Asset != it.Asset && o.Case != it.Case })
	}
	return out
}

// folder collects the episodes of one group.
type folder struct {
	g                                            Group
	ack, contain, remediate, verify, window, lag []Observation
	auto, reopened, recurred                     int
	openAge                                      time.Duration
}

func (f *folder) add(it Item, again followUp, o Options) {
	f.g.Episodes++
	if it.dropped(o.At) {
		f.g.Dropped++
		return
	}
	within := func(t time.Time) bool { return happened(t, o.At) && !t.Before(o.From) }
	if it.OpenedAt.Before(o.From) {
		f.g.OpenAtStart++
	} else {
		f.g.Opened++
	}
	switch proven := it.proven(o.At); {
	case it.open(o.At):
		f.g.Open++
		f.openAge += o.At.Sub(it.DetectedAt)
		if it.accepted(o.At) {
			f.g.Accepted++
		}
	case proven && within(it.ClosedAt):
		f.g.Proven++
		f.auto += count(!it.Human)
		f.reopened += count(again.reopened)
		f.recurred += count(again.recurred)
	case !proven:
		f.g.Attested++
	}
	f.times(it, o)
	f.duties(it, o)
	f.g.ExposureHours += exposed(it, o).Hours()
	f.g.Paused.add(paused(it, o))
}

// times notes the intervals of an episode.
func (f *folder) times(it Item, o Options) {
	left := it.leftAt(o.At)
	proof, proven := it.ClosedAt, it.proven(o.At)
	// note takes an interval from start to done, or censors it.
	note := func(list *[]Observation, start, done time.Time) {
		x := Observation{Exit: left.Sub(start)}
		if x.Event = happened(done, left); x.Event {
			x.Exit = done.Sub(start)
		}
		if !o.From.IsZero() {
			x.Entry = max(0, o.From.Sub(start))
		}
		if x.Exit = max(x.Exit, 0); x.Exit >= x.Entry {
			*list = append(*list, x)
		}
	}
	ended := func(otherwise time.Time) time.Time { // proof ends it as well
		if proven && (otherwise.IsZero() || proof.Before(otherwise)) {
			return proof
		}
		return otherwise
	}
	if byPolicy(it.AckBy) && happened(it.AckAt, o.At) {
		f.g.AutoAcknowledged++
		note(&f.ack, it.OpenedAt, time.Time{})
	} else {
		note(&f.ack, it.OpenedAt, it.AckAt)
	}
	note(&f.contain, it.OpenedAt, ended(it.ContainedAt))
	if it.ActedAt.IsZero() {
		note(&f.remediate, it.OpenedAt, ended(time.Time{}))
	} else {
		note(&f.remediate, it.OpenedAt, it.ActedAt)
	}
	if happened(it.ActedAt, o.At) {
		note(&f.verify, it.ActedAt, ended(time.Time{}))
	}
	note(&f.window, it.DetectedAt, ended(time.Time{}))
	if !it.OpenedAt.Before(o.From) {
		f.lag = append(f.lag, Observation{Exit: max(0, it.OpenedAt.Sub(it.DetectedAt)), Event: true})
	}
}

// duties notes how the promises of an episode were kept.
func (f *folder) duties(it Item, o Options) {
	if !it.HasClocks {
		return
	}
	proof := time.Time{}
	if it.proven(o.At) {
		proof = it.ClosedAt
	}
	contained := it.ContainedAt
	if contained.IsZero() || (!proof.IsZero() && proof.Before(contained)) {
		contained = proof
	}
	acked := it.AckAt
	if acked.IsZero() { // nobody has to take note of what is proven closed
		acked = proof
	}
	f.g.Ack.add(it, it.Clocks.Ack, acked, o)
	f.g.Cont.add(it, it.Clocks.Contain, contained, o)
	f.g.Fix.add(it, it.Clocks.Fix, proof, o)
}

// add counts one duty. It counts in the window in which it was decided: when it
// was done or fell due, whichever came first; what is too late and still open
// counts in every window.
func (s *SLA) add(it Item, due, done time.Time, o Options) {
	if due.IsZero() {
		return
	}
	isDone, left := happened(done, o.At), it.leftAt(o.At)
	inWindow := func(t time.Time) bool { return !t.Before(o.From) }
	switch {
	case isDone && !done.After(due):
		s.Met += count(inWindow(done))
	case isDone:
		s.Missed += count(inWindow(due))
	case left.Before(due) && (!it.open(o.At) || it.accepted(o.At)):
		s.Excused++
	case due.After(o.At):
		s.NotYetDue++
	case it.open(o.At):
		s.OpenPastDue++
	default: // closed without proof, after it was due
		s.Missed += count(inWindow(due))
	}
}

// exposed is how long the state was within reach in the window: from the
// source's detection until containment or the end of the episode. An exception
// does not stop it.
func exposed(it Item, o Options) time.Duration {
	end := o.At
	for _, t := range []time.Time{it.ContainedAt, it.ClosedAt} {
		if happened(t, o.At) && t.Before(end) {
			end = t
		}
	}
	start := it.DetectedAt
	if start.Before(o.From) {
		start = o.From
	}
	return max(0, end.Sub(start))
}

func (f *folder) group() Group {
	g := f.g
	g.Acknowledge, g.Contain, g.Remediate = timeOf(f.ack), timeOf(f.contain), timeOf(f.remediate)
	g.Verify, g.Window, g.SourceLag = timeOf(f.verify), timeOf(f.window), timeOf(f.lag)
	if g.Open > 0 {
		mean := seconds(f.openAge / time.Duration(g.Open))
		g.MeanOpenAge = &mean
	}
	for _, s := range []*SLA{&g.Ack, &g.Cont, &g.Fix} {
		s.Attained = ShareOf(s.Met, s.Met+s.Missed+s.OpenPastDue)
	}
	g.AutoResolved, g.Reopened, g.Recurred = ShareOf(f.auto, g.Proven), ShareOf(f.reopened, g.Proven), ShareOf(f.recurred, g.Proven)
	return g
}

// timeOf is the distribution of intervals.
func timeOf(list []Observation) Time {
	t := Time{N: len(list), Curve: Survival(list)}
	var done []time.Duration
	for _, x := range list {
		if x.Event {
			done = append(done, x.Exit)
		}
	}
	t.Done = len(done)
	for _, q := range []struct {
		share float64
		into  **Seconds
	}{{0.5, &t.P50}, {0.9, &t.P90}, {0.99, &t.P99}} {
		if age, ok := t.Curve.Quantile(q.share); ok {
			s := seconds(age)
			*q.into = &s
		}
	}
	if len(done) > 0 {
		slices.Sort(done)
		s := seconds(done[(len(done)-1)/2])
		t.DoneP50 = &s
	}
	return t
}

func seconds(d time.Duration) Seconds { return Seconds(d / time.Second) }

// byPolicy tells whether an actor is policy or the system rather than a person.
func byPolicy(actor string) bool {
	return actor == "system" || actor == "policy" || strings.HasPrefix(actor, "policy:")
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
