package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Bounds of a policy directory; a file beyond them is refused.
const (
	maxFileSize = 1 << 20
	maxFiles    = 500
	maxNodes    = 100_000
	maxRules    = 2000
	maxIssues   = 500
)

// Scalars that remember their place, so that what is found wrong later can be
// shown where it stands.
type (
	text struct {
		s  string
		at pos
		// node is kept for conditions, whose own positions are relative to it.
		node *yaml.Node
	}
	// list accepts one word or a sequence of them.
	list []text
	// span is a duration in seconds: 90s, 15m, 4h, 3d.
	span struct {
		seconds int
		at      pos
		set     bool
	}
	// date is an instant, UTC: 2027-01-31 (the start of that day) or RFC 3339.
	date struct {
		t  time.Time
		at pos
	}
	number struct {
		n   int
		at  pos
		set bool
	}
	// place is filled with where its mapping starts.
	place struct{ at pos }
)

// unmarshaler is a type that reads itself and describes itself to the schema.
type unmarshaler interface {
	read(d *decoder, n *yaml.Node)
	schema() map[string]any
}

// decoder fills structs from nodes and reports every fault on the way. Known
// keys come from the field tags: yaml:"name", req:"1", enum:"a b".
type decoder struct {
	src   *source
	nodes int
}

// documents splits a file into the mapping nodes of its documents.
func (d *decoder) documents(data []byte) []*yaml.Node {
	if len(data) > maxFileSize {
		(pos{src: d.src}).failf("split it into several files", "file has %d bytes, more than %d", len(data), maxFileSize)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		(pos{src: d.src}).failf("", "cannot be read as YAML: %v", err)
		return nil
	}
	var out []*yaml.Node
	for {
		var doc yaml.Node
		err := loader.Load(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			d.syntax(err)
			return out
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
			continue
		}
		root := doc.Content[0]
		if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
			continue
		}
		if !d.plain(root, 0) {
			return out
		}
		out = append(out, root)
	}
}

// syntax records what the YAML reader could not read.
func (d *decoder) syntax(err error) {
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &many) && len(many.Errors) > 0:
		for _, e := range many.Errors {
			d.syntax(e)
		}
	case errors.As(err, &one):
		msg, mend, mark := one.Message, "", one.Mark
		if one.ContextMsg != "" {
			msg = one.ContextMsg + ": " + msg
		}
		if mark.Line > len(d.src.lines) || strings.TrimSpace(d.src.lines[max(mark.Line, 1)-1]) == "" {
			mark = one.ContextMark // the end of the file says nothing: show where it began
		} else if strings.HasPrefix(strings.TrimLeft(d.src.lines[max(mark.Line, 1)-1], " "), "\t") {
			mend = "indent with spaces, not tabs"
		}
		pos{d.src, mark.Line, mark.Column}.failf(mend, "not valid YAML: %s", msg)
	default:
		(pos{src: d.src}).failf("", "not valid YAML: %v", err)
	}
}

// plain refuses anchors and aliases: what a reviewer reads must be what is
// loaded, and an alias can multiply a small file without bound.
func (d *decoder) plain(n *yaml.Node, depth int) bool {
	d.nodes++
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.at(n).failf("write the value out", "anchors and aliases are not allowed in policy files")
		return false
	}
	if d.nodes > maxNodes || depth > 64 {
		d.at(n).failf("split it into several files", "file has more than %d values or nests deeper than 64", maxNodes)
		return false
	}
	for _, c := range n.Content {
		if !d.plain(c, depth+1) {
			return false
		}
	}
	return true
}

func (d *decoder) at(n *yaml.Node) pos { return pos{d.src, n.Line, n.Column} }

// into fills v (settable) from a node.
func (d *decoder) into(n *yaml.Node, v reflect.Value) {
	if u, ok := v.Addr().Interface().(unmarshaler); ok {
		u.read(d, n)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.at(n).failf("", "want a list, got %s", kindOf(n))
			return
		}
		for _, c := range n.Content {
			item := reflect.New(v.Type().Elem()).Elem()
			d.into(c, item)
			v.Set(reflect.Append(v, item))
		}
	case reflect.Map:
		d.table(n, v)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			d.at(n).failf("", "want true or false, got %s", kindOf(n))
			return
		}
		v.SetBool(b)
	case reflect.String:
		v.SetString(d.scalar(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.at(n).failf("", "want a number, got %s", kindOf(n))
			return
		}
		v.SetFloat(f)
	}
}

// mapping fills the fields of a struct; unknown, repeated and missing keys are
// faults.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.at(n).failf("", "want a mapping of fields, got %s", kindOf(n))
		return
	}
	fields, known := map[string]reflect.StructField{}, []string(nil)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Type == reflect.TypeFor[place]() {
			*v.Field(i).Addr().Interface().(*place) = place{d.at(n)}
			continue
		}
		fields[f.Tag.Get("yaml")] = f
		known = append(known, f.Tag.Get("yaml"))
	}
	sort.Strings(known)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		f, ok := fields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !ok:
			d.at(key).failf(didYouMean(key.Value, known), "unknown field %s", quote(key.Value))
		case seen[key.Value]:
			d.at(key).failf("keep one", "field %q is given twice", key.Value)
		case val.Kind == yaml.ScalarNode && val.Tag == "!!null":
			d.at(key).failf("give it a value or remove it", "field %q is empty", key.Value)
		default:
			field := v.FieldByIndex(f.Index)
			d.into(val, field)
			d.enum(val, f, field)
		}
		seen[key.Value] = true
	}
	for _, name := range known {
		if fields[name].Tag.Get("req") != "" && !seen[name] {
			d.at(n).failf("", "field %q is missing", name)
		}
	}
}

// enum checks the words of a field that has a closed set of them.
func (d *decoder) enum(n *yaml.Node, f reflect.StructField, v reflect.Value) {
	words := strings.Fields(f.Tag.Get("enum"))
	if len(words) == 0 {
		return
	}
	check := func(t text) {
		if t.at.src != nil && t.node.Kind == yaml.ScalarNode && !contains(words, t.s) {
			t.at.failf(didYouMean(t.s, words), "%s is not a value of %q", quote(t.s), f.Tag.Get("yaml"))
		}
	}
	switch x := v.Interface().(type) {
	case text:
		check(x)
	case list:
		for _, t := range x {
			check(t)
		}
	case []text:
		for _, t := range x {
			check(t)
		}
	}
}

// table fills a map from words to values.
func (d *decoder) table(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.at(n).failf("", "want a mapping, got %s", kindOf(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := reflect.ValueOf(d.scalar(n.Content[i]))
		if v.MapIndex(key).IsValid() {
			d.at(n.Content[i]).failf("keep one", "key %q is given twice", n.Content[i].Value)
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.into(n.Content[i+1], item)
		v.SetMapIndex(key, item)
	}
}

func (d *decoder) scalar(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		d.at(n).failf("", "want text, got %s", kindOf(n))
		return ""
	}
	return n.Value
}

func (t *text) read(d *decoder, n *yaml.Node) { *t = text{d.scalar(n), d.at(n), n} }
func (t *text) schema() map[string]any        { return map[string]any{"type": "string"} }

func (l *list) read(d *decoder, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			*l = append(*l, text{d.scalar(c), d.at(c), c})
		}
		return
	}
	*l = append(*l, text{d.scalar(n), d.at(n), n})
}

func (l *list) schema() map[string]any {
	word := map[string]any{"type": "string"}
	return map[string]any{"oneOf": []any{word, map[string]any{"type": "array", "items": word}}}
}

// words returns the plain strings.
func (l list) words() []string {
	var out []string
	for _, t := range l {
		out = append(out, t.s)
	}
	return out
}

func (s *span) read(d *decoder, n *yaml.Node) {
	s.at, s.set = d.at(n), true
	word := d.scalar(n)
	if days, ok := strings.CutSuffix(word, "d"); ok {
		if k, err := strconv.Atoi(days); err == nil && k >= 0 && k <= 3660 {
			s.seconds = k * 24 * 3600
			return
		}
	}
	v, err := time.ParseDuration(word)
	if err != nil || v < 0 || v%time.Second != 0 || v > 10*366*24*time.Hour {
		s.at.failf("write e.g. 30s, 15m, 4h or 3d", "%s is not a duration", quote(word))
		return
	}
	s.seconds = int(v / time.Second)
}

func (s *span) schema() map[string]any {
	return map[string]any{"type": "string", "pattern": `^([0-9]+d|([0-9]+h)?([0-9]+m)?([0-9]+s)?)$`, "description": "a duration such as 30s, 15m, 4h or 3d"}
}

func (t *date) read(d *decoder, n *yaml.Node) {
	t.at = d.at(n)
	word := d.scalar(n)
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if v, err := time.Parse(layout, word); err == nil {
			t.t = v.UTC()
			return
		}
	}
	t.at.failf("write e.g. 2027-01-31 or 2027-01-31T17:00:00Z", "%s is not a date", quote(word))
}

func (t *date) schema() map[string]any {
	return map[string]any{"type": "string", "description": "a date (its first instant, UTC) or an RFC 3339 instant"}
}

func (x *number) read(d *decoder, n *yaml.Node) {
	x.at, x.set = d.at(n), true
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < 0 || v > 1_000_000_000 {
		x.at.failf("", "want a whole number from 0 on, got %s", kindOf(n))
		return
	}
	x.n = v
}

func (x *number) schema() map[string]any { return map[string]any{"type": "integer", "minimum": 0} }

// kindOf names a node's kind and, for scalars, its value.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return quote(n.Value)
}

// quote quotes a word for a message, cut to a bearable length.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

func contains(words []string, w string) bool {
	for _, x := range words {
		if x == w {
			return true
		}
	}
	return false
}

// fill decodes a node into a struct that target points to.
func (d *decoder) fill(n *yaml.Node, target any) { d.into(n, reflect.ValueOf(target).Elem()) }
