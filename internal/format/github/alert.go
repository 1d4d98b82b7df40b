package github

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// alert is the union of the three kinds' fields.
type alert struct {
	Number           format.String `json:"number"`
	State            format.String `json:"state"`
	URL              format.String `json:"url"`
	HTMLURL          format.String `json:"html_url"`
	Created          format.String `json:"created_at"`
	Updated          format.String `json:"updated_at"`
	Fixed            format.String `json:"fixed_at"`
	Dismissed        format.String `json:"dismissed_at"`
	DismissedReason  format.String `json:"dismissed_reason"`
	DismissedComment format.String `json:"dismissed_comment"`
	Assignees        []struct {
		Login format.String `json:"login"`
	} `json:"assignees"`

	// secret scanning
	SecretType     format.String `json:"secret_type"`
	SecretTypeName format.String `json:"secret_type_display_name"`
	Secret         format.String `json:"secret"`
	Validity       format.String `json:"validity"`
	PubliclyLeaked *bool         `json:"publicly_leaked"`
	Resolution     format.String `json:"resolution"`
	Resolved       format.String `json:"resolved_at"`
	FirstLocation  place         `json:"first_location_detected"`

	// Dependabot
	Dependency struct {
		Package  pkg           `json:"package"`
		Manifest format.String `json:"manifest_path"`
		Scope    format.String `json:"scope"`
	} `json:"dependency"`
	Advisory      *advisory      `json:"security_advisory"`
	Vulnerability *vulnerability `json:"security_vulnerability"`

	// code scanning
	Rule struct {
		ID               format.String  `json:"id"`
		Name             format.String  `json:"name"`
		Description      format.String  `json:"description"`
		FullDescription  format.String  `json:"full_description"`
		Severity         format.String  `json:"severity"`
		SecuritySeverity format.String  `json:"security_severity_level"`
		Tags             format.Strings `json:"tags"`
		Help             format.String  `json:"help"`
		HelpURI          format.String  `json:"help_uri"`
	} `json:"rule"`
	Tool struct {
		Name format.String `json:"name"`
	} `json:"tool"`
	MostRecent instance   `json:"most_recent_instance"`
	Instances  []instance `json:"instances"`
}

type pkg struct {
	Ecosystem format.String `json:"ecosystem"`
	Name      format.String `json:"name"`
}

type advisory struct {
	GHSA        format.String `json:"ghsa_id"`
	CVE         format.String `json:"cve_id"`
	Summary     format.String `json:"summary"`
	Description format.String `json:"description"`
	Severity    format.String `json:"severity"`
	Identifiers []struct {
		Value format.String `json:"value"`
	} `json:"identifiers"`
	CVSS struct {
		Score format.Number `json:"score"`
	} `json:"cvss"`
	CWEs []struct {
		ID format.String `json:"cwe_id"`
	} `json:"cwes"`
}

type vulnerability struct {
	Package  pkg           `json:"package"`
	Severity format.String `json:"severity"`
	Range    format.String `json:"vulnerable_version_range"`
	Patched  struct {
		Identifier format.String `json:"identifier"`
	} `json:"first_patched_version"`
}

type instance struct {
	Ref     format.String `json:"ref"`
	State   format.String `json:"state"`
	Commit  format.String `json:"commit_sha"`
	Message struct {
		Text format.String `json:"text"`
	} `json:"message"`
	Location place `json:"location"`
}

type place struct {
	Path      format.String `json:"path"`
	StartLine format.Number `json:"start_line"`
}

// status maps the states of all three kinds.
func (a *alert) status(f *finding.Finding) {
	reason := format.First(string(a.DismissedReason), string(a.Resolution))
	switch strings.ToLower(string(a.State)) {
	case "fixed", "closed":
		f.Status = finding.StatusFixed
	case "dismissed", "auto_dismissed":
		f.Status = finding.StatusDismissed
	case "resolved":
		f.Status = finding.StatusDismissed
		if a.Resolution == "revoked" || a.Resolution == "pattern_deleted" && a.Validity == "inactive" {
			f.Status = finding.StatusFixed
		}
	}
	if f.Status != "" {
		format.AddEvidence(f, "closed because", reason)
	}
}

// secret fills a secret scanning alert. GitHub states no severity: an open
// secret that works or is public is critical, another open one is high, and
// one its people closed is informational until it is seen open again.
func (a *alert) secret(f *finding.Finding, repo repository, opt format.Options) {
	f.Class, f.Rule = finding.SecretInCode, string(a.SecretType)
	name := format.First(string(a.SecretTypeName), string(a.SecretType))
	f.Title = "Exposed Secret Detected: " + name
	f.Weakness.SecretHash = opt.Secret(string(a.Secret))
	f.Weakness.CWE = []string{"CWE-798"}
	f.Location.File, f.Location.Line = string(a.FirstLocation.Path), a.FirstLocation.StartLine.Int()
	leaked := a.PubliclyLeaked != nil && *a.PubliclyLeaked || repo.public() == finding.Yes
	active := a.Validity == "active"
	switch {
	case f.Status == finding.StatusFixed || f.Status == finding.StatusDismissed:
		f.Severity = finding.SeverityInfo
	case leaked || active:
		f.Severity = finding.SeverityCritical
	default:
		f.Severity = finding.SeverityHigh
	}
	f.SourceSeverity = format.First(string(a.Validity), "validity unknown")
	if leaked {
		f.Exposure.InternetFacing = finding.Yes
		if active {
			f.Class = finding.KeyExposed
		}
	} else if a.PubliclyLeaked != nil {
		f.Exposure.InternetFacing = finding.No
	}
	if active {
		f.Confidence = 100
	}
	if a.Validity == "inactive" {
		f.Exposure.CompensatingControl = "the issuer says that the secret no longer works"
	}
	f.Identity.Kind = "access_key"
	f.Recommended = "Revoke the secret at its issuer, then close the alert as revoked"
	format.SetParam(f, "secret_type", string(a.SecretType))
	format.SetParam(f, "alert_number", string(a.Number))
	format.AddEvidence(f, "validity", string(a.Validity))
}

// dependabot fills a Dependabot alert.
func (a *alert) dependabot(f *finding.Finding) {
	adv, vul := a.Advisory, a.Vulnerability
	if adv == nil {
		adv = &advisory{}
	}
	if vul == nil {
		vul = &vulnerability{}
	}
	f.Class = finding.VulnerablePackage
	ids := []string{string(adv.CVE), string(adv.GHSA)}
	for _, i := range adv.Identifiers {
		ids = append(ids, string(i.Value))
	}
	f.Weakness.CVE, f.Weakness.Advisory = format.CVEs(ids...), format.Advisories(ids...)
	for _, c := range adv.CWEs {
		f.Weakness.CWE = append(f.Weakness.CWE, string(c.ID))
	}
	f.Weakness.CVSS = format.CVSS(float64(adv.CVSS.Score))
	f.Rule = format.First(string(adv.GHSA), string(adv.CVE))
	f.SourceSeverity = format.First(string(vul.Severity), string(adv.Severity))
	f.Severity, _ = finding.ParseSeverity(f.SourceSeverity)
	f.Title = format.First(string(adv.Summary), f.Rule)
	f.Description = string(adv.Description)
	p := a.Dependency.Package
	if p.Name == "" {
		p = vul.Package
	}
	fixed := string(vul.Patched.Identifier)
	f.Component = finding.Component{Name: string(p.Name), Ecosystem: string(p.Ecosystem), Path: string(a.Dependency.Manifest),
		PURL: format.PURL(string(p.Ecosystem), string(p.Name), ""), FixedVersion: fixed}
	f.Location.File = string(a.Dependency.Manifest)
	if fixed != "" {
		f.Recommended = "Update " + string(p.Name) + " to " + fixed
	}
	format.AddEvidence(f, "vulnerable versions", string(vul.Range))
	format.AddEvidence(f, "dependency scope", string(a.Dependency.Scope))
	format.SetParam(f, "package", string(p.Name))
	format.SetParam(f, "fixed_version", fixed)
	format.SetParam(f, "alert_number", string(a.Number))
}

// code fills a code scanning alert. The security severity outranks the rule's
// level; levels read as in SARIF.
func (a *alert) code(f *finding.Finding) {
	r := a.Rule
	f.Class, f.Rule = finding.CodeWeakness, format.First(string(r.ID), string(r.Name))
	if tool := string(a.Tool.Name); tool != "" {
		f.Product = tool
	}
	f.SourceSeverity = format.First(string(r.SecuritySeverity), string(r.Severity))
	switch f.SourceSeverity {
	case "note", "none":
		f.Severity = finding.SeverityInfo
	default:
		f.Severity, _ = finding.ParseSeverity(f.SourceSeverity)
	}
	at := a.MostRecent
	if at.Location.Path == "" && len(a.Instances) > 0 {
		at = a.Instances[len(a.Instances)-1]
	}
	f.Location.File, f.Location.Line = string(at.Location.Path), at.Location.StartLine.Int()
	f.Title = format.First(string(r.Description), string(at.Message.Text), f.Rule)
	f.Description = strings.TrimSpace(string(at.Message.Text) + "\n\n" + string(r.FullDescription))
	f.Weakness.CWE = format.CWEs(append(r.Tags, string(r.ID))...)
	f.Weakness.CVE = format.CVEs(f.Rule, string(r.Name))
	if len(f.Weakness.CVE) > 0 {
		f.Class = finding.VulnerablePackage
	}
	for _, w := range f.Weakness.CWE {
		if w == "CWE-798" || w == "CWE-259" || w == "CWE-321" {
			f.Class = finding.SecretInCode
			f.Title, f.Description = format.First(string(r.Description), f.Rule), string(r.FullDescription)
		}
	}
	// GitHub keeps one alert per weakness across lines; its number is the
	// stable name of the place.
	f.Location.SnippetHash = format.Hash(kindCode, string(a.Number))
	format.AddEvidence(f, "ref", string(at.Ref))
	format.AddEvidence(f, "commit", string(at.Commit))
	format.SetParam(f, "alert_number", string(a.Number))
}
