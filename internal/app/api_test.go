package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/policy/policytest"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// site is an install that is called without a network; it was not started.
type site struct {
	t        *testing.T
	app      *app.App
	tokens   map[string]string
	sessions map[string]*http.Cookie
}

const sitePassword = "correct horse battery staple"

// people of a site by login name.
func sitePeople() map[string]auth.Role {
	return map[string]auth.Role{"vic": auth.RoleViewer, "lee": auth.RoleResponder, "dana": auth.RoleApprover, "mara": auth.RoleAdmin, "feed": auth.RoleSource}
}

func newSite(t *testing.T, cfg app.Config) *site {
	t.Helper()
	cfg.DataDir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	if cfg.Policy == nil { // the shipped one names what the shipped connectors do
		env := policytest.Environment()
		cfg.Environment = &env
	}
	a, err := app.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s := &site{t: t, app: a, tokens: map[string]string{}, sessions: map[string]*http.Cookie{}}
	ctx, by := context.Background(), remedy.Actor{Kind: remedy.Person, ID: "local-admin"}
	for name, role := range sitePeople() {
		hash, err := auth.HashPassword(sitePassword, auth.PasswordParams{Memory: 64, Passes: 1, Lanes: 1}) // cheap: the cost is not tested here
		if err != nil {
			t.Fatal(err)
		}
		u := store.User{ID: "u-" + name, Tenant: a.Tenant(), Name: name, Roles: []string{string(role)}, PasswordHash: hash, CreatedAt: time.Now().UTC()}
		if err := a.Store.PutUser(ctx, u); err != nil {
			t.Fatal(err)
		}
		if s.tokens[name], _, err = a.Auth.IssueToken(ctx, by, a.Tenant(), u.ID, "test", []auth.Role{role}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// do sends a request as somebody: a login name, "token:NAME", or "".
func (s *site) do(who, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if name, ok := strings.CutPrefix(who, "token:"); ok {
		r.Header.Set("Authorization", "Bearer "+s.tokens[name])
	} else if who != "" {
		r.AddCookie(s.session(who))
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	s.app.Handler.ServeHTTP(rec, r)
	return rec
}

// session signs a person in once.
func (s *site) session(name string) *http.Cookie {
	s.t.Helper()
	if c := s.sessions[name]; c != nil {
		return c
	}
	r := httptest.NewRequest("POST", "/login", strings.NewReader("name="+name+"&password="+strings.ReplaceAll(sitePassword, " ", "+")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = name + ":1" // the limit of attempts counts per address
	rec := httptest.NewRecorder()
	s.app.Handler.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if c.Name == auth.CookieName {
			s.sessions[name] = c
			return c
		}
	}
	s.t.Fatalf("login of %s: %d %s", name, rec.Code, rec.Body)
	return nil
}

// want sends a request, demands a status and decodes the answer.
func (s *site) want(status int, who, method, path, body string, out any, headers ...string) {
	s.t.Helper()
	rec := s.do(who, method, path, body, headers...)
	if rec.Code != status {
		s.t.Fatalf("%s %s as %q: status %d, want %d: %s", method, path, who, rec.Code, status, rec.Body)
	}
	if out != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, rec.Body)
		}
	}
}

// problem is an error as the API tells it.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// TestEveryRouteByRole asks for every route of an install as everybody, by
// session and by token: exactly those whose role grants the permission of the
// route's line get past it.
func TestEveryRouteByRole(t *testing.T) { onBothURLs(t, everyRouteByRole) }

func everyRouteByRole(t *testing.T, database string) {
	s := newSite(t, app.Config{Database: database})
	routes := s.app.Routes()
	if len(routes) < 60 {
		t.Fatalf("only %d routes: the table is not what is served", len(routes))
	}
	fill := strings.NewReplacer("{id}", "none", "{action}", "e1.1", "{verb}", "ack", "{hash}", "x", "{name}", "x", "{source}", "none", "{$}", "")
	seen := map[string]bool{}
	for _, rt := range routes {
		line := rt.Method + " " + rt.Pattern
		if seen[line] {
			t.Errorf("%s stands twice in the table", line)
		}
		seen[line] = true
		switch rt.Pattern {
		case "/events", "/logout", "/login": // a stream without end; ends the session; refuses by password
			continue
		case "/hooks/{source}": // refuses by signature, whoever asks
			if rec := s.do("mara", rt.Method, "/hooks/none", "{}"); rec.Code != http.StatusUnauthorized && rec.Code != http.StatusNotFound {
				t.Errorf("a hook without a signature: status %d", rec.Code)
			}
			continue
		}
		for name, role := range map[string]auth.Role{"": "", "vic": auth.RoleViewer, "lee": auth.RoleResponder, "dana": auth.RoleApprover, "mara": auth.RoleAdmin, "feed": auth.RoleSource} {
			for _, kind := range []auth.Kind{auth.Human, auth.Machine} {
				who, grants := name, slices.Contains(auth.Grants(role), rt.Need)
				if kind == auth.Machine {
					if name == "" {
						continue
					}
					who, grants = "token:"+name, grants && rt.Need != auth.Decide
				}
				if rt.Need == auth.Ingest && kind == auth.Human {
					grants = false // alerts come with a token, never by a cookie
				}
				body := ""
				if rt.Method != http.MethodGet {
					body = "{}"
				}
				rec := s.do(who, rt.Method, fill.Replace(rt.Pattern), body)
				past := rec.Code != http.StatusUnauthorized && rec.Code != http.StatusForbidden
				if want := grants || rt.Need == auth.Public; past != want {
					t.Errorf("%s as %q by %s: status %d, want past the guard: %v", line, name, kind, rec.Code, want)
				}
			}
		}
	}
	if rec := s.do("mara", "POST", "/api/v1/backup", `{"folder":"/nowhere"}`); rec.Code != http.StatusForbidden {
		t.Errorf("an administrator on another machine names a folder for a backup: status %d", rec.Code)
	}
}

// TestNotInTheTable: what has no line in the table is not served, and a cookie
// alone commands nothing from another site.
func TestNotInTheTable(t *testing.T) {
	s := newSite(t, app.Config{})
	for _, p := range []string{"/docs", "/openapi.yaml", "/schemas/Problem.json", "/api/v1/nothing", "/api", "/debug/pprof/", "/metrics"} {
		if rec := s.do("mara", "GET", p, ""); rec.Code != http.StatusNotFound {
			t.Errorf("GET %s: status %d, want 404", p, rec.Code)
		}
	}
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if rec := s.do("mara", "PUT", "/api/v1/pauses", `{"scope":"all"}`, h...); rec.Code != http.StatusForbidden {
			t.Errorf("another site throws the kill switch by our cookie (%v): status %d", h, rec.Code)
		}
	}
}

// TestProblems: errors are RFC 9457 problems that say where and what, and never
// repeat what was sent.
func TestProblems(t *testing.T) {
	s := newSite(t, app.Config{})
	for _, c := range []struct {
		who, method, path, body string
		status                  int
		says                    string
	}{
		{"", "GET", "/api/v1/cases", "", 401, "Sign in, or send an API token."},
		{"token:vic", "PUT", "/api/v1/pauses", `{"scope":"all"}`, 403, "permission “halt”"},
		{"token:mara", "POST", "/api/v1/exceptions/x/grant", "", 403, "need a person who signed in"},
		{"token:vic", "GET", "/api/v1/cases?limit=many", "", 422, "query.limit"},
		{"token:vic", "GET", "/api/v1/cases?limit=501", "", 422, "query.limit"},
		{"token:vic", "GET", "/api/v1/cases?risk=K9", "", 400, "K1, K2, K3, K4 or K5"},
		{"token:vic", "GET", "/api/v1/cases?statee=open", "", 422, "statee"},
		{"token:vic", "GET", "/api/v1/cases/none", "", 404, "mistyped"},
		{"token:lee", "POST", "/api/v1/cases/none/commands/destroy", "{}", 422, "path.verb"},
		{"token:mara", "POST", "/api/v1/users", `{"name":"kim","password":5150150,"roles":"viewer"}`, 422, "body.password"},
		{"token:mara", "POST", "/api/v1/users", `{"name":"kim","password":"hunter2-canary","roles":"boss"}`, 422, "want viewer"},
		{"token:mara", "POST", "/api/v1/users", `{"name":"kim","password":"hunter2-canary","role":"viewer"}`, 422, "body.role"},
		{"token:mara", "POST", "/api/v1/users", `{"name":"kim","password":"hunter2-canary`, 400, "body"},
		{"token:mara", "POST", "/api/v1/users", ``, 400, "body"},
		{"token:mara", "POST", "/api/v1/users", strings.Repeat(" ", 2<<20) + "{}", 413, "1 MiB"},
	} {
		rec := s.do(c.who, c.method, c.path, c.body)
		var p problem
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
			t.Errorf("%s %s: %v in %s", c.method, c.path, err, rec.Body)
			continue
		}
		if rec.Code != c.status || p.Status != c.status || p.Title == "" || !strings.Contains(p.Detail, c.says) || rec.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s as %s: status %d (%s) %+v, want %d with %q", c.method, c.path, c.who, rec.Code, rec.Header().Get("Content-Type"), p, c.status, c.says)
		}
		for _, secret := range []string{"hunter2-canary", "5150150"} {
			if strings.Contains(rec.Body.String(), secret) {
				t.Errorf("%s %s repeats what was sent: %s", c.method, c.path, rec.Body)
			}
		}
	}
	if rec := s.do("mara", "POST", "/api/v1/users", `name=kim`, "Content-Type", "application/x-www-form-urlencoded"); rec.Code != http.StatusUnsupportedMediaType {
		t.Errorf("a form at the API: status %d, want 415: %s", rec.Code, rec.Body)
	}
}

// TestOperations calls the operator's side once each.
func TestOperations(t *testing.T) { onBothURLs(t, operations) }

func operations(t *testing.T, database string) {
	s := newSite(t, app.Config{Database: database})
	var user, same struct{ ID, Name string }
	s.want(200, "token:mara", "POST", "/api/v1/users", `{"name":"kim","password":"`+sitePassword+`","roles":"viewer,source"}`, &user)
	s.want(409, "token:mara", "POST", "/api/v1/users", `{"name":"kim","password":"`+sitePassword+`","roles":"viewer"}`, nil)
	s.want(200, "token:mara", "PATCH", "/api/v1/users/kim", `{"disabled":true}`, &same)
	if user.ID == "" || user != same {
		t.Errorf("changed %+v, added %+v", same, user)
	}
	var made struct {
		Secret string
		Token  struct{ ID string }
	}
	s.want(200, "token:mara", "POST", "/api/v1/tokens", `{"user":"feed","name":"ci","roles":"source"}`, &made)
	var list struct{ Tokens []struct{ ID string } }
	s.want(200, "token:mara", "GET", "/api/v1/tokens", "", &list)
	if made.Secret == "" || !slices.Contains(list.Tokens, made.Token) {
		t.Errorf("token %s is not in %v", made.Token.ID, list)
	}
	if rec := s.do("token:mara", "GET", "/api/v1/tokens", ""); strings.Contains(rec.Body.String(), made.Secret) {
		t.Error("the list of tokens shows a secret")
	}
	s.want(200, "token:mara", "DELETE", "/api/v1/tokens/"+made.Token.ID, "", nil)

	var asked struct{ ID, AskedBy string }
	until := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	s.want(200, "lee", "POST", "/api/v1/exceptions", `{"package":"lodash","until":"`+until+`","reason":"no fix yet"}`, &asked)
	s.want(422, "lee", "POST", "/api/v1/exceptions", `{"package":"lodash","until":"2001-01-01T00:00:00Z","reason":"x"}`, nil)
	s.want(200, "dana", "POST", "/api/v1/exceptions/"+asked.ID+"/grant", "", nil)
	var granted struct {
		Exceptions []struct {
			ID     string
			Active bool
		}
		Requests []any
	}
	s.want(200, "vic", "GET", "/api/v1/exceptions", "", &granted)
	if len(granted.Exceptions) != 1 || !granted.Exceptions[0].Active || granted.Requests == nil || len(granted.Requests) != 0 {
		t.Errorf("after the grant: %+v", granted)
	}
	s.want(200, "dana", "DELETE", "/api/v1/exceptions/"+asked.ID, "", nil)

	var paused struct {
		Pauses []struct{ Scope, Reason string }
	}
	s.want(200, "mara", "PUT", "/api/v1/pauses", `{"scope":"all","reason":"change freeze"}`, &paused)
	if len(paused.Pauses) != 1 || paused.Pauses[0].Scope != "all" || paused.Pauses[0].Reason != "change freeze" {
		t.Errorf("pauses: %+v", paused)
	}
	if page := s.do("vic", "GET", "/cases", "", "Accept", "text/html").Body.String(); !strings.Contains(page, "Paused: all.") {
		t.Error("the page does not show the kill switch")
	}
	paused.Pauses = nil
	s.want(200, "mara", "DELETE", "/api/v1/pauses", `{"scope":"all"}`, &paused)
	if len(paused.Pauses) != 0 {
		t.Errorf("after the release: %+v", paused)
	}

	var rep struct{ OK bool }
	s.want(200, "vic", "POST", "/api/v1/ledger/verify", "", &rep)
	if !rep.OK {
		t.Error("the ledger does not verify")
	}
	export := s.do("token:mara", "GET", "/api/v1/ledger/export", "")
	if first, _, _ := bytes.Cut(export.Body.Bytes(), []byte("\n")); export.Code != 200 || export.Header().Get("Content-Type") != "application/jsonl" || !json.Valid(first) {
		t.Errorf("export: %d %s %.200s", export.Code, export.Header().Get("Content-Type"), export.Body)
	}
	var h struct {
		Rules int
		Users int
	}
	s.want(200, "vic", "GET", "/api/v1/health", "", &h)
	if h.Rules == 0 || h.Users != len(sitePeople())+1 {
		t.Errorf("health: %+v", h)
	}
	folder := filepath.Join(t.TempDir(), "copy")
	s.tokens["local"] = s.app.LocalToken()
	if database != "" {
		var p problem
		if s.want(422, "token:local", "POST", "/api/v1/backup", `{"folder":"`+folder+`"}`, &p); !strings.Contains(p.Detail, "base backups") {
			t.Errorf("backup of PostgreSQL: %+v", p)
		}
		return
	}
	s.want(200, "token:local", "POST", "/api/v1/backup", `{"folder":"`+folder+`"}`, nil)
	if _, err := os.Stat(filepath.Join(folder, "casement.db")); err != nil {
		t.Error(err)
	}
}

// TestOpenAPI holds the API's document: run with -update, look at the
// difference, and ask whether a client in the field breaks by it.
func TestOpenAPI(t *testing.T) {
	s := newSite(t, app.Config{})
	rec := s.do("", "GET", "/openapi.json", "")
	if rec.Code != 200 || rec.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("status %d, %s", rec.Code, rec.Header().Get("Content-Type"))
	}
	var got bytes.Buffer
	if err := json.Indent(&got, rec.Body.Bytes(), "", " "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	file := filepath.Join("testdata", "openapi.json")
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		a, b := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
		for i := range a {
			if i >= len(b) || a[i] != b[i] {
				t.Fatalf("%s, line %d: %s\n(run with -update and look at the difference)", file, i+1, a[i])
			}
		}
		t.Fatalf("%s has lines that the document lacks", file)
	}

	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(want, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	for _, rt := range s.app.Routes() {
		if !strings.HasPrefix(rt.Pattern, "/api/") && !strings.HasPrefix(rt.Pattern, "/hooks/") {
			continue
		}
		op, ok := doc.Paths[rt.Pattern][strings.ToLower(rt.Method)].(map[string]any)
		if !ok || op["x-permission"] != rt.Need.String() {
			t.Errorf("%s %s with %s is not in the document: %v", rt.Method, rt.Pattern, rt.Need, op["x-permission"])
		}
	}
}
