package remedy

import (
	"cmp"
	"slices"
	"time"

	"github.com/casement/casement/internal/finding"
)

// step collects the events of one command, with the case as it is after them.
type step struct {
	c   Case
	at  time.Time
	by  Actor
	out []Event
	// partial: the observation at hand does not speak for every member.
	partial bool
}

func (s *step) emit(b Body) {
	e := Event{At: s.at, By: s.by, Body: b}
	s.c = Apply(s.c, e)
	s.out = append(s.out, e)
}

// Handle judges a command against a case and returns the events it causes. An
// error (*Refusal) means that nothing happens. Command time that lies before
// the case's last event counts as the time of that event.
func Handle(c Case, cmd Command) ([]Event, error) {
	events, _, err := Step(c, cmd)
	return events, err
}

// Step is Handle that also returns the case after the events: what Apply would
// make of them.
func Step(c Case, cmd Command) ([]Event, Case, error) {
	s := &step{c: c, at: cmd.At.UTC().Round(0), by: cmd.By} // stored times have no monotonic reading
	if s.at.Before(c.At) {
		s.at = c.At
	}
	if c.Version == 0 {
		if _, ok := cmd.Do.(Observe); !ok {
			return nil, c, refuse(NotNow, "there is no case yet: it begins with a finding")
		}
	}
	if c.MergedInto != "" {
		switch d := cmd.Do.(type) {
		case Comment, TicketOpened, TicketSaid, Delivered, Died, Stuck, Unmerge:
		case Tick, UndoAction, IntendUndo, UndoDone: // a containment of its own may have to end
		default:
			if claim, ok := d.(Claim); ok && claim.Ticket > 0 { // its own ticket's word is noted
				break
			}
			return nil, c, refuse(NotNow, "the case was merged into %s: speak to that one, or undo the merge there", c.MergedInto)
		}
	}
	if err := s.handle(cmd.Do); err != nil {
		return nil, c, err
	}
	s.advance()
	return s.out, s.c, nil
}

func (s *step) handle(do Do) error {
	switch d := do.(type) {
	case Observe:
		return s.observe(d)
	case Rejudge:
		return s.rejudge(d)
	case PlanMade, PlanFailed, Approve, Reject, Intend, Hold, Done, Refused, Unsure, Looked:
		return s.handleAction(do)
	case Probed:
		return s.probed(d)
	case UndoAction, IntendUndo, UndoDone:
		return s.handleUndo(do)
	case TicketOpened, TicketSaid, Delivered, Died, Stuck:
		return s.handleOutbox(do)
	case Tick:
		return s.tick()
	}
	return s.handlePeople(do)
}

// observe opens the case or joins the finding to it.
func (s *step) observe(d Observe) error {
	f := d.Finding
	if f.Status == "" {
		f.Status = finding.StatusOpen
		d.Finding = f
	}
	if s.c.Version == 0 {
		if d.ID == "" || d.Key == "" || f.UID == "" {
			return refuse(Invalid, "a case needs an id, an exposure key and a finding")
		}
		detected := d.DetectedAt
		if detected.IsZero() || detected.After(s.at) {
			detected = s.at
		}
		s.emit(Opened{ID: d.ID, Tenant: d.Tenant, Key: d.Key, Title: f.Title, Class: f.Class, Domain: f.Domain,
			Severity: f.Severity, Asset: f.Asset, Params: f.Params, DetectedAt: detected, RecurrenceOf: d.RecurrenceOf, SplitFrom: d.SplitFrom, Keys: d.Keys})
		s.join(d)
		s.judge(d.Judgement, "opened")
		return nil
	}
	known := slices.IndexFunc(s.c.Members, func(m Member) bool { return m.UID == f.UID })
	before := finding.Status("")
	if known < 0 {
		s.join(d)
	} else {
		m := s.c.Members[known]
		before = m.Status
		key := ""
		if d.Key != s.c.KeyOf(m) {
			key = d.Key
		}
		if m.Digest != d.Digest || m.Status != f.Status || key != "" || d.Raw != "" && s.c.Keeps(f, d.Digest) {
			s.emit(MemberChanged{UID: f.UID, Digest: d.Digest, Severity: f.Severity, Status: f.Status, Key: key, Raw: d.Raw})
		}
	}
	if f.Status != finding.StatusOpen {
		if before != f.Status && s.c.Open() {
			s.claim("source " + f.Source + " says " + string(f.Status))
		}
		return nil
	}
	switch {
	case s.c.Closed == ClosedSuppressed:
		// A suppressed case stays aside until its date, unless judged anew.
		if !d.Judgement.Decision.Suppress {
			s.reopen(s.at, "policy no longer suppresses it")
		}
		s.judge(d.Judgement, "finding")
	case !s.c.Open() && s.c.Judgement.Decision.Probe.Name() != "" && s.c.Closed != ClosedAttested:
		// The source says "open", our proof said "closed": the probe decides.
		if s.c.Probe.N == 0 {
			s.askProbe(ProbeRecheck, "")
		}
	case !s.c.Open():
		s.reopen(f.LastSeen, "reported again after closing")
		s.judge(d.Judgement, "reopened")
	default:
		s.judge(d.Judgement, "finding")
	}
	return nil
}

// Keeps reports whether f, whose decision digest is digest, changes what the
// case knows: its raw record is evidence and kept. It is one that the case does
// not have, one that says something else than before, or the first that
// contradicts the end of the case. A repeat is not kept.
func (c Case) Keeps(f finding.Finding, digest string) bool {
	m, ok := c.Member(f.UID)
	status := cmp.Or(f.Status, finding.StatusOpen)
	switch {
	case !ok, m.Digest != digest, m.Status != status:
		return true
	case c.Open(), c.Closed == ClosedSuppressed:
		return false
	}
	return status == finding.StatusOpen && c.Probe.N == 0
}

// notAfter returns the time seen, or now if that is unknown or in the future.
func notAfter(seen, now time.Time) time.Time {
	if seen.IsZero() || seen.After(now) {
		return now
	}
	return seen
}

func (s *step) join(d Observe) {
	f, key := d.Finding, d.Key
	if key == s.c.Key {
		key = ""
	}
	s.emit(Joined{Member: Member{UID: f.UID, Source: f.Source, Rule: f.Rule, Digest: d.Digest, Severity: f.Severity,
		Status: f.Status, Key: key, Why: d.Why, JoinedAt: s.at, Raw: d.Raw}})
}

// say queues one message per route of the decision; without a route nothing is
// told, the record of the case remains.
func (s *step) say(kind, text, action string, to ...string) {
	who := slices.DeleteFunc(slices.Clone(to), func(x string) bool { return x == "" })
	slices.Sort(who)
	who = slices.Compact(who)
	for _, r := range s.c.Judgement.Decision.Notify {
		s.emit(MessageQueued{Message{N: s.c.MessageSeq + 1, Kind: kind, Route: r, To: who, Text: text, Action: action, At: s.at}})
	}
}

// tell adds a line to every ticket of the case.
func (s *step) tell(line string) {
	for _, t := range s.c.Tickets {
		if t.Ref != TicketGivenUp {
			s.emit(TicketSay{N: t.N, Line: line})
		}
	}
}

func (s *step) escalate(why string) {
	if s.c.Escalated == why {
		return
	}
	s.emit(EscalatedFor{Why: why})
	r := s.c.Judgement.Routing
	s.say("escalated", why, "", s.c.Owner(), r.Backup)
}

// reopen begins a new episode. It begins after the one before has ended.
func (s *step) reopen(detected time.Time, why string) {
	detected = notAfter(detected, s.at)
	if last := s.c.Episode().ClosedAt; detected.Before(last) {
		detected = last
	}
	s.emit(EpisodeStarted{N: s.c.Episode().N + 1, DetectedAt: detected, Why: why})
	s.emit(JudgeAsked{Why: "reopened"})
	s.say("reopened", "Reopened: "+why, "", s.c.Owner(), s.c.Judgement.Routing.Backup)
	s.tell("Reopened: " + why)
	s.moveTickets(TicketReopened)
}

// close ends the episode and everything that had not begun.
func (s *step) close(how How, why string, note Note, until time.Time) {
	s.dropIdle("the case is closed")
	s.emit(EpisodeClosed{How: how, Why: why, Note: note, Until: until})
	s.say("closed", "Closed as "+string(how)+": "+why, "", s.c.Owner())
	s.tell("Closed as " + string(how) + ": " + why)
	if how == ClosedProven || how == ClosedGone {
		s.moveTickets(TicketProven)
		s.emit(ProbeScheduled{At: s.at.Add(recheckAfter(0))})
	}
}

// dropIdle drops actions that have not touched the world.
func (s *step) dropIdle(why string) {
	for _, a := range s.c.Actions {
		if a.idle() {
			s.leave(a, ActionDropped, why)
		}
	}
}

// leave takes an action that touched nothing to a status in which nothing is
// asked of anybody.
func (s *step) leave(a Action, to ActionStatus, why string) {
	if a.Approval.PlanHash != "" {
		s.emit(ApprovalVoided{Action: a.ID, Why: why})
	}
	s.emit(ActionMoved{Action: a.ID, To: to, Reason: why})
}

// recheckAfter is the time after closing at which the n-th re-probe runs:
// +10 minutes, +24 hours, +7 days (law 9); beyond, zero.
func recheckAfter(n int) time.Duration {
	switch n {
	case 0:
		return 10 * time.Minute
	case 1:
		return 24 * time.Hour
	case 2:
		return 7 * 24 * time.Hour
	}
	return 0
}

// idle: nothing of the action has touched the world or may have.
func (a *Action) idle() bool {
	switch a.Status {
	case ActionWaiting, ActionPlanning, ActionHeld, ActionAsking, ActionReady:
		return true
	}
	return false
}

// busy: the action has touched the world and is not at its end.
func (a *Action) busy() bool {
	switch a.Status {
	case ActionIntended, ActionUnsure, ActionActed, ActionWatching, ActionUndoing:
		return true
	}
	return false
}

// busy: some action is in the middle of something.
func (c Case) busy() bool {
	for i := range c.Actions {
		if c.Actions[i].busy() {
			return true
		}
	}
	return false
}

// current returns the action whose turn it is: the busy one, else the first
// containment of the episode that has not come to its end, else the first fix.
func (c Case) current() (Action, bool) {
	ep, next := c.Episode().N, -1
	for i := range c.Actions { // by index: actions are large, and this is asked at every event
		a := &c.Actions[i]
		if a.busy() {
			return *a, true
		}
		if a.Episode == ep && a.idle() && (next < 0 || a.Spec.Phase == Contain && c.Actions[next].Spec.Phase != Contain) {
			next = i
		}
	}
	if next < 0 {
		return Action{}, false
	}
	return c.Actions[next], true
}

// contained: a containment of the episode is proven and in force.
func (c Case) contained() bool {
	ep := c.Episode().N
	return slices.ContainsFunc(c.Actions, func(a Action) bool {
		return a.Episode == ep && a.Spec.Phase == Contain && a.After.Result == NotExposed &&
			(a.Status == ActionDone || a.Status == ActionWatching)
	})
}

// advance lets the next action begin, or says that nobody is left to act.
func (s *step) advance() {
	c := s.c
	if c.Judgement.Decision.Suppress && c.NeedJudge == "" {
		s.suppress()
		return
	}
	if !c.Open() || c.Exception != nil || c.NeedJudge != "" {
		return
	}
	a, ok := c.current()
	if ok {
		if a.Status != ActionWaiting {
			return
		}
		if a.Spec.Phase == Contain && c.contained() && !isPerson(a.Requester) {
			s.emit(ActionMoved{Action: a.ID, To: ActionDropped, Reason: "already contained"})
			s.advance()
			return
		}
		s.pause("its turn comes after " + a.Spec.Name)
		s.emit(ActionMoved{Action: a.ID, To: ActionPlanning})
		return
	}
	ep := c.Episode().N
	failed, good := false, false
	for _, a := range c.Actions {
		if a.Episode == ep {
			failed = failed || a.Status == ActionFailed
			good = good || a.Status == ActionDone
		}
	}
	if failed && !good && c.Escalated == "" {
		s.escalate("every action of the playbook failed")
	}
}

// pause sends actions that have begun but touched nothing back to wait for
// their turn: what is planned and approved for one state of the world does not
// hold for the next.
func (s *step) pause(why string) {
	for _, a := range s.c.Actions {
		if a.idle() && a.Status != ActionWaiting {
			s.leave(a, ActionWaiting, why)
		}
	}
}

// again plans an action anew, or lets it wait while the case is set aside.
func (s *step) again(a Action, why string) {
	if !s.c.retries() {
		s.leave(a, ActionWaiting, why)
		return
	}
	s.emit(ActionMoved{Action: a.ID, To: ActionPlanning, Reason: why})
}
