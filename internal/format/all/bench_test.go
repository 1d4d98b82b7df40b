package all_test

import (
	"strings"
	"testing"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
)

// securityHub is a finding of Security Hub of about 2 kB, as a webhook brings it.
func securityHub() []byte {
	return []byte(`{"SchemaVersion":"2018-10-08","Id":"arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.2/finding/000000007",` +
		`"ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","ProductName":"Security Hub","CompanyName":"AWS","Region":"eu-west-1",` +
		`"GeneratorId":"security-control/S3.2","AwsAccountId":"123456789012","Types":["Software and Configuration Checks/Industry and Regulatory Standards"],` +
		`"FirstObservedAt":"2026-11-01T08:00:00.000Z","LastObservedAt":"2026-11-01T09:00:00.000Z","CreatedAt":"2026-11-01T08:00:00.000Z","UpdatedAt":"2026-11-01T09:00:00.000Z",` +
		`"Severity":{"Label":"HIGH","Normalized":70,"Original":"HIGH"},"Title":"S3 general purpose buckets should block public read access","Description":"` + strings.Repeat("bucket policy account ", 40) + `",` +
		`"Remediation":{"Recommendation":{"Text":"For information on how to correct this issue, consult the controls documentation.","Url":"https://docs.aws.amazon.com/console/securityhub/S3.2/remediation"}},` +
		`"ProductFields":{"RelatedAWSResources:0/name":"securityhub-bucket policy","aws/securityhub/ProductName":"Security Hub","Resources:0/Id":"arn:aws:s3:::asset-000000007"},` +
		`"Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::asset-000000007","Partition":"aws","Region":"eu-west-1","Tags":{"app":"shop","Environment":"production","team":"payments"},"Details":{"Other":{"note":"` + strings.Repeat("public object ", 30) + `"}}}],` +
		`"Compliance":{"Status":"FAILED","SecurityControlId":"S3.2","AssociatedStandards":[{"StandardsId":"standards/aws-foundational-security-best-practices/v/1.0.0"}]},` +
		`"WorkflowState":"NEW","Workflow":{"Status":"NEW"},"RecordState":"ACTIVE","UserDefinedFields":{"serial":"000000009"}}`)
}

// BenchmarkAlert is what one new alert costs on its way through the readers.
func BenchmarkAlert(b *testing.B) {
	body := securityHub()
	opt := testOptions("bench")
	r, err := all.Detect(body, opt)
	if err != nil {
		b.Fatal(err)
	}
	res, err := r.Read(body, opt)
	if err != nil || res.Kept != 1 {
		b.Fatal(res, err)
	}
	secrets := all.SecretPaths(r.Name())
	b.Run("detect", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = all.Detect(body, opt)
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = r.Read(body, opt)
		}
	})
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			format.Records(body, res.Places, opt, secrets)
		}
	})
	b.Run("sketch", func(b *testing.B) {
		b.ReportAllocs()
		f := all.Fleeting()[r.Name()]
		for b.Loop() {
			format.Sketches(body, f)
		}
	})
}
