package targets

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

const bucketName = "customer-files"

// Gateway is a real versitygw behind the fault proxy, with one bucket that
// everybody reads.
type Gateway struct {
	// Root is a client with every right.
	Root *awss3.Client

	t     testing.TB
	proxy *connectortest.Proxy
	conn  *s3.Connector
	log   string
}

// StartGateway serves a fresh server until the test ends.
func StartGateway(t testing.TB) *Gateway {
	t.Helper()
	bin := connectortest.Build(t, "versitygw")
	dir := t.TempDir()
	for _, d := range []string{"data", "meta", "iam"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g := &Gateway{t: t, log: filepath.Join(dir, "access.log")}
	addr := connectortest.Serve(t, bin, func(addr string) []string {
		return []string{"--port", addr, "--iam-dir", filepath.Join(dir, "iam"), "--access-log", g.log, "--quiet",
			"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data")}
	}, "ROOT_ACCESS_KEY=root", "ROOT_SECRET_KEY="+connectortest.Canary)
	g.Root = awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider("root", connectortest.Canary, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired})
	g.proxy = connectortest.NewProxyTo(t, "http://"+addr)
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	g.conn, err = s3.New(s3.Config{Endpoint: g.proxy.URL, AccessKey: "root", SecretKey: connectortest.Canary, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	g.fill()
	return g
}

func publicPolicy(sid string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":%q,"Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, sid, bucketName)
}

// fill makes the bucket and opens it to everybody.
func (g *Gateway) fill() {
	g.t.Helper()
	ctx := g.t.Context()
	b := aws.String(bucketName)
	if _, err := g.Root.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: b, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}); err != nil {
		g.t.Fatal(err)
	}
	for _, key := range []string{"invoices/2026 + 1.txt", "readme.txt"} {
		if _, err := g.Root.PutObject(ctx, &awss3.PutObjectInput{Bucket: b, Key: &key, Body: strings.NewReader("hello")}); err != nil {
			g.t.Fatal(err)
		}
	}
	g.policy(publicPolicy("Public"))
}

func (g *Gateway) policy(text string) {
	g.t.Helper()
	if _, err := g.Root.PutBucketPolicy(g.t.Context(), &awss3.PutBucketPolicyInput{Bucket: aws.String(bucketName), Policy: &text}); err != nil {
		g.t.Fatal(err)
	}
}

// Connector implements connectortest.Bench.
func (g *Gateway) Connector() connector.Connector { return g.conn }

// Config implements connectortest.Configured.
func (g *Gateway) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"endpoint": g.proxy.URL}, map[string]string{"access_key": "root", "secret_key": connectortest.Canary}
}

// Request implements connectortest.Bench.
func (g *Gateway) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "arn:aws:s3:::" + bucketName}, Params: map[string]string{}}
}

// State implements connectortest.Bench.
func (g *Gateway) State() string {
	g.t.Helper()
	ctx, b := g.t.Context(), aws.String(bucketName)
	text := "none"
	if p, err := g.Root.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: b}); err == nil {
		text = aws.ToString(p.Policy)
	} else if !strings.Contains(err.Error(), "NoSuchBucketPolicy") {
		g.t.Fatal(err)
	}
	acl, err := g.Root.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: b})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, x := range acl.Grants {
		text += fmt.Sprintf(" %s:%s%s", x.Permission, aws.ToString(x.Grantee.ID), aws.ToString(x.Grantee.URI))
	}
	return text
}

// Changes implements connectortest.Bench.
func (g *Gateway) Changes() int {
	n := 0
	for line := range strings.Lines(g.Log()) {
		if strings.Contains(line, "casement/1 case/") && (strings.Contains(line, " s3_Put") || strings.Contains(line, " s3_Delete")) {
			n++
		}
	}
	return n
}

// Log implements connectortest.Bench.
func (g *Gateway) Log() string {
	g.t.Helper()
	b, err := os.ReadFile(g.log)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(bytes.ToValidUTF8(b, nil))
}

// Drift implements connectortest.Bench: a colleague opens the bucket in another
// way. After a fix it stays risky in a form that the plan does not know.
func (g *Gateway) Drift() { g.policy(publicPolicy("Colleague")) }

// Fault implements connectortest.Bench.
func (g *Gateway) Fault(f connectortest.Fault) <-chan struct{} { return g.proxy.Set(f) }
