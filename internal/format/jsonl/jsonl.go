// Package jsonl reads and writes findings in Casement's own JSON: one object
// per line, a list, or a single object, each a full finding or the flat line
// that `casement parse` prints.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: what
// LineOf writes, Read reads back to the same finding; tenant and observed
// origins are never taken from a body; an object that names neither what was
// found nor where is refused with the missing field.
package jsonl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "jsonl"

// Line is a finding as one flat line of JSON: all fields of the finding, and
// at the top level the ones people and scripts look for first.
type Line struct {
	finding.Finding
	CVE       []string          `json:"cve"`
	CWE       []string          `json:"cwe"`
	File      string            `json:"file"`
	Line      int               `json:"line"`
	Component string            `json:"component"`
	Version   string            `json:"version"`
	Package   finding.Component `json:"package,omitzero"`
	// Class is repeated so that it is printed even when it is empty.
	Class finding.Class `json:"class"`
	Key   string        `json:"key"`
	// KeyParts shows what the key was made of.
	KeyParts finding.Key `json:"key_parts"`
}

// LineOf flattens a normalized finding.
func LineOf(f finding.Finding) Line {
	k := finding.ExposureKey(f)
	l := Line{Finding: f, CVE: f.Weakness.CVE, CWE: f.Weakness.CWE, File: f.Location.File, Line: f.Location.Line,
		Component: f.Component.Name, Version: f.Component.Version, Package: f.Component, Class: f.Class, Key: k.String(), KeyParts: k}
	if l.CVE == nil {
		l.CVE = []string{}
	}
	if l.CWE == nil {
		l.CWE = []string{}
	}
	return l
}

// Reader reads Casement's own JSON.
type Reader struct{}

// Name returns "jsonl".
func (Reader) Name() string { return Name }

// Records are the elements of a list.
func (Reader) Records() []string { return []string{"[]"} }

// Detect looks for asset and severity with a title or rule.
func (Reader) Detect(p format.Probe) int {
	for _, at := range []string{"", "[]."} {
		named := p.Has(at+"title") || p.Has(at+"rule")
		switch {
		case p.Has(at+"class_uid") || p.Has(at+"finding_info"):
			return 0 // OCSF
		case p.Has(at+"asset.uid") && p.Has(at+"severity") && named:
			return 92
		case named && p.Has(at+"severity") && (p.Has(at+"source") || p.Has(at+"uid")) && (p.Has(at+"file") || p.Has(at+"component") || p.Has(at+"location.repository")):
			return 60
		}
	}
	if p.Kind == '[' && !p.Lines && !p.Has("[]") {
		return 25 // an empty list: nothing found, whoever looked
	}
	return 0
}

// input is what is read: the union of the full and the flat form.
type input struct {
	finding.Finding
	CVE       format.Strings  `json:"cve"`
	CWE       format.Strings  `json:"cwe"`
	File      format.String   `json:"file"`
	Line      format.Number   `json:"line"`
	Component json.RawMessage `json:"component"`
	Version   format.String   `json:"version"`
	Package   json.RawMessage `json:"package"`
	Key       format.String   `json:"key"`
	FirstSeen format.String   `json:"first_seen"`
	LastSeen  format.String   `json:"last_seen"`
	Deadline  format.String   `json:"deadline"`
}

// Read reads all objects of a body.
func (Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: Name}
	values, err := format.Values(Name, body, opt)
	if err != nil {
		return res, err
	}
	for _, v := range values {
		if v.Err != "" {
			res.Refuse(v.Where, "", v.Err)
			continue
		}
		var in input
		if err := format.Unmarshal(v.Raw, &in); err != nil {
			res.Refuse(v.Where, in.Rule, format.Reason(err))
			continue
		}
		f, err := in.finding(opt)
		if err != nil {
			res.Refuse(v.Where, format.First(in.NativeID, in.UID, in.Rule), err.Error())
			continue
		}
		res.Keep(f, v.Where)
	}
	return format.Finish(res, body, opt)
}

// finding joins the two forms and checks what Go's types can't.
func (in *input) finding(opt format.Options) (finding.Finding, error) {
	f := in.Finding
	f.Tenant, f.Origins = opt.Tenant, nil
	if f.NativeID == "" && in.Key == "" {
		f.NativeID = f.UID // somebody's own id; a line with a key is ours, its uid is computed
	}
	f.Source = format.First(f.Source, Name)
	if len(in.Component) > 0 && in.Component[0] == '{' {
		if err := format.Unmarshal(in.Component, &f.Component); err != nil {
			return f, fmt.Errorf("component: %s", format.Reason(err))
		}
	} else if len(in.Component) > 0 {
		var name format.String
		if err := name.UnmarshalJSON(in.Component); err != nil {
			return f, fmt.Errorf("component: %w", err)
		}
		f.Component.Name = string(name)
	}
	if len(in.Package) > 0 {
		if err := format.Unmarshal(in.Package, &f.Component); err != nil {
			return f, fmt.Errorf("package: %s", format.Reason(err))
		}
	}
	f.Component.Version = format.First(f.Component.Version, string(in.Version))
	if len(f.Weakness.CVE) == 0 {
		f.Weakness.CVE = in.CVE
	}
	if len(f.Weakness.CWE) == 0 {
		f.Weakness.CWE = in.CWE
	}
	f.Location.File = format.First(f.Location.File, string(in.File))
	if f.Location.Line == 0 {
		f.Location.Line = in.Line.Int()
	}
	if err := in.times(&f); err != nil {
		return f, err
	}
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	return f, check(f)
}

func (in *input) times(f *finding.Finding) error {
	f.FirstSeen, f.LastSeen, f.Deadline = format.Time(string(in.FirstSeen)), format.Time(string(in.LastSeen)), format.Time(string(in.Deadline))
	if in.FirstSeen != "" && f.FirstSeen.IsZero() && !never(in.FirstSeen) {
		return fmt.Errorf("first_seen: %q is no time; want RFC 3339, e.g. 2026-01-31T09:00:00Z", string(in.FirstSeen))
	}
	if in.Deadline != "" && f.Deadline.IsZero() && !never(in.Deadline) {
		return fmt.Errorf("deadline: %q is no time; want RFC 3339, e.g. 2026-01-31T09:00:00Z", string(in.Deadline))
	}
	return nil
}

func never(s format.String) bool { return strings.HasPrefix(string(s), "0001-01-01") }

// check refuses values outside the schema, naming the field.
func check(f finding.Finding) error {
	switch {
	case f.Title == "" && f.Rule == "":
		return fmt.Errorf("title: missing, and so is rule; nothing says what was found (other JSON needs a mapping file)")
	case f.Class != "" && !finding.KnownClass(f.Class):
		return fmt.Errorf("class: %q is not known%s", f.Class, format.DidYouMean(string(f.Class), classNames()))
	case f.Status != "" && f.Status != finding.StatusOpen && f.Status != finding.StatusFixed && f.Status != finding.StatusDismissed:
		return fmt.Errorf("status: %q: want open, fixed or dismissed", f.Status)
	case f.Confidence < 0 || f.Confidence > 100:
		return fmt.Errorf("confidence: %d: want 0..100", f.Confidence)
	case f.Weakness.CVSS < 0 || f.Weakness.CVSS > 100:
		return fmt.Errorf("weakness.cvss: %d: want 0..100, the score times ten", f.Weakness.CVSS)
	}
	if f.Domain != "" {
		known := false
		for _, d := range finding.Domains() {
			known = known || d == f.Domain
		}
		if !known {
			return fmt.Errorf("domain: %q: want identity, endpoint, cloud, pipeline, saas or runtime", f.Domain)
		}
	}
	return nil
}

func classNames() []string {
	var out []string
	for _, c := range finding.Classes() {
		out = append(out, string(c.Class))
	}
	return out
}
