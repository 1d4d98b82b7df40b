package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/s3"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/sim"
)

const bucketPolicy = `kind: playbooks
playbooks:
  - name: public-bucket
    description: The owner closes the bucket; the probe looks from outside.
    probe: s3/anonymous-get
    grade: P2
    manual:
      - Remove public access from the bucket.
---
kind: rules
mode: ticket
rules:
  - name: public-bucket
    when: class == "storage.public"
    class: K2
    playbook: public-bucket
    ticket: true
    why: Anyone can read it.
---
kind: routes
routes:
  - name: all
    tickets:
      - {system: tracker, template: plain, project: storage}
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}", fields: {bucket: "${asset_uid}"}}
`

const bucketOwners = `people:
  - {id: olga, team: storage}
teams:
  - {id: storage, lead: olga, members: [olga]}
fallback: storage
operations_lead: olga
`

// settle works off what is due, until nothing is.
func (s *site) settle() {
	s.t.Helper()
	for range 50 {
		n, err := s.app.Engine.Step(context.Background(), time.Now().UTC())
		if err != nil {
			s.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
	s.t.Fatal("there is no end to what is due")
}

// ticket is a ticket as the API shows it.
type ticket struct {
	ID                    int64
	Ref, Case, Status     string
	Version               int
	Title, Body, Assignee string
	Fields                map[string]string
	Comments              []struct{ By, Text string }
}

// TestDoneIsAClaim: a colleague sets the ticket to done while the bucket is
// still public: the probe looks, and the ticket is reopened with what it saw.
// When the bucket is closed, done closes the case as proven.
func TestDoneIsAClaim(t *testing.T) { onBothURLs(t, doneIsAClaim) }

func doneIsAClaim(t *testing.T, database string) {
	w, err := sim.NewWorld(sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	b := w.Bucket("customer-files")
	b.Put("invoices/2026.csv", "name,amount")
	b.MakePublic()
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s3.New(s3.Config{Endpoint: w.URL(sim.ServiceS3), AccessKey: sim.S3AccessKey, SecretKey: sim.S3SecretKey, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, app.Config{Database: database, Connectors: map[string]connector.Connector{"s3": conn}, Policy: []policy.File{{Name: "buckets.yaml", Data: []byte(bucketPolicy)}},
		Authors: []string{"paula"}, Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(bucketOwners)}}})

	alert := fmt.Sprintf(`{"source":"cloud.scanner","native_id":"s3-0","rule":"S3.8","title":"Bucket customer-files can be read by anyone","class":"storage.public",
		"severity":"high","confidence":95,"asset":{"uid":%q,"type":"bucket","name":"customer-files","environment":"production"},"first_seen":"2026-11-02T08:00:00Z"}`, b.ARN())
	s.want(200, "token:feed", "POST", "/api/v1/alerts", strings.ReplaceAll(alert, "\n", " "), nil)
	s.settle()
	var list struct{ Tickets []ticket }
	s.want(200, "vic", "GET", "/api/v1/tickets", "", &list)
	if len(list.Tickets) != 1 || list.Tickets[0].Status != "open" || list.Tickets[0].Fields["bucket"] == "" {
		t.Fatalf("tickets: %+v", list.Tickets)
	}
	tk := list.Tickets[0]
	path := "/api/v1/tickets/1"
	s.want(403, "vic", "PUT", path+"/status", `{"status":"done"}`, nil)
	s.want(422, "lee", "PUT", path+"/status", `{"status":"finished"}`, nil)
	s.want(200, "lee", "POST", path+"/comments", `{"text":"I closed it this morning"}`, nil)
	s.want(412, "lee", "PUT", path+"/status", `{"status":"in progress"}`, nil, "If-Match", `"99"`)

	// The claim, while the bucket is public.
	s.want(200, "lee", "PUT", path+"/status", `{"status":"done"}`, &tk)
	if tk.Status != "done" {
		t.Errorf("after the claim: %+v", tk)
	}
	s.settle()
	s.want(200, "vic", "GET", path, "", &tk)
	last := tk.Comments[len(tk.Comments)-1]
	if tk.Status != "open" || last.By != "casement" || !strings.Contains(last.Text, "Not fixed: the probe still sees the exposure.") || !strings.Contains(last.Text, "without a credential answers 20") {
		t.Errorf("after the probe: %+v", tk)
	}
	var c struct{ State string }
	s.want(200, "vic", "GET", "/api/v1/cases/"+tk.Case, "", &c)
	if c.State == "closed" {
		t.Error("a claim closed the case")
	}
	page := s.do("vic", "GET", "/tickets/1", "", "Accept", "text/html").Body.String()
	for _, word := range []string{"Not fixed: the probe still sees the exposure.", "I closed it this morning", "Still exposed", "customer-files"} {
		if !strings.Contains(page, word) {
			t.Errorf("the page of the ticket lacks %q", word)
		}
	}
	if strings.Contains(page, "Set to done") {
		t.Error("a viewer is offered to set the status")
	}

	// The bucket is closed, then the ticket, by the form of the page.
	b.SetPolicy("")
	s.want(http.StatusSeeOther, "lee", "POST", "/tickets/1/status", "status=done&version="+fmt.Sprint(tk.Version), nil, "Content-Type", "application/x-www-form-urlencoded")
	s.settle()
	s.want(200, "vic", "GET", path, "", &tk)
	s.want(200, "vic", "GET", "/api/v1/cases/"+tk.Case, "", &c)
	if tk.Status != "done" || c.State != "closed" {
		t.Errorf("after the fix: ticket %s, case %s", tk.Status, c.State)
	}
	if w.Changes("s3/customer-files") != 0 {
		t.Error("a ticket changed the target")
	}
}
