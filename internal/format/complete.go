package format

import (
	"strings"

	"github.com/casement/casement/internal/finding"
)

// Complete fills in what follows from what a reader found, so that all tools'
// views of one thing look alike: account, region and parameters from an ARN,
// the application from Kubernetes labels, one spelling of Maven packages,
// owner hints from tags.
func Complete(f *finding.Finding) {
	a := &f.Asset
	if arn, ok := ParseARN(a.UID); ok {
		a.Provider, a.Account, a.Region = "aws", First(a.Account, arn.Account), First(a.Region, arn.Region)
		if a.Name == "" || a.Name == a.UID {
			a.Name = arn.Name()
		}
		if arn.Service == "s3" && !strings.Contains(arn.Resource, "/") {
			a.Type = "bucket"
		}
	}
	a.App = First(a.App, a.Tags["app.kubernetes.io/part-of"], a.Tags["app.kubernetes.io/name"], a.Tags["app"], a.Tags["application"])
	OwnerTags(f)
	if a.Provider == "aws" {
		AWSParams(f)
	}
	f.Component.Name = PackageName(f.Component.Name, f.Component.PURL)
}

// PackageName brings a package's name to the spelling most tools use: for
// Maven group:artifact, which some leave to the package URL.
func PackageName(name, purl string) string {
	rest, ok := strings.CutPrefix(purl, "pkg:maven/")
	if !ok || strings.Contains(name, ":") {
		return name
	}
	rest, _, _ = strings.Cut(rest, "?")
	rest, _, _ = strings.Cut(rest, "@")
	group, artifact, ok := strings.Cut(rest, "/")
	if !ok || artifact == "" {
		return name
	}
	return group + ":" + artifact
}
