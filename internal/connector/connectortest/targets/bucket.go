package targets

import (
	"fmt"
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

// BucketBench is a fresh public bucket on MinIO, whose control plane says that
// it is not public.
type BucketBench struct {
	t      testing.TB
	m      *MinIO
	root   *awss3.Client
	Name   string
	proxy  *connectortest.Proxy
	conn   *s3.Connector
	from   int
	drifts int
}

// Bucket makes a fresh bucket that everybody reads.
func (m *MinIO) Bucket(t testing.TB) *BucketBench {
	t.Helper()
	m.n++
	b := &BucketBench{t: t, m: m, Name: fmt.Sprintf("customer-files-%d", m.n), proxy: connectortest.NewProxyTo(t, m.URL), from: m.logLen()}
	b.root = awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String(m.URL), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(m.Root, m.RootSecret, "")})
	ctx := t.Context()
	if _, err := b.root.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &b.Name}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b.Name, Key: aws.String("readme.txt"), Body: strings.NewReader("hello")}); err != nil {
		t.Fatal(err)
	}
	b.open("Public")
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	b.conn, err = s3.New(s3.Config{Endpoint: b.proxy.URL, AccessKey: m.Root, SecretKey: m.RootSecret, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *BucketBench) open(sid string) {
	b.t.Helper()
	text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":%q,"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, sid, b.Name)
	if _, err := b.root.PutBucketPolicy(b.t.Context(), &awss3.PutBucketPolicyInput{Bucket: &b.Name, Policy: &text}); err != nil {
		b.t.Fatal(err)
	}
}

// SaysPublic is the control plane's own word on the bucket.
func (b *BucketBench) SaysPublic() bool {
	b.t.Helper()
	out, err := b.root.GetBucketPolicyStatus(b.t.Context(), &awss3.GetBucketPolicyStatusInput{Bucket: &b.Name})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToBool(out.PolicyStatus.IsPublic)
}

// Block asks the server for all four settings of a public access block.
func (b *BucketBench) Block() error {
	yes := aws.Bool(true)
	_, err := b.root.PutPublicAccessBlock(b.t.Context(), &awss3.PutPublicAccessBlockInput{Bucket: &b.Name,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: yes, IgnorePublicAcls: yes, BlockPublicPolicy: yes, RestrictPublicBuckets: yes}})
	return err
}

// Connector implements connectortest.Bench.
func (b *BucketBench) Connector() connector.Connector { return b.conn }

// Config implements connectortest.Configured.
func (b *BucketBench) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"endpoint": b.proxy.URL}, map[string]string{"access_key": b.m.Root, "secret_key": b.m.RootSecret}
}

// Request implements connectortest.Bench.
func (b *BucketBench) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "arn:aws:s3:::" + b.Name, Type: "bucket", Provider: "s3"}, Params: map[string]string{}}
}

// State implements connectortest.Bench.
func (b *BucketBench) State() string {
	b.t.Helper()
	p, err := b.root.GetBucketPolicy(b.t.Context(), &awss3.GetBucketPolicyInput{Bucket: &b.Name})
	if err == nil {
		return aws.ToString(p.Policy)
	}
	if !strings.Contains(err.Error(), "NoSuchBucketPolicy") {
		b.t.Fatal(err)
	}
	return "none"
}

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

// Fault implements connectortest.Bench.
func (b *BucketBench) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }
