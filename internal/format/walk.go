package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Source is a body that is not held in memory: a file, or bytes.
type Source interface {
	io.ReaderAt
	// Size is the number of bytes.
	Size() int64
}

// window is how much of a source is in memory while it is walked, in bytes.
const window = 256 << 10

// spot is a place of a source: its offset, and line and column in characters,
// both from 1.
type spot struct {
	offset       int64
	line, column int
}

func beginning() spot { return spot{0, 1, 1} }

// over returns the spot behind b, which begins at s.
func (s spot) over(b []byte) spot {
	s.offset += int64(len(b))
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		s.line += bytes.Count(b, []byte{'\n'})
		s.column, b = 1, b[i+1:]
	}
	for _, c := range b {
		if c&0xC0 != 0x80 { // not the inside of a character
			s.column++
		}
	}
	return s
}

func (s spot) String(opt Options) string {
	return fmt.Sprintf("%s:%d:%d", First(opt.File, "input"), s.line, s.column)
}

// walker goes over one JSON document in a source and judges its grammar. It
// keeps a window of it, and copies to out what is not cut.
type walker struct {
	src  Source
	end  int64 // of the section
	opt  Options
	buf  []byte
	room []byte
	i    int
	at   spot // of buf[mark]
	mark int
	err  error
	// followed: something comes after the one value.
	followed bool
	// out collects what is copied, up to limit bytes.
	out   bytes.Buffer
	limit int
	skip  int // depth of cuts; nothing is copied while it is above 0
	from  int // what is not copied yet begins here

	// sample cuts every array after the elements a Probe looks at.
	sample bool
	// array is told of each array of records: its elements are cut from the copy,
	// and each is told to what array returns.
	array func(r *records) elements
}

// elements is told where the elements of one array are.
type elements interface {
	begin(at spot)
	end(offset int64)
	// close is told the place of the bracket behind the last element.
	close(at spot)
}

// records are the places of a format's records, as a tree over keys in lower
// case and "[]".
type records struct {
	kids map[string]*records
	// list is true for the elements of an array; pointer is the array's place
	// within the element around it (RFC 6901).
	list    bool
	pointer string
}

// newRecords builds the tree of places such as "runs[].results[]". Every array
// on the way to records is one of records.
func newRecords(places []string) *records {
	root := &records{}
	for _, p := range places {
		at, pointer := root, ""
		for k := range strings.SplitSeq(strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(p), "[]", ".[]"), "."), ".") {
			if at.kids == nil {
				at.kids = map[string]*records{}
			}
			if at.kids[k] == nil {
				at.kids[k] = &records{}
			}
			at = at.kids[k]
			if k == "[]" {
				at.list, at.pointer, pointer = true, pointer, ""
			} else {
				pointer += "/" + k
			}
		}
	}
	return root
}

func (r *records) kid(key string) *records {
	if r == nil || r.kids == nil {
		return nil
	}
	return r.kids[strings.ToLower(key)]
}

// newWalker walks the section of src that begins at from and ends before end.
func newWalker(src Source, from spot, end int64, opt Options) *walker {
	return &walker{src: src, end: end, opt: opt, room: make([]byte, window), at: from, limit: 1 << 62}
}

// here is the place of the next byte.
func (w *walker) here() spot {
	w.at, w.mark = w.at.over(w.buf[w.mark:w.i]), w.i
	return w.at
}

func (w *walker) flush() {
	if n := min(w.i-w.from, w.limit-w.out.Len()); w.skip == 0 && n > 0 {
		w.out.Write(w.buf[w.from : w.from+n])
	}
	w.from = w.i
}

// more makes sure that there is a next byte; false at the end.
func (w *walker) more() bool {
	if w.i < len(w.buf) {
		return true
	}
	if w.err != nil {
		return false
	}
	at := w.here()
	w.flush()
	n := min(int64(len(w.room)), w.end-at.offset)
	if n <= 0 {
		w.buf, w.i, w.mark, w.from = nil, 0, 0, 0
		return false
	}
	got, err := w.src.ReadAt(w.room[:n], at.offset)
	if err != nil && (!errors.Is(err, io.EOF) || int64(got) < n) {
		w.err = fmt.Errorf("%s: %w", First(w.opt.File, "input"), err)
		got = 0
	}
	w.buf, w.i, w.mark, w.from = w.room[:got], 0, 0, 0
	return got > 0
}

// next is the next byte, 0 at the end; a NUL is refused before.
func (w *walker) next() byte {
	if w.more() {
		return w.buf[w.i]
	}
	return 0
}

func (w *walker) space() byte {
	for w.more() {
		switch c := w.buf[w.i]; c {
		case ' ', '\t', '\r', '\n':
			w.i++
		default:
			return c
		}
	}
	return 0
}

// fault names the next byte: file:line:column and the place in the document.
func (w *walker) fault() string {
	at := w.here()
	return at.String(w.opt) + trailOf(w.src, at.offset)
}

// fail words what is wrong at the next byte as encoding/json does: before is
// the shortest JSON after which it would complain of the same.
func (w *walker) fail(before string) {
	if w.err != nil {
		return
	}
	e := &Error{Where: w.fault(), Mend: "send the file exactly as the tool wrote it"}
	if !w.more() {
		if w.err == nil {
			e.Reason = "the JSON ends in the middle of a value: the file is cut"
			e.Mend = "write the report again and check that the disk or the upload limit was not reached"
			w.err = e
		}
		return
	}
	var v any
	_, n := utf8.DecodeRune(w.buf[w.i:])
	e.Reason = "not valid JSON: " + json.Unmarshal([]byte(before+string(w.buf[w.i:w.i+n])+" "), &v).Error()
	w.err = e
}

// value walks over one value.
func (w *walker) value(r *records, depth int) {
	if w.err != nil {
		return
	}
	c := w.space()
	if (c == '{' || c == '[') && depth >= MaxDepth {
		w.err = &Error{Where: w.fault(), Reason: fmt.Sprintf("objects and arrays are nested more than %d deep", MaxDepth), Mend: "no known report is; send the report as the tool wrote it"}
		return
	}
	switch {
	case c == '{':
		w.object(r, depth)
	case c == '[':
		w.list(r.kid("[]"), depth)
	case c == '"':
		w.text(false)
	case c == '-' || c >= '0' && c <= '9':
		w.number()
	case c == 't':
		w.literal("true")
	case c == 'f':
		w.literal("false")
	case c == 'n':
		w.literal("null")
	default:
		w.fail("[")
	}
}

func (w *walker) object(r *records, depth int) {
	w.i++
	before := "{"
	for w.err == nil {
		switch c := w.space(); {
		case c == '}' && before == "{":
			w.i++
			return
		case c != '"':
			w.fail(before)
			return
		}
		before = `{"k":0,`
		key := w.text(r != nil && r.kids != nil)
		if w.space() != ':' {
			w.fail(`{"k"`)
			return
		}
		w.i++
		if c := w.space(); strings.IndexByte(`{["-0123456789tfn`, c) < 0 {
			w.fail(`{"k":`)
			return
		}
		w.value(r.kid(key), depth+1)
		switch w.space() {
		case ',':
			w.i++
		case '}':
			w.i++
			return
		default:
			w.fail(`{"k":0`)
		}
	}
}

func (w *walker) list(r *records, depth int) {
	w.i++
	var told elements
	if r != nil && r.list && w.array != nil && w.skip == 0 {
		w.flush()
		told = w.array(r)
	}
	cut := false
	for n := 0; w.err == nil; n++ {
		c := w.space()
		if c == ']' {
			w.flush()
			if cut {
				w.skip--
			}
			if told != nil {
				told.close(w.here())
			}
			w.i++
			return
		}
		if n > 0 && c != ',' {
			w.fail("[0")
			return
		}
		if !cut && (told != nil || w.sample && n >= probeElements) { // with the comma before it
			w.flush()
			w.skip++
			cut = true
		}
		if n > 0 {
			w.i++
			if c = w.space(); c == ']' {
				w.fail("[0,")
				return
			}
		}
		if told != nil {
			told.begin(w.here())
		}
		w.value(r, depth+1)
		if told != nil && w.err == nil {
			told.end(w.here().offset)
		}
	}
}

// text walks over a string and returns it, cut to probeText bytes, when wanted.
func (w *walker) text(wanted bool) string {
	w.i++
	var key []byte
	for w.more() {
		begin := w.i
		for w.i < len(w.buf) {
			if c := w.buf[w.i]; c == '"' || c == '\\' || c < 0x20 {
				break
			}
			w.i++
		}
		if wanted && len(key) < probeText {
			key = append(key, w.buf[begin:min(w.i, begin+probeText)]...)
		}
		if w.i == len(w.buf) {
			continue
		}
		switch w.buf[w.i] {
		case '"':
			w.i++
			return string(key)
		case '\\':
			w.i++
			if !w.escape() {
				return ""
			}
			wanted = false // a key written with escapes is none of ours
		default:
			w.fail(`"`)
			return ""
		}
	}
	w.fail(`"`)
	return ""
}

func (w *walker) escape() bool {
	switch w.next() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		w.i++
		return true
	case 'u':
		w.i++
		for k := range 4 {
			c := w.next()
			if c < '0' || c > '9' && c < 'A' || c > 'F' && c < 'a' || c > 'f' {
				w.fail(`"\u` + "0000"[:k])
				return false
			}
			w.i++
		}
		return true
	}
	w.fail(`"\`)
	return false
}

func (w *walker) literal(word string) {
	for k := range word {
		if w.next() != word[k] {
			w.fail(word[:k])
			return
		}
		w.i++
	}
}

func (w *walker) digits(before string) bool {
	if c := w.next(); c < '0' || c > '9' {
		w.fail(before)
		return false
	}
	for c := w.next(); c >= '0' && c <= '9'; c = w.next() {
		w.i++
	}
	return true
}

func (w *walker) number() {
	if w.next() == '-' {
		w.i++
	}
	if w.next() == '0' {
		w.i++
	} else if !w.digits("-") {
		return
	}
	if w.next() == '.' {
		w.i++
		if !w.digits("0.") {
			return
		}
	}
	if c := w.next(); c == 'e' || c == 'E' {
		w.i++
		if c := w.next(); c == '+' || c == '-' {
			w.i++
		}
		w.digits("0e")
	}
}

// document walks over the whole section, which must hold one value.
func (w *walker) document(r *records) error {
	w.value(r, 0)
	if w.err == nil && w.space() != 0 {
		w.followed = true
		w.fail("0")
	}
	w.flush()
	return w.err
}

// checkText is plainText for a source: UTF-8 without NUL, and something in it.
// It returns where the text begins behind a byte order mark.
func checkText(src Source, opt Options) (spot, error) {
	at, begin := beginning(), beginning()
	room := make([]byte, window+utf8.UTFMax)
	something := false
	for at.offset < src.Size() {
		n := min(int64(len(room)), src.Size()-at.offset)
		if got, err := src.ReadAt(room[:n], at.offset); int64(got) < n {
			return at, fmt.Errorf("%s: %w", First(opt.File, "input"), err)
		}
		b := room[:n]
		if at.offset+n < src.Size() { // a character is not judged by its first half
			for k := 1; k < utf8.UTFMax; k++ {
				if utf8.RuneStart(b[len(b)-k]) {
					b = b[:len(b)-k]
					break
				}
			}
		}
		if at.offset == 0 && bytes.HasPrefix(b, []byte("\uFEFF")) {
			begin.offset = 3
			b = b[3:]
			at.offset = 3
		}
		if bytes.IndexByte(b, 0) >= 0 || !utf8.Valid(b) || at.offset == 0 && (bytes.HasPrefix(b, []byte{0xFF, 0xFE}) || bytes.HasPrefix(b, []byte{0xFE, 0xFF})) {
			_, err := plainText("", b, opt)
			var e *Error
			if errors.As(err, &e) {
				i := bytes.IndexByte(b, 0)
				if i < 0 {
					i = invalidUTF8(b)
				}
				if bytes.HasPrefix(b, []byte{0xFF, 0xFE}) || bytes.HasPrefix(b, []byte{0xFE, 0xFF}) {
					i = 0
				}
				at = at.over(b[:i])
				e.Where = at.String(opt) + field(src, at.offset)
				return at, e
			}
		}
		something = something || len(bytes.TrimSpace(b)) > 0
		at = at.over(b)
	}
	if !something {
		_, err := plainText("", nil, opt)
		return at, err
	}
	return begin, nil
}
