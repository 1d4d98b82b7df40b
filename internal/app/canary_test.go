package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/store"
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

const canaryConfig = `server: {listen: "127.0.0.1:0", metrics: true, pprof: "PPROF"}
log: {level: debug}
policy: {dir: policy}
connectors:
  fails:
    kind: webhook
    params:
      url: TARGET/act
      notify_url: TARGET/fails
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
routes:
  chat: {connector: fails}
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
    notify: [chat]
    tickets:
      - {system: tracker, template: plain, project: canary}
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}"}
`

// serving is the process under test.
type serving struct {
	cmd   *exec.Cmd
	home  string // its working directory
	bin   string
	pprof string // address of the profiles
	dir   string
	at    app.Address
	logs  *lockedBuffer
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
	s := &serving{home: dir, bin: filepath.Join(dir, "casement"), dir: filepath.Join(dir, "casement-data"), logs: &lockedBuffer{}}
	if out, err := exec.Command("go", "build", "-o", s.bin, "github.com/casement/casement/cmd/casement").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.pprof = free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"casement.yaml": strings.NewReplacer("TARGET", target, "PPROF", s.pprof).Replace(canaryConfig), "policy/policy.yaml": canaryPolicy} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t)
	return s
}

// start starts the server on what is in its folder.
func (s *serving) start(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.dir, app.AddressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	cmd := s.command("serve")
	cmd.Stdout, cmd.Stderr = s.logs, s.logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.cmd = cmd
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "the server answers\n"+s.logs.String(), func() bool {
		b, err := os.ReadFile(filepath.Join(s.dir, app.AddressFile))
		return err == nil && json.Unmarshal(b, &s.at) == nil
	})
}

// stop ends the server as a service manager does.
func (s *serving) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
}

// command is the program with the server's configuration and environment.
func (s *serving) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.bin, args...)
	cmd.Dir = s.home
	cmd.Env = append(os.Environ(), "CANARY_ENVIRONMENT="+token("environment"), "CANARY_SIGNING="+killSecret)
	return cmd
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
		for _, name := range []string{"X-Api-Key", "Cookie", "User-Agent", "Referer", "Forwarded", "X-Forwarded-For", "X-Request-Id", "Traceparent", "Tracestate", "Baggage",
			"Accept-Language", "Content-Type", "X-GitHub-Event", "Webhook-Id", "Webhook-Signature", "X-Hub-Signature-256"} {
			r.Header.Set(name, "session="+token("header"))
		}
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

// canaryTarget answers as servers do that say too much, and keeps what it was
// sent, without the credential that is its own.
type canaryTarget struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (c *canaryTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	credential := r.Header.Get("Authorization")
	r.Header.Del("Authorization")
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = r.Write(&c.got) // to memory
	switch r.URL.Path {
	case "/fails": // echoes what it was sent
		w.Header().Set("X-Debug", token("connector error"))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, "denied: key %s of %s", token("connector error"), credential)
	case "/redirects":
		http.Redirect(w, r, "/elsewhere?token="+token("redirect"), http.StatusFound)
	}
}

func (c *canaryTarget) requests() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.got.Bytes())
}

func TestCanary(t *testing.T) {
	told := &canaryTarget{}
	target := httptest.NewServer(told)
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
	for _, path := range []string{"/cases", "/api/v1/cases", "/", "/nothing-here", "/api/v1/nothing", "/hooks/unknown", "/metrics", "/openapi.json", "/login", "/tickets"} {
		answers += s.send(t, "GET", path, "", true)
		answers += s.send(t, "POST", path, token("body"), true)
	}
	places := map[string][]byte{"answers to senders": []byte(answers)}
	s.places(t, "", places)
	s.stop(t)
	s.files(t, "stopped: ", places)
	reason := s.bury(t)
	s.start(t)
	s.places(t, "again: ", places)
	s.stop(t)
	s.files(t, "stopped again: ", places)
	places["log"] = []byte(s.logs.String())
	places["requests to targets"] = told.requests()
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
	for _, name := range []string{"casement.db", "API /api/v1/cases", "page /cases", "page /tickets", "ledger export", "command case", "copy/casement.db", "requests to targets"} {
		if !found(places, name, planted) {
			t.Errorf("the planted canary was not found in %s: the search is blind: %.400s", name, places[name])
		}
	}
	for name, word := range map[string]string{"argv": "serve", "metrics": "casement_cases", "log": "Casement is running", "requests to targets": "Webhook-Id",
		"API /api/v1/dead-letters": reason, "page /cases/": "403", "command deadletter": "dead", "command doctor": "disk", "profile goroutine": "net/http",
		"profile heap": "heap profile", "profile cmdline": "serve", "/raw/": planted, "command case show --raw": "sha256", "command ledger": "verif"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(places)), func(place string) bool {
			return strings.Contains(place, name) && bytes.Contains(places[place], []byte(word))
		}) {
			t.Errorf("%q was not found in %s: the search is blind", word, name)
		}
	}
}

// bury makes a dead letter of the message that its receiver refused, with the
// reason of its last try, as one failure too many does. It returns a word of it.
func (s *serving) bury(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	db, err := store.Open(ctx, s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := db.Now()
	leases, err := db.Claim(ctx, now.Add(24*time.Hour), time.Second, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases {
		effects, err := db.EffectsOf(ctx, l.Row.CaseID, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range effects {
			if e.ID == l.Row.ID && e.LastError != "" {
				if err := db.Bury(ctx, l, now, now.Add(time.Hour), e.LastError); err != nil {
					t.Fatal(err)
				}
				return "403"
			}
		}
	}
	t.Fatalf("none of %d effects failed", len(leases))
	return ""
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
func (s *serving) places(t *testing.T, when string, out map[string][]byte) {
	t.Helper()
	ids := map[string][]string{"cases": s.ids(t, "/api/v1/cases", "cases"), "tickets": s.ids(t, "/api/v1/tickets", "tickets"), "quarantine": s.ids(t, "/api/v1/quarantine", "bodies")}
	if len(ids["cases"]) < 4 || len(ids["tickets"]) < 2 || len(ids["quarantine"]) < 2 {
		t.Fatalf("cases, tickets and quarantined bodies: %v", ids)
	}
	get := func(kind, path string) string {
		text := s.send(t, "GET", path, "", false)
		out[when+kind+" "+path] = []byte(text)
		return text
	}
	// Every call of the API that changes nothing, by the API's own document.
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	_, text, _ := strings.Cut(get("API", "/openapi.json"), "\n")
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Paths) < 10 {
		t.Fatalf("%d paths: %v", len(doc.Paths), err)
	}
	for path, methods := range doc.Paths {
		if _, ok := methods["get"]; !ok || strings.HasSuffix(path, "/events") && !strings.Contains(path, "{") {
			continue
		}
		before, after, inside := strings.Cut(path, "{id}")
		if !inside {
			get("API", path)
			continue
		}
		_, kind, _ := strings.Cut(strings.TrimSuffix(before, "/"), "/api/v1/")
		if len(ids[kind]) == 0 {
			t.Fatalf("no ids for %s", path)
		}
		for _, id := range ids[kind] {
			get("API", before+id+after)
		}
	}
	// Every page, by following links.
	seen, todo := map[string]bool{}, []string{"/", "/cases", "/cases?open=all", "/approvals", "/tickets", "/login", "/setup", "/healthz", "/readyz"}
	for len(todo) > 0 && len(seen) < 300 {
		path := todo[0]
		todo = todo[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		for _, m := range regexp.MustCompile(`(?:href|src|hx-get|action)="(/[^"#]*)"`).FindAllStringSubmatch(get("page", path), -1) {
			if link := html.UnescapeString(m[1]); link != "/events" && !strings.HasPrefix(link, "/assets/") {
				todo = append(todo, link)
			}
		}
	}
	for _, id := range ids["cases"] {
		if !seen["/cases/"+id] {
			t.Errorf("no link leads to case %s", id)
		}
	}
	out[when+"ledger export"] = []byte(s.send(t, "GET", "/api/v1/ledger/export", "", false))
	out[when+"metrics"] = []byte(s.send(t, "GET", "/metrics", "", false))
	for _, p := range []string{"cmdline", "goroutine?debug=2", "heap?debug=1", "allocs?debug=1", "block?debug=1", "mutex?debug=1", "threadcreate?debug=1", ""} {
		resp, err := http.Get("http://" + s.pprof + "/debug/pprof/" + p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("profile %s: %s %v", p, resp.Status, err)
		}
		out[when+"profile "+p] = b
	}
	id := ids["cases"][len(ids["cases"])-1]
	for _, args := range []string{"case list --open all", "case list -o json", "quarantine list -o json", "quarantine show " + ids["quarantine"][0], "quarantine show " + ids["quarantine"][1], "report", "case show " + id, "case show --raw " + id, "case timeline " + id, "approval list", "deadletter list", "deadletter list -o json",
		"exception list", "user list", "token list", "ledger verify", "ledger export", "doctor", "config show", "config validate", "version", "backup " + when + "copy"} {
		args = strings.ReplaceAll(args, ": ", "-")
		b, err := s.command(strings.Fields(args)...).CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatalf("%s: %v", args, err)
		}
		out[when+"command "+args] = b
	}
	if runtime.GOOS == "linux" {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		out[when+"argv"] = b
	} else {
		out[when+"argv"] = []byte(strings.Join(s.cmd.Args, "\x00"))
	}
	s.files(t, when+"running: ", out) // the database with its log
}

// ids lists the ids of what a path of the API lists under name.
func (s *serving) ids(t *testing.T, path, name string) []string {
	t.Helper()
	var list map[string]json.RawMessage
	var rows []struct {
		ID any `json:"id"`
	}
	_, body, _ := strings.Cut(s.send(t, "GET", path, "", false), "\n")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
	if err := json.Unmarshal(list[name], &rows); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprint(r.ID))
	}
	return out
}

func (s *serving) files(t *testing.T, when string, out map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(s.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path == s.bin {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a file that was only there for a moment
		}
		out[when+strings.TrimPrefix(path, s.home+"/")] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
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
