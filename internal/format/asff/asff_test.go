package asff

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// body is one ASFF finding with more members.
func body(more string) []byte {
	return []byte(fmt.Sprintf(`{"SchemaVersion":"2018-10-08","Id":"id","ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","GeneratorId":"security-control/S3.8","AwsAccountId":"123456789012",
		"CreatedAt":"2026-01-01T00:00:00Z","UpdatedAt":"2026-01-02T00:00:00Z","Title":"t","Description":"d","Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::b"}],%s}`, more))
}

func read(t *testing.T, more string) format.Result {
	t.Helper()
	res, err := Reader{}.Read(body(more), format.Options{Now: time.Unix(1.8e9, 0), File: "f"})
	if err != nil {
		t.Fatalf("%s: %v", more, err)
	}
	return res
}

// A pass is no finding; what was one and is resolved or archived is a claim.
func TestStateDecision(t *testing.T) {
	for state, want := range map[string]string{
		`"Compliance":{"Status":"FAILED"},"Workflow":{"Status":"NEW"}`:        "open",
		`"Compliance":{"Status":"WARNING"}`:                                   "open",
		`"Compliance":{"Status":"PASSED"},"Workflow":{"Status":"NEW"}`:        "suppressed",
		`"Compliance":{"Status":"PASSED"},"Workflow":{"Status":"RESOLVED"}`:   "fixed",
		`"Compliance":{"Status":"NOT_AVAILABLE"}`:                             "suppressed",
		`"Compliance":{"Status":"FAILED"},"Workflow":{"Status":"SUPPRESSED"}`: "suppressed",
		`"RecordState":"ARCHIVED"`:                                            "fixed",
		`"Workflow":{"Status":"NOTIFIED"}`:                                    "open",
		`"x":1`:                                                               "open",
	} {
		res := read(t, state)
		got := "suppressed"
		if res.Kept == 1 {
			got = string(res.Findings[0].Status)
		} else if res.Suppressions[0].Reason == "" {
			t.Errorf("%s: suppressed without a reason", state)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", state, got, want)
		}
	}
}

func TestSeverity(t *testing.T) {
	for more, want := range map[string]finding.Severity{
		`"Severity":{"Label":"CRITICAL","Normalized":10}`:      finding.SeverityCritical,
		`"Severity":{"Normalized":90}`:                         finding.SeverityCritical,
		`"Severity":{"Normalized":89}`:                         finding.SeverityHigh,
		`"Severity":{"Normalized":"40"}`:                       finding.SeverityMedium,
		`"Severity":{"Normalized":1}`:                          finding.SeverityLow,
		`"Severity":{"Normalized":0}`:                          finding.SeverityInfo,
		`"Severity":{"Original":"high"}`:                       finding.SeverityHigh,
		`"FindingProviderFields":{"Severity":{"Label":"LOW"}}`: finding.SeverityLow,
		`"Severity":{"Product":8}`:                             finding.SeverityUnknown,
	} {
		if got := read(t, more).Findings[0].Severity; got != want {
			t.Errorf("%s: %v, want %v", more, got, want)
		}
	}
}

// All shapes give the same finding.
func TestShapes(t *testing.T) {
	one := string(body(`"x":1`))
	want := read(t, `"x":1`).Findings[0].UID
	for _, shape := range []string{one, "[" + one + "]", `{"Findings":[` + one + `]}`, `{"findings":[` + one + `]}`, `{"detail-type":"x","detail":{"findings":[` + one + `]}}`,
		strings.ReplaceAll(one, "\n", " ") + "\n" + strings.ReplaceAll(one, "\n", " ")} {
		if (Reader{}).Detect(format.NewProbe([]byte(shape), format.Options{})) < 90 {
			t.Errorf("not detected: %.60s", shape)
		}
		res, err := Reader{}.Read([]byte(shape), format.Options{Now: time.Unix(1.8e9, 0)})
		if err != nil || res.Kept == 0 || res.Findings[0].UID != want {
			t.Errorf("%.60s: %+v %v", shape, res, err)
		}
	}
}

func TestGuardDutyClass(t *testing.T) {
	for typ, want := range map[string]finding.Class{
		"Policy:S3/BucketPublicAccessGranted":                                  finding.StoragePublic,
		"Policy:IAMUser/RootCredentialUsage":                                   "identity.root-use",
		"Stealth:IAMUser/CloudTrailLoggingDisabled":                            "logging.disabled",
		"CryptoCurrency:EC2/BitcoinTool.B!DNS":                                 finding.WorkloadCompromise,
		"Execution:EC2/MaliciousFile":                                          "endpoint.malware",
		"InitialAccess:IAMUser/AnomalousBehavior":                              "identity.session-hijack",
		"Policy:Kubernetes/AnonymousAccessGranted":                             finding.WorldOpen,
		"UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS": finding.KeyExposed,
	} {
		if got := guardDutyClass(typ); got != want {
			t.Errorf("%s: %s, want %s", typ, got, want)
		}
	}
}

// TestBareAsWrapped: a finding by itself, which is read without looking for an
// envelope first, is read as the same finding in an envelope is, also where a
// member is written in another case, twice, or with escapes.
func TestBareAsWrapped(t *testing.T) {
	good := `"Id":"f/1","ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","GeneratorId":"security-control/S3.2","AwsAccountId":"123456789012",` +
		`"Title":"t \u0041","Severity":{"Label":"HIGH"},"Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::b"}]`
	for _, extra := range []string{"", `,"id":"f/2"`, `,"\u0049d":"f/3"`, `,"Ïd":"x"`, `,"":1`, `,"Compliance":{"Status":"PASSED"}`, `,"Title":{}`, `,"Types":["a b"]`, `,"detail-type":"x"`} {
		one := "{" + good + extra + "}"
		bare, err1 := Reader{}.Read([]byte(one), format.Options{File: "f"})
		wrapped, err2 := Reader{}.Read([]byte(`{"Findings":[`+one+`]}`), format.Options{File: "f"})
		if (err1 == nil) != (err2 == nil) || bare.Kept != wrapped.Kept || bare.Suppressed != wrapped.Suppressed || bare.Refused != wrapped.Refused || !reflect.DeepEqual(bare.Findings, wrapped.Findings) {
			t.Errorf("%s: alone %+v %v, in an envelope %+v %v", extra, bare, err1, wrapped, err2)
		}
	}
	for _, odd := range []string{`{"Findings":[{` + good + `}],"Id":"x"}`, `{"Id":"x","FINDINGS":[{` + good + `}]}`, `{"Id":"x","Finding\u0073":[{` + good + `}]}`, `{"Id":"x","finding\u017f":[{` + good + `}]}`} {
		if res, err := (Reader{}).Read([]byte(odd), format.Options{File: "f"}); err != nil || res.Kept != 1 || res.Findings[0].NativeID != "f/1" {
			t.Errorf("%s is an envelope: %+v %v", odd, res, err)
		}
	}
}
