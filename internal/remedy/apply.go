package remedy

import (
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// Apply returns the case after one event. It never judges, never fails and
// never changes the slices of the case it was given.
func Apply(c Case, e Event) Case {
	c.Version++
	if e.At.After(c.At) {
		c.At = e.At
	}
	c = applyBody(c, e)
	kind, who := bottleneck(c)
	if kind != c.Bottleneck.Kind || who != c.Bottleneck.Who {
		c.Bottleneck = Bottleneck{Kind: kind, Who: who, Since: e.At}
	}
	return c
}

// Replay applies a whole history to the empty case.
func Replay(events []Event) Case {
	var c Case
	for _, e := range events {
		c = Apply(c, e)
	}
	return c
}

func applyBody(c Case, e Event) Case {
	switch b := e.Body.(type) {
	case Opened:
		return applyOpened(c, e, b)
	case Joined:
		return withMember(c, b.Member)
	case MemberChanged:
		c.Members = slices.Clone(c.Members)
		for i := range c.Members {
			if m := &c.Members[i]; m.UID == b.UID {
				m.Digest, m.Severity, m.Status = b.Digest, b.Severity, b.Status
				if b.Key != "" {
					m.Key = b.Key
				}
				if b.Raw != "" {
					m.Raw = b.Raw
				}
			}
		}
		c.Severity = max(c.Severity, b.Severity)
		if b.Key != "" {
			return attributed(c, b.UID)
		}
	case Judged:
		c.Judgement = b.Judgement
		c.NeedJudge = ""
	case JudgeAsked:
		c.NeedJudge = b.Why
		c.Judges++
		c.JudgeSince = e.At
	case EpisodeClosed, EpisodeStarted, CaseSettled:
		return applyLife(c, e)
	case MergedInto, Absorbed, MembersSplit, Unmerged:
		return applyMerge(c, e)
	case ProbeAsked, ProbeSaw, ProbeDue, ProbeScheduled:
		return applyProbe(c, e)
	case TicketWanted, TicketLinked, TicketSay, TicketTold, TicketMoved, MessageQueued, MessageSent:
		return applyOutbox(c, e)
	case Acked, AssignedTo, Commented, SnoozedUntil, ClockPaused, ClockResumed, ExceptionGranted, ExceptionEnded, ClockSaid, LadderStepped, EscalatedFor, EffectDied, EffectStuck:
		return applyPeople(c, e)
	default:
		return applyAction(c, e)
	}
	return c
}

func applyOpened(c Case, e Event, b Opened) Case {
	c.ID, c.Tenant, c.Key = b.ID, b.Tenant, b.Key
	c.Title, c.Class, c.Domain, c.Severity = b.Title, b.Class, b.Domain, b.Severity
	c.Asset, c.Params = b.Asset, b.Params
	c.RecurrenceOf, c.SplitFrom = b.RecurrenceOf, b.SplitFrom
	if b.SplitFrom != "" {
		c.Keys = append([]string{}, b.Keys...)
	}
	c.Episodes = []Episode{{N: 1, DetectedAt: b.DetectedAt, OpenedAt: e.At}}
	return c
}

func applyLife(c Case, e Event) Case {
	switch b := e.Body.(type) {
	case EpisodeClosed:
		c.Closed = b.How
		c = withEpisode(resumed(c, e.At), func(ep *Episode) { ep.ClosedAt, ep.How = e.At, b.How })
		c.Recheck, c.NextProbe, c.Escalated = 0, b.Until, ""
		c.Probe, c.Ladder, c.SnoozedUntil, c.Exception, c.Exposed = ProbeRun{}, c.Ladder.ended(), time.Time{}, nil, nil
		if b.How == ClosedProven {
			c.Members = slices.Clone(c.Members)
			for i := range c.Members {
				c.Members[i].ProvenAt = e.At
			}
		}
	case EpisodeStarted:
		c.Closed, c.Settled = "", false
		c.Episodes = append(slices.Clip(c.Episodes), Episode{N: b.N, DetectedAt: b.DetectedAt, OpenedAt: e.At})
		c.Ladder, c.Escalated, c.Snoozes, c.Inconclusive = c.Ladder.ended(), "", 0, 0
		c.Judgement.Clocks, c.Judgement.Decision.Class = deadline.Clocks{}, 0 // the new episode is judged by itself
		c.NextProbe, c.Recheck, c.Probe = e.At, 0, ProbeRun{}
		c.Members = slices.Clone(c.Members)
		for i := range c.Members {
			c.Members[i].ProvenAt = time.Time{}
		}
	case CaseSettled:
		c.Settled, c.NextProbe, c.Probe = true, time.Time{}, ProbeRun{}
	}
	return c
}

// ended is the ladder after the episode: what was said of actions stays said.
func (l Ladder) ended() Ladder {
	return Ladder{Said: slices.DeleteFunc(slices.Clone(l.Said), func(w string) bool {
		return strings.HasPrefix(w, "warn.") || strings.HasPrefix(w, "breach.")
	})}
}

func applyProbe(c Case, e Event) Case {
	switch b := e.Body.(type) {
	case ProbeAsked:
		c.Probe, c.Probes, c.Settled = b.Run, b.Run.N, false
	case ProbeScheduled:
		c.NextProbe, c.Recheck = b.At, b.Recheck
	case ProbeDue:
		c = withAction(c, b.Action, func(a *Action) { a.ProbeAt = b.At })
	case ProbeSaw:
		c.Probe = ProbeRun{}
		o := b.Observation
		switch b.Purpose {
		case ProbeAfter:
			c = withAction(c, b.Action, func(a *Action) { a.After, a.ProbeAt = o, time.Time{}; a.AfterTries++ })
		case ProbeContinuity:
			c = withAction(c, b.Action, func(a *Action) { a.Works, a.ProbeAt = o, time.Time{} })
			return c
		}
		c.LastProbe = o
		if o.Result == Inconclusive {
			c.Inconclusive++
		} else {
			c.Inconclusive = 0
		}
		c = withExposed(c, o)
	}
	return c
}

// withExposed remembers the newest positive observation of each probe and
// place: what a negative one is held against.
func withExposed(c Case, o Observation) Case {
	if o.Result != Exposed {
		return c
	}
	c.Exposed = slices.DeleteFunc(slices.Clone(c.Exposed), func(x Observation) bool { return x.Probe == o.Probe && x.Place == o.Place })
	c.Exposed = append(c.Exposed, o)
	return c
}

func applyOutbox(c Case, e Event) Case {
	ticket := func(n int, f func(*Ticket)) {
		c.Tickets = slices.Clone(c.Tickets)
		for i := range c.Tickets {
			if c.Tickets[i].N == n {
				f(&c.Tickets[i])
			}
		}
	}
	switch b := e.Body.(type) {
	case TicketWanted:
		c.Tickets = append(slices.Clip(c.Tickets), b.Ticket)
	case TicketLinked:
		ticket(b.N, func(t *Ticket) { t.Ref, t.URL, t.Status = b.Ref, b.URL, "open" })
	case TicketSay:
		ticket(b.N, func(t *Ticket) { t.Said++; t.Lines = append(slices.Clip(t.Lines), b.Line) })
	case TicketTold:
		ticket(b.N, func(t *Ticket) {
			if n := b.Told - t.Told; n > 0 && n <= len(t.Lines) {
				t.Told, t.Lines = b.Told, t.Lines[n:]
			}
		})
	case TicketMoved:
		ticket(b.N, func(t *Ticket) { t.Status = b.Status })
		if b.Done && (c.Open() || c.MergedInto != "") { // the episode may go on
			c = withEpisode(c, func(ep *Episode) { ep.Human = true })
		}
	case MessageQueued:
		c.Messages = append(slices.Clip(c.Messages), b.Message)
		c.MessageSeq = b.Message.N
	case MessageSent:
		c.Messages = slices.DeleteFunc(slices.Clone(c.Messages), func(m Message) bool { return m.N == b.N })
	}
	return c
}

func applyPeople(c Case, e Event) Case {
	switch b := e.Body.(type) {
	case Acked:
		c = withEpisode(c, func(ep *Episode) {
			if ep.AckAt.IsZero() {
				ep.AckAt, ep.AckBy = e.At, e.By.ID
			}
		})
	case AssignedTo:
		c.AssignedTo = b.To
	case SnoozedUntil:
		c.SnoozedUntil = b.Until
		c.Snoozes++
	case ClockPaused:
		return paused(c, b.Pause)
	case ClockResumed:
		return resumed(c, b.At)
	case ExceptionGranted:
		x := b.Exception
		c.Exception = &x
		return paused(c, Pause{Reason: PauseException, By: x.By, From: x.From, Until: x.Until, Note: x.Reason})
	case ExceptionEnded:
		c.Exception = nil
		return resumed(c, e.At)
	case ClockSaid:
		word := "warn." + b.Duty
		if b.Breach {
			word = "breach." + b.Duty
		}
		if b.Action != "" {
			word = b.Duty + "." + b.Action
		}
		c.Ladder.Said = append(slices.Clip(c.Ladder.Said), word)
		if !b.Next.IsZero() {
			c.Ladder.Next = b.Next
		}
	case LadderStepped:
		c.Ladder.Step, c.Ladder.Next = b.Step, b.Next
	case EscalatedFor:
		c.Escalated = b.Why
	case EffectStuck:
		c.Stuck = append(c.stuck(), b.Effect)
	}
	return c
}

func applyAction(c Case, e Event) Case {
	move := func(id string, f func(*Action)) Case {
		return withAction(c, id, func(a *Action) {
			was := a.Status
			f(a)
			if a.Status != was {
				a.Since = e.At
			}
		})
	}
	switch b := e.Body.(type) {
	case ActionAdded:
		c.Actions = append(slices.Clip(c.Actions), Action{ID: b.Action, Episode: c.Episode().N, Spec: b.Spec,
			Requester: b.Requester, Status: ActionWaiting, Since: e.At})
		return c
	case ActionMoved:
		c = move(b.Action, func(a *Action) {
			a.Status, a.Reason, a.RetryAt = b.To, b.Reason, b.RetryAt
			if b.To == ActionPlanning {
				a.Gen++
				a.Forgotten = false
			}
			if b.To != ActionActed && b.To != ActionWatching {
				a.ProbeAt = time.Time{}
			}
		})
		if b.To == ActionFailed {
			c = uncontain(c)
		}
		return c
	case Planned:
		c = withExposed(c, b.Before)
		c.LastProbe = b.Before
		if b.Before.Result == Inconclusive {
			c.Inconclusive++
		} else {
			c.Inconclusive = 0
		}
		return move(b.Action, func(a *Action) { a.Plan, a.Before = b.Plan, b.Before })
	case ApprovalAsked:
		return move(b.Action, func(a *Action) { a.Approval, a.Status, a.Reason = b.Approval, ActionAsking, "" })
	case ApprovalReminded:
		return move(b.Action, func(a *Action) {
			a.Approval.RemindedAt = e.At
			if b.Backup != "" && !slices.Contains(a.Approval.From, b.Backup) {
				a.Approval.From = append(slices.Clip(a.Approval.From), b.Backup)
			}
		})
	case Approved:
		c = withEpisode(c, func(ep *Episode) { ep.Human = true })
		return move(b.Action, func(a *Action) { a.Approval.Grants = append(slices.Clip(a.Approval.Grants), b.Grant) })
	case ApprovalVoided:
		return move(b.Action, func(a *Action) { a.Approval = Approval{Diff: b.Diff} })
	case Rejected:
		c = withEpisode(c, func(ep *Episode) { ep.Human = true })
		return move(b.Action, func(a *Action) { a.Status, a.Reason, a.Approval = ActionDropped, "rejected", Approval{} })
	case Intended:
		return move(b.Action, func(a *Action) {
			a.Status, a.Key, a.IntentAt = ActionIntended, b.Key, e.At
			if b.Repeat {
				a.Repeats++
			}
		})
	case OutcomeUnknown:
		return move(b.Action, func(a *Action) { a.Status, a.Reason, a.Forgotten = ActionUnsure, b.Reason, b.Forgotten })
	case LookedFor:
		return move(b.Action, func(a *Action) { a.Looks++ })
	case ActedOn:
		c = withEpisode(c, func(ep *Episode) { ep.ActedAt = e.At })
		return move(b.Action, func(a *Action) {
			a.Status, a.ActedAt, a.UndoHandle, a.Ref, a.Reason = ActionActed, e.At, b.UndoHandle, b.Ref, ""
			a.ProbeAt, a.ExpiresAt, a.AfterTries = b.ProbeAt, b.ExpiresAt, 0
		})
	case Contained:
		return withEpisode(c, func(ep *Episode) {
			if ep.ContainedAt.IsZero() {
				ep.ContainedAt = e.At
			}
		})
	case WatchStarted:
		return move(b.Action, func(a *Action) { a.Status, a.WatchUntil, a.ProbeAt = ActionWatching, b.Until, b.ProbeAt })
	case UndoAsked:
		c.Probe = ProbeRun{}
		return move(b.Action, func(a *Action) {
			a.Status, a.Reason, a.UndoIntentAt, a.ProbeAt, a.ExpiresAt = ActionUndoing, b.Reason, time.Time{}, time.Time{}, time.Time{}
			a.Undos++
		})
	case UndoIntended:
		return move(b.Action, func(a *Action) { a.UndoIntentAt = e.At })
	case UndoneAt:
		return uncontain(move(b.Action, func(a *Action) { a.Status = ActionUndone }))
	}
	return c
}

// uncontain takes the containment off an open episode when none is in force.
func uncontain(c Case) Case {
	if !c.Open() || c.Episode().ContainedAt.IsZero() || c.contained() {
		return c
	}
	return withEpisode(c, func(ep *Episode) { ep.ContainedAt = time.Time{} })
}

// withAction changes a copy of one action.
func withAction(c Case, id string, f func(*Action)) Case {
	c.Actions = slices.Clone(c.Actions)
	for i := range c.Actions {
		if c.Actions[i].ID == id {
			f(&c.Actions[i])
		}
	}
	return c
}

// withEpisode changes a copy of the newest episode.
func withEpisode(c Case, f func(*Episode)) Case {
	c.Episodes = slices.Clone(c.Episodes)
	if n := len(c.Episodes); n > 0 {
		f(&c.Episodes[n-1])
	}
	return c
}

// Action returns the action with an id.
func (c Case) Action(id string) (Action, bool) {
	for _, a := range c.Actions {
		if a.ID == id {
			return a, true
		}
	}
	return Action{}, false
}

// Clocks are the due instants in force: those judged, put off by the time in
// which the clock stood still. A pause that lasts counts up to its date.
func (c Case) Clocks() deadline.Clocks { return c.Judgement.Clocks.Shift(c.Episode().Still()) }
