// Package report turns cases into numbers: how long it takes to acknowledge,
// contain, remediate and verify, how much was exposed, which promises were kept.
//
// It is pure and renders nothing: cases in, values out. It may import the lower
// floors (no os, net, context, sync, log, rand, goroutines or time.Now).
// Invariants: what is still open counts everywhere (law 11); a time that too few
// have reached is "not reached", never extrapolated; only proof ends an
// exposure; the same cases give the same numbers in any order.
package report

import (
	"iter"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// Item is one episode of one case, as the numbers see it.
type Item struct {
	Case, Tenant string
	// Class is the risk class of the episode; 0 before its first judgement and
	// for an earlier episode known only by the case's state.
	Class deadline.RiskClass
	// Key is the kind of trouble: class of the weakness, owner and type of the
	// asset. The same Key at another Asset is a recurrence.
	Key   string
	Asset string
	remedy.Episode
	// Clocks are those of the episode; HasClocks is false where they are unknown.
	Clocks    deadline.Clocks
	HasClocks bool
	// Exception is the one in force, nil if none is.
	Exception *remedy.Exception
}

// kinds of exceptions with a meaning for numbers.
const falsePositive = "false-positive"

// Items returns the episodes of a case by its state. The clocks of episodes
// before the newest are not part of the state: see History.
func Items(c remedy.Case) []Item {
	var items []Item
	for i, ep := range c.Episodes {
		it := newItem(c, ep)
		if newest := i == len(c.Episodes)-1; newest {
			it.Class, it.Clocks, it.HasClocks = c.RiskClass(), c.Clocks(), c.Clocks() != (deadline.Clocks{})
			it.Exception = c.Exception
		}
		items = append(items, it)
	}
	return items
}

// History returns the episodes of a case by its events, with the clocks of each.
func History(events iter.Seq[remedy.Event]) []Item {
	var c remedy.Case
	type judged struct {
		class  deadline.RiskClass
		clocks deadline.Clocks
	}
	earlier := make(map[int]judged)
	for e := range events {
		if _, again := e.Body.(remedy.EpisodeStarted); again {
			earlier[c.Episode().N] = judged{c.RiskClass(), c.Clocks()}
		}
		c = remedy.Apply(c, e)
	}
	items := Items(c)
	for i := range items {
		if j, ok := earlier[items[i].N]; ok && i < len(items)-1 {
			items[i].Class, items[i].Clocks, items[i].HasClocks = j.class, j.clocks, j.clocks != (deadline.Clocks{})
		}
	}
	return items
}

func newItem(c remedy.Case, ep remedy.Episode) Item {
	what := string(c.Class)
	if what == "" && len(c.Members) > 0 {
		what = c.Members[0].Source + ":" + c.Members[0].Rule
	}
	return Item{Case: c.ID, Tenant: c.Tenant, Key: c.Tenant + "\x00" + what + "\x00" + c.Owner() + "\x00" + c.Asset.Type, Asset: c.Asset.UID, Episode: ep}
}

// proven tells whether the episode ended by proof up to an instant.
func (i Item) proven(at time.Time) bool {
	return (i.How == remedy.ClosedProven || i.How == remedy.ClosedGone) && happened(i.ClosedAt, at)
}

// open tells whether the episode had not ended at an instant.
func (i Item) open(at time.Time) bool { return !happened(i.ClosedAt, at) }

// dropped tells whether the episode does not count as an exposure: a rule or
// the source says that it is none, or another case carries it.
func (i Item) dropped(at time.Time) bool {
	if !i.open(at) {
		return i.How == remedy.ClosedSuppressed || i.How == remedy.ClosedMerged
	}
	return i.Exception != nil && i.Exception.Kind == falsePositive && !i.Exception.From.After(at)
}

// leftAt is the instant at which the episode leaves the count without proof: the
// start of an exception, an end without proof, or the end of the report.
func (i Item) leftAt(at time.Time) time.Time {
	end := at
	if !i.open(at) {
		end = i.ClosedAt
	}
	if i.accepted(at) && i.Exception.From.Before(end) {
		end = i.Exception.From
	}
	return end
}

// accepted tells whether an exception was in force at an instant.
func (i Item) accepted(at time.Time) bool {
	return i.Exception != nil && i.open(at) && !i.Exception.From.After(at) && i.Exception.Until.After(at)
}

// happened tells whether an instant is set and not after another.
func happened(t, at time.Time) bool { return !t.IsZero() && !t.After(at) }
