package ocsf

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// class names the risky state of another producer's event: by its
// vulnerability, by a Security Hub control, by the words of a Prowler check.
func (e *event) class(f *finding.Finding) finding.Class {
	if len(f.Weakness.CVE)+len(f.Weakness.Advisory) > 0 || e.ClassUID == classVulnerability {
		t := strings.ToLower(f.Asset.Type)
		if strings.Contains(t, "image") || strings.Contains(t, "repository") || strings.Contains(t, "package") {
			return finding.VulnerablePackage
		}
		return finding.VulnerableWorkload
	}
	if e.Databucket.Public != nil && *e.Databucket.Public {
		return finding.StoragePublic
	}
	if c := string(e.Compliance.Control); c != "" && strings.Contains(c, ".") && !strings.ContainsAny(c, " _") {
		return format.AWSControlClass(c)
	}
	if e.ClassUID == classPosture {
		return finding.CodeWeakness
	}
	if c := format.CheckClass(f.Rule); c != "" {
		return c
	}
	product := strings.ToLower(f.Product)
	switch {
	case e.ClassUID == classCompliance, strings.Contains(product, "prowler"):
		return finding.Misconfigured
	case strings.Contains(product, "guardduty"), e.ClassUID == classIncident:
		return finding.WorkloadCompromise
	}
	return ""
}

// publicState reports whether a class means "reachable by anyone" and the check
// asserts it, rather than that a guard against it is off.
func publicState(f *finding.Finding) bool {
	switch f.Class {
	case finding.StoragePublic, finding.WorldOpen, "database.public":
		return !strings.Contains(f.Rule, "block") && !strings.Contains(f.Rule, "prohibited")
	}
	return false
}
