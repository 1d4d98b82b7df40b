package remedy

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"github.com/casement/casement/internal/deadline"
)

func (s *step) rejudge(d Rejudge) error {
	if s.c.Closed == ClosedSuppressed && !d.Judgement.Decision.Suppress {
		s.reopen(s.at, d.Trigger)
	}
	s.judge(d.Judgement, d.Trigger)
	return nil
}

// judge puts a judgement in force: deadlines tighten by themselves and never
// loosen within an episode; what was acted stays; an approval is void only if
// its authorization changed; new work is laid out.
func (s *step) judge(j Judgement, trigger string) {
	old, first := s.c.Judgement, s.c.Judgement.empty()
	j.Clocks = old.Clocks.Tighten(j.Clocks) // a new episode begins without
	if was := deadline.Stricter(old.Decision.Class, j.Decision.Class); was != j.Decision.Class {
		j.Decision.Class, j.Decision.Grade = was, max(old.Decision.Grade, j.Decision.Grade) // what a class demands stays with it
	}
	if !first && s.c.NeedJudge == "" && sameJudgement(old, j) {
		return
	}
	s.putInForce(j, trigger)
	if j.Decision.Suppress {
		s.suppress()
		return
	}
	if !s.c.Open() {
		return
	}
	if s.c.NextProbe.IsZero() {
		s.emit(ProbeScheduled{At: s.at.Add(s.every())})
	}
	s.layOut(j)
	s.wantTickets()
	if j.Decision.Incident && (first || !old.Decision.Incident) {
		s.say("incident", "Incident: "+s.c.Title, "", s.c.Owner(), j.Routing.OpsLead)
	} else if first {
		s.say("opened", s.c.Title, "", s.c.Owner())
	}
	if j.Decision.Error != "" {
		s.escalate("policy could not decide: " + j.Decision.Error)
	}
}

// suppress sets the case aside until a date. What is under way comes to its
// end first.
func (s *step) suppress() {
	d := s.c.Judgement.Decision
	if !s.c.Open() || s.c.busy() {
		return
	}
	s.dropIdle("policy suppresses the exposure")
	until := d.Until
	if !until.After(s.at) {
		until = s.at.Add(suppressedFor)
	}
	s.emit(EpisodeClosed{How: ClosedSuppressed, Why: "rule " + d.Rule + ": " + d.Why, Until: until})
}

// empty: nothing was judged yet.
func (j Judgement) empty() bool { return j.Facts == "" && j.Decision.Rule == "" }

// sameJudgement compares what matters to the case, not the addresses of facts
// and of lists of owners. Bytes are compared, not values: a judgement that was
// stored has nil where a fresh one has an empty list.
func sameJudgement(a, b Judgement) bool {
	a.Facts, a.Versions.Owners = b.Facts, b.Versions.Owners
	if reflect.DeepEqual(a, b) { // the usual case, and the fast one
		return true
	}
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// sameSpec: the same change under the same word. Times of probing may differ.
func sameSpec(a, b ActionSpec) bool {
	return a.Name == b.Name && a.Auth == b.Auth && a.Connector == b.Connector && a.Verb == b.Verb && a.Phase == b.Phase &&
		a.Reversibility == b.Reversibility && a.OptIn == b.OptIn && a.Once == b.Once && a.Quorum == b.Quorum &&
		a.UnknownModifierOK == b.UnknownModifierOK && maps.Equal(a.Params, b.Params)
}

// layOut brings the actions of the judgement onto the case.
func (s *step) layOut(j Judgement) {
	ep := s.c.Episode().N
	wanted := make([]ActionSpec, 0, len(j.Decision.Actions))
	for _, spec := range j.Decision.Actions {
		if spec.Auth == AuthEnforce && s.undoneBefore(spec) {
			spec.Auth = AuthApprove // what was changed back once is not enforced again
		}
		if spec.Auth != AuthNone {
			wanted = append(wanted, spec)
		}
	}
	for _, a := range s.c.Actions {
		if a.Episode == ep && a.idle() && !isPerson(a.Requester) &&
			!slices.ContainsFunc(wanted, func(x ActionSpec) bool { return sameSpec(a.Spec, x) }) {
			s.leave(a, ActionDropped, noLonger)
		}
	}
	for _, spec := range wanted {
		if !s.hasAction(ep, spec) {
			s.addAction(spec, "policy:"+j.Versions.Policy)
		}
	}
}

// noLonger is the reason of actions that a new judgement does not call for;
// only these and those of a merge come back when a later one does.
const noLonger = "no longer called for by policy"

func (s *step) undoneBefore(spec ActionSpec) bool {
	return slices.ContainsFunc(s.c.Actions, func(a Action) bool {
		return a.Spec.Name == spec.Name && (a.Status == ActionUndone || a.Status == ActionUnundone || a.Status == ActionUndoing)
	})
}

func isPerson(requester string) bool { return len(requester) < 7 || requester[:7] != "policy:" }

func (s *step) hasAction(ep int, spec ActionSpec) bool {
	return slices.ContainsFunc(s.c.Actions, func(a Action) bool {
		if a.Episode != ep || a.Spec.Name != spec.Name || a.Status == ActionDropped && (a.Reason == noLonger || a.Reason == mergedAway) {
			return false
		}
		return sameSpec(a.Spec, spec) || !a.idle() // what was begun or decided is not begun again
	})
}

func (s *step) addAction(spec ActionSpec, requester string) {
	ep, n := s.c.Episode().N, 1
	for _, a := range s.c.Actions {
		if a.Episode == ep {
			n++
		}
	}
	s.emit(ActionAdded{Action: "e" + strconv.Itoa(ep) + "." + strconv.Itoa(n), Spec: spec, Requester: requester})
}

func (s *step) wantTickets() {
	if !s.c.Judgement.Decision.Ticket {
		return
	}
	for _, t := range s.c.Judgement.Decision.Tickets {
		if !slices.ContainsFunc(s.c.Tickets, func(x Ticket) bool { return x.System == t.System && x.Template == t.Template }) {
			s.emit(TicketWanted{Ticket{N: len(s.c.Tickets) + 1, System: t.System, Template: t.Template, Status: "wanted"}})
		}
	}
}
