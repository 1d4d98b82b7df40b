// Package record is what passes between the engine and its stores: the unit of
// a commit, leases of effects, reservations, sightings, and the errors that say
// what became of them.
//
// It is pure and may import finding, remedy and the standard library. It exists
// so that engine and store never import each other: the engine declares the
// store it needs, the store satisfies it, and both speak in these values.
package record

import (
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// Errors a store returns for one unit of a commit.
var (
	// ErrConflict: the case moved on, or another unit opened the key. Nothing
	// of the unit is stored; load and try again.
	ErrConflict = errors.New("case was changed meanwhile")
	// ErrBudget: a reservation did not fit. Nothing of the unit is stored.
	ErrBudget = errors.New("budget is used up")
	// ErrStale: the effect lease of the unit is no longer held. Nothing of the
	// unit is stored.
	ErrStale = errors.New("effect lease was lost")
	// ErrPaused: the kill switch covers the intent. Nothing is stored.
	ErrPaused = errors.New("paused by the kill switch")
	// ErrNotFound: no such case.
	ErrNotFound = errors.New("not found")
	// ErrPruned: it was there, and retention let it go.
	ErrPruned = errors.New("is not kept any more")
	// ErrFull: no room to store; nothing was stored.
	ErrFull = errors.New("storage is full")
	// ErrUnavailable: the database can't be reached. Nothing was stored, unless it
	// is ErrUnsure; try again later.
	ErrUnavailable = errors.New("the database does not answer")
	// ErrUnsure: the database went away in mid-commit. It is ErrUnavailable too;
	// what was stored is found by its keys when the same is tried again.
	ErrUnsure = fmt.Errorf("%w, and it is not known whether the last commit was stored", ErrUnavailable)
)

// Unit is all steps of one case in one commit: it is stored whole or not at
// all, whatever happens to the other units of the commit.
type Unit struct {
	// Together names the units of a commit that share their fate: they are stored
	// one after the other, all or none; then each has the error of the one that
	// failed. "" for a unit of its own.
	Together string
	// Before is the version loaded; 0 opens a new case.
	Before uint64
	// Case is the state after Events; Case.Version == Before + len(Events).
	Case   remedy.Case
	Events []remedy.Event
	// AddKey binds (tenant, key version, key) to the case; unique among open
	// cases. DropKey unbinds.
	AddKey, DropKey []CaseKey
	// Beside, if not nil, is how many other cases the keys of AddKey led to when
	// the case was placed; ErrConflict if that changed: what was opened and set
	// aside meanwhile has to be joined.
	Beside *int
	// Findings are stored whole (insert or replace by tenant and uid), bound to
	// the case.
	Findings []finding.Finding
	// Was are the cases, by index of Findings, that had them when they were
	// placed, "" or missing for none. ErrConflict if one is with a third case by
	// now: it would be in two.
	Was []string
	// MoveFindings are uids of stored findings that are bound to the case from now
	// on, as they are; ErrConflict if one is unknown.
	MoveFindings []string
	// AddEffects become due at once or at their NotBefore; DropEffects are no
	// longer called for.
	AddEffects  []EffectRow
	DropEffects []string
	// Done is the lease of the effect whose outcome this unit is; its row is
	// removed in the same transaction. ErrStale if another epoch holds it.
	Done *Lease
	// Hold keeps Done's row instead of removing it: the lease is only checked
	// (an intent; the effect goes on).
	Hold bool
	// Reserve is taken from budgets conditionally in the same transaction.
	Reserve []Reservation
	// PauseScopes are checked against the kill switch in the transaction.
	PauseScopes []string
	// Raws are the raw records behind Findings that are kept, by their hash.
	Raws []Raw
	// Facts is the snapshot of facts behind the judgement, by content address.
	Facts map[string][]byte
	// Notes are free text of people, by their salted hash.
	Notes []NoteText
	// WakeAt is remedy.WakeAt of Case, zero for never (settled).
	WakeAt time.Time
}

// CaseKey is a row of the table from exposure keys to cases.
type CaseKey struct {
	Tenant  string
	Version int
	Key     string
}

// CaseRef is what a key leads to.
type CaseRef struct {
	ID       string
	Open     bool
	ClosedAt time.Time
	// How the newest episode closed, "" while open.
	How remedy.How
}

// Raw is one record as a source sent it, kept as evidence: redacted, then
// compressed and sealed.
type Raw struct {
	// UID of the finding that was read from it.
	UID string
	// Hash is the SHA-256 of the redacted record, in lower-case hex.
	Hash string
	// Size of the redacted record in bytes.
	Size int
	Body []byte
}

// Sighting is a repeat that changes nothing: a counter outside the case.
type Sighting struct {
	Tenant, UID string
	At          time.Time
	// Count of repeats folded into this row.
	Count int
}

// Known is what the store knows of a finding uid.
type Known struct {
	CaseID string
	Digest string
	// Quiet is remedy.Case.Quiet of the case: a repeat with an equal digest is
	// a sighting.
	Quiet bool
}

// Repeats reports whether a finding that its source calls open and that has this
// decision digest is a sighting (correlate.Repeat).
func (k Known) Repeats(digest string) bool { return k.CaseID != "" && k.Quiet && k.Digest == digest }

// Repeat is what tells a repeat: the identity of a finding that its source calls
// open, and its decision digest.
type Repeat struct{ UID, Digest string }

// EffectReminder is the kind of an effect that belongs to no case: it tells a
// person of bodies in quarantine. Its Action is the source, its CaseID stands
// for the quarantine of that source.
const EffectReminder remedy.EffectKind = "reminder"

// EffectRow is one effect that waits to be done.
type EffectRow struct {
	ID     string
	CaseID string
	Tenant string
	Effect remedy.Effect
	// Object is the outside object acted on: at most one effect in flight each.
	Object string
	// NotBefore is the earliest start, zero for now.
	NotBefore time.Time
	// Door is the connector, route or system it leads to, by its name in the
	// configuration; "" for none. Queues are counted by it.
	Door string
	// Trace is the trace context (W3C traceparent) of what called for it, "" for
	// none.
	Trace string
}

// Lease is the right to do one effect until Until. Epoch grows at every claim;
// an outcome with an older one is stale.
type Lease struct {
	Row     EffectRow
	Epoch   uint64
	Attempt int
	Until   time.Time
	// Case is the case as the commit left it that leased the effect; nil if it has
	// to be read.
	Case *remedy.Case
}

// Reservation takes N from the budget Key if no more than Limit are taken in
// the window that starts at From (UTC).
type Reservation struct {
	Key   string
	N     int
	Limit int
	From  time.Time
	At    time.Time
}

// NoteText is free text of a person, erasable, referred to by Hash.
type NoteText struct {
	Hash remedy.Note
	Salt string
	Text string
}
