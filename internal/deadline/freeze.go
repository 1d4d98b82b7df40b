package deadline

import (
	"errors"
	"fmt"
	"time"
)

// Freeze is a span in which changes are forbidden in a scope.
type Freeze struct {
	// From is the first frozen instant, Until the first that no longer is. UTC.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Scope says what is frozen, in words the guardrails match, e.g. "*" or
	// "environment:production".
	Scope  string `json:"scope"`
	Reason string `json:"reason"`
}

// Active tells whether the freeze holds at an instant.
func (f Freeze) Active(at time.Time) bool { return !at.Before(f.From) && at.Before(f.Until) }

// Check reports everything that is missing or contradictory in a freeze. One
// without an end is refused: what it holds up would wait for ever.
func (f Freeze) Check() error {
	var errs []error
	if f.From.IsZero() || f.Until.IsZero() {
		errs = append(errs, errors.New("freeze needs both from and until"))
	} else if !f.Until.After(f.From) {
		errs = append(errs, fmt.Errorf("freeze ends at %s, not after it starts at %s", stamp(f.Until), stamp(f.From)))
	}
	if f.Scope == "" {
		errs = append(errs, errors.New(`freeze has no scope: write "*" for everything`))
	}
	if f.Reason == "" {
		errs = append(errs, errors.New("freeze has no reason: people who are stopped by it must see one"))
	}
	return errors.Join(errs...)
}

// ActiveAt returns the freezes that hold at an instant, in the given order.
func ActiveAt(freezes []Freeze, at time.Time) []Freeze {
	var active []Freeze
	for _, f := range freezes {
		if f.Active(at) {
			active = append(active, f)
		}
	}
	return active
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
