package mapping

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// value says how a field gets its texts: the first source that yields any
// (constant, template, paths in order), then table, extraction, split, default.
type value struct {
	constant string
	template []part
	paths    []path
	merge    bool // take the texts of all paths, not of the first that has any
	table    map[string]string
	hasTable bool
	extract  string
	split    string
	fallback string
}

// part is literal text or a path in a template.
type part struct {
	literal string
	path    *path
}

// eval returns the texts, none when there is nothing.
func (v value) eval(s scope) []string {
	out := v.raw(s)
	if v.split != "" {
		var parts []string
		for _, t := range out {
			for _, x := range strings.Split(t, v.split) {
				if x = strings.TrimSpace(x); x != "" {
					parts = append(parts, x)
				}
			}
		}
		out = parts
	}
	if v.hasTable {
		var mapped []string
		for _, t := range out {
			if m, ok := v.table[strings.ToLower(t)]; ok {
				mapped = append(mapped, m)
			} else if m, ok := v.table["*"]; ok {
				mapped = append(mapped, m)
			}
		}
		out = mapped
	}
	switch v.extract {
	case "cve":
		out = format.CVEs(out...)
	case "cwe":
		out = format.CWEs(out...)
	case "advisory":
		out = format.Advisories(out...)
	}
	if len(out) == 0 && v.fallback != "" {
		return []string{v.fallback}
	}
	return out
}

func (v value) raw(s scope) []string {
	if v.constant != "" {
		return []string{v.constant}
	}
	if len(v.template) > 0 {
		return v.fill(s)
	}
	var out []string
	for _, p := range v.paths {
		out = append(out, p.texts(s)...)
		if len(out) > 0 && !v.merge {
			break
		}
	}
	return out
}

// fill returns the template with its paths filled in, nothing when one of them
// is empty: half a name is worse than none.
func (v value) fill(s scope) []string {
	var b strings.Builder
	for _, p := range v.template {
		if p.path == nil {
			b.WriteString(p.literal)
			continue
		}
		t := p.path.texts(s)
		if len(t) == 0 {
			return nil
		}
		b.WriteString(t[0])
	}
	return []string{b.String()}
}

// condition is one test of a record, or of a probe when it detects.
type condition struct {
	path     path
	in       []string // lower case; any of these, nil means not asked
	contains string   // lower case
	exists   *bool
	probe    string // the path as format.Probe writes it
}

func (c condition) holds(s scope) bool {
	texts := c.path.texts(s)
	if c.exists != nil {
		there := len(c.path.values(s)) > 0
		return there == *c.exists
	}
	for _, t := range texts {
		if c.matches(t) {
			return true
		}
	}
	return false
}

func (c condition) holdsFor(p format.Probe) bool {
	// A body that is a list has its records' keys under "[]".
	for _, at := range []string{c.probe, "[]." + c.probe} {
		if !p.Has(at) {
			continue
		}
		if c.exists != nil {
			return *c.exists
		}
		if c.matches(p.Value(at)) {
			return true
		}
	}
	return c.exists != nil && !*c.exists
}

func (c condition) matches(t string) bool {
	t = strings.ToLower(t)
	for _, x := range c.in {
		if t == x {
			return true
		}
	}
	return c.contains != "" && strings.Contains(t, c.contains)
}

// severityOf reads a word, or a CVSS score when it is a number with a point.
func severityOf(word string) finding.Severity {
	if s, ok := finding.ParseSeverity(word); ok {
		return s
	}
	var n format.Number
	if strings.Contains(word, ".") && n.UnmarshalJSON([]byte(word)) == nil && n > 0 && n <= 10 {
		return finding.SeverityOfCVSS(float64(n))
	}
	return finding.SeverityUnknown
}
