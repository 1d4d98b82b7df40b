package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of objects and arrays a body may have. Real
// reports stay below 40; deeper ones are refused before any decoder sees them.
const MaxDepth = 200

// Bounds of what a Probe remembers, so that its size does not grow with the body.
const (
	probeDepth    = 6    // nesting levels whose keys are remembered
	probeElements = 4    // leading array elements and lines looked at
	probeKeys     = 4000 // keys in total
	probeText     = 200  // bytes of a scalar
)

// Probe is what detection may look at: which keys a JSON body has, and where.
// It is made in one pass and its size does not depend on the size of the body.
//
// Paths join keys with "."; "[]" stands for the leading elements of an array:
// "runs[].tool.driver.name", "[].AwsAccountId". A body of several JSON values
// (JSON lines) has the paths of its leading values.
type Probe struct {
	// Kind is '{' or '[' as the first value begins, 0 when it is neither.
	Kind byte
	// Lines is true when more than one JSON value follow each other.
	Lines bool
	// Table is true for CSV: its columns are "[].Column".
	Table bool
	// Event is Options.Event.
	Event string

	keys map[string]string
}

// NewProbe looks over a body. It never fails: what can't be read has no keys.
func NewProbe(body []byte, opt Options) Probe {
	body = trimBOM(body)
	lines := leadingLines(body)
	if lines != nil {
		body = lines
	}
	s := scanner{body: body, keys: map[string]string{}}
	if probeTable(bytes.TrimLeft(body[:min(len(body), 64<<10)], " \t\r\n"), s.keys) {
		return Probe{Table: true, Event: opt.Event, keys: s.keys}
	}
	if err := s.run(); err != nil && s.values == 0 && len(s.keys) == 0 {
		return Probe{Event: opt.Event}
	}
	return Probe{Kind: s.kind, Lines: s.values > 1 || lines != nil, Event: opt.Event, keys: s.keys}
}

// leadingLines returns the first good lines of JSON lines, so that a broken
// line does not hide what the others are; nil when the body is something else.
// In one indented document only one line begins with a brace.
func leadingLines(body []byte) []byte {
	if !bytes.Contains(body, []byte("\n{")) {
		return nil
	}
	var out []byte
	begun, good, seen, first := 0, 0, 0, false
	for line := range bytes.Lines(body) {
		if seen++; seen > 64 || good == probeElements {
			break
		}
		if line[0] != '{' {
			continue
		}
		begun++
		if line = bytes.TrimSpace(line); json.Valid(line) {
			good++
			first = first || begun == 1
			out = append(append(out, line...), '\n')
		}
	}
	if begun < 2 || !first && json.Valid(body) {
		return nil // one document, perhaps with line breaks but no indent
	}
	return out
}

// Has reports whether the path is there.
func (p Probe) Has(path string) bool {
	_, ok := p.keys[path]
	return ok
}

// HasAll reports whether all paths are there.
func (p Probe) HasAll(paths ...string) bool {
	for _, x := range paths {
		if !p.Has(x) {
			return false
		}
	}
	return true
}

// Value returns the first scalar seen at a path as text, "{" or "[" for an
// object or array, and "" when the path is not there.
func (p Probe) Value(path string) string { return p.keys[path] }

// Text checks what every reader needs of a body before decoding: not empty,
// UTF-8 (a leading byte order mark is dropped), no NUL, nesting within
// MaxDepth. name is the reader's. The error is an *Error with line, column and
// the place in the document.
func Text(name string, body []byte, opt Options) ([]byte, error) {
	body, err := plainText(name, body, opt)
	if err != nil {
		return nil, err
	}
	s := scanner{body: body}
	if err := s.run(); err != nil {
		return nil, &Error{Format: name, Where: Position(opt.File, body, err.offset) + trailOf(bytes.NewReader(body), int64(err.offset)), Reason: err.reason, Mend: err.mend}
	}
	return body, nil
}

// plainText is Text without the bound on nesting.
func plainText(name string, body []byte, opt Options) ([]byte, error) {
	fail := func(offset int, reason, mend string) ([]byte, error) {
		return nil, &Error{Format: name, Where: Position(opt.File, body, offset) + field(bytes.NewReader(body), int64(offset)), Reason: reason, Mend: mend}
	}
	if bytes.HasPrefix(body, []byte{0xFF, 0xFE}) || bytes.HasPrefix(body, []byte{0xFE, 0xFF}) {
		return fail(0, "the text is UTF-16", "save it as UTF-8, e.g. iconv -f UTF-16 -t UTF-8")
	}
	if i := bytes.IndexByte(body, 0); i >= 0 {
		if i < 4 && len(body) > 1 {
			return fail(i, "the text has NUL bytes and looks like UTF-16 or UTF-32", "save it as UTF-8, e.g. iconv -f UTF-16 -t UTF-8")
		}
		return fail(i, "a NUL byte is not allowed in text", "send the report as UTF-8 text, not as a binary or compressed file")
	}
	body = trimBOM(body)
	if len(bytes.TrimSpace(body)) == 0 {
		return fail(0, "the file is empty", "check that the tool wrote its report; a scan without findings still writes a document")
	}
	if !utf8.Valid(body) {
		i := invalidUTF8(body)
		return fail(i, fmt.Sprintf("byte 0x%02X is not valid UTF-8", body[i]), "save it as UTF-8, e.g. iconv -f ISO-8859-1 -t UTF-8")
	}
	return body, nil
}

// Position names a byte offset as file:line:column; line and column count from
// 1, columns in characters.
func Position(file string, body []byte, offset int) string {
	if file == "" {
		file = "input"
	}
	offset = max(0, min(offset, len(body)))
	line := 1 + bytes.Count(body[:offset], []byte{'\n'})
	start := bytes.LastIndexByte(body[:offset], '\n') + 1
	return fmt.Sprintf("%s:%d:%d", file, line, 1+utf8.RuneCount(body[start:offset]))
}

// places names offsets of one body, each at or after the one before, in one walk
// over it: Position for each would be quadratic in the number of lines.
type places struct {
	file string
	body []byte
	// start is where the line of the last offset begins, lines what is before it.
	start, lines int
}

func (p *places) at(offset int) string {
	offset = max(p.start, min(offset, len(p.body)))
	if i := bytes.LastIndexByte(p.body[p.start:offset], '\n'); i >= 0 {
		p.lines += bytes.Count(p.body[p.start:offset], []byte{'\n'})
		p.start += i + 1
	}
	file := p.file
	if file == "" {
		file = "input"
	}
	return fmt.Sprintf("%s:%d:%d", file, 1+p.lines, 1+utf8.RuneCount(p.body[p.start:offset]))
}

func trimBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\uFEFF")) }

func invalidUTF8(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return 0
}

type scanError struct {
	offset       int
	reason, mend string
}

// scanner walks JSON tokens without building values: it bounds nesting and,
// when keys is set, remembers paths. It is lenient; encoding/json judges the
// grammar afterwards.
type scanner struct {
	body   []byte
	kind   byte
	values int
	keys   map[string]string
	stack  []frame
	key    string // path of the value that comes next, when it is remembered
	want   bool
}

type frame struct {
	object, expectKey, keep bool
	n                       int
	path                    string
}

func (s *scanner) run() *scanError {
	s.value(0)
	for i := 0; i < len(s.body); {
		c := s.body[i]
		switch c {
		case ' ', '\t', '\r', '\n', ':':
			i++
		case ',':
			i++
			if n := len(s.stack); n > 0 {
				f := &s.stack[n-1]
				f.n++
				f.expectKey = f.object
			}
		case '"':
			end := stringEnd(s.body, i)
			s.text(s.body[i:end])
			i = end
		case '{', '[':
			s.open(c)
			if len(s.stack) > MaxDepth {
				return &scanError{i, fmt.Sprintf("objects and arrays are nested more than %d deep", MaxDepth), "no known report is; send the report as the tool wrote it"}
			}
			i++
		case '}', ']':
			if n := len(s.stack); n > 0 {
				s.stack = s.stack[:n-1]
				s.closed()
			}
			i++
		default:
			end := i + 1
			for end < len(s.body) && !endsScalar(s.body[end]) {
				end++
			}
			s.scalar(s.body[i:end])
			i = end
		}
	}
	return nil
}

// endsScalar reports whether a number or literal ends before c.
func endsScalar(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

// stringEnd returns the offset behind the closing quote of the string at i.
func stringEnd(b []byte, i int) int {
	for j := i + 1; ; {
		k := bytes.IndexByte(b[j:], '"')
		if k < 0 {
			return len(b)
		}
		j += k
		slashes := 0
		for b[j-1-slashes] == '\\' {
			slashes++
		}
		j++
		if slashes%2 == 0 {
			return j
		}
	}
}

// value sets up for the next value: whether it is remembered and where.
func (s *scanner) value(n int) {
	s.key, s.want = "", s.keys != nil && s.values < probeElements && n == 0
}

func (s *scanner) closed() {
	if len(s.stack) == 0 {
		s.values++
		s.value(0)
	}
}

// at returns the path of a value that begins now and whether to keep it.
func (s *scanner) at() (string, bool) {
	n := len(s.stack)
	if n == 0 {
		return s.key, s.want
	}
	f := &s.stack[n-1]
	if f.object {
		return s.key, f.keep && s.want
	}
	return f.path + "[]", f.keep && f.n < probeElements
}

func (s *scanner) open(c byte) {
	path, keep := s.at()
	if len(s.stack) == 0 && s.values == 0 {
		s.kind = c
	}
	if keep {
		s.note(path, string(c))
	}
	s.stack = append(s.stack, frame{object: c == '{', expectKey: c == '{', keep: keep && len(s.stack) < probeDepth, path: path})
}

func (s *scanner) text(quoted []byte) {
	if n := len(s.stack); n > 0 {
		f := &s.stack[n-1]
		if f.object && f.expectKey {
			f.expectKey = false
			s.key, s.want = "", f.keep && len(s.keys) < probeKeys
			if s.want {
				s.key = unquote(quoted)
				if f.path != "" {
					s.key = f.path + "." + s.key
				}
			}
			return
		}
	}
	s.scalar(quoted)
}

func (s *scanner) scalar(raw []byte) {
	if path, keep := s.at(); keep && path != "" {
		s.note(path, unquote(raw))
	}
	s.closed()
}

func (s *scanner) note(path, value string) {
	if old, ok := s.keys[path]; path == "" || (ok && old != "null") || len(s.keys) >= probeKeys {
		return
	}
	s.keys[path] = value
}

// unquote is good enough for keys and short marks: escapes are left as they are.
func unquote(raw []byte) string {
	if len(raw) > probeText {
		raw = raw[:probeText]
	}
	return strings.Trim(strings.ToValidUTF8(string(raw), ""), `"`)
}
