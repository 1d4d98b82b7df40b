package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Issue is one fault of a configuration.
type Issue struct {
	// Where is file:line:column, "env NAME" or "flag --name".
	Where string `json:"where"`
	// Key is the dotted key as far as known.
	Key string `json:"key,omitempty"`
	// Message says what is wrong, Mend how to put it right.
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"`
	// Excerpt is the source line with values hidden that may be secrets.
	Excerpt string `json:"excerpt,omitempty"`
	caret   int
	order   [3]int
}

// String is "where: message: mend" with the source line and a caret below.
func (i Issue) String() string {
	s := i.Where + ": " + i.Message
	if i.Mend != "" {
		s += ": " + i.Mend
	}
	if strings.TrimSpace(i.Excerpt) != "" {
		s += fmt.Sprintf("\n    %s\n    %s^", i.Excerpt, strings.Repeat(" ", i.caret))
	}
	return s
}

// Issues are all faults, in the order of files and lines.
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

// FromFlags reports whether there are issues, all of them of values given by
// flags.
func (is Issues) FromFlags() bool {
	for _, i := range is {
		if !strings.HasPrefix(i.Where, flagOrigin) {
			return false
		}
	}
	return len(is) > 0
}

// Sorted puts the issues in the order of files and lines.
func (is Issues) Sorted() Issues {
	sort.SliceStable(is, func(a, b int) bool {
		for k := range is[a].order {
			if is[a].order[k] != is[b].order[k] {
				return is[a].order[k] < is[b].order[k]
			}
		}
		return false
	})
	return is
}

// source is one file.
type source struct {
	name  string
	dir   string
	index int
	lines []string
}

// place is where a value stands.
type place struct {
	src       *source
	line, col int
	// origin replaces the file for values from the environment, flags and
	// defaults.
	origin string
}

func (p place) String() string {
	switch {
	case p.origin != "":
		return p.origin
	case p.src == nil:
		return "default"
	case p.line == 0:
		return p.src.name
	}
	return fmt.Sprintf("%s:%d:%d", p.src.name, p.line, p.col)
}

// How much of a source line is shown.
const (
	showLine   = iota
	hideUnsure // what may be a secret is masked
	hideValue  // the value is masked, whatever it is
)

// issue makes an issue at a place. With hide, the value on the line is masked if
// it may be a secret.
func (p place) issue(key, mend string, hide bool, format string, a ...any) Issue {
	how := showLine
	if hide {
		how = hideUnsure
	}
	if mayNameSecret(key) && hide {
		how = hideValue
	}
	return p.shown(key, mend, how, format, a...)
}

// secretIssue makes an issue about what is, or should be, a secret: its value is
// masked.
func (p place) secretIssue(key, mend, format string, a ...any) Issue {
	return p.shown(key, mend, hideValue, format, a...)
}

func (p place) shown(key, mend string, how int, format string, a ...any) Issue {
	i := Issue{Where: p.String(), Key: key, Message: fmt.Sprintf(format, a...), Mend: mend}
	if p.src == nil {
		i.order[0] = 1 << 30
		return i
	}
	i.order = [3]int{p.src.index, p.line, p.col}
	if p.line > 0 && p.line <= len(p.src.lines) {
		i.Excerpt, i.caret = excerpt(p.src.lines[p.line-1], p.col, how)
	}
	return i
}

// excerptWidth is the most characters of a source line that are shown.
const excerptWidth = 100

// excerpt returns a source line and where the caret goes. A line in flow style
// may hold other keys' values and is always masked.
func excerpt(line string, col, how int) (string, int) {
	switch {
	case strings.ContainsAny(line, "{}"), how == hideValue, how == hideUnsure && !harmless(line):
		line = masked(line)
	}
	runes := []rune(strings.ToValidUTF8(strings.TrimRight(line, "\r"), "?"))
	for n, r := range runes {
		if r < ' ' || r == 0x7f {
			runes[n] = ' '
		}
	}
	if len(runes) > excerptWidth {
		runes = append(runes[:excerptWidth], '…')
	}
	return strings.TrimRight(string(runes), " "), min(max(col-1, 0), len(runes))
}

func masked(line string) string {
	if i := strings.Index(line, ":"); i >= 0 {
		return line[:i+1] + " ***"
	}
	if rest := strings.TrimLeft(line, " "); strings.HasPrefix(rest, "- ") {
		return line[:len(line)-len(rest)] + "- ***"
	}
	return ""
}

// harmless tells of a line of YAML that it shows no secret: its value is missing,
// a number, a word of YAML, a reference, a local path or address, or, under a key
// that is not one for secrets, a short plain word.
func harmless(line string) bool {
	key, value, ok := strings.Cut(strings.TrimLeft(line, " -"), ":")
	if !ok || strings.ContainsAny(value, "#&*|>") {
		return false
	}
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	only := func(letters string) bool { return strings.Trim(value, letters) == "" }
	const small, digits, shortest = "abcdefghijklmnopqrstuvwxyz", "0123456789", 16
	switch {
	case value == "", value == "true", value == "false", value == "null":
		return true
	case mayNameSecret(key):
		return false
	case strings.HasPrefix(value, "env:"):
		return only(small + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_:" + digits)
	case strings.HasPrefix(value, "127.0.0.1"), strings.HasPrefix(value, "localhost"):
		return only(small + "." + digits + ":")
	}
	return len(value) <= shortest && (only(small+"-_") || only(digits))
}

// mayNameSecret tells of a key, also one that is misspelt, that its value may be
// a secret.
func mayNameSecret(key string) bool {
	low := strings.ToLower(key)
	return slices.ContainsFunc([]string{"pass", "pwd", "secret", "token", "key", "cred", "auth", "sign", "cookie", "bearer"}, func(w string) bool { return strings.Contains(low, w) })
}

// nearest returns the candidate most like the word, "" if none is close.
func nearest(word string, candidates []string) string {
	best, bestAt := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// didYouMean names the nearest candidate, or all of them if they are few.
func didYouMean(word string, candidates []string) string {
	if c := nearest(word, candidates); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	if n := len(candidates); n > 0 && n <= 14 {
		return "want one of " + strings.Join(candidates, ", ")
	}
	return ""
}

// distance is the edit distance of two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return row[len(b)]
}
