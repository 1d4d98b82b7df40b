package ocsf

import (
	"maps"
	"slices"
	"time"

	"github.com/casement/casement/internal/finding"
)

// To maps a normalized finding to an OCSF event, ready for encoding/json. The
// class follows what is known: ids of vulnerabilities make a Vulnerability
// Finding, states of code an Application Security Posture Finding, a control a
// Compliance Finding, all else a Detection Finding.
func To(f finding.Finding) map[string]any {
	class := classOf(f)
	activity, statusID, status := 1, 1, "New"
	switch f.Status {
	case finding.StatusFixed:
		activity, statusID, status = 3, 4, "Resolved"
	case finding.StatusDismissed:
		activity, statusID, status = 2, 3, "Suppressed"
	}
	severityID := max(0, slices.Index(severities(), f.Severity))
	at := f.LastSeen
	if at.IsZero() {
		at = f.FirstSeen
	}
	e := map[string]any{
		"activity_id": activity, "category_uid": 2, "class_uid": class, "type_uid": class*100 + activity,
		"time": millis(at), "severity_id": severityID, "severity": severityName(f.Severity), "status_id": statusID, "status": status,
		"metadata":     metadata(f),
		"finding_info": info(f),
		"resources":    []any{resourceOf(f)},
		"casement":     extensionOf(f, class),
	}
	set(e, "vendor_attributes", "severity", f.SourceSeverity)
	set(e, "remediation", "desc", f.Recommended)
	if f.Confidence > 0 {
		e["confidence_score"], e["confidence_id"] = f.Confidence, 1+min(2, f.Confidence/34)
	}
	if f.Asset.Provider != "" || f.Asset.Account != "" || f.Asset.Region != "" {
		cloud := map[string]any{"provider": f.Asset.Provider}
		put(cloud, "region", f.Asset.Region)
		if f.Asset.Account != "" {
			cloud["account"] = map[string]any{"uid": f.Asset.Account}
		}
		e["cloud"] = cloud
	}
	if ev := evidences(f); len(ev) > 0 {
		e["evidences"] = ev
	}
	switch class {
	case classVulnerability:
		e["vulnerabilities"] = vulnerabilities(f)
	case classPosture:
		e["application"] = map[string]any{"uid": f.Asset.UID, "name": f.Asset.Name}
		if v := weaknesses(f); len(v) > 0 {
			e["vulnerabilities"] = v
		}
	case classCompliance:
		e["compliance"] = map[string]any{"control": f.Weakness.Control, "status_id": 3, "status": "Fail"}
	}
	return e
}

func classOf(f finding.Finding) int {
	switch {
	case len(f.Weakness.CVE) > 0 || len(f.Weakness.Advisory) > 0:
		return classVulnerability
	case f.Class == finding.CodeWeakness, f.Class == finding.SecretInCode, f.Class == "pipeline.iac-misconfigured":
		return classPosture
	case f.Weakness.Control != "":
		return classCompliance
	}
	return classDetection
}

func severityName(s finding.Severity) string {
	names := []string{"Unknown", "Informational", "Low", "Medium", "High", "Critical"}
	return names[max(0, slices.Index(severities(), s))]
}

func metadata(f finding.Finding) map[string]any {
	product := map[string]any{"uid": f.Source}
	put(product, "name", f.Product)
	put(product, "vendor_name", f.Product)
	m := map[string]any{
		"version":         Version,
		"product":         product,
		"profiles":        []any{"cloud", "datetime"},
		"correlation_uid": finding.ExposureKey(f).String(),
		"extensions":      []any{map[string]any{"name": "casement", "uid": "999", "version": "1.0.0"}},
	}
	put(m, "event_code", f.Rule)
	put(m, "tenant_uid", f.Tenant)
	return m
}

func info(f finding.Finding) map[string]any {
	uid := f.NativeID
	if uid == "" {
		uid = f.UID
	}
	m := map[string]any{"uid": uid, "title": f.Title}
	put(m, "desc", f.Description)
	put(m, "src_url", f.Location.URL)
	if f.Rule != "" {
		m["analytic"] = map[string]any{"uid": f.Rule, "type_id": 1, "type": "Rule"}
	}
	putTime(m, "first_seen_time", f.FirstSeen)
	putTime(m, "last_seen_time", f.LastSeen)
	return m
}

func resourceOf(f finding.Finding) map[string]any {
	a := f.Asset
	r := map[string]any{"uid": a.UID, "name": a.Name, "role_id": 1}
	put(r, "type", a.Type)
	put(r, "region", a.Region)
	put(r, "criticality", a.Criticality)
	tags := make([]any, 0, len(a.Tags)+1)
	for _, k := range slices.Sorted(maps.Keys(a.Tags)) {
		tags = append(tags, map[string]any{"name": k, "value": a.Tags[k]})
	}
	if len(tags) > 0 {
		r["tags"] = tags
	}
	for _, h := range f.OwnerHints {
		if h.Kind == "user" || h.Kind == "email" {
			key := map[string]string{"user": "name", "email": "email_addr"}[h.Kind]
			r["owner"] = map[string]any{key: h.Value}
			break
		}
	}
	return r
}

func evidences(f finding.Finding) []any {
	var out []any
	if f.Identity.Principal != "" {
		out = append(out, map[string]any{"actor": map[string]any{"user": map[string]any{"name": f.Identity.Principal}}})
	}
	for _, e := range f.Evidence {
		out = append(out, map[string]any{"name": e.Name, "data": map[string]any{"value": e.Value}})
	}
	return out
}

// vulnerabilities writes one object per id: OCSF wants just one of advisory,
// cve and cwe in each.
func vulnerabilities(f finding.Finding) []any {
	var out []any
	for _, id := range f.Weakness.CVE {
		cve := map[string]any{"uid": id}
		if len(f.Weakness.CWE) > 0 {
			related := make([]any, len(f.Weakness.CWE))
			for i, w := range f.Weakness.CWE {
				related[i] = map[string]any{"uid": w}
			}
			cve["related_cwes"] = related
		}
		out = append(out, map[string]any{"cve": cve})
	}
	for _, id := range f.Weakness.Advisory {
		out = append(out, map[string]any{"advisory": map[string]any{"uid": id}})
	}
	for _, o := range out {
		v := o.(map[string]any)
		if c := f.Component; packaged(f) {
			p := map[string]any{"name": c.Name, "version": c.Version}
			put(p, "fixed_in_version", c.FixedVersion)
			put(p, "purl", c.PURL)
			put(p, "package_manager", c.Ecosystem)
			put(p, "path", c.Path)
			v["affected_packages"] = []any{p}
			v["is_fix_available"] = c.FixedVersion != ""
		}
		affectedCode(v, f)
	}
	return out
}

// packaged reports whether the component fits OCSF's affected_packages, which
// demands name and version.
func packaged(f finding.Finding) bool {
	return classOf(f) == classVulnerability && f.Component.Name != "" && f.Component.Version != ""
}

func weaknesses(f finding.Finding) []any {
	var out []any
	for _, w := range f.Weakness.CWE {
		v := map[string]any{"cwe": map[string]any{"uid": w}}
		affectedCode(v, f)
		out = append(out, v)
	}
	return out
}

func affectedCode(v map[string]any, f finding.Finding) {
	if f.Location.File == "" {
		return
	}
	code := map[string]any{"file": map[string]any{"path": f.Location.File, "name": f.Location.File, "type_id": 1}}
	if f.Location.Line > 0 {
		code["start_line"] = f.Location.Line
	}
	v["affected_code"] = []any{code}
}

func extensionOf(f finding.Finding, class int) extension {
	x := extension{Source: f.Source, NativeID: f.NativeID, Rule: f.Rule, Class: f.Class, Domain: f.Domain, Status: f.Status, Environment: f.Asset.Environment,
		App: f.Asset.App, CustomerFacing: f.Asset.CustomerFacing, DataClass: f.Asset.DataClass, Regulated: f.Asset.Regulated, Deadline: f.Deadline,
		Exposure: f.Exposure, OwnerHints: f.OwnerHints, Identity: f.Identity, Location: f.Location, SecretHash: f.Weakness.SecretHash, KEV: f.Weakness.KEV,
		CVSS: f.Weakness.CVSS, Params: f.Params}
	if !packaged(f) && f.Component != (finding.Component{}) {
		x.Component = &f.Component
	}
	if class != classPosture && (class != classVulnerability || len(f.Weakness.CVE) == 0) {
		x.CWE = f.Weakness.CWE
	}
	if class != classCompliance {
		x.Control = f.Weakness.Control
	}
	return x
}

func put(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

func set(m map[string]any, object, key, value string) {
	if value != "" {
		m[object] = map[string]any{key: value}
	}
}

// putTime writes a time as OCSF does: milliseconds, and RFC 3339 by the
// datetime profile, which keeps what milliseconds lose.
func putTime(m map[string]any, key string, t time.Time) {
	if !t.IsZero() {
		m[key], m[key+"_dt"] = millis(t), t.UTC().Format(time.RFC3339Nano)
	}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
