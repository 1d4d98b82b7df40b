package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// Paused is the time in which SLA clocks stood still, in whole seconds. It is in
// no window and in no exposure: those count all the time there was.
type Paused struct {
	// Episodes whose clock stood still in the window.
	Episodes int     `json:"episodes"`
	Seconds  Seconds `json:"seconds"`
	// ByReason has the reasons that occur; an exception is one.
	ByReason map[remedy.PauseReason]Seconds `json:"by_reason,omitempty"`
}

// PausedCase is the paused time of one case, all its episodes together.
type PausedCase struct {
	Tenant string `json:"tenant"`
	Case   string `json:"case"`
	Paused
}

// paused is the time for which the clock of an episode stood still in the window.
func paused(it Item, o Options) Paused {
	var p Paused
	for i, still := range it.Still() {
		if s := seconds(deadline.Stood([]deadline.Still{still}, o.From, o.At)); s > 0 {
			p.add(Paused{Episodes: 1 - p.Episodes, Seconds: s, ByReason: map[remedy.PauseReason]Seconds{it.Pauses[i].Reason: s}})
		}
	}
	return p
}

func (p *Paused) add(o Paused) {
	p.Episodes += o.Episodes
	p.Seconds += o.Seconds
	for r, s := range o.ByReason {
		if p.ByReason == nil {
			p.ByReason = map[remedy.PauseReason]Seconds{}
		}
		p.ByReason[r] += s
	}
}

// pausedCases are the cases whose clock stood still, in order of their ids.
func pausedCases(items []Item, o Options) []PausedCase {
	var out []PausedCase
	at := map[[2]string]int{}
	for _, it := range items {
		p := paused(it, o)
		if p.Seconds == 0 || it.dropped(o.At) {
			continue
		}
		key := [2]string{it.Tenant, it.Case}
		i, ok := at[key]
		if !ok {
			i, at[key] = len(out), len(out)
			out = append(out, PausedCase{Tenant: it.Tenant, Case: it.Case})
		}
		out[i].add(p)
	}
	slices.SortFunc(out, func(a, b PausedCase) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Case, b.Case))
	})
	return out
}
