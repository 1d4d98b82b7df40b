package format

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"strings"
)

// maxTrail is how many steps of a pointer a message shows; what is nested
// deeper ends in "/…".
const maxTrail = 12

// trail follows JSON byte by byte and knows where in the document it is, also
// in text that is damaged further on. Its size is bounded by MaxDepth.
type trail struct {
	steps    []crumb
	deeper   int // levels below MaxDepth
	values   int // documents that ended
	key      []byte
	inString bool
	escaped  bool
	isKey    bool
}

// crumb is one object or list around the place.
type crumb struct {
	list, wantKey, named bool
	index                int
	key                  string
}

func (t *trail) feed(b []byte) {
	for _, c := range b {
		if t.inString {
			t.text(c)
			continue
		}
		switch c {
		case '"':
			t.inString, t.key = true, t.key[:0]
			n := len(t.steps)
			t.isKey = n > 0 && t.deeper == 0 && !t.steps[n-1].list && t.steps[n-1].wantKey
		case '{', '[':
			if len(t.steps) > MaxDepth {
				t.deeper++
				continue
			}
			t.steps = append(t.steps, crumb{list: c == '[', wantKey: true})
		case '}', ']':
			switch {
			case t.deeper > 0:
				t.deeper--
			case len(t.steps) > 0:
				if t.steps = t.steps[:len(t.steps)-1]; len(t.steps) == 0 {
					t.values++
				}
			}
		case ',':
			if n := len(t.steps); n > 0 && t.deeper == 0 {
				x := &t.steps[n-1]
				x.index, x.wantKey, x.named = x.index+1, true, false
			}
		case '\n':
			if t.values > 0 { // JSON lines: each begins anew, also behind a broken one
				t.steps, t.deeper = t.steps[:0], 0
			}
		}
	}
}

// text takes one byte within a string.
func (t *trail) text(c byte) {
	switch {
	case t.escaped:
		t.escaped = false
	case c == '\\':
		t.escaped = true
	case c == '\n': // no string holds one: the line is cut
		t.inString = false
		if t.values > 0 {
			t.steps, t.deeper = t.steps[:0], 0
		}
		return
	case c == '"':
		t.inString = false
		if t.isKey {
			x := &t.steps[len(t.steps)-1]
			x.key, x.named, x.wantKey = decodeString([]byte(`"`+string(t.key)+`"`)), true, false
		}
		return
	}
	if t.isKey && len(t.key) < probeText {
		t.key = append(t.key, c)
	}
}

// pointer is the place as a JSON pointer (RFC 6901), "" at the top.
func (t *trail) pointer() string {
	var b strings.Builder
	for i, x := range t.steps {
		if i == maxTrail {
			b.WriteString("/…")
			break
		}
		switch {
		case x.list:
			b.WriteString("/" + strconv.Itoa(x.index))
		case x.named:
			b.WriteString("/" + strings.ReplaceAll(strings.ReplaceAll(x.key, "~", "~0"), "/", "~1"))
		}
	}
	return b.String()
}

// trailOf returns " (pointer)" of the value at an offset of a document or of
// JSON lines, or "" at the top. It reads src up to there.
func trailOf(src io.ReaderAt, offset int64) string {
	var t trail
	buf := make([]byte, window)
	for at := int64(0); at < offset; {
		n, _ := src.ReadAt(buf[:min(int64(len(buf)), offset-at)], at)
		if n == 0 {
			break
		}
		t.feed(buf[:n])
		at += int64(n)
	}
	return inBrackets(t.pointer())
}

func inBrackets(pointer string) string {
	if pointer == "" {
		return ""
	}
	return " (" + pointer + ")"
}

// field names what is at an offset of a body: the pointer of a JSON value, or
// the column of a CSV cell.
func field(src io.ReaderAt, offset int64) string {
	head := make([]byte, 64<<10)
	n, _ := src.ReadAt(head, 0)
	head = trimBOM(head[:n])
	if begin := bytes.TrimLeft(head, " \t\r\n"); len(begin) > 0 && (begin[0] == '{' || begin[0] == '[') {
		return trailOf(src, offset)
	}
	return column(src, head, offset)
}

// column returns " (NAME)" of the CSV column at an offset, "" when the body is
// no table with that column.
func column(src io.ReaderAt, head []byte, offset int64) string {
	if !probeTable(head, map[string]string{}) {
		return ""
	}
	for _, end := range []string{"", `"`} { // the rest of the row does not matter; an open quote is closed
		r := csv.NewReader(io.MultiReader(io.NewSectionReader(src, 0, offset), strings.NewReader(end)))
		r.Comma, r.FieldsPerRecord, r.LazyQuotes = delimiter(head), -1, true
		header, last, err := []string(nil), 0, error(nil)
		for err == nil {
			var row []string
			if row, err = r.Read(); err == nil && header == nil {
				header = row
			} else if err == nil {
				last = len(row)
			}
		}
		if errors.Is(err, io.EOF) && last > 0 && last <= len(header) {
			return inBrackets(strings.TrimSpace(header[last-1]))
		}
	}
	return ""
}
