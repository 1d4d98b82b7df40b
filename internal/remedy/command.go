package remedy

import (
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
)

// Command asks the case to do or take note of something, at an instant (UTC),
// by somebody.
type Command struct {
	At time.Time
	By Actor
	Do Do
}

// Do is the content of a command: one of the structs below. Name is a stable
// word for pages, metrics and the picture of all states.
type Do interface{ Name() string }

// The commands.
type (
	// Observe takes in a finding: it opens the case or joins it.
	Observe struct {
		ID         string
		Tenant     string
		Key        string
		Finding    finding.Finding
		Digest     string
		Why        string
		Judgement  Judgement
		DetectedAt time.Time
		// Raw is the SHA-256, in hex, of the raw record that is kept because Keeps
		// says so; "" if none is.
		Raw string
		// RecurrenceOf is an old closed case of the same key.
		RecurrenceOf string
		// SplitFrom is the case that the new one is split off, Keys what came with it.
		SplitFrom string
		Keys      []string
	}
	// Rejudge puts a new judgement in force because Trigger changed.
	Rejudge struct {
		Judgement Judgement
		Trigger   string
	}
	// PlanMade brings the plan of an action, what the probe saw before, and
	// what the guardrails say.
	PlanMade struct {
		Action string
		Gen    int
		Plan   Plan
		Before Observation
		Guard  Guard
		// Diff to the plan an approval was given for, as text.
		Diff string
	}
	// PlanFailed: no plan could be made.
	PlanFailed struct {
		Action string
		Gen    int
		Reason string
		// Final: the same attempt will not work later.
		Final bool
	}
	// Approve is a yes to exactly one plan.
	Approve struct {
		Action   string
		PlanHash string
		// As is the entitlement by which the person may approve, "" if none.
		As   string
		Note Note
	}
	// Reject is a no.
	Reject struct {
		Action string
		As     string
		Note   Note
	}
	// Intend is committed before the world is touched.
	Intend struct {
		Action string
		Gen    int
		// PlanHash of the plan made anew just now; another hash is drift.
		PlanHash string
		// Entitled: every approver is still entitled.
		Entitled bool
		// Repeat: an intent exists, its runner died, and looking can't tell.
		Repeat bool
	}
	// Hold stops a ready action for a guardrail.
	Hold struct {
		Action  string
		Gen     int
		Reason  string
		RetryAt time.Time
	}
	// Done is the outcome of an act as the target reported it.
	Done struct {
		Action     string
		Gen        int
		UndoHandle string
		Ref        string
		Detail     string
		Nothing    bool
	}
	// Refused: the act did not happen. Later: the same may work at RetryAt.
	Refused struct {
		Action  string
		Gen     int
		Reason  string
		RetryAt time.Time
	}
	// Unsure: the act may or may not have happened.
	Unsure struct {
		Action string
		Gen    int
		Reason string
		// Forgotten: the target may not know the key of the act any more.
		Forgotten bool
	}
	// Looked is the answer to a look-up of the once-key.
	Looked struct {
		Action     string
		Gen        int
		Found      bool
		UndoHandle string
		Ref        string
	}
	// Probed is the observation of the probe run N.
	Probed struct {
		N           int
		Observation Observation
		Covers      []string
	}
	// UndoAction changes an action back.
	UndoAction struct {
		Action string
		Reason string
	}
	// IntendUndo is committed before the world is touched.
	IntendUndo struct{ Action string }
	// UndoDone is the outcome of an undo.
	UndoDone struct {
		Action string
		// Failed says why it could not be changed back, "" on success.
		Failed string
		Detail string
	}
	// Ack takes note.
	Ack struct{}
	// Assign names an owner.
	Assign struct{ To string }
	// Comment adds words. Step is the manual step of the playbook, as policy words
	// it, that is said to be done, "" if none; with Undo, not done after all. It
	// is a word as well: nothing follows from it, only a probe proves.
	Comment struct {
		Note Note
		Step string
		Undo bool
	}
	// ContainNow asks for the playbook's contain action by hand.
	ContainNow struct{}
	// Verify asks for a probe now.
	Verify struct{}
	// Escalate asks for a person higher up.
	Escalate struct{ Note Note }
	// Snooze silences reminders until a date.
	Snooze struct {
		Until time.Time
		Note  Note
	}
	// PauseClock lets the SLA clock stand still until a date, for one of
	// PauseReasons; Note says who or what is waited for.
	PauseClock struct {
		Reason PauseReason
		Until  time.Time
		Note   Note
	}
	// ResumeClock ends the pause before its date.
	ResumeClock struct{}
	// Reopen opens a closed case by hand.
	Reopen struct{ Note Note }
	// Attest closes K3-K5 on a person's word, with evidence and expiry.
	Attest struct {
		Evidence Note
		Until    time.Time
	}
	// Claim says that the exposure is gone: by a ticket, the source, a person.
	Claim struct {
		From   string
		Ticket int
		Status string
	}
	// GrantException sets the case aside until a date.
	GrantException struct{ Exception Exception }
	// RevokeException ends it now.
	RevokeException struct{ ID string }
	// TicketOpened: the system of record has it.
	TicketOpened struct {
		N        int
		Ref, URL string
	}
	// TicketSaid: the ticket has all lines up to Told.
	TicketSaid struct{ N, Told int }
	// Delivered: a message arrived.
	Delivered struct{ N int }
	// Died: an effect was given up after all its tries.
	Died struct {
		Effect Effect
		Reason string
	}
	// Stuck: an effect became a dead letter. The case still waits for it; it is
	// tried again by itself, at a slow rhythm.
	Stuck struct {
		Effect Effect
		Reason string
	}
	// Tick says what the clocks say.
	Tick struct{}
	// Merge closes the case in favour of another, which takes over its findings
	// and keys in the same commit (Absorb). Into is that case as it is.
	Merge struct {
		Into Case
		// Note says why; Alias is the evidence that both assets are one under two
		// names, "" where they have the same name.
		Note, Alias Note
	}
	// Absorb takes over a case; From is that case before its Merge.
	Absorb struct {
		From        Case
		Note, Alias Note
	}
	// Split takes findings off the case, to a new one; with Undo, all that came
	// with the merge of To goes back to it (Unmerge), in the same commit.
	Split struct {
		UIDs []string
		To   string
		Undo bool
		Note Note
	}
	// Leave takes a finding off the case because its source names another exposure
	// now: To is the case of that one, which takes the finding in the same commit.
	Leave struct{ UID, To string }
	// Unmerge lets a merged case go on; From is the other one before its Split.
	Unmerge struct {
		From Case
		Note Note
	}
)

// Names of the commands: stable.
func (Observe) Name() string         { return "observe" }
func (Rejudge) Name() string         { return "rejudge" }
func (PlanMade) Name() string        { return "plan_made" }
func (PlanFailed) Name() string      { return "plan_failed" }
func (Approve) Name() string         { return "approve" }
func (Reject) Name() string          { return "reject" }
func (Intend) Name() string          { return "intend" }
func (Hold) Name() string            { return "hold" }
func (Done) Name() string            { return "done" }
func (Refused) Name() string         { return "refused" }
func (Unsure) Name() string          { return "unsure" }
func (Looked) Name() string          { return "looked" }
func (Probed) Name() string          { return "probed" }
func (UndoAction) Name() string      { return "undo" }
func (IntendUndo) Name() string      { return "intend_undo" }
func (UndoDone) Name() string        { return "undo_done" }
func (Ack) Name() string             { return "ack" }
func (Assign) Name() string          { return "assign" }
func (Comment) Name() string         { return "comment" }
func (ContainNow) Name() string      { return "contain" }
func (Verify) Name() string          { return "verify" }
func (Escalate) Name() string        { return "escalate" }
func (Snooze) Name() string          { return "snooze" }
func (PauseClock) Name() string      { return "pause_clock" }
func (ResumeClock) Name() string     { return "resume_clock" }
func (Reopen) Name() string          { return "reopen" }
func (Attest) Name() string          { return "attest" }
func (Claim) Name() string           { return "claim" }
func (GrantException) Name() string  { return "grant_exception" }
func (RevokeException) Name() string { return "revoke_exception" }
func (TicketOpened) Name() string    { return "ticket_opened" }
func (TicketSaid) Name() string      { return "ticket_said" }
func (Delivered) Name() string       { return "delivered" }
func (Died) Name() string            { return "died" }
func (Stuck) Name() string           { return "stuck" }
func (Tick) Name() string            { return "tick" }
func (Merge) Name() string           { return "merge" }
func (Absorb) Name() string          { return "absorb" }
func (Split) Name() string           { return "split" }
func (Leave) Name() string           { return "leave" }
func (Unmerge) Name() string         { return "unmerge" }

// Guard is what the guardrails say of one plan.
type Guard struct {
	// Deny names the guardrail that forbids the action now, "" if none does.
	Deny string `json:"deny,omitempty"`
	// RetryAt is when a denied action is tried again; zero: a person.
	RetryAt time.Time `json:"retry_at,omitzero"`
	// Ask names the guardrail that demands approval, "" if none does.
	Ask string `json:"ask,omitempty"`
}

// Code says why a command was not taken.
type Code string

// The codes.
const (
	// Stale: the command belongs to an older generation; it is ignored.
	Stale Code = "stale"
	// NotNow: the case is in a state in which the command makes no sense.
	NotNow Code = "not_now"
	// Forbidden: this person may not do this here.
	Forbidden Code = "forbidden"
	// Drifted: the plan is not the one that was shown.
	Drifted Code = "drifted"
	// Invalid: the command itself is wrong.
	Invalid Code = "invalid"
)

// Refusal is the error of a command that was not taken. The case is unchanged.
type Refusal struct {
	Code Code
	Msg  string
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Msg }

func refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of a refusal, "" for another error.
func CodeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}
