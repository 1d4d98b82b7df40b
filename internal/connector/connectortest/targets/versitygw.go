package targets

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/casement/casement/internal/connector/connectortest"
)

// Gateway is a real versitygw behind the fault proxy, with one bucket that
// everybody reads.
type Gateway struct {
	bucket
	log string
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
	log := filepath.Join(dir, "access.log")
	addr := connectortest.Serve(t, bin, func(addr string) []string {
		return []string{"--port", addr, "--iam-dir", filepath.Join(dir, "iam"), "--access-log", log, "--quiet",
			"posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data")}
	}, "ROOT_ACCESS_KEY=root", "ROOT_SECRET_KEY="+connectortest.Canary)
	url := "http://" + addr
	g := &Gateway{log: log, bucket: newBucket(t, "customer-files", url, "root", connectortest.Canary, connectortest.Forward(t, url))}
	g.create(&awss3.CreateBucketInput{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}, "invoices/2026 + 1.txt", "readme.txt")
	g.open("Public")
	return g
}

// State implements connectortest.Bench.
func (g *Gateway) State() string {
	g.t.Helper()
	acl, err := g.Root.GetBucketAcl(g.t.Context(), &awss3.GetBucketAclInput{Bucket: &g.Name})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.policyText() + grants(acl.Grants)
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
func (g *Gateway) Drift() { g.open("Colleague") }
