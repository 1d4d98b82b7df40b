package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// term is one stream and what it can show.
type term struct {
	w     io.Writer
	tty   bool
	color bool
	// width in columns; 0 means that nothing is cut.
	width int
}

// The styles, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
	purple = "35"
)

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func newTerm(w io.Writer, env func(string) string, noColor bool) term {
	t := term{w: w, tty: isTerminal(w)}
	if t.tty {
		t.width = 80
		if f, ok := w.(*os.File); ok {
			if n := windowWidth(f); n > 0 {
				t.width = n
			}
		}
	}
	if n, err := strconv.Atoi(env("COLUMNS")); err == nil && n >= 40 {
		t.width = n
	}
	t.color = t.tty && env("NO_COLOR") == "" && env("TERM") != "dumb" && !noColor
	if env("CLICOLOR_FORCE") != "" && env("CLICOLOR_FORCE") != "0" && env("NO_COLOR") == "" && !noColor {
		t.color = true
	}
	return t
}

// paint styles a text where styles are shown.
func (t term) paint(style, s string) string {
	if !t.color || s == "" || style == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

// cell is one field of a table: text and how it is shown.
type cell struct{ text, style string }

// column is one column of a table.
type column struct {
	name  string
	right bool
	// flex columns give way when the terminal is narrow, down to min.
	flex bool
	min  int
	// middle columns keep beginning and end when they are cut: paths, addresses.
	middle bool
}

// table prints rows aligned; header in dim capitals.
type table struct {
	cols []column
	rows [][]cell
}

// newTable names the columns. A name that ends in > is right-aligned, one that
// ends in ~ gives way when the terminal is narrow, as does one that ends in ^,
// in its middle.
func newTable(names ...string) *table {
	t := &table{}
	for _, n := range names {
		c := column{name: strings.TrimRight(n, ">~^"), right: strings.HasSuffix(n, ">"), middle: strings.HasSuffix(n, "^"), min: 12}
		c.flex = c.middle || strings.HasSuffix(n, "~")
		t.cols = append(t.cols, c)
	}
	return t
}

// add appends a row; values are strings, cells, ints or fmt.Stringers.
func (t *table) add(values ...any) {
	row := make([]cell, len(t.cols))
	for i := range row {
		if i >= len(values) {
			break
		}
		switch v := values[i].(type) {
		case cell:
			row[i] = cell{clean(v.text), v.style}
		case string:
			row[i] = cell{text: clean(v)}
		default:
			row[i] = cell{text: clean(fmt.Sprint(v))}
		}
	}
	t.rows = append(t.rows, row)
}

// print writes the table. indent goes before each line.
func (t *table) print(to term, indent string) {
	widths := t.widths(to.width - len(indent))
	line := func(row []cell, header bool) {
		var b strings.Builder
		b.WriteString(indent)
		for i, c := range row {
			s := cut(c.text, widths[i])
			if t.cols[i].middle {
				s = cutMiddle(c.text, widths[i])
			}
			pad := strings.Repeat(" ", widths[i]-display(s))
			style := c.style
			if header {
				style = dim
			}
			last := i == len(row)-1
			switch {
			case t.cols[i].right:
				b.WriteString(pad + to.paint(style, s))
			case last:
				b.WriteString(to.paint(style, s))
			default:
				b.WriteString(to.paint(style, s) + pad)
			}
			if !last {
				b.WriteString("  ")
			}
		}
		fmt.Fprintln(to.w, strings.TrimRight(b.String(), " "))
	}
	head := make([]cell, len(t.cols))
	for i, c := range t.cols {
		head[i] = cell{text: strings.ToUpper(c.name)}
	}
	line(head, true)
	for _, r := range t.rows {
		line(r, false)
	}
}

// widths gives each column its room; with a limit, flexible columns shrink.
func (t *table) widths(limit int) []int {
	out := make([]int, len(t.cols))
	sum := 2 * (len(t.cols) - 1)
	for i, c := range t.cols {
		out[i] = display(c.name)
		for _, r := range t.rows {
			out[i] = max(out[i], display(r[i].text))
		}
		sum += out[i]
	}
	for limit > 0 && sum > limit {
		widest := -1
		for i, c := range t.cols {
			if c.flex && out[i] > c.min && (widest < 0 || out[i] > out[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		out[widest]--
		sum--
	}
	return out
}

// display is the number of columns a text takes; wide East Asian characters
// take two, combining marks none.
func display(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff ||
		r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6 || r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	}
	return 1
}

// cut shortens a text to a width, with … at the end.
func cut(s string, width int) string {
	if display(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// cutMiddle shortens a text to a width, with … in its middle.
func cutMiddle(s string, width int) string {
	if display(s) <= width || width < 3 {
		return cut(s, width)
	}
	head := strings.TrimSuffix(cut(s, (width-1)/3+1), "…")
	tail, n := len(s), 0
	for i := len(s); i > 0; {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		if n += runeWidth(r); n > width-1-display(head) {
			break
		}
		i -= size
		tail = i
	}
	return head + "…" + s[tail:]
}

// clean makes text from outside safe for a terminal: one line, valid UTF-8, no
// control or formatting characters that could hide or forge output.
func clean(s string) string { return cleanText(s, false) }

// cleanLines is clean for text of several lines.
func cleanLines(s string) string { return cleanText(s, true) }

func cleanText(s string, lines bool) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f || lines && s[i] == '\n'
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && lines:
			return r
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r):
			return '�'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// wrap breaks text at spaces to a width, with an indent before every line.
func wrap(s string, width int, indent string) string {
	if width <= 0 {
		width = 100
	}
	var b strings.Builder
	n := 0
	for _, w := range strings.Fields(s) {
		if n > 0 && n+1+display(w) > width-len(indent) {
			b.WriteString("\n")
			n = 0
		}
		if n == 0 {
			b.WriteString(indent)
		} else {
			b.WriteString(" ")
			n++
		}
		b.WriteString(w)
		n += display(w)
	}
	return b.String()
}

// emit writes a list as a table, one JSON document, or one object per line.
func emit[T any](c *cli, f *formats, list []T, show func(list []T)) error {
	switch f.word {
	case "json":
		if list == nil {
			list = []T{}
		}
		return emitJSON(c, list)
	case "jsonl":
		for _, v := range list {
			if err := emitLine(c, v); err != nil {
				return err
			}
		}
		return nil
	}
	show(list)
	return nil
}

// emitJSON writes one indented JSON document to standard output.
func emitJSON(c *cli, v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// emitLine writes one line of JSON to standard output.
func emitLine(c *cli, v any) error { return json.NewEncoder(c.out).Encode(v) }

// plural is "1 case", "2 cases".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if strings.HasSuffix(one, "y") && !strings.HasSuffix(one, "ey") {
		return group(n) + " " + one[:len(one)-1] + "ies"
	}
	return group(n) + " " + one + "s"
}

// group writes a number with thousands separated: 12,345.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
