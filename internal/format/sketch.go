package format

import (
	"bytes"
	"encoding/json"
	"strings"
)

// maxSketchDepth is the deepest nesting a sketch is made of; deeper bodies are
// read whole.
const maxSketchDepth = 40

// Fleeting are the places of a format that can change neither a finding's
// identity, nor its exposure key, nor its decision digest: when it was last
// seen, counters, notes. The zero value has none.
type Fleeting struct {
	keys map[string]*Fleeting
	end  bool
}

// NewFleeting builds it from paths of keys joined by dots. Arrays are passed
// through: "detail.findings.UpdatedAt" is in every element of findings.
func NewFleeting(paths ...string) *Fleeting {
	root := &Fleeting{}
	for _, p := range paths {
		at := root
		for k := range strings.SplitSeq(p, ".") {
			if at.keys == nil {
				at.keys = map[string]*Fleeting{}
			}
			if at.keys[k] == nil {
				at.keys[k] = &Fleeting{}
			}
			at = at.keys[k]
		}
		at.end = true
	}
	return root
}

// Sketch is one JSON value of a body.
type Sketch struct {
	// Value is the value as it stands in the body.
	Value []byte
	// Lasting is the value without what is fleeting: two values of one format
	// with equal Lasting are the same finding with the same decision digest.
	Lasting []byte
}

// Sketches takes a body apart into its values: one object, the objects of a
// list, or one object per line. It returns false for a body that is not plainly
// one of these, or is broken: then it has to be read whole. It judges only what
// a value that was read before, with equal Lasting, does not answer for.
func Sketches(body []byte, fleeting *Fleeting) ([]Sketch, bool) {
	s := sketcher{body: body, buf: make([]byte, 0, len(body))}
	s.space()
	var out []Sketch
	if s.next() == '[' {
		s.at++
		for {
			s.space()
			if !s.one(fleeting, &out) {
				return nil, false
			}
			s.space()
			switch s.next() {
			case ',':
				s.at++
				continue
			case ']':
				s.at++
				if s.space(); s.at == len(body) {
					return out, true
				}
			}
			return nil, false
		}
	}
	for {
		begin := s.at
		if !s.one(fleeting, &out) {
			return nil, false
		}
		oneLine := bytes.IndexByte(body[begin:s.at], '\n') < 0
		end := s.at
		s.space()
		if s.at == len(body) && (len(out) == 1 || oneLine) {
			return out, true
		}
		if !oneLine || bytes.IndexByte(body[end:s.at], '\n') < 0 {
			return nil, false
		}
	}
}

type sketcher struct {
	body []byte
	at   int
	// buf collects Lasting; it never grows beyond the body's size.
	buf []byte
	// copied is the end of what was taken over into buf.
	copied int
}

// next is the next byte, 0 at the end.
func (s *sketcher) next() byte {
	if s.at < len(s.body) {
		return s.body[s.at]
	}
	return 0
}

func (s *sketcher) space() {
	for s.at < len(s.body) {
		switch s.body[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// one reads one object.
func (s *sketcher) one(fleeting *Fleeting, out *[]Sketch) bool {
	if s.next() != '{' {
		return false
	}
	begin, from := s.at, len(s.buf)
	s.copied = begin
	if !s.value(fleeting, 0) {
		return false
	}
	s.buf = append(s.buf, s.body[s.copied:s.at]...)
	*out = append(*out, Sketch{Value: s.body[begin:s.at], Lasting: s.buf[from:len(s.buf):len(s.buf)]})
	return true
}

// value passes over one value.
func (s *sketcher) value(f *Fleeting, depth int) bool {
	if depth > maxSketchDepth {
		return false
	}
	switch s.next() {
	case '"':
		_, ok := s.text()
		return ok
	case '{':
		return s.object(f, depth)
	case '[':
		s.at++
		s.space()
		for s.next() != ']' {
			if !s.value(f, depth+1) {
				return false
			}
			s.space()
			if s.next() == ',' {
				s.at++
				s.space()
			} else if s.next() != ']' {
				return false
			}
		}
		s.at++
		return true
	}
	begin := s.at
	for s.at < len(s.body) && scalarByte(s.body[s.at]) {
		s.at++
	}
	return s.at > begin
}

func scalarByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E'
}

func (s *sketcher) object(f *Fleeting, depth int) bool {
	s.at++
	s.space()
	for s.next() != '}' {
		key, ok := s.text()
		if !ok {
			return false
		}
		s.space()
		if s.next() != ':' {
			return false
		}
		s.at++
		s.space()
		var below *Fleeting
		if f != nil && f.keys != nil {
			below = f.keys[string(key)]
		}
		if below != nil && below.end {
			ok = s.skip(depth)
		} else {
			ok = s.value(below, depth+1)
		}
		if !ok {
			return false
		}
		s.space()
		if s.next() == ',' {
			s.at++
			s.space()
		} else if s.next() != '}' {
			return false
		}
	}
	s.at++
	return true
}

// skip passes over a fleeting value: its kind stays in the sketch, and it must
// be good JSON, because no earlier reading answers for it.
func (s *sketcher) skip(depth int) bool {
	s.buf = append(s.buf, s.body[s.copied:s.at]...)
	begin := s.at
	if !s.value(nil, depth+1) {
		return false
	}
	v := s.body[begin:s.at]
	s.copied = s.at
	s.buf = append(s.buf, v[0])
	if v[0] == '"' {
		return printable(v[1 : len(v)-1])
	}
	return json.Valid(v) && printable(bytes.ReplaceAll(v, []byte{'"'}, nil))
}

// printable: printable ASCII without a quote or an escape.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// text passes over a string and returns what is between its quotes.
func (s *sketcher) text() ([]byte, bool) {
	if s.next() != '"' {
		return nil, false
	}
	begin := s.at + 1
	for at := begin; ; at++ {
		i := bytes.IndexByte(s.body[at:], '"')
		if i < 0 {
			return nil, false
		}
		at += i
		escapes := 0
		for k := at - 1; k >= begin && s.body[k] == '\\'; k-- {
			escapes++
		}
		if escapes%2 == 0 {
			s.at = at + 1
			return s.body[begin:at], true
		}
	}
}
