// Package store keeps streams of events, cases, keys, effects, findings,
// sightings, the inbox and the outbox: in SQLite for one machine, and in a
// plain in-memory model for tests and simulation. One conformance suite
// (storetest) holds both.
//
// It may import the lower floors; it satisfies engine.Store and engine.Effects
// without importing the engine, which never imports it. It starts
// no goroutine: the first caller of a commit writes for all who queued
// meanwhile. Invariants: nothing is acknowledged before it is on disk; a unit
// is stored whole or not at all, whatever happens to the units beside it; an
// event is never changed or deleted; a key leads to at most one open case; at
// most one effect is in flight per case and per outside object.
package store

import (
	"errors"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Errors beside those of package engine.
var (
	// ErrLocked: another process holds the data folder.
	ErrLocked = errors.New("data folder is in use")
	// ErrClosed: the store was closed, or gave up after a failed sync.
	ErrClosed = errors.New("store is closed")
	// ErrInvalid: the caller asked for something that makes no sense; nothing
	// was stored.
	ErrInvalid = errors.New("invalid")
	// ErrExists: the name or id is taken.
	ErrExists = errors.New("exists already")
)

// Events of streams that are not cases use these stream names, followed by
// "/" and an id where there are several.
const (
	StreamCause     = "cause"
	StreamPolicy    = "policy"
	StreamSource    = "source"
	StreamAsset     = "asset"
	StreamGuardrail = "guardrail"
	StreamPrincipal = "principal"
	// StreamEvidence is who read raw records, and what retention removed.
	StreamEvidence = "evidence"
	// StreamDeadLetter is what people do about dead letters.
	StreamDeadLetter = "dead-letter"
)

// CaseStream is the stream of a case's events.
func CaseStream(id string) string { return "case/" + id }

// StreamEvent is an event of a stream that is not a case: a configuration
// change, a pause, a login, an exception.
type StreamEvent struct {
	Tenant string
	Stream string
	Type   string
	Schema int
	At     time.Time
	By     remedy.Actor
	// Body is stored exactly as it is hashed; by custom JSON.
	Body []byte
}

// StoredEvent is an event as it lies in the ledger.
type StoredEvent struct {
	StreamEvent
	// Seq counts from 1 in the stream.
	Seq uint64
	// Prev and Hash are the links of the stream's hash chain.
	Prev, Hash ledger.Hash
	// TreeIndex is the place in the ledger's tree, -1 while unsequenced.
	TreeIndex int64
	// Decoded is the event body of a case stream, nil for other streams.
	Decoded remedy.Body
}

// CaseRow is one line of a list of cases.
type CaseRow struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Version uint64 `json:"version"`
	// State is the state of the case in one word (remedy.Case.State).
	State    string           `json:"state"`
	Open     bool             `json:"open"`
	Title    string           `json:"title"`
	Class    finding.Class    `json:"class,omitempty"`
	Domain   finding.Domain   `json:"domain,omitempty"`
	Path     remedy.Path      `json:"path"`
	Risk     string           `json:"risk"`
	Severity finding.Severity `json:"severity"`
	Owner    string           `json:"owner"`
	// Asset is the asset's name, or its uid where it has none.
	Asset       string            `json:"asset"`
	Environment string            `json:"environment,omitempty"`
	Bottleneck  remedy.Bottleneck `json:"bottleneck"`
	// NextDue is the earliest duty not yet met, FixDue the end of the fix
	// clock; zero if there is none.
	NextDue   time.Time  `json:"next_due,omitzero"`
	FixDue    time.Time  `json:"fix_due,omitzero"`
	OpenedAt  time.Time  `json:"opened_at"`
	ClosedAt  time.Time  `json:"closed_at,omitzero"`
	How       remedy.How `json:"closed_as,omitempty"`
	UpdatedAt time.Time  `json:"updated_at"`
	WakeAt    time.Time  `json:"wake_at,omitzero"`
}

// CaseFilter selects cases of a tenant; empty fields select all.
type CaseFilter struct {
	Tenant string
	State  string
	Class  finding.Class
	Path   remedy.Path
	Owner  string
	// Risk is K1 … K5.
	Risk string
	// Open selects open (Yes) or closed (No) cases.
	Open finding.Tri
	// Text is looked for in id, title and asset, ignoring the case of ASCII
	// letters.
	Text string
}

// CasePage is a part of a list. Next is the cursor of the part after it, ""
// at the end.
type CasePage struct {
	Cases []CaseRow
	Next  string
}

// FindingRow is a stored finding with its counters.
type FindingRow struct {
	Finding             finding.Finding
	CaseID, Digest      string
	FirstSeen, LastSeen time.Time
	Sightings           int
}

// EffectStatus is one effect as it waits or runs, for pages and the doctor.
type EffectStatus struct {
	record.EffectRow
	Epoch      uint64
	LeaseUntil time.Time
	NextAt     time.Time
	// Attempt counts the tries; one that was postponed is none.
	Attempt   int
	LastError string
	// DeadSince is when it became a dead letter, zero while it is none.
	DeadSince time.Time
}

// Pause is one thrown kill switch.
type Pause struct {
	// Tenant "" pauses the scope for all tenants.
	Tenant string
	Scope  string
	By     remedy.Actor
	At     time.Time
	// Reason is free text of a person.
	Reason record.NoteText
}

// InboxItem is a raw body that was answered with 202 and will be worked on.
type InboxItem struct {
	ID         int64
	Tenant     string
	Source     string
	ReceivedAt time.Time
	Headers    map[string]string
	// Body as received; the caller encrypts bodies that it quarantines.
	Body []byte
	// Size of Body in bytes as it is stored, told by lists that leave it out.
	Size int
	// Owner is who a quarantined body waits for.
	Owner    string
	Error    string
	Attempts int
	// Epoch of the claim; an older one is stale.
	Epoch  uint64
	NextAt time.Time
}

// Tail is what of the ledger is not yet in the tree.
type Tail struct {
	Events int
	// Oldest is the time of the oldest such event, zero if there is none.
	Oldest time.Time
}

// nanos is how instants are stored: Unix nanoseconds, 0 for none.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// instant is the reverse of nanos.
func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
