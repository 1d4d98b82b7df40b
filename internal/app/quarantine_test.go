package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/casement/casement/internal/app"
)

// TestQuarantineOperations: who may look sees what is unreadable without its
// secrets, an administrator has it read again or drops it, the ledger holds both,
// and the report measures what became of it.
func TestQuarantineOperations(t *testing.T) { onBothURLs(t, quarantineOperations) }

func quarantineOperations(t *testing.T, database string) {
	s := newSite(t, app.Config{Database: database})
	s.want(422, "token:feed", "POST", "/api/v1/alerts", `{"odd_id":"7","host":"web-1","password":"sesame"}`, nil)
	s.want(422, "token:feed", "POST", "/api/v1/alerts", `<note/>`, nil)
	var list struct {
		Bodies []struct {
			ID         int64
			Source     string
			Bytes      int
			Owner, Why string
		}
	}
	s.want(200, "vic", "GET", "/api/v1/quarantine", "", &list)
	if len(list.Bodies) != 2 || list.Bodies[0].Bytes != 49 || list.Bodies[0].Owner == "" || !strings.Contains(list.Bodies[1].Why, "XML") {
		t.Fatalf("listed %+v", list)
	}
	path := func(i int, verb string) string {
		return fmt.Sprintf("/api/v1/quarantine/%d%s", list.Bodies[i].ID, verb)
	}
	var body struct {
		Size int
		Text string
	}
	s.want(403, "vic", "GET", path(0, ""), "", nil)
	s.want(200, "lee", "GET", path(0, ""), "", &body)
	if !strings.Contains(body.Text, `"web-1"`) || strings.Contains(body.Text, "sesame") || body.Size != 49 {
		t.Errorf("shown %+v", body)
	}
	s.want(403, "dana", "POST", path(0, "/release"), "", nil)
	s.want(403, "dana", "POST", path(0, "/drop"), `{"reason":"x"}`, nil)
	var out struct {
		Stays        bool
		Why          string
		Kept, Opened int
		Cases        []string
	}
	if s.want(200, "token:mara", "POST", path(0, "/release"), "", &out); !out.Stays || out.Why == "" || len(out.Cases) != 0 {
		t.Errorf("no reader knows it: %+v", out)
	}
	s.want(422, "mara", "POST", path(0, "/release"), `{"mapping":"format: [odd"}`, nil)
	const mapping = `format: odd\nversion: 1\ndetect: [{path: odd_id, exists: true}]\nconstants: {source: odd, severity: high}\nfields: {native_id: odd_id, title: odd_id, asset.uid: host}\n`
	if s.want(200, "mara", "POST", path(0, "/release"), `{"mapping":"`+mapping+`"}`, &out); out.Stays || out.Opened != 1 || len(out.Cases) != 1 {
		t.Errorf("read by a mapping: %+v", out)
	}
	s.want(404, "mara", "POST", path(0, "/release"), "", nil)
	s.want(422, "mara", "POST", path(1, "/drop"), `{"reason":" "}`, nil)
	s.want(200, "mara", "POST", path(1, "/drop"), `{"reason":"a test of the sender"}`, nil)
	s.want(404, "mara", "POST", path(1, "/drop"), `{"reason":"again"}`, nil)
	export := s.do("token:mara", "GET", "/api/v1/ledger/export", "").Body.String()
	for _, what := range []string{"quarantined_body_read", "quarantined_body_released", "quarantined_body_dropped"} {
		if !strings.Contains(export, `"`+what+`"`) {
			t.Errorf("the ledger does not hold %s", what)
		}
	}
	if strings.Contains(export, "a test of the sender") || strings.Contains(export, "sesame") {
		t.Error("the ledger holds a person's words, or what was sent")
	}

	var rep struct {
		Rows []struct {
			Class  string
			Opened int
		}
	}
	s.want(200, "vic", "GET", "/api/v1/report", "", &rep)
	if len(rep.Rows) != 2 || rep.Rows[0].Class != "all" || rep.Rows[0].Opened != 1 {
		t.Errorf("report %+v", rep)
	}
	s.want(422, "vic", "GET", "/api/v1/report?since=2099-01-01T00:00:00Z", "", nil)
}
