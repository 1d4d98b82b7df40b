package remedy

import (
	"slices"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// duty is one clock of the episode.
type duty struct {
	name string
	due  time.Time
	warn time.Time
}

// duties returns the clocks that are still running, in a fixed order.
func (c Case) duties() []duty {
	if !c.Open() || c.Exception != nil {
		return nil
	}
	ep, k := c.Episode(), c.Judgement.Clocks
	pct := k.WarnPercent
	if pct < 1 || pct > 99 {
		pct = 75
	}
	still := ep.Still()
	var out []duty
	add := func(name string, due time.Time, done bool) {
		if due.IsZero() || done {
			return
		}
		warn := ep.OpenedAt.Add(due.Sub(ep.OpenedAt) / 100 * time.Duration(pct))
		out = append(out, duty{name, deadline.Shift(due, still), deadline.Shift(warn, still)})
	}
	add("ack", k.Ack, ep.acked())
	add("contain", k.Contain, !ep.ContainedAt.IsZero())
	add("fix", k.Fix, false)
	return out
}

func (c Case) said(word string) bool { return slices.Contains(c.Ladder.Said, word) }

// WakeAt is the earliest instant at which the clocks of the case say
// something; zero only for a settled case (law 9). Tick at that instant.
func WakeAt(c Case) time.Time {
	var at time.Time
	if c.Version == 0 {
		return at
	}
	add := func(t time.Time) { at = earliest(at, t) }
	for _, a := range c.Actions {
		switch a.Status {
		case ActionAsking:
			if a.Approval.RemindedAt.IsZero() {
				add(remindAt(a.Approval))
			}
			add(a.Approval.ExpiresAt)
		case ActionHeld:
			if c.retries() {
				add(a.RetryAt)
			}
		case ActionActed, ActionWatching, ActionUnsure:
			if c.Probe.N == 0 {
				add(a.ProbeAt)
			}
		}
		if !a.ExpiresAt.IsZero() && (a.Status == ActionDone || a.Status == ActionWatching) {
			if !c.said("expiring." + a.ID) {
				add(tellExpiryAt(a))
			}
			if at, ok := c.endsAt(&a); ok && !c.said("expired."+a.ID) {
				add(at)
			}
		}
	}
	if c.Settled {
		return at
	}
	if c.Exception != nil {
		add(c.Exception.Until)
	}
	if p, ok := c.pausing(); ok {
		add(p.Until)
	}
	quiet := func(t time.Time) time.Time { // a snooze puts reminders off, not breaches
		if !t.IsZero() && c.SnoozedUntil.After(t) {
			return c.SnoozedUntil
		}
		return t
	}
	for _, d := range c.duties() {
		if !c.said("warn."+d.name) && !c.said("breach."+d.name) {
			add(quiet(d.warn))
		}
		if !c.said("breach." + d.name) {
			add(d.due)
		}
	}
	if c.Open() && c.Exception == nil {
		add(quiet(c.Ladder.Next))
	}
	if c.Probe.N == 0 {
		add(c.NextProbe)
	}
	if at.IsZero() {
		at = c.At.Add(idleFor)
	}
	return at
}

// idleFor is the longest time a case without a clock of its own waits for an
// effect before it says so: no case is an orphan.
const idleFor = 24 * time.Hour

// judgeAgain is how long a judgement is waited for before it is asked for again.
const judgeAgain = time.Hour

// retries: held actions of the case are tried again by themselves.
func (c Case) retries() bool { return c.Open() && c.Exception == nil && c.NeedJudge == "" }

// remindAt is half of an approval request's life: then the backup is asked too.
func remindAt(a Approval) time.Time { return a.AskedAt.Add(a.ExpiresAt.Sub(a.AskedAt) / 2) }

// tellExpiryAt is when people are told that a containment will end: after
// four fifths of its life.
func tellExpiryAt(a Action) time.Time { return a.ActedAt.Add(a.ExpiresAt.Sub(a.ActedAt) / 5 * 4) }

// tick does what the clocks say at s.at. It is harmless when nothing is due.
func (s *step) tick() error {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(s.at) }
	if s.c.Exception != nil && due(s.c.Exception.Until) {
		s.endException("its date has come")
	}
	if p, ok := s.c.pausing(); ok && due(p.Until) {
		_ = s.resumeClock("its date has come") // there is a pause
	}
	for i := range s.c.Actions {
		s.tickAction(s.c.Actions[i], due) // as it is now: the one before may have changed it
	}
	s.tickClocks(due)
	if s.c.Probe.N == 0 && due(s.c.NextProbe) {
		s.tickProbe()
	}
	if len(s.out) == 0 && due(WakeAt(s.c)) {
		s.idle()
	}
	return nil
}

// idle: for a day nothing came of what the case waits for. The event moves the
// next wake-up on.
func (s *step) idle() {
	b := s.c.Bottleneck
	next := s.c.NextProbe // of a case set aside it is the end of that
	if !next.After(s.at) {
		next = s.at.Add(idleFor)
	}
	s.emit(ProbeScheduled{At: next, Recheck: s.c.Recheck})
	s.escalate("waits for the " + b.Kind + " since " + b.Since.Format(time.RFC3339))
}

func (s *step) tickAction(a Action, due func(time.Time) bool) {
	r := s.c.Judgement.Routing
	switch a.Status {
	case ActionAsking:
		switch {
		case due(a.Approval.ExpiresAt):
			s.emit(ApprovalVoided{Action: a.ID, Why: "expired without an answer"})
			s.emit(ActionMoved{Action: a.ID, To: ActionPlanning, Reason: "approval expired: plan and ask anew"})
			s.say("approval_expired", "Nobody answered: "+a.Spec.Name, a.ID, s.c.Owner(), r.Backup, r.Manager)
		case a.Approval.RemindedAt.IsZero() && due(remindAt(a.Approval)):
			s.emit(ApprovalReminded{Action: a.ID, Backup: r.Backup})
			s.say("approval_reminder", "Still waiting for approval: "+a.Plan.Text, a.ID, append(slices.Clone(a.Approval.From), r.Backup)...)
		}
	case ActionHeld:
		if due(a.RetryAt) && s.c.retries() {
			s.emit(ActionMoved{Action: a.ID, To: ActionPlanning, Reason: "tried again after: " + a.Reason})
		}
	case ActionActed, ActionUnsure:
		if due(a.ProbeAt) && s.c.Probe.N == 0 {
			s.askProbe(ProbeAfter, a.ID)
		}
	case ActionWatching:
		if due(a.ProbeAt) && s.c.Probe.N == 0 {
			s.askProbe(ProbeContinuity, a.ID)
		}
	}
	if a.ExpiresAt.IsZero() || a.Status != ActionDone && a.Status != ActionWatching {
		return
	}
	if due(tellExpiryAt(a)) && !s.c.said("expiring."+a.ID) {
		s.emit(ClockSaid{Duty: "expiring", Due: a.ExpiresAt, Action: a.ID})
		s.say("expiring", a.Spec.Name+" ends at "+a.ExpiresAt.Format(time.RFC3339), a.ID, s.c.Owner(), r.Backup)
	}
	switch {
	case due(a.ExpiresAt) && a.Spec.Undoable:
		at, ok := s.c.endsAt(&a)
		if !ok || !due(at) {
			return
		}
		for _, x := range s.c.Actions {
			if x.ID != a.ID && x.Status == ActionActed {
				s.emit(ActionMoved{Action: x.ID, To: ActionDone, Reason: "not proven when " + a.Spec.Name + " had to end; probes go on"})
				s.escalate(x.Spec.Name + " is not proven, and " + a.Spec.Name + " ends now: its time is over")
			}
		}
		s.undo(a, "its time is over")
	case due(a.ExpiresAt) && !s.c.said("expired."+a.ID): // the target ends it by itself
		s.emit(ClockSaid{Duty: "expired", Due: a.ExpiresAt, Action: a.ID})
		if s.c.Open() && s.c.Probe.N == 0 && s.c.Judgement.Decision.Probe.Name() != "" {
			s.askProbe(ProbeSchedule, "")
		}
	}
}

// unprovenGrace is how long the end of a containment waits for the proof of
// another action, from its act on.
const unprovenGrace = time.Hour

// endsAt is when a time-bound action is brought to its end, and false as long as
// another action has the turn. One that acted and can't be proven holds the end
// up for an hour only: people were promised that the containment ends.
func (c Case) endsAt(a *Action) (time.Time, bool) {
	at := a.ExpiresAt
	if !a.Spec.Undoable || a.busy() {
		return at, true
	}
	for i := range c.Actions {
		x := &c.Actions[i]
		switch {
		case !x.busy():
		case x.Status == ActionActed && c.Probe.N == 0:
			if grace := x.ActedAt.Add(unprovenGrace); grace.After(at) {
				at = grace
			}
		default:
			return time.Time{}, false
		}
	}
	return at, true
}

// tickClocks warns, declares breaches and climbs the ladder.
func (s *step) tickClocks(due func(time.Time) bool) {
	snoozed := s.c.SnoozedUntil.After(s.at)
	for _, d := range s.c.duties() {
		switch {
		case due(d.due) && !s.c.said("breach."+d.name):
			next := time.Time{}
			if s.c.Ladder.Next.IsZero() && s.c.Ladder.Step == 0 {
				next = d.due.Add(s.rung(0))
			}
			s.emit(ClockSaid{Duty: d.name, Breach: true, Due: d.due, Next: next})
			s.say("breach", "Overdue ("+d.name+"): "+s.c.Title, "", s.c.Owner())
		case due(d.warn) && !snoozed && !s.c.said("warn."+d.name) && !s.c.said("breach."+d.name):
			s.emit(ClockSaid{Duty: d.name, Due: d.due})
			s.say("warning", "Due "+d.due.Format(time.RFC3339)+" ("+d.name+"): "+s.c.Title, "", s.c.Owner())
		}
	}
	for n := 0; n < 10 && s.c.Open() && s.c.Exception == nil && !snoozed && due(s.c.Ladder.Next); n++ {
		k := s.c.Ladder.Step
		who := "ops_lead"
		if k < len(s.c.Judgement.Ladder) {
			who = s.c.Judgement.Ladder[k].Who
		}
		next := s.c.Ladder.Next.Add(24 * time.Hour) // past the top: once a day
		if k+1 < len(s.c.Judgement.Ladder) {
			next = s.c.Ladder.Next.Add(max(0, s.rung(k+1)-s.rung(k)))
		} else if !next.After(s.at) {
			next = s.at.Add(24 * time.Hour) // days slept through are not made up for
		}
		s.emit(LadderStepped{Step: k + 1, Who: who, Next: next})
		s.say("overdue", "Overdue, step "+who+": "+s.c.Title, "", s.person(who))
	}
}

// rung is the time after the breach at which step k is due.
func (s *step) rung(k int) time.Duration {
	if k < len(s.c.Judgement.Ladder) {
		return time.Duration(s.c.Judgement.Ladder[k].After) * time.Second
	}
	return 24 * time.Hour
}

func (s *step) person(who string) string {
	r := s.c.Judgement.Routing
	switch who {
	case "owner":
		return s.c.Owner()
	case "backup":
		return r.Backup
	case "manager":
		return r.Manager
	}
	return r.OpsLead
}

// tickProbe does what NextProbe stands for.
func (s *step) tickProbe() {
	hasProbe := s.c.Judgement.Decision.Probe.Name() != ""
	if s.c.Open() && s.c.NeedJudge != "" && !s.at.Before(s.c.JudgeSince.Add(judgeAgain)) {
		s.emit(JudgeAsked{Why: s.c.NeedJudge}) // the last request may have died
	}
	switch {
	case s.c.Closed == ClosedAttested:
		s.reopen(s.at, "the attestation ended")
	case s.c.Closed == ClosedSuppressed:
		s.reopen(s.at, "the suppression ended")
	case s.c.Closed != "" && hasProbe:
		s.askProbe(ProbeRecheck, "")
	case s.c.Closed != "":
		s.emit(CaseSettled{})
	case !hasProbe:
		s.emit(ProbeScheduled{At: s.at.Add(24 * time.Hour)})
	default:
		if a, ok := s.c.current(); ok && (a.busy() || a.Status == ActionPlanning || a.Status == ActionReady) {
			s.emit(ProbeScheduled{At: s.at.Add(s.every())}) // the action probes by itself
			return
		}
		s.askProbe(ProbeSchedule, "")
	}
}
