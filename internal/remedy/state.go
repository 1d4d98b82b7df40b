package remedy

import "cmp"

// State is the one word for where a case stands, derived from its parts.
type State string

// The states, as lists and the generated picture show them.
const (
	StateNone       State = "none"       // no finding yet
	StateOpen       State = "open"       // waits for its owner
	StatePlanning   State = "planning"   // a plan is being made
	StateApproval   State = "approval"   // waits for approval
	StateHeld       State = "held"       // a guardrail holds the action
	StateActing     State = "acting"     // authorized or under way
	StateUnsure     State = "unsure"     // the outcome of the act is unknown
	StateVerifying  State = "verifying"  // acted or claimed, not proven
	StateWatching   State = "watching"   // proven, continuity is watched
	StateUndoing    State = "undoing"    // being changed back
	StateContained  State = "contained"  // proven unreachable, not fixed
	StateExcepted   State = "excepted"   // set aside until a date
	StateSuppressed State = "suppressed" // not an exposure, by rule, until a date
	StateClosed     State = "closed"     // proven, gone or attested; still re-probed
	StateSettled    State = "settled"    // nothing more happens by itself
	StateMerged     State = "merged"     // another case took it over
)

// States lists all states in the order of the picture.
func States() []State {
	return []State{StateNone, StateOpen, StatePlanning, StateApproval, StateHeld, StateActing, StateUnsure, StateVerifying,
		StateWatching, StateUndoing, StateContained, StateExcepted, StateSuppressed, StateClosed, StateSettled, StateMerged}
}

// State derives the state of a case.
func (c Case) State() State {
	a, ok := c.current()
	switch {
	case c.Version == 0:
		return StateNone
	case c.MergedInto != "":
		return StateMerged
	case ok && a.Status == ActionUndoing:
		return StateUndoing
	case c.Settled:
		return StateSettled
	case c.Closed == ClosedSuppressed:
		return StateSuppressed
	case c.Closed != "":
		return StateClosed
	}
	if ok && a.busy() {
		switch a.Status {
		case ActionIntended:
			return StateActing
		case ActionUnsure:
			return StateUnsure
		case ActionWatching:
			return StateWatching
		}
		return StateVerifying
	}
	if c.Exception != nil {
		return StateExcepted
	}
	if c.Probe.Purpose == ProbeClaim {
		return StateVerifying
	}
	if ok {
		switch a.Status {
		case ActionPlanning:
			return StatePlanning
		case ActionAsking:
			return StateApproval
		case ActionHeld:
			return StateHeld
		case ActionReady:
			return StateActing
		}
	}
	if c.contained() {
		return StateContained
	}
	return StateOpen
}

// bottleneck derives who or what the case waits for.
func bottleneck(c Case) (kind, who string) {
	owner := c.Owner()
	if owner == "" {
		owner = c.Judgement.Routing.OpsLead
	}
	if len(c.stuck()) > 0 {
		return "dead letter", cmp.Or(c.Judgement.Routing.OpsLead, owner)
	}
	switch c.State() {
	case StateNone, StateSettled:
		return "nobody", ""
	case StateMerged:
		return "case", c.MergedInto
	case StateClosed:
		return "re-probe", "casement"
	case StateSuppressed:
		return "suppression", "casement"
	case StateExcepted:
		return "exception", c.Exception.By
	case StatePlanning:
		return "plan", "casement"
	case StateApproval:
		a, _ := c.current()
		if len(a.Approval.From) > 0 {
			return "approval", a.Approval.From[0]
		}
		return "approval", c.Judgement.Routing.OpsLead
	case StateHeld:
		a, _ := c.current()
		if !a.RetryAt.IsZero() {
			return "guardrail", "casement"
		}
		return "decision", owner
	case StateActing:
		return "target", "casement"
	case StateUnsure:
		return "look-up", "casement"
	case StateUndoing:
		return "undo", "casement"
	case StateVerifying, StateWatching:
		return "probe", "casement"
	}
	if c.Escalated != "" {
		return "escalation", owner
	}
	if p, ok := c.pausing(); ok {
		return p.Reason.waitsFor(), p.By
	}
	return "owner", owner
}
