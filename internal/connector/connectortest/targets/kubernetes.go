package targets

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/kubernetes"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/need"
)

// Kubernetes is a real API server with etcd and an audit log; no kubelet and
// no controllers run, so objects are real and nothing is started by them.
type Kubernetes struct {
	// URL of the server.
	URL string

	client *http.Client
	audit  string
	n      int
}

// The tokens of the bench's people: an administrator, Casement with the least
// rights, and the identity that has too many.
const adminToken, botToken = "admin-c2b7", "bot-41fe09"

// StartKubernetes serves an empty cluster until the test ends.
func StartKubernetes(t testing.TB) *Kubernetes {
	t.Helper()
	bin := connectortest.Build(t, "kube-apiserver", connectortest.Cached)
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		need.Missing(t, "etcd is not here: scripts/setup.sh installs it")
	}
	dir := t.TempDir()
	peer := connectortest.FreeAddr(t)
	db := connectortest.Start(t, connectortest.Server{Binary: etcd, Args: func(addr string) []string {
		return []string{"--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level", "error", "--listen-client-urls", "http://" + addr, "--advertise-client-urls", "http://" + addr,
			"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer, "--initial-cluster", "default=http://" + peer}
	}})
	k := &Kubernetes{audit: filepath.Join(dir, "audit.log")}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sign := write("sa.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	verify := write("sa.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	tokens := write("tokens.csv", adminToken+",admin,1,\"system:masters\"\n"+connectortest.Canary+",casement,2\n"+botToken+",system:serviceaccount:build:bot,3,\"system:serviceaccounts,system:serviceaccounts:build\"\n")
	policy := write("audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  verbs: [create, update, patch, delete]\n")
	// Its own self-signed certificate; only this process speaks to it.
	k.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	addr := connectortest.Start(t, connectortest.Server{Binary: bin,
		Args: func(addr string) []string {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			return []string{"--etcd-servers=http://" + db, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + port, "--cert-dir=" + filepath.Join(dir, "certs"),
				"--service-account-issuer=https://127.0.0.1", "--service-account-key-file=" + verify, "--service-account-signing-key-file=" + sign, "--token-auth-file=" + tokens,
				"--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24", "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none",
				"--audit-policy-file=" + policy, "--audit-log-path=" + k.audit, "--audit-log-mode=blocking-strict"}
		},
		Ready: func(addr string) bool {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+addr+"/readyz", nil)
			if err != nil {
				return false
			}
			req.Header.Set("Authorization", "Bearer "+adminToken)
			resp, err := k.client.Do(req)
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}})
	k.URL = "https://" + addr
	rbac := "/apis/rbac.authorization.k8s.io/v1/"
	rule := func(group, resources string, verbs ...string) any {
		return map[string]any{"apiGroups": []string{group}, "resources": strings.Split(resources, ","), "verbs": verbs}
	}
	role := func(name string, rules ...any) {
		k.Do(t, http.MethodPost, rbac+"clusterroles", map[string]any{"metadata": map[string]any{"name": name}, "rules": rules})
	}
	// What the Spec states, and no more.
	role("casement", rule("rbac.authorization.k8s.io", "rolebindings,clusterrolebindings", "get", "patch"), rule("rbac.authorization.k8s.io", "clusterroles", "bind"),
		rule("authorization.k8s.io", "subjectaccessreviews", "create"), rule("networking.k8s.io", "networkpolicies", "get", "list", "create", "delete"), rule("", "pods", "get", "patch"))
	role("reads-config", rule("", "configmaps", "get", "list"))
	role("reads-secrets", rule("", "secrets", "get", "list"))
	k.Do(t, http.MethodPost, rbac+"clusterrolebindings", binding("casement", "casement", map[string]any{"kind": "User", "name": "casement"}))
	k.Do(t, http.MethodPost, rbac+"clusterrolebindings", binding("bot-config", "reads-config", bot()))
	for _, ns := range []string{"shop", "build"} {
		k.Do(t, http.MethodPost, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": ns}})
	}
	return k
}

func bot() any {
	return map[string]any{"kind": "ServiceAccount", "namespace": "build", "name": "bot"}
}

func binding(name, role string, subjects ...any) any {
	return map[string]any{"metadata": map[string]any{"name": name}, "subjects": subjects,
		"roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}}
}

// Do makes one call as administrator and fails the test unless it works.
func (k *Kubernetes) Do(t testing.TB, method, path string, body any) map[string]any {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, k.URL+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := k.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, text, err)
	}
	return out
}

// KubernetesBench is a fresh binding with one subject too many, and a fresh
// pod. One of them is the object of a verb.
type KubernetesBench struct {
	t       testing.TB
	k       *Kubernetes
	Binding string
	Pod     string
	proxy   *connectortest.Proxy
	conn    *kubernetes.Connector
	from    int
	drifts  int
}

// Bench makes fresh risky objects. Bindings of earlier benches lose theirs.
func (k *Kubernetes) Bench(t testing.TB) *KubernetesBench {
	t.Helper()
	if k.n > 0 { // or the identity would keep the access by the last one
		k.Do(t, http.MethodDelete, fmt.Sprintf("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/bot-secrets-%d", k.n), nil)
	}
	k.n++
	b := &KubernetesBench{t: t, k: k, Binding: fmt.Sprintf("bot-secrets-%d", k.n), Pod: fmt.Sprintf("web-%d", k.n), proxy: connectortest.NewProxyTo(t, k.URL)}
	k.Do(t, http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
		binding(b.Binding, "reads-secrets", map[string]any{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "olga"}, bot(), map[string]any{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "auditors"}))
	k.Do(t, http.MethodPost, "/api/v1/namespaces/shop/pods", map[string]any{"metadata": map[string]any{"name": b.Pod, "labels": map[string]string{"app": "web"}},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": "example.invalid/web:1"}}}})
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	b.conn, err = kubernetes.New(kubernetes.Config{Server: b.proxy.URL, Token: connectortest.Canary, Tokens: map[string]string{"ServiceAccount/build/bot": botToken},
		HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	b.from = len(b.all())
	return b
}

// Connector implements connectortest.Bench.
func (b *KubernetesBench) Connector() connector.Connector { return b.conn }

// Config implements connectortest.Configured.
func (b *KubernetesBench) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"server": b.proxy.URL, "identities": map[string]any{"ServiceAccount/build/bot": map[string]any{"token_from": "bot"}}},
		map[string]string{"token": connectortest.Canary, "bot": botToken}
}

// Request implements connectortest.Bench.
func (b *KubernetesBench) Request(verb string) connector.Request {
	if verb == kubernetes.VerbQuarantine || verb == kubernetes.VerbIsolated {
		return connector.Request{Asset: finding.Asset{UID: "k8s:prod:Pod/shop/" + b.Pod, Type: "pod"}, Params: map[string]string{}}
	}
	return connector.Request{Asset: finding.Asset{UID: "k8s:prod:ServiceAccount/build/bot", Type: "service-account"},
		Params: map[string]string{"binding": "ClusterRoleBinding/" + b.Binding, "risky": "list secrets shop, get secrets/db shop", "needs": "list configmaps build"}}
}

// State implements connectortest.Bench: subjects, labels and policies.
func (b *KubernetesBench) State() string {
	b.t.Helper()
	crb := b.k.Do(b.t, http.MethodGet, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/"+b.Binding, nil)
	pod := b.k.Do(b.t, http.MethodGet, "/api/v1/namespaces/shop/pods/"+b.Pod, nil)
	var specs []any
	if all, ok := b.k.Do(b.t, http.MethodGet, "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", nil)["items"].([]any); ok {
		for _, p := range all {
			if m, ok := p.(map[string]any); ok {
				specs = append(specs, m["spec"])
			}
		}
	}
	meta, ok := pod["metadata"].(map[string]any)
	if !ok {
		b.t.Fatal("the pod has no metadata")
	}
	text, err := json.Marshal([]any{crb["subjects"], meta["labels"], specs})
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *KubernetesBench) all() string {
	b.t.Helper()
	text, err := os.ReadFile(b.k.audit)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// Log implements connectortest.Bench: the API server's audit log.
func (b *KubernetesBench) Log() string { return b.all()[b.from:] }

// Changes implements connectortest.Bench: how often the most frequent change
// was made (not only tried). A quarantine is two different ones.
func (b *KubernetesBench) Changes() int {
	n := map[string]int{}
	for line := range strings.Lines(b.Log()) {
		var e struct {
			Verb       string `json:"verb"`
			RequestURI string `json:"requestURI"`
			UserAgent  string `json:"userAgent"`
			Status     struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.t.Fatal(err)
		}
		if strings.Contains(e.UserAgent, "casement/") && !strings.Contains(e.RequestURI, "dryRun") && !strings.Contains(e.RequestURI, "accessreviews") && e.Status.Code < 300 {
			n[e.Verb+" "+e.RequestURI]++
		}
	}
	return slices.Max(append(slices.Collect(maps.Values(n)), 0))
}

// Drift implements connectortest.Bench: a colleague changes both objects.
func (b *KubernetesBench) Drift() {
	b.t.Helper()
	b.drifts++
	path := "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/" + b.Binding
	now, ok := b.k.Do(b.t, http.MethodGet, path, nil)["subjects"].([]any)
	if !ok {
		b.t.Fatal("no subjects")
	}
	now = append(now, map[string]any{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": fmt.Sprint("colleague", b.drifts)})
	b.k.Do(b.t, http.MethodPatch, path, map[string]any{"subjects": now})
	b.k.Do(b.t, http.MethodPatch, "/api/v1/namespaces/shop/pods/"+b.Pod, map[string]any{"metadata": map[string]any{"labels": map[string]string{"touched": fmt.Sprint(b.drifts)}}})
}

// Fault implements connectortest.Bench.
func (b *KubernetesBench) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }
