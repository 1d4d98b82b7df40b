package remedy

import (
	"slices"
	"strconv"
	"time"
)

// TicketGivenUp is the reference of a ticket that could not be opened.
const TicketGivenUp = "not opened"

func (s *step) handleUndo(do Do) error {
	switch d := do.(type) {
	case UndoAction:
		a, err := s.at1(d.Action, 0, ActionActed, ActionWatching, ActionDone, ActionFailed)
		if err != nil || a.ActedAt.IsZero() {
			return refuse(NotNow, "action %s can't be undone: it is %s", d.Action, a.Status)
		}
		if !a.Spec.Undoable {
			return refuse(NotNow, "%s %s has no way back", a.Spec.Connector, a.Spec.Verb)
		}
		if !a.busy() && s.c.busy() {
			return refuse(NotNow, "another action of the case is under way: undo when it is done")
		}
		s.undo(a, d.Reason)
	case IntendUndo:
		a, err := s.at1(d.Action, 0, ActionUndoing)
		if err != nil {
			return err
		}
		s.emit(UndoIntended{Action: a.ID, Key: a.UndoKey()})
	case UndoDone:
		a, err := s.at1(d.Action, 0, ActionUndoing)
		if err != nil {
			return err
		}
		if a.UndoIntentAt.IsZero() {
			return refuse(Stale, "the undo of %s was not intended", a.ID)
		}
		s.undone(a, d)
	}
	return nil
}

// UndoKey is the once-key of an action's undo: another one than the act's, or a
// target that acts once per key would drop the undo as a repeat of the act.
func (a Action) UndoKey() string { return a.Key + ".undo" + strconv.Itoa(a.Undos) }

// undo starts changing an action back. A case closed by it is open again.
func (s *step) undo(a Action, reason string) {
	s.pause("after the undo of " + a.Spec.Name)
	s.emit(UndoAsked{Action: a.ID, Reason: reason})
	s.say("undo", "Undoing "+a.Spec.Name+": "+reason, a.ID, s.c.Owner())
}

func (s *step) undone(a Action, d UndoDone) {
	if d.Failed != "" {
		s.emit(ActionMoved{Action: a.ID, To: ActionUnundone, Reason: d.Failed})
		s.escalate(a.Spec.Name + " could not be undone: " + d.Failed)
		return
	}
	s.emit(UndoneAt{Action: a.ID, Detail: d.Detail})
	s.tell("Undone: " + a.Spec.Name + " (" + a.Reason + ")")
	if !s.c.Open() && a.Spec.Phase == Fix && s.c.Closed == ClosedProven {
		s.reopen(s.at, "the fix was undone: "+a.Reason)
	} else if s.c.Open() {
		s.escalate(a.Spec.Name + " was undone: " + a.Reason)
	}
	if s.c.MergedInto == "" && s.c.Judgement.Decision.Probe.Name() != "" {
		s.askProbe(ProbeUndo, a.ID)
	}
}

func (s *step) handleOutbox(do Do) error {
	switch d := do.(type) {
	case TicketOpened:
		if d.Ref == "" {
			return refuse(Invalid, "ticket %d was opened without a reference", d.N)
		}
		for _, t := range s.c.Tickets {
			if t.N == d.N && t.Ref == "" {
				s.emit(TicketLinked{N: d.N, Ref: d.Ref, URL: d.URL})
				if s.c.Closed == ClosedProven || s.c.Closed == ClosedGone { // meanwhile
					s.emit(TicketMoved{N: d.N, Status: TicketProven})
				}
				return nil
			}
		}
		return refuse(Stale, "ticket %d is linked already", d.N)
	case TicketSaid:
		for _, t := range s.c.Tickets {
			if t.N == d.N && t.Told < d.Told && d.Told <= t.Said {
				s.emit(TicketTold{N: d.N, Told: d.Told})
				return nil
			}
		}
		return refuse(Stale, "ticket %d has these lines already", d.N)
	case Delivered:
		for _, m := range s.c.Messages {
			if m.N == d.N {
				s.emit(MessageSent{N: d.N})
				return nil
			}
		}
		return refuse(Stale, "message %d was delivered already", d.N)
	case Died:
		return s.died(d)
	case Stuck:
		return s.stuck(d)
	}
	return nil
}

// died: an effect was given up. The case must not wait for it for ever.
func (s *step) died(d Died) error {
	pending := Pending(s.c)
	i := slices.IndexFunc(pending, func(e Effect) bool { return e.ID == d.Effect.ID })
	if i < 0 {
		return refuse(Stale, "effect %s is no longer called for", d.Effect.ID)
	}
	e := pending[i]
	s.emit(EffectDied{Effect: e.ID, Reason: d.Reason})
	a, _ := s.c.Action(e.Action)
	switch e.Kind {
	case EffectMessage:
		s.emit(MessageSent{N: e.N, Failed: d.Reason})
	case EffectSay:
		for _, t := range s.c.Tickets {
			if t.N == e.N {
				s.emit(TicketTold{N: t.N, Told: t.Said})
			}
		}
	case EffectTicket:
		s.emit(TicketLinked{N: e.N, Ref: TicketGivenUp})
	case EffectProbe:
		s.emit(ProbeSaw{N: s.c.Probe.N, Purpose: s.c.Probe.Purpose, Action: s.c.Probe.Action,
			Observation: Observation{Probe: s.c.Judgement.Decision.Probe.Name(), Result: Inconclusive, Detail: d.Reason, At: s.at}})
		s.afterDeadProbe(e.Action)
	case EffectPlan:
		s.hold(a, d.Reason, s.at.Add(time.Hour))
	case EffectAct:
		if a.Status == ActionReady {
			s.hold(a, d.Reason, s.at.Add(time.Hour))
		} else {
			s.unsure(a, d.Reason, false)
		}
	case EffectLook:
		s.emit(LookedFor{Action: a.ID})
		s.askUnsure(a, s.at.Add(time.Hour))
	case EffectUndo:
		s.emit(ActionMoved{Action: a.ID, To: ActionUnundone, Reason: d.Reason})
	case EffectJudge:
		if s.c.Open() { // asked again at the next probe by schedule
			s.emit(ProbeScheduled{At: s.at.Add(judgeAgain)})
		}
	}
	why := "given up: " + string(e.Kind) + ": " + d.Reason
	if e.Kind == EffectMessage { // no message about a message: it would go the same way
		s.emit(EscalatedFor{Why: why})
		return nil
	}
	s.escalate(why)
	return nil
}

// stuck: an effect became a dead letter. Who runs the install has to look; the
// case goes on waiting.
func (s *step) stuck(d Stuck) error {
	pending := Pending(s.c)
	i := slices.IndexFunc(pending, func(e Effect) bool { return e.ID == d.Effect.ID })
	if i < 0 || slices.Contains(s.c.Stuck, d.Effect.ID) {
		return refuse(Stale, "effect %s is no longer called for, or is known to be stuck", d.Effect.ID)
	}
	e := pending[i]
	s.emit(EffectStuck{Effect: e.ID, Reason: d.Reason})
	if e.Kind != EffectMessage { // no message about a message: it would go the same way
		r := s.c.Judgement.Routing
		s.say("escalated", "Dead letter, tried again every hour: "+string(e.Kind)+": "+d.Reason, e.Action, s.c.Owner(), r.OpsLead)
	}
	return nil
}

// afterDeadProbe sets the next try of a probe that could not run at all.
func (s *step) afterDeadProbe(action string) {
	if a, ok := s.c.Action(action); ok && (a.Status == ActionActed || a.Status == ActionWatching || a.Status == ActionUnsure) {
		s.emit(ProbeDue{Action: action, At: s.at.Add(time.Hour)})
		return
	}
	if s.c.Closed != ClosedAttested && s.c.Closed != ClosedSuppressed { // these keep their date
		s.emit(ProbeScheduled{At: s.at.Add(time.Hour), Recheck: s.c.Recheck})
	}
}
