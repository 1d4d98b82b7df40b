package report

import (
	"iter"
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
	m := NewMeter(o)
	for c := range cases {
		for _, it := range Items(c) {
			m.Add(it)
		}
	}
	return m.Numbers()
}

// MeasureItems folds episodes into numbers. The order of items plays no part.
func MeasureItems(items []Item, o Options) Numbers {
	m := NewMeter(o)
	for _, it := range items {
		m.Add(it)
	}
	return m.Numbers()
}

// folder collects the episodes of one group.
type folder struct {
	g                        Group
	times                    [distributions]Sample
	auto, reopened, recurred int
	openAge, exposed         total
}

// The distributions of a group.
const (
	acknowledge = iota
	contain
	remediate
	verify
	window
	lag
	distributions
)

// total is a sum of lengths of time, which may be longer than a duration can be:
// 100,000 exposures of a month are 8,000 years.
type total struct{ seconds, nanos int64 }

func (t *total) add(d time.Duration) {
	t.nanos += int64(d % time.Second)
	t.seconds += int64(d/time.Second) + t.nanos/int64(time.Second)
	t.nanos %= int64(time.Second)
}

func (t *total) plus(o total) {
	t.seconds += o.seconds
	t.add(time.Duration(o.nanos))
}

func (t total) hours() float64 { return (float64(t.seconds) + float64(t.nanos)/1e9) / 3600 }

// plus adds the counts of another group; its distributions and shares are not
// counts.
func (f *folder) plus(o *folder) {
	a, b := &f.g, &o.g
	for _, x := range []struct {
		into *int
		n    int
	}{{&a.Episodes, b.Episodes}, {&a.Dropped, b.Dropped}, {&a.OpenAtStart, b.OpenAtStart}, {&a.Opened, b.Opened}, {&a.Open, b.Open}, {&a.Accepted, b.Accepted},
		{&a.Proven, b.Proven}, {&a.Attested, b.Attested}, {&a.AutoAcknowledged, b.AutoAcknowledged}, {&f.auto, o.auto}, {&f.reopened, o.reopened}, {&f.recurred, o.recurred}} {
		*x.into += x.n
	}
	a.Ack.plus(b.Ack)
	a.Cont.plus(b.Cont)
	a.Fix.plus(b.Fix)
	a.Paused.add(b.Paused)
	f.openAge.plus(o.openAge)
	f.exposed.plus(o.exposed)
}

// plus adds counts.
func (s *SLA) plus(o SLA) {
	s.Met, s.Missed, s.OpenPastDue = s.Met+o.Met, s.Missed+o.Missed, s.OpenPastDue+o.OpenPastDue
	s.NotYetDue, s.Excused = s.NotYetDue+o.NotYetDue, s.Excused+o.Excused
}

// add folds an episode in, and tells whether it counts as closed by proof in the
// window.
func (f *folder) add(it Item, o Options) (closed bool) {
	f.g.Episodes++
	if it.dropped(o.At) {
		f.g.Dropped++
		return false
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
		f.openAge.add(o.At.Sub(it.DetectedAt))
		if it.accepted(o.At) {
			f.g.Accepted++
		}
	case proven && within(it.ClosedAt):
		f.g.Proven++
		f.auto += count(!it.Human)
		closed = true
	case !proven:
		f.g.Attested++
	}
	f.intervals(it, o)
	f.duties(it, o)
	f.exposed.add(exposed(it, o))
	f.g.Paused.add(paused(it, o))
	return closed
}

// intervals notes the intervals of an episode.
func (f *folder) intervals(it Item, o Options) {
	left := it.leftAt(o.At)
	proof, proven := it.ClosedAt, it.proven(o.At)
	// note takes an interval from start to done, or censors it.
	note := func(which int, start, done time.Time) {
		x := Observation{Exit: left.Sub(start)}
		if x.Event = happened(done, left); x.Event {
			x.Exit = done.Sub(start)
		}
		if !o.From.IsZero() {
			x.Entry = max(0, o.From.Sub(start))
		}
		if x.Exit = max(x.Exit, 0); x.Exit >= x.Entry {
			f.times[which].Add(x)
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
		note(acknowledge, it.OpenedAt, time.Time{})
	} else {
		note(acknowledge, it.OpenedAt, it.AckAt)
	}
	note(contain, it.OpenedAt, ended(it.ContainedAt))
	if it.ActedAt.IsZero() {
		note(remediate, it.OpenedAt, ended(time.Time{}))
	} else {
		note(remediate, it.OpenedAt, it.ActedAt)
	}
	if happened(it.ActedAt, o.At) {
		note(verify, it.ActedAt, ended(time.Time{}))
	}
	note(window, it.DetectedAt, ended(time.Time{}))
	if !it.OpenedAt.Before(o.From) {
		f.times[lag].Add(Observation{Exit: max(0, it.OpenedAt.Sub(it.DetectedAt)), Event: true})
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

// group is the numbers of all that was folded in; time gives its distributions.
func (f *folder) group(time func(which int) Time) Group {
	g := f.g
	g.Acknowledge, g.Contain, g.Remediate = time(acknowledge), time(contain), time(remediate)
	g.Verify, g.Window, g.SourceLag = time(verify), time(window), time(lag)
	g.ExposureHours = f.exposed.hours()
	if g.Open > 0 {
		mean := Seconds(f.openAge.seconds / int64(g.Open))
		g.MeanOpenAge = &mean
	}
	for _, s := range []*SLA{&g.Ack, &g.Cont, &g.Fix} {
		s.Attained = ShareOf(s.Met, s.Met+s.Missed+s.OpenPastDue)
	}
	g.AutoResolved, g.Reopened, g.Recurred = ShareOf(f.auto, g.Proven), ShareOf(f.reopened, g.Proven), ShareOf(f.recurred, g.Proven)
	return g
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
