package s3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// document is a bucket policy. Statements stay raw, so that what is kept is
// kept as it was written.
type document struct {
	fields map[string]json.RawMessage
	stmts  []json.RawMessage
}

func parsePolicy(text string) (document, error) {
	var d document
	if text == "" {
		return d, nil
	}
	if err := json.Unmarshal([]byte(text), &d.fields); err != nil {
		return d, fmt.Errorf("the bucket policy is not a JSON object: %w", err)
	}
	raw := bytes.TrimSpace(d.fields["Statement"])
	switch {
	case len(raw) == 0:
		return d, nil
	case raw[0] == '{': // one statement may stand without a list
		d.stmts = []json.RawMessage{raw}
		return d, nil
	}
	if err := json.Unmarshal(raw, &d.stmts); err != nil {
		return d, fmt.Errorf("the statements of the bucket policy are not a list: %w", err)
	}
	return d, nil
}

// text returns the policy with these statements, "" if there are none.
func (d document) text(stmts []json.RawMessage) (string, error) {
	if len(stmts) == 0 {
		return "", nil
	}
	list, err := json.Marshal(stmts)
	if err != nil {
		return "", err
	}
	out := make(map[string]json.RawMessage, len(d.fields))
	for k, v := range d.fields {
		out[k] = v
	}
	out["Statement"] = list
	b, err := json.Marshal(out)
	return string(b), err
}

// canonical is the policy with sorted keys and without spaces: servers write
// policies anew when they return them.
func canonical(text string) string {
	if text == "" {
		return ""
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(b)
}

type statement struct {
	Sid          string
	Effect       string
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Action       json.RawMessage
	NotAction    json.RawMessage
	Resource     json.RawMessage
	Condition    map[string]map[string]json.RawMessage
}

// withoutPublic returns the policy without public access, and one line for
// each removal. A statement is public when it allows everybody ("*") and no
// condition holds it to a fixed value, as AWS defines "public"
// (AmazonS3 user guide, "The meaning of public"). Where "*" stands among other
// principals only "*" goes.
func withoutPublic(text string) (after string, removed []string, err error) {
	d, err := parsePolicy(text)
	if err != nil {
		return "", nil, err
	}
	var keep []json.RawMessage
	for i, raw := range d.stmts {
		var s statement
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", nil, fmt.Errorf("statement %d of the bucket policy: %w", i+1, err)
		}
		rest, open := openPrincipal(s)
		if !strings.EqualFold(s.Effect, "Allow") || !open || confined(s.Condition) {
			keep = append(keep, raw)
			continue
		}
		line := fmt.Sprintf("statement %s: allow everybody %s on %s", statementName(s, i), words(s.Action, s.NotAction), words(s.Resource, nil))
		if rest != nil {
			narrowed, err := replacePrincipal(raw, rest)
			if err != nil {
				return "", nil, err
			}
			keep = append(keep, narrowed)
			line += " (the named principals keep it)"
		}
		removed = append(removed, line)
	}
	if len(removed) == 0 {
		return text, nil, nil
	}
	after, err = d.text(keep)
	return after, removed, err
}

func statementName(s statement, i int) string {
	if s.Sid != "" {
		return fmt.Sprintf("%q", s.Sid)
	}
	return fmt.Sprintf("%d", i+1)
}

// openPrincipal reports whether a statement speaks of everybody, and the
// principal that remains without everybody, nil if none does.
func openPrincipal(s statement) (rest json.RawMessage, open bool) {
	if len(s.NotPrincipal) > 0 { // everybody but a few
		return nil, true
	}
	var one string
	if json.Unmarshal(s.Principal, &one) == nil {
		return nil, one == "*"
	}
	var byKind map[string]json.RawMessage
	if json.Unmarshal(s.Principal, &byKind) != nil {
		return nil, false
	}
	for kind, raw := range byKind {
		list := stringList(raw)
		named := slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == "*" })
		if len(named) == len(list) {
			continue
		}
		open = true
		delete(byKind, kind)
		if len(named) > 0 {
			b, err := json.Marshal(named)
			if err != nil { // strings: cannot fail
				continue
			}
			byKind[kind] = b
		}
	}
	if !open || len(byKind) == 0 {
		return nil, open
	}
	b, err := json.Marshal(byKind)
	if err != nil { // raw JSON that was parsed above: cannot fail
		return nil, true
	}
	return b, true
}

func replacePrincipal(raw, principal json.RawMessage) (json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	m["Principal"] = principal
	return json.Marshal(m)
}

// confined reports whether a condition holds a statement to fixed callers.
// Operators that a missing key passes (…IfExists, Not…, ForAllValues) don't.
func confined(c map[string]map[string]json.RawMessage) bool {
	for op, keys := range c {
		switch strings.ToLower(op) {
		case "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress":
		default:
			continue
		}
		for key, raw := range keys {
			if !fixedKey(strings.ToLower(key)) {
				continue
			}
			vals := stringList(raw)
			if len(vals) > 0 && !slices.ContainsFunc(vals, wide) {
				return true
			}
		}
	}
	return false
}

func fixedKey(k string) bool {
	switch k {
	case "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceaccount", "aws:sourceowner", "aws:sourceip", "aws:vpcsourceip",
		"aws:principalorgid", "aws:principalorgpaths", "aws:principalaccount", "aws:principalarn", "aws:userid", "aws:sourceorgid",
		"s3:dataaccesspointaccount", "s3:dataaccesspointarn":
		return true
	}
	return false
}

// wide: the value lets many unknown callers in.
func wide(v string) bool {
	if addr, bits, ok := strings.Cut(v, "/"); ok && strings.ContainsAny(addr, ".:") && !strings.HasPrefix(v, "arn:") {
		return bits == "0" || len(bits) == 1 && !strings.Contains(addr, ":") // wider than /10
	}
	return strings.ContainsAny(v, "*?") && !strings.HasPrefix(v, "arn:") || v == "arn:*"
}

func stringList(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	return nil
}

func words(raw, not json.RawMessage) string {
	if l := stringList(raw); len(l) > 0 {
		return strings.Join(l, ", ")
	}
	if l := stringList(not); len(l) > 0 {
		return "all but " + strings.Join(l, ", ")
	}
	return "everything"
}
