// Package correlate answers one question: which case does this finding speak
// of? It places a finding among what is known of its uid and its exposure key.
//
// It is pure and may import finding, remedy's words and the standard library.
// Invariants: different assets never meet, because the asset is part of the
// key; every placement says why; the same input gives the same placement. An
// open case of the key takes every finding; without one, a case that is set
// aside does, then the newest that was closed. A merged case takes none. What
// its source does not call open opens nothing, and is never a sighting.
package correlate

import (
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// ReopenWithin is how long after closing the same key is a new episode of the
// same case; later it is a new case with a link (design section 4).
const ReopenWithin = 30 * 24 * time.Hour

// Kind is what a finding is to the cases we have.
type Kind string

// The kinds of placement.
const (
	// Open: a new case.
	Open Kind = "open"
	// Join: another view of a case, or news of a member.
	Join Kind = "join"
	// Sighting: a repeat that can change nothing; a counter.
	Sighting Kind = "sighting"
	// Recurrence: a new case, linked to a long closed one.
	Recurrence Kind = "recurrence"
	// Nothing: the source speaks of an exposure as gone that we never had.
	Nothing Kind = "nothing"
)

// Placement is the answer, with the reason in words.
type Placement struct {
	Kind   Kind
	CaseID string
	Why    string
}

// Candidate is a case that the key leads to.
type Candidate struct {
	ID       string
	Open     bool
	ClosedAt time.Time
	How      remedy.How
}

// Known is what is known of the finding's uid; the zero value for a new one.
type Known struct {
	CaseID string
	Digest string
	// Quiet is remedy.Case.Quiet of its case.
	Quiet bool
}

// Repeat says whether a finding that its source calls open is a repeat that can
// change nothing, by its decision digest alone.
func Repeat(digest string, known Known) (Placement, bool) {
	if known.CaseID == "" || !known.Quiet || known.Digest != digest {
		return Placement{}, false
	}
	return Placement{Sighting, known.CaseID, "the same finding again, nothing new in it"}, true
}

// Place says which case f belongs to. digest is finding.DecisionDigest(f);
// candidates are the cases of f's exposure key, newest first; at is now, UTC.
func Place(f finding.Finding, digest string, known Known, candidates []Candidate, at time.Time) Placement {
	if f.Status == finding.StatusOpen {
		if p, ok := Repeat(digest, known); ok {
			return p
		}
	}
	for _, c := range candidates {
		if c.Open {
			why := "same exposure key"
			if known.CaseID == c.ID {
				why = "news of a known finding"
			}
			return Placement{Join, c.ID, why}
		}
	}
	last := -1 // the newest that can go on; one that is set aside before all others
	for i, c := range candidates {
		if c.How != remedy.ClosedMerged && (last < 0 || setAside(c.How) && !setAside(candidates[last].How)) {
			last = i
		}
	}
	switch {
	case last >= 0:
		c := candidates[last]
		if f.Status != finding.StatusOpen || at.Sub(c.ClosedAt) <= ReopenWithin || setAside(c.How) {
			return Placement{Join, c.ID, "same exposure key, closed " + c.ClosedAt.Format(time.DateOnly)}
		}
		return Placement{Recurrence, c.ID, "same exposure key, closed more than 30 days ago"}
	case f.Status != finding.StatusOpen:
		return Placement{Nothing, "", "the source says " + string(f.Status) + " of an exposure we never saw open"}
	}
	return Placement{Open, "", "first finding of this exposure"}
}

// setAside: the case comes back by itself at a date, whatever happens meanwhile,
// so that no other may be opened for the exposure.
func setAside(how remedy.How) bool {
	return how == remedy.ClosedSuppressed || how == remedy.ClosedAttested
}
