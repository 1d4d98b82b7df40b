package targets

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/need"
)

// Receiver is a receiver of webhooks in a process of its own, which checks
// signatures with its own code, acts once per webhook-id and writes down what
// arrives.
type Receiver struct {
	addr, log string
	n         int
}

// receiverSigning is the signing secret; it holds the canary in its base64 form.
func receiverSigning() string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(connectortest.Canary+"-0123456789"))
}

// StartReceiver serves it until the test ends.
func StartReceiver(t testing.TB) *Receiver {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		need.Missing(t, "node is not installed: %v", err)
	}
	script := connectortest.Script(t, "receiver.mjs")
	r := &Receiver{log: filepath.Join(t.TempDir(), "arrivals.jsonl")}
	if err := os.WriteFile(r.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.addr = connectortest.Serve(t, node, func(addr string) []string { return []string{script, addr, r.log} },
		"CASEMENT_RECEIVER_SIGNING="+receiverSigning(), "CASEMENT_RECEIVER_STATE="+connectortest.Canary)
	return r
}

// Call is one open asset at the receiver.
type Call struct {
	*Receiver
	t     testing.TB
	asset string
	conn  *webhook.Connector
	proxy *connectortest.Proxy
}

// Bench makes a fresh open asset.
func (r *Receiver) Bench(t testing.TB) *Call {
	t.Helper()
	r.n++
	x := &Call{Receiver: r, t: t, asset: fmt.Sprintf("arn:aws:ec2:eu-west-1:1:instance/i-%d & co", r.n), proxy: connectortest.NewProxyTo(t, "http://"+r.addr)}
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	x.conn, err = webhook.New(webhook.Config{URL: x.proxy.URL + "/act", UndoURL: x.proxy.URL + "/undo", Secrets: []string{receiverSigning()}, HTTP: connector.HTTPOptions{Network: network},
		State: webhook.State{URL: x.proxy.URL + "/state?asset={asset}", Token: connectortest.Canary, Path: "status",
			Exposed: []string{"open", "open by colleague"}, NotExposed: []string{"isolated"}}})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Connector implements connectortest.Bench.
func (x *Call) Connector() connector.Connector { return x.conn }

// Config implements connectortest.Configured.
func (x *Call) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"url": x.proxy.URL + "/act", "undo_url": x.proxy.URL + "/undo", "state": map[string]any{"url": x.proxy.URL + "/state?asset={asset}", "path": "status",
			"exposed": []string{"open", "open by colleague"}, "not_exposed": []string{"isolated"}}},
		map[string]string{"signing": receiverSigning(), "state_token": connectortest.Canary}
}

// Request implements connectortest.Bench.
func (x *Call) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: x.asset}, Params: map[string]string{}}
}

func (x *Call) state(method, body string) string {
	x.t.Helper()
	// The test's context may have ended when a state is read for the last time.
	req, err := http.NewRequestWithContext(context.WithoutCancel(x.t.Context()), method, "http://"+x.addr+"/state?asset="+url.QueryEscape(x.asset), strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+connectortest.Canary)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		x.t.Fatalf("%s of the state: %d %s %v", method, resp.StatusCode, b, err)
	}
	return string(b)
}

// State implements connectortest.Bench.
func (x *Call) State() string { x.t.Helper(); return x.state(http.MethodGet, "") }

// Drift implements connectortest.Bench.
func (x *Call) Drift() { x.t.Helper(); x.state(http.MethodPut, "open by colleague") }

// Log implements connectortest.Bench: the receiver's own lines about the asset.
func (x *Call) Log() string { x.t.Helper(); text, _ := x.arrivals(); return text }

// Changes implements connectortest.Bench: arrivals that were no repeats.
func (x *Call) Changes() int { x.t.Helper(); _, n := x.arrivals(); return n }

func (x *Call) arrivals() (text string, changes int) {
	x.t.Helper()
	b, err := os.ReadFile(x.log)
	if err != nil {
		x.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var a struct {
			Asset  string `json:"asset"`
			Repeat bool   `json:"repeat"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			x.t.Fatalf("%v in %s", err, line)
		}
		if a.Asset != x.asset {
			continue
		}
		text += line
		if !a.Repeat {
			changes++
		}
	}
	return text, changes
}

// Fault implements connectortest.Bench.
func (x *Call) Fault(f connectortest.Fault) <-chan struct{} { return x.proxy.Set(f) }
