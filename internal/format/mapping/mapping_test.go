package mapping

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

var update = flag.Bool("update", false, "write golden files")

const repoRoot = "../../.."

func options(file string) format.Options {
	return format.Options{Now: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), File: file, HashSecret: func(s string) string { return "keyed-" + format.Hash("k", s) }}
}

func load(t *testing.T, name string) *Reader {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repoRoot, "examples/mappings", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Load(name+".yaml", b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fenced returns the code blocks of one language in a Markdown file.
func fenced(t *testing.T, file, lang string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(repoRoot, file))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, part := range strings.Split(string(b), "```"+lang+"\n")[1:] {
		code, _, _ := strings.Cut(part, "```")
		out = append(out, code)
	}
	return out
}

// The worked example of the documentation does what the text says.
func TestDocumentedExample(t *testing.T) {
	r, err := Load("acme.yaml", []byte(fenced(t, "docs/mapping.md", "yaml")[0]))
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(fenced(t, "docs/mapping.md", "json")[0])
	if got := r.Detect(format.NewProbe(body, format.Options{})); got != 99 {
		t.Errorf("Detect = %d, want 99", got)
	}
	res, err := r.Read(body, options("acme.json"))
	if err != nil {
		t.Fatal(err)
	}
	if res.Read != 2 || res.Kept != 1 || res.Suppressed != 1 {
		t.Fatalf("got %+v", res)
	}
	f := res.Findings[0]
	want := finding.Finding{UID: f.UID, Tenant: "default", Source: "acme", Product: "Acme Scanner", Rule: "ACME-7", Title: "Bucket is public", Class: finding.StoragePublic,
		Domain: finding.DomainCloud, Severity: finding.SeverityCritical, SourceSeverity: "critical", Status: finding.StatusOpen,
		Weakness: finding.Weakness{CWE: []string{"CWE-732"}, Control: "ACME-7"},
		Asset:    finding.Asset{UID: "bucket/invoices", Type: "bucket", Name: "bucket/invoices", Provider: "aws", Account: "123456789012", Environment: "production"}}
	if f.Severity != want.Severity || f.Class != want.Class || f.Asset.UID != want.Asset.UID || f.Asset.Environment != "production" || f.Asset.Account != want.Asset.Account ||
		f.Weakness.CWE[0] != "CWE-732" || f.Params["bucket"] != "invoices" || len(f.OwnerHints) != 1 || f.OwnerHints[0] != (finding.Hint{Kind: "team", Value: "billing"}) ||
		!f.FirstSeen.Equal(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("finding = %+v", f)
	}
	if s := res.Suppressions[0]; s.Where != "acme.json#/targets/0/checks/1" || s.Reason != "the check passed" {
		t.Errorf("suppression = %+v", s)
	}
}

// Every documented field is one that a mapping may set, and the other way round.
func TestDocumentationNamesEveryField(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repoRoot, "docs/mapping.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, name := range targetNames(targets()) {
		last := name[strings.LastIndexByte(strings.TrimSuffix(name, ".NAME"), '.')+1:]
		if !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, "`."+last+"`") && !strings.Contains(doc, strings.TrimSuffix(name, "NAME")+"KIND") && !strings.Contains(doc, "`.tags.NAME`") {
			t.Errorf("docs/mapping.md does not name %s", name)
		}
	}
}

const secretMapping = `
format: leaks
records: "[*]"
fields:
  rule: RuleID
  title: Description
  weakness.secret: Secret
  location.file: File
  location.url: Link
  evidence.match: Match
`

const gitleaksBody = `[{"Description":"AWS key","StartLine":3,"File":"deploy/env.sh","Secret":"AKIAQWERTYUIOPASDFGH","Match":"key = AKIAQWERTYUIOPASDFGH","Link":"https://git.example/x?k=AKIAQWERTYUIOPASDFGH",
"Commit":"c0ffee","Email":"dev@example.com","Date":"2026-01-05T08:00:00Z","RuleID":"aws-access-token","Fingerprint":"x"}]`

const semgrepBody = `{"errors":[],"results":[
{"check_id":"go.sql-injection","path":"db/query.go","start":{"line":41},"extra":{"severity":"ERROR","message":"query built from input","fingerprint":"f1","is_ignored":false,"metadata":{"cwe":["CWE-089: SQL"],"confidence":"HIGH"}}},
{"check_id":"go.exec","path":"run.go","start":{"line":2},"extra":{"severity":"WARNING","message":"command from input","fingerprint":"f2","is_ignored":true,"metadata":{}}}]}`

const grypeBody = `{"matches":[{"vulnerability":{"id":"GHSA-aaaa-bbbb-cccc","severity":"High","fix":{"versions":["2.0.1"]},"cvss":[]},
"relatedVulnerabilities":[{"id":"CVE-2025-1234","description":"d","cvss":[{"metrics":{"baseScore":8.1}}]}],
"artifact":{"name":"left-pad","version":"1.0.0","type":"npm","purl":"pkg:npm/left-pad@1.0.0","locations":[{"path":"/app/package.json"}]}}],
"source":{"type":"image","target":{"userInput":"registry.example/app:1","tags":["x"]}},"descriptor":{"timestamp":"2026-02-01T00:00:00Z"}}`

func TestShippedMappings(t *testing.T) {
	for _, c := range []struct {
		name, body                 string
		kept, suppressed           int
		rule, file, asset          string
		severity                   finding.Severity
		class                      finding.Class
		firstSeen, line, component string
	}{
		{"semgrep", semgrepBody, 1, 1, "go.sql-injection", "db/query.go", "report.json", finding.SeverityHigh, finding.CodeWeakness, "2026-03-02", "41", ""},
		{"grype", grypeBody, 1, 0, "GHSA-aaaa-bbbb-cccc", "", "registry.example/app:1", finding.SeverityHigh, finding.VulnerablePackage, "2026-02-01", "0", "left-pad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := load(t, c.name)
			if r.Detect(format.NewProbe([]byte(c.body), format.Options{})) != 99 {
				t.Error("not detected")
			}
			res, err := r.Read([]byte(c.body), options("report.json"))
			if err != nil {
				t.Fatal(err)
			}
			if res.Kept != c.kept || res.Suppressed != c.suppressed || res.Refused != 0 {
				t.Fatalf("%+v", res)
			}
			f := res.Findings[0]
			if f.Rule != c.rule || f.Location.File != c.file || f.Asset.UID != c.asset || f.Severity != c.severity || f.Class != c.class ||
				f.FirstSeen.Format("2006-01-02") != c.firstSeen || f.Component.Name != c.component {
				t.Errorf("finding = %+v", f)
			}
		})
	}
}

// A secret is in no field of the finding, and its keyed hash names it.
func TestSecretIsGone(t *testing.T) {
	r, err := Load("leaks.yaml", []byte(secretMapping))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.SecretPaths(); len(got) != 1 || got[0] != "**.Secret" {
		t.Errorf("SecretPaths = %v", got)
	}
	res, err := r.Read([]byte(gitleaksBody), options("r.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := res.Findings[0]
	if !strings.HasPrefix(f.Weakness.SecretHash, "keyed-") {
		t.Errorf("SecretHash = %q", f.Weakness.SecretHash)
	}
	if b, _ := json.Marshal(res); strings.Contains(string(b), "AKIAQWERTYUIOPASDFGH") {
		t.Errorf("the secret is in the finding: %s", b)
	}
	if f.Location.URL != "https://git.example/x?k=[redacted]" {
		t.Errorf("URL = %q", f.Location.URL)
	}
	opt := options("r.json")
	opt.HashSecret = nil
	res, _ = r.Read([]byte(gitleaksBody), opt)
	if res.Findings[0].Weakness.SecretHash != "" {
		t.Error("without a key the secret must be dropped")
	}
}

// The rest of the language: several record lists, values to ignore, tags as an
// object, conversions, the scanned asset, required fields and CSV.
const everything = `
format: everything
records: ["a.list[*]", "b[*]"]
constants: {asset.type: repository}
fields:
  native_id: {template: "{id}/{mark}", ignore: [none, n/a]}
  rule: check
  title: check
  class: {path: check, convert: check-class}
  exposure.internet_facing: {path: check, convert: check-public}
  asset.uid: "@scanned"
  asset.tags: tags
  location.line: line
required: rule
suppress:
  - when: {paths: [skipped, ignored], equals: "true"}
    reason: skipped at the source
`

func TestLanguage(t *testing.T) {
	r, err := Load("e.yaml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	body := `{"a":{"list":[{"id":1,"mark":"m","check":"s3_bucket_public_access","tags":{"team":"x","n":7,"deep":{}}},
{"id":2,"mark":"N/A","check":"c","tags":[{"Key":"env","Value":"prod"},"k=v"],"line":"12"},{"id":3,"ignored":true}]},
"b":[{"id":4},{"id":5,"check":"c","line":"x"},{"id":6,"check":["c",{}],"line":{}}]}`
	opt := options("f.json")
	opt.Asset = finding.Asset{UID: "acme/shop", Type: "repository", Provider: "github", Environment: "staging"}
	res, err := r.Read([]byte(body), opt)
	if err != nil || res.Kept != 2 || res.Suppressed != 1 || res.Refused != 3 {
		t.Fatalf("%+v %v", res, err)
	}
	one, two := res.Findings[0], res.Findings[1]
	if one.NativeID != "1/m" || one.Class != finding.StoragePublic || one.Exposure.InternetFacing != finding.Yes || one.Asset.Provider != "github" || one.Asset.Environment != "staging" ||
		len(one.Asset.Tags) != 2 || one.Asset.Tags["n"] != "7" || one.OwnerHints[0].Value != "x" {
		t.Errorf("%+v", one)
	}
	if two.NativeID != "" || two.Asset.Tags["env"] != "prod" || two.Asset.Tags["k"] != "v" || two.Location.Line != 12 {
		t.Errorf("%+v", two)
	}
	for i, want := range []string{"f.json:3:6 (/b/0): rule: missing; check is empty", `f.json:3:15 (/b/1): location.line: want a number, got "x"`, "f.json:3:47 (/b/2): line: want text, got an object"} {
		if got := res.Refusals[i].Where + ": " + res.Refusals[i].Reason; got != want {
			t.Errorf("refusal %d: %s, want %s", i, got, want)
		}
	}
}

// All errors of a broken file come at once, in order, with places. The golden
// file holds them as people see them.
func TestLoadErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no broken mappings in testdata")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, loadErr := Load(filepath.Base(file), b)
		if loadErr == nil {
			t.Errorf("%s: loaded, want errors", file)
			continue
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".golden"
		got := loadErr.Error() + "\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != got {
			t.Errorf("%s: got\n%swant\n%s(%v; run with -update after checking)", file, got, want, err)
		}
	}
}

func TestRecordsNotFound(t *testing.T) {
	r := load(t, "grype")
	_, err := r.Read([]byte(`{"runs": [], "version": "1"}`), options("x.json"))
	if err == nil || !strings.Contains(err.Error(), `"matches[*]" is not in the body; it has runs, version`) {
		t.Errorf("err = %v", err)
	}
	res, err := r.Read([]byte(`{"matches": []}`), options("x.json"))
	if err != nil || res.Read != 0 {
		t.Errorf("an empty report: %+v %v", res, err)
	}
	res, err = r.Read([]byte(`{"matches": [7, {"vulnerability":{"id":"CVE-2025-1"},"artifact":{"name":"a"}}]}`), options("x.json"))
	if err != nil || res.Kept != 1 || res.Refused != 1 || res.Refusals[0].Where != "x.json:1:14 (/matches/0)" {
		t.Errorf("one bad record: %+v %v", res, err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata", filepath.Join(repoRoot, "examples/mappings")} {
		files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
		for _, x := range files {
			if b, err := os.ReadFile(x); err == nil {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Load("f.yaml", b)
		if (r == nil) == (err == nil) {
			t.Fatalf("reader %v and error %v", r, err)
		}
		if err != nil {
			return
		}
		if res, err := r.Read([]byte(grypeBody), options("x.json")); err == nil && res.Read != res.Kept+res.Suppressed+res.Refused {
			t.Fatalf("%+v", res)
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{gitleaksBody, semgrepBody, grypeBody, `{"matches":{"a":{"artifact":null}}}`} {
		f.Add([]byte(s))
	}
	var readers []*Reader
	for _, name := range []string{"semgrep", "grype", "checkov", "kube-bench", "prowler", "prowler-csv"} {
		b, err := os.ReadFile(filepath.Join(repoRoot, "examples/mappings", name+".yaml"))
		if err != nil {
			f.Fatal(err)
		}
		r, err := Load(name, b)
		if err != nil {
			f.Fatal(err)
		}
		readers = append(readers, r)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range readers {
			res, err := r.Read(b, options("x.json"))
			if err == nil && res.Read != res.Kept+res.Suppressed+res.Refused {
				t.Fatalf("%+v", res)
			}
		}
	})
}
