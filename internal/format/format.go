// Package format holds what all readers share: the reader interface, the
// result with its counters, and detection by content. Each sub-package reads
// one tool's or standard's bytes into findings.
//
// It is pure: it may import finding and the standard library (no os, net,
// context, sync, log, rand, goroutines or time.Now). Invariants: every record
// read is kept, suppressed or refused, and each counter is incremented where
// that happens (Read = Kept + Suppressed + Refused); a bad record is refused
// alone; no policy is applied; secret values are replaced by a keyed hash
// before a finding is built.
package format

import (
	"fmt"
	"time"

	"github.com/casement/casement/internal/finding"
)

// Options are what a reader needs beside the bytes.
type Options struct {
	// Tenant of the authenticated source; "" is finding.DefaultTenant.
	Tenant string
	// Now stands in for times the record does not state. UTC.
	Now time.Time
	// HashSecret returns the keyed hash that takes the place of a secret. It
	// must not be nil when the format can carry secrets; readers fall back to
	// dropping the secret when it is.
	HashSecret func(secret string) string
	// File is the name shown in refusals.
	File string
	// Asset is what was scanned, for formats that often do not say (SARIF without
	// version control provenance, Trivy over "."); the zero value is unknown.
	Asset finding.Asset
	// Line is set for a part of JSON lines: the line of the file, from 1, at which
	// the body begins.
	Line int
	// Event is the sender's event name where the format needs one, e.g. the
	// X-GitHub-Event header; "" makes the reader infer it from the content.
	Event string
}

// Result is what a reader makes of one body.
type Result struct {
	// Format is the name of the reader.
	Format string
	// Read counts the records seen, Kept the findings made of them, Suppressed
	// the records of which the source itself says "not a finding", Refused
	// those that could not be read.
	Read, Kept, Suppressed, Refused int

	Findings []finding.Finding
	// Places are where the records of Findings stand, by the same index, as in
	// Note: see Records.
	Places       []string
	Suppressions []Note
	Refusals     []Note
}

// Note says what happened to one record and why.
type Note struct {
	// Where is file:line:column, or a JSON pointer into the file.
	Where string `json:"where"`
	// Record names the record as far as it could be read (an id, a rule).
	Record string `json:"record,omitempty"`
	Reason string `json:"reason"`
}

// Keep counts the record as read and kept after normalizing it; a finding that
// can't be normalized is refused with the reason.
func (r *Result) Keep(f finding.Finding, where string) {
	n, err := finding.Normalize(f)
	if err != nil {
		r.Refuse(where, f.Rule, err.Error())
		return
	}
	r.Read++
	r.Kept++
	r.Findings = append(r.Findings, n)
	r.Places = append(r.Places, where)
}

// Suppress counts the record as read and suppressed by its source.
func (r *Result) Suppress(where, record, reason string) {
	r.Read++
	r.Suppressed++
	r.Suppressions = append(r.Suppressions, Note{where, record, reason})
}

// Refuse counts the record as read and refused.
func (r *Result) Refuse(where, record, reason string) {
	r.Read++
	r.Refused++
	r.Refusals = append(r.Refusals, Note{where, record, reason})
}

// Reader reads the bytes of one tool or standard.
type Reader interface {
	// Name is the stable name of the format, e.g. "sarif".
	Name() string
	// Detect reports how surely the body is in this format: 0 not at all, 100
	// by a mark that only this format has. It never reads all of a large body
	// twice: Probe holds what detection may look at.
	Detect(p Probe) int
	// Read reads the whole body. An error means that no record could be read
	// (*Error with the place); records that fail alone are in Result.Refusals.
	Read(body []byte, opt Options) (Result, error)
}

// Recorder is a reader that can read a large document in parts: see Pieces.
type Recorder interface {
	// Records are the places of all lists of records, as in Probe; nil when a
	// document has to be read whole.
	Records() []string
}

// Error is a body that can't be read at all: what, where and how to mend it.
type Error struct {
	Format string
	// Where is file:line:column as far as known.
	Where  string
	Reason string
	// Mend says what to do about it.
	Mend string
}

// Error renders place, reason and mend in one line.
func (e *Error) Error() string {
	s := e.Reason
	if e.Where != "" {
		s = e.Where + ": " + s
	}
	if e.Mend != "" {
		s = fmt.Sprintf("%s (%s)", s, e.Mend)
	}
	return s
}
