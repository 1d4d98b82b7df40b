package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// printer writes what the reader sees: short lines, a label, a text.
type printer struct {
	w io.Writer
	// paint styles a text where styles are shown.
	paint func(style, s string) string
	start time.Time
}

// The styles of a printer, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

const labelWidth = 10

func (p *printer) print(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// title begins a part.
func (p *printer) title(n int, name, about string) {
	p.print("\n%s", p.paint(bold, fmt.Sprintf("%d  %s", n, name)))
	p.text(about)
	p.start = time.Now()
}

// text is prose, wrapped and indented.
func (p *printer) text(s string) {
	for _, l := range fold(s, 74) {
		p.print("   %s", p.paint(dim, l))
	}
}

// line is one fact known now: what it is about, and what.
func (p *printer) line(style, label, format string, args ...any) {
	p.lineAt(time.Now(), style, label, format, args...)
}

// lineAt is a fact of an instant, shown in seconds since the part began.
func (p *printer) lineAt(when time.Time, style, label, format string, args ...any) {
	at := fmt.Sprintf("%5.1fs", max(0, when.Sub(p.start).Seconds()))
	lines := fold(fmt.Sprintf(format, args...), 72-labelWidth)
	for i, l := range lines {
		if i > 0 {
			at, label = "      ", ""
		}
		p.print("   %s  %s%s", p.paint(dim, at), p.paint(style, fmt.Sprintf("%-*s", labelWidth, label)), l)
	}
}

// block is text that keeps its lines: a card, a command, another program's
// output.
func (p *printer) block(style, s string) {
	for l := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		p.print("%s", strings.TrimRight("      "+p.paint(style, l), " "))
	}
}

// fold breaks text at blanks; a line of its own stays one.
func fold(s string, width int) []string {
	var out []string
	for part := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		line := ""
		for _, w := range strings.Fields(part) {
			if line != "" && len([]rune(line))+1+len([]rune(w)) > width {
				out, line = append(out, line), ""
			}
			if line != "" {
				line += " "
			}
			line += w
		}
		out = append(out, line)
	}
	return out
}

// took writes a span in seconds, with minutes where there are some.
func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
