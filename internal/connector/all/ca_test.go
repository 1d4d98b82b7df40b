package all

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/finding"
)

// caller is an entry of one kind and one call of its connector; the call
// returns what it says.
type caller struct {
	entry func(address string) Entry
	call  func(context.Context, *connector.Door) string
}

func plans(verb string, params map[string]string) func(context.Context, *connector.Door) string {
	return func(ctx context.Context, d *connector.Door) string {
		_, err := d.Plan(ctx, verb, connector.Request{CaseID: connectortest.CaseID, Now: connectortest.Now(), Params: params,
			Asset: finding.Asset{UID: "arn:aws:s3:::files", Name: "b"}})
		return said(err)
	}
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func params(kv ...any) map[string]any {
	out := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		out[kv[i].(string)] = kv[i+1]
	}
	return out
}

func callers() map[string]caller {
	secrets := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, n := range names {
			out[n] = connectortest.Canary
		}
		return out
	}
	return map[string]caller{
		"jira": {func(a string) Entry {
			return Entry{Params: params("url", "https://"+a, "project", "SEC"), Secrets: secrets("token")}
		}, func(ctx context.Context, d *connector.Door) string {
			t, _ := d.Tracker()
			_, _, err := t.Status(ctx, "SEC-1")
			return said(err)
		}},
		"kubernetes": {func(a string) Entry { return Entry{Params: params("server", "https://"+a), Secrets: secrets("token")} },
			plans("quarantine", map[string]string{"workload": "Pod/shop/web"})},
		"minio": {func(a string) Entry {
			return Entry{Params: params("endpoint", "https://"+a), Secrets: secrets("access_key", "secret_key")}
		}, plans("disable-key", map[string]string{"key": "LEAKED"})},
		"oauth": {func(a string) Entry {
			return Entry{Params: params("introspect_url", "https://"+a+"/i", "revoke_url", "https://"+a+"/r", "client_id", "c",
				"integrations", params("b", params())), Secrets: secrets("client_secret", "b")}
		}, plans("revoke", map[string]string{"client": "b"})},
		"postgres": {func(a string) Entry {
			return Entry{Params: params("address", a, "user", "casement"), Secrets: secrets("password")}
		}, plans("revoke-login", map[string]string{"role": "nobody-has-it"})},
		"s3": {func(a string) Entry {
			return Entry{Params: params("endpoint", "https://"+a), Secrets: secrets("access_key", "secret_key")}
		}, plans("remove-public-access", nil)},
		"slack": {func(a string) Entry { return Entry{Secrets: map[string]string{"url": "https://" + a + "/x"}} },
			func(ctx context.Context, d *connector.Door) string {
				return said(d.Notify(ctx, connector.Notice{Key: "k", Title: "t", At: connectortest.Now()}))
			}},
		"webhook": {func(a string) Entry {
			return Entry{Params: params("url", "https://"+a+"/act", "state", params("url", "https://"+a+"/state", "exposed", "200", "not_exposed", "204")),
				Secrets: map[string]string{"signing": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
		}, plans("call", nil)},
	}
}

// tlsServer is a server with a certificate of ours for a host; served counts
// the requests that came through its handshake.
func tlsServer(t *testing.T, a *connectortest.Authority, host string) (address string, served *atomic.Int64) {
	served = &atomic.Int64{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		http.Error(w, "no", http.StatusForbidden)
	}))
	s.TLS = a.TLS(t, host)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the test
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), served
}

// TestAuthorityUnread: what is no certificate is told by its key.
func TestAuthorityUnread(t *testing.T) {
	e := callers()["s3"].entry("127.0.0.1:1")
	e.Name, e.Kind, e.Secrets[caName] = "s3", "s3", "/etc/ssl/our-ca.pem"
	if _, faults := Make(e); len(faults) != 1 || faults[0].Key != "secrets.ca" || !strings.Contains(faults[0].Message, "holds no certificate in PEM") {
		t.Errorf("a path in place of a certificate: %+v", faults)
	}
}

// TestPrivateAuthority: every kind that takes a ca refuses a server with a
// certificate of an authority it does not know, says how to mend it, sends
// nothing, and speaks to it once it was given that authority, and no other.
func TestPrivateAuthority(t *testing.T) {
	known := callers()
	for _, k := range Kinds() {
		if !slices.ContainsFunc(k.Secrets, func(s Setting) bool { return s.Name == caName }) {
			continue
		}
		x, ok := known[k.Name]
		delete(known, k.Name)
		if !ok {
			t.Errorf("%s takes a ca and is not tried", k.Name)
			continue
		}
		t.Run(k.Name, func(t *testing.T) { testAuthority(t, k.Name, x) })
	}
	for name := range known {
		t.Errorf("%s is tried and takes no ca", name)
	}
}

func testAuthority(t *testing.T, kind string, x caller) {
	ours, other := connectortest.NewAuthority(t), connectortest.NewAuthority(t)
	address, served := tlsServer(t, ours, "127.0.0.1")
	ca, reached := ours.PEM, func(string) bool { return served.Load() > 0 }
	if kind == "postgres" { // speaks its own protocol before TLS: a real server
		pg := targets.StartPostgreSQL(t)
		address, ca = pg.Addr, pg.CA
		reached = func(text string) bool { return strings.Contains(text, "there is no role nobody-has-it") }
	}
	try := func(address, ca string) string {
		t.Helper()
		e := x.entry(address)
		e.Name, e.Kind, e.Allow = kind, kind, []string{"127.0.0.1"}
		if ca != "" {
			e.Secrets[caName] = ca
		}
		d, faults := Make(e)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return x.call(t.Context(), d)
	}
	for name, pem := range map[string]string{"without a ca": "", "with another's ca": other.PEM} {
		if text := try(address, pem); !strings.Contains(text, "signed by an authority that is not trusted here; give that authority's certificate as the connector's secret ca") || reached(text) {
			t.Errorf("%s it says %q; requests that came through: %d", name, text, served.Load())
		}
	}
	if text := try(address, ca); !reached(text) || strings.Contains(text, "certificate") {
		t.Errorf("with its ca it says %q; requests that came through: %d", text, served.Load())
	}
	if kind == "postgres" {
		return
	}
	wrong, _ := tlsServer(t, ours, "other.example.com")
	if text := try(wrong, ca); !strings.Contains(text, "its certificate is for another name") {
		t.Errorf("with a certificate for another name it says %q", text)
	}
}
