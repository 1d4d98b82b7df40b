package simulation

import (
	"fmt"
	"slices"
	"strings"
)

// Shrink leaves out of a failing script what is not needed to break the same
// law, in at most so many lives, and returns what came of the shortest.
func Shrink(l Life, lives int) Result {
	best := Run(l)
	if best.Broken == nil {
		return best
	}
	fails := func(script []Op) bool {
		if lives--; lives < 0 {
			return false
		}
		next := l
		next.Script = script
		r := Run(next)
		if r.Broken == nil || r.Broken.Law != best.Broken.Law {
			return false
		}
		best = r
		return true
	}
	for size := len(best.Script) / 2; size > 0 && lives > 0; {
		removed := false
		for at := 0; at < len(best.Script) && lives > 0; {
			if fails(slices.Concat(best.Script[:at:at], best.Script[min(at+size, len(best.Script)):])) {
				removed = true
			} else {
				at += size
			}
		}
		if !removed || size > 1 {
			size /= 2
		}
	}
	l.Script, l.Log = best.Script, true
	return Run(l)
}

// Report is what a failing seed prints: the law, the operations that are
// needed, and the last lines of the life.
func Report(seed uint64, r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %v\n  what is needed (%d operations):\n", seed, r.Broken, len(r.Script))
	for _, op := range r.Script {
		fmt.Fprintf(&b, "    %s\n", op)
	}
	b.WriteString("  the last lines:\n")
	for _, line := range r.Lines[max(0, len(r.Lines)-30):] {
		fmt.Fprintf(&b, "    %.220s\n", line)
	}
	return b.String()
}
