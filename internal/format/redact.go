package format

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Redact returns a copy of a JSON body in which the texts at the given paths
// are replaced by hash of them ("" drops them). Paths are written as in Probe,
// "[]" for every element; "**." at the start means at any depth, and a path
// that ends at an object or list covers all texts in it. Everything else stays
// byte for byte. It works on JSON lines and on broken JSON as far as that can
// be followed; what comes after the break is dropped, because nothing says
// what is in it.
func Redact(body []byte, paths []string, hash func(string) string) []byte {
	if len(paths) == 0 {
		return body
	}
	r := redactor{body: body, hash: hash, rules: redactRules(paths)}
	return r.run()
}

func redactRules(paths []string) []redactRule {
	rules := make([]redactRule, len(paths))
	for i, p := range paths {
		rest, deep := strings.CutPrefix(p, "**.")
		rules[i] = redactRule{segments: strings.Split(strings.TrimPrefix(strings.ReplaceAll(rest, "[]", ".[]"), "."), "."), deep: deep}
	}
	return rules
}

type redactRule struct {
	segments []string
	deep     bool
}

// matches reports whether the place lies at or under the rule's path.
func (r redactRule) matches(place []string) bool {
	for start := 0; start+len(r.segments) <= len(place); start++ {
		ok := true
		for i, s := range r.segments {
			if !strings.EqualFold(s, place[start+i]) {
				ok = false
				break
			}
		}
		if ok {
			return true
		}
		if !r.deep {
			return false
		}
	}
	return false
}

type redactor struct {
	body  []byte
	hash  func(string) string
	rules []redactRule
	// base leads to the value that body is.
	base []string
	// wary hides as well what looks like a secret by its name.
	wary  bool
	out   []byte
	place []string // of covered, kept to be used again
}

// level is one open object or list.
type level struct {
	object, key bool
	hidden      bool // the whole of it is covered by a rule
	name        string
}

func (r *redactor) run() []byte {
	var stack []level
	r.out = make([]byte, 0, len(r.body))
	copied := 0 // what comes before is in out
	for i := 0; i < len(r.body); i++ {
		switch c := r.body[i]; c {
		case '"':
			end := stringEnd(r.body, i)
			closed := end > i+1 && r.body[end-1] == '"'
			top := len(stack) - 1
			if top >= 0 && stack[top].object && stack[top].key {
				stack[top].name, stack[top].key = decodeString(r.body[i:end]), false
			} else {
				if clean, changed := r.text(stack, r.body[i:end]); changed {
					quoted, _ := json.Marshal(clean) // text always marshals
					r.out = append(append(r.out, r.body[copied:i]...), quoted...)
					copied = end
				}
				if !closed {
					return append(r.out, r.body[copied:end]...)
				}
			}
			i = end - 1
		case '{', '[':
			hidden := r.covered(stack)
			stack = append(stack, level{object: c == '{', key: c == '{', hidden: hidden})
			if len(stack) > MaxDepth {
				return append(r.out, r.body[copied:i]...)
			}
		case '}', ']':
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		case ',':
			if n := len(stack); n > 0 {
				stack[n-1].key = stack[n-1].object
			}
		}
	}
	return append(r.out, r.body[copied:]...)
}

// text returns what takes the place of a quoted text, and whether it differs.
func (r *redactor) text(stack []level, quoted []byte) (string, bool) {
	name := ""
	if n := len(stack); n > 0 && stack[n-1].object {
		name = stack[n-1].name
	}
	if r.covered(stack) || r.wary && isSecretName(name) {
		return r.hidden(decodeString(quoted)), true
	}
	if !r.wary || !mayHoldSecret(quoted) {
		return "", false
	}
	was := decodeString(quoted)
	s := ScrubArguments(was)
	return s, s != was
}

// hidden is what stands for a secret.
func (r *redactor) hidden(s string) string {
	if r.hash == nil || s == "" {
		return ""
	}
	return r.hash(s)
}

// covered reports whether the value that comes next is to be redacted.
func (r *redactor) covered(stack []level) bool {
	if n := len(stack); n > 0 && stack[n-1].hidden {
		return true
	}
	if len(r.rules) == 0 {
		return false
	}
	r.place = append(r.place[:0], r.base...)
	for _, l := range stack {
		if l.object {
			r.place = append(r.place, l.name)
		} else {
			r.place = append(r.place, "[]")
		}
	}
	for _, rule := range r.rules {
		if rule.matches(r.place) {
			return true
		}
	}
	return false
}

// decodeString undoes JSON's quoting; text that is cut keeps what is there.
func decodeString(quoted []byte) string {
	var s string
	if bytes.IndexByte(quoted, '\\') >= 0 && json.Unmarshal(quoted, &s) == nil {
		return s
	}
	return strings.Trim(string(quoted), `"`)
}

// ScrubArguments takes the values of options that carry secrets out of a
// quoted command line: --password x, token=x, Authorization: Bearer x.
func ScrubArguments(s string) string {
	words := strings.Split(s, " ")
	next := false
	for i, w := range words {
		// Not cut by the lengths of small letters: they may differ.
		key, _, assigned := strings.Cut(w, "=")
		switch low := strings.ToLower(w); {
		case next && w != "":
			words[i], next = "[redacted]", low == "bearer" || low == "basic"
		case assigned && namesSecret(strings.ToLower(key)):
			words[i] = key + "=[redacted]"
		case !assigned && strings.HasPrefix(low, "-") && namesSecret(low), strings.HasSuffix(low, "authorization:"):
			next = true
		}
	}
	return strings.Join(words, " ")
}

func namesSecret(option string) bool {
	return slices.ContainsFunc(secretWords(), func(word string) bool { return strings.Contains(option, word) })
}

func secretWords() []string {
	return []string{"password", "passwd", "secret", "token", "apikey", "api-key", "api_key", "access-key", "access_key"}
}

// mayHoldSecret tells quickly of most texts that ScrubArguments leaves them as
// they are.
func mayHoldSecret(text []byte) bool {
	if bytes.IndexByte(text, ' ') < 0 && bytes.IndexByte(text, '=') < 0 {
		return false
	}
	low := bytes.ToLower(text)
	// Each of secretWords has one of these in it.
	for _, stem := range [...]string{"passw", "secret", "token", "key", "authorization"} {
		if bytes.Contains(low, []byte(stem)) {
			return true
		}
	}
	return false
}

// isSecretName reports whether the text of a member by this name is a secret:
// password, client_secret, accessToken; not secret_type or token_url.
func isSecretName(name string) bool {
	// Every member's name passes here: only as much of its end as the longest word
	// has is put into small letters.
	var end [13]byte
	k := len(end)
	for i := len(name) - 1; i >= 0 && k > 0; i-- {
		switch c := name[i]; {
		case c == '_' || c == '-' || c == '.':
		case 'A' <= c && c <= 'Z':
			k--
			end[k] = c + 'a' - 'A'
		default:
			k--
			end[k] = c
		}
	}
	low := string(end[k:])
	for _, word := range [...]string{"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey", "authorization", "credentials", "cookie"} {
		if strings.HasSuffix(low, word) {
			return true
		}
	}
	return false
}
