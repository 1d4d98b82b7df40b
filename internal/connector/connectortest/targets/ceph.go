package targets

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/casement/casement/internal/connector/connectortest"
)

// Ceph is a real RADOS Gateway over a cluster of one monitor and one store in
// memory.
type Ceph struct {
	// URL of the gateway.
	URL string

	dir string
	n   int
}

// cephConf sets a cluster up that one node can hold: pools of one copy, no
// manager, changes of the map every 50 ms (by default every second, and the
// gateway makes its pools one by one).
// https://docs.ceph.com/en/pacific/rados/configuration/
const cephConf = `[global]
fsid = 5f0c2b9d-7a41-4b1e-9d3c-0e6a1b2c3d4e
mon host = v2:%[2]s
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
run dir = %[1]s
crash dir = %[1]s
admin socket =
pid file =
log file = %[1]s/$name.log
keyring = %[1]s/keyring
debug rgw = 1/1
[mon]
mon data = %[1]s/mon
mon cluster log file = %[1]s/cluster.log
mon data avail warn = 1
mon data avail crit = 1
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = %[1]s/osd
osd objectstore = memstore
[client]
rgw data = %[1]s/rgw
`

// StartCeph serves an empty cluster until the test ends.
func StartCeph(t testing.TB) *Ceph {
	t.Helper()
	gateway := connectortest.Build(t, "ceph-rgw", connectortest.Cached)
	c := &Ceph{dir: t.TempDir()}
	for _, d := range []string{"osd", "rgw"} {
		if err := os.Mkdir(c.path(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t, "ceph-authtool", c.path("keyring"), "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
	c.run(t, "ceph-authtool", c.path("keyring"), "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
	c.run(t, "ceph-authtool", c.path("keyring"), "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "mgr", "allow profile osd", "--cap", "osd", "allow *")
	mon, osd := c.find(t, "ceph-mon"), c.find(t, "ceph-osd")
	connectortest.Start(t, connectortest.Server{Binary: mon, Args: func(addr string) []string {
		if err := os.RemoveAll(c.path("mon")); err != nil { // of an address that was taken
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path("ceph.conf"), fmt.Appendf(nil, cephConf, c.dir, addr), 0o600); err != nil {
			t.Fatal(err)
		}
		c.run(t, "monmaptool", "--create", "--clobber", "--fsid", "5f0c2b9d-7a41-4b1e-9d3c-0e6a1b2c3d4e", "--addv", "a", "[v2:"+addr+"]", c.path("monmap"))
		c.run(t, mon, "--mkfs", "-i", "a", "-c", c.path("ceph.conf"), "--monmap", c.path("monmap"), "--keyring", c.path("keyring"))
		return []string{"-f", "-i", "a", "-c", c.path("ceph.conf")}
	}})
	const uuid = "9b3dee19-a4cd-44ca-9e90-4170b7ae3b5f"
	key := strings.TrimSpace(c.run(t, "ceph-authtool", c.path("keyring"), "-p", "-n", "osd.0"))
	if err := os.WriteFile(c.path("osd.json"), fmt.Appendf(nil, `{"cephx_secret": %q}`, key), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(t, "ceph", "-c", c.path("ceph.conf"), "--connect-timeout", "60", "osd", "new", uuid, "-i", c.path("osd.json"))
	c.run(t, osd, "--mkfs", "-i", "0", "-c", c.path("ceph.conf"), "--osd-uuid", uuid)
	connectortest.Background(t, connectortest.Server{Binary: osd, Args: func(string) []string { return []string{"-f", "-i", "0", "-c", c.path("ceph.conf")} }})
	// The user is made first: that makes the pools and the zone too.
	c.run(t, "radosgw-admin", "-c", c.path("ceph.conf"), "user", "create", "--uid=root", "--display-name=root", "--access-key=root", "--secret-key="+connectortest.Canary)
	addr := connectortest.Start(t, connectortest.Server{Binary: gateway,
		Args: func(addr string) []string {
			return []string{"-f", "-n", "client.admin", "-c", c.path("ceph.conf"), "--log-file", c.path("gateway.log"), "--rgw-frontends", "beast tcp_nodelay=1 endpoint=" + addr}
		},
		Ready: func(addr string) bool {
			resp, err := http.Get("http://" + addr + "/")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}})
	c.URL = "http://" + addr
	return c
}

func (c *Ceph) path(name string) string { return filepath.Join(c.dir, name) }

// find is the path of a program of Ceph.
func (c *Ceph) find(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err) // scripts/targets/ceph-rgw.sh found it
	}
	return path
}

// run runs a program of Ceph to its end.
func (c *Ceph) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

// CephBench is a fresh bucket with an object that everybody may read by its ACL.
type CephBench struct {
	bucket
	c *Ceph
	// from is where the gateway's log ended when the bucket was made.
	from int
	// writes is how many changes have reached the gateway through the proxy and
	// were answered.
	writes atomic.Int64
}

// Bucket makes a fresh bucket that lists for everybody, with one object that
// everybody reads.
func (c *Ceph) Bucket(t testing.TB) *CephBench {
	t.Helper()
	c.n++
	b := &CephBench{c: c, from: len(c.log(t))}
	server := connectortest.Forward(t, c.URL)
	b.bucket = newBucket(t, fmt.Sprintf("customer-files-%d", c.n), c.URL, "root", connectortest.Canary, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server.ServeHTTP(w, r)
		if r.Method == http.MethodPut || r.Method == http.MethodDelete {
			b.writes.Add(1)
		}
	}))
	b.create(&awss3.CreateBucketInput{}, "readme.txt")
	ctx, key := t.Context(), "readme.txt"
	if _, err := b.Root.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: &b.Name, ACL: types.BucketCannedACLPublicRead}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Root.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: &b.Name, Key: &key, ACL: types.ObjectCannedACLPublicRead}); err != nil {
		t.Fatal(err)
	}
	return b
}

// OpenByPolicy lets everybody read by the bucket's policy too.
func (b *CephBench) OpenByPolicy() { b.open("Public") }

// Upload puts one more object into the bucket, as its owner.
func (b *CephBench) Upload() error {
	_, err := b.Root.PutObject(b.t.Context(), &awss3.PutObjectInput{Bucket: &b.Name, Key: aws.String("next.txt"), Body: strings.NewReader("hello")})
	return err
}

// State implements connectortest.Bench.
func (b *CephBench) State() string {
	b.t.Helper()
	ctx, key := b.t.Context(), "readme.txt"
	p, err := b.Root.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: &b.Name})
	if err != nil {
		b.t.Fatal(err)
	}
	acl, err := b.Root.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: &b.Name})
	if err != nil {
		b.t.Fatal(err)
	}
	object, err := b.Root.GetObjectAcl(ctx, &awss3.GetObjectAclInput{Bucket: &b.Name, Key: &key})
	if err != nil {
		b.t.Fatal(err)
	}
	x := p.PublicAccessBlockConfiguration
	return fmt.Sprintf("block %v %v %v %v; %s;%s; %s:%s", aws.ToBool(x.BlockPublicAcls), aws.ToBool(x.IgnorePublicAcls), aws.ToBool(x.BlockPublicPolicy),
		aws.ToBool(x.RestrictPublicBuckets), b.policyText(), grants(acl.Grants), key, grants(object.Grants))
}

// Changes implements connectortest.Bench: the writes of the connector that the
// gateway logged as done.
func (b *CephBench) Changes() int {
	n := 0
	for line := range strings.Lines(b.Log()) {
		if write(line) && strings.Contains(line, `HTTP/1.1" 20`) {
			n++
		}
	}
	return n
}

func write(line string) bool {
	return strings.Contains(line, `"PUT /`) || strings.Contains(line, `"DELETE /`)
}

// Log implements connectortest.Bench: what the gateway's access log holds of the
// connector's requests for this bucket. A line comes a moment after its answer,
// so those of the writes that were answered are waited for.
func (b *CephBench) Log() string {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		var text strings.Builder
		n := int64(0)
		for line := range strings.Lines(b.c.log(b.t)[b.from:]) {
			if strings.Contains(line, " beast: ") && strings.Contains(line, "/"+b.Name) && strings.Contains(line, "casement/1 case/") && strings.HasSuffix(line, "\n") {
				text.WriteString(line)
				if write(line) {
					n++
				}
			}
		}
		if n >= b.writes.Load() {
			return text.String()
		}
		<-tick.C
	}
	b.t.Fatal("the gateway does not log what it answered")
	return ""
}

func (c *Ceph) log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(c.path("gateway.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Drift implements connectortest.Bench: a colleague adds a rule against deleting,
// which lets nobody in and stops no reader.
func (b *CephBench) Drift() {
	b.drifts++
	b.policy(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"Colleague%d","Effect":"Deny","Principal":"*","Action":["s3:DeleteObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, b.drifts, b.Name))
}
