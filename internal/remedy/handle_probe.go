package remedy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// askProbe asks for one probe run; a case has at most one in flight, and a
// newer purpose takes the place of a scheduled one.
func (s *step) askProbe(p Purpose, action string) {
	s.emit(ProbeAsked{ProbeRun{N: s.c.Probes + 1, Purpose: p, Action: action, Since: s.at}})
}

// provesClosed: the observation is of the demanded grade, covers every member
// and the same probe from the same place saw the exposure in this episode
// (law 6).
func (s *step) provesClosed(o Observation, grade Grade) bool {
	return o.Result == NotExposed && o.Grade >= grade && s.c.sawExposed(o) && !s.partial
}

// sawExposed: the probe of an observation saw the exposure from the same place
// in this episode.
func (c Case) sawExposed(o Observation) bool {
	return slices.ContainsFunc(c.Exposed, func(x Observation) bool { return x.Probe == o.Probe && x.Place == o.Place })
}

// known returns the observation with a result that has a meaning here: what
// nobody knows is inconclusive.
func (o Observation) known() Observation {
	switch o.Result {
	case Exposed, NotExposed, Inconclusive, Gone:
	default:
		o.Detail = strings.TrimSpace("unknown result " + strconv.Quote(string(o.Result)) + " " + o.Detail)
		o.Result = Inconclusive
	}
	return o
}

func (s *step) probed(d Probed) error {
	run := s.c.Probe
	if run.N == 0 || run.N != d.N {
		return refuse(Stale, "the case does not wait for probe %d", d.N)
	}
	o := d.Observation.known()
	s.partial = run.Purpose != ProbeContinuity && len(d.Covers) > 0 && slices.ContainsFunc(s.c.Members, func(m Member) bool { return !slices.Contains(d.Covers, m.UID) })
	s.emit(ProbeSaw{N: d.N, Purpose: run.Purpose, Action: run.Action, Observation: o, Covers: d.Covers})
	if o.Result == Inconclusive && s.c.Inconclusive == maxInconclusive {
		s.escalate("the probe can't tell: " + o.Detail)
	}
	if run.Purpose != ProbeContinuity {
		s.refute(run.Purpose, o)
	}
	switch run.Purpose {
	case ProbeAfter:
		s.probedAfter(run, o)
	case ProbeContinuity:
		s.probedContinuity(run, o)
	case ProbeRecheck:
		s.probedRecheck(o)
	default:
		s.probedOpen(run, o)
	}
	return nil
}

// probedAfter: did the act work?
func (s *step) probedAfter(run ProbeRun, o Observation) {
	a, ok := s.c.Action(run.Action)
	if !ok || a.Status != ActionActed && a.Status != ActionUnsure {
		return
	}
	interval := time.Duration(orDefault(a.Spec.Interval, defaultInterval)) * time.Second
	switch o.Result {
	case Gone:
		s.emit(ActionMoved{Action: a.ID, To: ActionDone, Reason: "the asset is gone"})
		s.close(ClosedGone, "the asset is proven deleted", "", time.Time{})
	case Inconclusive:
		s.emit(ProbeDue{Action: a.ID, At: s.at.Add(max(interval, backoff(s.c.Inconclusive))), Why: "inconclusive: " + o.Detail})
	case Exposed:
		if a.Status == ActionUnsure {
			s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: "not known whether it happened; the risky state is still there"})
			return
		}
		if a.AfterTries >= orDefault(a.Spec.Tries, defaultTries) {
			s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: fmt.Sprintf("the target said done, the probe still sees the exposure (%d times)", a.AfterTries)})
			s.say("failed", a.Spec.Name+" had no effect: "+o.Detail, a.ID, s.c.Owner())
			s.tell(a.Spec.Name + " had no effect, the exposure is still there: " + o.Detail)
			return
		}
		s.emit(ProbeDue{Action: a.ID, At: s.at.Add(interval), Why: "still exposed: " + o.Detail})
	case NotExposed:
		if !s.provesClosed(o, s.c.Judgement.Decision.Grade) {
			s.emit(ProbeDue{Action: a.ID, At: s.at.Add(time.Hour), Why: "not proof: grade or place of the probe do not match"})
			s.escalate("the probe says not exposed, but its grade, its place or the findings it covers do not prove it")
			return
		}
		s.worked(a)
	}
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

// worked: the probe proved the effect. What can break something is watched
// before it counts as done.
func (s *step) worked(a Action) {
	if a.Spec.Phase == Contain {
		s.emit(Contained{Action: a.ID})
		s.tell("Contained and proven: " + a.Spec.Name)
	}
	if a.Spec.Continuity.Name() != "" && a.Spec.Watch > 0 {
		s.emit(WatchStarted{Action: a.ID, Until: s.at.Add(time.Duration(a.Spec.Watch) * time.Second), ProbeAt: s.at})
		s.askProbe(ProbeContinuity, a.ID)
		return
	}
	s.finish(a)
}

// finish: proven, and nothing broke. What was proven may not be enough for a
// judgement made meanwhile.
func (s *step) finish(a Action) {
	a, _ = s.c.Action(a.ID)
	joined := a.Status == ActionWatching && slices.ContainsFunc(s.c.Members, func(m Member) bool { return !m.JoinedAt.Before(a.Since) })
	if a.Spec.Phase == Fix && (joined || !s.provesClosed(a.After, s.c.Judgement.Decision.Grade)) {
		s.emit(ActionMoved{Action: a.ID, To: ActionActed, Reason: "findings or the grade demanded changed since it was proven: proven anew"})
		s.askProbe(ProbeAfter, a.ID)
		return
	}
	s.emit(ActionMoved{Action: a.ID, To: ActionDone})
	if a.Spec.Phase == Fix {
		s.close(ClosedProven, a.Spec.Name+": "+s.c.LastProbe.Detail, "", time.Time{})
		return
	}
	s.say("contained", "Contained: "+a.Spec.Name, a.ID, s.c.Owner())
}

// probedContinuity: did the act break something?
func (s *step) probedContinuity(run ProbeRun, o Observation) {
	a, ok := s.c.Action(run.Action)
	if !ok || a.Status != ActionWatching {
		return
	}
	every := time.Duration(orDefault(a.Spec.WatchEvery, defaultWatchEvery)) * time.Second
	switch {
	case o.Result == Exposed || o.Result == Gone:
		s.escalate("the change broke something: " + o.Detail)
		if a.Spec.Undoable {
			s.undo(a, "continuity probe failed: "+o.Detail)
			return
		}
		s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: "continuity probe failed and there is no way back"})
	case o.Result == NotExposed && !s.at.Before(a.WatchUntil):
		s.finish(a)
	case o.Result == NotExposed:
		s.emit(ProbeDue{Action: a.ID, At: earliest(s.at.Add(every), a.WatchUntil)})
	default:
		s.emit(ProbeDue{Action: a.ID, At: s.at.Add(every), Why: "inconclusive: " + o.Detail})
		if s.at.Sub(a.WatchUntil) > time.Hour {
			s.escalate("the continuity probe can't tell whether the change broke something")
		}
	}
}

// probedRecheck: does a closed case stay closed? A case set aside until a date
// keeps that date; a probe before its time is not one of the re-probes.
func (s *step) probedRecheck(o Observation) {
	if s.c.Open() {
		s.probedOpen(ProbeRun{Purpose: ProbeSchedule}, o)
		return
	}
	due := s.c.Episode().ClosedAt.Add(recheckAfter(s.c.Recheck))
	weak := o.Result == NotExposed && o.Grade < s.c.Judgement.Decision.Grade
	switch {
	case s.c.MergedInto != "" || s.c.Closed == ClosedSuppressed:
	case o.Result == Exposed:
		s.reopen(o.At, "the exposure is back: "+o.Detail)
	case s.c.Closed == ClosedAttested:
	case o.Result == Inconclusive || weak:
		s.emit(ProbeScheduled{At: s.at.Add(backoff(s.c.Inconclusive)), Recheck: s.c.Recheck})
	case s.at.Before(due):
		s.emit(ProbeScheduled{At: due, Recheck: s.c.Recheck})
	default:
		n := s.c.Recheck + 1
		if next := recheckAfter(n); next > 0 {
			s.emit(ProbeScheduled{At: s.c.Episode().ClosedAt.Add(next), Recheck: n})
			return
		}
		s.emit(CaseSettled{})
	}
}

// probedOpen: what a scheduled, claimed or undo probe means for an open case.
func (s *step) probedOpen(run ProbeRun, o Observation) {
	if !s.c.Open() {
		s.probedRecheck(o)
		return
	}
	if run.Purpose == ProbeSchedule && s.c.claimed() {
		run.Purpose = ProbeClaim // said while an action ran, or not answered yet
	}
	next := s.every()
	switch o.Result {
	case Gone:
		if !s.c.busy() { // else the probe of the running action will tell
			s.close(ClosedGone, "the asset is proven deleted", "", time.Time{})
			return
		}
	case Inconclusive:
		next = backoff(s.c.Inconclusive)
	case Exposed:
		s.uncontained(o)
		if a, ok := s.c.current(); ok && a.Status == ActionHeld && a.Before.Result == NotExposed {
			s.again(a, "now reproduced")
		}
	case NotExposed:
		if run.Purpose == ProbeUndo || s.onlyContained(run.Purpose) {
			break // proves the containment, not the fix
		}
		if s.provesClosed(o, s.c.Judgement.Decision.Grade) {
			if !s.c.busy() {
				s.close(ClosedProven, "found fixed: "+o.Detail, "", time.Time{})
				return
			}
			break
		}
		if run.Purpose == ProbeClaim {
			s.escalate("said to be fixed; the probe agrees but never saw the exposure, so it proves nothing: " + s.otherProof())
		}
	}
	s.emit(ProbeScheduled{At: s.at.Add(next)})
}

// onlyContained: a containment in force explains that nothing is exposed. One
// that ends by itself never proves more; a lasting one leaves the fix of the
// playbook to be done, until somebody says that it is.
func (s *step) onlyContained(p Purpose) bool {
	if p != ProbeClaim && s.c.contained() && slices.ContainsFunc(s.c.Judgement.Decision.Actions, func(a ActionSpec) bool { return a.Phase == Fix }) {
		return true
	}
	return slices.ContainsFunc(s.c.Actions, func(a Action) bool {
		return a.Episode == s.c.Episode().N && a.Spec.Phase == Contain && a.ExpiresAt.After(s.at) &&
			(a.Status == ActionDone || a.Status == ActionWatching || a.Status == ActionActed)
	})
}

// uncontained: what the probe sees is reachable, so no containment is in force.
func (s *step) uncontained(o Observation) {
	for _, a := range s.c.Actions {
		if a.Episode == s.c.Episode().N && a.Spec.Phase == Contain && a.Status == ActionDone {
			s.emit(ActionMoved{Action: a.ID, To: ActionFailed, Reason: "it no longer holds: " + o.Detail})
			s.escalate(a.Spec.Name + " no longer holds: the probe sees the exposure")
		}
	}
}

// refute: what a probe of any purpose sees of an open case goes against every
// claim that stands.
func (s *step) refute(p Purpose, o Observation) {
	if o.Result != Exposed || !s.c.Open() || p != ProbeClaim && !s.c.claimed() {
		return
	}
	s.tell("Not fixed: the probe still sees the exposure. " + o.Detail)
	s.moveTickets(TicketReopened)
	s.say("claim_refuted", "Said to be fixed, still exposed: "+o.Detail, "", s.c.Owner())
}

// claimed: a ticket stands at a word that means done.
func (c Case) claimed() bool {
	return slices.ContainsFunc(c.Tickets, func(t Ticket) bool {
		return t.Ref != "" && t.Ref != TicketGivenUp && !slices.Contains([]string{"wanted", "open", TicketReopened, TicketProven}, t.Status)
	})
}

func (s *step) moveTickets(to string) {
	for _, t := range s.c.Tickets {
		if t.Ref != "" && t.Ref != TicketGivenUp {
			s.emit(TicketMoved{N: t.N, Status: to})
		}
	}
}

// every is the schedule of probing while open.
func (s *step) every() time.Duration {
	n := s.c.Judgement.Decision.ProbeEvery
	if n <= 0 {
		n = 4 * 3600
	}
	return time.Duration(n) * time.Second
}

// claim: somebody says that the exposure is gone. It starts verification.
func (s *step) claim(who string) {
	if s.c.Judgement.Decision.Probe.Name() == "" {
		s.escalate(who + "; no probe can prove it: " + s.otherProof())
		return
	}
	if s.c.busy() || s.c.Probe.Purpose == ProbeClaim {
		return // the running action or probe will tell
	}
	s.askProbe(ProbeClaim, "")
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
