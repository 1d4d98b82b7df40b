// Package remedy is the case: one exposure of one asset, from the first
// finding to its proof. Handle judges a command against a case and returns
// events, Apply turns events into state, Pending says which effects the state
// calls for, WakeAt when the case next acts by itself.
//
// It is pure and may import only finding, deadline and the standard library
// (no os, net, context, sync, log, rand, goroutines or time.Now): time is a
// field of the command. Invariants, each held by a property test: the same
// history gives the same state; the same command on the same case gives the
// same events; a case closes as proven only by a probe of the demanded grade
// that saw the exposure before and not after; nothing is touched without an
// intent; an approval covers exactly the plan it was given for; a case that is
// not settled has an owner, a bottleneck and a next instant.
package remedy

import (
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
)

// Case is the state of one case: what Apply makes of its events. It holds no
// free text of people and no raw payload. All times are UTC.
type Case struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Key is the exposure key the case was opened for.
	Key string `json:"key"`
	// Keys are the exposure keys that lead to the case; nil stands for Key alone.
	// A key leads to one open case.
	Keys []string `json:"keys,omitzero"`
	// Version counts the events applied; it is the optimistic lock.
	Version uint64 `json:"version"`
	// At is the time of the last event; command time never runs backwards.
	At time.Time `json:"at"`

	Title    string           `json:"title"`
	Class    finding.Class    `json:"class,omitempty"`
	Domain   finding.Domain   `json:"domain,omitempty"`
	Severity finding.Severity `json:"severity"`
	Asset    finding.Asset    `json:"asset"`
	// Params are the connector parameters of the finding acted for.
	Params map[string]string `json:"params,omitempty"`

	Members  []Member  `json:"members"`
	Episodes []Episode `json:"episodes"`

	// Judgement is the one in force.
	Judgement Judgement `json:"judgement"`
	// AssignedTo overrides the judged owner when a person assigned the case.
	AssignedTo string `json:"assigned_to,omitempty"`

	Actions []Action `json:"actions,omitempty"`
	Probe   ProbeRun `json:"probe,omitzero"`
	// Sightings of the exposed state, newest per probe and place.
	Exposed []Observation `json:"exposed,omitempty"`
	// LastProbe is the newest observation of any kind.
	LastProbe Observation `json:"last_probe,omitzero"`
	// Probes counts probe runs, to number them.
	Probes int `json:"probes,omitempty"`
	// Inconclusive counts inconclusive observations in a row.
	Inconclusive int `json:"inconclusive,omitempty"`
	// NextProbe is when the open or closed case is probed again by schedule.
	NextProbe time.Time `json:"next_probe,omitzero"`
	// Recheck is the number of passed re-probes since closing.
	Recheck int `json:"recheck,omitempty"`

	Tickets  []Ticket  `json:"tickets,omitempty"`
	Messages []Message `json:"messages,omitempty"`
	// MessageSeq numbers messages over the life of the case.
	MessageSeq int `json:"message_seq,omitempty"`

	Exception *Exception `json:"exception,omitempty"`
	// SnoozedUntil silences reminders, never clocks.
	SnoozedUntil time.Time `json:"snoozed_until,omitzero"`
	// Snooze counts snoozes of this episode; there is a cap.
	Snoozes int    `json:"snoozes,omitempty"`
	Ladder  Ladder `json:"ladder,omitzero"`
	// NeedJudge says why a new judgement is due, "" if none is. Judges numbers
	// the requests.
	NeedJudge string `json:"need_judge,omitempty"`
	Judges    int    `json:"judges,omitempty"`
	// JudgeSince is when it was asked for last.
	JudgeSince time.Time `json:"judge_since,omitzero"`
	// Stuck are the ids of effects that failed too often by our own fault and are
	// tried at a slow rhythm; those that are pending no more don't count.
	Stuck []string `json:"stuck,omitempty"`
	// Escalated says why a person has to look, "" if nobody has to.
	Escalated string `json:"escalated,omitempty"`

	Closed  How  `json:"closed,omitempty"`
	Settled bool `json:"settled,omitempty"`
	// MergedInto is the case that took this one over. Members are then those it
	// had; the findings are there.
	MergedInto   string `json:"merged_into,omitempty"`
	SplitFrom    string `json:"split_from,omitempty"`
	RecurrenceOf string `json:"recurrence_of,omitempty"`
	// Absorbed are the merges into this case that were not undone, oldest first.
	Absorbed []Absorption `json:"absorbed,omitempty"`

	Bottleneck Bottleneck `json:"bottleneck"`
}

// Member is one finding that speaks of the exposure.
type Member struct {
	UID      string           `json:"uid"`
	Source   string           `json:"source"`
	Rule     string           `json:"rule,omitempty"`
	Digest   string           `json:"digest"`
	Severity finding.Severity `json:"severity"`
	Status   finding.Status   `json:"status"`
	// Key is the exposure key it was placed by; "" stands for the case's Key.
	Key string `json:"key,omitempty"`
	// Why the finding was joined, for the reader of the case and for undoing.
	Why      string    `json:"why"`
	JoinedAt time.Time `json:"joined_at"`
	// Raw is the SHA-256, in hex, of the newest raw record that is kept of it, as
	// it is kept: secrets redacted; "" for none.
	Raw string `json:"raw,omitempty"`
	// ProvenAt is when a probe that covers this member proved it closed.
	ProvenAt time.Time `json:"proven_at,omitzero"`
}

// Episode is one interval in which the exposure was open.
type Episode struct {
	N int `json:"n"`
	// DetectedAt is the source's detection: exposure starts here and never
	// pauses. OpenedAt is ours: the SLA starts here.
	DetectedAt  time.Time `json:"detected_at"`
	OpenedAt    time.Time `json:"opened_at"`
	AckAt       time.Time `json:"ack_at,omitzero"`
	AckBy       string    `json:"ack_by,omitempty"`
	ContainedAt time.Time `json:"contained_at,omitzero"`
	ActedAt     time.Time `json:"acted_at,omitzero"`
	ClosedAt    time.Time `json:"closed_at,omitzero"`
	How         How       `json:"how,omitempty"`
	// Human is true once a person approved, acted or claimed in this episode.
	Human bool `json:"human,omitempty"`
	// Pauses are the times in which the SLA clock stood still, in order; they
	// don't overlap.
	Pauses []Pause `json:"pauses,omitempty"`
}

// How says how an episode ended.
type How string

// The ways a case closes. Only ClosedProven counts as closure.
const (
	ClosedProven   How = "proven"
	ClosedGone     How = "gone"
	ClosedAttested How = "attested"
	// ClosedSuppressed: policy or the source says that it is not an exposure.
	ClosedSuppressed How = "suppressed"
	ClosedMerged     How = "merged"
)

// Action is one step of the playbook with its own life.
type Action struct {
	// ID is unique in the case: "e<episode>.<index>".
	ID string `json:"id"`
	// Episode the action belongs to.
	Episode int        `json:"episode"`
	Spec    ActionSpec `json:"spec"`
	// Requester is who asked for it: a principal, or "policy:<version>".
	Requester string `json:"requester"`
	// Gen counts attempts that needed a new plan.
	Gen    int          `json:"gen"`
	Status ActionStatus `json:"status"`
	// Since is when the status began.
	Since time.Time `json:"since"`
	// Reason explains held, failed, dropped and undo states.
	Reason string `json:"reason,omitempty"`
	// RetryAt is when a held action is planned again by itself; zero: a person.
	RetryAt time.Time `json:"retry_at,omitzero"`

	Plan Plan `json:"plan,omitzero"`
	// Before is what the probe saw when the plan was made.
	Before Observation `json:"before,omitzero"`
	After  Observation `json:"after,omitzero"`
	// Works is the newest observation of the continuity probe.
	Works Observation `json:"works,omitzero"`
	// AfterTries counts probes after the act.
	AfterTries int `json:"after_tries,omitempty"`
	// ProbeAt is when the next after- or continuity-probe is due.
	ProbeAt time.Time `json:"probe_at,omitzero"`

	Approval Approval `json:"approval,omitzero"`

	// Key is the once-key of the intent.
	Key      string    `json:"key,omitempty"`
	IntentAt time.Time `json:"intent_at,omitzero"`
	// Repeats counts acts that may have happened twice (once: none).
	Repeats int `json:"repeats,omitempty"`
	Looks   int `json:"looks,omitempty"`
	// Forgotten: the target may not know Key any more, because the case lay in a
	// backup: acting again under it is no longer harmless.
	Forgotten bool      `json:"forgotten,omitempty"`
	ActedAt   time.Time `json:"acted_at,omitzero"`
	// UndoHandle is what the connector needs to change it back.
	UndoHandle string `json:"undo_handle,omitempty"`
	// Ref is the target system's own reference of the change.
	Ref string `json:"ref,omitempty"`
	// WatchUntil ends the continuity watch.
	WatchUntil time.Time `json:"watch_until,omitzero"`
	// ExpiresAt is when a time-bound containment ends by itself.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// UndoIntentAt is set once the undo may have touched the world.
	UndoIntentAt time.Time `json:"undo_intent_at,omitzero"`
	// Undos counts undo attempts, to number them.
	Undos int `json:"undos,omitempty"`
}

// ActionStatus is where an action stands.
type ActionStatus string

// The statuses of an action, in the order of a good life.
const (
	ActionWaiting  ActionStatus = "waiting"  // its turn has not come
	ActionPlanning ActionStatus = "planning" // the plan is being made
	ActionHeld     ActionStatus = "held"     // a guardrail, a missing reproduction or a person holds it
	ActionAsking   ActionStatus = "asking"   // waits for approval of its plan
	ActionReady    ActionStatus = "ready"    // authorized, not yet begun
	ActionIntended ActionStatus = "intended" // the world may have been touched
	ActionUnsure   ActionStatus = "unsure"   // outcome unknown: look before acting again
	ActionActed    ActionStatus = "acted"    // done at the target, not proven
	ActionWatching ActionStatus = "watching" // proven, continuity is watched
	ActionDone     ActionStatus = "done"     // proven, nothing broke
	ActionFailed   ActionStatus = "failed"   // without effect or refused
	ActionUndoing  ActionStatus = "undoing"  // being changed back
	ActionUndone   ActionStatus = "undone"
	ActionUnundone ActionStatus = "undo_failed" // could not be changed back: a person
	ActionDropped  ActionStatus = "dropped"     // rejected, expired or no longer called for
)

// Plan is the exact change an action would make now.
type Plan struct {
	// Hash is over data and rendered text; approvals bind to it.
	Hash string `json:"hash"`
	// Text is the rendered plan: verb, resource, difference. No secrets.
	Text string `json:"text"`
	// Data is what the connector acts by.
	Data string `json:"data,omitempty"`
	// BeforeDigest is a digest of the live state the plan starts from.
	BeforeDigest string `json:"before_digest"`
	// Blast and Undo are one line each for the approval card.
	Blast string    `json:"blast,omitempty"`
	Undo  string    `json:"undo,omitempty"`
	At    time.Time `json:"at"`
	// LastModifier is who changed the target last, "" if unknown.
	LastModifier string `json:"last_modifier,omitempty"`
}

// Approval is the request to approve one plan and the answers to it.
type Approval struct {
	ID        string    `json:"id"`
	AskedAt   time.Time `json:"asked_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// Needed is the number of different people that have to approve.
	Needed int `json:"needed"`
	// From are the people or teams asked.
	From     []string `json:"from,omitempty"`
	PlanHash string   `json:"plan_hash"`
	Grants   []Grant  `json:"grants,omitempty"`
	// RemindedAt is the last reminder; Backup is set once the backup was asked.
	RemindedAt time.Time `json:"reminded_at,omitzero"`
	// Diff is the difference to the plan a voided approval was given for.
	Diff string `json:"diff,omitempty"`
}

// Grant is one person's yes to one plan.
type Grant struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
	// As is the entitlement used: approver, backup, delegate, admin.
	As       string `json:"as"`
	PlanHash string `json:"plan_hash"`
	Note     Note   `json:"note,omitempty"`
}

// ProbeRun is the probe the case waits for, zero if none.
type ProbeRun struct {
	// N numbers the run in the case.
	N       int       `json:"n"`
	Purpose Purpose   `json:"purpose"`
	Action  string    `json:"action,omitempty"`
	Since   time.Time `json:"since"`
}

// Purpose says why a probe runs.
type Purpose string

// The purposes of a probe.
const (
	ProbeAfter      Purpose = "after"      // did the act work?
	ProbeContinuity Purpose = "continuity" // did the act break something?
	ProbeSchedule   Purpose = "schedule"   // is it still exposed?
	ProbeClaim      Purpose = "claim"      // somebody says it is done
	ProbeRecheck    Purpose = "recheck"    // does it stay closed?
	ProbeUndo       Purpose = "undo"       // what is the state after changing back?
)

// Observation is what a probe saw.
type Observation struct {
	// Probe is connector and verb, e.g. "s3/anonymous-get".
	Probe  string `json:"probe"`
	Result Result `json:"result"`
	Grade  Grade  `json:"grade"`
	// Place is where the probe looked from; a negative result counts only
	// against a positive one of the same probe and place.
	Place  string    `json:"place,omitempty"`
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
}

// Result is the verdict of a probe.
type Result string

// The verdicts. Network errors, 404, 429 and 5xx are inconclusive. For a
// continuity probe Exposed means "broken" and NotExposed "works".
const (
	Exposed      Result = "exposed"
	NotExposed   Result = "not_exposed"
	Inconclusive Result = "inconclusive"
	// Gone: the asset is proven deleted.
	Gone Result = "gone"
)

// Grade is the quality of a probe: P0 scanner silence, P1 read-back by the API
// of the write, P2 read-back by another API, P3 what an outsider could do.
type Grade uint8

// The grades.
const (
	P0 Grade = iota
	P1
	P2
	P3
)

// String returns P0 … P3.
func (g Grade) String() string { return "P" + string([]byte{'0' + byte(min(g, P3))}) }

// Ticket is an item in a system of record.
type Ticket struct {
	N        int    `json:"n"`
	System   string `json:"system"`
	Template string `json:"template,omitempty"`
	Ref      string `json:"ref,omitempty"`
	URL      string `json:"url,omitempty"`
	// Status is "wanted", "open", TicketReopened, TicketProven, or the system's
	// own word for done, which is a claim.
	Status string `json:"status"`
	// Said and Told number what we have to say and what arrived there.
	Said int `json:"said,omitempty"`
	Told int `json:"told,omitempty"`
	// Lines are what is still to be said, oldest first: Said - Told of them.
	Lines []string `json:"lines,omitempty"`
}

// What Casement itself makes of a ticket.
const (
	TicketReopened = "reopened" // the probe sees the exposure
	TicketProven   = "proven"   // the probe proved that it is gone
)

// Message is one notice to people or systems, delivered by an effect.
type Message struct {
	N int `json:"n"`
	// Kind is a MessageKind word; Route the channel by name.
	Kind   string    `json:"kind"`
	Route  string    `json:"route"`
	To     []string  `json:"to,omitempty"`
	Text   string    `json:"text"`
	Action string    `json:"action,omitempty"`
	At     time.Time `json:"at"`
}

// Exception is a time-bound, approved reason for not taking the standard path.
type Exception struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	By     string    `json:"by"`
	Asked  string    `json:"asked_by"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Reason Note      `json:"reason,omitempty"`
}

// Ladder is where the escalation of the episode stands.
type Ladder struct {
	// Said are the duties warned of or breached: "warn.fix", "breach.contain".
	Said []string `json:"said,omitempty"`
	// Step is the number of ladder steps taken, Next the instant of the next.
	Step int       `json:"step,omitempty"`
	Next time.Time `json:"next,omitzero"`
}

// Bottleneck is who or what the case waits for, and since when.
type Bottleneck struct {
	Kind  string    `json:"kind"`
	Who   string    `json:"who,omitempty"`
	Since time.Time `json:"since"`
}

// Note refers to free text of a person kept outside the ledger: hex of
// SHA-256(salt ‖ text). Erasing text and salt leaves the chain whole.
type Note string

// Actor is who gave a command. ID is a principal id, never a name or mail.
type Actor struct {
	Kind ActorKind `json:"kind"`
	ID   string    `json:"id"`
}

// ActorKind tells people, policy, sources and the system itself apart.
type ActorKind string

// The kinds of actors.
const (
	Person ActorKind = "person"
	Policy ActorKind = "policy"
	Source ActorKind = "source"
	System ActorKind = "system"
)

// Open reports whether the exposure counts as open.
func (c Case) Open() bool { return c.Closed == "" }

// Episode returns the newest episode; the zero Episode for a new case.
func (c Case) Episode() Episode {
	if len(c.Episodes) == 0 {
		return Episode{}
	}
	return c.Episodes[len(c.Episodes)-1]
}

// Owner is the accountable person or team: the assignee, else the judged owner.
func (c Case) Owner() string {
	if c.AssignedTo != "" {
		return c.AssignedTo
	}
	return c.Judgement.Routing.Owner
}

// Acted reports whether anything was intended in the current episode.
func (c Case) Acted() bool {
	for _, a := range c.Actions {
		if !a.IntentAt.IsZero() {
			return true
		}
	}
	return false
}

// Quiet reports whether a repeat of a member with an equal digest is a mere
// sighting: the case is open, has no exception and nothing was acted, probed
// or claimed yet.
func (c Case) Quiet() bool {
	if !c.Open() || c.Exception != nil || c.Acted() || c.Episode().Human || c.Probes > 0 || c.LastProbe != (Observation{}) {
		return false
	}
	for _, m := range c.Members {
		if m.Status != finding.StatusOpen {
			return false
		}
	}
	return true
}

// RiskClass is the class of the judgement in force.
func (c Case) RiskClass() deadline.RiskClass { return c.Judgement.Decision.Class }
