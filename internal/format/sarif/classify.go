package sarif

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// toolKind is what a tool looks for, as far as its name tells.
type toolKind uint8

const (
	kindCode toolKind = iota
	kindDependency
	kindSecret
	kindIaC
	kindMixed // decided per rule
)

// kindOfTool knows tools by a part of their name.
func kindOfTool(name string) toolKind {
	n := strings.ToLower(name)
	for _, row := range []struct {
		kind  toolKind
		words string
	}{
		{kindSecret, "gitleaks trufflehog detect-secrets secret-scan secretscan talisman noseyparker whispers ggshield gitguardian kingfisher titus"},
		{kindDependency, "grype osv dependency-check dependencycheck npm-audit pip-audit govulncheck cargo-audit cargo-deny retire anchore clair scout xray sysdig nancy mend whitesource blackduck cve-bin"},
		{kindIaC, "checkov tfsec kics terrascan bridgecrew hadolint dockle kubesec kube-linter kubelinter kubescape cfn-nag cfn_nag cfn-lint cfn_guard snyk-iac regula polaris tflint psrule arm-ttk templateanalyzer kube-score conftest cloudrail"},
		{kindMixed, "trivy snyk wiz prisma aqua"},
	} {
		for _, w := range strings.Fields(row.words) {
			if strings.Contains(n, w) || strings.Contains(strings.ReplaceAll(n, " ", "-"), w) {
				return row.kind
			}
		}
	}
	return kindCode
}

// classify sets class, ids, component and control.
func (c *context) classify(f *finding.Finding, x *result, r *rule, text string) {
	about := []string{f.Rule, string(r.Name), string(r.Short.Text)}
	if c.kind == kindDependency || c.kind == kindMixed {
		about = append(about, text, string(r.Help.Text))
		about = append(about, r.Properties.list("tags")...)
	}
	f.Weakness.CVE = firstIDs(format.CVEs, about)
	f.Weakness.Advisory = firstIDs(format.Advisories, about)
	named := len(f.Weakness.CVE)+len(f.Weakness.Advisory) > 0
	switch {
	case c.kind == kindSecret, isSecretRule(f, r):
		f.Class = finding.SecretInCode
	case c.kind == kindDependency, c.kind == kindMixed && named, named && len(format.CVEs(f.Rule)) > 0:
		f.Class = finding.VulnerablePackage
		c.component(f, x, r, text)
	case c.kind == kindIaC, c.kind == kindMixed && iacRule(f.Rule):
		f.Class = "pipeline.iac-misconfigured"
		f.Weakness.Control = f.Rule
		if c.kind == kindMixed {
			f.Weakness.Control = format.AVDControl(f.Rule)
		}
	default:
		f.Class = finding.CodeWeakness
	}
	if f.Class == finding.VulnerablePackage {
		if v, ok := parseScore(format.First(x.Properties.text("security-severity"), r.Properties.text("security-severity"))); ok {
			f.Weakness.CVSS = format.CVSS(v)
		}
	} else {
		f.Weakness.Advisory = nil
	}
}

// firstIDs returns the ids of the first text that has any: the rule's id is
// more sure than words in a help text about related weaknesses.
func firstIDs(find func(...string) []string, texts []string) []string {
	for _, t := range texts {
		if ids := find(t); len(ids) > 0 {
			return ids
		}
	}
	return nil
}

// isSecretRule knows rules about credentials in code by CWE or by name.
func isSecretRule(f *finding.Finding, r *rule) bool {
	for _, w := range f.Weakness.CWE {
		switch w {
		case "CWE-798", "CWE-259", "CWE-321", "CWE-540", "CWE-538":
			return true
		}
	}
	words := strings.ToLower(f.Rule + " " + string(r.Name) + " " + strings.Join(r.Properties.list("tags"), " "))
	for _, w := range []string{"hardcoded-cred", "hardcoded-pass", "hardcoded-secret", "hardcoded_pass", "hardcoded_secret", "hard-coded", "hardcodedcred", "hardcodedpass", "hardcodedsecret",
		"secret-scan", "secrets.", "/secret", "secret/", "exposed-secret", "private-key", "api-key", "apikey", "access-token", "access-key", "aws-secret", "credentials-in"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	for _, t := range r.Properties.list("tags") {
		if t = strings.ToLower(t); t == "secret" || t == "secrets" {
			return true
		}
	}
	return false
}

func iacRule(id string) bool {
	up := strings.ToUpper(id)
	for _, p := range []string{"AVD-", "KSV", "DS-", "DS0", "KCV", "AWS-", "AZU-", "GCP-", "SNYK-CC"} {
		if strings.HasPrefix(up, p) {
			return true
		}
	}
	return false
}

// component reads package, version and fix from the labelled lines that
// dependency scanners put in messages and help texts.
func (c *context) component(f *finding.Finding, x *result, r *rule, text string) {
	help := r.Help.text("")
	for _, t := range []string{text, help} {
		f.Component.Name = format.First(f.Component.Name, labelled(t, "package", "package name", "component"))
		f.Component.Version = format.First(f.Component.Version, labelled(t, "installed version", "version", "package version"))
		f.Component.FixedVersion = format.First(f.Component.FixedVersion, labelled(t, "fixed version", "fix version", "fix versions"))
		f.Component.Ecosystem = format.First(f.Component.Ecosystem, labelled(t, "type"))
	}
	if f.Component.Name == "" {
		f.Component.Name, f.Component.Version = sentence(text)
	}
	f.Component.FixedVersion = format.First(f.Component.FixedVersion, fixedVersion(r))
	if p := format.First(x.Properties.text("purl"), r.Properties.text("purl")); strings.HasPrefix(p, "pkg:") {
		f.Component.PURL = p
	} else if purls := r.Properties.list("purls"); len(purls) == 1 {
		f.Component.PURL = purls[0]
	}
	if f.Component.PURL == "" {
		f.Component.PURL = format.PURL(f.Component.Ecosystem, f.Component.Name, f.Component.Version)
	}
	if f.Component.Name != "" {
		f.Component.Path = f.Location.File
	}
}

func fixedVersion(r *rule) string { return labelled(r.Help.text(""), "fixed version", "fix version") }

// labelled returns the value of the first line "Label: value" of a text.
func labelled(text string, labels ...string) string {
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		k = strings.ToLower(strings.Trim(k, " *-"))
		for _, l := range labels {
			if k == l {
				if v = strings.TrimSpace(v); len(v) < 300 {
					return v
				}
			}
		}
	}
	return ""
}

// sentence reads the wordings of Grype, Snyk and OSV-Scanner.
func sentence(text string) (name, version string) {
	line := firstLine(text)
	if _, rest, ok := strings.Cut(line, " package: "); ok {
		if n, rest, ok := strings.Cut(rest, ", version "); ok {
			return n, firstWord(rest)
		}
	}
	if _, rest, ok := strings.Cut(line, " reports "); ok {
		if n, rest, ok := strings.Cut(rest, " at version "); ok {
			return n, firstWord(rest)
		}
	}
	if _, rest, ok := strings.Cut(line, "introduces a vulnerable "); ok {
		if n, _, ok := strings.Cut(rest, " package"); ok {
			return n, ""
		}
	}
	if _, rest, ok := strings.Cut(line, "Package '"); ok {
		if n, _, ok := strings.Cut(rest, "'"); ok {
			if i := strings.LastIndexByte(n, '@'); i > 0 {
				return n[:i], n[i+1:]
			}
			return n, ""
		}
	}
	return "", ""
}

func firstWord(s string) string {
	if w := strings.Fields(s); len(w) > 0 {
		return strings.TrimRight(w[0], ",;")
	}
	return ""
}

// cwesOf collects CWE ids from taxa, relationships, tags and texts.
func cwesOf(x *result, r *rule) []string {
	var texts []string
	for _, t := range x.Taxa {
		texts = append(texts, taxon(t))
	}
	for _, rel := range r.Relationships {
		texts = append(texts, taxon(rel.Target))
	}
	for _, p := range []properties{x.Properties, r.Properties} {
		texts = append(texts, p.list("tags")...)
		texts = append(texts, p.list("cwe")...)
		for _, s := range p.list("cwes") {
			texts = append(texts, "CWE-"+strings.TrimPrefix(strings.ToUpper(s), "CWE-"))
		}
	}
	texts = append(texts, string(r.ID), string(x.RuleID), string(r.HelpURI), string(r.Short.Text), string(r.Full.Text))
	return format.CWEs(texts...)
}

func taxon(t reference) string {
	id := string(t.ID)
	if strings.EqualFold(string(t.Component.Name), "cwe") && !strings.HasPrefix(strings.ToUpper(id), "CWE") {
		id = "CWE-" + id
	}
	return id
}
