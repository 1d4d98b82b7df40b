package engine_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// damaged is a store in which some cases can't be loaded, or panic.
type damaged struct {
	engine.Store
	ids, panics map[string]bool
}

func (d damaged) Load(ctx context.Context, id string) (remedy.Case, error) {
	if d.panics[id] {
		panic("damaged")
	}
	if d.ids[id] {
		return remedy.Case{}, errors.New("damaged")
	}
	return d.Store.Load(ctx, id)
}

// other is an alert about another asset.
func other(t *testing.T, name string) finding.Finding {
	t.Helper()
	f := alert(name)
	f.Asset.UID = name
	f, err := finding.Normalize(f)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSweepGoesOnBesideADamagedCase: a group full of damaged cases, and one
// that panics, keep the clocks of no other case; each fault is told, tried with
// a growing wait, and a dead letter in the end.
func TestSweepGoesOnBesideADamagedCase(t *testing.T) {
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	bad := damaged{h.s, map[string]bool{}, map[string]bool{}}
	for i := range 3 {
		bad.ids[h.observe(other(t, "bad"+strconv.Itoa(i)))[0].CaseID] = true
	}
	bad.panics[h.observe(other(t, "panics"))[0].CaseID] = true
	good := h.observe(other(t, "good"))[0].CaseID
	h.settle()
	h.now = h.load(good).Clocks().Ack.Add(time.Hour)
	h.e.Store = bad
	ctx := context.Background()
	var told strings.Builder
	for range 5 { // a group of one is full at once
		n, err := h.e.Sweep(ctx, h.now, 1)
		if n != 1 {
			t.Errorf("%d ticked or put off, want 1", n)
		}
		if err != nil {
			told.WriteString(err.Error())
		}
	}
	for id := range bad.ids {
		if !strings.Contains(told.String(), id) {
			t.Errorf("the fault of %s was not told: %s", id, told.String())
		}
	}
	if len(h.load(good).Ladder.Said) == 0 {
		t.Error("the clocks of the other case stand still")
	}
	for range record.DeadAfter {
		h.now = h.now.Add(10 * time.Minute)
		_, _ = h.e.Sweep(ctx, h.now, 64) // its faults are those above
	}
	if s, err := h.s.DeadSummary(ctx, finding.DefaultTenant); err != nil || s.N != 4 {
		t.Errorf("%d dead letters, %v; want the four damaged cases", s.N, err)
	}
	h.e.Store = h.s // mended
	h.now = h.now.Add(2 * record.DeadEvery)
	if _, err := h.e.Sweep(ctx, h.now, 64); err != nil {
		t.Error(err)
	}
	if s, err := h.s.DeadSummary(ctx, finding.DefaultTenant); err != nil || s.N != 0 {
		t.Errorf("%d dead letters, %v; want none after the cases were mended", s.N, err)
	}
}

// deaf is a route on which nothing arrives.
type deaf struct {
	engine.Doors
	down *bool
}

func (d deaf) Notifier(route string) (connector.Notifier, bool) {
	n, ok := d.Doors.Notifier(route)
	if *d.down {
		return down{}, ok
	}
	return n, ok
}

type down struct{}

func (down) Notify(context.Context, connector.Notice) error {
	return connector.Errorf(connector.KindRetry, "the chat is down")
}

// TestMessageThatNeverArrives: it becomes a dead letter that the case shows,
// and is delivered by itself once the route works again. Nothing else waits.
func TestMessageThatNeverArrives(t *testing.T) {
	h := start(t, nil)
	broken := true
	h.e.Doors = deaf{h.e.Doors, &broken}
	id := h.observe(alert("a"))[0].CaseID
	h.until(8 * time.Hour)
	c := h.load(id)
	if c.Closed != remedy.ClosedProven {
		t.Errorf("case is %s: it waits for a message", c.State())
	}
	if len(c.Stuck) == 0 || c.Bottleneck.Kind != "dead letter" || c.Bottleneck.Who == "" {
		t.Fatalf("stuck %v, waits for %+v; want a dead letter", c.Stuck, c.Bottleneck)
	}
	list, err := h.s.DeadLetters(context.Background(), finding.DefaultTenant, id, 10)
	if err != nil || len(list) == 0 || list[0].Kind != "message" || !strings.Contains(list[0].Reason, "the chat is down") || !list[0].NextAt.After(h.now) || list[0].NextAt.Sub(h.now) > 2*record.DeadEvery {
		t.Fatalf("dead letters %+v, %v", list, err)
	}
	if len(h.w.notices) != 0 {
		t.Fatalf("notices %q", h.w.notices)
	}
	broken = false
	h.until(2 * record.DeadEvery)
	if c := h.load(id); len(h.w.notices) == 0 || len(c.Messages) != 0 || c.Bottleneck.Kind == "dead letter" {
		t.Errorf("%d notices, %d messages left, waits for %+v", len(h.w.notices), len(c.Messages), c.Bottleneck)
	}
	if s, err := h.s.DeadSummary(context.Background(), finding.DefaultTenant); err != nil || s.N != 0 {
		t.Errorf("%d dead letters left, %v", s.N, err)
	}
}

// TestPauseCostsNoTry: an undo that waits for the kill switch for days is made
// when it is released.
func TestPauseCostsNoTry(t *testing.T) {
	h := start(t, func(w *world) { w.contain = true; w.crash = "after undo intent" })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	if _, err := h.e.Tell(context.Background(), id, remedy.Command{At: h.now, By: remedy.Actor{Kind: remedy.Person, ID: "olga"},
		Do: remedy.UndoAction{Action: "e1.1", Reason: "wrong"}}); err != nil {
		t.Fatal(err)
	}
	h.w.paused = "all"
	for crash := false; !crash; {
		_, crash = h.step()
	}
	h.until(3 * time.Hour)
	effects, err := h.s.EffectsOf(context.Background(), id, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range effects {
		if e.Attempt > 1 { // the one that died
			t.Errorf("%s: %d tries after three hours of pause", e.ID, e.Attempt)
		}
	}
	h.w.paused = ""
	h.until(10 * time.Minute)
	if c := h.load(id); c.Actions[0].Status != remedy.ActionUndone {
		t.Errorf("after the pause the action is %s", c.Actions[0].Status)
	}
}
