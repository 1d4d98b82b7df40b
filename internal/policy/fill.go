package policy

import (
	"sort"
	"strconv"
	"strings"
)

// factNames are the placeholders of action parameters: the text variables.
func factNames() []string {
	var out []string
	for _, v := range Variables() {
		if v.Type == "string" {
			out = append(out, v.Name)
		}
	}
	return out
}

// plainText renders a variable's value for people.
func plainText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case bool:
		return strconv.FormatBool(x)
	case []string:
		return strings.Join(x, ", ")
	case map[string]string:
		var parts []string
		for _, k := range keysOf(x) {
			parts = append(parts, k+"="+x[k])
		}
		return strings.Join(parts, ", ")
	}
	return ""
}

// fill replaces ${name} once; values are not looked into again.
func fill(s string, get func(string) string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		b.WriteString(get(s[i+2 : i+j]))
		s = s[i+j+1:]
	}
	b.WriteString(s)
	return b.String()
}

// placeholders checks every ${name} of a text.
func (l *loader) placeholders(t text, names []string) {
	rest := t.s
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			return
		}
		j := strings.IndexByte(rest[i:], '}')
		if j < 0 {
			t.at.failf("close it with }", "%s has a ${ without an end", quote(t.s))
			return
		}
		name := rest[i+2 : i+j]
		if !contains(names, name) {
			t.at.failf(didYouMean(name, names), "there is no fact ${%s}", name)
		}
		rest = rest[i+j+1:]
	}
}

// fillParams replaces placeholders by facts; a parameter whose fact is unknown
// is left out, so that the finding's own parameter, if any, takes its place.
func (p *Pack) fillParams(in map[string]string, f Facts) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range in {
		missing := false
		v = fill(v, func(name string) string {
			for _, x := range p.vars {
				if x.Name == name {
					s := plainText(x.value(f))
					missing = missing || s == ""
					return s
				}
			}
			return ""
		})
		if !missing {
			out[k] = v
		}
	}
	return out
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
