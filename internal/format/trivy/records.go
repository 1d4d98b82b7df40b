package trivy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

func readVulnerability(res *format.Result, raw json.RawMessage, x *result, f finding.Finding, where string) {
	var v vulnerability
	if err := format.Unmarshal(raw, &v); err != nil {
		res.Refuse(where, "", "vulnerability: "+format.Reason(err))
		return
	}
	id := string(v.ID)
	if id == "" {
		res.Refuse(where, string(v.PkgName), "vulnerability: VulnerabilityID is missing")
		return
	}
	if v.Status == "not_affected" {
		res.Suppress(where, id, "the vendor states that the package is not affected")
		return
	}
	f.Class, f.Rule = finding.VulnerablePackage, id
	severity(&f, string(v.Severity))
	f.Title = format.First(string(v.Title), id+" in "+string(v.PkgName)+" "+string(v.Installed))
	f.Description = string(v.Description)
	f.Weakness.CVE = format.CVEs(id)
	if len(f.Weakness.CVE) == 0 {
		f.Weakness.CVE = format.CVEs(v.VendorIDs...)
		f.Weakness.Advisory = []string{id}
	}
	f.Weakness.Advisory = append(f.Weakness.Advisory, v.VendorIDs...)
	if len(f.Weakness.CVE) > 0 {
		f.Weakness.Advisory = slices.DeleteFunc(f.Weakness.Advisory, func(s string) bool { return len(format.CVEs(s)) > 0 })
	}
	f.Weakness.CWE = format.CWEs(v.CWEs...)
	f.Weakness.CVSS = cvss(&v)
	purl := format.First(string(v.Identifier.PURL), string(v.Ref))
	if !strings.HasPrefix(purl, "pkg:") {
		purl = format.PURL(string(x.Type), string(v.PkgName), string(v.Installed))
	}
	f.Component = finding.Component{Name: string(v.PkgName), Version: string(v.Installed), PURL: purl,
		FixedVersion: string(v.Fixed), Ecosystem: string(x.Type), Path: string(v.PkgPath)}
	if x.Class != "os-pkgs" {
		f.Location.File = format.First(string(v.PkgPath), string(x.Target))
		f.Component.Path = f.Location.File
	}
	f.Location.URL = string(v.PrimaryURL)
	if v.Fixed != "" {
		f.Recommended = "Update " + string(v.PkgName) + " to " + string(v.Fixed)
	}
	if x.Class == "os-pkgs" && f.Asset.Type == "workload" {
		image, _, _ := strings.Cut(string(x.Target), " (")
		format.SetParam(&f, "image", image)
	}
	format.AddEvidence(&f, "target", string(x.Target))
	format.AddEvidence(&f, "vendor status", string(v.Status))
	format.AddEvidence(&f, "severity source", string(v.SeveritySource))
	format.SetParam(&f, "package", string(v.PkgName))
	format.SetParam(&f, "fixed_version", string(v.Fixed))
	res.Keep(f, where)
}

// cvss picks the score of the source Trivy took the severity from, then NVD's,
// then the highest; version 4 and 3 before 2.
func cvss(v *vulnerability) int {
	score := func(source string) float64 {
		s := v.CVSS[source]
		for _, n := range []format.Number{s.V3, s.V40, s.V2} {
			if n > 0 {
				return float64(n)
			}
		}
		return 0
	}
	best := format.CVSS(score(string(v.SeveritySource)))
	if best == 0 {
		best = format.CVSS(score("nvd"))
	}
	if best == 0 {
		for _, source := range slices.Sorted(maps.Keys(v.CVSS)) {
			best = max(best, format.CVSS(score(source)))
		}
	}
	return best
}

func readMisconfiguration(res *format.Result, raw json.RawMessage, x *result, f finding.Finding, where string) {
	var m misconfiguration
	if err := format.Unmarshal(raw, &m); err != nil {
		res.Refuse(where, "", "misconfiguration: "+format.Reason(err))
		return
	}
	id := format.First(string(m.ID), string(m.AVDID))
	switch {
	case id == "":
		res.Refuse(where, "", "misconfiguration: ID is missing")
		return
	case m.Status == "PASS":
		res.Suppress(where, id, "the check passed (Status PASS)")
		return
	case m.Status == "EXCEPTION":
		res.Suppress(where, id, "an exception is configured in Trivy (Status EXCEPTION)")
		return
	}
	f.Rule, f.Title, f.Description = id, format.First(string(m.Title), string(m.Message), id), string(m.Description)
	severity(&f, string(m.Severity))
	f.Weakness.Control = format.AVDControl(format.First(string(m.AVDID), id))
	f.Class = classOfCheck(f.Weakness.Control, f.Asset.Type == "workload")
	f.Recommended = string(m.Resolution)
	f.Location.URL = string(m.PrimaryURL)
	if f.Asset.Type == "workload" {
		f.Location.SnippetHash = format.Hash(string(m.Message)) // as the operator's reports
	} else {
		f.Location.File, f.Location.Line = string(x.Target), m.Cause.Start.Int()
		f.Location.SnippetHash = format.Hash(format.First(string(m.Cause.Resource), string(m.Message)))
	}
	format.AddEvidence(&f, "message", string(m.Message))
	format.AddEvidence(&f, "resource", string(m.Cause.Resource))
	res.Keep(f, where)
}

func readSecret(res *format.Result, raw json.RawMessage, x *result, f finding.Finding, opt format.Options, where string) {
	var s secret
	if err := format.Unmarshal(raw, &s); err != nil {
		res.Refuse(where, "", "secret: "+format.Reason(err))
		return
	}
	if s.RuleID == "" {
		res.Refuse(where, string(s.Title), "secret: RuleID is missing")
		return
	}
	f.Class, f.Rule = finding.SecretInCode, string(s.RuleID)
	f.Title = format.First(string(s.Title), f.Rule)
	severity(&f, string(s.Severity))
	f.Location.File = format.First(string(s.Target), string(x.Target))
	f.Location.Line = s.Start.Int()
	// Trivy masks the secret itself, so the match names the place, not the secret.
	f.Location.SnippetHash = opt.Secret(string(s.Match))
	f.Recommended = "Revoke the secret at its issuer, then remove it from the file and from history"
	format.AddEvidence(&f, "category", string(s.Category))
	res.Keep(f, where)
}

func readLicense(res *format.Result, raw json.RawMessage, x *result, f finding.Finding, where string) {
	var l license
	if err := format.Unmarshal(raw, &l); err != nil {
		res.Refuse(where, "", "licence: "+format.Reason(err))
		return
	}
	if l.Name == "" {
		res.Refuse(where, string(l.PkgName), "licence: Name is missing")
		return
	}
	f.Domain, f.Rule = finding.DomainPipeline, "license/"+string(l.Name)
	f.Title = "Licence " + string(l.Name) + " of " + format.First(string(l.PkgName), string(l.FilePath), string(x.Target))
	severity(&f, string(l.Severity))
	f.Weakness.Control = strings.Join([]string{f.Rule, string(l.PkgName), string(l.FilePath)}, "/") // each package is mended by itself
	f.Component.Name = string(l.PkgName)
	f.Component.Ecosystem = string(x.Type)
	f.Location.File = format.First(string(l.FilePath), string(x.Target))
	f.Location.URL = string(l.Link)
	format.AddEvidence(&f, "category", string(l.Category))
	res.Keep(f, where)
}

// classOfCheck names the state behind a check. The checks on capabilities,
// host namespaces, privileged mode and root are one state of a workload.
func classOfCheck(control string, running bool) finding.Class {
	if !running {
		return "pipeline.iac-misconfigured"
	}
	switch control {
	case "AVD-KSV-0001", "AVD-KSV-0005", "AVD-KSV-0006", "AVD-KSV-0008", "AVD-KSV-0009", "AVD-KSV-0010", "AVD-KSV-0012", "AVD-KSV-0017",
		"AVD-KSV-0022", "AVD-KSV-0023", "AVD-KSV-0105", "AVD-KSV-0121":
		return "workload.privileged"
	case "AVD-KSV-0041", "AVD-KSV-0044", "AVD-KSV-0045", "AVD-KSV-0046", "AVD-KSV-0047", "AVD-KSV-0050", "AVD-KSV-0111":
		return finding.Overprivilege
	}
	return finding.Misconfigured
}
