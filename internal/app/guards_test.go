package app

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/policytest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

const shares = `kind: guardrails
share:
  - {name: fleet-day, max_percent: 50, at_least: 1, window: 1d}
`

// uncounted is a store that can't count.
type uncounted struct{ Store }

func (uncounted) Fleet(context.Context, string, string) (int, error) {
	return 0, errors.New("no database")
}

// TestShareOfTheFleet: half of four assets may be changed in a day. The third is
// held and says why; a fleet that grew has more room; one that can't be counted
// has none.
func TestShareOfTheFleet(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	pack, issues := policy.Load([]policy.File{{Name: "x.yaml", Data: []byte(shares)}}, policytest.Environment())
	if len(issues) > 0 {
		t.Fatal(issues.Error())
	}
	facts, err := json.Marshal(policy.Facts{Class: "storage.public"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(units ...record.Unit) {
		t.Helper()
		errs, err := s.Commit(ctx, units, nil)
		if err = errors.Join(append(errs, err)...); err != nil {
			t.Fatal(err)
		}
	}
	var cases []remedy.Case
	open := func(id string) {
		u := storetest.NewCase(id, "key-"+id)
		u.Case.Judgement.Facts = "h"
		u.Facts = map[string][]byte{"h": facts}
		put(u)
		cases = append(cases, u.Case)
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		open(id)
	}
	g := newGuards(func() *policy.Pack { return pack }, s, Budgets{})
	at := storetest.Epoch()
	check := func(g guards, c remedy.Case) (remedy.Guard, []record.Reservation) {
		v, reserve, _ := g.Check(ctx, c, remedy.Action{}, at)
		return v, reserve
	}
	for _, c := range cases[:2] {
		v, reserve := check(g, c)
		if v.Deny != "" || len(reserve) != 1 || reserve[0].Limit != 2 {
			t.Fatalf("%s: %+v %+v", c.ID, v, reserve)
		}
		u := storetest.Step(c, remedy.Acked{}, at)
		u.Reserve = reserve
		put(u)
	}
	if v, _ := check(g, cases[2]); !strings.Contains(v.Deny, "share fleet-day: 2 of 2 actions in 24h are used up") || !v.RetryAt.After(at) {
		t.Errorf("the third of four: %+v", v)
	}
	open("e")
	open("f")
	at = at.Add(2 * fleetFresh)
	if v, reserve := check(g, cases[2]); v.Deny != "" || reserve[0].Limit != 3 {
		t.Errorf("the third of six: %+v %+v", v, reserve)
	}
	at = at.Add(2 * fleetFresh)
	g.store = uncounted{s}
	if v, _ := check(g, cases[2]); !strings.Contains(v.Deny, "could not be counted: no database") || v.RetryAt.Sub(at) != 5*time.Second {
		t.Errorf("without a count: %+v", v)
	}
}
