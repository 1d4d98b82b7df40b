// Package connector defines what a door to an outside system is: it describes
// itself, plans a change, makes it, undoes it, and proves the state
// independently. It also holds the decorators (guard, dry run, limit, retry);
// the conformance suite is in connectortest, the hand-written list of all
// connectors in all.
//
// It may import finding, deadline, remedy (for its vocabulary of results and
// grades) and libraries; sub-packages import this one, never each other and
// never the engine. Invariants: Plan and Probe change nothing; Act makes
// exactly the planned change or refuses; an error says whether the world may
// have been touched; every request to the target carries the case id; secrets
// never appear in errors, plans or observations.
package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// Spec describes a connector.
type Spec struct {
	// Name is stable and lower case: "s3", "oauth".
	Name  string
	Title string
	// Actions and Probes by verb.
	Actions []ActionSpec
	Probes  []ProbeSpec
	// Tickets: it is a system of record, a Tracker. Permissions are the rights
	// that this, or delivering messages, needs.
	Tickets     bool
	Permissions []string
}

// ActionSpec describes one action.
type ActionSpec struct {
	Verb        string
	Description string
	// Once is the promise about a repeated act.
	Once remedy.Once
	// Reversibility is r0..r3; r3 is irreversible.
	Reversibility uint8
	Undoable      bool
	// Permissions are the least rights the credential needs, in the target's
	// own words.
	Permissions []string
	Params      []Param
	// Probe is the verb of the probe that proves it, Continuity of the one
	// that proves nothing broke ("" if it can't break anything).
	Probe      string
	Continuity string
	Example    string
}

// ProbeSpec describes one probe.
type ProbeSpec struct {
	Verb        string
	Description string
	// Grade is the grade of its observations.
	Grade remedy.Grade
	// Proves and Cannot say what it proves and what it can't.
	Proves, Cannot string
	Permissions    []string
	Params         []Param
}

// Param is one parameter, filled from the playbook or the finding.
type Param struct {
	Name        string
	Description string
	Required    bool
}

// Request is one call. Params hold the playbook's and the finding's values.
type Request struct {
	CaseID, ActionID string
	// Key is the once-key of the effect: the same for every repeat of it.
	Key    string
	Asset  finding.Asset
	Params map[string]string
	// Plan is the plan to act by; empty for Plan and Probe.
	Plan remedy.Plan
	// UndoHandle is what Act returned, for Undo.
	UndoHandle string
	// Now is the time of the request, UTC.
	Now time.Time
	// Stopped reads the kill switch for a change: the scope that holds it, "" for
	// none. It is asked by the Switch layer; nil where nothing is changed.
	Stopped func(ctx context.Context) (string, error)
}

// UserAgent is what every outgoing request carries, so that the target's own
// log leads back to the case.
func (r Request) UserAgent() string { return "casement/1 case/" + r.CaseID + " action/" + r.ActionID }

// Outcome is what an act or undo achieved as far as the target said; only a
// probe proves it.
type Outcome struct {
	// UndoHandle holds what Undo needs (the before-state); no secrets.
	UndoHandle string
	// Ref is the target's own reference of the change (a request id).
	Ref    string
	Detail string
	// Nothing is true when the target already was in the wanted state.
	Nothing bool
}

// Connector is a door to one outside system.
type Connector interface {
	Spec() Spec
}

// Planner makes the plan of a change by reading the live state.
type Planner interface {
	// Plan returns the exact change an action would make now. It changes
	// nothing. Hash and At are filled in by the caller (Seal).
	Plan(ctx context.Context, verb string, r Request) (remedy.Plan, error)
}

// Actor changes the target and changes it back.
type Actor interface {
	Planner
	// Act makes the planned change. It refuses (KindRefused) when the live
	// state no longer has the plan's BeforeDigest.
	Act(ctx context.Context, verb string, r Request) (Outcome, error)
	// Undo restores what Outcome.UndoHandle holds. It refuses when somebody
	// changed the object meanwhile.
	Undo(ctx context.Context, verb string, r Request) (Outcome, error)
}

// Looker tells whether an act with r.Key has happened (once: lookup).
type Looker interface {
	// Look returns found and the outcome as Act would have returned it.
	Look(ctx context.Context, verb string, r Request) (o Outcome, found bool, err error)
}

// Prober observes the state independently of the actor. What it can't tell is
// an Inconclusive observation, not an error; an error is a fault of ours
// (missing parameter).
type Prober interface {
	Probe(ctx context.Context, verb string, r Request) (remedy.Observation, error)
}

// Notifier delivers messages to people or systems.
type Notifier interface {
	// Notify delivers n; repeats carry the same n.Key.
	Notify(ctx context.Context, n Notice) error
}

// Notice is one message with what a channel may show: no payloads, no secrets.
type Notice struct {
	Key, Kind, CaseID, Title, Text string
	To                             []string
	// Link leads to the case or the approval card.
	Link string
	At   time.Time
	// Fields are extra facts by name (class, owner, due …).
	Fields map[string]string
}

// Tracker is a system of record for tickets.
type Tracker interface {
	// Open creates a ticket once per Key, or returns the one that exists.
	Open(ctx context.Context, t TicketRequest) (ref, url string, err error)
	// Say adds a comment once per key.
	Say(ctx context.Context, ref, key, text string) error
	// Status returns the tracker's word and whether it means done.
	Status(ctx context.Context, ref string) (word string, done bool, err error)
}

// Reopener is a Tracker that can set a ticket back to open.
type Reopener interface {
	Reopen(ctx context.Context, ref string) error
}

// Finisher is a Tracker whose ticket Casement may set to done, once a probe
// proved the case closed.
type Finisher interface {
	Finish(ctx context.Context, ref string) error
}

// Follower is a Tracker that tells what people did to our tickets.
type Follower interface {
	// Changed returns the present state of our tickets that changed since an
	// instant (UTC); some that did not may be among them.
	Changed(ctx context.Context, since time.Time) ([]TicketState, error)
}

// TicketState is what a system of record says of a ticket of ours. Done is a
// claim, not a proof.
type TicketState struct {
	Ref, CaseID, Word string
	Done              bool
}

// TicketRequest is a ticket to open; Fields are rendered from the template.
type TicketRequest struct {
	// Repeat: an earlier try may have opened it.
	Repeat                            bool
	Key, CaseID, Project, Title, Body string
	Assignee                          string
	Fields                            map[string]string
	Due                               time.Time
	Link                              string
}

// Kind says what an error means for the world.
type Kind uint8

// The kinds. KindUnsure is the zero value: an error nobody classified may have
// touched the world.
const (
	// KindUnsure: the change may or may not have happened.
	KindUnsure Kind = iota
	// KindRetry: nothing was changed; the same call may work later.
	KindRetry
	// KindRefused: nothing was changed and the same call will not work.
	KindRefused
	// KindConfig: our own set-up is wrong (credential, parameter, permission).
	KindConfig
)

// Error is a failure of a connector call. Msg holds no secrets.
type Error struct {
	Kind Kind
	// Msg says what failed and, where known, how to mend it.
	Msg string
	// After is how long the target asks to wait (Retry-After), 0 if unsaid.
	After time.Duration
	Err   error
}

// Error returns Msg; the cause is for Unwrap only, as it may hold a URL.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf builds an Error of a kind.
func Errorf(k Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: k, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// KindOf returns the kind of an error; an error of another type is unsure.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindUnsure
}

// afterOf returns how long the target asks to wait, 0 if it did not say.
func afterOf(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.After
	}
	return 0
}
