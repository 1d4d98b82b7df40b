package ocsf

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

// draw makes a normalized finding with any mapped field set or not.
func draw(t *rapid.T) finding.Finding {
	word := rapid.StringMatching(`[a-zA-Z0-9:/._-]{1,12}`)
	maybe := func(name string) string {
		if rapid.Bool().Draw(t, name+"?") {
			return word.Draw(t, name)
		}
		return ""
	}
	words := func(name string, g *rapid.Generator[string]) []string {
		if out := rapid.SliceOfN(g, 0, 3).Draw(t, name); len(out) > 0 {
			return out
		}
		return nil
	}
	tri := rapid.SampledFrom([]finding.Tri{finding.Unknown, finding.No, finding.Yes})
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(1_600_000_000, 1_900_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	classes := finding.Classes()
	f := finding.Finding{Source: word.Draw(t, "source"), Product: maybe("product"), NativeID: maybe("native"), Rule: maybe("rule"), Title: word.Draw(t, "title"),
		Description: maybe("description"), Severity: rapid.SampledFrom(severities()).Draw(t, "severity"), SourceSeverity: maybe("source severity"),
		Confidence: rapid.IntRange(0, 100).Draw(t, "confidence"), Recommended: maybe("recommended"),
		Status: rapid.SampledFrom([]finding.Status{finding.StatusOpen, finding.StatusFixed, finding.StatusDismissed}).Draw(t, "status")}
	if rapid.Bool().Draw(t, "classified") {
		f.Class = classes[rapid.IntRange(0, len(classes)-1).Draw(t, "class")].Class
	}
	cve := rapid.StringMatching(`CVE-20[0-9]{2}-[0-9]{4}`)
	f.Weakness = finding.Weakness{CVE: words("cve", cve), CWE: words("cwe", rapid.StringMatching(`CWE-[1-9][0-9]`)), Advisory: words("advisory", rapid.StringMatching(`GHSA-[A-Z]{4}`)),
		Control: maybe("control"), SecretHash: maybe("secret"), KEV: tri.Draw(t, "kev"), CVSS: rapid.IntRange(0, 100).Draw(t, "cvss")}
	f.Asset = finding.Asset{UID: word.Draw(t, "uid"), Type: maybe("type"), Name: maybe("name"), Provider: maybe("provider"), Account: maybe("account"), Region: maybe("region"),
		Environment: maybe("environment"), App: maybe("app"), Criticality: maybe("criticality"), CustomerFacing: tri.Draw(t, "facing"), DataClass: maybe("data"), Regulated: tri.Draw(t, "regulated"),
		Tags: rapid.MapOfN(word, word, 0, 3).Draw(t, "tags")}
	f.Location = finding.Location{Repository: maybe("repository"), File: maybe("file"), Line: rapid.IntRange(0, 9999).Draw(t, "line"), SnippetHash: maybe("snippet"), URL: maybe("url")}
	f.Component = finding.Component{Name: maybe("component"), Version: maybe("version"), PURL: maybe("purl"), FixedVersion: maybe("fixed"), Ecosystem: maybe("ecosystem"), Path: maybe("path")}
	f.Identity = finding.Identity{Principal: maybe("principal"), Kind: maybe("kind"), Privileged: tri.Draw(t, "privileged"), Scopes: words("scopes", word)}
	f.Exposure = finding.Exposure{InternetFacing: tri.Draw(t, "internet"), PipelineAdjacent: tri.Draw(t, "pipeline"), Blast: rapid.IntRange(0, 50).Draw(t, "blast"), Exploited: tri.Draw(t, "exploited"), CompensatingControl: maybe("compensating")}
	f.OwnerHints = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) finding.Hint {
		return finding.Hint{Kind: rapid.SampledFrom([]string{"user", "email", "team", "tag"}).Draw(t, "kind"), Value: word.Draw(t, "value")}
	}), 0, 3).Draw(t, "hints")
	f.Evidence = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) finding.Evidence {
		return finding.Evidence{Name: word.Draw(t, "evidence"), Value: word.Draw(t, "value")}
	}), 0, 3).Draw(t, "evidence")
	f.Params = rapid.MapOfN(word, word, 0, 3).Draw(t, "params")
	f.FirstSeen = when.Draw(t, "first")
	f.LastSeen = f.FirstSeen.Add(time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "later")))
	if rapid.Bool().Draw(t, "due") {
		f.Deadline = when.Draw(t, "deadline")
	}
	n, err := finding.Normalize(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// From(To(f)) is f, and both have the same identity and exposure.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		b, err := json.Marshal(To(f))
		if err != nil {
			t.Fatal(err)
		}
		got, err := From(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = finding.Normalize(got); err != nil {
			t.Fatal(err)
		}
		if !equal(got, f) {
			t.Fatalf("got  %s\nwant %s\nover %s", show(got), show(f), b)
		}
		if finding.ExposureKey(got) != finding.ExposureKey(f) || got.UID != f.UID {
			t.Fatal("another identity or exposure")
		}
		res, err := Reader{}.Read(b, format.Options{})
		if err != nil || res.Kept != 1 || !equal(res.Findings[0], f) {
			t.Fatalf("the reader makes something else of it: %+v %v", res, err)
		}
	})
}

func equal(a, b finding.Finding) bool { return show(a) == show(b) }

// show renders empty and missing lists alike.
func show(f finding.Finding) string {
	b, err := json.Marshal(f)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// What To writes obeys the rules of the schema that OCSF consumers check.
func TestToIsOCSF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		b, _ := json.Marshal(To(f))
		var e map[string]any
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "finding_info"} {
			if _, ok := e[k]; !ok {
				t.Fatalf("%s is missing", k)
			}
		}
		class, activity := e["class_uid"].(float64), e["activity_id"].(float64)
		if e["type_uid"].(float64) != class*100+activity || e["category_uid"].(float64) != 2 {
			t.Fatalf("type_uid %v of class %v, activity %v", e["type_uid"], class, activity)
		}
		if uid := e["finding_info"].(map[string]any)["uid"]; uid == "" {
			t.Fatal("finding_info.uid is empty")
		}
		vulns, _ := e["vulnerabilities"].([]any)
		if class == classVulnerability && len(vulns) == 0 {
			t.Fatal("a Vulnerability Finding without vulnerabilities")
		}
		for _, v := range vulns {
			n := 0
			for _, k := range []string{"advisory", "cve", "cwe"} {
				if _, ok := v.(map[string]any)[k]; ok {
					n++
				}
			}
			if n != 1 {
				t.Fatalf("%d of advisory, cve and cwe, want just one: %v", n, v)
			}
		}
		if _, ok := e["compliance"]; class == classCompliance && !ok {
			t.Fatal("a Compliance Finding without compliance")
		}
		if _, ok := e["application"]; class == classPosture && !ok {
			t.Fatal("an Application Security Posture Finding without application")
		}
	})
}

// Each Go field of a finding is either compared by the round trip or named
// here as not mapped, so that a new field can't be forgotten.
func TestEveryFieldIsMapped(t *testing.T) {
	known := map[string]bool{}
	for _, name := range strings.Fields(`UID Tenant Source Product NativeID Rule Title Description Class Domain Severity SourceSeverity Confidence Weakness Asset
		Location Component Identity Exposure OwnerHints Evidence Recommended Deadline FirstSeen LastSeen Status Params Origins`) {
		known[name] = true
	}
	typ := reflect.TypeFor[finding.Finding]()
	for i := range typ.NumField() {
		if !known[typ.Field(i).Name] {
			t.Errorf("finding.Finding has a field %s that this package does not know: map it in To and From and draw it in this test", typ.Field(i).Name)
		}
	}
}

func TestStatusAndSeverity(t *testing.T) {
	for _, c := range []struct {
		in       string
		status   finding.Status
		severity finding.Severity
	}{
		{`"status_id":1,"severity_id":6`, "", finding.SeverityCritical},
		{`"status_id":3,"severity_id":99,"severity":"Major"`, finding.StatusDismissed, finding.SeverityHigh},
		{`"status_id":3,"status":"New","severity_id":0`, "", finding.SeverityUnknown}, // Prowler 4.2 wrote this pair
		{`"status_id":4,"severity_id":2`, finding.StatusFixed, finding.SeverityLow},
		{`"status":"Archived","severity_id":1`, finding.StatusFixed, finding.SeverityInfo},
		{`"activity_id":3,"severity_id":3`, finding.StatusFixed, finding.SeverityMedium},
	} {
		f, err := From([]byte(fmt.Sprintf(`{"class_uid":2004,"finding_info":{"uid":"1","title":"t"},"resources":[{"uid":"x"}],%s}`, c.in)))
		if err != nil || f.Status != c.status || f.Severity != c.severity {
			t.Errorf("%s: %q %v %v", c.in, f.Status, f.Severity, err)
		}
	}
}

func TestCheckClass(t *testing.T) {
	for check, want := range map[string]finding.Class{
		"s3_bucket_public_access":                               finding.StoragePublic,
		"s3_bucket_level_public_access_block":                   finding.StoragePublic,
		"rds_instance_no_public_access":                         "database.public",
		"compute_firewall_rdp_access_from_the_internet_allowed": finding.WorldOpen,
		"iam_user_mfa_enabled_console_access":                   "identity.no-mfa",
		"iam_policy_allows_privilege_escalation":                "identity.escalation-path",
		"ec2_instance_imdsv2_enabled":                           "workload.metadata-v1",
		"apiserver_audit_log_maxage_set":                        "",
		"cloudwatch_log_metric_filter_root_usage":               "",
		"": "",
	} {
		if got := format.CheckClass(check); got != want {
			t.Errorf("%s: %q, want %q", check, got, want)
		}
	}
}
