package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/pagetest"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/sim"
)

// install is a running `casement serve` with the demo's policy, its targets and
// people, for tests that open its pages.
type install struct {
	t     *testing.T
	dir   string
	url   string
	token string
	// setup is the link that makes the first administrator.
	setup string
	world *sim.World
}

const installPassword = "three words and more"

const installConfig = `server: {listen: "127.0.0.1:0"}
policy: {dir: policy}
owners: {files: [owners.yaml]}
sources:
  github: {kind: github, secret: [env:PAGES_SIGNING]}
routes:
  webhook: {connector: notices}
connectors:
  s3:
    allow: [127.0.0.0/8]
    params: {endpoint: "@S3@"}
    secrets: {access_key: env:PAGES_S3_KEY, secret_key: env:PAGES_S3_SECRET}
  oauth:
    allow: [127.0.0.0/8]
    params:
      introspect_url: "@OAUTH@/introspect"
      revoke_url: "@OAUTH@/revoke"
      grants_url: "@OAUTH@/grants/"
      client_id: @CLIENT@
      integrations:
        crm-sync: {grant: grant-7, token_from: crm_sync, keep: [contacts.read], resource_url: "@OAUTH@/resource?scope=contacts.read"}
    secrets: {client_secret: env:PAGES_OAUTH_SECRET, admin_token: env:PAGES_OAUTH_ADMIN, crm_sync: env:PAGES_CRM_TOKEN}
  notices:
    kind: webhook
    allow: [127.0.0.0/8]
    params: {notify_url: "@SINK@/notice"}
    secrets: {signing: env:PAGES_SIGNING}
`

const installOwners = `people:
  - {id: olga, name: Olga Owner, team: platform, manager: mia}
  - {id: anna, name: Anna Approver, team: platform}
  - {id: mia, name: Mia Manager, team: platform}
teams:
  - {id: platform, lead: anna, members: [olga, anna, mia]}
fallback: platform
operations_lead: mia
`

// installRule asks for an approval that runs out soon, and again and again.
const installRule = `kind: playbooks
playbooks:
  - name: ask-briefly
    description: As the demo's, with a question that is answered soon or not at all.
    probe: s3/anonymous-get
    grade: P3
    fix:
      - {name: remove-public-access, do: s3/remove-public-access, auth: approve, settle: 1s, tries: 3, interval: 1s, approve_within: 10s}
---
kind: rules
mode: approve
rules:
  - name: bucket-public-archive
    when: class == "storage.public" && app == "archive"
    class: K3
    playbook: ask-briefly
    ticket: true
    why: Anyone can read the archive.
`

// newInstall starts the program as a process of its own, and its targets.
func newInstall(t *testing.T) *install {
	t.Helper()
	const signing = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	world, err := sim.NewWorld(sim.Options{SinkSecrets: []string{signing}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	in := &install{t: t, dir: t.TempDir(), world: world}
	crm := world.Grant("grant-7", "crm-sync", "mail.readwrite files.all contacts.read")
	health := world.App("storefront", world.Bucket("acme-storefront").Public)
	files := map[string]string{"owners.yaml": installOwners, "policy/05-archive.yaml": installRule,
		"casement.yaml": strings.NewReplacer("@S3@", world.URL(sim.ServiceS3), "@OAUTH@", world.URL(sim.ServiceOAuth), "@SINK@", world.URL(sim.ServiceSink),
			"@CLIENT@", sim.OAuthClientID).Replace(installConfig)}
	for _, f := range pack.Demo() {
		files["policy/"+filepath.Base(f.Name)] = strings.ReplaceAll(string(f.Data), "http://storefront.invalid/health", health)
	}
	delete(files, "policy/90-tests.yaml")
	for name, text := range files {
		path := filepath.Join(in.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "casement", "serve")
	cmd.Dir = in.dir
	cmd.Env = append(os.Environ(), "PAGES_SIGNING="+signing, "PAGES_S3_KEY="+sim.S3AccessKey, "PAGES_S3_SECRET="+sim.S3SecretKey,
		"PAGES_OAUTH_SECRET="+sim.OAuthClientSecret, "PAGES_OAUTH_ADMIN="+sim.OAuthAdminToken, "PAGES_CRM_TOKEN="+crm.Token())
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	log, err := os.OpenFile(filepath.Join(in.dir, "server.log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { // after the test's context has ended the program
		<-ended
		_ = log.Close() // only read from here on
		if t.Failed() {
			b, _ := os.ReadFile(log.Name()) // the log of what failed
			t.Logf("%s", b)
		}
	})
	in.until("the server is there", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v", err)
		default:
		}
		b, err := os.ReadFile(filepath.Join(in.dir, "casement-data", app.AddressFile))
		var at app.Address
		if err != nil || json.Unmarshal(b, &at) != nil {
			return false
		}
		said, err := os.ReadFile(log.Name())
		if _, link, ok := strings.Cut(string(said), "first login    "); err == nil && ok {
			in.url, in.token = at.URL, at.Token
			in.setup, _, _ = strings.Cut(link, "\n")
		}
		return in.setup != ""
	})
	return in
}

// until asks another process again and again; there is no signal of it to wait
// for.
func (in *install) until(what string, ok func() bool) {
	in.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 900 {
		if ok() {
			return
		}
		<-tick.C
	}
	in.t.Fatalf("never came true: %s", what)
}

// call speaks to the API with the token of the data folder.
func (in *install) call(method, path string, body []byte, out any) {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), method, in.url+path, bytes.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+in.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		in.t.Fatalf("%s %s: %s: %s (%v)", method, path, resp.Status, b, err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			in.t.Fatal(err)
		}
	}
}

// alert sends a sample of the demo, as a tool would, and returns its cases.
func (in *install) alert(name string, pairs ...string) []string {
	in.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "internal", "demo", "alerts", name))
	if err != nil {
		in.t.Fatal(err)
	}
	pairs = append([]string{"@NOW@", time.Now().UTC().Add(-41 * time.Minute).Format(time.RFC3339)}, pairs...)
	return in.send([]byte(strings.NewReplacer(pairs...).Replace(string(b))))
}

func (in *install) send(body []byte) []string {
	in.t.Helper()
	var a struct {
		Results []struct{ Case string }
	}
	in.call("POST", "/api/v1/alerts", body, &a)
	var ids []string
	for _, r := range a.Results {
		ids = append(ids, r.Case)
	}
	return ids
}

// unread sends what no reader knows, and returns the page of what was kept.
func (in *install) unread(body string) string {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), "POST", in.url+"/api/v1/alerts", strings.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+in.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	var a struct{ Quarantine int64 }
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || a.Quarantine == 0 {
		in.t.Fatalf("%s: %+v (%v)", resp.Status, a, err)
	}
	return fmt.Sprint("/quarantine/", a.Quarantine)
}

// bucket makes a bucket public, and a scanner report it.
func (in *install) bucket(name, application string) string {
	in.t.Helper()
	in.world.Bucket(name).MakePublic()
	return in.alert("posture.jsonl", "@BUCKET@", name, "@APP@", application)[0]
}

// state waits until a case is in a state.
func (in *install) state(id, want string) {
	in.t.Helper()
	in.until("case "+id+" is "+want, func() bool {
		var v struct{ State string }
		in.call("GET", "/api/v1/cases/"+id, nil, &v)
		return v.State == want
	})
}

// errorCard is on the pages of errors.
const errorCard = ".door .status"

// view is one page to look at.
type view struct {
	name, path string
	// see is there when the page is; who is signed in, "" for nobody.
	see, who string
	// keep lists the looks that go to docs/screenshots, by the end of the name.
	keep map[string]pagetest.Look
}

// TestPages opens every page of a real server that took in alerts, decided and
// acted, and lets axe-core look at each, light and dark. With -update it writes
// docs/screenshots; CASEMENT_SHOTS=DIR writes every page in every look.
func TestPages(t *testing.T) {
	axe, err := os.ReadFile(connectortest.Build(t, "axe-core"))
	if err != nil {
		t.Fatal(err)
	}
	b := pagetest.New(t)
	in := newInstall(t)
	p := &pages{t: t, b: b, in: in, axe: string(axe), refused: map[string]bool{}}

	p.walk([]view{
		{name: "login", path: "/login", see: ".door"},
		{name: "setup", path: strings.TrimPrefix(in.setup, in.url), see: "input[name=mail]"},
		{name: "setup-expired", path: "/setup?token=gone", see: errorCard},
		{name: "not-found-signed-out", path: "/nowhere", see: errorCard},
	})
	for name, role := range map[string]string{"anna": "approver", "ben": "responder", "vic": "viewer", "adam": "admin"} {
		body := fmt.Sprintf(`{"name":%q,"password":%q,"roles":%q,"mail":"%s@example.com"}`, name, installPassword, role, name)
		in.call("POST", "/api/v1/users", []byte(body), nil)
	}
	p.walk([]view{{name: "empty", path: "/cases", see: ".empty", who: "anna"}, {name: "empty-approvals", path: "/approvals", see: ".empty", who: "anna"},
		{name: "empty-tickets", path: "/tickets", see: ".empty", who: "anna"},
		{name: "empty-exceptions", path: "/exceptions", see: ".empty", who: "anna"},
		{name: "empty-quarantine", path: "/quarantine", see: ".empty", who: "anna"}, {name: "empty-report", path: "/report", see: ".kinds", who: "anna"}})

	proven := in.bucket("acme-payroll", "payroll")
	expired := in.bucket("acme-archive", "archive")
	asking := in.alert("securityhub.json", "@BUCKET@", "acme-shop-images")[0]
	in.world.Bucket("acme-shop-images").MakePublic()
	undone := in.bucket("acme-storefront", "storefront")
	in.world.Bucket("acme-customers")
	forged := in.alert("posture.jsonl", "@BUCKET@", "acme-customers", "@APP@", "customers")[0]
	incident := in.alert("beacon.jsonl", "@N@", "1")[0]
	in.alert("trivy.json")
	weak := in.alert("codeql.sarif")[0]
	in.alert("beacon.jsonl", "@N@", "2") // joins the first
	grant := in.alert("grant.jsonl")[0]
	in.state(asking, "approval")
	in.state(proven, "closed")
	in.state(grant, "closed")
	in.state(forged, "held")
	var list struct{ Tickets []struct{ ID int } }
	in.until("there are tickets", func() bool {
		in.call("GET", "/api/v1/tickets?case="+asking, nil, &list)
		return len(list.Tickets) > 0
	})
	ticket := fmt.Sprint("/tickets/", list.Tickets[0].ID)
	p.signIn("anna")
	b.Do("say that a step is done", pagetest.Open(in.url+"/cases/"+incident), pagetest.Click(`.todo button`), pagetest.See(`.todo-done`))
	light := pagetest.Look{Width: 1360}
	phone := pagetest.Look{Width: 390, Scheme: "dark"}
	p.walk([]view{
		{name: "cases", path: "/cases?open=all", see: "table.list", who: "anna", keep: map[string]pagetest.Look{"": {Width: 1440}, "-dark": {Width: 1440, Scheme: "dark"}, "-narrow": {Width: 390}}},
		{name: "cases-filtered", path: "/cases?q=nothing+like+it", see: ".empty", who: "anna"},
		{name: "case", path: "/cases/" + proven, see: ".proof", who: "anna", keep: map[string]pagetest.Look{"": light, "-print": {Width: 900, Print: true}}},
		{name: "case-asking", path: "/cases/" + asking, see: ".verdict", who: "anna"},
		{name: "case-forged", path: "/cases/" + forged, see: ".verdict", who: "anna"},
		{name: "case-undone", path: "/cases/" + undone, see: ".verdict", who: "anna"},
		{name: "case-expired", path: "/cases/" + expired, see: ".verdict", who: "anna"},
		{name: "case-steps", path: "/cases/" + incident, see: ".todo", who: "anna", keep: map[string]pagetest.Look{"": light}},
		{name: "split", path: "/cases/" + incident + "/split", see: "#split", who: "anna"},
		{name: "split-refused", path: "/cases/" + weak + "/split", see: ".notice", who: "anna"},
		{name: "merge", path: "/cases/" + incident + "/merge", see: "input[name=case]", who: "anna"},
		{name: "merge-alias", path: "/cases/" + incident + "/merge?case=" + weak, see: "#merge", who: "anna"},
		{name: "merge-alias-responder", path: "/cases/" + incident + "/merge?case=" + weak, see: ".notice", who: "ben"},
		{name: "approvals", path: "/approvals", see: ".asks", who: "anna", keep: map[string]pagetest.Look{"": {Width: 1180}}},
		{name: "approval", path: "/approvals/" + asking + "/e1.1", see: "#approve", who: "anna", keep: map[string]pagetest.Look{"": {Width: 1180}, "-narrow": phone}},
		{name: "approval-expired", path: "/approvals/" + expired + "/e1.1", see: ".approval", who: "anna"},
		{name: "approval-used", path: "/approvals/" + proven + "/e1.1?plan=0123456789ab", see: ".decided", who: "anna"},
		{name: "approval-nowhere", path: "/approvals/" + proven + "/e9.9", see: errorCard, who: "anna"},
		{name: "approval-viewer", path: "/approvals/" + asking + "/e1.1", see: ".approval", who: "vic"},
		{name: "undo", path: "/cases/" + proven + "/actions/e1.2/undo", see: ".danger", who: "anna"},
		{name: "forbidden", path: "/cases/" + proven + "/actions/e1.2/undo", see: errorCard, who: "vic"},
		{name: "not-found", path: "/cases/none", see: errorCard, who: "anna"},
		{name: "bad-filter", path: "/cases?risk=K9", see: errorCard, who: "anna"},
		{name: "tickets", path: "/tickets", see: "table.list", who: "anna"},
		{name: "ticket", path: ticket, see: "#to-check", who: "anna", keep: map[string]pagetest.Look{"": {Width: 1180}}},
	})

	body := in.unread(`{"scanner":"acme-posture","run":"2026-11-28","api_key":"canary-of-the-page","items":[{"bucket":"acme-invoices","state":"world readable"},{"bucket":"acme-mail","state":"private"}]}`)
	in.unread(`{"check":"tls","hosts":[`)
	p.walk([]view{
		{name: "report", path: "/report", see: ".measure", who: "anna", keep: map[string]pagetest.Look{"": light, "-narrow": phone}},
		{name: "quarantine", path: "/quarantine", see: "table.list", who: "anna", keep: map[string]pagetest.Look{"": {Width: 1180}}},
		{name: "quarantine-body", path: body, see: ".unread", who: "adam", keep: map[string]pagetest.Look{"": {Width: 1180}, "-narrow": phone}},
		{name: "quarantine-body-responder", path: body, see: ".unread", who: "ben"},
		{name: "quarantine-body-viewer", path: body, see: errorCard, who: "vic"},
		{name: "quarantine-nowhere", path: "/quarantine/999", see: errorCard, who: "adam"},
	})

	until := time.Now().UTC().Add(21 * 24 * time.Hour).Format(time.RFC3339)
	for _, ask := range []string{`{"weakness":"CVE-2021-44906","package":"minimist","project":"acme/storefront","kind":"fix-planned","until":"` + until + `","reason":"The pull request waits for the release of Friday."}`,
		`{"case":"` + weak + `","kind":"compensating-control","until":"` + until + `","reason":"The route is behind the gateway, which refuses such requests."}`} {
		in.call("POST", "/api/v1/exceptions", []byte(ask), nil)
	}
	p.signIn("anna")
	for range 2 {
		b.Do("grant", pagetest.Open(in.url+"/exceptions"), pagetest.Click(`form[action$="/grant"] button`), pagetest.See(".said"))
	}
	in.call("POST", "/api/v1/exceptions", []byte(`{"class":"network.world-open","project":"acme/lab","until":"`+until+`","reason":"The lab is rebuilt every night."}`), nil)
	p.walk([]view{
		{name: "exceptions", path: "/exceptions", see: ".asks", who: "anna", keep: map[string]pagetest.Look{"": {Width: 1180}, "-narrow": phone}},
		{name: "exceptions-all", path: "/exceptions?all=1", see: "table.list", who: "vic"},
		{name: "case-excepted", path: "/cases/" + weak, see: ".verdict", who: "anna"},
	})

	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, `{"source":"iac","native_id":"m-%[1]d","rule":"sg-open","title":"Security group sg-%[1]d is open to the world on port 22","severity":"medium","asset":{"uid":"sg-%[1]d","type":"security_group","name":"sg-%[1]d"},"first_seen":"2026-11-01T00:00:00Z"}`+"\n", i)
	}
	in.send([]byte(many.String()))
	p.walk([]view{{name: "cases-500", path: "/cases", see: "table.list", who: "anna"}, {name: "tickets-500", path: "/tickets", see: "table.list", who: "anna"}})

	// Without scripts: a comment by a menu, then the approval.
	b.Scripts(false)
	p.signIn("anna")
	b.Do("comment", pagetest.Open(in.url+"/cases/"+asking), pagetest.Click(`summary`), pagetest.Type(`form[action$="/comment"] textarea`, "seen without scripts"),
		pagetest.Click(`form[action$="/comment"] button`), pagetest.See(".said"))
	b.Do("split", pagetest.Open(in.url+"/cases/"+incident+"/split"), pagetest.Click(`.pick input`), pagetest.Type(`textarea`, "another host"),
		pagetest.Click(`#split`), pagetest.See(`.said`))
	b.Do("approve", pagetest.Open(in.url+"/approvals/"+asking+"/e1.1"), pagetest.Click(`#approve`), pagetest.See(".decided"))
	in.state(asking, "closed")
	b.Scripts(true)
	for said := range strings.SplitSeq(b.Console(), "\n") {
		// The browser says so itself where a page was to be refused.
		if said != "" && !strings.HasPrefix(said, "info: ") && !(strings.Contains(said, "the server responded with a status of 4") && p.refused[said[strings.LastIndex(said, " ")+1:]]) {
			t.Errorf("the console is not silent: %s", said)
		}
	}
}

// pages opens views one after the other.
type pages struct {
	t   *testing.T
	b   *pagetest.Tab
	in  *install
	axe string
	who string
	// refused are the addresses that answered with an error's page.
	refused map[string]bool
}

// signIn makes name the one who is signed in, "" nobody.
func (p *pages) signIn(name string) {
	p.t.Helper()
	if p.who != "" {
		p.b.Do("sign out", pagetest.Open(p.in.url+"/cases"), pagetest.Click(`form[action="/logout"] button`), pagetest.See(`input[name=password]`))
	}
	if p.who = name; name == "" {
		return
	}
	p.b.Do("sign in", pagetest.Open(p.in.url+"/login"), pagetest.Type(`input[name=name]`, name), pagetest.Type(`input[name=password]`, installPassword),
		pagetest.Click(`form[action="/login"] button`), pagetest.See(`.who`))
}

func (p *pages) walk(views []view) {
	p.t.Helper()
	all := os.Getenv("CASEMENT_SHOTS")
	for _, v := range views {
		if p.who != v.who {
			p.signIn(v.who)
		}
		if v.see == errorCard {
			p.refused[p.in.url+v.path] = true
		}
		p.b.Do("open "+v.name, pagetest.Open(p.in.url+v.path), pagetest.See(v.see))
		for _, scheme := range []string{"light", "dark"} {
			for _, wrong := range p.b.Axe(p.axe, pagetest.Look{Width: 1360, Scheme: scheme}) {
				p.t.Errorf("%s, %s: %s", v.name, scheme, wrong)
			}
		}
		for _, wrong := range p.b.Axe(p.axe, pagetest.Look{Width: 390}) {
			p.t.Errorf("%s, narrow: %s", v.name, wrong)
		}
		for end, look := range v.keep {
			if *update {
				p.b.Shoot(filepath.Join("..", "..", "docs", "screenshots", v.name+end+".png"), look)
			}
		}
		if all == "" {
			continue
		}
		for end, look := range map[string]pagetest.Look{"light": {Width: 1360}, "dark": {Width: 1360, Scheme: "dark"}, "narrow": {Width: 390, Scheme: "dark"}, "print": {Width: 900, Print: true}} {
			p.b.Shoot(filepath.Join(all, v.name+"-"+end+".png"), look)
		}
	}
}
