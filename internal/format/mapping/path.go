package mapping

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/casement/casement/internal/format"
)

// maxValues bounds what one path may yield in one record.
const maxValues = 1000

// path is a place in JSON: keys joined by ".", "[*]" for every element, "[2]"
// for one, ["a.b"] for a key with dots. "$." starts at the document, "^." at
// the object around the record's list, "^^." one further out. "@scanned" is
// what the source is said to scan, "@key" the key under which an object by name
// holds the record.
type path struct {
	text         string
	up           int // number of ^; -1 is $
	scanned, key bool
	steps        []step
}

type step struct {
	key   string
	index int
	kind  byte // 'k' key, 'i' index, '*' every element
}

func parsePath(text string) (path, error) {
	p := path{text: text, scanned: text == "@scanned", key: text == "@key"}
	if p.scanned || p.key {
		return p, nil
	}
	if strings.HasPrefix(text, "@") {
		return p, fmt.Errorf("path %q: want @key or @scanned", text)
	}
	s := text
	if rest, ok := strings.CutPrefix(s, "$"); ok {
		p.up, s = -1, strings.TrimPrefix(rest, ".")
	}
	for strings.HasPrefix(s, "^") {
		p.up++
		s = s[1:]
	}
	if p.up > 0 {
		s = strings.TrimPrefix(s, ".")
	}
	for s != "" {
		st, rest, err := parseStep(s)
		if err != nil {
			return p, fmt.Errorf("path %q: %w", text, err)
		}
		p.steps = append(p.steps, st)
		if rest != "" && rest[0] == '.' {
			if rest = rest[1:]; rest == "" {
				return p, fmt.Errorf("path %q: ends with a dot", text)
			}
		} else if rest != "" && rest[0] != '[' {
			return p, fmt.Errorf("path %q: want . or [ before %q", text, rest)
		}
		s = rest
	}
	if text == "" {
		return p, fmt.Errorf("path: empty; want a key such as severity or checks[*].id")
	}
	for _, st := range p.steps {
		if st.kind == '*' && p.up != 0 {
			return p, fmt.Errorf("path %q: [*] outside the record would be read anew for every record; name an element, e.g. [0], or make the list the records", text)
		}
	}
	return p, nil
}

func parseStep(s string) (step, string, error) {
	if s[0] != '[' {
		end := strings.IndexAny(s, ".[")
		if end < 0 {
			end = len(s)
		}
		if end == 0 {
			return step{}, "", fmt.Errorf("a key is empty before %q", s)
		}
		return step{key: s[:end], kind: 'k'}, s[end:], nil
	}
	if rest, ok := strings.CutPrefix(s, "[*]"); ok {
		return step{kind: '*'}, rest, nil
	}
	if rest, ok := strings.CutPrefix(s, `["`); ok {
		key, rest, ok := strings.Cut(rest, `"]`)
		if !ok {
			return step{}, "", fmt.Errorf(`[" without "]`)
		}
		return step{key: key, kind: 'k'}, rest, nil
	}
	num, rest, ok := strings.Cut(s[1:], "]")
	n, err := strconv.Atoi(num)
	if !ok || err != nil || n < 0 {
		return step{}, "", fmt.Errorf(`%q: want [*], [0] or ["key"]`, s)
	}
	return step{index: n, kind: 'i'}, rest, nil
}

// scope is what paths of one record can reach: the document, the objects
// around the record, the record.
type scope struct {
	doc     any
	around  []any // outermost first; the last is the record
	scanned string
	key     string // of the innermost object by name
}

func (s scope) record() any { return s.around[len(s.around)-1] }

// values returns what is at the path, lists flattened by [*]. bad says what
// stood in the way when something of the wrong type did.
func (p path) values(s scope) (list []any, bad string) {
	if p.scanned || p.key {
		word := s.scanned
		if p.key {
			word = s.key
		}
		if word == "" {
			return nil, ""
		}
		return []any{word}, ""
	}
	at := s.record()
	switch {
	case p.up < 0:
		at = s.doc
	case p.up > 0:
		i := len(s.around) - 1 - p.up
		if i < 0 {
			return nil, ""
		}
		at = s.around[i]
	}
	list = []any{at}
	for _, st := range p.steps {
		var next []any
		for _, v := range list {
			next, bad = st.take(next, v, bad)
			if len(next) > maxValues {
				next = next[:maxValues]
				break
			}
		}
		list = next
	}
	return list, bad
}

// take appends what the step finds in v to next.
func (st step) take(next []any, v any, bad string) ([]any, string) {
	switch x := v.(type) {
	case map[string]any:
		switch st.kind {
		case 'k':
			if y, ok := x[st.key]; ok && y != nil {
				next = append(next, y)
			}
			return next, bad
		case '*': // an object of records keyed by name
			return append(next, sortedValues(x)...), bad
		}
	case []any:
		switch {
		case st.kind == '*':
			return append(next, x...), bad
		case st.kind == 'i':
			if st.index < len(x) && x[st.index] != nil {
				next = append(next, x[st.index])
			}
			return next, bad
		}
	case nil:
		return next, bad
	case string:
		if x == "" { // how some tools write "no object"
			return next, bad
		}
	}
	if want := "a list"; bad == "" {
		if st.kind == 'k' {
			want = "an object"
		}
		bad = "want " + want + ", got " + kindName(v)
	}
	return next, bad
}

// texts returns the scalars at the path; a list of scalars counts as its
// members. bad is set when there is only something else.
func (p path) texts(s scope) (out []string, bad string) {
	values, bad := p.values(s)
	for _, v := range values {
		if l, ok := v.([]any); ok {
			for _, x := range l[:min(len(l), maxValues)] {
				out = appendText(out, x)
			}
			if len(l) > 0 && len(out) == 0 && bad == "" && !isScalar(l[0]) {
				bad = "want text, got a list of other things"
			}
			continue
		}
		if out = appendText(out, v); !isScalar(v) && bad == "" {
			bad = "want text, got " + kindName(v)
		}
	}
	if len(out) > 0 || bad == "" {
		return out, ""
	}
	return nil, p.text + ": " + bad
}

func isScalar(v any) bool {
	_, object := v.(map[string]any)
	_, list := v.([]any)
	return !object && !list
}

func appendText(out []string, v any) []string {
	switch x := v.(type) {
	case string:
		if t := strings.TrimSpace(x); t != "" {
			out = append(out, t)
		}
	case json.Number:
		out = append(out, x.String())
	case bool:
		out = append(out, strconv.FormatBool(x))
	}
	return out
}

// selector finds the records of a document.
type selector struct {
	text  string
	steps []step
}

// each calls do for every record and reports whether the selector's place is
// in the document, in some element of each list on the way; an empty list is there.
func (sel selector) each(doc any, where string, opt format.Options, do func(scope, string)) bool {
	s := scope{doc: doc, around: []any{doc}, scanned: format.Scanned(opt, "").UID}
	return sel.walk(s, doc, sel.steps, where, opt, do)
}

func (sel selector) walk(s scope, at any, steps []step, where string, opt format.Options, do func(scope, string)) bool {
	if list, ok := at.([]any); ok && len(steps) == 0 && len(sel.steps) > 0 {
		for i, y := range list { // "findings" says "findings[*]"
			sel.element(s, y, nil, format.Pointer(opt, where, i), opt, do)
		}
		return true
	}
	if len(steps) == 0 { // the selector names one object
		if len(sel.steps) > 0 {
			s.around = append(s.around[:len(s.around):len(s.around)], at)
		}
		do(s, where)
		return true
	}
	st := steps[0]
	switch x := at.(type) {
	case map[string]any:
		if st.kind == '*' {
			found := len(x) == 0
			for _, k := range sortedKeys(x) {
				s.key = k
				found = sel.element(s, x[k], steps[1:], format.Pointer(opt, where, k), opt, do) || found
			}
			return found
		}
		y, ok := x[st.key]
		if st.kind != 'k' || !ok {
			return false
		}
		if y == nil { // "findings": null is how some languages write an empty list
			return true
		}
		return sel.walk(s, y, steps[1:], format.Pointer(opt, where, st.key), opt, do)
	case []any:
		switch st.kind {
		case '*':
			found := len(x) == 0
			for i, y := range x {
				found = sel.element(s, y, steps[1:], format.Pointer(opt, where, i), opt, do) || found
			}
			return found
		case 'i':
			if st.index < len(x) {
				return sel.walk(s, x[st.index], steps[1:], format.Pointer(opt, where, st.index), opt, do)
			}
		}
	}
	return false
}

// element descends into one element of a list: it becomes reachable by ^.
func (sel selector) element(s scope, y any, rest []step, where string, opt format.Options, do func(scope, string)) bool {
	s.around = append(s.around[:len(s.around):len(s.around)], y)
	if len(rest) == 0 {
		do(s, where)
		return true
	}
	return sel.walk(s, y, rest, where, opt, do)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func sortedValues(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, k := range sortedKeys(m) {
		out = append(out, m[k])
	}
	return out
}
