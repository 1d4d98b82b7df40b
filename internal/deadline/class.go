// Package deadline is calendars, SLA arithmetic and freezes: which instant a
// duty is due, and whether an instant lies in a window.
//
// It is pure: it may import only the standard library (no os, net, context,
// sync, log, rand, goroutines or time.Now); zones come from the embedded tz
// database. Invariants: deadlines are UTC instants; containment and K1 run
// around the clock, only human-effort duties may use business time; exposure
// never pauses.
package deadline

import (
	"fmt"
	"strings"
	"time"
)

// RiskClass sets the clocks of a case. K1 is the most urgent; the zero value
// is "not classified" and must never reach a case.
type RiskClass uint8

// The risk classes. Their default clocks follow the tiers of CISA BOD 26-04
// (3, 14 and 60 days, next upgrade).
const (
	K1 RiskClass = 1 + iota
	K2
	K3
	K4
	K5
)

// String returns K1 … K5, or K? for the zero value.
func (c RiskClass) String() string {
	if c < K1 || c > K5 {
		return "K?"
	}
	return string([]byte{'K', '0' + byte(c)})
}

// MarshalText writes K1 … K5.
func (c RiskClass) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads K1 … K5 in any case.
func (c *RiskClass) UnmarshalText(b []byte) error {
	v, err := ParseRiskClass(string(b))
	*c = v
	return err
}

// ParseRiskClass reads K1 … K5 in any case; "" and "K?" are the zero value.
func ParseRiskClass(s string) (RiskClass, error) {
	switch strings.ToUpper(s) {
	case "K1", "K2", "K3", "K4", "K5":
		return RiskClass(s[1] - '0'), nil
	case "", "K?":
		return 0, nil
	}
	return 0, fmt.Errorf("risk class %q: want K1, K2, K3, K4 or K5", s)
}

// Stricter returns the more urgent of two classes; an unset class yields.
func Stricter(a, b RiskClass) RiskClass {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// Clocks are the due instants of one episode, UTC. A zero instant means that
// the class has no such duty.
type Clocks struct {
	Ack     time.Time `json:"ack,omitzero"`
	Contain time.Time `json:"contain,omitzero"`
	Fix     time.Time `json:"fix,omitzero"`
	// WarnPercent is the share of the time to a deadline after which a warning
	// goes out (1..99).
	WarnPercent int `json:"warn_percent,omitempty"`
}

// Tighten returns for each duty the earlier of the two instants; a duty that
// only one side has is kept. Deadlines tighten by themselves and loosen only
// by approval.
func (c Clocks) Tighten(o Clocks) Clocks {
	return Clocks{earlier(c.Ack, o.Ack), earlier(c.Contain, o.Contain), earlier(c.Fix, o.Fix), max(c.WarnPercent, o.WarnPercent)}
}

// Due returns the instant of a duty by its name: ack, contain or fix; zero for
// another name.
func (c Clocks) Due(duty string) time.Time {
	switch duty {
	case "ack":
		return c.Ack
	case "contain":
		return c.Contain
	case "fix":
		return c.Fix
	}
	return time.Time{}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
