// Package trivy reads the JSON reports of Trivy into findings: images, file
// systems, repositories, machines, SBOMs, Kubernetes clusters, and the reports
// of the Trivy operator.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: one
// vulnerability, misconfiguration, secret or licence is one record; the
// severity is the one Trivy chose; what Trivy marks as passed, excepted,
// not affected or ignored is suppressed with the reason; matched text of
// secrets is kept as a keyed hash only.
package trivy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "trivy"

// Reader reads Trivy's JSON.
type Reader struct{}

// Name returns "trivy".
func (Reader) Name() string { return Name }

// Records are in the results of an artifact, of a cluster's resources, and in
// the operator's reports.
func (Reader) Records() []string {
	out := []string{"items[]"}
	for _, results := range []string{"[].", "Results[].", "Resources[].Results[].", "Vulnerabilities[].Results[].", "Misconfigurations[].Results[]."} {
		for _, list := range []string{"Vulnerabilities[]", "Misconfigurations[]", "Secrets[]", "Licenses[]", "ExperimentalModifiedFindings[]"} {
			out = append(out, results+list)
		}
	}
	return out
}

// Detect looks for the report's, the cluster report's or the operator's keys.
func (Reader) Detect(p format.Probe) int {
	for _, at := range []string{"", "items[]."} {
		if strings.HasPrefix(p.Value(at+"apiVersion"), "aquasecurity.github.io/") {
			return 100
		}
	}
	switch {
	case p.Has("SchemaVersion") && (p.Has("ArtifactName") || p.Has("ArtifactType")):
		return 98
	case p.Has("ClusterName") && (p.Has("Vulnerabilities") || p.Has("Misconfigurations") || p.Has("Resources")):
		return 95
	case p.Has("Results[].Target") && p.Has("Results[].Class"):
		return 95
	case p.Has("[].Target") && (p.Has("[].Vulnerabilities") || p.Has("[].Misconfigurations")):
		return 90 // reports before schema version 2 were a list of results
	}
	return 0
}

// SecretPaths names the places where a report quotes secrets.
func (Reader) SecretPaths() []string {
	return []string{"**.Secrets[].Match", "**.Secrets[].Code.Lines[].Content", "**.Secrets[].Code.Lines[].Highlighted",
		"**.secrets[].match", "**.ImageConfig.config.Env[]", "**.ImageConfig.history[].created_by"}
}

// Read reads a report.
func (Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: Name}
	body, err := format.Text(Name, body, opt)
	if err != nil {
		return res, err
	}
	if strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "[") {
		r := report{}
		if err := format.Decode(Name, body, opt, &r.Results); err != nil {
			return res, err
		}
		readReport(&res, &r, opt, format.Pointer(opt, ""))
		return format.Finish(res, body, opt)
	}
	var head struct {
		APIVersion format.String     `json:"apiVersion"`
		Kind       format.String     `json:"kind"`
		Items      []json.RawMessage `json:"items"`
		report
	}
	if err := format.Decode(Name, body, opt, &head); err != nil {
		return res, err
	}
	switch {
	case head.Kind == "List" || strings.HasSuffix(string(head.Kind), "ReportList"):
		for i, raw := range head.Items {
			readOperator(&res, raw, opt, format.Pointer(opt, "", "items", i))
		}
	case strings.HasPrefix(string(head.APIVersion), "aquasecurity.github.io/"):
		readOperator(&res, body, opt, format.Pointer(opt, ""))
	case head.ClusterName != "" || head.Resources != nil || head.Vulnerabilities != nil || head.Misconfigurations != nil:
		readCluster(&res, &head.report, opt)
	case head.ArtifactName == "" && head.Results == nil && head.SchemaVersion == 0:
		return res, &format.Error{Format: Name, Where: format.Position(opt.File, body, 0), Reason: "ArtifactName and Results are missing: this is no Trivy report",
			Mend: "let Trivy write it with --format json"}
	default:
		readReport(&res, &head.report, opt, format.Pointer(opt, "", "Results"))
	}
	return format.Finish(res, body, opt)
}

// readReport reads the results of one artifact; where is their list.
func readReport(res *format.Result, r *report, opt format.Options, where string) {
	base := finding.Finding{Tenant: opt.Tenant, Source: Name, Product: "Trivy", Asset: assetOf(r, opt), FirstSeen: when(string(r.CreatedAt), opt)}
	if base.Asset.Type == "image" {
		format.SetParam(&base, "image", base.Asset.UID)
		if len(r.Metadata.RepoDigests) > 0 {
			format.AddEvidence(&base, "image digest", r.Metadata.RepoDigests[0])
		}
	}
	if r.Metadata.RepoURL != "" {
		base.Location.Repository = trimRepository(string(r.Metadata.RepoURL))
	}
	readResults(res, r.Results, base, opt, where)
}

// clone copies what findings made from one base must not share.
func clone(f finding.Finding) finding.Finding {
	f.Params, f.Evidence, f.OwnerHints = maps.Clone(f.Params), slices.Clone(f.Evidence), slices.Clone(f.OwnerHints)
	return f
}

// readResults reads a list of results into findings made from base.
func readResults(res *format.Result, results []json.RawMessage, base finding.Finding, opt format.Options, where string) {
	for i, raw := range results {
		at := format.Pointer(opt, where, i)
		var x result
		if err := format.Unmarshal(raw, &x); err != nil {
			res.Refuse(at, "", "result: "+format.Reason(err))
			continue
		}
		for j, raw := range x.Vulnerabilities {
			readVulnerability(res, raw, &x, clone(base), format.Pointer(opt, at, "Vulnerabilities", j))
		}
		for j, raw := range x.Misconfigurations {
			readMisconfiguration(res, raw, &x, clone(base), format.Pointer(opt, at, "Misconfigurations", j))
		}
		for j, raw := range x.Secrets {
			readSecret(res, raw, &x, clone(base), opt, format.Pointer(opt, at, "Secrets", j))
		}
		for j, raw := range x.Licenses {
			readLicense(res, raw, &x, clone(base), format.Pointer(opt, at, "Licenses", j))
		}
		for j, raw := range x.Modified {
			readModified(res, raw, format.Pointer(opt, at, "ExperimentalModifiedFindings", j))
		}
	}
}

func readModified(res *format.Result, raw json.RawMessage, where string) {
	var m struct {
		Status    format.String `json:"Status"`
		Statement format.String `json:"Statement"`
		Source    format.String `json:"Source"`
		Finding   struct {
			VulnerabilityID, ID, RuleID format.String
		} `json:"Finding"`
	}
	if err := format.Unmarshal(raw, &m); err != nil {
		res.Refuse(where, "", "modified finding: "+format.Reason(err))
		return
	}
	why := format.First(string(m.Status), "ignored") + " by " + format.First(string(m.Source), "Trivy's settings")
	if m.Statement != "" {
		why += ": " + string(m.Statement)
	}
	res.Suppress(where, format.First(string(m.Finding.VulnerabilityID), string(m.Finding.ID), string(m.Finding.RuleID)), why)
}

// assetOf says what was scanned. Images go by their repository tag, the name
// other tools know them by, not by the file they were exported to.
func assetOf(r *report, opt format.Options) finding.Asset {
	name := string(r.ArtifactName)
	switch string(r.ArtifactType) {
	case "container_image":
		if len(r.Metadata.RepoTags) > 0 {
			name = r.Metadata.RepoTags[0]
		}
		return finding.Asset{UID: format.First(name, opt.File), Type: "image", Name: string(r.ArtifactName)}
	case "repository":
		if r.Metadata.RepoURL != "" {
			name = string(r.Metadata.RepoURL)
		}
		a := finding.Asset{UID: trimRepository(name), Type: "repository"}
		if strings.HasPrefix(a.UID, "github.com/") {
			a.Provider = "github"
		}
		return a
	case "vm":
		return finding.Asset{UID: name, Type: "host"}
	case "cyclonedx", "spdx":
		return finding.Asset{UID: name, Type: "sbom"}
	case "aws_account":
		return finding.Asset{UID: name, Type: "account", Provider: "aws", Account: name}
	case "filesystem", "":
		if r.Metadata.ImageID != "" || len(r.Metadata.RepoTags) > 0 {
			if len(r.Metadata.RepoTags) > 0 {
				name = r.Metadata.RepoTags[0]
			}
			return finding.Asset{UID: name, Type: "image"}
		}
	}
	if (name == "" || name == "." || name == "/") && opt.Asset.UID != "" {
		return opt.Asset
	}
	if name == "" && opt.File != "" {
		return format.Scanned(opt, "filesystem")
	}
	return finding.Asset{UID: format.First(name, "unnamed scan"), Type: "filesystem"}
}

func trimRepository(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	return strings.TrimSuffix(strings.TrimSuffix(s, "/"), ".git")
}

func when(s string, opt format.Options) time.Time {
	if t := format.Time(s); !t.IsZero() {
		return t
	}
	return opt.Now
}

func severity(f *finding.Finding, word string) {
	f.Severity, _ = finding.ParseSeverity(word)
	f.SourceSeverity = word
}
