package sarif

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// read reads one result of one rule; rule and result are JSON members.
func read(t *testing.T, tool, rule, result string, opt format.Options) format.Result {
	t.Helper()
	body := fmt.Sprintf(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":%q,"rules":[{"id":"R",%s}]}},
		"results":[{"ruleId":"R","message":{"text":"m"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.go"}}}],%s}]}]}`, tool, rule, result)
	res, err := Reader{}.Read([]byte(body), opt)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return res
}

// The order of SARIF 3.27.10, and security-severity before it.
func TestSeverity(t *testing.T) {
	for _, c := range []struct {
		rule, result string
		want         finding.Severity
	}{
		{`"x":1`, `"x":1`, finding.SeverityMedium},
		{`"defaultConfiguration":{"level":"error"}`, `"x":1`, finding.SeverityHigh},
		{`"defaultConfiguration":{"level":"error"}`, `"level":"note"`, finding.SeverityInfo},
		{`"defaultConfiguration":{"level":"error"}`, `"kind":"review"`, finding.SeverityInfo},
		{`"properties":{"security-severity":"9.1"}`, `"level":"note"`, finding.SeverityCritical},
		{`"properties":{"security-severity":2.1}`, `"level":"error"`, finding.SeverityLow},
		{`"properties":{"security-severity":"high"}`, `"level":"note"`, finding.SeverityHigh},
		{`"properties":{"security-severity":"9.1"}`, `"properties":{"security-severity":"4.0"}`, finding.SeverityMedium},
		{`"properties":{"security-severity":"soon"}`, `"level":"error"`, finding.SeverityHigh},
		{`"x":1`, `"level":"none"`, finding.SeverityInfo},
	} {
		if got := read(t, "x", c.rule, c.result, format.Options{}).Findings[0].Severity; got != c.want {
			t.Errorf("rule %s result %s: %v, want %v", c.rule, c.result, got, c.want)
		}
	}
}

func TestSuppression(t *testing.T) {
	for result, want := range map[string]bool{
		`"kind":"pass"`:                        true,
		`"kind":"notApplicable"`:               true,
		`"kind":"open"`:                        false,
		`"suppressions":[]`:                    false,
		`"suppressions":[{"kind":"inSource"}]`: true,
		`"suppressions":[{"kind":"external","state":"accepted"},{"kind":"external","state":"rejected"}]`: false,
		`"suppressions":[{"kind":"external","state":"underReview"}]`:                                     false,
	} {
		if got := read(t, "x", `"x":1`, result, format.Options{}).Suppressed == 1; got != want {
			t.Errorf("%s: suppressed %v, want %v", result, got, want)
		}
	}
}

func TestClassByTool(t *testing.T) {
	for _, c := range []struct {
		tool, rule string
		want       finding.Class
	}{
		{"CodeQL", `"x":1`, finding.CodeWeakness},
		{"Checkov", `"x":1`, "pipeline.iac-misconfigured"},
		{"gitleaks", `"x":1`, finding.SecretInCode},
		{"OSV-Scanner", `"shortDescription":{"text":"CVE-2025-1: x"}`, finding.VulnerablePackage},
		{"Semgrep OSS", `"properties":{"tags":["CWE-798: Use of Hard-coded Credentials"]}`, finding.SecretInCode},
		{"Snyk Open Source", `"shortDescription":{"text":"high severity - CVE-2025-1234 in minimist"}`, finding.VulnerablePackage},
	} {
		if got := read(t, c.tool, c.rule, `"x":1`, format.Options{}).Findings[0].Class; got != c.want {
			t.Errorf("%s %s: %s, want %s", c.tool, c.rule, got, c.want)
		}
	}
}

// No part of a finding quotes a snippet, whatever the rule, and a secret's
// message and fingerprints do not quote the secret.
func TestSnippetsAreNotKept(t *testing.T) {
	const canary = "CANARY-8f2b11"
	result := fmt.Sprintf(`"message":{"text":"found %[1]s here"},"fingerprints":{"secret":%[1]q},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.go"},
		"region":{"startLine":1,"snippet":{"text":%[1]q}},"contextRegion":{"snippet":{"text":"x %[1]s y"}}}}]`, canary)
	for _, hash := range []func(string) string{nil, func(string) string { return "keyed" }} {
		f := read(t, "gitleaks", `"x":1`, result, format.Options{HashSecret: hash}).Findings[0]
		b, _ := json.Marshal(f)
		if strings.Contains(string(b), canary) {
			t.Errorf("the secret is in %s", b)
		}
		if (hash == nil) != (f.Weakness.SecretHash == "") {
			t.Errorf("SecretHash = %q", f.Weakness.SecretHash)
		}
	}
	code := strings.Replace(result, "found "+canary, "found it", 1)
	code = strings.Replace(code, `"fingerprints":{"secret":"`+canary+`"},`, "", 1)
	b, _ := json.Marshal(read(t, "CodeQL", `"x":1`, code, format.Options{}).Findings[0])
	if strings.Contains(string(b), canary) {
		t.Errorf("the snippet is in %s", b)
	}
}

// Without a repository in the body the sender's word names the asset, so that
// equal paths of two repositories stay two exposures.
func TestAssetOfTheSender(t *testing.T) {
	in := func(repo string) finding.Key {
		f := read(t, "CodeQL", `"x":1`, `"partialFingerprints":{"p":"1"}`, format.Options{Asset: finding.Asset{UID: repo, Type: "repository"}}).Findings[0]
		if f.Location.Repository != repo || f.Location.File != "a.go" {
			t.Errorf("location = %+v", f.Location)
		}
		return finding.ExposureKey(f)
	}
	if in("example/one") == in("example/two") {
		t.Error("two repositories, one key")
	}
}

// A moved line is the same exposure; another statement is not.
func TestKeyIgnoresLines(t *testing.T) {
	at := func(line int, snippet string) finding.Key {
		return finding.ExposureKey(read(t, "CodeQL", `"x":1`, fmt.Sprintf(`"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.go"},"region":{"startLine":%d,"snippet":{"text":%q}}}}]`, line, snippet),
			format.Options{}).Findings[0])
	}
	if at(1, "f(x)") != at(90, "  f(x)\n") {
		t.Error("a moved and indented line changed the key")
	}
	if at(1, "f(x)") == at(1, "f(y)") {
		t.Error("two statements share a key")
	}
}

// BenchmarkRead reads a log of 10,000 results.
func BenchmarkRead(b *testing.B) {
	var s strings.Builder
	s.WriteString(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x","rules":[`)
	for i := range 200 {
		fmt.Fprintf(&s, `{"id":"R%d","shortDescription":{"text":"rule %d"},"properties":{"tags":["external/cwe/cwe-079"]}},`, i, i)
	}
	s.WriteString(`{"id":"last"}]}},"results":[`)
	for i := range 10_000 {
		fmt.Fprintf(&s, `{"ruleId":"R%d","message":{"text":"message %d"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"dir/file%d.go"},"region":{"startLine":%d,"snippet":{"text":"call(%d)"}}}}]},`, i%200, i, i, i, i)
	}
	s.WriteString(`{"ruleId":"last","message":{"text":"end"}}]}]}`)
	body := []byte(s.String())
	opt := format.Options{Now: time.Unix(1.7e9, 0)}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		res, err := Reader{}.Read(body, opt)
		if err != nil || res.Read != 10_001 {
			b.Fatal(res.Read, err)
		}
	}
}
