package policy

import (
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// GateAction is what the gate of a pipeline does with a finding.
type GateAction string

// The gate's actions.
const (
	GateBlock GateAction = "block"
	GateWarn  GateAction = "warn"
	GatePass  GateAction = "pass"
)

// Gate says whether a finding stops a build. An approved exception or a
// suppression lets it pass until its date; what could not be evaluated blocks;
// a rule's own word comes next; else the classes K1 to K3 block and the others
// warn.
func (p *Pack) Gate(d remedy.Decision) GateAction {
	switch {
	case d.Error != "":
		return GateBlock
	case d.Suppress:
		return GatePass
	}
	for _, r := range p.rules {
		if r.name == d.Rule && r.gate != "" {
			return r.gate
		}
	}
	if d.Class != 0 && d.Class > deadline.K3 {
		return GateWarn
	}
	return GateBlock
}
