package remedy

import "time"

// Event is one fact of a case's history. Body is one of the event structs of
// events.go; its bytes are stored exactly as hashed.
type Event struct {
	At   time.Time
	By   Actor
	Body Body
}

// Body is the payload of an event. Type is its stable name.
type Body interface{ Type() string }

// SchemaVersion is the version written with every event body.
const SchemaVersion = 1

// Effect is one thing the state of a case calls for. It is a pure function of
// the case: Pending lists it until the outcome is an event.
type Effect struct {
	// ID is unique within the case and stable over repeats.
	ID   string     `json:"id"`
	Kind EffectKind `json:"kind"`
	// Action is the action id for plan, act, look, undo and some probes.
	Action string `json:"action,omitempty"`
	// N is the number of the probe run, message, ticket or judgement request.
	N int `json:"n,omitempty"`
}

// EffectKind says what an effect does.
type EffectKind string

// The kinds of effects.
const (
	EffectPlan    EffectKind = "plan"
	EffectAct     EffectKind = "act"
	EffectLook    EffectKind = "look"
	EffectUndo    EffectKind = "undo"
	EffectProbe   EffectKind = "probe"
	EffectMessage EffectKind = "message"
	EffectTicket  EffectKind = "ticket"
	EffectSay     EffectKind = "say"
	EffectJudge   EffectKind = "judge"
)
