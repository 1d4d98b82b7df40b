package oauth_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/oauth"
	"github.com/casement/casement/internal/remedy"
)

// TestOIDCProvider runs the conformance suite at a real OAuth server, with the
// continuity probe by introspection and at a resource that checks the scope.
func TestOIDCProvider(t *testing.T) {
	p := targets.StartProvider(t)
	for name, resource := range map[string]bool{"introspection": false, "resource": true} {
		t.Run(name, func(t *testing.T) {
			connectortest.Run(t, func(t testing.TB) connectortest.Bench { return p.Integration(t, resource) })
		})
	}
	t.Run("a revoked token is refused", func(t *testing.T) { testRevoked(t, p) })
	t.Run("the lower scope still works", func(t *testing.T) { testLowered(t, p) })
}

// testLowered walks the whole action at the real server: exposed, lowered, not
// exposed, the kept scope still answered, the taken one refused, and back.
func testLowered(t *testing.T, p *targets.Provider) {
	x := p.Integration(t, true)
	d := connector.Stack(x.Connector(), connector.Options{})
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
		if got := resource(t, p, x, scope); got != want {
			t.Errorf("the resource answers %d for %s, want %d", got, scope, want)
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
	if strings.Contains(x.Log(), x.Token) {
		t.Error("the token is in the server's log of addresses")
	}
}

// resource uses the integration's token at the resource server and returns the
// status of its answer.
func resource(t *testing.T, p *targets.Provider, x *targets.Integration, scope string) int {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.Addr+"/resource?scope="+scope, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+x.Token)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// testRevoked: after a revocation by RFC 7009 the server's introspection (RFC
// 7662) says inactive, the resource refuses the token, and continuity says that
// the integration stopped.
func testRevoked(t *testing.T, p *targets.Provider) {
	x := p.Integration(t, true)
	d := connector.Stack(x.Connector(), connector.Options{})
	r := x.Request("")
	r.CaseID, r.Key, r.Now = connectortest.CaseID, "k1", connectortest.Now()
	if got := resource(t, p, x, "files.all"); got != http.StatusOK {
		t.Fatalf("before: the resource answers %d", got)
	}
	plan, err := d.Plan(t.Context(), oauth.VerbRevoke, r)
	if err != nil {
		t.Fatal(err)
	}
	r.Plan = connector.Seal(plan, "oauth", oauth.VerbRevoke, r, r.Now)
	if _, err := d.Act(t.Context(), oauth.VerbRevoke, r); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Probe(t.Context(), oauth.VerbIntrospect, r); err != nil || o.Result != remedy.NotExposed || !strings.Contains(o.Detail, "is not active") {
		t.Errorf("introspection: %+v %v", o, err)
	}
	for _, scope := range []string{"files.all", "contacts.read"} {
		if got := resource(t, p, x, scope); got != http.StatusUnauthorized {
			t.Errorf("the resource answers %d for %s", got, scope)
		}
	}
	if o, err := d.Probe(t.Context(), oauth.VerbWorks, r); err != nil || o.Result != remedy.Exposed {
		t.Errorf("continuity: %+v %v", o, err)
	}
	if _, err := d.Undo(t.Context(), oauth.VerbRevoke, r); err == nil || !strings.Contains(err.Error(), "no way back") {
		t.Errorf("undo: %v", err)
	}
}
