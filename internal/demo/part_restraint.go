package demo

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/sim"
)

// sandboxes is how many buckets the broad rule fits; its budget is smaller.
const (
	sandboxes     = 8
	sandboxBudget = 5
)

// restraint is part 4: a budget, a forged alert, a change that broke something.
func (s *stage) restraint(ctx context.Context) error {
	s.out.title(4, "It restrains itself", "A rule that fits too much, an alert that is not true, and a fix that breaks an application.")
	held, err := s.budget(ctx)
	if err != nil {
		return err
	}
	s.cast = append(s.cast, member{name: "acme-sandbox (held)", id: held, note: "waits for its budget"})
	if err := s.forged(ctx); err != nil {
		return err
	}
	return s.broken(ctx)
}

// budget sends more than the rule may change in an hour. It returns the case
// of one bucket that is held.
func (s *stage) budget(ctx context.Context) (string, error) {
	var body bytes.Buffer
	for i := range sandboxes {
		name := "acme-sandbox-" + strconv.Itoa(i+1)
		s.world.Bucket(name).MakePublic()
		body.Write(bucketAlert(name, "sandbox"))
	}
	a, err := s.server.alert(ctx, body.Bytes())
	if err != nil {
		return "", err
	}
	s.out.line("", "alerts", "%d public buckets of the sandbox, one broad rule; it may change %d in an hour", sandboxes, sandboxBudget)
	closed, held, other := 0, "", ""
	for _, id := range a.cases() {
		c, err := s.until(ctx, id, 20*time.Second, func(c remedy.Case) bool { return ended(c) || c.State() == remedy.StateHeld })
		if err != nil {
			return "", err
		}
		switch {
		case c.Closed == remedy.ClosedProven:
			closed++
		case c.State() == remedy.StateHeld:
			held = id
		default:
			other = whyOpen(c)
		}
	}
	if held == "" {
		other = "no bucket was held back"
	}
	changed := 0
	for i := range sandboxes {
		changed += min(1, s.world.Changes("s3/acme-sandbox-"+strconv.Itoa(i+1)))
	}
	err = s.claims.put(claim{Kind: "budget", Subject: "s3/acme-sandbox-*", Want: strconv.Itoa(sandboxBudget), Saw: strconv.Itoa(changed)})
	if err != nil {
		return "", err
	}
	if closed != sandboxBudget || changed != sandboxBudget || other != "" {
		return "", fmt.Errorf("the budget did not hold: %d proven, %d changed %s", closed, changed, other)
	}
	c, err := s.server.load(ctx, held)
	if err != nil {
		return "", err
	}
	s.out.line(green, "proven", "%d buckets closed", closed)
	s.out.line(yellow, "held", "%d buckets untouched: %s", sandboxes-closed, c.Actions[0].Reason)
	return held, s.claims.put(claim{Kind: "held", Case: held, Subject: "s3/" + c.Asset.Name, Want: "held", Saw: string(c.State()), State: "open", Detail: "budget"})
}

// forged sends an alert about a bucket that is not public.
func (s *stage) forged(ctx context.Context) error {
	s.world.Bucket("acme-customers")
	a, err := s.server.alert(ctx, bucketAlert("acme-customers", "customers"))
	if err != nil {
		return err
	}
	id := a.cases()[0]
	s.cast = append(s.cast, member{name: "acme-customers", id: id, note: "not reproduced"})
	s.out.line("", "alert", "somebody reports acme-customers as public; it is not")
	c, _, err := s.follow(ctx, id, 15*time.Second, func(c remedy.Case) bool { return ended(c) || c.State() == remedy.StateHeld }, nil)
	if err != nil {
		return err
	}
	saw := string(c.State())
	if err := s.claims.put(claim{Kind: "held", Case: id, Subject: "s3/acme-customers", Want: "held", Saw: saw, State: "private", Detail: "not reproduced"}); err != nil {
		return err
	}
	if saw != "held" {
		return fmt.Errorf("the forged alert was not held: %s", whyOpen(c))
	}
	return nil
}

// broken closes a bucket an application needs; the change undoes itself.
func (s *stage) broken(ctx context.Context) error {
	const subject = "s3/acme-storefront"
	s.world.Bucket("acme-storefront").MakePublic()
	if s.Sabotage == "undo-fails" {
		s.world.SetFault(subject, sim.Fault{UndoFails: true})
	}
	a, err := s.server.alert(ctx, bucketAlert("acme-storefront", "storefront"))
	if err != nil {
		return err
	}
	id := a.cases()[0]
	s.cast = append(s.cast, member{name: "acme-storefront", id: id, note: "undone, a person decides"})
	s.out.line("", "alert", "a cloud scanner reports acme-storefront; the storefront reads it in the open")
	c, evs, err := s.follow(ctx, id, 15*time.Second, func(c remedy.Case) bool {
		return ended(c) || slices.ContainsFunc(c.Actions, func(a remedy.Action) bool { return a.Status == remedy.ActionUndone })
	}, nil)
	if err != nil || len(c.Actions) == 0 {
		return orNothing(err, "nothing was planned for acme-storefront")
	}
	act := c.Actions[0]
	broke := "nothing"
	for _, p := range every[remedy.ProbeSaw](evs) {
		if p.Purpose == remedy.ProbeContinuity && p.Observation.Result == remedy.Exposed {
			broke = "broken"
		}
	}
	list := []claim{
		{Kind: "broke", Want: "broken", Saw: broke},
		{Kind: "undone", Want: "undone", Saw: string(act.Status), State: "open"},
	}
	for _, x := range list {
		x.Case, x.Action, x.Subject = id, act.ID, subject
		if err := s.claims.put(x); err != nil {
			return err
		}
	}
	if act.Status != remedy.ActionUndone {
		return fmt.Errorf("the change was not undone: it is %s (%s)", act.Status, act.Reason)
	}
	status, err := s.health(ctx)
	if err != nil {
		return err
	}
	s.out.line(green, "app", "the storefront answers %d again; the bucket is public again, and a person was called", status)
	return nil
}

func orNothing(err error, what string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", what)
}

// listed joins words for a sentence.
func listed(words []string) string { return strings.Join(words, ", ") }
