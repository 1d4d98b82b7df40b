package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
)

// Unmarshal is encoding/json's, with errors that name the field when one of
// the lenient types (String, Number, Strings, StringMap) refuses a value.
func Unmarshal(raw []byte, v any) error {
	err := json.Unmarshal(raw, v)
	var lenient *typeError
	if err != nil && errors.As(err, &lenient) {
		if field := badField(raw, reflect.TypeOf(v)); field != "" {
			return &typeError{lenient.want, lenient.got, field}
		}
	}
	return err
}

// badField finds the first field of raw that does not fit into t. It is only
// called when something does not.
func badField(raw []byte, t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return ""
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return ""
		}
		for i, x := range list {
			if json.Unmarshal(x, reflect.New(t.Elem()).Interface()) != nil {
				return join(strconv.Itoa(i), badField(x, t.Elem()))
			}
		}
	case reflect.Struct:
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return ""
		}
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" || f.Anonymous || !f.IsExported() {
				continue
			}
			name = First(name, f.Name)
			for k, x := range object {
				if strings.EqualFold(k, name) && json.Unmarshal(x, reflect.New(f.Type).Interface()) != nil {
					return join(k, badField(x, f.Type))
				}
			}
		}
	}
	return ""
}

func join(outer, inner string) string {
	if inner == "" {
		return outer
	}
	return outer + "." + inner
}

// Finish is how readers end: refusals get the line and column of their record,
// and a body of which every record was refused is an error, with the first
// reason. body is what the pointers of the notes point into.
func Finish(res Result, body []byte, opt Options) (Result, error) {
	if res.Refused == 0 {
		return res, nil
	}
	placeNotes(res.Refusals, trimBOM(body), opt)
	return res, res.Verdict()
}

// Verdict is the error of a body of which no record could be read; nil if one
// could, or there is none. It needs the counters and the first refusal.
func (r *Result) Verdict() error {
	if r.Refused == 0 || r.Refused < r.Read {
		return nil
	}
	n := r.Refusals[0]
	reason := "no record could be read"
	if r.Refused > 1 {
		reason = fmt.Sprintf("none of %d records could be read; the first", r.Refused)
	}
	return &Error{Format: r.Format, Where: n.Where, Reason: reason + ": " + n.Reason, Mend: "check that the file is in the format " + r.Format}
}

// placeNotes turns "file#/a/0" into "file:12:3 (/a/0)" for all notes, in one
// walk over the body.
func placeNotes(notes []Note, body []byte, opt Options) {
	root := &pointerNode{}
	head := Pointer(opt, "")
	for i := range notes {
		pointer, ok := strings.CutPrefix(notes[i].Where, head)
		if !ok {
			continue
		}
		n := root.at(pointer)
		n.notes = append(n.notes, i)
	}
	line, start, counted := 1, 0, 0 // the line of the last place, and where it begins
	l := locator{body: body, found: func(i, at int) {
		for k := bytes.IndexByte(body[counted:at], '\n'); k >= 0; k = bytes.IndexByte(body[counted:at], '\n') {
			line++
			counted += k + 1
			start = counted
		}
		column := 1 + len([]rune(string(body[start:at])))
		pointer := strings.TrimPrefix(notes[i].Where, head)
		notes[i].Where = fmt.Sprintf("%s:%d:%d", strings.TrimSuffix(head, "#"), line, column)
		if pointer != "" {
			notes[i].Where += " (" + pointer + ")"
		}
	}}
	l.value(l.space(0), root)
}

// pointerNode is a place in a document that notes point at or below.
type pointerNode struct {
	notes []int
	kids  map[string]*pointerNode
}

// at returns the node of a JSON pointer.
func (n *pointerNode) at(pointer string) *pointerNode {
	if pointer == "" {
		return n
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		n = n.child(strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~"))
	}
	return n
}

// inAnyCase returns the child of a name as encoding/json takes names, nil for
// none.
func (n *pointerNode) inAnyCase(name string) *pointerNode {
	for k, kid := range n.kids {
		if strings.EqualFold(k, name) {
			return kid
		}
	}
	return nil
}

func (n *pointerNode) child(name string) *pointerNode {
	if n.kids == nil {
		n.kids = map[string]*pointerNode{}
	}
	if n.kids[name] == nil {
		n.kids[name] = &pointerNode{}
	}
	return n.kids[name]
}

// locator walks valid JSON to the places of a tree; its nesting was bounded
// by Text. On anything else it stops, and the notes keep their pointers.
type locator struct {
	body []byte
	// found is told of the value of a note, in the order of the body; path leads
	// to it then, "[]" for the elements of lists.
	found func(note, at int)
	path  []string
}

func (l *locator) space(i int) int {
	for i < len(l.body) && (l.body[i] == ' ' || l.body[i] == '\n' || l.body[i] == '\t' || l.body[i] == '\r' || l.body[i] == ',' || l.body[i] == ':') {
		i++
	}
	return i
}

// value visits the value at i and returns the offset behind it.
func (l *locator) value(i int, n *pointerNode) int {
	if i >= len(l.body) {
		return i
	}
	if n == nil {
		return l.skip(i)
	}
	for _, note := range n.notes {
		l.found(note, i)
	}
	if len(n.kids) == 0 || l.body[i] != '{' && l.body[i] != '[' {
		return l.skip(i)
	}
	object := l.body[i] == '{'
	for at, j := 0, l.space(i+1); ; at++ {
		if j >= len(l.body) || l.body[j] == '}' || l.body[j] == ']' {
			return j + 1
		}
		name := strconv.Itoa(at)
		if object {
			end := stringEnd(l.body, j)
			name = decodeString(l.body[j:end])
			j = l.space(end)
		}
		kid := n.kids[name]
		if kid == nil && object {
			kid = n.inAnyCase(name)
		}
		if !object {
			name = "[]"
		}
		l.path = append(l.path, name)
		next := l.space(l.value(j, kid))
		l.path = l.path[:len(l.path)-1]
		if next <= j {
			return len(l.body)
		}
		j = next
	}
}

// Keys returns the names of a valid JSON object's members as they stand, ""
// for one that is written with escapes or beyond ASCII, or that is empty, and
// for a value that is no object.
func Keys(raw []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		l := locator{body: raw}
		i := l.space(0)
		if i >= len(raw) || raw[i] != '{' {
			yield("")
			return
		}
		for i = l.space(i + 1); i < len(raw) && raw[i] == '"'; {
			end := stringEnd(raw, i)
			key, ok := plainString(raw[i:end])
			if !ok || strings.IndexFunc(key, func(r rune) bool { return r > 0x7e }) >= 0 {
				key = ""
			}
			if !yield(key) {
				return
			}
			i = l.space(l.skip(l.space(end)))
		}
	}
}

// skip returns the offset behind the value at i.
func (l *locator) skip(i int) int {
	for depth := 0; i < len(l.body); {
		switch c := l.body[i]; c {
		case '"':
			i = stringEnd(l.body, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\n', '\t', '\r', ',', ':':
			i++
			continue
		default:
			for i < len(l.body) && !endsScalar(l.body[i]) {
				i++
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}
