package simulation

import (
	"slices"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// apply judges one event of a case and takes note of it.
func (a *audit) apply(v *caseView, e store.StoredEvent) {
	switch b := e.Decoded.(type) {
	case remedy.Opened, remedy.Joined, remedy.MemberChanged, remedy.Judged:
		a.applyFacts(v, e)
	case remedy.EpisodeClosed:
		a.closes(v, e, b)
	case remedy.EpisodeStarted:
		a.opens(v, v.key)
		v.open, v.how, v.settled, v.acked, v.episode, v.opened, v.stood = true, "", false, false, b.N, e.At, nil
		v.contained = false
		v.said, v.judged.Clocks = map[string]bool{}, deadline.Clocks{}
	case remedy.CaseSettled:
		v.settled = true
	case remedy.ProbeSaw:
		a.probed(v, b)
	case remedy.Acked:
		v.acked = true
	case remedy.ExceptionGranted:
		x := b.Exception
		if x.By == "" || x.By == x.Asked || !x.Until.After(e.At) || x.Kind == "" {
			a.s.breach(11, "case %s: an exception of kind %q until %s, asked for by %q and granted by %q", v.id, x.Kind, x.Until, x.Asked, x.By)
		}
		v.except = &x
		v.stops(e.At, x.Until)
	case remedy.ExceptionEnded:
		v.except = nil
		v.runs(e.At)
	case remedy.ClockPaused:
		if e.By.Kind != remedy.Person || b.Pause.Note == "" || !b.Pause.Until.After(e.At) || b.Pause.Reason == "owner" || v.stopped() != nil {
			a.s.breach(11, "the clock of case %s is paused by %s until %s: %q", v.id, e.By.Kind, b.Pause.Until, b.Pause.Reason)
		}
		v.stops(e.At, b.Pause.Until)
		a.s.counts["clock pauses"]++
	case remedy.ClockResumed:
		v.runs(e.At)
	case remedy.ClockSaid:
		if b.Breach {
			a.breached(v, e, b)
			v.said[b.Duty] = true
		}
		v.said[b.Duty+"."+b.Action] = true
	case remedy.MessageQueued:
		v.messages[b.Message.N] = true
	case remedy.MessageSent:
		delete(v.messages, b.N)
	default:
		a.applyAction(v, e)
	}
}

func (a *audit) applyFacts(v *caseView, e store.StoredEvent) {
	s := a.s
	switch b := e.Decoded.(type) {
	case remedy.Opened:
		v.key, v.target, v.open, v.episode, v.opened, v.severity = b.Key, s.world.of(b.Asset).i, true, 1, e.At, b.Severity
		a.opens(v, b.Key)
		if b.DetectedAt.After(e.At) || e.At.After(begin().Add(-time.Hour)) && b.DetectedAt.After(begin().Add(-time.Hour)) {
			s.breach(11, "case %s counts the exposure from %s, its source saw it at %s", v.id, b.DetectedAt, begin().Add(-time.Hour))
		}
	case remedy.Joined:
		if old := a.owner[b.Member.UID]; old != "" && old != v.id && a.cases[old].open {
			s.breach(2, "finding %s joined case %s and is in case %s, which is open", b.Member.UID, v.id, old)
		}
		if b.Member.Why == "" {
			s.breach(2, "finding %s joined case %s without a reason", b.Member.UID, v.id)
		}
		if f, err := s.store.Finding(s.ctx, finding.DefaultTenant, b.Member.UID); err == nil && f.Asset.UID != s.world.targets[v.target].asset {
			s.breach(2, "finding %s is of %s and joined case %s of %s", b.Member.UID, f.Asset.UID, v.id, s.world.targets[v.target].asset)
		}
		a.owner[b.Member.UID] = v.id
		v.members[b.Member.UID] = b.Member.Status
		v.severity = max(v.severity, b.Member.Severity)
	case remedy.MemberChanged:
		v.members[b.UID] = b.Status
		v.severity = max(v.severity, b.Severity)
	case remedy.Judged:
		a.judges(v, b)
	}
}

// opens: of one exposure at most one case is open.
func (a *audit) opens(v *caseView, key string) {
	if other := a.open[v.target]; other != "" && other != v.id {
		a.s.breach(2, "case %s opens for %s, and case %s is open for it", v.id, key, other)
	}
	a.open[v.target] = v.id
}

func (a *audit) judges(v *caseView, b remedy.Judged) {
	s, old, now := a.s, v.judged.Clocks, b.Judgement.Clocks
	for name, x := range map[string][2]time.Time{"ack": {old.Ack, now.Ack}, "contain": {old.Contain, now.Contain}, "fix": {old.Fix, now.Fix}} {
		if !x[0].IsZero() && (x[1].IsZero() || x[1].After(x[0])) {
			s.breach(11, "the %s deadline of case %s went from %s to %s by itself", name, v.id, x[0], x[1])
		}
	}
	v.judged = b.Judgement
	if v.judged.Versions.Policy == "" || v.judged.Decision.Rule == "" {
		s.breach(3, "case %s was judged by policy %q, rule %q", v.id, v.judged.Versions.Policy, v.judged.Decision.Rule)
	}
	if _, err := s.store.Fact(s.ctx, finding.DefaultTenant, v.judged.Facts); err != nil {
		s.tolerateFact(err, v.id)
	}
}

func (s *sim) tolerateFact(err error, id string) {
	if s.life.Trouble == nil {
		s.breach(3, "the facts case %s was judged by are not stored: %v", id, err)
	}
}

// probed notes an observation of a probe run; the world has to have given it.
func (a *audit) probed(v *caseView, b remedy.ProbeSaw) {
	o := b.Observation
	v.touched = true
	verb := verbLook
	if b.Purpose == remedy.ProbeContinuity {
		verb = verbWorks
	}
	if o.Result != remedy.Inconclusive {
		a.given(v, verb, o)
	}
	if b.Purpose == remedy.ProbeContinuity {
		if act := v.action(b.Action); act != nil {
			act.works, act.worksAt = o.Result, o.At
		}
		return
	}
	v.last, v.covers, v.since = o, b.Covers, false
	if o.Result == remedy.Exposed {
		v.exposed[seenFrom(o)] = true
	}
}

// given: a result that is not "inconclusive" was really what a probe of the
// case's target answered.
func (a *audit) given(v *caseView, verb string, o remedy.Observation) {
	for i := len(a.s.world.answers) - 1; i >= 0; i-- {
		x := a.s.world.answers[i]
		if x.target == v.target && x.verb == verb && x.o.Result == o.Result && x.o.Place == o.Place && x.o.Grade == o.Grade && x.o.Detail == o.Detail {
			return
		}
	}
	a.s.breach(6, "case %s has the observation %s (%s, %s), which no probe of %s made", v.id, o.Result, o.Grade, o.Place, a.s.world.targets[v.target].asset)
}

// closes: closed as proven means proven.
func (a *audit) closes(v *caseView, e store.StoredEvent, b remedy.EpisodeClosed) {
	s := a.s
	if !v.open {
		s.breach(6, "case %s is closed and closes again", v.id)
	}
	for _, x := range v.actions {
		if x.doubt {
			s.breach(6, "case %s closes while nobody knows what became of %s", v.id, x.id)
		}
	}
	switch b.How {
	case remedy.ClosedProven:
		a.proven(v)
	case remedy.ClosedGone:
		if v.last.Result != remedy.Gone {
			s.breach(6, "case %s closes as gone on the observation %q", v.id, v.last.Result)
		}
	case remedy.ClosedAttested:
		if v.judged.Decision.Class < deadline.K3 || e.By.Kind != remedy.Person || b.Note == "" || !b.Until.After(e.At) {
			s.breach(6, "case %s, %s, closes as attested by %s until %s", v.id, v.judged.Decision.Class, e.By.Kind, b.Until)
		}
	case remedy.ClosedSuppressed:
		if !v.judged.Decision.Suppress || !b.Until.After(e.At) {
			s.breach(9, "case %s is suppressed until %s; policy says suppress %v", v.id, b.Until, v.judged.Decision.Suppress)
		}
	}
	// What the probe sees from now on counts for the next episode.
	v.exposed, v.last, v.since = map[string]bool{}, remedy.Observation{}, false
	v.open, v.how, v.until, v.closedAt, v.except = false, b.How, b.Until, e.At, nil
	v.runs(e.At)
	delete(a.open, v.target)
	s.counts["closed "+string(b.How)]++
}

func (a *audit) proven(v *caseView) {
	s, o := a.s, v.last
	switch {
	case o.Result != remedy.NotExposed:
		s.breach(6, "case %s closes as proven on the observation %q", v.id, o.Result)
	case o.Grade < gradeFor(v.judged.Decision.Class):
		s.breach(6, "case %s of class %s closes by a probe of grade %s", v.id, v.judged.Decision.Class, o.Grade)
	case !v.exposed[seenFrom(o)]:
		s.breach(6, "case %s closes by %s, which never saw the exposure in this episode", v.id, seenFrom(o))
	case v.since:
		s.breach(6, "case %s closes by an observation older than what was done", v.id)
	}
	for uid := range v.members {
		if v.covers != nil && !slices.Contains(v.covers, uid) {
			s.breach(6, "case %s closes by an observation that does not speak for finding %s", v.id, uid)
		}
	}
	for _, x := range v.actions {
		if x.episode == v.episode && x.status == remedy.ActionDone && !x.watch.IsZero() && x.works != remedy.NotExposed {
			s.breach(7, "case %s closes, and the continuity probe of %s last said %q", v.id, x.id, x.works)
		}
	}
}
