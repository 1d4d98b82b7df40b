package format

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
)

// Records cuts the records at the given places (Result.Places) out of a body
// that was read with opt, byte for byte but for their secrets: texts at the
// secret paths, members whose name says secret, and values of such options in
// command lines are replaced by opt's keyed hash, or dropped. A row of CSV comes
// with its header. What can't be found in the body is nil.
func Records(body []byte, at []string, opt Options, secrets []string) [][]byte {
	c := recordCutter{body: trimBOM(body), opt: opt, rules: redactRules(secrets), out: make([][]byte, len(at))}
	if first := bytes.TrimLeft(c.body, " \t\r\n"); len(first) == 0 || first[0] != '{' && first[0] != '[' {
		c.table(at)
		return c.out
	}
	roots := map[int]*pointerNode{}
	for i, where := range at {
		start, pointer, ok := c.root(where)
		if !ok {
			continue
		}
		if roots[start] == nil {
			roots[start] = &pointerNode{}
		}
		n := roots[start].at(pointer)
		n.notes = append(n.notes, i)
	}
	for start, n := range roots {
		l := locator{body: c.body}
		l.found = func(i, from int) { c.out[i] = c.redact(c.body[from:l.skip(from)], l.path) }
		l.value(l.space(start), n)
	}
	return c.out
}

type recordCutter struct {
	body  []byte
	opt   Options
	rules []redactRule
	lines []int // where the lines begin, filled in when one is asked for
	out   [][]byte
}

func (c *recordCutter) redactor() redactor {
	return redactor{hash: c.opt.HashSecret, rules: c.rules, wary: true}
}

func (c *recordCutter) redact(record []byte, path []string) []byte {
	r := c.redactor()
	r.body, r.base = record, path
	return r.run()
}

// root takes a place apart: the offset of the value its pointer is relative to,
// and the pointer. It is file#/pointer or file:line:column, with a pointer or
// without.
func (c *recordCutter) root(where string) (start int, pointer string, ok bool) {
	rest, ok := strings.CutPrefix(where, First(c.opt.File, "input"))
	if !ok {
		return 0, "", false
	}
	if pointer, ok := strings.CutPrefix(rest, "#"); ok {
		return 0, pointer, true
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		rest, pointer = rest[:i], rest[i:]
	}
	line, column, ok := lineColumn(rest)
	if !ok {
		return 0, "", false
	}
	if c.lines == nil {
		c.lines = lineStarts(c.body)
	}
	if line -= max(0, c.opt.Line-1); line < 1 || line > len(c.lines) {
		return 0, "", false
	}
	start = c.lines[line-1]
	for i := range string(c.body[start:]) { // columns count characters
		if column--; column == 0 {
			return start + i, pointer, true
		}
	}
	return 0, "", false
}

// lineColumn reads ":line:column".
func lineColumn(s string) (line, column int, ok bool) {
	l, k, ok := strings.Cut(strings.TrimPrefix(s, ":"), ":")
	if !ok {
		return 0, 0, false
	}
	line, err1 := strconv.Atoi(l)
	column, err2 := strconv.Atoi(k)
	return line, column, err1 == nil && err2 == nil && column > 0
}

func lineStarts(body []byte) []int {
	starts := []int{0}
	for i := range body {
		if body[i] == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// table cuts rows out of CSV.
func (c *recordCutter) table(at []string) {
	want := map[int][]int{} // records by line
	for i, where := range at {
		rest, ok := strings.CutPrefix(where, First(c.opt.File, "input"))
		if line, _, ok2 := lineColumn(rest); ok && ok2 {
			want[line] = append(want[line], i)
		}
	}
	if len(want) == 0 {
		return
	}
	for _, lazy := range []bool{false, true} {
		if c.rows(want, lazy) {
			return
		}
	}
}

// rows cuts the rows at the lines of want; false if the quoting is broken.
func (c *recordCutter) rows(want map[int][]int, lazy bool) bool {
	t := newTable(c.body)
	t.LazyQuotes = lazy
	var header []string
	for {
		cells, err := t.Read()
		if cells == nil || err != nil {
			return header != nil && cells == nil && len(want) == 0
		}
		if header == nil {
			header = cells
			continue
		}
		line, _ := t.FieldPos(0)
		if len(want[line]) == 0 {
			continue
		}
		row := c.row(header, cells, t.Comma)
		for _, i := range want[line] {
			c.out[i] = row
		}
		delete(want, line)
	}
}

// row writes a row below its header.
func (c *recordCutter) row(header, cells []string, comma rune) []byte {
	r := c.redactor()
	clean := slices.Clone(cells)
	for i, s := range cells[:min(len(cells), len(header))] {
		name := strings.TrimSpace(header[i])
		if r.covered([]level{{}, {object: true, name: name}}) || isSecretName(name) {
			clean[i] = r.hidden(s)
		} else if mayHoldSecret([]byte(s)) {
			clean[i] = ScrubArguments(s)
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	_ = w.Write(header) // a buffer takes everything
	_ = w.Write(clean)
	w.Flush()
	return b.Bytes()
}
