package policy

import (
	"fmt"
	"sort"
	"strings"
)

// Reference renders the CEL environment as Markdown, for people who write
// conditions.
func Reference() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Conditions\n\nConditions are CEL expressions over these variables (environment version %d). "+
		"A fact marked *worst* counts, while it is unknown, as the worst value it could have: the strictest class stands, "+
		"nothing is suppressed and nothing is enforced.\n\n| variable | type | from | unknown | meaning |\n| --- | --- | --- | --- | --- |\n", EnvVersion)
	for _, v := range Variables() {
		unknown := "-"
		if v.Bounded {
			unknown = "worst"
		}
		doc := v.Doc
		if len(v.Words) > 0 && v.Name != "class" {
			var words []string
			for _, w := range v.Words {
				if w != "" {
					words = append(words, "`"+w+"`")
				}
			}
			doc += "; " + strings.Join(words, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", v.Name, v.Type, v.Field, unknown, doc)
	}
	b.WriteString("\nFunctions beside those of CEL:\n\n")
	for _, f := range Functions() {
		name, doc, _ := strings.Cut(f, ": ")
		fmt.Fprintf(&b, "- `%s`: %s\n", name, doc)
	}
	b.WriteString("\nMacros: `exists`, `all` (over lists only) and `has`. Constants:")
	constants := Constants()
	names := keysOf(constants)
	sort.Slice(names, func(i, j int) bool { return constants[names[i]] < constants[names[j]] })
	for _, n := range names {
		fmt.Fprintf(&b, " `%s` = %d", n, constants[n])
	}
	fmt.Fprintf(&b, ".\n\nOne evaluation may cost at most %d units; a condition that could cost more does not load.\n", CostLimit)
	return b.String()
}
