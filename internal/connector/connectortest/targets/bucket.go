package targets

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/finding"
)

// bucket is a bucket behind the fault proxy, and what every bench of one does
// in the same way.
type bucket struct {
	// Root is a client with every right, Name the bucket's.
	Root *awss3.Client
	Name string

	t           testing.TB
	key, secret string
	proxy       *connectortest.Proxy
	conn        *s3.Connector
	drifts      int
}

// newBucket gives the connector a proxy before a handler that reaches the server
// at url; the bucket itself is made by its caller.
func newBucket(t testing.TB, name, url, key, secret string, to http.Handler) bucket {
	t.Helper()
	b := bucket{t: t, Name: name, key: key, secret: secret, proxy: connectortest.NewProxy(t, to)}
	b.Root = awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &url, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(key, secret, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired})
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	b.conn, err = s3.New(s3.Config{Endpoint: b.proxy.URL, AccessKey: key, SecretKey: secret, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// create makes the bucket with these objects.
func (b *bucket) create(in *awss3.CreateBucketInput, objects ...string) {
	b.t.Helper()
	in.Bucket = &b.Name
	if _, err := b.Root.CreateBucket(b.t.Context(), in); err != nil {
		b.t.Fatal(err)
	}
	for _, key := range objects {
		if _, err := b.Root.PutObject(b.t.Context(), &awss3.PutObjectInput{Bucket: &b.Name, Key: &key, Body: strings.NewReader("hello")}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// open lets everybody read, by a policy with a statement of this name.
func (b *bucket) open(sid string) {
	b.t.Helper()
	b.policy(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":%q,"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, sid, b.Name))
}

func (b *bucket) policy(text string) {
	b.t.Helper()
	if _, err := b.Root.PutBucketPolicy(b.t.Context(), &awss3.PutBucketPolicyInput{Bucket: &b.Name, Policy: &text}); err != nil {
		b.t.Fatal(err)
	}
}

// policyText is the policy of the bucket, or none.
func (b *bucket) policyText() string {
	b.t.Helper()
	p, err := b.Root.GetBucketPolicy(b.t.Context(), &awss3.GetBucketPolicyInput{Bucket: &b.Name})
	if err == nil {
		return aws.ToString(p.Policy)
	}
	if !strings.Contains(err.Error(), "NoSuchBucketPolicy") {
		b.t.Fatal(err)
	}
	return "none"
}

// SaysPublic is the control plane's own word on the bucket.
func (b *bucket) SaysPublic() bool {
	b.t.Helper()
	out, err := b.Root.GetBucketPolicyStatus(b.t.Context(), &awss3.GetBucketPolicyStatusInput{Bucket: &b.Name})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToBool(out.PolicyStatus.IsPublic)
}

// grants are the grants of an ACL as one text.
func grants(list []types.Grant) string {
	text := ""
	for _, x := range list {
		text += fmt.Sprintf(" %s:%s%s", x.Permission, aws.ToString(x.Grantee.ID), aws.ToString(x.Grantee.URI))
	}
	return text
}

// Connector implements connectortest.Bench.
func (b *bucket) Connector() connector.Connector { return b.conn }

// Config implements connectortest.Configured.
func (b *bucket) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"endpoint": b.proxy.URL}, map[string]string{"access_key": b.key, "secret_key": b.secret}
}

// Request implements connectortest.Bench.
func (b *bucket) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "arn:aws:s3:::" + b.Name, Type: "bucket", Provider: "s3"}, Params: map[string]string{}}
}

// Fault implements connectortest.Bench.
func (b *bucket) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }

// BucketBench is a fresh public bucket on MinIO, whose control plane says that
// it is not public.
type BucketBench struct {
	bucket
	m    *MinIO
	from int
}

// Bucket makes a fresh bucket that everybody reads.
func (m *MinIO) Bucket(t testing.TB) *BucketBench {
	t.Helper()
	m.n++
	b := &BucketBench{m: m, from: m.logLen(), bucket: newBucket(t, fmt.Sprintf("customer-files-%d", m.n), m.URL, m.Root, m.RootSecret, connectortest.Forward(t, m.URL))}
	b.create(&awss3.CreateBucketInput{}, "readme.txt")
	b.open("Public")
	return b
}

// Block asks the server for all four settings of a public access block.
func (b *BucketBench) Block() error {
	yes := aws.Bool(true)
	_, err := b.Root.PutPublicAccessBlock(b.t.Context(), &awss3.PutPublicAccessBlockInput{Bucket: &b.Name,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: yes, IgnorePublicAcls: yes, BlockPublicPolicy: yes, RestrictPublicBuckets: yes}})
	return err
}

// State implements connectortest.Bench.
func (b *BucketBench) State() string { return b.policyText() }

// Changes implements connectortest.Bench: only policies are written here.
func (b *BucketBench) Changes() int {
	return strings.Count(b.proxy.Log(), "PUT /"+b.Name) + strings.Count(b.proxy.Log(), "DELETE /"+b.Name)
}

// Log implements connectortest.Bench.
func (b *BucketBench) Log() string { return b.m.logged(b.from) }

// Drift implements connectortest.Bench: a colleague opens it in another way.
func (b *BucketBench) Drift() {
	b.drifts++
	b.open(fmt.Sprint("Colleague", b.drifts))
}
