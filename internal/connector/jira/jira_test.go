package jira_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/jira"
	"github.com/casement/casement/internal/connector/jira/jiratest"
	"github.com/casement/casement/internal/connector/rest/resttest"
)

var update = flag.Bool("update", false, "record the cassette anew")

// clock is a clock that sleeps by moving on.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return ctx.Err()
}

func start(t *testing.T, change func(*jira.Config)) (*jira.Jira, *jiratest.Server, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	s := jiratest.New(t, c.Now)
	cfg := jira.Config{URL: s.URL, Email: "bot@example.com", Token: s.Token, Project: "SEC", Clock: c, HTTP: options(t)}
	if change != nil {
		change(&cfg)
	}
	j, err := jira.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return j, s, c
}

func options(t *testing.T) connector.HTTPOptions {
	t.Helper()
	n, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return connector.HTTPOptions{Network: n}
}

func ticket() connector.TicketRequest {
	return connector.TicketRequest{Key: "c1/ticket/1", CaseID: "c1", Title: "Public bucket\n invoices", Body: "Anyone can read it.\n\n{code}not markup{code} <b>*",
		Assignee: "team/billing", Fields: map[string]string{"severity": "high", "project": "shop"}, Due: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC),
		Link: "https://casement.example/cases/c1"}
}

func TestOpenSayDoneReopen(t *testing.T) {
	ctx := context.Background()
	j, s, c := start(t, func(cfg *jira.Config) {
		cfg.Fields = map[string]string{"severity": "customfield_10010"}
		cfg.Accounts = map[string]string{"team/billing": "5b10"}
		cfg.DueField = "duedate"
	})
	ref, url, err := j.Open(ctx, ticket())
	if err != nil || ref != "SEC-1" || url != s.URL+"/browse/SEC-1" {
		t.Fatalf("Open = %q, %q, %v", ref, url, err)
	}
	i := s.Issues()[0]
	if i.Fields["summary"] != "Public bucket invoices" || i.Fields["customfield_10010"] != "high" || i.Fields["duedate"] != "2026-11-27" ||
		fmt.Sprint(i.Fields["assignee"]) != "map[id:5b10]" {
		t.Errorf("fields: %v", i.Fields)
	}
	doc, _ := json.Marshal(i.Fields["description"])
	for _, want := range []string{"Anyone can read it.", "{code}not markup{code}", "project: shop", `"href":"https://casement.example/cases/c1"`} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the description lacks %q: %s", want, doc)
		}
	}
	for range 2 {
		if err := j.Say(ctx, ref, "c1/1/1", "Still exposed: HTTP 200"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Issues()[0].Comments); n != 1 {
		t.Errorf("%d comments of one key", n)
	}
	if err := j.Reopen(ctx, ref); err != nil || s.Issues()[0].Status != jiratest.ToDo {
		t.Errorf("reopening what is open: %v, %s", err, s.Issues()[0].Status)
	}
	since := c.now
	c.now = c.now.Add(time.Minute)
	s.Move(ref, jiratest.Done)
	got, err := j.Changed(ctx, since)
	if err != nil || len(got) != 1 || got[0] != (connector.TicketState{Ref: ref, CaseID: "c1", Word: "Done", Done: true}) {
		t.Fatalf("Changed = %+v, %v", got, err)
	}
	if err := j.Reopen(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if word, done, err := j.Status(ctx, ref); err != nil || done || word != jiratest.Work {
		t.Errorf("after Reopen: %q, %v, %v", word, done, err)
	}
}

// TestFinish: proof sets an issue to done, never to "Won't do"; what the
// workflow does not offer is refused with the way out.
func TestFinish(t *testing.T) {
	ctx := context.Background()
	for _, x := range []struct {
		name, done, from string
		ways             []string
		want             string
		refused          bool
	}{
		{name: "to Done, though Won't Do comes first", from: jiratest.Work, want: jiratest.Done},
		{name: "done already", from: jiratest.Wont, want: jiratest.Wont},
		{name: "the only end there is", from: jiratest.ToDo, ways: []string{jiratest.Work, jiratest.Wont}, want: jiratest.Wont},
		{name: "by the name of the transition", done: "set to won't do", from: jiratest.ToDo, want: jiratest.Wont},
		{name: "left to people", done: jira.Leave, from: jiratest.Work, want: jiratest.Work},
		{name: "no way there", from: jiratest.ToDo, ways: []string{jiratest.Work}, want: jiratest.ToDo, refused: true},
		{name: "another name than the workflow's", done: "Shipped", from: jiratest.ToDo, want: jiratest.ToDo, refused: true},
	} {
		j, s, _ := start(t, func(cfg *jira.Config) { cfg.Done = x.done })
		s.Ways = x.ways
		ref, _, err := j.Open(ctx, ticket())
		if err != nil {
			t.Fatal(err)
		}
		s.Move(ref, x.from)
		err = j.Finish(ctx, ref)
		if got := s.Issues()[0].Status; got != x.want {
			t.Errorf("%s: %s, want %s", x.name, got, x.want)
		}
		if refused := connector.KindOf(err) == connector.KindRefused; refused != x.refused || !refused && err != nil || refused && !strings.Contains(err.Error(), "name one as done") {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	j, _, _ := start(t, nil)
	if err := j.Finish(ctx, "../SEC-1"); connector.KindOf(err) != connector.KindRefused {
		t.Errorf("a wrong reference: %v", err)
	}
}

// TestOneIssuePerKey: a lost answer, and a search that does not yet find what
// was made, lead to no second issue.
func TestOneIssuePerKey(t *testing.T) {
	ctx := context.Background()
	j, s, _ := start(t, nil)
	s.Lag = 8 * time.Second
	s.DropNext(1)
	_, _, err := j.Open(ctx, ticket())
	var ce *connector.Error
	if !errors.As(err, &ce) || ce.Kind != connector.KindUnsure || ce.After < s.Lag {
		t.Fatalf("a lost answer: %#v", err)
	}
	again := ticket()
	again.Repeat = true
	ref, _, err := j.Open(ctx, again)
	if err != nil || ref != "SEC-1" || s.Creates() != 1 {
		t.Errorf("Open again = %q, %v after %d creations", ref, err, s.Creates())
	}
	other := ticket()
	other.Key = "c2/ticket/1"
	if ref, _, err := j.Open(ctx, other); err != nil || ref != "SEC-2" {
		t.Errorf("another key: %q, %v", ref, err)
	}
}

func TestErrorsSayWhatTheyMean(t *testing.T) {
	ctx := context.Background()
	for _, x := range []struct {
		status int
		kind   connector.Kind
		after  time.Duration
	}{
		{http.StatusTooManyRequests, connector.KindRetry, 7 * time.Second},
		{http.StatusServiceUnavailable, connector.KindRetry, 0},
		{http.StatusForbidden, connector.KindConfig, 0},
		{http.StatusInternalServerError, connector.KindRetry, 0}, // the first call is a search
	} {
		j, s, _ := start(t, nil)
		s.Refuse(x.status)
		_, _, err := j.Open(ctx, ticket())
		var ce *connector.Error
		if !errors.As(err, &ce) || ce.Kind != x.kind || ce.After != x.after {
			t.Errorf("%d: %#v", x.status, err)
		}
		if s.Creates() != 0 {
			t.Errorf("%d: created all the same", x.status)
		}
	}
	j, s, _ := start(t, func(cfg *jira.Config) { cfg.Token = "wrong-token-77aa" })
	_, _, err := j.Open(ctx, ticket())
	if connector.KindOf(err) != connector.KindConfig || strings.Contains(err.Error(), "wrong-token-77aa") {
		t.Errorf("a wrong token: %v", err)
	}
	s.Refuse()
	j, _, _ = start(t, nil)
	long := ticket()
	long.Title = strings.Repeat("é", 400)
	if _, _, err := j.Open(ctx, long); err != nil {
		t.Errorf("a long title: %v", err)
	}
	for _, ref := range []string{"", "SEC", "sec-1", "../SEC-1", "SEC-1/comment"} {
		if _, _, err := j.Status(ctx, ref); connector.KindOf(err) != connector.KindRefused {
			t.Errorf("Status(%q): %v", ref, err)
		}
	}
}

// TestChangedPages: more changes than a page holds.
func TestChangedPages(t *testing.T) {
	ctx := context.Background()
	j, _, c := start(t, nil)
	for i := range 120 {
		q := ticket()
		q.Key, q.CaseID = fmt.Sprint("k", i), fmt.Sprint("c", i)
		if _, _, err := j.Open(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	got, err := j.Changed(ctx, c.now.Add(-time.Minute))
	if err != nil || len(got) != 120 || got[119].CaseID != "c119" {
		t.Errorf("%d changes, %v", len(got), err)
	}
}

func TestNewReportsAllFaults(t *testing.T) {
	_, err := jira.New(jira.Config{URL: "ftp://x", Project: "lower"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"token:", "project:", "url:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %s", err, want)
		}
	}
}

// TestCassette plays a recorded conversation: the requests stay the same to the
// letter.
func TestCassette(t *testing.T) {
	const path = "testdata/open.json"
	run := func(tape *resttest.Tape, wrap func(http.RoundTripper) http.RoundTripper, url, token string) {
		j, err := jira.New(jira.Config{URL: url, Token: token, Project: "SEC", Clock: &clock{time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}, HTTP: options(t), Wrap: wrap})
		if err != nil {
			t.Fatal(err)
		}
		ref, _, err := j.Open(context.Background(), ticket())
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Say(context.Background(), ref, "k", "A line"); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		c := &clock{time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
		s := jiratest.New(t, c.Now)
		tape := resttest.Record(s.Token, strings.TrimPrefix(s.URL, "http://"))
		run(tape, tape.Recording, s.URL, s.Token)
		if err := tape.Save(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	tape, err := resttest.Play(path, "any-token-1234")
	if err != nil {
		t.Fatal(err)
	}
	run(tape, tape.Playing, "https://jira.example", "any-token-1234")
	if tape.Left() != 0 {
		t.Errorf("%d recorded requests were not made", tape.Left())
	}
}
