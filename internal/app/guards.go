package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/recent"
	"github.com/casement/casement/internal/remedy"
)

// guards apply the policy's guardrails and the kill switch. They fail closed:
// what can't be read forbids.
type guards struct {
	pack  func() *policy.Pack
	store Store
	// budgets are the ceilings of the configuration.
	budgets Budgets
	fleets  *recent.Values[fleetKey, fleetSize]
	mu      *sync.Mutex // guards fleets
}

type fleetKey struct{ tenant, class string }

// fleetSize is a count and when it was made.
type fleetSize struct {
	n  int
	at time.Time
}

// fleetFresh is how long the count of a fleet is used: it grows slowly, and an
// old one is only too small.
const fleetFresh = time.Minute

// unreadAgain is when an action is tried again whose guardrails could not be read:
// a fault of our own holds it back no longer than it lasts.
const unreadAgain = 5 * time.Second

func newGuards(pack func() *policy.Pack, s Store, b Budgets) guards {
	f := recent.New[fleetKey, fleetSize](256)
	return guards{pack: pack, store: s, budgets: b, fleets: &f, mu: &sync.Mutex{}}
}

// counters tell policy what was acted on in a tenant. The first fault is kept:
// then nothing may be acted on.
type counters struct {
	g      guards
	ctx    context.Context
	tenant string
	at     time.Time
	err    error
}

// Taken implements policy.Counters.
func (c *counters) Taken(key string, from time.Time) int {
	n, err := c.g.store.Drawn(c.ctx, c.tenant+"/"+key, from)
	c.err = errors.Join(c.err, err)
	return n
}

// Fleet implements policy.Counters.
func (c *counters) Fleet(class string) (int, bool) {
	k := fleetKey{c.tenant, class}
	c.g.mu.Lock()
	f, ok := c.g.fleets.Get(k)
	c.g.mu.Unlock()
	if ok && c.at.Sub(f.at).Abs() < fleetFresh {
		return f.n, true
	}
	n, err := c.g.store.Fleet(c.ctx, c.tenant, class)
	if err != nil {
		c.err = errors.Join(c.err, err)
		return 0, false
	}
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	c.g.fleets.Set(k, fleetSize{n, c.at})
	return n, true
}

// ScopesOf are the kill-switch scopes that cover an action of a case.
func ScopesOf(c remedy.Case, a remedy.Action) []string {
	return []string{"all", "connector/" + a.Spec.Connector, "playbook/" + c.Judgement.Decision.Playbook, "rule/" + c.Judgement.Decision.Rule}
}

// Check implements engine.Guards.
func (g guards) Check(ctx context.Context, c remedy.Case, a remedy.Action, at time.Time) (remedy.Guard, []engine.Reservation, []string) {
	scopes := ScopesOf(c, a)
	soon := at.Add(5 * time.Minute)
	scope, err := g.Paused(ctx, scopes)
	switch {
	case err != nil:
		return remedy.Guard{Deny: "the kill switch could not be read: " + err.Error(), RetryAt: at.Add(unreadAgain)}, nil, scopes
	case scope != "":
		return remedy.Guard{Deny: "paused: " + scope, RetryAt: soon}, nil, scopes
	}
	var f policy.Facts
	b, err := g.store.Fact(ctx, c.Tenant, c.Judgement.Facts)
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		return remedy.Guard{Deny: "the facts of the decision could not be read: " + err.Error(), RetryAt: at.Add(unreadAgain)}, nil, scopes
	}
	count := &counters{g: g, ctx: ctx, tenant: c.Tenant, at: at}
	v := g.pack().Guard(f, policy.GuardRequest{Rule: c.Judgement.Decision.Rule, Playbook: c.Judgement.Decision.Playbook,
		Action: a.Spec, Approved: len(a.Approval.Grants) > 0}, at, count)
	if count.err != nil {
		return remedy.Guard{Deny: "what was done already could not be counted: " + count.err.Error(), RetryAt: at.Add(unreadAgain)}, nil, scopes
	}
	var out remedy.Guard
	for _, h := range v.Holds {
		word := fmt.Sprintf("%s %s: %s", h.Kind, h.Name, h.Why)
		if h.Approvable {
			out.Ask = word
			continue
		}
		out.Deny, out.RetryAt = word, h.Until
	}
	reserve := make([]engine.Reservation, len(v.Draws))
	for i, d := range v.Draws {
		reserve[i] = engine.Reservation{Key: c.Tenant + "/" + d.Key, N: 1, Limit: d.Limit, From: d.From, At: at}
	}
	return out, append(reserve, g.ceilings(at)...), scopes
}

// ceilings are what a change takes of the install's own budgets, which count
// every change of every tenant.
func (g guards) ceilings(at time.Time) []engine.Reservation {
	var out []engine.Reservation
	for _, b := range []struct {
		key   string
		limit int
		since time.Duration
	}{{"install/hour", g.budgets.PerHour, time.Hour}, {"install/day", g.budgets.PerDay, 24 * time.Hour}} {
		if b.limit > 0 {
			out = append(out, engine.Reservation{Key: b.key, N: 1, Limit: b.limit, From: at.Add(-b.since), At: at})
		}
	}
	return out
}

// Paused implements engine.Guards.
func (g guards) Paused(ctx context.Context, scopes []string) (string, error) {
	ps, err := g.store.Pauses(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range ps {
		for _, s := range scopes {
			if p.Scope == s {
				return s, nil
			}
		}
	}
	return "", nil
}
