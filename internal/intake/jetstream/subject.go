package jetstream

import "strings"

// covers reports whether every subject that inner matches is matched by outer;
// both may have the wildcards of NATS: "*" for one word, a last ">" for one or
// more.
func covers(outer, inner string) bool {
	o, i := strings.Split(outer, "."), strings.Split(inner, ".")
	for k, w := range o {
		if w == ">" {
			return len(i) > k
		}
		if k >= len(i) || i[k] == ">" || w != "*" && w != i[k] {
			return false
		}
	}
	return len(o) == len(i)
}
