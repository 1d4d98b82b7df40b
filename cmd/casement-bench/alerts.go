package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// shapes is the number of different alerts there are beside their numbers.
const shapes = 64

// marks are the places of a shape that are filled in for each alert.
const (
	markNumber = "\x00N" // which finding: nine digits
	markTime   = "\x00T" // when the sender last saw it; no part of the identity
	markSerial = "\x00S" // which alert; in a field no reader reads
)

// alerts makes cloud findings in the AWS Security Finding Format, 1-3 kB each,
// from a fixed seed: eight kinds of risky states in eight sizes.
type alerts struct {
	shape [][]segment
}

type segment struct {
	text []byte
	mark byte // 'N', 'T', 'S' or 0 before the end
}

func newAlerts() *alerts {
	rnd := rand.New(rand.NewPCG(7, 410))
	a := &alerts{shape: make([][]segment, shapes)}
	for i := range a.shape {
		a.shape[i] = cut(shapeText(i, rnd))
	}
	return a
}

// newCertain makes alerts that leave no fact open an enforcement needs, in the
// plain JSON of the product.
func newCertain() *alerts { return newPlain("storage.public") }

// newPlain makes them of a class.
func newPlain(class string) *alerts {
	return &alerts{shape: [][]segment{cut(`{"source":"bench","native_id":"` + markNumber + `","rule":"public","title":"Anybody can read it","class":"` + class + `",` +
		`"severity":"high","confidence":95,"customer_facing":"no","asset":{"uid":"asset-` + markNumber + `","type":"document","environment":"staging","tags":{"owner":"docs"}},` +
		`"exposure":{"internet_facing":"yes","blast":1},"serial":"` + markSerial + `"}`)}}
}

func cut(text string) []segment {
	var out []segment
	for {
		i := strings.IndexByte(text, 0)
		if i < 0 {
			return append(out, segment{[]byte(text), 0})
		}
		out = append(out, segment{[]byte(text[:i]), text[i+1]})
		text = text[i+2:]
	}
}

// body appends the alert of finding number n as the sender sends it for the
// serial-th time at at.
func (a *alerts) body(dst []byte, n, serial int, at time.Time) []byte {
	for _, s := range a.shape[n%len(a.shape)] {
		dst = append(dst, s.text...)
		switch s.mark {
		case 'N':
			dst = appendNumber(dst, n)
		case 'S':
			dst = appendNumber(dst, serial)
		case 'T':
			dst = at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
		}
	}
	return dst
}

func appendNumber(dst []byte, n int) []byte {
	var b [9]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return append(dst, b[:]...)
}

// numberOf finds the number of the finding behind a name of its asset.
func numberOf(text []byte) (int, bool) {
	i := bytes.Index(text, []byte("asset-"))
	if i < 0 || len(text) < i+15 {
		return 0, false
	}
	n, err := strconv.Atoi(string(text[i+6 : i+15]))
	return n, err == nil
}

// kind is one kind of risky state.
type kind struct {
	control, title, resource, id string
}

// All are buckets' and hosts' controls with one asset each, so that each number
// is one exposure.
var kinds = [...]kind{
	{"S3.2", "S3 general purpose buckets should block public read access", "AwsS3Bucket", "arn:aws:s3:::asset-"},
	{"S3.3", "S3 general purpose buckets should block public write access", "AwsS3Bucket", "arn:aws:s3:::asset-"},
	{"EC2.19", "Security groups should not allow unrestricted access to ports with high risk", "AwsEc2SecurityGroup", "arn:aws:ec2:eu-west-1:123456789012:security-group/asset-"},
	{"RDS.2", "RDS DB instances should prohibit public access", "AwsRdsDbInstance", "arn:aws:rds:eu-west-1:123456789012:db:asset-"},
	{"S3.1", "S3 general purpose buckets should have block public access settings enabled", "AwsS3Bucket", "arn:aws:s3:::asset-"},
	{"IAM.5", "MFA should be enabled for all IAM users that have a console password", "AwsIamUser", "arn:aws:iam::123456789012:user/asset-"},
	{"KMS.3", "AWS KMS keys should not be deleted unintentionally", "AwsKmsKey", "arn:aws:kms:eu-west-1:123456789012:key/asset-"},
	{"CloudTrail.1", "CloudTrail should be enabled and configured with at least one multi-Region trail", "AwsCloudTrailTrail", "arn:aws:cloudtrail:eu-west-1:123456789012:trail/asset-"},
}

func shapeText(i int, rnd *rand.Rand) string {
	k := kinds[i%len(kinds)]
	words := strings.Fields("bucket policy account principal network statement condition region owner access reader public object encryption rotation key service trail version tag event")
	prose := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[rnd.IntN(len(words))])
			b.WriteByte(' ')
		}
		return strings.TrimSpace(b.String())
	}
	size := 120 + 240*(i/len(kinds))
	var b strings.Builder
	fmt.Fprintf(&b, `{"SchemaVersion":"2018-10-08","Id":"arn:aws:securityhub:eu-west-1:123456789012:security-control/%s/finding/%s",`, k.control, markNumber)
	b.WriteString(`"ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","ProductName":"Security Hub","CompanyName":"AWS","Region":"eu-west-1",`)
	fmt.Fprintf(&b, `"GeneratorId":"security-control/%s","AwsAccountId":"123456789012","Types":["Software and Configuration Checks/Industry and Regulatory Standards"],`, k.control)
	fmt.Fprintf(&b, `"FirstObservedAt":"2026-11-01T08:00:00.000Z","LastObservedAt":"%s","CreatedAt":"2026-11-01T08:00:00.000Z","UpdatedAt":"%s",`, markTime, markTime)
	b.WriteString(`"Severity":{"Label":"HIGH","Normalized":70,"Original":"HIGH"},`)
	fmt.Fprintf(&b, `"Title":"%s","Description":"%s",`, k.title, prose(size))
	b.WriteString(`"Remediation":{"Recommendation":{"Text":"For information on how to correct this issue, consult the controls documentation.","Url":"https://docs.aws.amazon.com/console/securityhub/` + k.control + `/remediation"}},`)
	fmt.Fprintf(&b, `"ProductFields":{"RelatedAWSResources:0/name":"securityhub-%s","aws/securityhub/ProductName":"Security Hub","Resources:0/Id":"%s%s"},`, prose(20), k.id, markNumber)
	fmt.Fprintf(&b, `"Resources":[{"Type":"%s","Id":"%s%s","Partition":"aws","Region":"eu-west-1","Tags":{"app":"shop","Environment":"production","team":"payments"},"Details":{"Other":{"note":"%s"}}}],`, k.resource, k.id, markNumber, prose(size/2))
	fmt.Fprintf(&b, `"Compliance":{"Status":"FAILED","SecurityControlId":"%s","AssociatedStandards":[{"StandardsId":"standards/aws-foundational-security-best-practices/v/1.0.0"}]},`, k.control)
	fmt.Fprintf(&b, `"WorkflowState":"NEW","Workflow":{"Status":"NEW"},"RecordState":"ACTIVE","UserDefinedFields":{"serial":"%s"}}`, markSerial)
	return b.String()
}

// plan says which finding the i-th alert speaks of.
type plan func(i int) int

// distinct: every alert is a finding of its own, from first on.
func distinct(first int) plan { return func(i int) int { return first + i } }

// repeating: nine alerts of ten repeat an earlier one, at every prefix.
func repeating(first int) plan {
	return func(i int) int {
		known := i/10 + 1
		if i%10 == 0 {
			return first + i/10
		}
		// A fixed scramble instead of a random number: the same in every run.
		return first + int(uint64(i)*0x9E3779B97F4A7C15>>33)%known
	}
}
