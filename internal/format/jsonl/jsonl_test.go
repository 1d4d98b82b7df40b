package jsonl

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// What LineOf writes, Read reads back to the same finding, key and identity.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z0-9:/._-]{1,12}`)
		maybe := rapid.OneOf(rapid.Just(""), word)
		tri := rapid.SampledFrom([]finding.Tri{finding.Unknown, finding.No, finding.Yes})
		f := finding.Finding{Source: word.Draw(t, "source"), NativeID: maybe.Draw(t, "native"), Rule: maybe.Draw(t, "rule"), Title: word.Draw(t, "title"), Product: maybe.Draw(t, "product"),
			Severity: finding.Severity(rapid.IntRange(0, 5).Draw(t, "severity")), Class: rapid.SampledFrom([]finding.Class{"", finding.StoragePublic, finding.VulnerablePackage}).Draw(t, "class"),
			Status: rapid.SampledFrom([]finding.Status{finding.StatusOpen, finding.StatusFixed}).Draw(t, "status"), FirstSeen: time.Unix(rapid.Int64Range(1.6e9, 1.9e9).Draw(t, "first"), 5).UTC(),
			Asset:      finding.Asset{UID: word.Draw(t, "uid"), Type: maybe.Draw(t, "type"), CustomerFacing: tri.Draw(t, "facing")},
			Location:   finding.Location{File: maybe.Draw(t, "file"), Line: rapid.IntRange(0, 99).Draw(t, "line"), SnippetHash: maybe.Draw(t, "snippet")},
			Component:  finding.Component{Name: maybe.Draw(t, "component"), Version: maybe.Draw(t, "version"), PURL: maybe.Draw(t, "purl")},
			OwnerHints: []finding.Hint{{Kind: "team", Value: word.Draw(t, "team")}}, Deadline: time.Unix(1.9e9, 0).UTC(), Params: map[string]string{"a": word.Draw(t, "param")},
			Exposure: finding.Exposure{InternetFacing: tri.Draw(t, "internet")}, Evidence: []finding.Evidence{{Name: "n", Value: word.Draw(t, "evidence")}}}
		if rapid.Bool().Draw(t, "weak") {
			f.Weakness = finding.Weakness{CVE: []string{"CVE-2025-1111"}, SecretHash: maybe.Draw(t, "secret"), CVSS: rapid.IntRange(0, 100).Draw(t, "cvss")}
		}
		f, err := finding.Normalize(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(LineOf(f))
		if err != nil {
			t.Fatal(err)
		}
		res, err := Reader{}.Read(b, format.Options{})
		if err != nil || res.Kept != 1 {
			t.Fatalf("%s: %+v %v", b, res, err)
		}
		again, _ := json.Marshal(LineOf(res.Findings[0]))
		if string(again) != string(b) {
			t.Fatalf("got  %s\nwant %s", again, b)
		}
	})
}

// The contract of `casement parse`: these keys are on every line, lists are
// never null, and severity is one of five words.
func TestLineHasTheContract(t *testing.T) {
	f, err := finding.Normalize(finding.Finding{Source: "s", Title: "t", Severity: finding.SeverityLow, Asset: finding.Asset{UID: "a"}, FirstSeen: time.Unix(1.7e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(LineOf(f))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for _, k := range strings.Fields("source uid title severity class cve cwe asset file line component version first_seen key") {
		if v, ok := m[k]; !ok || string(v) == "null" {
			t.Errorf("%s is %s in %s", k, v, b)
		}
	}
	if string(m["component"]) != `""` || string(m["cve"]) != "[]" || string(m["severity"]) != `"low"` {
		t.Errorf("%s", b)
	}
}

// What a body says of tenant and of our own observations is not believed.
func TestBodyCannotForgeTenantOrOrigin(t *testing.T) {
	res, err := Reader{}.Read([]byte(`{"source":"x","title":"t","severity":"low","asset":{"uid":"a"},"tenant":"victim","origins":{"severity":{"observed":true,"source":"casement","at":"2026-01-01T00:00:00Z"}}}`), format.Options{Tenant: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if f := res.Findings[0]; f.Tenant != "mine" || f.Origins != nil {
		t.Errorf("tenant %q origins %v", f.Tenant, f.Origins)
	}
}

func TestRefusals(t *testing.T) {
	for body, want := range map[string]string{
		`{"title":"t","severity":"low","asset":{"uid":"a"},"status":"done"}`:              `status: "done": want open, fixed or dismissed`,
		`{"title":"t","severity":"low","asset":{"uid":"a"},"first_seen":"yesterday"}`:     `first_seen: "yesterday" is no time`,
		`{"title":"t","severity":"low","asset":{"uid":"a"},"confidence":300}`:             "confidence: 300",
		`{"title":"t","severity":"low","asset":{"uid":"a"},"domain":"space"}`:             `domain: "space"`,
		`{"title":"t","severity":7,"asset":{"uid":"a"}}`:                                  "severity: want one of its words as text, got number",
		`{"title":"t","severity":"low","asset":"a"}`:                                      "asset: want an object, got string",
		`{"title":"t","severity":"low","asset":{"uid":"a"},"component":["x"]}`:            "component: want text, got an array",
		`{"title":"t","severity":"low","asset":{"uid":"a"},"weakness":{"cvss":981}}`:      "weakness.cvss: 981",
		`{"title":"t","severity":"low","asset":{"uid":"a"},"exposure":{"exploited":"x"}}`: "want yes, no or unknown",
	} {
		_, err := Reader{}.Read([]byte(body), format.Options{File: "f"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}
