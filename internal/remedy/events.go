package remedy

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
)

// The bodies of events. Field names are stored: they may be added to, never
// renamed; a changed meaning needs a new type and an upcaster in DecodeBody.
type (
	// Opened starts a case.
	Opened struct {
		ID           string            `json:"id"`
		Tenant       string            `json:"tenant"`
		Key          string            `json:"key"`
		Title        string            `json:"title"`
		Class        finding.Class     `json:"class,omitempty"`
		Domain       finding.Domain    `json:"domain,omitempty"`
		Severity     finding.Severity  `json:"severity"`
		Asset        finding.Asset     `json:"asset"`
		Params       map[string]string `json:"params,omitempty"`
		DetectedAt   time.Time         `json:"detected_at"`
		RecurrenceOf string            `json:"recurrence_of,omitempty"`
		SplitFrom    string            `json:"split_from,omitempty"`
		// Keys lead to a case that was split off; else it is Key.
		Keys []string `json:"keys,omitzero"`
	}
	// Joined adds a finding, with the reason.
	Joined struct {
		Member Member `json:"member"`
	}
	// MemberChanged records what a known finding says now.
	MemberChanged struct {
		UID      string           `json:"uid"`
		Digest   string           `json:"digest"`
		Severity finding.Severity `json:"severity"`
		Status   finding.Status   `json:"status"`
		// Key, if another one than before led it here.
		Key string `json:"key,omitempty"`
		// Raw is the raw record that says so, as in Member; "" if none is kept.
		Raw string `json:"raw,omitempty"`
	}
	// Judged puts a judgement in force.
	Judged struct {
		Judgement Judgement `json:"judgement"`
		Trigger   string    `json:"trigger"`
	}
	// ActionAdded puts an action of the playbook on the case.
	ActionAdded struct {
		Action    string     `json:"action"`
		Spec      ActionSpec `json:"spec"`
		Requester string     `json:"requester"`
	}
	// ActionMoved changes where an action stands, for Reason.
	ActionMoved struct {
		Action  string       `json:"action"`
		To      ActionStatus `json:"to"`
		Reason  string       `json:"reason,omitempty"`
		RetryAt time.Time    `json:"retry_at,omitzero"`
	}
	// Planned records the plan and what the probe saw before.
	Planned struct {
		Action string      `json:"action"`
		Plan   Plan        `json:"plan"`
		Before Observation `json:"before"`
	}
	// ApprovalAsked asks for approval of the plan.
	ApprovalAsked struct {
		Action   string   `json:"action"`
		Approval Approval `json:"approval"`
	}
	// ApprovalReminded records that the backup was asked as well.
	ApprovalReminded struct {
		Action string `json:"action"`
		Backup string `json:"backup,omitempty"`
	}
	// Approved is one person's yes.
	Approved struct {
		Action string `json:"action"`
		Grant  Grant  `json:"grant"`
	}
	// ApprovalVoided ends an approval that no longer covers what would be done.
	ApprovalVoided struct {
		Action string `json:"action"`
		Why    string `json:"why"`
		Diff   string `json:"diff,omitempty"`
	}
	// Rejected is one person's no.
	Rejected struct {
		Action string `json:"action"`
		Note   Note   `json:"note,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	// Intended is committed before the world is touched.
	Intended struct {
		Action   string `json:"action"`
		Key      string `json:"key"`
		PlanHash string `json:"plan_hash"`
		Repeat   bool   `json:"repeat,omitempty"`
	}
	// ActedOn is the outcome as the target reported it.
	ActedOn struct {
		Action     string    `json:"action"`
		UndoHandle string    `json:"undo_handle,omitempty"`
		Ref        string    `json:"ref,omitempty"`
		Detail     string    `json:"detail,omitempty"`
		Nothing    bool      `json:"nothing,omitempty"`
		ProbeAt    time.Time `json:"probe_at,omitzero"`
		ExpiresAt  time.Time `json:"expires_at,omitzero"`
	}
	// OutcomeUnknown says that the act may or may not have happened.
	OutcomeUnknown struct {
		Action    string `json:"action"`
		Reason    string `json:"reason"`
		Forgotten bool   `json:"forgotten,omitempty"`
	}
	// LookedFor is what a look-up of the once-key found.
	LookedFor struct {
		Action string `json:"action"`
		Found  bool   `json:"found"`
	}
	// ProbeAsked asks for one probe run.
	ProbeAsked struct {
		Run ProbeRun `json:"run"`
	}
	// ProbeSaw is the observation of the run.
	ProbeSaw struct {
		N           int         `json:"n"`
		Purpose     Purpose     `json:"purpose"`
		Action      string      `json:"action,omitempty"`
		Observation Observation `json:"observation"`
		// Covers are the member findings the probe speaks for.
		Covers []string `json:"covers,omitempty"`
	}
	// ProbeDue sets when an action is probed next.
	ProbeDue struct {
		Action string    `json:"action"`
		At     time.Time `json:"at"`
		Why    string    `json:"why,omitempty"`
	}
	// ProbeScheduled sets the next probe by schedule.
	ProbeScheduled struct {
		At      time.Time `json:"at"`
		Recheck int       `json:"recheck,omitempty"`
	}
	// Contained: the exposure is proven unreachable though not fixed.
	Contained struct {
		Action string `json:"action"`
	}
	// WatchStarted begins the continuity watch.
	WatchStarted struct {
		Action  string    `json:"action"`
		Until   time.Time `json:"until"`
		ProbeAt time.Time `json:"probe_at"`
	}
	// UndoAsked starts changing an action back.
	UndoAsked struct {
		Action string `json:"action"`
		Reason string `json:"reason"`
	}
	// UndoIntended is committed before the world is touched.
	UndoIntended struct {
		Action string `json:"action"`
		Key    string `json:"key"`
	}
	// UndoneAt says that the action was changed back.
	UndoneAt struct {
		Action string `json:"action"`
		Detail string `json:"detail,omitempty"`
	}
	// EpisodeClosed ends the episode.
	EpisodeClosed struct {
		How  How    `json:"how"`
		Why  string `json:"why"`
		Note Note   `json:"note,omitempty"`
		// Until is when an attestation or suppression ends.
		Until time.Time `json:"until,omitzero"`
	}
	// EpisodeStarted opens the exposure again.
	EpisodeStarted struct {
		N          int       `json:"n"`
		DetectedAt time.Time `json:"detected_at"`
		Why        string    `json:"why"`
	}
	// CaseSettled: the re-probes passed; nothing more happens by itself.
	CaseSettled struct{}
	// TicketWanted asks for a ticket.
	TicketWanted struct {
		Ticket Ticket `json:"ticket"`
	}
	// TicketLinked says which ticket it became.
	TicketLinked struct {
		N   int    `json:"n"`
		Ref string `json:"ref"`
		URL string `json:"url,omitempty"`
	}
	// TicketSay wants a line said in the ticket.
	TicketSay struct {
		N    int    `json:"n"`
		Line string `json:"line"`
	}
	// TicketTold: the ticket has the lines up to Told.
	TicketTold struct {
		N    int `json:"n"`
		Told int `json:"told"`
	}
	// TicketMoved is what the system of record says.
	TicketMoved struct {
		N      int    `json:"n"`
		Status string `json:"status"`
		Done   bool   `json:"done"`
	}
	// MessageQueued wants a notice delivered.
	MessageQueued struct {
		Message Message `json:"message"`
	}
	// MessageSent: delivered, or given up with Failed.
	MessageSent struct {
		N      int    `json:"n"`
		Failed string `json:"failed,omitempty"`
	}
	// Acked: somebody took note.
	Acked struct{}
	// AssignedTo names a person as owner.
	AssignedTo struct {
		To string `json:"to"`
	}
	// Commented refers to a person's words, or says of a manual step that it is
	// done, with Undo that it is not.
	Commented struct {
		Note Note   `json:"note,omitempty"`
		Step string `json:"step,omitempty"`
		Undo bool   `json:"undo,omitempty"`
	}
	// SnoozedUntil silences reminders.
	SnoozedUntil struct {
		Until time.Time `json:"until"`
		Note  Note      `json:"note,omitempty"`
	}
	// ClockPaused lets the SLA clock stand still.
	ClockPaused struct {
		Pause Pause `json:"pause"`
	}
	// ClockResumed ends the pause. At is its end: its date, or earlier.
	ClockResumed struct {
		At  time.Time `json:"at"`
		Why string    `json:"why"`
	}
	// ExceptionGranted sets the case aside until a date.
	ExceptionGranted struct {
		Exception Exception `json:"exception"`
	}
	// ExceptionEnded brings it back.
	ExceptionEnded struct {
		ID  string `json:"id"`
		Why string `json:"why"`
	}
	// ClockSaid is a warning or a breach of a duty.
	ClockSaid struct {
		Duty   string    `json:"duty"`
		Breach bool      `json:"breach"`
		Due    time.Time `json:"due"`
		// Next ladder step.
		Next time.Time `json:"next,omitzero"`
		// Action that a containment's coming end is about.
		Action string `json:"action,omitempty"`
	}
	// LadderStepped is one rung of the escalation.
	LadderStepped struct {
		Step int       `json:"step"`
		Who  string    `json:"who"`
		Next time.Time `json:"next,omitzero"`
	}
	// EscalatedFor says why a person has to look; "" clears it.
	EscalatedFor struct {
		Why  string `json:"why"`
		Note Note   `json:"note,omitempty"`
	}
	// JudgeAsked asks for a new judgement.
	JudgeAsked struct {
		Why string `json:"why"`
	}
	// EffectDied: an effect was given up.
	EffectDied struct {
		Effect string `json:"effect"`
		Reason string `json:"reason"`
	}
	// EffectStuck: an effect became a dead letter, and is still called for.
	EffectStuck struct {
		Effect string `json:"effect"`
		Reason string `json:"reason"`
	}
	// MergedInto closes the case in favour of another.
	MergedInto struct {
		Into string `json:"into"`
		Why  string `json:"why,omitempty"`
		Note Note   `json:"note,omitempty"`
		// Keys and UIDs are what the other takes over.
		Keys []string `json:"keys,omitempty"`
		UIDs []string `json:"uids,omitempty"`
		// Alias is the evidence that both assets are one.
		Alias Note `json:"alias,omitempty"`
	}
	// Absorbed takes over a case; each of its findings follows as Joined.
	Absorbed struct {
		From  string   `json:"from"`
		Note  Note     `json:"note,omitempty"`
		Keys  []string `json:"keys,omitempty"`
		UIDs  []string `json:"uids,omitempty"`
		Alias Note     `json:"alias,omitempty"`
		// Detected is when the source detected what came.
		Detected time.Time `json:"detected"`
	}
	// MembersSplit takes findings and the keys that lead to them off the case.
	MembersSplit struct {
		UIDs []string `json:"uids"`
		To   string   `json:"to"`
		Why  string   `json:"why,omitempty"`
		Note Note     `json:"note,omitempty"`
		Keys []string `json:"keys,omitempty"`
		// Undo: they go back to the case that was merged into this one.
		Undo bool `json:"undo,omitempty"`
		// Detected is the detection of the episode without them.
		Detected time.Time `json:"detected,omitzero"`
	}
	// Unmerged lets a merged case go on with its keys.
	Unmerged struct {
		From string   `json:"from"`
		Note Note     `json:"note,omitempty"`
		Keys []string `json:"keys,omitempty"`
	}
)

// Type names: stable for ever.
func (Opened) Type() string           { return "opened" }
func (Joined) Type() string           { return "joined" }
func (MemberChanged) Type() string    { return "member_changed" }
func (Judged) Type() string           { return "judged" }
func (ActionAdded) Type() string      { return "action_added" }
func (ActionMoved) Type() string      { return "action_moved" }
func (Planned) Type() string          { return "planned" }
func (ApprovalAsked) Type() string    { return "approval_asked" }
func (ApprovalReminded) Type() string { return "approval_reminded" }
func (Approved) Type() string         { return "approved" }
func (ApprovalVoided) Type() string   { return "approval_voided" }
func (Rejected) Type() string         { return "rejected" }
func (Intended) Type() string         { return "intended" }
func (ActedOn) Type() string          { return "acted" }
func (OutcomeUnknown) Type() string   { return "outcome_unknown" }
func (LookedFor) Type() string        { return "looked" }
func (ProbeAsked) Type() string       { return "probe_asked" }
func (ProbeSaw) Type() string         { return "probe_saw" }
func (ProbeDue) Type() string         { return "probe_due" }
func (ProbeScheduled) Type() string   { return "probe_scheduled" }
func (Contained) Type() string        { return "contained" }
func (WatchStarted) Type() string     { return "watch_started" }
func (UndoAsked) Type() string        { return "undo_asked" }
func (UndoIntended) Type() string     { return "undo_intended" }
func (UndoneAt) Type() string         { return "undone" }
func (EpisodeClosed) Type() string    { return "closed" }
func (EpisodeStarted) Type() string   { return "episode_started" }
func (CaseSettled) Type() string      { return "settled" }
func (TicketWanted) Type() string     { return "ticket_wanted" }
func (TicketLinked) Type() string     { return "ticket_linked" }
func (TicketSay) Type() string        { return "ticket_say" }
func (TicketTold) Type() string       { return "ticket_told" }
func (TicketMoved) Type() string      { return "ticket_moved" }
func (MessageQueued) Type() string    { return "message_queued" }
func (MessageSent) Type() string      { return "message_sent" }
func (Acked) Type() string            { return "acked" }
func (AssignedTo) Type() string       { return "assigned" }
func (Commented) Type() string        { return "commented" }
func (SnoozedUntil) Type() string     { return "snoozed" }
func (ClockPaused) Type() string      { return "clock_paused" }
func (ClockResumed) Type() string     { return "clock_resumed" }
func (ExceptionGranted) Type() string { return "exception_granted" }
func (ExceptionEnded) Type() string   { return "exception_ended" }
func (ClockSaid) Type() string        { return "clock_said" }
func (LadderStepped) Type() string    { return "ladder_stepped" }
func (EscalatedFor) Type() string     { return "escalated" }
func (JudgeAsked) Type() string       { return "judge_asked" }
func (EffectDied) Type() string       { return "effect_died" }
func (EffectStuck) Type() string      { return "effect_stuck" }
func (MergedInto) Type() string       { return "merged" }
func (Absorbed) Type() string         { return "absorbed" }
func (MembersSplit) Type() string     { return "members_split" }
func (Unmerged) Type() string         { return "unmerged" }

// EncodeBody returns the bytes that are hashed and stored for a body.
func EncodeBody(b Body) ([]byte, error) { return json.Marshal(b) }

// DecodeBody reads the bytes of a stored body. Unknown types and schema
// versions newer than ours are errors: they come from a newer release.
func DecodeBody(typ string, schema int, b []byte) (Body, error) {
	if schema < 1 || schema > SchemaVersion {
		return nil, fmt.Errorf("event %s has schema version %d, this release reads 1 to %d", typ, schema, SchemaVersion)
	}
	d := decoder(typ)
	if d == nil {
		return nil, fmt.Errorf("event type %q is not known to this release", typ)
	}
	return d(b)
}

func decode[T Body](b []byte) (Body, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("event %s: %w", v.Type(), err)
	}
	return v, nil
}

// decoder returns what reads an event type, nil for none. A map would be made anew
// with each event.
func decoder(typ string) func([]byte) (Body, error) {
	switch typ {
	case "opened":
		return decode[Opened]
	case "joined":
		return decode[Joined]
	case "member_changed":
		return decode[MemberChanged]
	case "judged":
		return decode[Judged]
	case "action_added":
		return decode[ActionAdded]
	case "action_moved":
		return decode[ActionMoved]
	case "planned":
		return decode[Planned]
	case "approval_asked":
		return decode[ApprovalAsked]
	case "approval_reminded":
		return decode[ApprovalReminded]
	case "approved":
		return decode[Approved]
	case "approval_voided":
		return decode[ApprovalVoided]
	case "rejected":
		return decode[Rejected]
	case "intended":
		return decode[Intended]
	case "acted":
		return decode[ActedOn]
	case "outcome_unknown":
		return decode[OutcomeUnknown]
	case "looked":
		return decode[LookedFor]
	case "probe_asked":
		return decode[ProbeAsked]
	case "probe_saw":
		return decode[ProbeSaw]
	case "probe_due":
		return decode[ProbeDue]
	case "probe_scheduled":
		return decode[ProbeScheduled]
	case "contained":
		return decode[Contained]
	case "watch_started":
		return decode[WatchStarted]
	case "undo_asked":
		return decode[UndoAsked]
	case "undo_intended":
		return decode[UndoIntended]
	case "undone":
		return decode[UndoneAt]
	case "closed":
		return decode[EpisodeClosed]
	case "episode_started":
		return decode[EpisodeStarted]
	case "settled":
		return decode[CaseSettled]
	case "ticket_wanted":
		return decode[TicketWanted]
	case "ticket_linked":
		return decode[TicketLinked]
	case "ticket_say":
		return decode[TicketSay]
	case "ticket_told":
		return decode[TicketTold]
	case "ticket_moved":
		return decode[TicketMoved]
	case "message_queued":
		return decode[MessageQueued]
	case "message_sent":
		return decode[MessageSent]
	case "acked":
		return decode[Acked]
	case "assigned":
		return decode[AssignedTo]
	case "commented":
		return decode[Commented]
	case "snoozed":
		return decode[SnoozedUntil]
	case "clock_paused":
		return decode[ClockPaused]
	case "clock_resumed":
		return decode[ClockResumed]
	case "exception_granted":
		return decode[ExceptionGranted]
	case "exception_ended":
		return decode[ExceptionEnded]
	case "clock_said":
		return decode[ClockSaid]
	case "ladder_stepped":
		return decode[LadderStepped]
	case "escalated":
		return decode[EscalatedFor]
	case "judge_asked":
		return decode[JudgeAsked]
	case "effect_died":
		return decode[EffectDied]
	case "effect_stuck":
		return decode[EffectStuck]
	case "merged":
		return decode[MergedInto]
	case "members_split":
		return decode[MembersSplit]
	case "absorbed":
		return decode[Absorbed]
	case "unmerged":
		return decode[Unmerged]
	}
	return nil
}
