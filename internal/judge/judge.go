// Package judge joins policy, ownership and calendars into one judgement of a
// finding. The engine, inventory, try, the gate and backtests all call it, so
// that what is promised on a file is what happens live.
//
// It is pure and may import policy, owner, deadline, remedy and finding.
// Invariants: every finding gets a judgement with a class, an owner and a fix
// deadline; the same inputs give the same one; a fault in policy or calendars
// makes a person decide and never loosens a clock.
package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// Judge holds what judges. The zero KEV knows nothing.
type Judge struct {
	Pack      *policy.Pack
	Directory *owner.Directory
	KEV       KEV
	// IgnoreModes judges as if every rule had mode enforce: for inventory and
	// try, which show what a pack would do once it is trusted.
	IgnoreModes bool
}

// KEV is a copy of CISA's list of known exploited vulnerabilities.
type KEV struct {
	// AsOf is the day of the copy, UTC; zero means that there is none.
	AsOf time.Time
	// CVE holds the listed ids, upper case.
	CVE map[string]bool
}

// Lists says whether one of the ids is listed: unknown without a copy or ids.
func (k KEV) Lists(cve []string) finding.Tri {
	if k.AsOf.IsZero() || len(cve) == 0 {
		return finding.Unknown
	}
	for _, id := range cve {
		if k.CVE[id] {
			return finding.Yes
		}
	}
	return finding.No
}

// Explanation says how a judgement came about.
type Explanation struct {
	Facts      policy.Facts     `json:"facts"`
	Trace      policy.Trace     `json:"trace"`
	Assignment owner.Assignment `json:"assignment"`
	// Snapshot is the canonical JSON of Facts; Judgement.Facts is its address.
	Snapshot []byte `json:"-"`
}

// Judge judges a finding at an instant. Owner facts and, where a copy of the
// list is there, the KEV fact are filled in here; the caller gives the rest of c.
func (j Judge) Judge(f finding.Finding, c policy.CaseFacts, at time.Time) (remedy.Judgement, Explanation) {
	at = at.UTC()
	a := owner.Resolve(j.Directory, owner.Question{Finding: f, At: at})
	c.OwnerKnown, c.Team = a.Known(), j.team(a)
	if c.KEV == finding.Unknown {
		c.KEV = j.KEV.Lists(f.Weakness.CVE)
	}
	facts := policy.FactsOf(f, c)
	facts.At = at
	d, trace := j.Pack.DecideWith(facts, policy.Options{IgnoreModes: j.IgnoreModes})
	start := c.Opened
	if start.IsZero() {
		start = at
	}
	clocks, err := j.Pack.Clocks(facts, d.Class, start)
	if err != nil {
		// A calendar without an answer: the built-in terms hold, and it shows.
		d.Error = joined(d.Error, "deadlines: "+err.Error())
		if clocks, err = deadline.DefaultSLA().Clocks(d.Class, start); err != nil {
			clocks = deadline.Clocks{Fix: start, WarnPercent: deadline.DefaultWarnPercent}
		}
	}
	if !f.Deadline.IsZero() {
		clocks = clocks.Tighten(deadline.Clocks{Fix: f.Deadline.UTC()})
	}
	snapshot := facts.Snapshot()
	sum := sha256.Sum256(snapshot)
	return remedy.Judgement{
		Decision: d, Routing: a.Routing(), Clocks: clocks, Ladder: j.Pack.Ladder(facts, d.Class), Facts: hex.EncodeToString(sum[:]),
		Versions: remedy.Versions{Policy: j.Pack.Version(), Authors: j.Pack.Authors(), Owners: j.Directory.Version(), TZ: deadline.ZoneVersion},
	}, Explanation{Facts: facts, Trace: trace, Assignment: a, Snapshot: snapshot}
}

// team is the team of the owner, "" when only the fallback answered.
func (j Judge) team(a owner.Assignment) string {
	if !a.Known() {
		return ""
	}
	if p, ok := j.Directory.Person(a.Owner); ok {
		return p.Team
	}
	return a.Owner
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
