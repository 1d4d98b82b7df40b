package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/jira"
	"github.com/casement/casement/internal/connector/jira/jiratest"
	"github.com/casement/casement/internal/remedy"
)

// harnessClock is the harness' time; sleeping moves it on.
type harnessClock struct{ h *harness }

func (c harnessClock) Now() time.Time { return c.h.now }

func (c harnessClock) Sleep(ctx context.Context, d time.Duration) error {
	c.h.now = c.h.now.Add(d)
	return ctx.Err()
}

// TestJira: a case has exactly one issue although the process dies right after
// Jira made it, or the answer is lost, and search lags behind; done there starts
// verification, and the issue is reopened with what the probe saw.
func TestJira(t *testing.T) {
	for name, fault := range map[string]func(*world, *jiratest.Server){
		"crash":       func(w *world, _ *jiratest.Server) { w.crash = "after ticket" },
		"lost answer": func(_ *world, s *jiratest.Server) { s.DropNext(1) },
		"limited":     func(_ *world, s *jiratest.Server) { s.Refuse(429) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			h := start(t, func(w *world) { w.auth = remedy.AuthNone })
			s := jiratest.New(t, func() time.Time { return h.now })
			s.Lag = 5 * time.Second
			n, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
			if err != nil {
				t.Fatal(err)
			}
			j, err := jira.New(jira.Config{URL: s.URL, Token: s.Token, Project: "SEC", Clock: harnessClock{h}, HTTP: connector.HTTPOptions{Network: n}})
			if err != nil {
				t.Fatal(err)
			}
			h.w.tracker = j
			fault(h.w, s)
			id := h.observe(alert("a"))[0].CaseID
			h.settle()
			h.until(10 * time.Minute)
			if got := s.Issues(); len(got) != 1 {
				t.Fatalf("%d issues", len(got))
			}
			c, err := h.s.Load(ctx, id)
			if err != nil || c.Tickets[0].Ref != "SEC-1" {
				t.Fatalf("tickets %+v, %v", c.Tickets, err)
			}
			s.Move("SEC-1", jiratest.Done)
			states, err := j.Changed(ctx, h.now.Add(-time.Minute))
			if err != nil || len(states) != 1 {
				t.Fatalf("changed: %+v, %v", states, err)
			}
			if claimed, err := h.e.TicketSays(ctx, "builtin", states[0], h.now); !claimed || err != nil {
				t.Fatalf("no claim: %v", err)
			}
			h.settle()
			i := s.Issues()[0]
			if c, err = h.s.Load(ctx, id); err != nil || !c.Open() || i.Status == jiratest.Done || len(i.Comments) == 0 {
				t.Fatalf("closed %q; the issue is %s with %d comments; %v", c.Closed, i.Status, len(i.Comments), err)
			}
			// The exposure is gone and nobody says so: the probe finds it, the
			// issue gets the link to the evidence, and is done.
			h.w.exposed = false
			if _, err := h.e.Tell(ctx, id, remedy.Command{At: h.now, By: remedy.Actor{Kind: remedy.Person, ID: "kim"}, Do: remedy.Verify{}}); err != nil {
				t.Fatal(err)
			}
			h.until(time.Hour)
			i = s.Issues()[0]
			last := ""
			for _, x := range i.Comments {
				last = string(x.Body)
			}
			if c, err = h.s.Load(ctx, id); err != nil || c.Closed != remedy.ClosedProven || i.Status != jiratest.Done || !strings.Contains(last, "Closed as proven") || !strings.Contains(last, "/cases/"+id) {
				t.Errorf("closed %q; the issue is %s; its last comment %s; %v", c.Closed, i.Status, last, err)
			}
			// That we set it to done is no claim of anybody.
			states, err = j.Changed(ctx, h.now.Add(-2*time.Hour))
			if err != nil || len(states) != 1 || !states[0].Done {
				t.Fatalf("changed: %+v, %v", states, err)
			}
			if claimed, err := h.e.TicketSays(ctx, "builtin", states[0], h.now); claimed || err != nil {
				t.Errorf("our own done is taken as a claim: %v", err)
			}
		})
	}
}
