package app

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// hub passes hints that something was committed: to the loops and to pages
// that refresh themselves. A lost hint costs time, never correctness.
type hub struct {
	mu sync.Mutex
	// sweep hints that a case may be due before planned, when the loop looks by
	// itself; zero while the loop is at work.
	sweep   chan struct{}
	planned time.Time
	pages   map[chan struct{}]string // tenant by subscription
	runner  func()
	done    bool
	// dirty are the tenants that other nodes were not told of yet, abroad hints
	// that there are some.
	dirty  map[string]bool
	abroad chan struct{}
}

func newHub() *hub {
	return &hub{sweep: make(chan struct{}, 1), pages: map[chan struct{}]string{}, runner: func() {}, dirty: map[string]bool{}, abroad: make(chan struct{}, 1)}
}

// plan says when the sweep looks by itself; the zero time that it is at work and
// wants to hear of every wake-up.
func (h *hub) plan(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.planned = at
}

// allTenants stands for every tenant in a hint; no tenant has that name.
const allTenants = "*"

// poke hints to everybody, here and on other nodes, that something of the tenant
// changed. wake is the next instant of the case; zero for none.
func (h *hub) poke(tenant string, wake time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dirty[tenant] = true
	hint(h.abroad)
	if !wake.IsZero() && (h.planned.IsZero() || wake.Before(h.planned)) {
		hint(h.sweep)
	}
	h.here(tenant)
}

// hear passes on what another node hinted.
func (h *hub) hear(tenants ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hint(h.sweep)
	h.here(tenants...)
}

// here hints to the runner and the pages of this node.
func (h *hub) here(tenants ...string) {
	for c, t := range h.pages {
		if slices.Contains(tenants, t) || slices.Contains(tenants, allTenants) {
			hint(c)
		}
	}
	h.runner()
}

// changed returns the tenants that other nodes are to be told of, once.
func (h *hub) changed() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Sorted(maps.Keys(h.dirty))
	clear(h.dirty)
	return out
}

// hint puts a hint into a channel unless one is waiting already.
func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Subscribe implements web.Hints. The channel is closed when the server stops.
func (h *hub) Subscribe(tenant string) (<-chan struct{}, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{}, 1)
	if h.done {
		close(c)
		return c, func() {}
	}
	h.pages[c] = tenant
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if _, ok := h.pages[c]; ok {
			delete(h.pages, c)
			close(c)
		}
	}
}

// shut ends all subscriptions, so that streams let the server stop.
func (h *hub) shut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = true
	for c := range h.pages {
		delete(h.pages, c)
		close(c)
	}
}

// notifying pokes the hub after commits, counts them, and writes into effects
// what trace called for them.
type notifying struct {
	Store
	hub     *hub
	metrics *metrics
}

// Commit implements engine.Store.
func (n notifying) Commit(ctx context.Context, units []engine.Unit, seen []engine.Sighting) ([]error, error) {
	stamp(ctx, units)
	errs, err := n.Store.Commit(ctx, units, seen)
	n.metrics.stepped(errs, err)
	if err == nil {
		for i, u := range units {
			if errs[i] == nil && len(u.Events) > 0 {
				n.hub.poke(u.Case.Tenant, u.WakeAt)
			}
		}
	}
	return errs, err
}

// SetPause implements web.Switches.
func (n notifying) SetPause(ctx context.Context, p store.Pause) error {
	defer n.hub.poke(allTenants, time.Time{})
	return n.Store.SetPause(ctx, p)
}

// ClearPause implements web.Switches.
func (n notifying) ClearPause(ctx context.Context, p store.Pause) error {
	defer n.hub.poke(allTenants, time.Time{})
	return n.Store.ClearPause(ctx, p)
}

// Entitled implements engine.Principals.
func (l lazyPrincipals) Entitled(ctx context.Context, person string, c remedy.Case, act remedy.Action) (string, error) {
	return l.a.Auth.Entitled(ctx, person, c, act)
}

// intakeFile is the source of a file that an operator of this machine gives us.
func intakeFile(name string) intake.Source {
	return intake.Source{Name: "file/" + name, Tenant: "default", Kind: "token"}
}

// keyHash is the hash part of a note verifier key "name+hash+key".
func keyHash(verifier string) string {
	if p := strings.SplitN(verifier, "+", 3); len(p) == 3 {
		return p[1]
	}
	return verifier
}
