package web

import (
	"context"
	"flag"
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write golden files and screenshots anew")
	flag.Parse()
	os.Exit(m.Run())
}

// approve approves the plan in force in somebody's name.
func (w *world) approve(id, action, who string) (remedy.Case, error) {
	c, err := w.model.Load(context.Background(), id)
	if err != nil {
		return c, err
	}
	a, _ := c.Action(action)
	return w.engine.Approve(context.Background(), id, action, a.Plan.Hash, who, "", w.clock())
}

// status asks for a page and fails the test on another status.
func (w *world) status(want int, who, method, path, body string) string {
	w.t.Helper()
	rec := w.do(who, method, path, body)
	if rec.Code != want {
		w.t.Fatalf("%s %s as %q: status %d, want %d: %s", method, path, who, rec.Code, want, cut(rec.Body.String(), 1500))
	}
	return rec.Body.String()
}

func cut(s string, n int) string { return s[:min(n, len(s))] }

func contains(t *testing.T, body string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(body, w) {
			t.Errorf("the page lacks %q:\n%s", w, cut(text(body), 3000))
		}
	}
}

var tags = regexp.MustCompile(`(?s)<(script|style)[^>]*>.*?</(script|style)>|<[^>]*>`)

// text is the page without its markup.
func text(body string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(body, " "))), " ")
}

// TestIfMatch: a command that names the version it was thought for is given to
// that version only.
func TestIfMatch(t *testing.T) {
	w := newWorld(t)
	w.seed()
	tag := w.do("lee", "GET", "/api/v1/cases/c-xss", "").Header().Get("ETag")
	if tag == "" {
		t.Fatal("a case has no ETag")
	}
	rec := w.do("lee", "POST", "/api/v1/cases/c-xss/commands/ack", "", "If-Match", tag)
	if rec.Code != 200 || rec.Header().Get("ETag") == tag {
		t.Fatalf("ack at %s: status %d, ETag %s: %s", tag, rec.Code, rec.Header().Get("ETag"), rec.Body)
	}
	for old, want := range map[string]int{tag: http.StatusPreconditionFailed, `"x"`: http.StatusBadRequest, "*": http.StatusOK} {
		if rec := w.do("lee", "POST", "/api/v1/cases/c-xss/commands/comment", `{"text":"late"}`, "If-Match", old); rec.Code != want {
			t.Errorf("If-Match %s: status %d, want %d: %s", old, rec.Code, want, rec.Body)
		}
	}
}

// TestTokenNeverDecides: whatever its role, a token approves and rejects
// nothing, and neither does a request without credentials.
func TestTokenNeverDecides(t *testing.T) {
	w := newWorld(t)
	c := w.storyApproval()
	a, _ := c.Action("e1.1")
	for _, who := range []string{"", "token:mara", "token:dana"} {
		for _, verb := range []string{"approve", "reject"} {
			rec := w.do(who, "POST", "/approvals/c-invoices/e1.1/"+verb, "text=no&plan_hash="+a.Plan.Hash)
			if rec.Code != http.StatusForbidden && rec.Code != http.StatusUnauthorized {
				t.Errorf("%s as %q: status %d", verb, who, rec.Code)
			}
		}
	}
	after, err := w.model.Load(context.Background(), c.ID)
	if err != nil || after.Version != c.Version {
		t.Errorf("the case moved from version %d to %d (%v)", c.Version, after.Version, err)
	}
}

// TestPagesSecurity: every page has the headers, no inline code or style, and
// refers to our own files only.
func TestPagesSecurity(t *testing.T) {
	w := newWorld(t)
	w.seed()
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:|src="https?:|href="https?:`)
	for _, p := range []string{"/cases", "/cases?open=all", "/cases/c-media", "/cases/c-invoices", "/cases/c-cache", "/approvals", "/approvals/c-invoices/e1.1",
		"/cases/c-media/actions/e1.1/undo", "/login", "/nowhere", "/cases/none"} {
		rec := w.do("mara", "GET", p, "")
		h := rec.Header()
		csp := h.Get("Content-Security-Policy")
		if csp == "" || strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("%s: content policy %q", p, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if h.Get(name) != want {
				t.Errorf("%s: header %s is %q, want %q", p, name, h.Get(name), want)
			}
		}
		if m := inline.FindString(rec.Body.String()); m != "" {
			t.Errorf("%s has inline or foreign content: %q", p, m)
		}
	}
}

// TestHostileStrings: what a source or a target says is text on every page.
func TestHostileStrings(t *testing.T) {
	w := newWorld(t)
	evil := `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`
	f := publicBucket("evil<b>", `"><svg onload=alert(3)>`, finding.Asset{UID: evil, Name: evil, Environment: evil, App: evil, Account: evil, Type: evil})
	f.Title = evil
	j := judged(deadline.K2, evil, evil, remedy.ModeApprove, evil, s3Probe(), blockPublic(remedy.AuthApprove))
	j.Decision.Tickets = []remedy.TicketSpec{{System: "tracker"}}
	l := w.open("c-evil", hour, f, j)
	l.planned(59*minute, "e1.1", 1, remedy.Plan{Text: evil + "\n+ " + evil, BeforeDigest: "x", Blast: evil, Undo: evil, LastModifier: evil}, evil)
	l.at(58*minute, system(), remedy.TicketOpened{N: 1, Ref: evil, URL: "javascript:alert(4)"})
	l.at(57*minute, person("u-lee"), remedy.Comment{Note: l.note(evil)})
	l.keep()
	for _, p := range []string{"/cases", "/cases?q=" + "%3Cscript%3E", "/cases?owner=%3Cscript%3E", "/cases/c-evil", "/approvals", "/approvals/c-evil/e1.1", "/login?next=%22%3E%3Cscript%3E"} {
		body := w.do("dana", "GET", p, "").Body.String()
		for _, bad := range []string{"<script>", "onerror=alert(2)>", `<svg onload`, `<img src=x`, `href="javascript:`, "<b>"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s carries %q as markup", p, bad)
			}
		}
	}
	for next, want := range map[string]string{"//evil.example": "/cases", "https://evil.example": "/cases", `/\evil.example`: "/cases", "/cases/c-evil": "/cases/c-evil"} {
		rec := w.do("dana", "GET", "/login?next="+strings.ReplaceAll(next, "/", "%2F"), "")
		if got := rec.Header().Get("Location"); got != want {
			t.Errorf("after the login %q leads to %q, want %q", next, got, want)
		}
	}
}

// TestCrossSite: a form on another site can't give commands by our cookie.
func TestCrossSite(t *testing.T) {
	w := newWorld(t)
	w.storyApproval()
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		rec := w.do("lee", "POST", "/cases/c-invoices/comment", "text=hello", h...)
		if rec.Code != http.StatusForbidden {
			t.Errorf("%v: status %d, want 403", h, rec.Code)
		}
	}
	if rec := w.do("lee", "POST", "/cases/c-invoices/comment", "text=hello", "Sec-Fetch-Site", "same-origin"); rec.Code != http.StatusSeeOther {
		t.Errorf("our own form: status %d, want 303", rec.Code)
	}
}

// TestApproveStale: an answer to another plan is not taken; the card shows the
// difference, and the second clicker sees who decided.
func TestApproveStale(t *testing.T) {
	w := newWorld(t)
	l := &life{w: w, c: w.storyApproval()}
	a, _ := l.c.Action("e1.1")
	shown := a.Plan.Hash

	// The request runs out, the bucket has changed, a new plan is asked for.
	w.advance(2 * time.Hour)
	u := l.c
	l.at(-2*hour, system(), remedy.Tick{})
	p := planFor("acme-invoices-archive", "u-lee")
	p.Text = strings.Replace(p.Text, "- IgnorePublicAcls      false\n+ IgnorePublicAcls      true\n", "", 1)
	l.planned(-2*hour-minute, "e1.1", 2, p, "GET without credentials answered 200")
	unit := record.Unit{Before: u.Version, Case: l.c, Events: l.events, WakeAt: remedy.WakeAt(l.c)}
	if errs, err := w.model.Commit(context.Background(), []record.Unit{unit}, nil); err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	w.advance(2 * time.Minute)

	body := w.status(http.StatusConflict, "dana", "POST", "/approvals/c-invoices/e1.1/approve", "plan_hash="+shown)
	contains(t, text(body), "The plan changed since it was shown to you. Nothing was approved", "- + IgnorePublicAcls true")
	if strings.Contains(body, `value="`+shown+`"`) {
		t.Error("the card still asks for the old plan")
	}
	w.status(http.StatusSeeOther, "dana", "POST", "/approvals/c-invoices/e1.1/approve", "plan_hash="+hash(p.Text+p.BeforeDigest))
	body = w.status(http.StatusConflict, "omar", "POST", "/approvals/c-invoices/e1.1/approve", "plan_hash="+hash(p.Text+p.BeforeDigest))
	contains(t, text(body), "Approved by dana as approver")
}

// TestWhoMayAnswer: the card offers the buttons to those who may, and tells the
// others why not.
func TestWhoMayAnswer(t *testing.T) {
	w := newWorld(t)
	w.storyApproval()
	for who, want := range map[string]string{"dana": "", "mara": "", "omar": "You are not among those asked.", "lee": "Your role (responder) does not decide.", "vic": "Your role (viewer) does not decide."} {
		body := w.status(200, who, "GET", "/approvals/c-invoices/e1.1", "")
		if has := strings.Contains(body, `id="approve"`); has != (want == "") {
			t.Errorf("%s: approve button %v", who, has)
		}
		contains(t, text(body), want, "What will change", "Why now", "Blast radius", "Undo", "Who is asked")
	}
	body := w.status(http.StatusForbidden, "omar", "POST", "/approvals/c-invoices/e1.1/approve", "plan_hash=x")
	contains(t, text(body), "not entitled")
	w.status(http.StatusUnprocessableEntity, "dana", "POST", "/approvals/c-invoices/e1.1/reject", "text=+")
	w.status(http.StatusSeeOther, "dana", "POST", "/approvals/c-invoices/e1.1/reject", "text=not+now")
	contains(t, text(w.status(200, "omar", "GET", "/approvals/c-invoices/e1.1", "")), "Rejected by dana")
	contains(t, text(w.status(200, "omar", "GET", "/cases/c-invoices", "")), "not now")
}

// TestCommands gives every command of the case's page once.
func TestCommands(t *testing.T) {
	w := newWorld(t)
	w.seed()
	for _, c := range []struct{ who, id, verb, body, say string }{
		{"lee", "c-xss", "ack", "", "Acknowledged."},
		{"lee", "c-xss", "assign", "to=u-lee", "assigned the case to lee"},
		{"lee", "c-xss", "comment", "text=looks+real", "looks real"},
		{"lee", "c-xss", "snooze", "for=4h&text=after+lunch", "silenced reminders until 2026-11-24 13:30:00 UTC"},
		{"lee", "c-xss", "pause", "reason=vendor&until=2026-11-24T11:30&text=their+fix+comes+with+4.2", "paused the SLA clock until 2026-11-24 11:30:00 UTC their fix comes with 4.2 waiting for the vendor"},
		{"lee", "c-xss", "resume", "", "let the SLA clock run again: resumed by lee"},
		{"lee", "c-xss", "escalate", "text=nobody+answers", "escalated: escalated by lee"},
		{"lee", "c-media", "verify", "", "A probe was asked for"},
		{"lee", "c-media", "reopen", "text=seen+again", "opened the case again: reopened by lee"},
		{"dana", "c-secret", "attest", "text=key+was+rotated&until=2027-01-31", "closed the case as attested"},
	} {
		rec := w.do(c.who, "POST", "/cases/"+c.id+"/"+c.verb, c.body)
		if rec.Code != http.StatusSeeOther {
			t.Fatalf("%s: status %d: %s", c.verb, rec.Code, text(rec.Body.String()))
		}
		contains(t, text(w.status(200, c.who, "GET", rec.Header().Get("Location"), "")), c.say)
	}
	w.status(http.StatusUnprocessableEntity, "lee", "POST", "/cases/c-xss/comment", "text=")
	w.status(http.StatusConflict, "lee", "POST", "/cases/c-xss/ack", "")
	w.status(http.StatusUnprocessableEntity, "lee", "POST", "/cases/c-xss/pause", "reason=owner&until=2026-11-24T11:30&text=busy")
	w.status(http.StatusForbidden, "vic", "POST", "/cases/c-xss/pause", "reason=vendor&until=2026-11-24T11:30&text=x")
	w.status(http.StatusForbidden, "lee", "POST", "/cases/c-secret/attest", "text=x&until=2027-01-31")
	w.status(http.StatusNotFound, "lee", "POST", "/cases/none/ack", "")
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-cache/actions/e1.1/undo", "")), "Undo “Block public access”?", "Restores the former public access block")
	w.status(http.StatusUnprocessableEntity, "lee", "POST", "/cases/c-cache/actions/e1.1/undo", "text=")
}

// TestMergePages merges two cases on evidence of an alias and undoes it: both
// pages lead to each other, the words are in the timeline.
func TestMergePages(t *testing.T) {
	w := newWorld(t)
	w.seed()
	contains(t, text(w.status(http.StatusForbidden, "lee", "POST", "/cases/c-ssh/merge", "case=c-xss&text=same")), "different assets are never merged")
	w.status(http.StatusUnprocessableEntity, "lee", "POST", "/cases/c-ssh/merge", "case=c-xss&text=+")
	w.status(http.StatusNotFound, "lee", "POST", "/cases/c-ssh/merge", "case=none&text=same")
	ask := `{"into":"c-xss","text":"seen by two scanners","alias_evidence":"CMDB entry 12 has both names"}`
	w.status(http.StatusForbidden, "lee", "POST", "/api/v1/cases/c-ssh/commands/merge-alias", ask)
	w.status(http.StatusUnprocessableEntity, "dana", "POST", "/api/v1/cases/c-ssh/commands/merge-alias", `{"into":"c-xss","text":"x","alias_evidence":" "}`)
	contains(t, w.status(http.StatusOK, "dana", "POST", "/api/v1/cases/c-ssh/commands/merge-alias", ask), `"other":{"id":"c-xss"`)
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-ssh", "")), "Merged into c-xss", "seen by two scanners", "CMDB entry 12", "nothing is proven here")
	if strings.Contains(text(w.status(200, "lee", "GET", "/cases/c-ssh", "")), "met in") {
		t.Error("a merge met a deadline")
	}
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-xss", "")), "Case c-ssh was merged into this one", "Undo the merge")
	w.status(http.StatusConflict, "lee", "POST", "/cases/c-ssh/reopen", "text=again")
	w.status(http.StatusSeeOther, "lee", "POST", "/cases/c-xss/undo-merge", "case=c-ssh&text=two+machines")
	contains(t, text(w.status(200, "lee", "GET", "/cases/c-ssh?said=undo-merge", "")), "The merge is undone.", "undid the merge into c-xss", "two machines")
}

// TestFilters: the list is addressed by its filters; words that are none are
// told, pages follow each other without gaps or repeats.
func TestFilters(t *testing.T) {
	w := newWorld(t)
	w.seed()
	has := func(query, word string, want bool) {
		t.Helper()
		if got := strings.Contains(w.status(200, "vic", "GET", "/cases?"+query, ""), word); got != want {
			t.Errorf("?%s shows %s: %v", query, word, got)
		}
	}
	has("risk=K1", "/cases/c-key", true)
	has("risk=k1", "/cases/c-ssh", false)
	has("state=approval", "/cases/c-meetnotes", true)
	has("state=approval", "/cases/c-key", false)
	has("path=incident", "/cases/c-key", true)
	has("class=network.world-open", "/cases/c-ssh", true)
	has("owner=team-platform", "/cases/c-ssh", true)
	has("q=undici", "/cases/c-undici", true)
	has("open=no", "/cases/c-media", true)
	has("open=yes", "/cases/c-media", false)
	has("q=no-such-thing", "No case fits this filter", true)
	for _, q := range []string{"state=opne", "risk=K9", "path=x", "open=maybe"} {
		contains(t, text(w.status(400, "vic", "GET", "/cases?"+q, "")), "The filter can't be read")
	}
	w.status(422, "vic", "GET", "/cases?cursor=!!", "")
	empty := newWorld(t)
	contains(t, text(empty.status(200, "vic", "GET", "/cases", "")), "No open cases", "casement try alerts.json")
}

// TestPaging walks a list that has more than two pages.
func TestPaging(t *testing.T) {
	w := newWorld(t)
	for i := range 2*pageSize + 7 {
		f := publicBucket("aws.securityhub", "S3.2", bucket(fmt.Sprintf("b-%03d", i), "production", ""))
		w.open(fmt.Sprintf("c-%03d", i), time.Duration(i+1)*minute, f, judged(deadline.K3, "r", "w", remedy.ModeTicket, "team", remedy.ProbeSpec{})).keep()
	}
	link := regexp.MustCompile(`href="/cases/(c-\d+)"`)
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`)
	seen := map[string]bool{}
	for path, pages := "/cases", 0; path != ""; pages++ {
		if pages > 3 {
			t.Fatal("the list has no end")
		}
		body := w.status(200, "vic", "GET", path, "")
		for _, m := range link.FindAllStringSubmatch(body, -1) {
			if seen[m[1]] {
				t.Errorf("%s stands on two pages", m[1])
			}
			seen[m[1]] = true
		}
		path = ""
		if m := next.FindStringSubmatch(body); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != 2*pageSize+7 {
		t.Errorf("%d cases seen, want %d", len(seen), 2*pageSize+7)
	}
}

// TestOtherTenant: cases of another tenant do not exist for a reader.
func TestOtherTenant(t *testing.T) {
	w := newWorld(t)
	c := w.storyApproval()
	other := c
	other.ID, other.Tenant = "c-other", "elsewhere"
	body := []remedy.Event{{At: epoch(), By: source("x"), Body: remedy.Opened{ID: other.ID, Tenant: other.Tenant, Key: "v1:o", Title: "Their bucket", DetectedAt: epoch()}}}
	if errs, err := w.model.Commit(context.Background(), []record.Unit{{Case: remedy.Replay(body), Events: body}}, nil); err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	for _, p := range []string{"/cases/c-other", "/approvals/c-other/e1.1", "/cases/c-other/actions/e1.1/undo", "/api/v1/cases/c-other", "/api/v1/cases/c-other/events"} {
		w.status(404, "mara", "GET", p, "")
	}
	w.status(404, "mara", "POST", "/cases/c-other/ack", "")
	w.status(404, "mara", "POST", "/api/v1/cases/c-other/commands/ack", "{}")
	w.status(404, "mara", "POST", "/api/v1/cases/c-invoices/commands/merge", `{"into":"c-other","text":"same"}`)
	w.status(404, "mara", "POST", "/api/v1/cases/c-invoices/commands/merge-alias", `{"into":"c-other","text":"same","alias_evidence":"x"}`)
	w.status(404, "mara", "POST", "/api/v1/cases/c-invoices/commands/undo-merge", `{"case":"c-other","text":"same"}`)
	w.status(404, "mara", "POST", "/api/v1/cases/c-other/commands/split", `{"findings":["x"],"text":"same"}`)
	if strings.Contains(w.status(200, "mara", "GET", "/cases?open=all", ""), "Their bucket") {
		t.Error("the list shows another tenant's case")
	}
}

// TestGolden holds the markup of the three pages.
func TestGolden(t *testing.T) {
	w := newWorld(t)
	w.seed()
	for name, p := range map[string]string{"cases": "/cases", "case": "/cases/c-invoices", "approval": "/approvals/c-invoices/e1.1"} {
		got := strings.ReplaceAll(w.status(200, "dana", "GET", p, ""), "><", ">\n<")
		file := filepath.Join("testdata", name+".golden.html")
		if updating() {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			for i, line := range strings.Split(got, "\n") {
				if w := strings.Split(string(want), "\n"); i >= len(w) || w[i] != line {
					t.Errorf("%s, line %d: %s\n(run with -update and look at the difference)", file, i+1, line)
					break
				}
			}
		}
	}
}

func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}
