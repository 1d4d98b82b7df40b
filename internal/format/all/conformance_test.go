package all_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/format/jsonl"
)

var update = flag.Bool("update", false, "write golden files")

func testOptions(file string) format.Options {
	return format.Options{Now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), File: file, HashSecret: func(s string) string { return "keyed-" + format.Hash("key", s)[:12] }}
}

// fixtures returns the readers' own fixtures: ../<reader>/testdata/<file>.
func fixtures(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.json", "*.jsonl", "*.sarif", "*.csv"} {
		files, err := filepath.Glob(filepath.Join("..", "*", "testdata", pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, files...)
	}
	slices.Sort(out)
	return out
}

// reader is the folder's name; fixtures of shipped mappings are named like
// their format.
func reader(fixture string) string {
	name := filepath.Base(filepath.Dir(filepath.Dir(fixture)))
	if name == "shipped" {
		name, _, _ = strings.Cut(strings.TrimSuffix(filepath.Base(fixture), filepath.Ext(fixture)), "_")
	}
	return name
}

func load(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every reader has fixtures, is found by content, and makes of them what the
// golden files show.
func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range fixtures(t) {
		t.Run(reader(file)+"/"+filepath.Base(file), func(t *testing.T) {
			body := load(t, file)
			r, err := all.Detect(body, testOptions(filepath.Base(file)))
			if err != nil {
				t.Fatal(err)
			}
			if r.Name() != reader(file) {
				t.Fatalf("detected as %s", r.Name())
			}
			seen[r.Name()] = true
			res, err := r.Read(body, testOptions(filepath.Base(file)))
			if err != nil {
				t.Fatal(err)
			}
			checkCounters(t, res)
			got := render(t, res)
			golden := strings.TrimSuffix(file, filepath.Ext(file)) + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := load(t, golden); !bytes.Equal(want, got) {
				t.Errorf("differs from %s; look at the difference, then run with -update\n%s", golden, firstDifference(want, got))
			}
			if bytes.Contains(got, []byte("CANARY")) {
				t.Errorf("a secret of the fixture is in the findings")
			}
		})
	}
	for _, r := range all.Readers() {
		if !seen[r.Name()] {
			t.Errorf("reader %s has no fixture", r.Name())
		}
	}
}

func render(t *testing.T, res format.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	for _, f := range res.Findings {
		if err := enc.Encode(jsonl.LineOf(f)); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range res.Suppressions {
		b.WriteString("suppressed " + n.Where + " " + n.Record + ": " + n.Reason + "\n")
	}
	for _, n := range res.Refusals {
		b.WriteString("refused " + n.Where + " " + n.Record + ": " + n.Reason + "\n")
	}
	return b.Bytes()
}

func firstDifference(a, b []byte) string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "want " + x[i] + "\n got " + y[i]
		}
	}
	return "one has more lines"
}

func checkCounters(t *testing.T, res format.Result) {
	t.Helper()
	if res.Read != res.Kept+res.Suppressed+res.Refused || res.Kept != len(res.Findings) || res.Suppressed != len(res.Suppressions) || res.Refused != len(res.Refusals) {
		t.Errorf("counters do not add up: read %d kept %d/%d suppressed %d/%d refused %d/%d", res.Read, res.Kept, len(res.Findings), res.Suppressed, len(res.Suppressions), res.Refused, len(res.Refusals))
	}
}

// identities renders findings without their order.
func identities(t *testing.T, res format.Result) []string {
	t.Helper()
	var out []string
	for _, f := range res.Findings {
		b, err := json.Marshal(jsonl.LineOf(f))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	slices.Sort(out)
	return out
}

// Keys in another order, keys nobody knows, records in another order and other
// white space change nothing.
func TestMetamorphic(t *testing.T) {
	for _, file := range fixtures(t) {
		body := load(t, file)
		opt := testOptions("x.json")
		want, err := all.Read(body, opt)
		if err != nil {
			t.Fatal(file, err)
		}
		if filepath.Ext(file) == ".csv" {
			continue // TestMetamorphicTables
		}
		for name, variant := range map[string][]byte{
			"keys reversed":     rewrite(t, body, rewriter{reverseKeys: true}),
			"unknown keys":      rewrite(t, body, rewriter{unknown: true}),
			"records reversed":  rewrite(t, body, rewriter{reverseRecords: true}),
			"byte order mark":   append([]byte("\uFEFF"), body...),
			"indented":          rewrite(t, body, rewriter{space: "\n\t"}),
			"Windows line ends": bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")),
		} {
			got, err := all.Read(variant, opt)
			if err != nil {
				t.Errorf("%s, %s: %v", file, name, err)
				continue
			}
			checkCounters(t, got)
			if got.Read != want.Read || got.Refused != want.Refused || !slices.Equal(identities(t, got), identities(t, want)) {
				t.Errorf("%s, %s: read %d kept %d refused %d, want %d %d %d, or other findings", file, name, got.Read, got.Kept, got.Refused, want.Read, want.Kept, want.Refused)
			}
		}
	}
}

// rewriter writes JSON anew with harmless changes.
type rewriter struct {
	reverseKeys, unknown, reverseRecords bool
	space                                string
}

// rewrite handles JSON and JSON lines; a line that is not JSON stays.
func rewrite(t *testing.T, body []byte, r rewriter) []byte {
	t.Helper()
	if json.Valid(body) {
		return r.value(t, body, "")
	}
	if r.space == "\n\t" {
		r.space = " \t"
	}
	lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	for i, line := range lines {
		if json.Valid(line) {
			lines[i] = r.value(t, line, "")
		}
	}
	if r.reverseRecords {
		slices.Reverse(lines)
	}
	return bytes.Join(lines, []byte("\n"))
}

func (r rewriter) value(t *testing.T, raw []byte, key string) []byte {
	t.Helper()
	raw = bytes.TrimSpace(raw)
	var b bytes.Buffer
	switch raw[0] {
	case '{':
		dec := json.NewDecoder(bytes.NewReader(raw))
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		var members [][]byte
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			var v json.RawMessage
			if err := dec.Decode(&v); err != nil {
				t.Fatal(err)
			}
			quoted, _ := json.Marshal(k)
			members = append(members, slices.Concat(quoted, []byte(":"+r.space), r.value(t, v, k.(string))))
		}
		if r.reverseKeys {
			slices.Reverse(members)
		}
		if r.unknown && key != "params" && key != "tags" { // those hold any key
			members = append(members, []byte(`"zz_unknown":{"deeper":[1,null,{"a":"b"}]}`))
		}
		b.WriteString("{" + r.space)
		b.Write(bytes.Join(members, []byte(","+r.space)))
		b.WriteString("}")
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
		parts := make([][]byte, len(list))
		for i, v := range list {
			parts[i] = r.value(t, v, "")
		}
		switch key {
		case "", "results", "Findings", "findings", "Results", "nodes", "items":
			if r.reverseRecords && key != "" {
				slices.Reverse(parts)
			}
		}
		b.WriteString("[" + r.space)
		b.Write(bytes.Join(parts, []byte(","+r.space)))
		b.WriteString("]")
	default:
		return raw
	}
	return b.Bytes()
}

func utf16Of(s string) []byte {
	out := []byte{0xFF, 0xFE}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

// deepen puts 100,000 nested lists behind the first key.
func deepen(body []byte) []byte {
	i := bytes.IndexByte(body, '{')
	deep := `"zz":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + ","
	return slices.Concat(body[:i+1], []byte(deep), body[i+1:])
}

// What TestDamage does not do to every format: other fields of the wrong type,
// ids that have a second place, and values outside of a format's words.
func TestDamagedRecords(t *testing.T) {
	for _, c := range []struct{ file, old, new, where, field string }{
		{"../sarif/testdata/dependencies.sarif", `"ruleId": "CIS-DI-0010", "level": "error", "message": {"text": "Suspicious ENV key found"}`, `"level": "error"`, "dependencies.sarif#/runs/2/results/0", "ruleId"},
		{"../sarif/testdata/dependencies.sarif", `"results": [{"ruleId": "CIS-DI-0010"`, `"artifacts": 7, "results": [{"ruleId": "CIS-DI-0010"`, "dependencies.sarif#/runs/2", "artifacts"},
		{"../trivy/testdata/image.json", `"PkgName": "libtmp"`, `"PkgName": ["libtmp"]`, "image.json#/Results/0/Vulnerabilities/2", "PkgName: want text"},
		{"../trivy/testdata/config.json", `"ID": "AVD-AWS-0086", "AVDID": "AVD-AWS-0086",`, ``, "config.json#/Results/0/Misconfigurations/0", "ID is missing"},
		{"../asff/testdata/batch.json", `"Id": "i-3"`, `"Ident": "i-3"`, "batch.json#/Findings/2", "Id is missing"},
		{"../asff/testdata/batch.json", `"Resources": [{"Type": "AwsEc2Instance"`, `"Resources": [7, {"Type": "AwsEc2Instance"`, "batch.json#/Findings/2", "Resources"},
		{"../github/testdata/code_scanning_list.json", `"number": 3,`, `"number": null,`, "code_scanning_list.json#/0", "number"},
		{"../github/testdata/secret_scanning_alert.json", `"publicly_leaked": true`, `"publicly_leaked": "maybe"`, "secret_scanning_alert.json#/alert", "publicly_leaked"},
		{"../gitleaks/testdata/v8.json", `"RuleID": "private-key",`, ``, "v8.json#/2", "RuleID: missing"},
		{"../gitleaks/testdata/v8.json", `"File": "conf/a.pem"`, `"File": {"path": "conf/a.pem"}`, "v8.json#/2", "File: want text"},
		{"../gitleaks/testdata/v7.json", `"rule": "Generic",`, ``, "v7.json#/1", "RuleID: missing"},
		{"../gitleaks/testdata/v7.json", `"offender": "k=CANARY222",`, ``, "v7.json#/1", "Secret: missing"},
		{"../gitleaks/testdata/v7.json", `"file": "x.env"`, `"file": ["x.env"]`, "v7.json#/1", "file: want text"},
		{"../falco/testdata/one.json", `"rule": "Read sensitive file untrusted"`, `"rule": null`, "one.json#", "rule: missing"},
		{"../falco/testdata/one.json", `"priority": "Critical"`, `"priority": "Urgent"`, "one.json#", "priority: Urgent"},
		{"../falco/testdata/one.json", `"output_fields": {`, `"output_fields": 7, "was": {`, "one.json#", "output_fields: want an object"},
		{"../alertmanager/testdata/webhook.json", `"alertname": "DiskFull",`, ``, "webhook.json#/alerts/2", "labels.alertname: missing"},
		{"../alertmanager/testdata/webhook.json", `"labels": {"alertname": "DiskFull", "severity": "critical", "instance": "10.0.0.5:9100", "job": "node"}`, `"labels": ["DiskFull"]`, "webhook.json#/alerts/2", "labels: want an object"},
		{"../alertmanager/testdata/webhook.json", `{"status": "resolved",`, `{"status": "gone",`, "webhook.json#/alerts/1", "status: \"gone\""},
		{"../alertmanager/testdata/webhook.json", `"casement_class": "storage.public"`, `"casement_class": "storage.pubic"`, "webhook.json#/alerts/0", "did you mean"},
		{"../jsonl/testdata/findings.jsonl", `"uid":"A-2"`, `"uid":["A-2"]`, "findings.jsonl#", "uid: want text"},
		{"../jsonl/testdata/findings.jsonl", `"asset":{"uid":`, `"asset":{"ident":`, "findings.jsonl#", "asset"},
		{"../shipped/testdata/grype.json", `"id": "CVE-2025-2222", "severity"`, `"severity"`, "grype.json#/matches/1", "rule: missing; vulnerability.id is empty"},
		{"../shipped/testdata/grype.json", `"artifact": {"name": "zlib"`, `"artifact": ["zlib"], "was": {"name": "zlib"`, "grype.json#/matches/1", "artifact.name: want an object, got a list"},
		{"../shipped/testdata/semgrep.json", `"check_id": "go.exec"`, `"check_id": {"id": "go.exec"}`, "semgrep.json#/results/1", "check_id: want text, got an object"},
		{"../shipped/testdata/semgrep.json", `"start": {"line": 2}`, `"start": {"line": "two"}`, "semgrep.json#/results/1", "location.line: want a number"},
		{"../shipped/testdata/semgrep.json", `"path": "run.go",`, ``, "semgrep.json#/results/1", "location.file: missing; path is empty"},
		{"../shipped/testdata/semgrep-platform.json", `"rule_name": "ts.no-refs",`, ``, "semgrep-platform.json#/findings/0", "rule: missing"},
		{"../shipped/testdata/semgrep-platform.json", `"location": {`, `"location": 7, "was": {`, "semgrep-platform.json#/findings/0", "location.file_path: want an object, got a number"},
		{"../shipped/testdata/checkov.json", `"check_id": "CKV_AWS_20",`, ``, "checkov.json#/0/results/failed_checks/0", "rule: missing"},
		{"../shipped/testdata/checkov.json", `"file_line_range": [4, 9]`, `"file_line_range": "4-9"`, "checkov.json#/0/results/failed_checks/0", "file_line_range[0]: want a list, got text"},
		{"../shipped/testdata/kube-bench.json", `"test_number": "1.2.1",`, ``, "kube-bench.json#/Controls/0/tests/0/results/0", "rule: missing"},
		{"../shipped/testdata/kube-bench.json", `"status": "FAIL"`, `"status": ["FAIL", {}], "remediation": {}`, "kube-bench.json#/Controls/0/tests/0/results/0", "remediation: want text, got an object"},
		{"../shipped/testdata/prowler.json", `"FindingUniqueId": "prowler-2",`, `"FindingUniqueId": null,`, "prowler.json#/1", "native_id: missing; FindingUniqueId is empty"},
		{"../shipped/testdata/prowler.json", `"CheckID": "iam_user_mfa_enabled_console_access"`, `"CheckID": {}`, "prowler.json#/1", "CheckID: want text"},
		{"../ocsf/testdata/detections.json", `"class_uid": 2003`, `"klass_uid": 2003`, "detections.json#/3", "class_uid"},
		{"../ocsf/testdata/detections.json", `"compliance": {"control": "EC2.19"`, `"compliance": {"control": {}`, "detections.json#/3", "compliance.control: want text"},
	} {
		body := load(t, c.file)
		if !bytes.Contains(body, []byte(c.old)) {
			t.Fatalf("%s does not hold %s", c.file, c.old)
		}
		res, err := all.Read(bytes.Replace(body, []byte(c.old), []byte(c.new), 1), testOptions(filepath.Base(c.file)))
		var notes []string
		if err != nil {
			notes = append(notes, err.Error())
		}
		for _, n := range res.Refusals {
			notes = append(notes, n.Where+": "+n.Reason)
		}
		name, pointer, _ := strings.Cut(c.where, "#")
		if pointer != "" {
			pointer = " (" + pointer + ")"
		}
		place := regexp.MustCompile("^" + regexp.QuoteMeta(name) + `:\d+:\d+` + regexp.QuoteMeta(pointer+": "))
		if !slices.ContainsFunc(notes, func(s string) bool { return place.MatchString(s) && strings.Contains(s, c.field) }) {
			t.Errorf("%s with %s: %q; want %s and %q", c.file, c.new, notes, c.where, c.field)
		}
	}
}

// CSV: other columns, their order and that of the rows, line ends and a byte
// order mark change nothing.
func TestMetamorphicTables(t *testing.T) {
	for _, file := range fixtures(t) {
		if filepath.Ext(file) != ".csv" {
			continue
		}
		body, opt := load(t, file), testOptions("x.csv")
		want, err := all.Read(body, opt)
		if err != nil {
			t.Fatal(file, err)
		}
		rows, comma := table(t, body)
		columns, rowsBack, more := make([][]string, len(rows)), slices.Clone(rows), make([][]string, len(rows))
		for i, row := range rows {
			columns[i] = slices.Clone(row)
			slices.Reverse(columns[i])
			more[i] = append([]string{map[bool]string{true: "ZZ_UNKNOWN", false: "a,b;\"c\"\n"}[i == 0]}, row...)
		}
		slices.Reverse(rowsBack[1:])
		for name, variant := range map[string][]byte{
			"columns reversed":  written(t, columns, comma),
			"rows reversed":     written(t, rowsBack, comma),
			"unknown column":    written(t, more, comma),
			"byte order mark":   append([]byte("\uFEFF"), body...),
			"Windows line ends": bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")),
		} {
			got, err := all.Read(variant, opt)
			if err != nil {
				t.Errorf("%s, %s: %v", file, name, err)
				continue
			}
			if got.Read != want.Read || got.Refused != want.Refused || !slices.Equal(identities(t, got), identities(t, want)) {
				t.Errorf("%s, %s: other findings: %+v", file, name, got)
			}
		}
	}
}

func table(t *testing.T, body []byte) ([][]string, rune) {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(body))
	if line, _, _ := bytes.Cut(body, []byte("\n")); bytes.Count(line, []byte(";")) > bytes.Count(line, []byte(",")) {
		r.Comma = ';'
	}
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows, r.Comma
}

func written(t *testing.T, rows [][]string, comma rune) []byte {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = comma
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Bodies of no known format say what was tried and what to do.
func TestUnknownBodies(t *testing.T) {
	for body, want := range map[string]string{
		"":                              "the file is empty",
		"   \n":                         "the file is empty",
		"{}":                            "the JSON is empty",
		`{"a": 1}`:                      "tried sarif, asff, github, trivy, ocsf, gitleaks, falco, alertmanager, jsonl",
		`{"a": 1`:                       "f:1:8 (/a): the JSON ends in the middle of a value",
		`{"a": tru}`:                    "f:1:10 (/a): not valid JSON",
		"<report/>":                     "it looks like XML",
		"a,b\n1,2\n":                    "it may be CSV",
		"7":                             "this is not JSON",
		"{\"x\":1}\n{\"y\":2}":          "no reader knows this JSON",
		"\xff\xfe{\x00}\x00":            "UTF-16",
		`{"runs": "none"}`:              "no reader knows this JSON",
		`{"version":"2.1.0","runs":{}}`: "runs: want an array, got object",
		`{"version":"1.0.0","runs":[]}`: "no reader knows",
		`{"$schema":"sarif","version":"1.0.0","runs":[]}`:                               "SARIF \"1.0.0\" can't be read",
		strings.Repeat("[", 1000):                                                       "nested more than 200 deep",
		`{"apiVersion":"aquasecurity.github.io/v1alpha1","kind":"VulnerabilityReport"}`: "report: missing",
	} {
		_, err := all.Read([]byte(body), testOptions("f"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", body, err, want)
		}
	}
	for _, body := range []string{"[]", `{"version":"2.1.0","runs":[]}`, `{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}}}]}`, `{"SchemaVersion":2,"ArtifactName":"x","Results":null}`, `{"Findings":[]}`} {
		res, err := all.Read([]byte(body), testOptions("f"))
		if err != nil || res.Read != 0 {
			t.Errorf("%s: a report without findings is no error: %+v %v", body, res, err)
		}
	}
}

// Reading and redacting never panic, count right, and give the same twice.
func FuzzReadAny(f *testing.F) {
	for _, file := range fixtures(f) {
		f.Add(load(f, file))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		opt := testOptions("f")
		for _, r := range all.Readers() {
			res, err := r.Read(body, opt)
			checkCounters(t, res)
			again, err2 := r.Read(body, opt)
			if (err == nil) != (err2 == nil) || !bytes.Equal(render(t, res), render(t, again)) {
				t.Fatalf("%s: not deterministic", r.Name())
			}
			format.Redact(body, all.SecretPaths(r.Name()), opt.HashSecret)
		}
	})
}
