package finding

import (
	"fmt"
	"strings"
)

// Severity is the normalized severity, ordered from Info to Critical.
type Severity uint8

// The five severities. SeverityUnknown is what a source that does not say gets.
const (
	SeverityUnknown Severity = iota
	SeverityInfo
	SeverityLow
	SeverityMedium
	SeverityHigh
	SeverityCritical
)

const severityWords = "unknown info low medium high critical"

// String returns info, low, medium, high, critical or unknown.
func (s Severity) String() string { return wordAt(severityWords, int(s)) }

// MarshalText writes the word.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a word that ParseSeverity knows; other words are errors.
func (s *Severity) UnmarshalText(b []byte) error {
	v, ok := ParseSeverity(string(b))
	if !ok && string(b) != "" && string(b) != "unknown" {
		return fmt.Errorf("severity %q: want critical, high, medium, low or info", b)
	}
	*s = v
	return nil
}

// ParseSeverity reads the words that tools use for severities, in any case.
// ok is false when the word is not known.
func ParseSeverity(word string) (Severity, bool) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "critical", "crit", "fatal", "emergency", "very high", "blocker", "severe", "p1":
		return SeverityCritical, true
	case "high", "important", "error", "major", "serious", "alert", "p2":
		return SeverityHigh, true
	case "medium", "moderate", "warning", "warn", "average", "p3":
		return SeverityMedium, true
	case "low", "minor", "note", "notice", "negligible", "p4":
		return SeverityLow, true
	case "info", "informational", "information", "none", "debug", "p5":
		return SeverityInfo, true
	}
	return SeverityUnknown, false
}

// SeverityOfCVSS maps a CVSS v3/v4 base score (0.0..10.0) to a severity by the
// qualitative rating scale of the CVSS specification, section 5.
func SeverityOfCVSS(score float64) Severity {
	switch {
	case score >= 9.0:
		return SeverityCritical
	case score >= 7.0:
		return SeverityHigh
	case score >= 4.0:
		return SeverityMedium
	case score > 0:
		return SeverityLow
	}
	return SeverityInfo
}

// Tri is a yes/no fact that may be unknown. Unknown is the zero value; it
// never relaxes a deadline and never permits an enforcement (law 5).
type Tri uint8

// The three values.
const (
	Unknown Tri = iota
	No
	Yes
)

const triWords = "unknown no yes"

// TriOf turns a known boolean into Yes or No.
func TriOf(b bool) Tri {
	if b {
		return Yes
	}
	return No
}

// String returns unknown, no or yes.
func (t Tri) String() string { return wordAt(triWords, int(t)) }

// MarshalText writes the word.
func (t Tri) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads yes/no/unknown, true/false and 1/0.
func (t *Tri) UnmarshalText(b []byte) error {
	switch strings.ToLower(string(b)) {
	case "yes", "true", "1":
		*t = Yes
	case "no", "false", "0":
		*t = No
	case "", "unknown":
		*t = Unknown
	default:
		return fmt.Errorf("value %q: want yes, no or unknown", b)
	}
	return nil
}

// Status is what the source says of a finding.
type Status string

// The statuses. The empty status counts as StatusOpen.
const (
	StatusOpen      Status = "open"
	StatusFixed     Status = "fixed"
	StatusDismissed Status = "dismissed"
)

// Domain is a policy domain: the categories the inventory is cut by.
type Domain string

// The domains.
const (
	DomainIdentity Domain = "identity"
	DomainEndpoint Domain = "endpoint"
	DomainCloud    Domain = "cloud"
	DomainPipeline Domain = "pipeline"
	DomainSaaS     Domain = "saas"
	DomainRuntime  Domain = "runtime"
)

// Domains lists the domains in the order the inventory shows them.
func Domains() []Domain {
	return []Domain{DomainIdentity, DomainEndpoint, DomainCloud, DomainPipeline, DomainSaaS, DomainRuntime}
}

// wordAt returns the i-th word of a space-separated list, or "unknown".
func wordAt(words string, i int) string {
	for _, w := range strings.Fields(words) {
		if i == 0 {
			return w
		}
		i--
	}
	return "unknown"
}
