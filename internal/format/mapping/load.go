package mapping

import (
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/format"
)

// Limits of a mapping file.
const (
	maxFile   = 1 << 20
	maxErrors = 50
)

// Error is one thing wrong with a mapping file.
type Error struct {
	// File, Line and Column say where; line and column count from 1.
	File         string
	Line, Column int
	Message      string
}

// Error renders file:line:column: message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors are all things wrong with a mapping file, in the file's order.
type Errors []*Error

// Error renders one error per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, x := range e {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

// Load makes a reader of a mapping file. file is its name, for messages. The
// error is Errors: everything that is wrong, each with its place.
func Load(file string, data []byte) (*Reader, error) {
	l := loader{file: file, tables: map[string]*yaml.Node{}, targets: targets()}
	if len(data) > maxFile {
		return nil, Errors{{file, 1, 1, "the file is larger than 1 MiB; a mapping file is a page or two"}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		line, column := placeOf(err.Error())
		return nil, Errors{{file, line, column, "not valid YAML: " + strings.ReplaceAll(err.Error(), "\n", " ")}}
	}
	if len(doc.Content) == 0 {
		return nil, Errors{{file, 1, 1, "the file is empty; it needs format, records and fields"}}
	}
	r := l.document(doc.Content[0])
	if len(l.errs) > 0 {
		sort.SliceStable(l.errs, func(i, j int) bool {
			a, b := l.errs[i], l.errs[j]
			return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
		})
		return nil, l.errs
	}
	return r, nil
}

// placeOf finds "line N" and "column N" in the YAML parser's message.
func placeOf(message string) (line, column int) {
	line, column = 1, 1
	for word, p := range map[string]*int{"line ": &line, "column ": &column} {
		if _, rest, ok := strings.Cut(message, word); ok {
			n := 0
			for _, c := range rest {
				if c < '0' || c > '9' || n > 1e6 {
					break
				}
				n = n*10 + int(c-'0')
			}
			*p = max(1, n)
		}
	}
	return line, column
}

type loader struct {
	file   string
	errs   Errors
	tables map[string]*yaml.Node
	// targets are all fields there are: targets(), made once.
	targets []target
}

func (l *loader) fail(n *yaml.Node, message string, args ...any) {
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, &Error{l.file, max(1, n.Line), max(1, n.Column), fmt.Sprintf(message, args...)})
	}
}

// pair is a key of an object with its value.
type pair struct{ key, value *yaml.Node }

// object returns the pairs of a mapping node after checking that keys are
// allowed (nil: any) and unique, and that nothing is an alias.
func (l *loader) object(n *yaml.Node, what string, allowed []string) []pair {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		l.fail(n, "%s: anchors and aliases are not used in mapping files; write the value out", what)
		return nil
	}
	if n.Kind != yaml.MappingNode {
		l.fail(n, "%s: want an object with keys%s", what, orKeys(allowed))
		return nil
	}
	var out []pair
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			l.fail(k, "%s: want text as key", what)
			continue
		case seen[k.Value]:
			l.fail(k, "%s: %q is there twice", what, k.Value)
			continue
		case allowed != nil && !slices.Contains(allowed, k.Value):
			l.fail(k, "%s: key %q is not known%s%s", what, k.Value, format.DidYouMean(k.Value, allowed), orKeys(allowed))
			continue
		}
		seen[k.Value] = true
		out = append(out, pair{k, v})
	}
	return out
}

func orKeys(allowed []string) string {
	if len(allowed) == 0 || len(allowed) > 14 {
		return ""
	}
	return " (keys: " + strings.Join(allowed, ", ") + ")"
}

// scalar returns a text.
func (l *loader) scalar(n *yaml.Node, what string) string {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		l.fail(n, "%s: anchors and aliases are not used in mapping files; write the value out", what)
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		l.fail(n, "%s: want text", what)
		return ""
	}
	return n.Value
}

// list returns the members of a list; one text counts as a list of one.
func (l *loader) list(n *yaml.Node, what string) []string {
	if n.Kind != yaml.SequenceNode {
		return []string{l.scalar(n, what)}
	}
	var out []string
	for _, x := range n.Content {
		out = append(out, l.scalar(x, what))
	}
	if len(out) == 0 {
		l.fail(n, "%s: the list is empty", what)
	}
	return out
}

func (l *loader) path(n *yaml.Node, what string) path {
	p, err := parsePath(l.scalar(n, what))
	if err != nil {
		l.fail(n, "%s: %v", what, err)
	}
	return p
}

func (l *loader) document(n *yaml.Node) *Reader {
	r := &Reader{}
	pairs := l.object(n, "mapping file", []string{"format", "version", "description", "input", "detect", "records", "constants", "fields", "required", "tables", "suppress"})
	has := map[string]*yaml.Node{}
	for _, p := range pairs {
		has[p.key.Value] = p.value
	}
	for _, need := range []string{"format", "fields"} {
		if has[need] == nil && n.Kind == yaml.MappingNode {
			l.fail(n, "%s: missing", need)
		}
	}
	if v := has["version"]; v != nil && l.scalar(v, "version") != "1" {
		l.fail(v, "version: %q: this program reads version 1", v.Value)
	}
	if v := has["format"]; v != nil {
		r.name = l.scalar(v, "format")
		if r.name != format.Slug(r.name) {
			l.fail(v, "format: %q: want lower-case letters, digits and single hyphens, e.g. acme-scanner", r.name)
		}
	}
	if v := has["tables"]; v != nil {
		for _, p := range l.object(v, "tables", nil) {
			l.table(p.value, "tables."+p.key.Value, target{})
			l.tables[p.key.Value] = p.value
		}
	}
	if v := has["input"]; v != nil {
		switch input := l.scalar(v, "input"); input {
		case "json":
		case "csv":
			r.table = true
		default:
			l.fail(v, "input: %q: want json or csv", input)
		}
	}
	if v := has["records"]; v != nil {
		if r.table {
			l.fail(v, "records: every row of a CSV file is a record; leave records out")
		}
		nodes := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode && len(v.Content) > 0 {
			nodes = v.Content
		}
		for _, n := range nodes {
			r.records = append(r.records, l.selector(n))
		}
	} else {
		r.records = []selector{{}}
	}
	if v := has["detect"]; v != nil {
		r.detect = l.conditions(v, "detect")
		for i := range r.detect {
			for _, p := range r.detect[i].paths {
				at := probePath(p)
				r.detect[i].probes = append(r.detect[i].probes, at, "[]."+at) // a list body has its records' keys under "[]"
			}
		}
	}
	if v := has["constants"]; v != nil {
		for _, p := range l.object(v, "constants", nil) {
			if t, ok := l.target(p.key); ok {
				c := l.scalar(p.value, t.name)
				l.checkWord(p.value, t, c)
				r.fields = append(r.fields, field{t, value{constant: c}})
			}
		}
	}
	if v := has["fields"]; v != nil {
		r.fields = append(r.fields, l.fields(v)...)
	}
	for _, f := range r.fields {
		if f.target.name == "native_id" || f.target.name == "rule" {
			r.names = append(r.names, f)
		}
	}
	if v := has["required"]; v != nil {
		r.required = l.required(v, r.fields)
	}
	if v := has["suppress"]; v != nil {
		r.suppress = l.suppressions(v)
	}
	if n.Kind == yaml.MappingNode {
		l.complete(r, n)
	}
	return r
}

// probePath writes a path as format.Probe does.
func probePath(p path) string {
	var b strings.Builder
	for _, st := range p.steps {
		if st.kind == 'k' {
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(st.key)
		} else {
			b.WriteString("[]")
		}
	}
	return b.String()
}

// required are names of mapped fields without which a record is refused.
func (l *loader) required(n *yaml.Node, fields []field) []string {
	names := l.list(n, "required")
	for _, name := range names {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.target.name == name }) {
			l.fail(n, "required: %q is not among fields", name)
		}
	}
	return names
}

// complete checks what every mapping needs to name.
func (l *loader) complete(r *Reader, n *yaml.Node) {
	set := map[string]bool{}
	for _, f := range r.fields {
		if set[f.target.name] {
			l.fail(n, "%s: set in constants and in fields; keep one", f.target.name)
		}
		set[f.target.name] = true
	}
	if len(l.errs) > 0 {
		return
	}
	if !set["title"] && !set["rule"] {
		l.fail(n, "fields: neither title nor rule is mapped; nothing would say what was found")
	}
	if !set["asset.uid"] && !set["location.repository"] && !set["location.file"] {
		l.fail(n, "fields: none of asset.uid, location.repository and location.file is mapped; nothing would say what is exposed")
	}
}

func (l *loader) selector(n *yaml.Node) selector {
	text := l.scalar(n, "records")
	s := text
	for _, p := range []string{"$", ".", "[*]", "."} { // a list body is taken apart anyway
		s = strings.TrimPrefix(s, p)
	}
	if s == "" {
		return selector{text: text}
	}
	p, err := parsePath(s)
	if err != nil {
		l.fail(n, "records: %v", err)
	} else if p.up != 0 {
		l.fail(n, "records: %q starts outside the document", text)
	}
	return selector{text: text, steps: p.steps}
}

// table reads a value table; keys are compared in lower case, "*" is the rest.
// Its values must be words of the target.
func (l *loader) table(n *yaml.Node, what string, t target) map[string]string {
	out := map[string]string{}
	for _, p := range l.object(n, what, nil) {
		k := strings.ToLower(p.key.Value)
		if _, ok := out[k]; ok {
			l.fail(p.key, "%s: %q is there twice (case does not matter)", what, p.key.Value)
		}
		out[k] = l.scalar(p.value, what+"."+p.key.Value)
		l.checkWord(p.value, t, out[k])
	}
	return out
}

func (l *loader) target(k *yaml.Node) (target, bool) {
	t, ok := targetOf(l.targets, k.Value)
	if !ok {
		l.fail(k, "field %q is not known%s", k.Value, format.DidYouMean(k.Value, targetNames(l.targets)))
	}
	return t, ok
}

// checkWord refuses a constant or table value that the field can't hold.
func (l *loader) checkWord(n *yaml.Node, t target, word string) {
	if t.words == nil || word == "" {
		return
	}
	if words := t.words(); !slices.Contains(words, word) {
		hint := format.DidYouMean(word, words)
		if hint == "" && len(words) < 10 {
			hint = "; want " + strings.Join(words, ", ")
		} else if hint == "" {
			hint = "; docs/mapping.md lists them"
		}
		l.fail(n, "%s: %q is no value of this field%s", t.name, word, hint)
	}
}

// MustLoadAll loads all mapping files of a folder that is part of the program,
// in name order. It panics when one does not load: the program is broken.
func MustLoadAll(files fs.FS, dir string) []format.Reader {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		panic("shipped mapping files: " + err.Error())
	}
	var out []format.Reader
	for _, e := range entries {
		data, err := fs.ReadFile(files, dir+"/"+e.Name())
		if err != nil {
			panic("shipped mapping files: " + err.Error())
		}
		r, err := Load(e.Name(), data)
		if err != nil {
			panic("shipped mapping files: " + err.Error())
		}
		out = append(out, r)
	}
	return out
}
