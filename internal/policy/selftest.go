package policy

import (
	"encoding"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/finding"
)

// test is one shipped or written policy test.
type test struct {
	name        string
	at          pos
	given, than Facts
	expect      rawExpect
}

// TestResult is the outcome of one policy test.
type TestResult struct {
	Name string `json:"name"`
	// Where is file:line.
	Where string `json:"where"`
	// Failures say what was expected and what came, empty when it passed.
	Failures []string `json:"failures,omitempty"`
	// Rule that decided.
	Rule string `json:"rule"`
}

// OK reports whether the test passed.
func (r TestResult) OK() bool { return len(r.Failures) == 0 }

// factField finds the field of Facts that a variable is given by.
func factField(f *Facts, name string) (reflect.Value, bool) {
	v := reflect.ValueOf(f).Elem()
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if tag == name && tag != "at" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// factFields lists what a test may give.
func factFields() []string {
	var out []string
	t := reflect.TypeFor[Facts]()
	for i := range t.NumField() {
		tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if tag != "at" {
			out = append(out, tag)
		}
	}
	sort.Strings(out)
	return out
}

// test compiles one policy test.
func (l *loader) test(raw rawTest) {
	key := "test " + raw.Name.s
	if at, ok := l.names[key]; ok {
		raw.Name.at.failf("rename one of them", "test %s is already at %s", quote(raw.Name.s), at)
	}
	l.names[key] = raw.Name.at
	t := test{name: raw.Name.s, at: raw.Place.at, expect: raw.Expect}
	t.given, t.than = l.facts(raw.Given), l.facts(raw.Than)
	at := raw.At.t
	if at.IsZero() {
		at = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	t.given.At, t.than.At = at, at
	names := append(l.pack.RuleNames(), FallbackRule)
	for _, e := range l.pack.exceptions {
		names = append(names, "exception:"+e.name)
	}
	l.known(raw.Expect.Rule, "rule", names)
	l.known(raw.Expect.Playbook, "playbook", keysOf(l.pack.playbooks))
	if (raw.Expect.Outranks.s != "") != (len(raw.Than) > 0) {
		raw.Place.at.failf("", "test %q: outranks and than belong together", t.name)
	}
	l.pack.tests = append(l.pack.tests, t)
}

// facts reads facts by variable name.
func (l *loader) facts(in map[string]rawValue) Facts {
	f := Facts{OwnerKnown: true, Confidence: HighConfidence, Members: 1}
	for _, name := range keysOf(in) {
		raw := in[name]
		field, ok := factField(&f, name)
		if !ok {
			raw.at.failf(didYouMean(name, factFields()), "there is no fact %s", quote(name))
			continue
		}
		field.SetZero()
		if err := setFact(field, name, raw.node); err != nil {
			raw.at.failf("", "fact %s: %v", name, err)
		}
	}
	if f.Domain == "" {
		if i, ok := finding.InfoOf(finding.Class(f.Class)); ok {
			f.Domain = string(i.Domain)
		}
	}
	for _, v := range l.pack.vars {
		if raw, given := in[v.Name]; given && v.Words != nil && v.Type == "string" {
			if w, _ := v.value(f).(string); !v.isWord(w) {
				raw.at.failf(v.wordsHint(w), "%s is never %s", v.Name, quote(w))
			}
		}
	}
	return f
}

// setFact decodes a node into one field. Severity is a word, cvss a score.
func setFact(v reflect.Value, name string, n *yaml.Node) error {
	if name == "cvss" {
		score, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || score < 0 || score > 10 {
			return fmt.Errorf("%s is not a score from 0.0 to 10.0", quote(n.Value))
		}
		v.SetInt(int64(score*10 + 0.5))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok && n.Kind == yaml.ScalarNode {
		return u.UnmarshalText([]byte(n.Value))
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		return fmt.Errorf("cannot be read from %s", kindOf(n))
	}
	return nil
}

// RunTests runs the policy tests of the pack, in order.
func RunTests(p *Pack) []TestResult {
	var out []TestResult
	for _, t := range p.tests {
		out = append(out, p.runTest(t))
	}
	return out
}

func (p *Pack) runTest(t test) TestResult {
	d, trace := p.Decide(t.given)
	r := TestResult{Name: t.name, Where: t.at.String(), Rule: d.Rule}
	check := func(what string, want text, got string) {
		if want.at.src != nil && want.s != got {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: want %s, got %s", what, want.s, got))
		}
	}
	e := t.expect
	check("path", e.Path, string(d.Path()))
	check("intended", e.Intended, string(d.Intended))
	check("class", e.Class, d.Class.String())
	check("rule", e.Rule, d.Rule)
	check("playbook", e.Playbook, d.Playbook)
	system := ""
	if len(d.Tickets) > 0 {
		system = d.Tickets[0].System
	}
	check("system", e.System, system)
	if e.Unknown != nil {
		if want, got := strings.Join(unique(e.Unknown.words()), ", "), strings.Join(d.Unknown, ", "); want != got {
			r.Failures = append(r.Failures, fmt.Sprintf("unknown: want [%s], got [%s]", want, got))
		}
	}
	if e.Outranks.s != "" {
		other, _ := p.Decide(t.than)
		if (d.Class < other.Class) != (e.Outranks.s == "yes") {
			r.Failures = append(r.Failures, fmt.Sprintf("outranks: want %s, but it is %s and the other %s", e.Outranks.s, d.Class, other.Class))
		}
	}
	if d.Error != "" && !r.OK() {
		r.Failures = append(r.Failures, "the policy could not be evaluated: "+d.Error)
	}
	if !r.OK() && len(trace.Class) > 0 {
		r.Failures = append(r.Failures, "class: "+strings.Join(trace.Class, "; "))
	}
	return r
}

// Untested lists the rules that no test of the pack is decided by.
func Untested(p *Pack) []string {
	hit := map[string]bool{}
	for _, r := range RunTests(p) {
		hit[r.Rule] = true
	}
	var out []string
	for _, r := range p.rules {
		if !hit[r.name] {
			out = append(out, r.name)
		}
	}
	return out
}
