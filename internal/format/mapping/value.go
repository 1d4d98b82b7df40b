package mapping

import (
	"slices"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// value says how a field gets its texts: the first source that yields any
// (constant, template, paths in order), without those to be ignored, then
// split, table, conversion, extraction, default.
type value struct {
	constant string
	template []part
	paths    []path
	merge    bool // take the texts of all paths, not of the first that has any
	table    map[string]string
	hasTable bool
	extract  string
	convert  string
	split    string
	ignore   []string // lower case
	fallback string
}

// part is literal text or a path in a template.
type part struct {
	literal string
	path    *path
}

// eval returns the texts, none when there is nothing. bad names the path that
// holds something of the wrong type while no other path holds a text.
func (v value) eval(s scope) (texts []string, bad string) {
	out, bad := v.raw(s)
	if bad != "" {
		return nil, bad
	}
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
	if v.convert != "" {
		out = convert(v.convert, out)
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
		return []string{v.fallback}, ""
	}
	return out, ""
}

// conversions are the vocabularies a mapping can use by name.
func conversions() []string { return []string{"aws-type", "check-class", "check-public", "lower"} }

// convert brings texts from a vocabulary of many tools into ours; a text that
// has no counterpart is left out.
func convert(name string, texts []string) []string {
	var out []string
	for _, t := range texts {
		switch name {
		case "aws-type":
			t = format.AWSAssetType(t)
		case "check-class":
			t = string(format.CheckClass(t))
		case "check-public":
			if !format.CheckSaysPublic(t) {
				continue
			}
			t = "yes"
		case "lower":
			t = strings.ToLower(t)
		}
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

func (v value) raw(s scope) (out []string, bad string) {
	if v.constant != "" {
		return []string{v.constant}, ""
	}
	if len(v.template) > 0 {
		return v.fill(s)
	}
	for _, p := range v.paths {
		texts, wrong := p.texts(s)
		if bad == "" {
			bad = wrong
		}
		out = append(out, v.keep(texts)...)
		if len(out) > 0 && !v.merge {
			break
		}
	}
	if len(out) > 0 {
		bad = ""
	}
	return out, bad
}

// keep drops the texts that stand for nothing.
func (v value) keep(texts []string) []string {
	if len(v.ignore) == 0 {
		return texts
	}
	return slices.DeleteFunc(texts, func(t string) bool { return slices.Contains(v.ignore, strings.ToLower(t)) })
}

// fill returns the template with its paths filled in, nothing when one of them
// is empty or to be ignored: half a name is worse than none.
func (v value) fill(s scope) ([]string, string) {
	var b strings.Builder
	for _, p := range v.template {
		if p.path == nil {
			b.WriteString(p.literal)
			continue
		}
		t, bad := p.path.texts(s)
		if t = v.keep(t); len(t) == 0 || bad != "" {
			return nil, bad
		}
		b.WriteString(t[0])
	}
	return []string{b.String()}, ""
}

// condition is one test of a record, or of a probe when it detects.
type condition struct {
	paths    []path   // the condition holds when it does for one of them
	in       []string // lower case; any of these, nil means not asked
	contains string   // lower case
	exists   *bool
	probes   []string // the paths as format.Probe writes them, at the top and in a list
}

func (c condition) holds(s scope) bool {
	there := false
	for _, p := range c.paths {
		if c.exists != nil {
			values, _ := p.values(s)
			there = there || len(values) > 0
			continue
		}
		texts, _ := p.texts(s)
		if slices.ContainsFunc(texts, c.matches) {
			return true
		}
	}
	return c.exists != nil && there == *c.exists
}

func (c condition) holdsFor(p format.Probe) bool {
	for _, at := range c.probes {
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
