package gate

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/casement/casement/internal/finding"
)

// The parts of SARIF 2.1.0 (OASIS, sections 3.13 to 3.58) that a gate has to
// say; names and enumerations are the standard's.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		Properties  map[string]any    `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Version        string      `json:"version,omitempty"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string         `json:"id"`
		ShortDescription sarifText      `json:"shortDescription"`
		Properties       map[string]any `json:"properties,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool   `json:"executionSuccessful"`
		EndTimeUTC          string `json:"endTimeUtc"`
	}
	sarifResult struct {
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Kind                string             `json:"kind"`
		Level               string             `json:"level"`
		Message             sarifText          `json:"message"`
		Locations           []sarifLocation    `json:"locations,omitempty"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
		Properties          map[string]any     `json:"properties"`
	}
	sarifLocation struct {
		PhysicalLocation *sarifPhysical `json:"physicalLocation,omitempty"`
		LogicalLocations []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
)

// SARIF writes the report as a SARIF 2.1.0 log. Results that only pass are left
// out; excepted ones are there with an accepted external suppression. The run's
// property "unlisted" counts what a very long report leaves out.
func (r Report) SARIF(version string) ([]byte, error) {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "Casement gate", InformationURI: "https://github.com/casement/casement", Version: version, Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{{ExecutionSuccessful: true, EndTimeUTC: r.At.UTC().Format(time.RFC3339)}},
		Results:     []sarifResult{},
		Properties:  map[string]any{"policy": r.Policy, "passed": r.Pass()},
	}
	index := map[string]int{}
	for _, x := range r.Results {
		if x.Outcome == Passed {
			continue
		}
		i, ok := index[x.Weakness]
		if !ok {
			i = len(run.Tool.Driver.Rules)
			index[x.Weakness] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: x.Weakness, ShortDescription: sarifText{x.Title},
				Properties: map[string]any{"security-severity": securitySeverity(x.Severity)}})
		}
		run.Results = append(run.Results, x.sarif(i))
	}
	if r.Unlisted > 0 {
		run.Properties["unlisted"] = r.Unlisted
	}
	log := sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
	b, err := json.MarshalIndent(log, "", "  ")
	return append(b, '\n'), err
}

func (r Result) sarif(rule int) sarifResult {
	out := sarifResult{RuleID: r.Weakness, RuleIndex: rule, Kind: "fail", Level: "error",
		Message:             sarifText{r.Label() + ": " + r.Title + " (" + r.Reason() + "). To do: " + r.Do},
		PartialFingerprints: map[string]string{"casementExposureKey/v1": r.Key},
		Properties:          map[string]any{"outcome": r.Outcome, "risk": r.Risk.String(), "severity": r.Severity.String(), "project": r.Project, "class": r.Class},
	}
	if r.Outcome == Warned {
		out.Level = "warning"
	}
	if r.Exception != nil {
		out.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: r.Reason()}}
	}
	loc := sarifLocation{}
	if r.File != "" {
		loc.PhysicalLocation = &sarifPhysical{ArtifactLocation: sarifArtifact{URI: uri(r.File)}}
		if r.Line > 0 {
			loc.PhysicalLocation.Region = &sarifRegion{StartLine: r.Line}
		}
	}
	if r.Package != "" {
		loc.LogicalLocations = []sarifLogical{{FullyQualifiedName: r.Label(), Kind: "package"}}
	}
	if loc.PhysicalLocation != nil || loc.LogicalLocations != nil {
		out.Locations = []sarifLocation{loc}
	}
	return out
}

// securitySeverity is the number code scanning pages read, as a string.
func securitySeverity(s finding.Severity) string {
	switch s {
	case finding.SeverityCritical:
		return "9.5"
	case finding.SeverityHigh:
		return "8.0"
	case finding.SeverityMedium:
		return "5.5"
	case finding.SeverityLow:
		return "2.0"
	}
	return "0.0"
}

// uri escapes what a relative URI reference can't hold (RFC 3986).
func uri(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/!$&'()*+,;=@:", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.WriteString("%" + string(hex[c>>4]) + string(hex[c&15]))
	}
	return b.String()
}
