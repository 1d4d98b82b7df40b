package engine_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// TestTicketDoneIsAClaim: a ticket set to done starts verification; while the
// probe sees the exposure the ticket is reopened, once per claim, and only
// proof closes the case.
func TestTicketDoneIsAClaim(t *testing.T) {
	ctx := context.Background()
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	says := func(word string, done bool) bool {
		t.Helper()
		claimed, err := h.e.TicketSays(ctx, "builtin", connector.TicketState{Ref: "T-1", CaseID: id, Word: word, Done: done}, h.now)
		if err != nil {
			t.Fatal(err)
		}
		return claimed
	}
	if says("In Progress", false) {
		t.Error("work in progress is no claim")
	}
	if !says("Done", true) {
		t.Fatal("done was not taken as a claim")
	}
	if says("Done", true) {
		t.Error("the same word was claimed twice")
	}
	h.settle()
	c, err := h.s.Load(ctx, id)
	if err != nil || !c.Open() {
		t.Fatalf("closed by a claim: %v, %v", c.Closed, err)
	}
	if n := count(h.w.tickets, "reopen"); n != 1 {
		t.Errorf("reopened %d times: %v", n, h.w.tickets)
	}
	h.w.exposed = false
	if !says("Done", true) {
		t.Fatal("done again, after the ticket was reopened, is a new claim")
	}
	h.settle()
	if c, err = h.s.Load(ctx, id); err != nil || c.Closed != remedy.ClosedProven {
		t.Errorf("after the fix: %q, %v", c.Closed, err)
	}
	for _, s := range []connector.TicketState{{Ref: "T-9", CaseID: id, Done: true}, {Ref: "T-1", CaseID: "nobody", Done: true}} {
		if claimed, err := h.e.TicketSays(ctx, "builtin", s, h.now); claimed || err != nil {
			t.Errorf("%+v: %v, %v", s, claimed, err)
		}
	}
}

func count(list []string, x string) (n int) {
	for _, y := range list {
		if y == x {
			n++
		}
	}
	return n
}

// TestTicketFinished: what was proven is said with the link to the evidence and
// sets the ticket to done, once, after its last line.
func TestTicketFinished(t *testing.T) {
	h := start(t, nil)
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	if c := h.load(id); c.Closed != remedy.ClosedProven {
		t.Fatalf("case is %s", c.State())
	}
	if n := count(h.w.tickets, "finish"); n != 1 || h.w.tickets[len(h.w.tickets)-1] != "finish" {
		t.Errorf("finished %d times: %v", n, h.w.tickets)
	}
	if last := h.w.tickets[len(h.w.tickets)-2]; !strings.Contains(last, "Closed as proven") || !strings.HasSuffix(last, "/cases/"+id) {
		t.Errorf("the line before: %q", last)
	}
	h = start(t, func(w *world) { w.auth = remedy.AuthNone })
	h.observe(alert("a"))
	h.settle()
	if n := count(h.w.tickets, "finish"); n != 0 {
		t.Errorf("finished without proof: %v", h.w.tickets)
	}
}

// TestTicketRepeat: a try after a crash says that it may be a repeat.
func TestTicketRepeat(t *testing.T) {
	h := start(t, func(w *world) { w.crash = "after ticket" })
	h.observe(alert("a"))
	h.settle()
	if !slices.Equal(h.w.repeats, []bool{false, true}) {
		t.Errorf("repeats: %v", h.w.repeats)
	}
}
