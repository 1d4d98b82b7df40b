package main

import (
	"strings"
	"testing"
)

// bareSARIF says neither repository nor image.
const bareSARIF = `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"T","rules":[{"id":"R1"}]}},"results":[{"ruleId":"R1","level":"error","message":{"text":"bad"},` +
	`"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.go"},"region":{"startLine":3}}}]}]}]}`

// TestAssetOfReport: --asset says what a report without provenance is about.
func TestAssetOfReport(t *testing.T) {
	for flag, want := range map[string]string{
		"repository=acme/shop":             `"asset":{"uid":"acme/shop","type":"repository"`,
		"acme/shop":                        `"asset":{"uid":"acme/shop","type":"repository"`,
		"image=registry.example.com/shop":  `"asset":{"uid":"registry.example.com/shop","type":"image"`,
		"repository=https://example.com/x": `"asset":{"uid":"https://example.com/x","type":"repository"`,
	} {
		code, out, errs := execute(t, bareSARIF, "parse", "--asset", flag, "-")
		if code != codeOK || !strings.Contains(out, want) {
			t.Errorf("--asset %s: code %d, %s%s, want %s", flag, code, out, errs, want)
		}
	}
	if code, _, errs := execute(t, bareSARIF, "parse", "--asset", "=x", "-"); code != codeUsage || !strings.Contains(errs, "TYPE=UID") {
		t.Errorf("--asset =x: code %d, %s", code, errs)
	}
}
