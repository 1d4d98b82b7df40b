package all_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format/all"
)

// one reads a body of one finding.
func one(t *testing.T, body string) finding.Finding {
	t.Helper()
	res, err := all.Read([]byte(body), testOptions("report.json"))
	if err != nil || len(res.Findings) != 1 {
		t.Fatalf("%v: %d findings, refused %v\n%s", err, len(res.Findings), res.Refusals, body)
	}
	return res.Findings[0]
}

const (
	trivyView = `{"SchemaVersion":2,"ArtifactName":"registry.acme.example/shop/api:1.4","ArtifactType":"container_image","Results":[{"Target":"app","Class":"lang-pkgs","Type":"jar",
"Vulnerabilities":[{"VulnerabilityID":"CVE-2025-1234","PkgName":"org.apache.logging.log4j:log4j-core","InstalledVersion":"2.0.0","FixedVersion":"2.0.1","Severity":"HIGH","Title":"t"}]}]}`
	grypeView = `{"matches":[{"vulnerability":{"id":"GHSA-aaaa-bbbb-cccc","severity":"Critical","fix":{"versions":["2.0.1"]}},"relatedVulnerabilities":[{"id":"CVE-2025-1234"}],
"artifact":{"name":"log4j-core","version":"2.0.0","type":"java-archive","purl":"pkg:maven/org.apache.logging.log4j/log4j-core@2.0.0"}}],
"source":{"type":"image","target":{"userInput":"registry.acme.example/shop/api@sha256:0123"}}}`
	hubView = `{"SchemaVersion":"2018-10-08","Id":"f-1","ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","GeneratorId":"aws-foundational-security-best-practices/v/1.0.0/S3.2",
"AwsAccountId":"111122223333","CreatedAt":"2026-01-01T00:00:00Z","UpdatedAt":"2026-01-01T00:00:00Z","Severity":{"Label":"CRITICAL"},"Title":"S3.2 S3 buckets should prohibit public read access","Description":"d",
"Types":["Software and Configuration Checks"],"Compliance":{"Status":"FAILED","SecurityControlId":"S3.2"},"Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::acme-reports"}]}`
	prowlerView = `[{"FindingUniqueId":"p-1","Provider":"aws","AccountId":"111122223333","Region":"eu-west-1","CheckID":"s3_bucket_policy_public_write_access","CheckTitle":"t","Status":"FAIL",
"Severity":"critical","ResourceId":"acme-reports","ResourceArn":"arn:aws:s3:::acme-reports","ResourceType":"AwsS3Bucket"}]`
	prowlerOCSFView = `[{"class_uid":2004,"category_uid":2,"activity_id":1,"severity_id":5,"status":"New","status_code":"FAIL","metadata":{"version":"1.4.0","event_code":"s3_bucket_public_access","product":{"name":"Prowler","uid":"prowler"}},
"finding_info":{"uid":"p-2","title":"t"},"resources":[{"uid":"arn:aws:s3:::acme-reports","name":"acme-reports","type":"AwsS3Bucket","group":{"name":"s3"}}],"cloud":{"provider":"aws","region":"eu-west-1","account":{"uid":"111122223333"}}}]`
	alertView = `{"groupKey":"g","receiver":"r","status":"firing","alerts":[{"status":"firing","fingerprint":"f","labels":{"alertname":"BucketPublic","casement_class":"storage.public","arn":"arn:aws:s3:::acme-reports"},"annotations":{},"startsAt":"2026-01-01T00:00:00Z"}]}`
)

// Two tools' views of one exposure have one key (canon v1).
func TestOneExposureOneKey(t *testing.T) {
	for name, views := range map[string][]string{
		"one CVE in one package of one image": {trivyView, grypeView},
		"one public bucket":                   {hubView, prowlerView, prowlerOCSFView, alertView},
	} {
		first := one(t, views[0])
		for _, v := range views[1:] {
			f := one(t, v)
			if a, b := finding.ExposureKey(first), finding.ExposureKey(f); a != b {
				t.Errorf("%s: %s has %+v, %s has %+v", name, first.Source, a, f.Source, b)
			}
			if first.Source != f.Source && first.UID == f.UID {
				t.Errorf("%s: two sources share a finding uid", name)
			}
		}
	}
	// Another package, image, bucket or state is another exposure.
	for _, c := range []struct{ view, old, new string }{
		{grypeView, "log4j-core", "log4j-api"},
		{grypeView, "shop/api", "shop/web"},
		{grypeView, "CVE-2025-1234", "CVE-2025-1235"},
		{prowlerView, "acme-reports", "acme-images"},
		{prowlerView, "s3_bucket_policy_public_write_access", "s3_bucket_default_encryption"},
		{alertView, "storage.public", "storage.unencrypted"},
	} {
		if finding.ExposureKey(one(t, c.view)) == finding.ExposureKey(one(t, strings.ReplaceAll(c.view, c.old, c.new))) {
			t.Errorf("%s in place of %s is the same exposure", c.new, c.old)
		}
	}
}

// Whatever is wrong with them, two assets never have one key: each view with
// another asset in it has another key, and with its own always the same.
func TestTwoAssetsNeverShareAKey(t *testing.T) {
	views := []struct{ body, asset string }{
		{trivyView, "registry.acme.example/shop/api"}, {grypeView, "registry.acme.example/shop/api"},
		{hubView, "acme-reports"}, {prowlerView, "acme-reports"}, {prowlerOCSFView, "acme-reports"}, {alertView, "acme-reports"},
		{`{"rule":"r","priority":"Error","output":"o","time":"2026-01-01T00:00:00Z","hostname":"HOST","output_fields":{}}`, "HOST"},
		{`{"rule":"r","priority":"Error","output":"o","time":"2026-01-01T00:00:00Z","hostname":"h","output_fields":{"k8s.ns.name":"n","k8s.pod.name":"POD"}}`, "POD"},
		{`{"groupKey":"g","receiver":"r","alerts":[{"fingerprint":"f","labels":{"alertname":"Full","instance":"INSTANCE:9100"},"startsAt":"2026-01-01T00:00:00Z"}]}`, "INSTANCE"},
		{`{"groupKey":"g","receiver":"r","alerts":[{"fingerprint":"f","labels":{"alertname":"Long","queue":"QUEUE"},"startsAt":"2026-01-01T00:00:00Z"}]}`, "QUEUE"},
		{`[{"RuleID":"aws","Secret":"AKIACANARY01","Match":"x","StartLine":1,"File":"a","Link":"https://github.com/acme/REPO/blob/1/a"}]`, "REPO"},
		{`{"findings":[{"id":1,"match_based_id":"m","rule_name":"r","severity":"high","repository":{"name":"acme/REPO"},"location":{"file_path":"a","line":1}}]}`, "REPO"},
	}
	rapid.Check(t, func(rt *rapid.T) {
		v := views[rapid.IntRange(0, len(views)-1).Draw(rt, "view")]
		name := rapid.StringMatching(`[a-z][a-z0-9]{2,12}`)
		a, b := name.Draw(rt, "a"), name.Draw(rt, "b")
		key := func(asset string) finding.Key {
			return finding.ExposureKey(one(t, strings.ReplaceAll(v.body, v.asset, asset)))
		}
		if (key(a) == key(b)) != (a == b) {
			rt.Fatalf("%s and %s: %+v %+v", a, b, key(a), key(b))
		}
	})
}

// Two reports that do not say what was scanned are two assets.
func TestUnnamedScansStayApart(t *testing.T) {
	for _, body := range []string{
		`{"results":[{"check_id":"r","path":"a.go","start":{"line":1},"extra":{"message":"m","severity":"ERROR","lines":"x"}}]}`,
		`{"check_type":"terraform","results":{"failed_checks":[{"check_id":"C","check_name":"n","file_path":"/a.tf","file_line_range":[1,2],"resource":"r"}]}}`,
		`{"Controls":[{"version":"v","node_type":"node","tests":[{"section":"1","results":[{"test_number":"1.1","test_desc":"d","status":"FAIL"}]}]}]}`,
		`[{"RuleID":"aws","Secret":"AKIACANARY01","Match":"x","StartLine":1,"File":"a"}]`,
	} {
		keys := map[string]bool{}
		for _, file := range []string{"one.json", "two.json"} {
			res, err := all.Read([]byte(body), testOptions(file))
			if err != nil || len(res.Findings) != 1 {
				t.Fatalf("%v %+v", err, res)
			}
			keys[finding.ExposureKey(res.Findings[0]).String()] = true
		}
		if len(keys) != 2 {
			t.Errorf("two unnamed scans share a key: %s", body)
		}
	}
}

// Firing and resolved are one finding; resolved is a claim, not an end.
func TestResolvedIsAClaimOfTheSameFinding(t *testing.T) {
	firing := one(t, alertView)
	resolved := one(t, strings.ReplaceAll(alertView, `"firing"`, `"resolved"`))
	if firing.UID != resolved.UID || finding.ExposureKey(firing) != finding.ExposureKey(resolved) {
		t.Error("firing and resolved are two findings")
	}
	if firing.Status != finding.StatusOpen || resolved.Status != finding.StatusFixed || finding.DecisionDigest(firing) == finding.DecisionDigest(resolved) {
		t.Error("resolved must be a command that starts verification")
	}
}

// Concatenated reports are read as the sum of their records.
func TestConcatenated(t *testing.T) {
	for _, file := range fixtures(t) {
		body := load(t, file)
		double, ok := twice(t, reader(file), body)
		if !ok {
			continue
		}
		want, err := all.Read(body, testOptions("f"))
		if err != nil {
			t.Fatal(file, err)
		}
		got, err := all.Read(double, testOptions("f"))
		if err != nil || got.Read != 2*want.Read || got.Kept != 2*want.Kept || got.Refused != 2*want.Refused {
			t.Errorf("%s: read %d kept %d refused %d, want twice %d %d %d: %v", file, got.Read, got.Kept, got.Refused, want.Read, want.Kept, want.Refused, err)
		}
	}
}

// twice is a body followed by itself, one JSON value per line; false for formats
// of one document each by their specification, for tables, and for lists, which
// are made longer instead.
func twice(t *testing.T, format string, body []byte) ([]byte, bool) {
	t.Helper()
	lines := bytes.TrimSpace(body)
	if json.Valid(lines) {
		var b bytes.Buffer
		if err := json.Compact(&b, lines); err != nil {
			t.Fatal(err)
		}
		lines = b.Bytes()
	}
	if format == "sarif" || format == "trivy" || !bytes.HasPrefix(lines, []byte("{")) {
		return nil, false
	}
	return fmt.Appendf(nil, "%s\n%s\n", lines, lines), true
}

// A secret is nowhere in what a reader makes of it, whatever it looks like.
func TestSecretIsNowhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		secret := "S3" + rapid.StringMatching(`[A-Za-z0-9+/=_-]{8,40}`).Draw(rt, "secret") + "cr3t"
		q, err := json.Marshal(secret)
		if err != nil {
			rt.Fatal(err)
		}
		in := strings.Trim(string(q), `"`)
		body := fmt.Sprintf(`[{"RuleID":"r-%[1]s","Description":"found %[1]s","Secret":"%[1]s","Match":"k=%[1]s","File":"a/%[1]s","StartLine":1,"Commit":"%[1]s","Message":"%[1]s","Tags":["%[1]s"],"Link":"https://github.com/a/b/blob/1/a?%[1]s","Email":"x@example"}]`, in)
		res, err := all.Read([]byte(body), testOptions("f.json"))
		if err != nil || len(res.Findings) != 1 {
			rt.Fatal(res, err)
		}
		b, err := json.Marshal(res)
		if err != nil {
			rt.Fatal(err)
		}
		if bytes.Contains(b, []byte(secret)) || res.Findings[0].Weakness.SecretHash == "" {
			rt.Fatalf("%s", b)
		}
	})
}
