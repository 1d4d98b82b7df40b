package simulation

import (
	"fmt"
	"math/rand/v2"
)

// Op is one thing that happens: what, with which numbers, and how many turns
// what is under way gets afterwards, in an order drawn from Seed. Each draws by
// itself, so that leaving one out changes no other.
type Op struct {
	Kind    Kind
	A, B, C int
	Turns   int
	Seed    uint64
}

// String is the operation as a trace shows it.
func (o Op) String() string {
	return fmt.Sprintf("%-9s %3d %3d %3d, then %d turns", o.Kind, o.A, o.B, o.C, o.Turns)
}

// Kind says what happens.
type Kind string

// What happens in a life, and how often: A of 1000 operations each.
const (
	opDeliver  Kind = "deliver"  // a tool sends an alert, anew, again, or an older one late
	opWork     Kind = "work"     // a node claims effects and does them
	opSweep    Kind = "sweep"    // a node looks at the clocks
	opStep     Kind = "step"     // both, by the engine's own step
	opWait     Kind = "wait"     // time passes
	opQuiet    Kind = "quiet"    // all nodes work until nothing is left to do
	opApprove  Kind = "approve"  // somebody says yes to a plan, the newest or an old one
	opReject   Kind = "reject"   // somebody says no
	opPress    Kind = "press"    // the kill switch
	opRelease  Kind = "release"  // is released
	opDrift    Kind = "drift"    // somebody else changes a target
	opOwner    Kind = "owner"    // the owner mends it by hand
	opExpose   Kind = "expose"   // somebody exposes it again
	opGone     Kind = "gone"     // the target is deleted
	opAct      Kind = "act"      // the next act at a target goes wrong
	opUndo     Kind = "undofail" // the next undo goes wrong
	opProbe    Kind = "probe"    // a target's probe goes wrong, or right again
	opBreak    Kind = "break"    // a target's change breaks something
	opDeaf     Kind = "deaf"     // messages and tickets fail, or work again
	opCrash    Kind = "crash"    // a node dies and starts anew
	opStall    Kind = "stall"    // a node stands still
	opWake     Kind = "wake"     // and goes on, believing what it believed
	opCommit   Kind = "commit"   // the next commit of a node goes wrong
	opSkew     Kind = "skew"     // a node's clock jumps
	opRight    Kind = "right"    // somebody loses or gains the right to approve
	opPolicy   Kind = "policy"   // another policy, and all cases are judged anew
	opSuppress Kind = "suppress" // policy suppresses an exposure, or not any more
	opExcept   Kind = "except"   // an exception is granted
	opRevoke   Kind = "revoke"   // or ends
	opPeople   Kind = "people"   // somebody takes note, asks for a probe, an undo, a containment, claims, snoozes, pauses the clock, attests
)

// weights of the kinds, in a fixed order.
func weights() []struct {
	k Kind
	n int
} {
	return []struct {
		k Kind
		n int
	}{{opDeliver, 130}, {opWork, 190}, {opSweep, 50}, {opStep, 60}, {opWait, 110}, {opQuiet, 40}, {opApprove, 100}, {opReject, 6}, {opPress, 20},
		{opRelease, 26}, {opDrift, 24}, {opOwner, 8}, {opExpose, 8}, {opGone, 2}, {opAct, 30}, {opUndo, 8}, {opProbe, 30}, {opBreak, 10}, {opDeaf, 6},
		{opCrash, 30}, {opStall, 24}, {opWake, 30}, {opCommit, 40}, {opSkew, 12}, {opRight, 14}, {opPolicy, 14}, {opSuppress, 10}, {opExcept, 10},
		{opRevoke, 8}, {opPeople, 30}}
}

// ScriptOf is the script of a seed: 60 to 140 operations.
func ScriptOf(seed uint64) []Op {
	r := rand.New(rand.NewPCG(seed, 1))
	ws, total := weights(), 0
	for _, w := range ws {
		total += w.n
	}
	out := make([]Op, 0, 140)
	out = append(out, Op{Kind: opDeliver, A: r.IntN(12), Seed: r.Uint64(), Turns: 8})
	for range 60 + r.IntN(80) {
		x := r.IntN(total)
		for _, w := range ws {
			if x -= w.n; x < 0 {
				out = append(out, Op{Kind: w.k, A: r.IntN(1 << 16), B: r.IntN(1 << 16), C: r.IntN(1 << 16), Seed: r.Uint64(), Turns: r.IntN(14)})
				break
			}
		}
	}
	return out
}
