package targets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/oauth"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/need"
)

// Provider is a real node-oidc-provider: its introspection and revocation are
// the server's own, the grant route is a thin one over its tokens.
type Provider struct {
	// Addr is host:port.
	Addr string

	log string
}

// StartProvider serves it until the test ends.
func StartProvider(t testing.TB) *Provider {
	t.Helper()
	dir := connectortest.Build(t, "oidc-provider")
	node, err := exec.LookPath("node")
	if err != nil {
		need.Missing(t, "node is not installed: %v", err)
	}
	script := connectortest.Script(t, "oidc-provider/server.mjs")
	p := &Provider{log: filepath.Join(t.TempDir(), "access.log")}
	p.Addr = connectortest.Serve(t, node, func(addr string) []string { return []string{script, dir, addr, p.log} },
		"CASEMENT_OIDC_SECRET="+connectortest.Canary, "CASEMENT_OIDC_ADMIN="+connectortest.Canary)
	return p
}

// call speaks to the server behind the connector's back.
func (p *Provider) call(t testing.TB, method, path, user, secret, body string, out any) {
	t.Helper()
	// The test's context may have ended when a state is read for the last time.
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, "http://"+p.Addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user == "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	} else {
		r.SetBasicAuth(user, secret)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, b, err)
	}
	if err := json.Unmarshal(b, out); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, b)
	}
}

// Integration is one fresh token of the application crm-sync at the server.
type Integration struct {
	*Provider
	t testing.TB
	// Token is its access token.
	Token string
	id    string
	skip  int
	conn  *oauth.Connector
	proxy *connectortest.Proxy
}

const wide = "contacts.read files.all mail.readwrite"

// Integration issues a token that holds more than it needs; resource says
// whether continuity is asked at a resource or by introspection.
func (p *Provider) Integration(t testing.TB, resource bool) *Integration {
	t.Helper()
	x := &Integration{Provider: p, t: t}
	var issued struct {
		Token string `json:"access_token"`
	}
	p.call(t, http.MethodPost, "/token", "crm-sync", "crm-sync-own-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {wide}}.Encode(), &issued)
	sum := sha256.Sum256([]byte(issued.Token))
	x.Token, x.id = issued.Token, hex.EncodeToString(sum[:16])
	x.proxy = connectortest.NewProxyTo(t, "http://"+p.Addr)
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	i := oauth.Integration{Grant: x.id, Token: x.Token, Keep: []string{"contacts.read"}}
	if resource {
		i.ResourceURL = x.proxy.URL + "/resource?scope=contacts.read"
	}
	x.conn, err = oauth.New(oauth.Config{IntrospectURL: x.proxy.URL + "/token/introspection", RevokeURL: x.proxy.URL + "/token/revocation",
		GrantsURL: x.proxy.URL + "/admin/grants", ClientID: "casement", ClientSecret: connectortest.Canary, AdminToken: connectortest.Canary,
		Integrations: map[string]oauth.Integration{"crm-sync": i}, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	x.skip = len(x.whole())
	return x
}

func (x *Integration) whole() string {
	x.t.Helper()
	b, err := os.ReadFile(x.log)
	if err != nil {
		x.t.Fatal(err)
	}
	return string(b)
}

// Connector implements connectortest.Bench.
func (x *Integration) Connector() connector.Connector { return x.conn }

// Config implements connectortest.Configured.
func (x *Integration) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"introspect_url": x.proxy.URL + "/token/introspection", "revoke_url": x.proxy.URL + "/token/revocation", "grants_url": x.proxy.URL + "/admin/grants", "client_id": "casement",
			"integrations": map[string]any{"crm-sync": map[string]any{"grant": x.id, "keep": []string{"contacts.read"}, "token_from": "crm", "resource_url": x.proxy.URL + "/resource?scope=contacts.read"}}},
		map[string]string{"client_secret": connectortest.Canary, "admin_token": connectortest.Canary, "crm": x.Token}
}

// Request implements connectortest.Bench.
func (x *Integration) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "crm-sync", Type: "oauth_app"}, Params: map[string]string{}}
}

// State implements connectortest.Bench.
func (x *Integration) State() string {
	x.t.Helper()
	var s struct {
		Active bool   `json:"active"`
		Scope  string `json:"scope"`
	}
	x.call(x.t, http.MethodPost, "/token/introspection", "casement", connectortest.Canary, url.Values{"token": {x.Token}}.Encode(), &s)
	return fmt.Sprint(s.Active, " ", slices.Sorted(strings.FieldsSeq(s.Scope)))
}

// Changes implements connectortest.Bench: what the server itself logged as a
// change, made for us.
func (x *Integration) Changes() int {
	n := 0
	for line := range strings.Lines(x.Log()) {
		if strings.Contains(line, " changed ") && strings.Contains(line, "casement/1 case/") {
			n++
		}
	}
	return n
}

// Log implements connectortest.Bench.
func (x *Integration) Log() string { return x.whole()[x.skip:] }

// Drift implements connectortest.Bench: a colleague gives the application one more scope.
func (x *Integration) Drift() {
	x.call(x.t, http.MethodPatch, "/admin/grants/"+x.id, "", connectortest.Canary, `{"scope":"`+wide+` admin.all"}`, &struct{}{})
}

// Fault implements connectortest.Bench.
func (x *Integration) Fault(f connectortest.Fault) <-chan struct{} { return x.proxy.Set(f) }
