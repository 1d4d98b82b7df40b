package policy

import (
	"sort"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/casement/casement/internal/finding"
)

// Variable is one name that conditions can read.
type Variable struct {
	Name string
	// Type is the CEL type: string, int, double, bool, list(string) or
	// map(string, string).
	Type string
	Doc  string
	// Field is the finding's field it comes from, "case" for a fact of the case.
	Field string
	// Words is the closed set of values, nil if it is open.
	Words []string
	// Bounded: when the fact is unknown it counts as the worst of all values it
	// could have. Facts that are not bounded are reports and names: silence
	// about them is itself the value.
	Bounded bool

	value   func(Facts) any
	unknown func(Facts) bool
}

// blastLarge is what conditions see for an unknown blast radius.
const blastLarge = 1_000_000

// tri is a three-valued variable: "yes", "no" or "unknown".
func tri(name, field, doc string, bounded bool, get func(Facts) finding.Tri) Variable {
	return Variable{
		Name: name, Type: "string", Field: field, Doc: doc, Words: []string{"yes", "no", "unknown"}, Bounded: bounded,
		value:   func(f Facts) any { return get(f).String() },
		unknown: func(f Facts) bool { return get(f) != finding.Yes && get(f) != finding.No },
	}
}

// word is a string variable that is never unknown: "" is "none stated".
func word(name, field, doc string, get func(Facts) string) Variable {
	return Variable{Name: name, Type: "string", Field: field, Doc: doc, value: func(f Facts) any { return get(f) }}
}

// open is a string variable whose empty value is unknown.
func open(name, field, doc string, words []string, get func(Facts) string) Variable {
	v := word(name, field, doc, get)
	v.Words, v.Bounded = words, true
	v.unknown = func(f Facts) bool { return get(f) == "" }
	return v
}

// Variables lists the CEL environment, version EnvVersion, sorted by name.
func Variables() []Variable {
	var classes, domains []string
	for _, c := range finding.Classes() {
		classes = append(classes, string(c.Class))
	}
	for _, d := range finding.Domains() {
		domains = append(domains, string(d))
	}
	class := word("class", "class", "stable name of the risky state, \"\" when none fits", func(f Facts) string { return f.Class })
	class.Words = append(classes, "")
	domain := word("domain", "domain", "policy domain", func(f Facts) string { return f.Domain })
	domain.Words = append(domains, "")
	vs := []Variable{
		class, domain,
		word("source", "source", "feed the finding came from, e.g. github.dependabot", func(f Facts) string { return f.Source }),
		word("product", "product", "tool as it names itself", func(f Facts) string { return f.Product }),
		word("rule", "rule", "the tool's rule or check id", func(f Facts) string { return f.Rule }),
		word("control", "weakness.control", "control id of a benchmark, e.g. S3.2", func(f Facts) string { return f.Control }),
		word("asset_uid", "asset.uid", "the asset's own identifier", func(f Facts) string { return f.AssetUID }),
		word("asset_name", "asset.name", "name of the asset", func(f Facts) string { return f.AssetName }),
		word("asset_type", "asset.type", "kind of asset, e.g. bucket", func(f Facts) string { return f.AssetType }),
		word("provider", "asset.provider", "aws, gcp, azure, github, kubernetes, …", func(f Facts) string { return f.Provider }),
		word("region", "asset.region", "region of the asset", func(f Facts) string { return f.Region }),
		word("app", "asset.app", "owning application", func(f Facts) string { return f.App }),
		word("repository", "location.repository", "repository of the code", func(f Facts) string { return f.Repository }),
		word("file", "location.file", "path of the file", func(f Facts) string { return f.File }),
		word("component", "component.name", "vulnerable package", func(f Facts) string { return f.Component }),
		word("component_version", "component.version", "its version", func(f Facts) string { return f.ComponentVersion }),
		word("ecosystem", "component.ecosystem", "its package ecosystem", func(f Facts) string { return f.Ecosystem }),
		word("fixed_version", "component.fixed_version", "lowest version that mends it, \"\" if none is known", func(f Facts) string { return f.FixedVersion }),
		word("principal", "identity.principal", "user, role, account or client id", func(f Facts) string { return f.Principal }),
		word("identity_kind", "identity.kind", "user, role, service_account, access_key or oauth_app", func(f Facts) string { return f.IdentityKind }),
		word("compensating_control", "exposure.compensating_control", "control that stands before the risky state, \"\" if none is stated", func(f Facts) string { return f.CompensatingControl }),
		word("team", "case", "owning team, \"\" if unknown", func(f Facts) string { return f.Team }),
		open("account", "asset.account", "account, project or subscription", nil, func(f Facts) string { return f.Account }),
		open("environment", "asset.environment", "production, staging, development, test or another word", nil, func(f Facts) string { return f.Environment }),
		open("criticality", "asset.criticality", "low, medium, high or critical", []string{"low", "medium", "high", "critical", ""}, func(f Facts) string { return f.Criticality }),
		open("data_class", "asset.data_class", "public, internal, confidential or restricted", []string{"public", "internal", "confidential", "restricted", ""}, func(f Facts) string { return f.DataClass }),
		tri("kev", "weakness.kev", "in CISA's list of known exploited vulnerabilities", true, func(f Facts) finding.Tri { return f.KEV }),
		tri("customer_facing", "asset.customer_facing", "customers depend on the asset", true, func(f Facts) finding.Tri { return f.CustomerFacing }),
		tri("regulated", "asset.regulated", "the asset is under regulation", true, func(f Facts) finding.Tri { return f.Regulated }),
		tri("internet_facing", "exposure.internet_facing", "reachable from public networks", true, func(f Facts) finding.Tri { return f.InternetFacing }),
		tri("pipeline_adjacent", "exposure.pipeline_adjacent", "can change what is built or released", true, func(f Facts) finding.Tri { return f.PipelineAdjacent }),
		tri("privileged", "identity.privileged", "the identity is powerful", true, func(f Facts) finding.Tri { return f.Privileged }),
		tri("exploited", "exposure.exploited", "the source reports that it was used; silence is not a report", false, func(f Facts) finding.Tri { return f.Exploited }),
		{Name: "severity", Type: "int", Field: "severity", Bounded: true,
			Doc:     "the source's severity: INFO 1, LOW 2, MEDIUM 3, HIGH 4, CRITICAL 5; 0 if unknown",
			value:   func(f Facts) any { return int64(f.Severity) },
			unknown: func(f Facts) bool { return f.Severity == finding.SeverityUnknown }},
		{Name: "confidence", Type: "int", Field: "confidence", Bounded: true,
			Doc:     "confidence of the source, 1 to 100; 0 if unknown",
			value:   func(f Facts) any { return int64(f.Confidence) },
			unknown: func(f Facts) bool { return f.Confidence == 0 }},
		{Name: "cvss", Type: "double", Field: "weakness.cvss", Bounded: true,
			Doc:     "CVSS base score 0.0 to 10.0; unknown where the source gives none",
			value:   func(f Facts) any { return float64(f.CVSS) / 10 },
			unknown: func(f Facts) bool { return f.CVSS == 0 }},
		{Name: "blast", Type: "int", Field: "exposure.blast", Bounded: true,
			Doc: "number of things that fall with the asset; large if unknown",
			value: func(f Facts) any {
				if f.Blast <= finding.BlastUnknown {
					return int64(blastLarge)
				}
				return int64(f.Blast)
			},
			unknown: func(f Facts) bool { return f.Blast <= finding.BlastUnknown }},
		{Name: "cve", Type: "list(string)", Field: "weakness.cve", Doc: "CVE ids", value: func(f Facts) any { return f.CVE }},
		{Name: "cwe", Type: "list(string)", Field: "weakness.cwe", Doc: "CWE ids", value: func(f Facts) any { return f.CWE }},
		{Name: "advisory", Type: "list(string)", Field: "weakness.advisory", Doc: "advisory ids such as GHSA-…", value: func(f Facts) any { return f.Advisory }},
		{Name: "scopes", Type: "list(string)", Field: "identity.scopes", Doc: "granted OAuth scopes", value: func(f Facts) any { return f.Scopes }},
		{Name: "tags", Type: "map(string, string)", Field: "asset.tags", Doc: "tags of the asset; tags.value(\"x\") is \"\" when there is none", value: func(f Facts) any { return f.Tags }},
		{Name: "params", Type: "map(string, string)", Field: "params", Doc: "connector parameters the finding carries", value: func(f Facts) any { return f.Params }},
		{Name: "owner_known", Type: "bool", Field: "case", Doc: "more than the fallback of ownership answered", value: func(f Facts) any { return f.OwnerKnown }},
		{Name: "recurrence", Type: "bool", Field: "case", Doc: "closed before and back", value: func(f Facts) any { return f.Recurrence }},
		{Name: "members", Type: "int", Field: "case", Doc: "number of findings that speak of the exposure", value: func(f Facts) any { return int64(f.Members) }},
		{Name: "fix_available", Type: "bool", Field: "component.fixed_version", Doc: "a fixed version is known", value: func(f Facts) any { return f.FixedVersion != "" }},
	}
	sort.Slice(vs, func(i, j int) bool { return vs[i].Name < vs[j].Name })
	return vs
}

// Functions lists the functions beside the standard ones, as declared.
func Functions() []string {
	return []string{
		"is_no(string) -> bool: known to be no",
		"is_unknown(string) -> bool: not known",
		"is_yes(string) -> bool: known to be yes",
		"map(string, string).value(string) -> string: the value of a key, \"\" if it is missing",
		"not_no(string) -> bool: yes or unknown; unknown counts as bad",
		"not_yes(string) -> bool: no or unknown",
	}
}

// Constants lists the named numbers.
func Constants() map[string]int64 {
	return map[string]int64{"INFO": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4, "CRITICAL": 5}
}

// environment builds the CEL environment. The only macros are exists and all;
// compile refuses them over maps, whose size and order no reader controls.
func environment(vs []Variable) (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.ClearMacros(), cel.Macros(cel.ExistsMacro, cel.AllMacro, cel.HasMacro),
		cel.ParserRecursionLimit(64), cel.ParserExpressionSizeLimit(8192),
		cel.DefaultUTCTimeZone(true),
	}
	for _, v := range vs {
		opts = append(opts, cel.Variable(v.Name, celType(v.Type)))
	}
	for name, n := range Constants() {
		opts = append(opts, cel.Constant(name, cel.IntType, types.Int(n)))
	}
	for name, want := range map[string][]string{
		"is_yes": {"yes"}, "is_no": {"no"}, "not_no": {"yes", "unknown"}, "not_yes": {"no", "unknown"}, "is_unknown": {"unknown", ""},
	} {
		opts = append(opts, cel.Function(name, cel.Overload(name+"_string", []*cel.Type{cel.StringType}, cel.BoolType,
			cel.UnaryBinding(func(v ref.Val) ref.Val {
				s, ok := v.(types.String)
				return types.Bool(ok && contains(want, string(s)))
			}))))
	}
	tags := cel.MapType(cel.StringType, cel.StringType)
	opts = append(opts, cel.Function("value", cel.MemberOverload("map_value_string", []*cel.Type{tags, cel.StringType}, cel.StringType,
		cel.BinaryBinding(mapValue))))
	return cel.NewEnv(opts...)
}

// mapValue is tags.value(key): "" for a missing key.
func mapValue(m, key ref.Val) ref.Val {
	mapper, ok := m.(interface {
		Find(key ref.Val) (ref.Val, bool)
	})
	if !ok {
		return types.String("")
	}
	v, found := mapper.Find(key)
	if !found {
		return types.String("")
	}
	return v
}

func celType(name string) *cel.Type {
	switch name {
	case "int":
		return cel.IntType
	case "double":
		return cel.DoubleType
	case "bool":
		return cel.BoolType
	case "list(string)":
		return cel.ListType(cel.StringType)
	case "map(string, string)":
		return cel.MapType(cel.StringType, cel.StringType)
	}
	return cel.StringType
}

// activation is the facts as CEL sees them, and which of them are unknown.
type activation struct {
	vars    map[string]any
	unknown []string
}

func newActivation(vs []Variable, f Facts) activation {
	a := activation{vars: make(map[string]any, len(vs))}
	for _, v := range vs {
		x := v.value(f)
		switch l := x.(type) { // a nil list is an empty list
		case []string:
			if l == nil {
				x = []string{}
			}
		case map[string]string:
			if l == nil {
				x = map[string]string{}
			}
		}
		a.vars[v.Name] = x
		if v.Bounded && v.unknown(f) {
			a.unknown = append(a.unknown, v.Name)
		}
	}
	return a
}

// isWord reports whether a word is one of a variable's closed set.
func (v Variable) isWord(w string) bool { return v.Words == nil || contains(v.Words, w) }

func (v Variable) wordsHint(w string) string {
	var named []string
	for _, x := range v.Words {
		if x != "" {
			named = append(named, x)
		}
	}
	return strings.TrimSpace(didYouMean(w, named))
}
