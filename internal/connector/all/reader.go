package all

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
)

// reader reads the raw settings of an entry, or of a mapping inside it, and
// collects what is wrong with them.
type reader struct {
	entry  Entry
	values map[string]any
	// prefix leads from the entry to the values.
	prefix string
	http   connector.HTTPOptions
	faults []Fault
}

func (r *reader) fault(key, mend, format string, a ...any) {
	r.faults = append(r.faults, Fault{Key: key, Mend: mend, Message: fmt.Sprintf(format, a...)})
}

// check tells unknown, missing and malformed settings.
func (r *reader) check(known []Setting) {
	var names []string
	for _, s := range known {
		names = append(names, s.Name)
		v, there := r.values[s.Name]
		switch {
		case !there || v == nil:
			if s.Required {
				r.fault(r.prefix+s.Name, "add "+s.Name+": "+s.Doc, "%s is missing", s.Name)
			}
		case !s.Type.fits(v):
			r.fault(r.prefix+s.Name, s.Doc, "%s is not what is wanted: want %s", s.Name, s.Type.want())
		case s.Type == Table:
			r.checkTable(s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if !slices.Contains(names, name) {
			r.fault(r.prefix+name, suggest(name, names), "there is no setting %q here", name)
		}
	}
}

func (r *reader) checkTable(s Setting) {
	r.in(s.Name, func(in *reader) {
		if !s.Each {
			in.check(s.Fields)
			return
		}
		for _, name := range slices.Sorted(maps.Keys(in.values)) {
			if !Table.fits(in.values[name]) {
				in.fault(in.prefix+name, "", "%s is not what is wanted: want %s", name, Table.want())
			}
			in.in(name, func(one *reader) { one.check(s.Fields) })
		}
	})
}

func (t Type) want() string {
	switch t {
	case Duration:
		return "a duration such as 30s or 2m"
	case List:
		return "a word or a list of words"
	case Table:
		return "a mapping from names to values"
	case Number:
		return "a number, 0 or more"
	case Flag:
		return "true or false"
	}
	return "a text"
}

func (t Type) fits(v any) bool {
	switch t {
	case Flag:
		_, ok := v.(bool)
		return ok
	case Number:
		n, ok := numberOf(v)
		return ok && n >= 0
	case Duration:
		s, ok := v.(string)
		d, err := time.ParseDuration(s)
		return ok && err == nil && d > 0
	case Table:
		_, ok := v.(map[string]any)
		return ok
	case List:
		if many, ok := v.([]any); ok {
			return !slices.ContainsFunc(many, func(x any) bool { return !isWord(x) })
		}
	}
	return isWord(v)
}

// isWord reports whether a value is a single one; a number counts as its text.
func isWord(v any) bool {
	switch v.(type) {
	case string, bool, int64, float64:
		return true
	}
	return false
}

func numberOf(v any) (float64, bool) {
	switch x := v.(type) {
	case int64:
		return float64(x), true
	case float64:
		return x, true
	}
	return 0, false
}

func (r *reader) text(name string) string {
	if v := r.values[name]; isWord(v) {
		return fmt.Sprint(v)
	}
	return ""
}

func (r *reader) flag(name string) bool { b, _ := r.values[name].(bool); return b }

func (r *reader) number(name string) float64 { n, _ := numberOf(r.values[name]); return n }

func (r *reader) duration(name string) time.Duration {
	d, _ := time.ParseDuration(r.text(name)) // "" is zero, the rest was checked
	return d
}

func (r *reader) list(name string) []string {
	many, ok := r.values[name].([]any)
	if !ok {
		if s := r.text(name); s != "" {
			return []string{s}
		}
		return nil
	}
	var out []string
	for _, v := range many {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// words reads a mapping from names to texts.
func (r *reader) words(name string) map[string]string {
	out := map[string]string{}
	table, _ := r.values[name].(map[string]any) // its type was checked
	for k, v := range table {
		if !Text.fits(v) {
			r.fault(r.prefix+name+"."+k, "", "%s is not what is wanted: want %s", k, Text.want())
			continue
		}
		out[k] = fmt.Sprint(v)
	}
	return out
}

// in reads a mapping inside, if it is there; its faults become those of r.
func (r *reader) in(name string, read func(*reader)) {
	table, ok := r.values[name].(map[string]any)
	if !ok {
		return
	}
	sub := &reader{entry: r.entry, values: table, prefix: r.prefix + name + "."}
	read(sub)
	r.faults = append(r.faults, sub.faults...)
}

func (r *reader) secret(name string) string { return r.entry.Secrets[name] }

// each calls f with every entry of a table and the name of the secret that
// belongs to it: the one its setting from names, else its own name.
func (r *reader) each(table, from string, f func(name, secret string, one *reader)) {
	r.in(table, func(many *reader) {
		for _, name := range slices.Sorted(maps.Keys(many.values)) {
			many.in(name, func(one *reader) {
				secret := one.text(from)
				if secret == "" {
					secret = name
				}
				f(name, secret, one)
			})
		}
	})
}

// checkEach joins the entries of a table and their secrets: each names one, and
// none is left beside the used ones. What names an entry: "integration".
func (r *reader) checkEach(table, from, what, holds string, used ...string) {
	r.each(table, from, func(name, secret string, one *reader) {
		used = append(used, secret)
		if _, ok := r.entry.Secrets[secret]; !ok {
			one.fault(strings.TrimSuffix(one.prefix, "."), "add secrets: {"+secret+": env:NAME}", "%s %s: there is no secret %q with its %s", what, name, secret, holds)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(r.entry.Secrets)) {
		if !slices.Contains(used, name) {
			r.fault("secrets."+name, suggest(name, used), "no %s uses the secret %q", what, name)
		}
	}
}

// roots reads certificates from a secret, nil if it is not given.
func (r *reader) roots(name string) (*x509.CertPool, error) {
	text := r.secret(name)
	if text == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("secret " + name + ": holds no certificate in PEM")
	}
	return pool, nil
}

// suggest names the nearest word, or all of them.
func suggest(word string, words []string) string {
	best, at := "", max(2, len(word)/3)+1
	for _, w := range words {
		if d := distance(strings.ToLower(word), w); d < at {
			best, at = w, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "want one of " + strings.Join(slices.Sorted(slices.Values(words)), ", ")
}

// distance is the edit distance of two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			next := diagonal
			if a[i-1] != b[j-1] {
				next++
			}
			diagonal = row[j]
			row[j] = min(row[j]+1, row[j-1]+1, next)
		}
	}
	return row[len(b)]
}
