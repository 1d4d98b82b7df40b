package policytest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/policy"
)

// At is the instant random facts are judged at.
func At() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// Facts draws random facts; roughly a third of what can be unknown is.
func Facts() *rapid.Generator[policy.Facts] {
	return rapid.Custom(func(t *rapid.T) policy.Facts {
		f := policy.FactsOf(Finding().Draw(t, "finding"), policy.CaseFacts{
			OwnerKnown: rapid.Bool().Draw(t, "owner_known"), Team: rapid.SampledFrom([]string{"", "shop", "core"}).Draw(t, "team"),
			Recurrence: rapid.Bool().Draw(t, "recurrence"), Members: rapid.IntRange(1, 3).Draw(t, "members"),
		})
		f.At = At()
		return f
	})
}

// Finding draws a random normalized finding.
func Finding() *rapid.Generator[finding.Finding] {
	return rapid.Custom(func(t *rapid.T) finding.Finding {
		classes := []finding.Class{""}
		for _, c := range finding.Classes() {
			classes = append(classes, c.Class)
		}
		tri := func(name string) finding.Tri { return finding.Tri(rapid.IntRange(0, 2).Draw(t, name)) }
		pick := func(name string, words ...string) string { return rapid.SampledFrom(words).Draw(t, name) }
		f := finding.Finding{
			Source: pick("source", "a.scanner", "b.scanner"), Rule: pick("rule", "r1", "r2"),
			NativeID: fmt.Sprint(rapid.IntRange(0, 50).Draw(t, "native")), Title: "something risky",
			Class:    rapid.SampledFrom(classes).Draw(t, "class"),
			Severity: finding.Severity(rapid.IntRange(0, 5).Draw(t, "severity")), Confidence: rapid.SampledFrom([]int{0, 20, 60, 95}).Draw(t, "confidence"),
			Asset: finding.Asset{
				UID: pick("asset", "one", "two", "three"), Type: pick("type", "", "bucket", "host", "repository"), Provider: pick("provider", "", "aws", "github"),
				Account: pick("account", "", "111", "222"), Environment: pick("environment", "", "production", "staging", "development", "test"),
				App: pick("app", "", "shop", "reports"), Criticality: pick("criticality", "", "low", "medium", "high", "critical"),
				DataClass: pick("data_class", "", "public", "internal", "confidential", "restricted"), CustomerFacing: tri("customer_facing"), Regulated: tri("regulated"),
				Tags: rapid.SampledFrom([]map[string]string{nil, {"casement": "never"}, {"public-approved": "yes"}, {"team": "shop"}}).Draw(t, "tags"),
			},
			Weakness: finding.Weakness{KEV: tri("kev"), CVSS: rapid.SampledFrom([]int{0, 31, 98}).Draw(t, "cvss"),
				CVE: rapid.SampledFrom([][]string{nil, {"CVE-2021-44228"}}).Draw(t, "cve")},
			Exposure: finding.Exposure{InternetFacing: tri("internet_facing"), PipelineAdjacent: tri("pipeline_adjacent"), Exploited: tri("exploited"),
				Blast: rapid.SampledFrom([]int{0, 1, 40}).Draw(t, "blast"), CompensatingControl: pick("control", "", "waf")},
			Identity: finding.Identity{Privileged: tri("privileged"), Scopes: rapid.SampledFrom([][]string{nil, {"read", "write"}}).Draw(t, "scopes")},
		}
		n, err := finding.Normalize(f)
		if err != nil {
			t.Fatalf("random finding: %v", err)
		}
		return n
	})
}

// Complete fills every unknown fact that conditions treat as the worst case
// with a random value it could have.
func Complete(t *rapid.T, f policy.Facts) policy.Facts {
	for _, x := range []*finding.Tri{&f.KEV, &f.CustomerFacing, &f.Regulated, &f.InternetFacing, &f.PipelineAdjacent, &f.Privileged} {
		if *x == finding.Unknown {
			*x = rapid.SampledFrom([]finding.Tri{finding.No, finding.Yes}).Draw(t, "known")
		}
	}
	for _, x := range []struct {
		to    *string
		words []string
	}{
		{&f.Account, []string{"111", "222", "333"}}, {&f.Environment, []string{"production", "staging", "development", "test"}},
		{&f.Criticality, []string{"low", "medium", "high", "critical"}}, {&f.DataClass, []string{"public", "internal", "confidential", "restricted"}},
	} {
		if *x.to == "" {
			*x.to = rapid.SampledFrom(x.words).Draw(t, "word")
		}
	}
	if f.Severity == finding.SeverityUnknown {
		f.Severity = finding.Severity(rapid.IntRange(1, 5).Draw(t, "severity"))
	}
	if f.Confidence == 0 {
		f.Confidence = rapid.IntRange(1, 100).Draw(t, "confidence")
	}
	if f.CVSS == 0 {
		f.CVSS = rapid.IntRange(1, 100).Draw(t, "cvss")
	}
	if f.Blast == finding.BlastUnknown {
		f.Blast = rapid.IntRange(1, 2000).Draw(t, "blast")
	}
	return f
}
