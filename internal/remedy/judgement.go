package remedy

import (
	"time"

	"github.com/casement/casement/internal/deadline"
)

// Judgement is what policy, ownership and calendars said at one instant. It
// rides in commands; Apply never judges.
type Judgement struct {
	Decision Decision        `json:"decision"`
	Routing  Routing         `json:"routing"`
	Clocks   deadline.Clocks `json:"clocks"`
	// Ladder is the escalation in force, in order.
	Ladder   []LadderStep `json:"ladder,omitempty"`
	Versions Versions     `json:"versions"`
	// Facts is the content address of the snapshot of facts it rests on.
	Facts string `json:"facts"`
}

// Versions name exactly what judged.
type Versions struct {
	// Policy is the content hash of the policy directory, Authors who wrote
	// the active version (principal ids).
	Policy  string   `json:"policy"`
	Authors []string `json:"authors,omitempty"`
	Owners  string   `json:"owners"`
	TZ      string   `json:"tz"`
}

// Decision is policy's answer for one case. Path labels it for lists.
type Decision struct {
	Class deadline.RiskClass `json:"class"`
	// Rule is the rule that decided, Why its reason in words.
	Rule string `json:"rule"`
	Why  string `json:"why,omitempty"`
	// Playbook that the actions come from, "" if none.
	Playbook string `json:"playbook,omitempty"`
	Incident bool   `json:"incident,omitempty"`
	Ticket   bool   `json:"ticket,omitempty"`
	// Suppress: not an exposure for us, by rule, until Until.
	Suppress bool      `json:"suppress,omitempty"`
	Until    time.Time `json:"until,omitzero"`
	// Mode is the rule's ceiling on authorization.
	Mode Mode `json:"mode"`
	// Intended is the path the rule would take without its mode: what shadow mode
	// records. Unknown facts and irreversible actions hold it back all the same.
	Intended Path `json:"intended"`
	// Actions in order: contain before fix.
	Actions []ActionSpec `json:"actions,omitempty"`
	// Probe of the exposure itself; Connector "" if the playbook has none.
	Probe ProbeSpec `json:"probe,omitzero"`
	// Grade is the least grade that proves closure (P2 for K1 and K2).
	Grade Grade `json:"grade"`
	// ProbeEvery is the schedule of probing while open, in seconds.
	ProbeEvery int `json:"probe_every"`
	// Unknown lists facts that were unknown and lowered an authorization.
	Unknown []string `json:"unknown,omitempty"`
	// Error is an evaluation error: a person decides.
	Error string `json:"error,omitempty"`
	// Tickets are the systems and templates, Notify the message routes.
	Tickets []TicketSpec `json:"tickets,omitempty"`
	Notify  []string     `json:"notify,omitempty"`
}

// TicketSpec names a system of record and the template for it.
type TicketSpec struct {
	System   string `json:"system"`
	Template string `json:"template,omitempty"`
	Project  string `json:"project,omitempty"`
}

// Mode is a rule's ceiling on authorization.
type Mode string

// The modes, from harmless to acting.
const (
	ModeShadow  Mode = "shadow"
	ModeTicket  Mode = "ticket"
	ModeApprove Mode = "approve"
	ModeEnforce Mode = "enforce"
)

// Path is the label of a decision in lists.
type Path string

// The paths.
const (
	PathEnforce  Path = "enforce"
	PathApprove  Path = "approve"
	PathTicket   Path = "ticket"
	PathIncident Path = "incident"
	PathMonitor  Path = "monitor"
	PathSuppress Path = "suppress"
)

// Paths lists all paths, the most urgent first.
func Paths() []Path {
	return []Path{PathIncident, PathEnforce, PathApprove, PathTicket, PathMonitor, PathSuppress}
}

// Path derives the label: suppress, incident, then the strongest
// authorization of an action, then ticket, else monitor.
func (d Decision) Path() Path {
	if d.Suppress {
		return PathSuppress
	}
	if d.Incident {
		return PathIncident
	}
	best := AuthNone
	for _, a := range d.Actions {
		if authRank(a.Auth) > authRank(best) {
			best = a.Auth
		}
	}
	switch {
	case best == AuthEnforce:
		return PathEnforce
	case best == AuthApprove:
		return PathApprove
	case d.Ticket:
		return PathTicket
	}
	return PathMonitor
}

// Authorization says under whose word an action may run.
type Authorization string

// The authorizations. AuthNone lists the action as a recommendation only.
const (
	AuthNone    Authorization = "none"
	AuthApprove Authorization = "approve"
	AuthEnforce Authorization = "enforce"
)

func authRank(a Authorization) int {
	switch a {
	case AuthApprove:
		return 1
	case AuthEnforce:
		return 2
	}
	return 0
}

// ActionSpec is one action of a playbook as judged for one case.
type ActionSpec struct {
	Name string `json:"name"`
	// Phase is contain (compensating control) or fix.
	Phase Phase `json:"phase"`
	// Connector and Verb name what runs, e.g. "s3" and "remove-public-access".
	Connector string            `json:"connector"`
	Verb      string            `json:"verb"`
	Params    map[string]string `json:"params,omitempty"`
	Auth      Authorization     `json:"auth"`
	// Reversibility: r0 metadata, r1 reversible without effect on traffic, r2
	// reversible but may break traffic, r3 irreversible.
	Reversibility uint8 `json:"reversibility"`
	// OptIn names an irreversible action as allowed automatically.
	OptIn bool `json:"opt_in,omitempty"`
	Once  Once `json:"once"`
	// Quorum is the number of approvers, at least 1 where approval is needed.
	Quorum int `json:"quorum,omitempty"`
	// Settle is the time in seconds before the first probe after the act.
	Settle int `json:"settle,omitempty"`
	// Tries is how often the after-probe may say "exposed" before the action
	// counts as failed (default 3); Interval seconds lie between.
	Tries    int `json:"tries,omitempty"`
	Interval int `json:"interval,omitempty"`
	// Expires in seconds after the act, for time-bound containment; 0 never.
	Expires int `json:"expires,omitempty"`
	// Continuity is watched for Watch seconds, every WatchEvery.
	Continuity ProbeSpec `json:"continuity,omitzero"`
	Watch      int       `json:"watch,omitempty"`
	WatchEvery int       `json:"watch_every,omitempty"`
	// ApproveWithin is the life of an approval request in seconds.
	ApproveWithin int `json:"approve_within,omitempty"`
	// UnknownModifierOK: one approver suffices though nobody knows who changed
	// the target last.
	UnknownModifierOK bool `json:"unknown_modifier_ok,omitempty"`
	// Undoable is false where the connector has no way back.
	Undoable bool `json:"undoable"`
}

// Phase of an action.
type Phase string

// The phases.
const (
	Contain Phase = "contain"
	Fix     Phase = "fix"
)

// Once is what a connector promises about a repeated act.
type Once string

// The promises: the target honours our key; we can look whether it happened;
// neither.
const (
	OnceKey    Once = "key"
	OnceLookup Once = "lookup"
	OnceNone   Once = "none"
)

// ProbeSpec names a probe and the grade it has.
type ProbeSpec struct {
	Connector string            `json:"connector"`
	Verb      string            `json:"verb"`
	Grade     Grade             `json:"grade"`
	Params    map[string]string `json:"params,omitempty"`
}

// Name is "connector/verb", "" for no probe.
func (p ProbeSpec) Name() string {
	if p.Connector == "" {
		return ""
	}
	return p.Connector + "/" + p.Verb
}

// Routing is who is responsible, who approves and who is next.
type Routing struct {
	Owner     string   `json:"owner"`
	Approvers []string `json:"approvers,omitempty"`
	Backup    string   `json:"backup,omitempty"`
	Manager   string   `json:"manager,omitempty"`
	OpsLead   string   `json:"ops_lead,omitempty"`
	// Source is the rule of ownership that answered, Confidence 0..100.
	Source     string `json:"source,omitempty"`
	Confidence int    `json:"confidence,omitempty"`
	// Known is false when only the fallback answered: then nothing is enforced.
	Known bool `json:"known"`
}

// LadderStep is one rung of the escalation.
type LadderStep struct {
	// After is the time in seconds after the breach.
	After int `json:"after"`
	// Who is owner, backup, manager or ops_lead.
	Who string `json:"who"`
}
