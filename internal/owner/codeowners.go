package owner

import (
	"fmt"
	"strings"

	"github.com/hmarr/codeowners"
)

// Limits of a CODEOWNERS file. GitHub ignores files of 3 MB and more.
const (
	maxCodeowners     = 3 << 20
	maxCodeownersLine = 4096
)

// Codeowners is a parsed CODEOWNERS file with GitHub's meaning: the last match
// wins, a pattern without owners means that nobody owns.
type Codeowners struct{ rules codeowners.Ruleset }

// ParseCodeowners reads a CODEOWNERS file. Lines that GitHub would skip are
// skipped and named in notes, each beginning with "line N:".
func ParseCodeowners(text string) (Codeowners, []string) {
	var c Codeowners
	var notes []string
	if len(text) >= maxCodeowners {
		return c, []string{fmt.Sprintf("line 1: the file has %d bytes; GitHub ignores files of 3 MB and more", len(text))}
	}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		reason := ""
		switch {
		case line == "" || line[0] == '#':
			continue
		case len(line) > maxCodeownersLine:
			reason = "longer than 4096 characters"
		case strings.HasPrefix(line, "!"):
			reason = "GitHub has no exclusions with !"
		case strings.HasPrefix(line, "[") || strings.HasPrefix(line, "^["):
			reason = "sections are GitLab's and not supported; [ ] ranges do not exist on GitHub"
		}
		if reason != "" {
			notes = append(notes, fmt.Sprintf("line %d: skipped: %s", n, reason))
			continue
		}
		rules, err := codeowners.ParseFile(strings.NewReader(line), codeowners.WithOwnerMatchers([]codeowners.OwnerMatcher{codeowners.OwnerMatchFunc(matchOwner)}))
		if err != nil {
			notes = append(notes, fmt.Sprintf("line %d: skipped: %s", n, strings.TrimPrefix(err.Error(), "line 1: ")))
			continue
		}
		for _, r := range rules {
			if r.RawPattern() == "/" { // the matcher cannot take it
				notes = append(notes, fmt.Sprintf("line %d: skipped: the pattern / matches no file; write * for all", n))
				continue
			}
			r.LineNumber = n
			c.rules = append(c.rules, r)
		}
	}
	return c, notes
}

// matchOwner takes @user, @org/team (also nested) and mail addresses. The
// library's own matchers refuse long top-level domains and nested groups.
func matchOwner(s string) (codeowners.Owner, error) {
	name, isHandle := strings.CutPrefix(s, "@")
	switch {
	case isHandle && name != "" && !strings.Contains(name, "@"):
		if strings.Contains(name, "/") {
			return codeowners.Owner{Value: name, Type: codeowners.TeamOwner}, nil
		}
		return codeowners.Owner{Value: name, Type: codeowners.UsernameOwner}, nil
	case !isHandle && strings.Count(s, "@") == 1 && s[0] != '@' && s[len(s)-1] != '@':
		return codeowners.Owner{Value: s, Type: codeowners.EmailOwner}, nil
	}
	return codeowners.Owner{}, codeowners.ErrNoMatch
}

// Of returns the owners of a file and the line that says so; line 0 means that
// no rule matches, no owners on a line that the file is unowned on purpose.
func (c Codeowners) Of(file string) (owners []string, line int) {
	file = strings.TrimLeft(strings.TrimPrefix(file, "./"), "/")
	rule, err := c.rules.Match(file)
	if err != nil || rule == nil {
		return nil, 0
	}
	for _, o := range rule.Owners {
		owners = append(owners, o.Value)
	}
	return owners, rule.LineNumber
}
