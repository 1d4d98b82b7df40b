package oauth_test

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
	"github.com/casement/casement/internal/remedy"
)

// provider is a real node-oidc-provider: its introspection and revocation are
// the server's own, the grant route is a thin one over its tokens.
type provider struct {
	addr, log string
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	dir := connectortest.Build(t, "oidc-provider")
	node, err := exec.LookPath("node")
	if err != nil {
		connectortest.Missing(t, "node is not installed: %v", err)
	}
	script, err := filepath.Abs("../../../scripts/targets/oidc-provider/server.mjs")
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{log: filepath.Join(t.TempDir(), "access.log")}
	p.addr = connectortest.Serve(t, node, func(addr string) []string { return []string{script, dir, addr, p.log} },
		"CASEMENT_OIDC_SECRET="+connectortest.Canary, "CASEMENT_OIDC_ADMIN="+connectortest.Canary)
	return p
}

// call speaks to the server behind the connector's back.
func (p *provider) call(t testing.TB, method, path, user, secret, body string, out any) {
	t.Helper()
	// The test's context may have ended when a state is read for the last time.
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, "http://"+p.addr+path, strings.NewReader(body))
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

// integration is one fresh token of the application crm-sync at the server.
type integration struct {
	*provider
	t     testing.TB
	token string
	id    string
	skip  int
	conn  *oauth.Connector
	proxy *connectortest.Proxy
}

const wide = "contacts.read files.all mail.readwrite"

func (p *provider) integration(t testing.TB, resource bool) *integration {
	t.Helper()
	x := &integration{provider: p, t: t}
	var issued struct {
		Token string `json:"access_token"`
	}
	p.call(t, http.MethodPost, "/token", "crm-sync", "crm-sync-own-secret", url.Values{"grant_type": {"client_credentials"}, "scope": {wide}}.Encode(), &issued)
	sum := sha256.Sum256([]byte(issued.Token))
	x.token, x.id = issued.Token, hex.EncodeToString(sum[:16])
	x.proxy = connectortest.NewProxyTo(t, "http://"+p.addr)
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	i := oauth.Integration{Grant: x.id, Token: x.token, Keep: []string{"contacts.read"}}
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

func (x *integration) whole() string {
	x.t.Helper()
	b, err := os.ReadFile(x.log)
	if err != nil {
		x.t.Fatal(err)
	}
	return string(b)
}

func (x *integration) Connector() connector.Connector { return x.conn }

func (x *integration) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "crm-sync", Type: "oauth_app"}, Params: map[string]string{}}
}

func (x *integration) State() string {
	x.t.Helper()
	var s struct {
		Active bool   `json:"active"`
		Scope  string `json:"scope"`
	}
	x.call(x.t, http.MethodPost, "/token/introspection", "casement", connectortest.Canary, url.Values{"token": {x.token}}.Encode(), &s)
	return fmt.Sprint(s.Active, " ", slices.Sorted(strings.FieldsSeq(s.Scope)))
}

// Changes counts what the server itself logged as a change, made for us.
func (x *integration) Changes() int {
	n := 0
	for line := range strings.Lines(x.Log()) {
		if strings.Contains(line, " changed ") && strings.Contains(line, connectortest.CaseID) {
			n++
		}
	}
	return n
}

func (x *integration) Log() string { return x.whole()[x.skip:] }

// Drift: a colleague gives the application one more scope.
func (x *integration) Drift() {
	x.call(x.t, http.MethodPatch, "/admin/grants/"+x.id, "", connectortest.Canary, `{"scope":"`+wide+` admin.all"}`, &struct{}{})
}

func (x *integration) Fault(f connectortest.Fault) <-chan struct{} { return x.proxy.Set(f) }

// TestOIDCProvider runs the conformance suite at a real OAuth server, with the
// continuity probe by introspection and at a resource that checks the scope.
func TestOIDCProvider(t *testing.T) {
	p := startProvider(t)
	for name, resource := range map[string]bool{"introspection": false, "resource": true} {
		t.Run(name, func(t *testing.T) {
			connectortest.Run(t, func(t testing.TB) connectortest.Bench { return p.integration(t, resource) })
		})
	}
	t.Run("the lower scope still works", p.testLowered)
}

// testLowered walks the whole action at the real server: exposed, lowered, not
// exposed, the kept scope still answered, the taken one refused, and back.
func (p *provider) testLowered(t *testing.T) {
	x := p.integration(t, true)
	d := connector.Stack(x.conn, connector.Options{})
	r := x.Request("")
	r.CaseID, r.Key, r.Now = connectortest.CaseID, "k1", connectortest.Now()
	sees := func(verb string, want remedy.Result) {
		t.Helper()
		if o, err := d.Probe(t.Context(), verb, r); err != nil || o.Result != want {
			t.Fatalf("%s: %+v %v, want %s", verb, o, err, want)
		}
	}
	answers := func(scope string, want int) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.addr+"/resource?scope="+scope, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+x.token)
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("the resource answers %d for %s, want %d", resp.StatusCode, scope, want)
		}
	}
	sees(oauth.VerbIntrospect, remedy.Exposed)
	answers("files.all", http.StatusOK)
	plan, err := d.Plan(t.Context(), oauth.VerbReduce, r)
	if err != nil {
		t.Fatal(err)
	}
	if want := "- take: files.all, mail.readwrite\n- keep: contacts.read"; !strings.Contains(plan.Text, want) {
		t.Errorf("the plan reads\n%s\nwant\n%s", plan.Text, want)
	}
	r.Plan = connector.Seal(plan, "oauth", oauth.VerbReduce, r, r.Now)
	o, err := d.Act(t.Context(), oauth.VerbReduce, r)
	if err != nil {
		t.Fatal(err)
	}
	sees(oauth.VerbIntrospect, remedy.NotExposed)
	sees(oauth.VerbWorks, remedy.NotExposed)
	answers("contacts.read", http.StatusOK)
	answers("files.all", http.StatusForbidden)
	r.UndoHandle = o.UndoHandle
	if _, err := d.Undo(t.Context(), oauth.VerbReduce, r); err != nil {
		t.Fatal(err)
	}
	answers("files.all", http.StatusOK)
	if strings.Contains(x.Log(), x.token) {
		t.Error("the token is in the server's log of addresses")
	}
}
