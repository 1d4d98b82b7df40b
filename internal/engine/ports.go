// Package engine runs the loop: load a case, judge, handle, commit, do. It is
// driven by calls (Observe, Do, Sweep, Step), starts no goroutine and reads no
// clock: time is an argument, so that a simulation can drive it.
//
// It may import the lower floors and connector; it declares the stores it
// needs (this file) and never imports store. Invariants: nothing is told to a
// sender before it is committed; an intent is committed before the world is
// touched; a conflict is answered by loading and judging anew.
package engine

import (
	"context"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// The values that pass between engine and store.
type (
	Unit        = record.Unit
	CaseKey     = record.CaseKey
	CaseRef     = record.CaseRef
	Sighting    = record.Sighting
	Known       = record.Known
	Repeat      = record.Repeat
	EffectRow   = record.EffectRow
	Lease       = record.Lease
	Reservation = record.Reservation
	NoteText    = record.NoteText
	Raw         = record.Raw
)

// The errors of a store.
var (
	ErrConflict = record.ErrConflict
	ErrBudget   = record.ErrBudget
	ErrStale    = record.ErrStale
	ErrPaused   = record.ErrPaused
	ErrNotFound = record.ErrNotFound
	ErrFull     = record.ErrFull
	// ErrUnavailable and ErrUnsure are of a database that can't be reached.
	ErrUnavailable = record.ErrUnavailable
	ErrUnsure      = record.ErrUnsure
)

// Store keeps cases. All methods may be called concurrently.
type Store interface {
	// Load returns the case, or ErrNotFound.
	Load(ctx context.Context, id string) (remedy.Case, error)
	// Keys returns for each key the cases bound to it, newest first.
	Keys(ctx context.Context, keys []CaseKey) (map[CaseKey][]CaseRef, error)
	// Known returns what is known of finding uids of a tenant.
	Known(ctx context.Context, tenant string, uids []string) (map[string]Known, error)
	// Commit stores units and sightings; result i belongs to unit i: nil,
	// ErrConflict, ErrBudget, ErrStale, ErrPaused or another failure of that
	// unit alone. The second result is a failure of the whole commit: then
	// nothing is stored. Both come back only after the data is on disk.
	Commit(ctx context.Context, units []Unit, seen []Sighting) ([]error, error)
	// Sight counts, once each and seen at at, those of rs that are repeats when it
	// commits, and returns what was known of each of rs then.
	Sight(ctx context.Context, tenant string, rs []Repeat, at time.Time) ([]Known, error)
	// Due returns up to n case ids whose wake-up is at or before now.
	Due(ctx context.Context, now time.Time, n int) ([]string, error)
	// Finding returns the stored finding, or ErrNotFound.
	Finding(ctx context.Context, tenant, uid string) (finding.Finding, error)
	// Stumbled records that a due case could not be woken at now and puts its
	// wake-up off by record.NextTry: it returns until when, and whether the case
	// is a dead letter by now.
	Stumbled(ctx context.Context, caseID string, now time.Time, reason string) (at time.Time, dead bool, err error)
	// NextDue returns the earliest wake-up or effect start after now; zero for
	// none.
	NextDue(ctx context.Context, now time.Time) (time.Time, error)
}

// Effects hands out effects to runners.
type Effects interface {
	// Claim leases up to n due effects until now+lease, at most one per case
	// and per object in flight.
	Claim(ctx context.Context, now time.Time, lease time.Duration, n int) ([]Lease, error)
	// Extend prolongs a lease (heartbeat); ErrStale if it was lost.
	Extend(ctx context.Context, l Lease, until time.Time) error
	// Release gives an effect back to be tried again at at, with the reason.
	Release(ctx context.Context, l Lease, at time.Time, reason string) error
	// Postpone is Release for an effect that was not tried: it costs no try.
	Postpone(ctx context.Context, l Lease, at time.Time, reason string) error
	// Bury gives an effect back as a dead letter since now, to be tried again at
	// at.
	Bury(ctx context.Context, l Lease, now, at time.Time, reason string) error
}
