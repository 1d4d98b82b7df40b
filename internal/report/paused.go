package report

import (
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
