package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
)

// The canary test gives a real `casement serve` one distinct secret at each
// way in, lets it work, and looks for them everywhere it writes. The last
// canary is planted where it has to be found, so that the search is known to
// find what is there.

// canary is one secret and how it comes in.
type canary struct{ way, token string }

func canaries() []canary {
	var out []canary
	for i, way := range []string{"header", "query", "body", "unreadable body", "snippet", "connector error", "environment", "redirect"} {
		out = append(out, canary{way, fmt.Sprintf("canary%dq7Zk9Xw2Lr5Tn8Vb3", i)})
	}
	return out
}

// planted is in a title: it belongs into pages, store and ledger.
const planted = "plantedH4Jd6Gs1Pf0Yc"

func token(way string) string {
	cs := canaries()
	return cs[slices.IndexFunc(cs, func(c canary) bool { return c.way == way })].token
}

// forms are the ways a secret could be written, in base64 at any place of a
// longer text.
func forms(token string) []string {
	out := []string{token, strings.ToUpper(token), hex.EncodeToString([]byte(token)), url.QueryEscape(token)}
	for before := range 3 {
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + token))
		out = append(out, b[4:len(b)-4])
	}
	return out
}

const canaryConfig = `server: {listen: "127.0.0.1:0", metrics: true}
log: {level: debug}
policy: {dir: policy}
connectors:
  fails:
    kind: webhook
    params:
      url: TARGET/act
      state: {url: "TARGET/fails?asset={asset}", path: state, exposed: [open], not_exposed: [closed]}
    secrets: {signing: "env:CANARY_SIGNING", state_token: "env:CANARY_ENVIRONMENT"}
    allow: [127.0.0.0/8]
  redirects:
    kind: webhook
    params:
      url: TARGET/act
      state: {url: "TARGET/redirects?asset={asset}", path: state, exposed: [open], not_exposed: [closed]}
    secrets: {signing: "env:CANARY_SIGNING", state_token: "env:CANARY_ENVIRONMENT"}
    allow: [127.0.0.0/8]
`

const canaryPolicy = `kind: playbooks
playbooks:
  - {name: fails, description: A probe that fails., probe: fails/state, grade: P2, fix: [{name: close, do: fails/call, auth: approve}]}
  - {name: redirects, description: A probe that is sent elsewhere., probe: redirects/state, grade: P2, fix: [{name: close, do: redirects/call, auth: approve}]}
---
kind: rules
mode: approve
rules:
  - {name: fails, when: class == "storage.public", class: K2, playbook: fails, ticket: true, why: Anyone can read it.}
  - {name: redirects, when: class == "network.world-open", class: K2, playbook: redirects, ticket: true, why: Anyone can reach it.}
---
kind: routes
routes:
  - name: all
    tickets:
      - {system: tracker, template: plain, project: canary}
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}"}
`

// serving is the process under test.
type serving struct {
	cmd  *exec.Cmd
	dir  string
	at   app.Address
	logs *lockedBuffer
}

// lockedBuffer is written by the process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t *testing.T, target string) *serving {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "casement")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/casement/casement/cmd/casement").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, text := range map[string]string{"casement.yaml": strings.ReplaceAll(canaryConfig, "TARGET", target), "policy/policy.yaml": canaryPolicy} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &serving{dir: filepath.Join(dir, "casement-data"), logs: &lockedBuffer{}}
	s.cmd = exec.Command(bin, "serve")
	s.cmd.Dir = dir
	s.cmd.Env = append(os.Environ(), "CANARY_ENVIRONMENT="+token("environment"), "CANARY_SIGNING="+killSecret)
	s.cmd.Stdout, s.cmd.Stderr = s.logs, s.logs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	eventually(t, "the server answers\n"+s.logs.String(), func() bool {
		b, err := os.ReadFile(filepath.Join(s.dir, app.AddressFile))
		return err == nil && json.Unmarshal(b, &s.at) == nil
	})
	return s
}

// eventually asks another process again and again; there is no signal of it to
// wait for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not seen: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// send makes a request as the operator; with hidden as well in a header and the
// query.
func (s *serving) send(t *testing.T, method, path, body string, hidden bool) string {
	t.Helper()
	u := s.at.URL + path
	if hidden {
		u += "?access_token=" + token("query")
	}
	r, err := http.NewRequest(method, u, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.at.Token)
	if hidden {
		r.Header.Set("X-Api-Key", token("header"))
		r.Header.Set("Cookie", "session="+token("header"))
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + "\n" + string(b)
}

func TestCanary(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fails": // echoes what it was sent, as servers do
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "denied: key %s of %s", token("connector error"), r.Header.Get("Authorization"))
		case "/redirects":
			http.Redirect(w, r, "/elsewhere?token="+token("redirect"), http.StatusFound)
		}
	}))
	defer target.Close()
	s := serve(t, target.URL)
	alert := func(id, class, title, extra string) string {
		return fmt.Sprintf(`{"source":"canary","native_id":%q,"title":%q,"class":%q,"severity":"high","asset":{"uid":"asset-%s","type":"bucket"}%s}`+"\n", id, title, class, id, extra)
	}
	answers := ""
	for _, body := range []string{
		alert("1", "storage.public", "bucket is public "+planted, ""),
		alert("2", "network.world-open", "port is open", ""),
		canaryGitHub(token("body")),
		canarySARIF(token("snippet")),
		`{"broken": "` + token("unreadable body") + `", `,
		"AKIA " + token("unreadable body") + " is no alert",
	} {
		answers += s.send(t, "POST", "/api/v1/alerts", body, true)
	}
	eventually(t, "the probes ran and the tickets are open\n"+answers, func() bool {
		out := s.send(t, "GET", "/api/v1/health", "", false)
		var h struct {
			Cases map[string]int `json:"cases"`
		}
		_, body, _ := strings.Cut(out, "\n")
		return json.Unmarshal([]byte(body), &h) == nil && h.Cases["held"] >= 2
	})
	for _, path := range []string{"/cases", "/api/v1/cases", "/", "/nothing-here", "/api/v1/nothing", "/hooks/unknown"} {
		s.send(t, "GET", path, "", true)
		s.send(t, "POST", path, token("body"), true)
	}
	places := s.places(t)
	places["answers to senders"] = []byte(answers)
	for _, c := range canaries() {
		for name, b := range places {
			for _, f := range forms(c.token) {
				if i := bytes.Index(b, []byte(f)); i >= 0 {
					t.Errorf("the secret from the %s is in %s: …%q…", c.way, name, b[max(0, i-120):min(len(b), i+60)])
				}
			}
		}
	}
	// The search finds what is there.
	for _, name := range []string{"casement.db", "API", "page", "ledger export"} {
		if !found(places, name, planted) {
			t.Errorf("the planted canary was not found in %s: the search is blind: %.400s", name, places[name])
		}
	}
	for name, word := range map[string]string{"argv": "serve", "metrics": "casement_cases", "log": "Casement is running"} {
		if !found(places, name, word) {
			t.Errorf("%q was not found in %s: the search is blind", word, name)
		}
	}
}

// found reports whether a place whose name contains word holds the text.
func found(places map[string][]byte, word, text string) bool {
	for name, b := range places {
		if strings.Contains(name, word) && slices.ContainsFunc(forms(text), func(f string) bool { return bytes.Contains(b, []byte(f)) }) {
			return true
		}
	}
	return false
}

// places reads everything the process shows or keeps.
func (s *serving) places(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	var list struct {
		Cases []struct {
			ID string `json:"id"`
		} `json:"cases"`
	}
	_, body, _ := strings.Cut(s.send(t, "GET", "/api/v1/cases", "", false), "\n")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Cases) < 4 {
		t.Fatalf("cases: %v in %s", err, body)
	}
	pages := []string{"/cases", "/approvals", "/"}
	calls := []string{"/api/v1/cases", "/api/v1/approvals", "/api/v1/pauses", "/api/v1/exceptions", "/api/v1/health", "/api/v1/users", "/api/v1/tokens"}
	for _, c := range list.Cases {
		pages = append(pages, "/cases/"+c.ID)
		calls = append(calls, "/api/v1/cases/"+c.ID, "/api/v1/cases/"+c.ID+"/timeline")
	}
	for _, p := range pages {
		out["page "+p] = []byte(s.send(t, "GET", p, "", false))
	}
	for _, p := range calls {
		out["API "+p] = []byte(s.send(t, "GET", p, "", false))
	}
	out["ledger export"] = []byte(s.send(t, "GET", "/api/v1/ledger/export", "", false))
	out["metrics"] = []byte(s.send(t, "GET", "/metrics", "", false))
	if runtime.GOOS == "linux" {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		out["argv"] = b
	} else {
		out["argv"] = []byte(strings.Join(s.cmd.Args, "\x00"))
	}
	// While it runs: the database with its log; then stopped: what stays.
	s.files(t, "running: ", out)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	s.files(t, "stopped: ", out)
	out["log"] = []byte(s.logs.String())
	return out
}

func (s *serving) files(t *testing.T, when string, out map[string][]byte) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[when+e.Name()] = b
	}
}

// canaryGitHub is a secret scanning alert that carries the secret.
func canaryGitHub(secret string) string {
	return fmt.Sprintf(`{"action":"created","alert":{"number":7,"created_at":"2026-11-01T10:00:00Z","state":"open","secret_type":"aws_access_key","secret_type_display_name":"AWS key","secret":%q,
		"url":"https://api.github.com/repos/acme/shop/secret-scanning/alerts/7","html_url":"https://github.com/acme/shop/security/secret-scanning/7","locations_url":"https://api.github.com/repos/acme/shop/secret-scanning/alerts/7/locations"},
		"repository":{"id":1,"name":"shop","full_name":"acme/shop","html_url":"https://github.com/acme/shop","owner":{"login":"acme"},"private":true},"sender":{"login":"octo"}}`, secret)
}

// canarySARIF is a leaked secret whose snippet and message hold it.
func canarySARIF(secret string) string {
	return fmt.Sprintf(`{"version":"2.1.0","$schema":"https://json.schemastore.org/sarif-2.1.0.json","runs":[{"tool":{"driver":{"name":"gitleaks","rules":[{"id":"aws-access-token"}]}},
		"results":[{"ruleId":"aws-access-token","message":{"text":"aws-access-token has detected secret for file main.go."},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"main.go"},
		"region":{"startLine":3,"snippet":{"text":%q}}}}]}]}]}`, "key = "+secret)
}
