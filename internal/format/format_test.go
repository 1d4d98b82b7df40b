package format_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

func TestProbe(t *testing.T) {
	p := format.NewProbe([]byte(`{"a": 1, "list": [{"x": "v", "deep": {"y": {"z": {"w": {"too": {"far": 1}}}}}}, {"second": true}, 7], "s": "q\"}{", "last": null}`), format.Options{Event: "e"})
	for path, want := range map[string]string{"a": "1", "list": "[", "list[].x": "v", "list[].deep": "{", "list[].second": "true", "s": `q\"}{`, "last": "null", "list[].deep.y.z": "{"} {
		if !p.Has(path) || p.Value(path) != want {
			t.Errorf("%s = %q (%v), want %q", path, p.Value(path), p.Has(path), want)
		}
	}
	if p.Kind != '{' || p.Lines || p.Event != "e" || p.Has("list[].deep.y.z.w.too.far") {
		t.Errorf("%+v", p)
	}
	for body, lines := range map[string]bool{"{\"a\":1}\n{\"b\":2}\n": true, "{\"a\":1} {\"b\":2}": true, "broken {\n{\"b\":2}\n{\"c\":1}\n": true, "[{\"a\":1}]": false, "{\n\"a\": {\n}\n}": false} {
		if got := format.NewProbe([]byte(body), format.Options{}).Lines; got != lines {
			t.Errorf("%q: Lines = %v", body, got)
		}
	}
}

// A probe knows the keys of the first records whatever else is in the body,
// and its size does not grow with it.
func TestProbeIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"results":[`)
	for i := range 20_000 {
		fmt.Fprintf(&b, `{"k%d":{"a":1}},`, i)
	}
	b.WriteString(`{}],"tail":"seen"}`)
	p := format.NewProbe([]byte(b.String()), format.Options{})
	if !p.Has("results[].k0.a") || !p.Has("tail") || p.Has("results[].k19999") {
		t.Error("the probe should hold the first elements and every top-level key")
	}
}

func TestText(t *testing.T) {
	for body, want := range map[string]string{
		"":                           "f:1:1: the file is empty",
		"\xff\xfe{":                  "f:1:1: the text is UTF-16",
		"{\x00}\x00":                 "f:1:2: the text has NUL bytes and looks like UTF-16",
		"{\"aaaa\":\n\"b\x00\"}":     "f:2:3 (/aaaa): a NUL byte",
		"{\"é\":\"\xe9\"}":           "f:1:7 (/é): byte 0xE9 is not valid UTF-8",
		strings.Repeat("[", 201):     "f:1:201 (/0/0/0/0/0/0/0/0/0/0/0/0/…): objects and arrays are nested more than 200 deep",
		strings.Repeat(`{"a":`, 300): "nested more than 200 deep",
	} {
		_, err := format.Text("x", []byte(body), format.Options{File: "f"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", body, err, want)
		}
	}
	for _, body := range []string{"\uFEFF{}", strings.Repeat("[", 200) + strings.Repeat("]", 200), `{"a":"[[[[\"]]"}`} {
		got, err := format.Text("x", []byte(body), format.Options{})
		if err != nil || strings.HasPrefix(string(got), "\uFEFF") {
			t.Errorf("%.20q: %v", body, err)
		}
	}
}

func TestValues(t *testing.T) {
	for body, want := range map[string]string{
		`[1,{"a":2}]`:                `1@f#/0 {"a":2}@f#/1`,
		`{"a":1}`:                    `{"a":1}@f#`,
		"{\"a\":1}\n\n{\"b\":2}\n":   `{"a":1}@f:1:1 {"b":2}@f:3:1`,
		"{\"a\":1}\nnonsense\n{}":    `{"a":1}@f:1:1 !@f:2:2 {}@f:3:1`,
		"{\n\"a\":1\n}{\n\"b\":2\n}": "{\n\"a\":1\n}@f:1:1 {\n\"b\":2\n}@f:3:2",
	} {
		vs, err := format.Values("x", []byte(body), format.Options{File: "f"})
		var got []string
		for _, v := range vs {
			s := string(v.Raw)
			if v.Err != "" {
				s = "!"
			}
			got = append(got, s+"@"+v.Where)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q %v, want %q", body, got, err, want)
		}
	}
	for _, body := range []string{"{\"a\":1", "nonsense", "{\"a\":1,\n}", "[1,2"} {
		if _, err := format.Values("x", []byte(body), format.Options{File: "f"}); err == nil {
			t.Errorf("%q: no error", body)
		}
	}
}

func TestIDs(t *testing.T) {
	for in, want := range map[string]string{
		"CVE-2021-44228 and cve-2020-1234567, CVE-20-1 XCVE-2021-1111": "CVE-2021-44228 CVE-2020-1234567",
		"CVE-2021-44228 CVE-2021-44228":                                "CVE-2021-44228",
		"see CVE-2021-123":                                             "",
	} {
		if got := strings.Join(format.CVEs(in), " "); got != want {
			t.Errorf("CVEs(%q) = %q", in, got)
		}
	}
	for in, want := range map[string]string{
		"external/cwe/cwe-089":                           "CWE-89",
		"CWE-79: XSS, CWE79, (CWE-0020)":                 "CWE-79 CWE-20",
		"https://cwe.mitre.org/data/definitions/78.html": "CWE-78",
		"acwe-7": "",
	} {
		if got := strings.Join(format.CWEs(in), " "); got != want {
			t.Errorf("CWEs(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"https://github.com/advisories/GHSA-2qrg-x229-3v8q": "GHSA-2QRG-X229-3V8Q",
		"RUSTSEC-2021-0001, DSA-4808-1; high-risk GHSA-x":   "RUSTSEC-2021-0001 DSA-4808-1",
		"GO-2024-1234 GO-HOME":                              "GO-2024-1234",
	} {
		if got := strings.Join(format.Advisories(in), " "); got != want {
			t.Errorf("Advisories(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	want := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, s := range []string{"2026-02-03T04:05:06Z", "2026-02-03T05:05:06+01:00", "2026-02-03T04:05:06", "2026-02-03 04:05:06", "2026-02-03 04:05:06 UTC",
		"2026-02-03T05:05:06+0100", fmt.Sprint(want.Unix()), fmt.Sprint(want.UnixMilli()), fmt.Sprint(want.UnixMicro()), fmt.Sprint(want.UnixNano()), " Tue, 03 Feb 2026 04:05:06 +0000"} {
		if got := format.Time(s); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("Time(%q) = %v", s, got)
		}
	}
	for _, s := range []string{"", "soon", "0001-01-01T00:00:00Z", "2026-13-01", "-5", "0", "99999999999999999999999"} {
		if got := format.Time(s); !got.IsZero() {
			t.Errorf("Time(%q) = %v, want the zero time", s, got)
		}
	}
}

func TestLenientTypes(t *testing.T) {
	var v struct {
		S []format.String
		N []format.Number
		L []format.Strings
		M format.StringMap
	}
	if err := json.Unmarshal([]byte(`{"S":["a",1,true,null,"None"],"N":[1.5,"2.5",null,"x",true,1e300],"L":["a",["b",1,{}],null],"M":{"a":"b","n":1,"o":{},"l":[]}}`), &v); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(v.S, []format.String{"a", "1", "true", "", ""}) || !reflect.DeepEqual(v.N, []format.Number{1.5, 2.5, 0, 0, 0, 0}) ||
		!reflect.DeepEqual(v.L, []format.Strings{{"a"}, {"b", "1"}, nil}) || !reflect.DeepEqual(v.M, format.StringMap{"a": "b", "n": "1"}) {
		t.Errorf("%#v", v)
	}
	for _, body := range []string{`{"S":[{}]}`, `{"N":[[]]}`, `{"L":[{}]}`, `{"M":[]}`} {
		if err := json.Unmarshal([]byte(body), &v); err == nil || !strings.Contains(format.Reason(err), "want") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestRedact(t *testing.T) {
	hash := func(s string) string { return "#" + fmt.Sprint(len(s)) }
	for _, c := range []struct{ body, path, want string }{
		{`{"alert": {"secret": "hush", "secret_type": "x"}, "secret": "open"}`, "alert.secret", `{"alert": {"secret": "#4", "secret_type": "x"}, "secret": "open"}`},
		{`[{"secret":"hush"},{"secret":"hush!"}]`, "[].secret", `[{"secret":"#4"},{"secret":"#5"}]`},
		{`{"runs":[{"results":[{"region":{"snippet":{"text":"a\"b"}}}]}]}`, "**.snippet.text", `{"runs":[{"results":[{"region":{"snippet":{"text":"#3"}}}]}]}`},
		{`{"env":{"A":"1","B":["22",{"C":"333"}],"n":7}}`, "env", `{"env":{"A":"#1","B":["#2",{"C":"#3"}],"n":7}}`},
		{`{"Results":[{"Secrets":[{"Match":"m"}]}]}`, "Results[].Secrets[].Match", `{"Results":[{"Secrets":[{"Match":"#1"}]}]}`},
		{"{\"secret\":\"a\"}\n{\"secret\":\"bb\"}\n", "secret", "{\"secret\":\"#1\"}\n{\"secret\":\"#2\"}\n"},
		{`{"other": "x"}`, "secret", `{"other": "x"}`},
	} {
		if got := string(format.Redact([]byte(c.body), []string{c.path}, hash)); got != c.want {
			t.Errorf("Redact(%s, %s) = %s, want %s", c.body, c.path, got, c.want)
		}
	}
	if got := format.Redact([]byte(`{"secret":"hush","x":"cut`), []string{"secret"}, hash); strings.Contains(string(got), "hush") {
		t.Errorf("a cut body: %s", got)
	}
	if got := string(format.Redact([]byte(`{"secret":"hush"}`), []string{"secret"}, nil)); got != `{"secret":""}` {
		t.Errorf("without a key: %s", got)
	}
}

// Redacting keeps valid JSON valid, leaves everything else as it was, and no
// secret at a named path survives.
func TestRedactProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := "S3CR3T" + rapid.StringMatching(`[a-z"\\{}\[\]]{0,6}`).Draw(t, "secret")
		var build func(depth int) any
		build = func(depth int) any {
			switch n := rapid.IntRange(0, 5).Draw(t, "kind"); {
			case n == 0 && depth > 0:
				m := map[string]any{}
				for range rapid.IntRange(0, 3).Draw(t, "n") {
					m[rapid.SampledFrom([]string{"a", "b", "key", "text"}).Draw(t, "k")] = build(depth - 1)
				}
				return m
			case n == 1 && depth > 0:
				l := []any{}
				for range rapid.IntRange(0, 3).Draw(t, "n") {
					l = append(l, build(depth-1))
				}
				return l
			case n == 2:
				return map[string]any{"token": secret, "x": "y"}
			}
			return rapid.SampledFrom([]any{"plain", 7.5, true, nil, ""}).Draw(t, "scalar")
		}
		body, _ := json.Marshal(build(4))
		got := format.Redact(body, []string{"**.token"}, func(s string) string { return "hash" })
		if !json.Valid(got) {
			t.Fatalf("%s became %s", body, got)
		}
		if strings.Contains(string(got), "S3CR3T") {
			t.Fatalf("the secret is still in %s", got)
		}
		quoted, _ := json.Marshal(secret)
		if want := strings.ReplaceAll(string(body), string(quoted), `"hash"`); want != string(got) {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestAWS(t *testing.T) {
	for control, want := range map[string]finding.Class{"S3.8": finding.StoragePublic, "s3.2": finding.StoragePublic, "EC2.13": finding.WorldOpen, "EC2.19": finding.WorldOpen,
		"PCI.S3.2": finding.StoragePublic, "PCI.S3.4": "storage.unencrypted", "IAM.6": "identity.no-mfa", "RDS.13": finding.Misconfigured, "IAM.4": "identity.root-use", "EC2.8": "workload.metadata-v1"} {
		if got := format.AWSControlClass(control); got != want {
			t.Errorf("%s: %s, want %s", control, got, want)
		}
	}
	for rule, want := range map[string]finding.Class{"1.2.0/4.1": finding.WorldOpen, "1.2.0/2.3": finding.StoragePublic, "1.4.0/5.2": finding.WorldOpen, "1.2.0/3.5": finding.Misconfigured, "3.0.0/1.4": "identity.root-use", "1.2.0/1.4": "identity.key-stale"} {
		v, r, _ := strings.Cut(rule, "/")
		if got := format.CISAWSClass(v, r); got != want {
			t.Errorf("%s: %s, want %s", rule, got, want)
		}
	}
	arn, ok := format.ParseARN("arn:aws:ec2:eu-west-1:123456789012:security-group/sg-1")
	if !ok || arn.Name() != "sg-1" || arn.Account != "123456789012" || arn.Region != "eu-west-1" {
		t.Errorf("%+v", arn)
	}
	if _, ok := format.ParseARN("AWS::::Account:1"); ok {
		t.Error("that is no ARN")
	}
	if format.AWSAssetType("AWS::S3::Bucket") != "bucket" || format.AWSAssetType("AwsS3Bucket") != "bucket" || format.AWSAssetType("Other") != "Other" {
		t.Error("asset types")
	}
}

// Every class a table names is one that package finding knows.
func TestTablesNameKnownClasses(t *testing.T) {
	for _, service := range strings.Fields("S3 EC2 RDS IAM CLOUDTRAIL CONFIG REDSHIFT LAMBDA KMS ES OPENSEARCH DMS ECS EKS ELB SNS SQS EFS SSM AUTOSCALING CODEBUILD EMR SECRETSMANAGER NEPTUNE DOCUMENTDB WAF GUARDDUTY CW") {
		for n := range 60 {
			for _, prefix := range []string{"", "PCI."} {
				if c := format.AWSControlClass(fmt.Sprintf("%s%s.%d", prefix, service, n)); !finding.KnownClass(c) {
					t.Errorf("%s.%d: class %q is not known", service, n, c)
				}
			}
		}
	}
}

func TestSmallWords(t *testing.T) {
	if got := format.PURL("maven", "org.a:b", "1"); got != "pkg:maven/org.a/b@1" {
		t.Error(got)
	}
	if got := format.PURL("npm", "@scope/x", ""); got != "pkg:npm/%40scope/x" {
		t.Error(got)
	}
	if got := format.PURL("cobol", "x", "1"); got != "" {
		t.Error(got)
	}
	if got := format.Slug("  Mayhem Code (Security) "); got != "mayhem-code-security" {
		t.Error(got)
	}
	if got := format.Slug(strings.Repeat("x", 500)); len(got) > 60 {
		t.Error(len(got))
	}
	for in, want := range map[string]string{"KSV014": "AVD-KSV-0014", "KSV-0014": "AVD-KSV-0014", "AVD-KSV-0014": "AVD-KSV-0014", "DS002": "AVD-DS-0002", "AVD-AWS-0086": "AVD-AWS-0086", "odd": "ODD"} {
		if got := format.AVDControl(in); got != want {
			t.Errorf("AVDControl(%s) = %s, want %s", in, got, want)
		}
	}
	if got := format.DidYouMean("severty", []string{"title", "severity"}); got != `; did you mean "severity"?` {
		t.Error(got)
	}
	if got := format.DidYouMean("zzz", []string{"title", "severity"}); got != "" {
		t.Error(got)
	}
	if format.CVSS(9.8) != 98 || format.CVSS(11) != 0 || format.CVSS(-1) != 0 {
		t.Error("CVSS")
	}
	if format.Hash("a  b\n c") != format.Hash("a b c") || format.Hash("ab", "c") == format.Hash("a", "bc") {
		t.Error("Hash must ignore white space and keep parts apart")
	}
}

func FuzzRedact(f *testing.F) {
	f.Add([]byte(`{"a":{"token":"x"}}`))
	f.Add([]byte("{\"token\":\"x\n}{[\\\""))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := format.Redact(body, []string{"**.token", "a[].b"}, func(string) string { return "h" })
		if json.Valid(body) && !json.Valid(got) {
			t.Fatalf("%q became %q", body, got)
		}
		format.NewProbe(body, format.Options{})
	})
}

// TestProbeOfUnindentedDocument: line breaks without indent do not make one
// document into JSON lines.
func TestProbeOfUnindentedDocument(t *testing.T) {
	body := []byte("{\"runs\":[\n{\"results\":[\n{\"a\":1},\n{\"a\":2}\n]}\n]}\n")
	p := format.NewProbe(body, format.Options{})
	if p.Lines || !p.Has("runs[].results[].a") {
		t.Errorf("%+v", p)
	}
}

// Places of refusals are the true line and column of the record, whatever the
// document looks like, and a field of the wrong type is named.
func TestFinishPlacesRefusals(t *testing.T) {
	body := []byte("{\n \"é\": {\"a/b\": [1, {\"x\": \"]}\"},\n\t[true, null]\n]}, \"z\": 7}")
	opt := format.Options{File: "f"}
	for pointer, want := range map[string]string{"": "f:1:1", "/é": "f:2:7 (/é)", "/é/a~1b/1": "f:2:19 (/é/a~1b/1)", "/é/a~1b/2/1": "f:3:9 (/é/a~1b/2/1)", "/z": "f:4:10 (/z)", "/gone": "f#/gone"} {
		res := format.Result{}
		res.Refuse("f#"+pointer, "", "bad")
		res.Read++
		res, err := format.Finish(res, body, opt)
		if err != nil || res.Refusals[0].Where != want {
			t.Errorf("%s: %v %v, want %s", pointer, res.Refusals, err, want)
		}
	}
}

func TestUnmarshalNamesTheField(t *testing.T) {
	type inner struct{ Deep []format.String }
	var v struct {
		Name format.String    `json:"name"`
		List []inner          `json:"list"`
		Tags format.StringMap `json:"tags"`
	}
	for body, want := range map[string]string{
		`{"name": []}`:                  "name: want text, got an array",
		`{"list": [{}, {"deep":[{}]}]}`: "list.1.deep.0: want text, got an object",
		`{"TAGS": 7}`:                   "TAGS: want an object, got a number",
		`{"name": 7, "list": null}`:     "",
	} {
		got := ""
		if err := format.Unmarshal([]byte(body), &v); err != nil {
			got = format.Reason(err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestScrubArguments(t *testing.T) {
	for in, want := range map[string]string{
		"mysql --password hunter2 -u root":                 "mysql --password [redacted] -u root",
		"curl -H Authorization: Bearer abc.def x":          "curl -H Authorization: [redacted] [redacted] x",
		"env AWS_SECRET_ACCESS_KEY=abc DB_PASSWORD=x run":  "env AWS_SECRET_ACCESS_KEY=[redacted] DB_PASSWORD=[redacted] run",
		"touch /bin/tokenizer":                             "touch /bin/tokenizer",
		"(user=root command=login --token=s3cr3t file=/a)": "(user=root command=login --token=[redacted] file=/a)",
	} {
		if got := format.ScrubArguments(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
