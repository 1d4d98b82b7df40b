package asff

import (
	"fmt"
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
