package remedy

import (
	"slices"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// Caps on what people may put off.
const (
	maxSnooze      = 7 * 24 * time.Hour
	maxSnoozes     = 3
	maxAttestation = 365 * 24 * time.Hour
)

// maxStep bounds the words of a manual step, in bytes.
const maxStep = 2048

// suppressedFor is how long a suppression without a date holds: a suppressed
// case always wakes up again.
const suppressedFor = 30 * 24 * time.Hour

func (s *step) handlePeople(do Do) error {
	switch d := do.(type) {
	case Ack:
		if !s.c.Open() {
			return refuse(NotNow, "the case is closed")
		}
		if s.c.Episode().acked() {
			return refuse(NotNow, "acknowledged already by %s", s.c.Episode().AckBy)
		}
		s.emit(Acked{})
	case Assign:
		if d.To == "" {
			return refuse(Invalid, "name the person or team to assign to")
		}
		s.emit(AssignedTo{To: d.To})
		s.say("assigned", "Assigned: "+s.c.Title, "", d.To)
	case Comment:
		switch {
		case d.Note == "" && d.Step == "":
			return refuse(Invalid, "the comment is empty")
		case len(d.Step) > maxStep:
			return refuse(Invalid, "a step has at most %d bytes", maxStep)
		case d.Undo && d.Step == "":
			return refuse(Invalid, "name the step that is not done")
		case d.Step != "" && !s.c.Open():
			return refuse(NotNow, "the case is closed")
		}
		s.emit(Commented(d))
	case ContainNow:
		return s.containNow()
	case Verify:
		return s.verify()
	case Escalate:
		if !s.c.Open() {
			return refuse(NotNow, "the case is closed")
		}
		s.emit(EscalatedFor{Why: "escalated by " + s.by.ID, Note: d.Note})
		r := s.c.Judgement.Routing
		s.say("escalated", "Escalated by "+s.by.ID+": "+s.c.Title, "", r.Manager, r.OpsLead)
	case Snooze:
		switch {
		case !s.c.Open():
			return refuse(NotNow, "the case is closed")
		case !d.Until.After(s.at) || d.Until.Sub(s.at) > maxSnooze:
			return refuse(Invalid, "snooze until a date within the next 7 days; clocks go on all the same")
		case s.c.Snoozes >= maxSnoozes:
			return refuse(NotNow, "snoozed %d times already: act, or request an exception", s.c.Snoozes)
		}
		s.emit(SnoozedUntil(d))
	case PauseClock:
		return s.pauseClock(d)
	case ResumeClock:
		return s.resumeClock("resumed by " + s.by.ID)
	case Reopen:
		if s.c.Open() {
			return refuse(NotNow, "the case is open")
		}
		s.reopen(s.at, "reopened by "+s.by.ID)
		if d.Note != "" {
			s.emit(Commented{Note: d.Note})
		}
	case Attest:
		return s.attest(d)
	case Claim:
		if d.Ticket > 0 {
			s.emit(TicketMoved{N: d.Ticket, Status: d.Status, Done: true})
		}
		if s.c.Open() {
			s.claim(d.From + " says done")
		}
	case GrantException:
		return s.grantException(d.Exception)
	case RevokeException:
		if s.c.Exception == nil || d.ID != "" && s.c.Exception.ID != d.ID {
			return refuse(NotNow, "the case has no such exception")
		}
		s.endException("revoked by " + s.by.ID)
	case Merge:
		return s.merge(d)
	case Absorb:
		return s.absorb(d)
	case Split:
		return s.split(d)
	case Leave:
		return s.letGo(d)
	case Unmerge:
		return s.unmerge(d)
	default:
		return refuse(Invalid, "unknown command %T", do)
	}
	return nil
}

// containNow runs the playbook's first contain action, or the first action at
// all, under approval of somebody else than who asked.
func (s *step) containNow() error {
	if !s.c.Open() || s.c.Exception != nil {
		return refuse(NotNow, "the case is not open for actions")
	}
	if s.c.busy() {
		return refuse(NotNow, "an action is under way")
	}
	specs := s.c.Judgement.Decision.Actions
	i := max(0, slices.IndexFunc(specs, func(a ActionSpec) bool { return a.Phase == Contain }))
	if len(specs) == 0 {
		return refuse(NotNow, "the playbook of the case has no action")
	}
	spec := specs[i]
	for _, a := range s.c.Actions {
		if a.Episode == s.c.Episode().N && a.Spec.Name == spec.Name && a.idle() {
			if a.Status == ActionHeld {
				s.emit(ActionMoved{Action: a.ID, To: ActionPlanning, Reason: "asked for by " + s.by.ID})
				return nil
			}
			return refuse(NotNow, "%s is %s already", spec.Name, a.Status)
		}
	}
	spec.Auth = AuthApprove
	s.addAction(spec, s.by.ID)
	return nil
}

func (s *step) verify() error {
	if s.c.Judgement.Decision.Probe.Name() == "" {
		return refuse(NotNow, "the playbook of the case has no probe")
	}
	if s.c.Probe.N != 0 {
		return refuse(NotNow, "a probe runs since %s", s.c.Probe.Since.Format(time.RFC3339))
	}
	a, ok := s.c.current()
	switch {
	case !s.c.Open():
		s.askProbe(ProbeRecheck, "")
	case ok && a.Status == ActionActed:
		s.askProbe(ProbeAfter, a.ID)
	case ok && a.Status == ActionWatching:
		s.askProbe(ProbeContinuity, a.ID)
	default:
		s.askProbe(ProbeSchedule, "") // nobody claims anything
	}
	return nil
}

// otherProof is what can close the case where no probe tells: K1 and K2 close on
// nobody's word.
func (s *step) otherProof() string {
	if k := s.c.RiskClass(); k < deadline.K3 {
		return "a " + k.String() + " case closes only by proof, so its playbook needs a probe that can tell"
	}
	return "a person has to attest"
}

// attest closes on a person's word: K3-K5 only, with evidence and an end; its
// own way of closing, never counted as proven (law 6).
func (s *step) attest(d Attest) error {
	switch {
	case !s.c.Open():
		return refuse(NotNow, "the case is closed")
	case s.by.Kind != Person:
		return refuse(Forbidden, "only a person can attest")
	case s.c.RiskClass() < deadline.K3:
		return refuse(Forbidden, "a %s case closes only by proof, not on anybody's word", s.c.RiskClass())
	case d.Evidence == "":
		return refuse(Invalid, "say what the evidence is")
	case !d.Until.After(s.at) || d.Until.Sub(s.at) > maxAttestation:
		return refuse(Invalid, "an attestation ends: give a date within one year")
	case s.c.busy():
		return refuse(NotNow, "an action is under way")
	case s.c.LastProbe.Result == Exposed:
		return refuse(Forbidden, "the probe saw the exposure at %s: ask for a new probe", s.c.LastProbe.At.Format(time.RFC3339))
	}
	s.close(ClosedAttested, "attested by "+s.by.ID, d.Evidence, d.Until)
	return nil
}

func (s *step) grantException(x Exception) error {
	switch {
	case !s.c.Open():
		return refuse(NotNow, "the case is closed")
	case s.c.Exception != nil:
		return refuse(NotNow, "an exception is in force until %s", s.c.Exception.Until.Format(time.RFC3339))
	case x.By == "" || x.Asked == "" || x.By == x.Asked:
		return refuse(Forbidden, "an exception is asked for by one person and granted by another: here %q and %q", x.Asked, x.By)
	case s.by.Kind == Person && x.By != s.by.ID:
		return refuse(Forbidden, "%s can't grant an exception in the name of %s", s.by.ID, x.By)
	case x.Kind == "" || !x.Until.After(s.at):
		return refuse(Invalid, "an exception needs a kind and an end in the future")
	}
	x.From = s.at
	if _, ok := s.c.pausing(); ok {
		_ = s.resumeClock("an exception takes its place") // there is a pause
	}
	s.pause("exception until " + x.Until.Format(time.DateOnly))
	s.emit(ExceptionGranted{Exception: x})
	s.tell("Exception (" + x.Kind + ") until " + x.Until.Format(time.DateOnly))
	return nil
}

func (s *step) endException(why string) {
	s.emit(ExceptionEnded{ID: s.c.Exception.ID, Why: why})
	s.emit(JudgeAsked{Why: "exception ended"})
	s.say("exception_ended", "Exception ended: "+why, "", s.c.Owner())
	s.tell("Exception ended: " + why)
}
