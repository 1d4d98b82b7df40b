package format

import (
	"bytes"
	"regexp"
	"strings"
)

// RedactUnread returns text that no reader understood as a person may look at
// it. What lies at the paths of secrets is hidden as Redact does, and besides,
// because nothing says where else secrets are: texts of members, keys, elements
// and options whose names are those of secrets, what follows a user's name in an
// address, private keys, and what looks like a token.
func RedactUnread(body []byte, secrets []string) []byte {
	body = trimBOM(body)
	if first := bytes.TrimLeft(body, " \t\r\n"); len(first) > 0 && (first[0] == '{' || first[0] == '[') {
		r := redactor{body: body, hash: func(string) string { return hiddenWord }, rules: redactRules(secrets), wary: true}
		body = r.run()
	}
	named, address := namedValue(), addressPassword()
	lines := strings.Split(strings.ToValidUTF8(string(body), "\uFFFD"), "\n")
	key := false
	for i, line := range lines {
		if key = key || strings.Contains(line, "-----BEGIN"); key {
			key, lines[i] = !strings.Contains(line, "-----END"), hiddenWord
			continue
		}
		line = named.ReplaceAllStringFunc(line, func(s string) string {
			m := named.FindStringSubmatch(s)
			if !namesSecret(strings.ToLower(m[1])) && !isSecretName(m[1]) {
				return s
			}
			return m[1] + m[2] + hiddenWord
		})
		lines[i] = hideTokens(ScrubArguments(address.ReplaceAllString(line, "${1}"+hiddenWord+"@")))
	}
	return []byte(strings.Join(lines, "\n"))
}

// hiddenWord stands where something was taken out.
const hiddenWord = "[redacted]"

// namedValue finds a name, what stands between, and its value: name: value,
// name="value", <name>value.
func namedValue() *regexp.Regexp {
	return regexp.MustCompile(`(?i)([a-z][\w.-]*)(["']?\s*(?:=>|[:=>])\s*["']?)((?:(?:bearer|basic)\s+)?[^\s"'<>,;&]+)`)
}

// addressPassword finds the password in an address.
func addressPassword() *regexp.Regexp { return regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`) }

// hideTokens takes words out that look like tokens.
func hideTokens(line string) string {
	var b strings.Builder
	for len(line) > 0 {
		n := 0
		for n < len(line) && tokenLetter(line[n]) {
			n++
		}
		if looksLikeToken(line[:n]) {
			b.WriteString(hiddenWord)
		} else {
			b.WriteString(line[:n])
		}
		if line = line[n:]; len(line) > 0 {
			b.WriteByte(line[0])
			line = line[1:]
		}
	}
	return b.String()
}

func tokenLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '+' || c == '/' || c == '='
}

// looksLikeToken reports whether a word is long and changes so often between
// small letters, capitals and digits that no person chose it; a UUID is a name.
func looksLikeToken(s string) bool {
	const shortest, often, uuid = 20, 5, 36
	if len(s) < shortest || len(s) == uuid && strings.Count(s, "-") == 4 && s[8] == '-' && s[23] == '-' {
		return false
	}
	kind := func(c byte) int {
		switch {
		case 'a' <= c && c <= 'z':
			return 1
		case 'A' <= c && c <= 'Z':
			return 2
		case '0' <= c && c <= '9':
			return 3
		}
		return 0
	}
	changes, last := 0, 0
	for i := range len(s) {
		if k := kind(s[i]); k != 0 {
			if last != 0 && k != last {
				changes++
			}
			last = k
		}
	}
	return changes*often >= len(s)
}
