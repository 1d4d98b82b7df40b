package sim_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/oauth"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/sim"
)

// bench is one connector before a target of the world.
type bench struct {
	t       testing.TB
	w       *sim.World
	scope   string
	conn    connector.Connector
	request connector.Request
	proxy   *connectortest.Proxy
	state   func() string
	drift   func()
}

func (b *bench) Connector() connector.Connector { return b.conn }

func (b *bench) Request(string) connector.Request {
	r := b.request
	r.Params = map[string]string{}
	for k, v := range b.request.Params {
		r.Params[k] = v
	}
	return r
}

func (b *bench) State() string                               { return b.state() }
func (b *bench) Changes() int                                { return b.w.Changes(b.scope) }
func (b *bench) Drift()                                      { b.drift() }
func (b *bench) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }

func (b *bench) Log() string {
	var s strings.Builder
	for _, e := range b.w.Log() {
		fmt.Fprintf(&s, "%s %s %d %s\n", e.Method, e.Path, e.Status, e.UserAgent)
	}
	return s.String()
}

func whsec(text string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(text)) }

// signingSecret holds the canary in its base64 form.
func signingSecret() string { return whsec(connectortest.Canary + "-0123456789") }

func world(t testing.TB) *sim.World {
	t.Helper()
	w, err := sim.NewWorld(sim.Options{Now: connectortest.Now, SinkSecrets: []string{whsec("another secret of the sink"), signingSecret()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func loopback(t testing.TB) connector.HTTPOptions {
	t.Helper()
	n, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return connector.HTTPOptions{Network: n}
}

func s3Bench(t testing.TB) connectortest.Bench {
	w := world(t)
	b := w.Bucket("customer-files")
	b.Put("invoices/2026 + 1.txt", "hello")
	b.MakePublic()
	p := connectortest.NewProxyTo(t, w.URL(sim.ServiceS3))
	c, err := s3.New(s3.Config{Endpoint: p.URL, AccessKey: sim.S3AccessKey, SecretKey: connectortest.Canary, HTTP: loopback(t)})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, w: w, scope: "s3/customer-files", conn: c, proxy: p, state: b.State,
		request: connector.Request{Asset: finding.Asset{UID: b.ARN()}},
		drift:   func() { b.SetPolicy(b.PublicPolicy("Colleague")) }}
}

func TestS3(t *testing.T) { connectortest.Run(t, s3Bench) }

func webhookBench(t testing.TB) connectortest.Bench {
	w := world(t)
	const asset = "arn:aws:ec2:eu-west-1:1:instance/i-1 & co"
	p := connectortest.NewProxyTo(t, w.URL(sim.ServiceSink))
	c, err := webhook.New(webhook.Config{URL: p.URL + "/act", UndoURL: p.URL + "/undo", Secrets: []string{signingSecret()}, HTTP: loopback(t),
		State: webhook.State{URL: p.URL + "/state?asset={asset}&why={reason}", Token: connectortest.Canary, Path: "status",
			Exposed: []string{"open", "open by colleague"}, NotExposed: []string{"isolated"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, w: w, scope: "sink/" + asset, conn: c, proxy: p,
		state:   func() string { return w.Sink().State(asset) },
		request: connector.Request{Asset: finding.Asset{UID: asset}, Params: map[string]string{"reason": "a/b c"}},
		drift:   func() { w.Sink().Set(asset, "open by colleague") }}
}

func TestWebhook(t *testing.T) { connectortest.Run(t, webhookBench) }

// sorted: the order of scopes means nothing (RFC 6749 3.3).
func sorted(scope string) string { return strings.Join(slices.Sorted(strings.FieldsSeq(scope)), " ") }

// oauthBench has an integration that holds more than it needs; resource says
// whether continuity is asked at a resource or by introspection.
func oauthBench(resource bool) func(testing.TB) connectortest.Bench {
	return func(t testing.TB) connectortest.Bench {
		w := world(t)
		g := w.Grant("grant 7", "crm-sync", "mail.readwrite contacts.read files.all")
		g.SetToken(connectortest.Canary)
		p := connectortest.NewProxyTo(t, w.URL(sim.ServiceOAuth))
		i := oauth.Integration{Grant: g.ID(), Token: connectortest.Canary, Keep: []string{"contacts.read"}}
		if resource {
			i.ResourceURL = p.URL + "/resource?scope=contacts.read"
		}
		c, err := oauth.New(oauth.Config{IntrospectURL: p.URL + "/introspect", RevokeURL: p.URL + "/revoke", GrantsURL: p.URL + "/grants/",
			ClientID: sim.OAuthClientID, ClientSecret: sim.OAuthClientSecret, AdminToken: sim.OAuthAdminToken,
			Integrations: map[string]oauth.Integration{"crm-sync": i}, HTTP: loopback(t)})
		if err != nil {
			t.Fatal(err)
		}
		return &bench{t: t, w: w, scope: "oauth/" + g.ID(), conn: c, proxy: p, state: func() string { return sorted(g.Scope()) },
			request: connector.Request{Asset: finding.Asset{UID: "crm-sync", Type: "oauth_app"}},
			drift:   func() { g.SetScope("mail.readwrite contacts.read files.all admin.all") }}
	}
}

func TestOAuth(t *testing.T)         { connectortest.Run(t, oauthBench(false)) }
func TestOAuthResource(t *testing.T) { connectortest.Run(t, oauthBench(true)) }
