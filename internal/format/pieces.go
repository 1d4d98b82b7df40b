package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// PieceSize is about how large a piece of a large body is, in bytes. A record
// is never cut: a larger one is a piece by itself.
const PieceSize = 1 << 20

// maxSample bounds what detection looks at, in bytes.
const maxSample = 8 << 20

// Shape is what one walk over a large body finds out about it.
type Shape struct {
	// Lines is true for JSON values that follow each other, one per line.
	Lines bool
	// Sample is a small body in the same format, for detection.
	Sample []byte

	begin spot
}

// ShapeOf judges a body as Values does: one document, or JSON lines of which
// at least half are good. whole is true for what can only be read in one:
// no JSON, or values that follow each other across lines. The error is that of
// reading the whole body, or of the source.
func ShapeOf(src Source, opt Options) (shape Shape, whole bool, err error) {
	shape.begin, err = checkText(src, opt)
	if err != nil {
		return shape, false, err
	}
	w := newWalker(src, shape.begin, src.Size(), opt)
	w.sample, w.limit = true, maxSample
	first := w.space()
	if first != '{' && first != '[' {
		return shape, true, w.err
	}
	wrong := w.document(nil)
	if wrong == nil {
		shape.Sample = w.out.Bytes()
		return shape, false, nil
	}
	if first == '[' {
		return shape, false, wrong
	}
	values, good := 0, 0
	var deep error
	err = eachLines(src, shape.begin, PieceSize, func(at spot, body []byte) bool {
		if values == 0 {
			shape.Sample = bytes.Clone(body)
		}
		s := scanner{body: body}
		if e := s.run(); e != nil {
			at = at.over(body[:e.offset])
			deep = &Error{Where: at.String(opt) + trailOf(src, at.offset), Reason: e.reason, Mend: e.mend}
			return false
		}
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				values++
				if json.Valid(line) {
					good++
				}
			}
		}
		return true
	})
	switch {
	case err != nil:
		return shape, false, err
	case deep != nil:
		return shape, false, deep
	case good == 0 && values > 1, w.followed && (values < 2 || 2*good < values):
		return shape, true, nil // reading it whole says what it is
	case values < 2 || 2*good < values:
		return shape, false, wrong
	}
	shape.Lines = true
	return shape, false, nil
}

// eachLines hands out whole lines, in pieces of about size bytes, until do
// returns false.
func eachLines(src Source, at spot, size int, do func(at spot, body []byte) bool) error {
	var buf []byte
	for at.offset < src.Size() {
		n := min(int64(size), src.Size()-at.offset)
		buf = append(buf[:0], make([]byte, n)...)
		for end := -1; end < 0; {
			if got, err := src.ReadAt(buf, at.offset); got < len(buf) {
				return fmt.Errorf("offset %d: %w", at.offset, err)
			}
			if at.offset+int64(len(buf)) == src.Size() {
				break
			}
			if end = bytes.LastIndexByte(buf, '\n'); end >= 0 {
				buf = buf[:end+1]
				break
			}
			n := min(int64(2*len(buf)), src.Size()-at.offset)
			buf = make([]byte, n)
		}
		if !do(at, buf) {
			return nil
		}
		at = at.over(buf)
	}
	return nil
}

// Piece is a part of a large body that a reader can read by itself.
type Piece struct {
	// Body is a body in the format of the whole.
	Body []byte
	// Line is the line of the file at which JSON lines begin; 0 for a part of a
	// document.
	Line int

	rings []ring
	seams []seam
}

// Options are the options for reading the piece.
func (p *Piece) Options(opt Options) Options {
	opt.Line = p.Line
	return opt
}

// ring is one of the arrays of records around what a piece holds.
type ring struct {
	pointer string // of the array within the element around it
	base    int    // index in the file of its first element in the piece
	first   bool   // no earlier piece told of what is around the array
}

// seam is where text of another place of the file begins in a piece.
type seam struct{ piece, file spot }

// segment is text of the file.
type segment struct {
	text []byte
	at   spot
}

// group is elements of one array that follow each other.
type group struct {
	array int // how many arrays of the section come before
	in    *records
	index int // of the first element
	n     int
	from  spot
	to    int64
}

// section is a document, or a record of one that is too large for a piece:
// what is around its arrays, and the groups of their elements.
type section struct {
	segments []segment
	groups   []group
	size     int
	w        *walker
	open     group
	index    int
}

func (s *section) begin(at spot) {
	if s.open.n == 0 {
		s.open.from, s.open.index = at, s.index
	}
	s.open.n++
	s.index++
}

func (s *section) end(offset int64) {
	s.open.to = offset
	if s.open.to-s.open.from.offset >= int64(s.size) {
		s.shut()
	}
}

func (s *section) shut() {
	if s.open.n > 0 {
		s.groups = append(s.groups, s.open)
	}
	s.open = group{array: s.open.array, in: s.open.in}
}

func (s *section) close(at spot) {
	s.shut()
	s.segments = append(s.segments, segment{at: at})
}

// array begins the next array of records.
func (s *section) array(r *records) elements {
	s.take()
	s.open, s.index = group{array: len(s.segments) - 1, in: r}, 0
	return s
}

// take moves what was copied into the last segment.
func (s *section) take() {
	s.segments[len(s.segments)-1].text = bytes.Clone(s.w.out.Bytes())
	s.w.out.Reset()
}

func sectionOf(src Source, from spot, end int64, r *records, opt Options, size int) (*section, error) {
	s := &section{size: size, segments: []segment{{at: from}}}
	s.w = newWalker(src, from, end, opt)
	s.w.array = s.array
	if err := s.w.document(r); err != nil {
		return nil, err
	}
	s.take()
	return s, nil
}

// cutter takes a document apart.
type cutter struct {
	src   Source
	opt   Options
	size  int
	done  int // pieces handed out
	yield func(*Piece) bool
}

// Pieces takes a large body of a known shape apart, in order, until yield
// returns false: JSON lines at line ends, a document between its records.
// places are where the records of the format are, as in Probe, e.g.
// "runs[].results[]"; all lists of records have to be named. size is about how
// large a piece is, in bytes. The error is that of the source.
func Pieces(src Source, shape Shape, places []string, opt Options, size int, yield func(*Piece) bool) error {
	if shape.Lines {
		return eachLines(src, shape.begin, size, func(at spot, body []byte) bool {
			return len(bytes.TrimSpace(body)) == 0 || yield(&Piece{Body: body, Line: at.line})
		})
	}
	c := cutter{src: src, opt: opt, size: size, yield: yield}
	_, err := c.cut(shape.begin, src.Size(), newRecords(places), nil, nil, nil, nil)
	return err
}

// cut hands out the pieces of a section; before and after is the text around
// it, rings are the arrays around it, and starts the pieces handed out when
// what is around each of them began.
func (c *cutter) cut(from spot, end int64, r *records, before, after []segment, rings []ring, starts []int) (bool, error) {
	s, err := sectionOf(c.src, from, end, r, c.opt, c.size)
	if err != nil {
		return false, err
	}
	starts = append(starts[:len(starts):len(starts)], c.done)
	if len(s.groups) == 0 {
		return c.hand(append(append(before[:len(before):len(before)], s.segments...), after...), rings, starts), nil
	}
	for _, g := range s.groups {
		head := append(before[:len(before):len(before)], s.segments[:g.array+1]...)
		tail := append(s.segments[g.array+1:len(s.segments):len(s.segments)], after...)
		around := append(rings[:len(rings):len(rings)], ring{pointer: g.in.pointer, base: g.index})
		var more bool
		if g.n == 1 && g.in.kids != nil && g.to-g.from.offset > int64(c.size) {
			more, err = c.cut(g.from, g.to, g.in, head, tail, around, starts)
		} else {
			text := make([]byte, g.to-g.from.offset)
			if got, readErr := c.src.ReadAt(text, g.from.offset); got < len(text) {
				return false, fmt.Errorf("%s: %w", First(c.opt.File, "input"), readErr)
			}
			more = c.hand(append(append(head, segment{text, g.from}), tail...), around, starts)
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// hand joins segments to a piece and hands it out.
func (c *cutter) hand(list []segment, rings []ring, starts []int) bool {
	p := &Piece{rings: append([]ring{}, rings...)}
	for i := range p.rings {
		p.rings[i].first = c.done == starts[i]
	}
	n := 0
	for _, s := range list {
		n += len(s.text)
	}
	p.Body = make([]byte, 0, n)
	at := beginning()
	for _, s := range list {
		p.seams = append(p.seams, seam{at, s.at})
		p.Body = append(p.Body, s.text...)
		at = at.over(s.text)
	}
	c.done++
	return c.yield(p)
}

// Place turns a place in the piece, as notes and errors name it, into the place
// in the file. It returns false for what an earlier piece told already.
func (p *Piece) Place(where string) (string, bool) {
	if p.Line > 0 || len(p.seams) == 0 {
		return where, true
	}
	name, pointer, noted := strings.Cut(where, "#")
	line, column := 0, 0
	if !noted {
		name = where
		if at, rest, ok := strings.Cut(where, " ("); ok {
			name, pointer = at, strings.TrimSuffix(rest, ")")
		}
		if name, column = lastNumber(name); column > 0 {
			name, line = lastNumber(name)
		}
		if line == 0 {
			return where, true
		}
		line, column = p.inFile(line, column)
	}
	pointer, told := p.absolute(pointer)
	switch {
	case noted:
		return name + "#" + pointer, told
	case pointer == "":
		return fmt.Sprintf("%s:%d:%d", name, line, column), told
	}
	return fmt.Sprintf("%s:%d:%d (%s)", name, line, column, pointer), told
}

// lastNumber takes ":12" off the end.
func lastNumber(s string) (string, int) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, 0
	}
	n, err := strconv.Atoi(s[i+1:])
	if err != nil {
		return s, 0
	}
	return s[:i], n
}

func (p *Piece) inFile(line, column int) (int, int) {
	last := p.seams[0]
	for _, s := range p.seams {
		if s.piece.line > line || s.piece.line == line && s.piece.column > column {
			break
		}
		last = s
	}
	if line == last.piece.line {
		column += last.file.column - last.piece.column
	}
	return line + last.file.line - last.piece.line, column
}

// absolute counts the indexes of a pointer from the beginning of the file's
// arrays; false when it points outside of the piece's own records and an
// earlier piece had the same.
func (p *Piece) absolute(pointer string) (string, bool) {
	var b strings.Builder
	for _, l := range p.rings {
		n := len(l.pointer) + 1
		if len(pointer) < n || !strings.EqualFold(pointer[:n], l.pointer+"/") {
			b.WriteString(pointer)
			return b.String(), l.first
		}
		number, rest := pointer[n:], ""
		if i := strings.IndexByte(number, '/'); i >= 0 {
			number, rest = number[:i], number[i:]
		}
		index, err := strconv.Atoi(number)
		if err != nil {
			b.WriteString(pointer)
			return b.String(), l.first
		}
		b.WriteString(pointer[:n] + strconv.Itoa(index+l.base))
		pointer = rest
	}
	b.WriteString(pointer)
	return b.String(), true
}

// Placed returns the result of reading a piece with the places of the whole
// body, without what an earlier piece told.
func (r Result) Placed(p *Piece) Result {
	place := func(notes []Note) ([]Note, int) {
		var out []Note
		for _, n := range notes {
			where, told := p.Place(n.Where)
			if told {
				n.Where = where
				out = append(out, n)
			}
		}
		return out, len(notes) - len(out)
	}
	var refused, suppressed int
	r.Refusals, refused = place(r.Refusals)
	r.Suppressions, suppressed = place(r.Suppressions)
	r.Refused, r.Suppressed, r.Read = r.Refused-refused, r.Suppressed-suppressed, r.Read-refused-suppressed
	return r
}
