package policy

import (
	"fmt"
	"sort"
	"strings"
)

// Issue is one fault of a policy file.
type Issue struct {
	File string `json:"file"`
	// Line and Column are 1-based; 0 means the whole file or pack.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Message says what is wrong and why, Mend how to put it right.
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
	// Excerpt is the source line, cut around the column.
	Excerpt string `json:"excerpt,omitempty"`
	caret   int
}

// String is "file:line:column: message (mend)" and a caret under the place.
func (i Issue) String() string {
	var b strings.Builder
	b.WriteString(i.File)
	if i.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", i.Line, max(i.Column, 1))
	}
	b.WriteString(": " + i.Message)
	if i.Mend != "" {
		b.WriteString(": " + i.Mend)
	}
	if strings.TrimSpace(i.Excerpt) != "" {
		fmt.Fprintf(&b, "\n    %s\n    %s^", i.Excerpt, strings.Repeat(" ", i.caret))
	}
	return b.String()
}

// Issues are all faults of a pack, in the order of files and lines.
type Issues []Issue

// Error lists all issues.
func (is Issues) Error() string {
	parts := make([]string, len(is))
	for n, i := range is {
		parts[n] = i.String()
	}
	return strings.Join(parts, "\n")
}

// Err returns the issues as an error, nil if there are none.
func (is Issues) Err() error {
	if len(is) == 0 {
		return nil
	}
	return is
}

// sorted orders issues by place and drops repeats and what is beyond maxIssues.
func (is Issues) sorted() Issues {
	sort.SliceStable(is, func(a, b int) bool {
		x, y := is[a], is[b]
		if x.File != y.File {
			return x.File < y.File
		}
		if x.Line != y.Line {
			return x.Line < y.Line
		}
		return x.Column < y.Column
	})
	var out Issues
	for n, i := range is {
		if len(out) == maxIssues {
			return append(out, Issue{File: "policy", Message: fmt.Sprintf("there are more than %d faults", maxIssues), Mend: "mend these first"})
		}
		if n == 0 || i != is[n-1] {
			out = append(out, i)
		}
	}
	return out
}

// pos is a place in a file.
type pos struct {
	src       *source
	line, col int
}

// source is one file while it is loaded.
type source struct {
	name   string
	lines  []string
	issues *Issues
}

func newSource(f File, issues *Issues) *source {
	return &source{name: f.Name, lines: strings.Split(string(f.Data), "\n"), issues: issues}
}

// failf records an issue at a place. mend may be "".
func (p pos) failf(mend, format string, a ...any) {
	if p.src == nil {
		return
	}
	i := Issue{File: p.src.name, Line: p.line, Column: p.col, Message: fmt.Sprintf(format, a...), Mend: mend}
	if p.line > 0 && p.line <= len(p.src.lines) {
		i.Excerpt, i.caret = excerpt(p.src.lines[p.line-1], p.col)
	}
	*p.src.issues = append(*p.src.issues, i)
}

// String is file:line.
func (p pos) String() string {
	if p.src == nil {
		return "?"
	}
	return fmt.Sprintf("%s:%d", p.src.name, p.line)
}

// excerptWidth is the most runes of a source line that are shown.
const excerptWidth = 100

// excerpt returns the line, cut to excerptWidth around the 1-based column, with
// tabs and control characters as spaces, and where the caret goes.
func excerpt(line string, col int) (string, int) {
	runes := []rune(strings.ToValidUTF8(strings.TrimRight(line, "\r"), "?"))
	at := min(max(col-1, 0), len(runes))
	from := 0
	if at > excerptWidth-20 {
		from = at - excerptWidth/2
	}
	runes = runes[from:min(len(runes), from+excerptWidth)]
	for n, r := range runes {
		if r < ' ' || r == 0x7f {
			runes[n] = ' '
		}
	}
	return strings.TrimRight(string(runes), " "), at - from
}

// nearest returns the candidate most like the word, "" if none is close.
func nearest(word string, candidates []string) string {
	best, bestAt := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), bestAt); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// didYouMean turns the nearest candidate into a hint; without one it lists what
// there is, if that is short.
func didYouMean(word string, candidates []string) string {
	if c := nearest(word, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	if len(candidates) == 0 {
		return "there is none"
	}
	if len(candidates) <= 16 {
		return "want one of " + strings.Join(candidates, ", ")
	}
	return ""
}

// distance is the edit distance (insert, delete, replace, swap of neighbours),
// or at least limit when it is not smaller.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
