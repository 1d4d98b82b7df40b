package mapping

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// target is a field of a finding that a mapping may set.
type target struct {
	name string
	set  func(*finding.Finding, []string)
	// words are the only values constants and tables may hold; nil means any.
	words func() []string
	// secret: the value is replaced by its keyed hash.
	secret bool
	// number, time: a value that is none is refused.
	number, time bool
	// object takes a whole object or list instead of texts.
	object func(*finding.Finding, any)
	// family: the name ends in a free word, e.g. params.bucket.
	family bool
}

// text makes a setter of a text field.
func text(at func(*finding.Finding) *string) func(*finding.Finding, []string) {
	return func(f *finding.Finding, v []string) { *at(f) = v[0] }
}

// tri makes a setter of a yes/no field; words that are neither stay unknown.
func tri(at func(*finding.Finding) *finding.Tri) func(*finding.Finding, []string) {
	return func(f *finding.Finding, v []string) {
		var t finding.Tri
		if t.UnmarshalText([]byte(v[0])) == nil {
			*at(f) = t
		}
	}
}

func triWords() []string { return []string{"yes", "no", "unknown", "true", "false"} }

// targets lists every field a mapping may set. Families end in a dot.
func targets() []target {
	out := []target{
		{name: "source", set: text(func(f *finding.Finding) *string { return &f.Source })},
		{name: "product", set: text(func(f *finding.Finding) *string { return &f.Product })},
		{name: "native_id", set: text(func(f *finding.Finding) *string { return &f.NativeID })},
		{name: "rule", set: text(func(f *finding.Finding) *string { return &f.Rule })},
		{name: "title", set: text(func(f *finding.Finding) *string { return &f.Title })},
		{name: "description", set: text(func(f *finding.Finding) *string { return &f.Description })},
		{name: "recommended", set: text(func(f *finding.Finding) *string { return &f.Recommended })},
		{name: "class", words: classNames, set: func(f *finding.Finding, v []string) { f.Class = finding.Class(v[0]) }},
		{name: "domain", words: domainNames, set: func(f *finding.Finding, v []string) { f.Domain = finding.Domain(v[0]) }},
		{name: "severity", words: severityWords, set: func(f *finding.Finding, v []string) {
			f.Severity, f.SourceSeverity = severityOf(v[0]), format.First(f.SourceSeverity, v[0])
		}},
		{name: "source_severity", set: text(func(f *finding.Finding) *string { return &f.SourceSeverity })},
		{name: "confidence", number: true, set: func(f *finding.Finding, v []string) { f.Confidence = min(100, number(v[0]).Int()) }},
		{name: "status", words: statusWords, set: setStatus},
		{name: "first_seen", time: true, set: func(f *finding.Finding, v []string) { f.FirstSeen = format.Time(v[0]) }},
		{name: "last_seen", time: true, set: func(f *finding.Finding, v []string) { f.LastSeen = format.Time(v[0]) }},
		{name: "deadline", time: true, set: func(f *finding.Finding, v []string) { f.Deadline = format.Time(v[0]) }},
	}
	out = append(out, weaknessTargets()...)
	out = append(out, assetTargets()...)
	return append(out, otherTargets()...)
}

func weaknessTargets() []target {
	return []target{
		{name: "weakness.cve", set: func(f *finding.Finding, v []string) { f.Weakness.CVE = format.CVEs(v...) }},
		{name: "weakness.cwe", set: func(f *finding.Finding, v []string) { f.Weakness.CWE = cwes(v) }},
		{name: "weakness.advisory", set: func(f *finding.Finding, v []string) { f.Weakness.Advisory = v }},
		{name: "weakness.control", set: text(func(f *finding.Finding) *string { return &f.Weakness.Control })},
		{name: "weakness.secret", secret: true},
		{name: "weakness.kev", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Weakness.KEV })},
		{name: "weakness.cvss", number: true, set: func(f *finding.Finding, v []string) { f.Weakness.CVSS = format.CVSS(float64(number(v[0]))) }},
	}
}

func assetTargets() []target {
	return []target{
		{name: "asset.uid", set: text(func(f *finding.Finding) *string { return &f.Asset.UID })},
		{name: "asset.type", set: text(func(f *finding.Finding) *string { return &f.Asset.Type })},
		{name: "asset.name", set: text(func(f *finding.Finding) *string { return &f.Asset.Name })},
		{name: "asset.provider", set: text(func(f *finding.Finding) *string { return &f.Asset.Provider })},
		{name: "asset.account", set: text(func(f *finding.Finding) *string { return &f.Asset.Account })},
		{name: "asset.region", set: text(func(f *finding.Finding) *string { return &f.Asset.Region })},
		{name: "asset.environment", set: text(func(f *finding.Finding) *string { return &f.Asset.Environment })},
		{name: "asset.app", set: text(func(f *finding.Finding) *string { return &f.Asset.App })},
		{name: "asset.criticality", words: func() []string { return []string{"low", "medium", "high", "critical"} }, set: text(func(f *finding.Finding) *string { return &f.Asset.Criticality })},
		{name: "asset.customer_facing", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Asset.CustomerFacing })},
		{name: "asset.data_class", words: func() []string { return []string{"public", "internal", "confidential", "restricted"} }, set: text(func(f *finding.Finding) *string { return &f.Asset.DataClass })},
		{name: "asset.regulated", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Asset.Regulated })},
		{name: "asset.tags", object: setTags},
		{name: "asset.tags.", family: true},
	}
}

func otherTargets() []target {
	return []target{
		{name: "location.repository", set: text(func(f *finding.Finding) *string { return &f.Location.Repository })},
		{name: "location.file", set: text(func(f *finding.Finding) *string { return &f.Location.File })},
		{name: "location.line", number: true, set: func(f *finding.Finding, v []string) { f.Location.Line = number(v[0]).Int() }},
		{name: "location.snippet", set: func(f *finding.Finding, v []string) { f.Location.SnippetHash = format.Hash(v...) }},
		{name: "location.url", set: text(func(f *finding.Finding) *string { return &f.Location.URL })},
		{name: "component.name", set: text(func(f *finding.Finding) *string { return &f.Component.Name })},
		{name: "component.version", set: text(func(f *finding.Finding) *string { return &f.Component.Version })},
		{name: "component.purl", set: text(func(f *finding.Finding) *string { return &f.Component.PURL })},
		{name: "component.fixed_version", set: text(func(f *finding.Finding) *string { return &f.Component.FixedVersion })},
		{name: "component.ecosystem", set: text(func(f *finding.Finding) *string { return &f.Component.Ecosystem })},
		{name: "component.path", set: text(func(f *finding.Finding) *string { return &f.Component.Path })},
		{name: "identity.principal", set: text(func(f *finding.Finding) *string { return &f.Identity.Principal })},
		{name: "identity.kind", words: func() []string { return []string{"user", "role", "service_account", "access_key", "oauth_app"} }, set: text(func(f *finding.Finding) *string { return &f.Identity.Kind })},
		{name: "identity.privileged", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Identity.Privileged })},
		{name: "identity.scopes", set: func(f *finding.Finding, v []string) { f.Identity.Scopes = v }},
		{name: "exposure.internet_facing", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Exposure.InternetFacing })},
		{name: "exposure.pipeline_adjacent", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Exposure.PipelineAdjacent })},
		{name: "exposure.exploited", words: triWords, set: tri(func(f *finding.Finding) *finding.Tri { return &f.Exposure.Exploited })},
		{name: "exposure.blast", number: true, set: func(f *finding.Finding, v []string) { f.Exposure.Blast = number(v[0]).Int() }},
		{name: "exposure.compensating_control", set: text(func(f *finding.Finding) *string { return &f.Exposure.CompensatingControl })},
		{name: "owner.", family: true},
		{name: "params.", family: true},
		{name: "evidence.", family: true},
	}
}

// targetOf finds one of all targets by name; a family's member is made for its word.
func targetOf(all []target, name string) (target, bool) {
	for _, t := range all {
		if t.name == name && !t.family {
			return t, true
		}
		word, ok := strings.CutPrefix(name, t.name)
		if !t.family || !ok || word == "" {
			continue
		}
		switch t.name {
		case "asset.tags.":
			t.set = func(f *finding.Finding, v []string) {
				if f.Asset.Tags == nil {
					f.Asset.Tags = map[string]string{}
				}
				f.Asset.Tags[word] = v[0]
			}
		case "owner.":
			t.set = func(f *finding.Finding, v []string) {
				for _, x := range v {
					format.AddHint(f, word, x)
				}
			}
		case "params.":
			t.set = func(f *finding.Finding, v []string) { format.SetParam(f, word, v[0]) }
		case "evidence.":
			t.set = func(f *finding.Finding, v []string) {
				for _, x := range v {
					format.AddEvidence(f, word, x)
				}
			}
		}
		t.name = name
		return t, true
	}
	return target{}, false
}

func targetNames(all []target) []string {
	var out []string
	for _, t := range all {
		if t.family {
			t.name += "NAME"
		}
		out = append(out, t.name)
	}
	return out
}

// setTags reads tags as an object, as a list of {key, value} or {name, value}
// in any case, or as texts like k=v.
func setTags(f *finding.Finding, v any) {
	tag := func(k, v string) {
		if k = strings.TrimSpace(k); k == "" {
			return
		}
		if f.Asset.Tags == nil {
			f.Asset.Tags = map[string]string{}
		}
		f.Asset.Tags[k] = strings.TrimSpace(v)
	}
	switch x := v.(type) {
	case map[string]any:
		for k, y := range x {
			if t := appendText(nil, y); len(t) == 1 {
				tag(k, t[0])
			}
		}
	case []any:
		for _, y := range x[:min(len(x), maxValues)] {
			pair, ok := y.(map[string]any)
			if !ok {
				setTags(f, y)
				continue
			}
			var k, val string
			for name, z := range pair {
				t := appendText(nil, z)
				switch low := strings.ToLower(name); {
				case len(t) != 1:
				case low == "key" || low == "name":
					k = t[0]
				case low == "value":
					val = t[0]
				}
			}
			tag(k, val)
		}
	case string:
		for _, y := range strings.FieldsFunc(x, func(r rune) bool { return r == '|' || r == ',' || r == ';' }) {
			k, val, ok := strings.Cut(y, "=")
			if !ok {
				k, val, ok = strings.Cut(y, ":")
			}
			if ok {
				tag(k, val)
			}
		}
	}
}

func setStatus(f *finding.Finding, v []string) {
	switch strings.ToLower(v[0]) {
	case "fixed", "resolved", "closed", "remediated", "mitigated":
		f.Status = finding.StatusFixed
	case "dismissed", "ignored", "accepted", "suppressed", "false_positive", "muted":
		f.Status = finding.StatusDismissed
	}
}

func statusWords() []string { return []string{"open", "fixed", "dismissed"} }

func severityWords() []string { return []string{"critical", "high", "medium", "low", "info"} }

func domainNames() []string {
	var out []string
	for _, d := range finding.Domains() {
		out = append(out, string(d))
	}
	return out
}

// cwes reads ids with or without their prefix.
func cwes(v []string) []string {
	texts := make([]string, len(v))
	for i, s := range v {
		if s != "" && s[0] >= '0' && s[0] <= '9' {
			s = "CWE-" + s
		}
		texts[i] = s
	}
	return format.CWEs(texts...)
}

func number(s string) format.Number {
	var n format.Number
	if n.UnmarshalJSON([]byte(`"`+s+`"`)) != nil {
		return 0
	}
	return n
}
