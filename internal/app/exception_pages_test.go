package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
)

// TestExceptionPages: one person asks on a page, another grants, and anybody who
// may look sees what is set aside, by whom and until when; ended, it is gone.
func TestExceptionPages(t *testing.T) {
	s := newSite(t, app.Config{})
	form := func(who, path string, f url.Values) *http.Response {
		t.Helper()
		return s.do(who, "POST", path, f.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html").Result()
	}
	page := func(who, path string, want ...string) string {
		t.Helper()
		rec := s.do(who, "GET", path, "", "Accept", "text/html")
		for _, x := range want {
			if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), x) {
				t.Errorf("%s sees at %s: %d without %q", who, path, rec.Code, x)
			}
		}
		return rec.Body.String()
	}
	moved := func(r *http.Response, to string) {
		t.Helper()
		if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != to {
			t.Errorf("%s: %s, want to %s", r.Status, r.Header.Get("Location"), to)
		}
	}
	var in struct {
		Results []struct{ Case string }
	}
	s.want(200, "token:feed", "POST", "/api/v1/alerts", `{"source":"iac","native_id":"m-1","rule":"sg-open","title":"Security group open","severity":"medium","asset":{"uid":"sg-1","type":"security_group","name":"sg-1"}}`, &in)
	id := in.Results[0].Case
	until := time.Now().Add(72 * time.Hour).UTC()
	gate := url.Values{"package": {"left<pad>"}, "project": {"acme/shop"}, "kind": {"fix-planned"}, "until": {until.Format("2006-01-02T15:04")}, "reason": {"replaced on Friday"}}
	aside := url.Values{"case": {id}, "kind": {"risk-accepted"}, "until": {until.Format("2006-01-02T15:04")}, "reason": {"a move is planned"}}

	page("vic", "/exceptions", "No exceptions", "A responder can ask")
	if r := form("vic", "/exceptions", gate); r.StatusCode != http.StatusForbidden {
		t.Errorf("a viewer asks: %s", r.Status)
	}
	for name, spoil := range map[string]func(url.Values){
		"no end": func(f url.Values) { f.Del("until") }, "over": func(f url.Values) { f.Set("until", "2001-01-01T00:00") },
		"no reason": func(f url.Values) { f.Set("reason", " ") }, "everything": func(f url.Values) { f.Del("package"); f.Del("project") },
	} {
		bad := url.Values{}
		for k, v := range gate {
			bad[k] = v
		}
		spoil(bad)
		if r := form("lee", "/exceptions", bad); r.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	moved(form("dana", "/exceptions", gate), "/exceptions?said=except")
	moved(form("lee", "/exceptions", aside), "/cases/"+id+"?said=except")
	page("vic", "/exceptions", "package left&lt;pad&gt;, project acme/shop", "The fix has a date: replaced on Friday", "Case "+id, "Waits for an approver.")
	page("dana", "/exceptions", "Somebody else has to grant it.")

	var l struct {
		Requests []struct{ ID, Case string }
	}
	s.want(200, "vic", "GET", "/api/v1/exceptions", "", &l)
	standing, ofCase := l.Requests[0].ID, l.Requests[1].ID
	if r := form("lee", "/exceptions/"+standing+"/grant", nil); r.StatusCode != http.StatusForbidden {
		t.Errorf("a responder grants: %s", r.Status)
	}
	if r := form("dana", "/exceptions/"+standing+"/grant", nil); r.StatusCode != http.StatusForbidden {
		t.Errorf("who asked grants: %s", r.Status)
	}
	moved(form("mara", "/exceptions/"+standing+"/grant", nil), "/exceptions?said=grant")
	moved(form("dana", "/exceptions/"+ofCase+"/grant", nil), "/exceptions?said=grant")
	seen := page("vic", "/exceptions", "Cases set aside", "Security group open", "What passes the gate", "In force", "mara", "lee")
	if strings.Contains(seen, "End it now") || strings.Contains(seen, "Asked for") {
		t.Error("a viewer can end, or what was granted waits still")
	}
	page("dana", "/exceptions", "End it now")
	page("vic", "/cases/"+id, "All exceptions")

	moved(form("dana", "/exceptions/"+ofCase+"/end", url.Values{"case": {id}}), "/exceptions?said=end-exception")
	moved(form("dana", "/exceptions/"+standing+"/end", nil), "/exceptions?said=end-exception")
	page("vic", "/exceptions?all=1", "Revoked", "replaced on Friday")
	if strings.Contains(page("vic", "/exceptions"), "Security group open") {
		t.Error("what was ended is set aside still")
	}

	moved(form("lee", "/exceptions", gate), "/exceptions?said=except")
	s.want(200, "vic", "GET", "/api/v1/exceptions", "", &l)
	moved(form("dana", "/exceptions/"+l.Requests[0].ID+"/end", url.Values{"asked": {"1"}}), "/exceptions?said=drop-exception")
	page("dana", "/exceptions?said=drop-exception", "The request is dropped", "No exceptions")
	dropped := false
	for line := range strings.Lines(s.do("token:mara", "GET", "/api/v1/ledger/export", "").Body.String()) {
		var e struct {
			Record struct {
				Type string
				Body []byte // who and what
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		dropped = dropped || e.Record.Type == "exception_dropped" && strings.Contains(string(e.Record.Body), `"u-dana"`)
	}
	if !dropped {
		t.Error("the ledger does not hold who dropped the request")
	}
	if r := form("dana", "/exceptions/none/end", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("nothing ends: %s", r.Status)
	}
}
