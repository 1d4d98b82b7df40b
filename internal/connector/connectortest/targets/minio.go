package targets

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/minio"
	"github.com/casement/casement/internal/finding"
)

// MinIO is a real server with its audit log.
type MinIO struct {
	// URL of the server; Root and RootSecret are its first credential.
	URL, Root, RootSecret string

	n   int
	mu  sync.Mutex
	log strings.Builder
}

// StartMinIO serves an empty server until the test ends.
func StartMinIO(t testing.TB) *MinIO {
	t.Helper()
	bin := connectortest.Build(t, "minio", connectortest.Cached)
	m := &MinIO{Root: "root-user", RootSecret: "root-8c1d04b7"}
	audit := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.log.Write(append(b, '\n'))
	}))
	t.Cleanup(audit.Close)
	dir := t.TempDir()
	addr := connectortest.Start(t, connectortest.Server{Binary: bin,
		Args: func(addr string) []string { return []string{"server", dir, "--address", addr, "--quiet"} },
		Env: []string{"MINIO_ROOT_USER=" + m.Root, "MINIO_ROOT_PASSWORD=" + m.RootSecret, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + dir,
			"MINIO_AUDIT_WEBHOOK_ENABLE_CASEMENT=on", "MINIO_AUDIT_WEBHOOK_ENDPOINT_CASEMENT=" + audit.URL},
		Ready: func(addr string) bool {
			resp, err := http.Get("http://" + addr + "/minio/health/cluster")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}})
	m.URL = "http://" + addr
	people := map[string]any{"policies.json": map[string]any{"casement-keys": map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Action": []string{"admin:GetUser", "admin:EnableUser", "admin:DisableUser"}}}}},
		"users.json":         map[string]any{"casement": userAt(connectortest.Canary), "reports-key": userAt(keptSecret)},
		"user_mappings.json": map[string]any{"casement": mapped("casement-keys"), "reports-key": mapped("readwrite")}}
	m.importUntil(t, people, func() bool {
		status, _ := m.call(t, "casement", connectortest.Canary, http.MethodGet, "user-info", url.Values{"accessKey": {"reports-key"}}, nil)
		return status == http.StatusOK && m.works(t, "reports-key", keptSecret)
	})
	return m
}

// importUntil imports users and policies until they hold. Seen on a busy machine:
// an import right after the start is answered 200, and some keys have no rights.
// So what it was to do is looked at.
func (m *MinIO) importUntil(t testing.TB, files map[string]any, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		m.importIAM(t, files)
		if holds() {
			return
		}
		<-tick.C
	}
	t.Fatal("MinIO takes no users")
}

// works reports whether a key may list buckets.
func (m *MinIO) works(t testing.TB, key, secret string) bool {
	t.Helper()
	status, _ := m.signed(t, key, secret, http.MethodGet, "/", nil)
	return status == http.StatusOK
}

const keptSecret, leakedSecret = "kept-0a72be95", "leaked-77f0c3d2"

func userAt(secret string) any { return map[string]string{"secretKey": secret, "status": "enabled"} }

func mapped(policy string) any {
	return map[string]any{"version": 1, "policy": policy, "updatedAt": time.Now().UTC()}
}

// admin makes one signed call as root.
func (m *MinIO) admin(t testing.TB, method, call string, query url.Values, body []byte) []byte {
	t.Helper()
	status, b := m.call(t, m.Root, m.RootSecret, method, call, query, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, call, status, b)
	}
	return b
}

// call makes one signed call of the admin API.
func (m *MinIO) call(t testing.TB, key, secret, method, call string, query url.Values, body []byte) (int, []byte) {
	t.Helper()
	return m.signed(t, key, secret, method, "/minio/admin/v3/"+call+"?"+query.Encode(), body)
}

// signed makes one signed call.
func (m *MinIO) signed(t testing.TB, key, secret, method, path string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, m.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("X-Amz-Content-Sha256", hash)
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, req, hash, "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, b
}

// importIAM brings users and policies in as a backup would; it is the one call
// for this whose body is not encrypted.
func (m *MinIO) importIAM(t testing.TB, files map[string]any) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, v := range files {
		w, err := z.Create("iam-assets/" + name)
		if err == nil {
			err = json.NewEncoder(w).Encode(v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	m.admin(t, http.MethodPut, "import-iam", nil, b.Bytes())
}

// logged is the server's audit log from a place on; entries come a moment
// later, so the first of ours that changes something is waited for.
func (m *MinIO) logged(from int) string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var text string
	for range 1000 {
		m.mu.Lock()
		text = m.log.String()[from:]
		m.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.Contains(line, "casement/1 case/") && (strings.Contains(line, "SetUserStatus") || strings.Contains(line, "BucketPolicy") && !strings.Contains(line, "GetBucketPolicy")) {
				return text
			}
		}
		<-tick.C
	}
	return text
}

func (m *MinIO) logLen() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Len()
}

// MinIOBench is a fresh leaked key.
type MinIOBench struct {
	t      testing.TB
	m      *MinIO
	Key    string
	proxy  *connectortest.Proxy
	conn   *minio.Connector
	from   int
	drifts int
}

// Bench makes a fresh live key.
func (m *MinIO) Bench(t testing.TB) *MinIOBench {
	t.Helper()
	m.n++
	b := &MinIOBench{t: t, m: m, Key: fmt.Sprintf("LEAKED%014d", m.n), proxy: connectortest.NewProxyTo(t, m.URL), from: m.logLen()}
	m.importUntil(t, map[string]any{"users.json": map[string]any{b.Key: userAt(leakedSecret)}, "user_mappings.json": map[string]any{b.Key: mapped("readwrite")}},
		func() bool { return m.works(t, b.Key, leakedSecret) && m.works(t, "reports-key", keptSecret) })
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	b.conn, err = minio.New(minio.Config{Endpoint: b.proxy.URL, AccessKey: "casement", SecretKey: connectortest.Canary,
		Keep: map[string]string{"reports-key": keptSecret}, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Connector implements connectortest.Bench.
func (b *MinIOBench) Connector() connector.Connector { return b.conn }

// Config implements connectortest.Configured.
func (b *MinIOBench) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"endpoint": b.proxy.URL, "keep": map[string]any{"reports-key": map[string]any{"secret_from": "kept"}}},
		map[string]string{"access_key": "casement", "secret_key": connectortest.Canary, "kept": keptSecret}
}

// Request implements connectortest.Bench.
func (b *MinIOBench) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "minio:key/" + b.Key, Name: b.Key, Type: "access-key"}, Params: map[string]string{}}
}

// State implements connectortest.Bench.
func (b *MinIOBench) State() string {
	return string(b.m.admin(b.t, http.MethodGet, "user-info", url.Values{"accessKey": {b.Key}}, nil))
}

// Changes implements connectortest.Bench.
func (b *MinIOBench) Changes() int {
	return strings.Count(b.proxy.Log(), "PUT /minio/admin/v3/set-user-status")
}

// Log implements connectortest.Bench.
func (b *MinIOBench) Log() string { return b.m.logged(b.from) }

// Drift implements connectortest.Bench: a colleague puts the user into a
// group. (A policy can't be given to a key that is off.)
func (b *MinIOBench) Drift() {
	b.drifts++
	body := fmt.Sprintf(`{"group":"auditors%d","members":[%q],"isRemove":false}`, b.drifts, b.Key)
	b.m.admin(b.t, http.MethodPut, "update-group-members", nil, []byte(body))
}

// Fault implements connectortest.Bench.
func (b *MinIOBench) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }
