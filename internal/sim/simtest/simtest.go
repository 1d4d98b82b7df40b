// Package simtest puts each connector that the simulated world has a target for
// before it: a Bench of the conformance suite whose object is in the risky
// state.
//
// It may import sim, the connectors, connectortest and testing.
package simtest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/oauth"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/sim"
)

// Bench is one connector before a target of the world.
type Bench struct {
	w       *sim.World
	scope   string
	conn    connector.Connector
	request connector.Request
	proxy   *connectortest.Proxy
	state   func() string
	drift   func()
	// clock is the time of the target.
	clock *clock
}

// clock starts at the time of the conformance suite.
type clock struct{ now func() time.Time }

// SetClock moves the target to the time of its caller.
func (b *Bench) SetClock(now func() time.Time) { b.clock.now = now }

// Connector implements connectortest.Bench.
func (b *Bench) Connector() connector.Connector { return b.conn }

// Request implements connectortest.Bench.
func (b *Bench) Request(string) connector.Request {
	r := b.request
	r.Params = maps.Clone(r.Params)
	if r.Params == nil {
		r.Params = map[string]string{}
	}
	return r
}

// State implements connectortest.Bench.
func (b *Bench) State() string { return b.state() }

// Changes implements connectortest.Bench.
func (b *Bench) Changes() int { return b.w.Changes(b.scope) }

// Drift implements connectortest.Bench.
func (b *Bench) Drift() { b.drift() }

// Fault implements connectortest.Bench.
func (b *Bench) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }

// Log implements connectortest.Bench.
func (b *Bench) Log() string {
	var s strings.Builder
	for _, e := range b.w.Log() {
		fmt.Fprintf(&s, "%s %s %d %s\n", e.Method, e.Path, e.Status, e.UserAgent)
	}
	return s.String()
}

func whsec(text string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(text)) }

// signingSecret holds the canary in its base64 form.
func signingSecret() string { return whsec(connectortest.Canary + "-0123456789") }

func world(t testing.TB) (*sim.World, *clock) {
	t.Helper()
	c := &clock{connectortest.Now}
	w, err := sim.NewWorld(sim.Options{Now: func() time.Time { return c.now() }, SinkSecrets: []string{whsec("another secret of the sink"), signingSecret()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, c
}

func loopback(t testing.TB) connector.HTTPOptions {
	t.Helper()
	n, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return connector.HTTPOptions{Network: n}
}

// S3 is a public bucket on a server that offers a public access block.
func S3(t testing.TB) connectortest.Bench {
	w, at := world(t)
	b := w.Bucket("customer-files")
	b.Put("invoices/2026 + 1.txt", "hello")
	b.MakePublic()
	p := connectortest.NewProxyTo(t, w.URL(sim.ServiceS3))
	c, err := s3.New(s3.Config{Endpoint: p.URL, AccessKey: sim.S3AccessKey, SecretKey: connectortest.Canary, HTTP: loopback(t)})
	if err != nil {
		t.Fatal(err)
	}
	return &Bench{w: w, clock: at, scope: "s3/customer-files", conn: c, proxy: p, state: b.State,
		request: connector.Request{Asset: finding.Asset{UID: b.ARN()}},
		drift:   func() { b.SetPolicy(b.PublicPolicy("Colleague")) }}
}

// Webhook is an open asset at a receiver that honours webhook-id.
func Webhook(t testing.TB) connectortest.Bench {
	w, at := world(t)
	const asset = "arn:aws:ec2:eu-west-1:1:instance/i-1 & co"
	p := connectortest.NewProxyTo(t, w.URL(sim.ServiceSink))
	c, err := webhook.New(webhook.Config{URL: p.URL + "/act", UndoURL: p.URL + "/undo", Secrets: []string{signingSecret()}, HTTP: loopback(t),
		State: webhook.State{URL: p.URL + "/state?asset={asset}&why={reason}", Token: connectortest.Canary, Path: "status",
			Exposed: []string{"open", "open by colleague"}, NotExposed: []string{"isolated"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &Bench{w: w, clock: at, scope: "sink/" + asset, conn: c, proxy: p,
		state:   func() string { return w.Sink().State(asset) },
		request: connector.Request{Asset: finding.Asset{UID: asset}, Params: map[string]string{"reason": "a/b c"}},
		drift:   func() { w.Sink().Set(asset, "open by colleague") }}
}

// sorted: the order of scopes means nothing (RFC 6749 3.3).
func sorted(scope string) string { return strings.Join(slices.Sorted(strings.FieldsSeq(scope)), " ") }

// OAuth has an integration that holds more than it needs; resource says
// whether continuity is asked at a resource or by introspection.
func OAuth(resource bool) func(testing.TB) connectortest.Bench {
	return func(t testing.TB) connectortest.Bench {
		w, at := world(t)
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
		return &Bench{w: w, clock: at, scope: "oauth/" + g.ID(), conn: c, proxy: p, state: func() string { return sorted(g.Scope()) },
			request: connector.Request{Asset: finding.Asset{UID: "crm-sync", Type: "oauth_app"}},
			drift:   func() { g.SetScope("mail.readwrite contacts.read files.all admin.all") }}
	}
}
