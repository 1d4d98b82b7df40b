package engine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// TestSeeds lives 200 seeded lives over the model store: duplicates, lies,
// drift, crashes between two writes, pauses. The same seed is the same life.
func TestSeeds(t *testing.T) {
	for seed := uint64(1); seed <= 200; seed++ {
		if a, b := life(t, seed), life(t, seed); a != b {
			t.Fatalf("seed %d: two lives differ", seed)
		}
	}
}

func life(t *testing.T, seed uint64) [32]byte {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{exposed: true, byKey: map[string]bool{}, once: remedy.OnceKey, as: map[string]string{"anna": "approver"},
		auth: []remedy.Authorization{remedy.AuthEnforce, remedy.AuthApprove, remedy.AuthNone}[r.IntN(3)]}
	m := store.NewModel()
	h := &harness{t: t, w: w, s: m, now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	h.e = engine.New(engine.Config{Store: m, Effects: m, Judge: func() engine.Judge { return w }, Guards: w, Doors: w, Principals: w,
		Tickets: w, BaseURL: "http://127.0.0.1", Rand: rand.NewChaCha8([32]byte{byte(seed)}), Failpoint: w.fail})
	points := []string{"", "", "before commit", "after commit", "after claim", "before act", "before sweep commit", "after sweep commit", "after probe", "after message"}
	cases := map[string]bool{}
	trace := sha256.New()
	for range 60 {
		op := r.IntN(7)
		w.crash = ""
		switch op {
		case 0:
			for _, p := range h.observe(alert(fmt.Sprint(r.IntN(3)))) {
				cases[p.CaseID] = true
			}
		case 1:
			w.other = fmt.Sprint(r.IntN(3))
		case 2:
			w.lies, w.probeErr = r.IntN(4) == 0, r.IntN(4) == 0
		case 3:
			w.paused = []string{"", "all"}[r.IntN(2)]
		case 4:
			for id := range cases {
				c := h.load(id)
				for _, a := range c.Actions {
					if a.Status == remedy.ActionAsking {
						_, _ = h.e.Approve(ctx, id, a.ID, a.Plan.Hash, "anna", "", h.now)
					}
				}
			}
		default:
			w.crash = points[r.IntN(len(points))]
			h.now = h.now.Add(time.Duration(1+r.IntN(1800)) * time.Second)
			acts := h.acts()
			if _, crash := h.step(); crash {
				h.now = h.now.Add(2 * time.Minute)
			}
			if w.paused != "" && h.acts() != acts {
				t.Fatalf("seed %d: acted under the kill switch", seed)
			}
		}
		open := 0
		for id := range cases {
			c := h.load(id)
			evs, err := m.Events(ctx, finding.DefaultTenant, id)
			if err != nil {
				t.Fatal(err)
			}
			if c.Open() {
				open++
			}
			if c.Version != uint64(len(evs)) {
				t.Fatalf("seed %d: %d events, version %d", seed, len(evs), c.Version)
			}
			if !c.Settled && (remedy.WakeAt(c).IsZero() || c.Bottleneck.Who == "") {
				t.Fatalf("seed %d: orphan in %s", seed, c.State())
			}
			intended := 0
			for _, e := range evs {
				if _, ok := e.Decoded.(remedy.Intended); ok {
					intended++
				}
				fmt.Fprintf(trace, "%x", e.Hash)
			}
			if intended == 0 && len(w.log) > 0 {
				t.Fatalf("seed %d: acted without an intent: %q", seed, w.log)
			}
		}
		if open > 1 {
			t.Fatalf("seed %d: %d open cases of one exposure", seed, open)
		}
		fmt.Fprint(trace, op, h.now, w.log)
	}
	return [32]byte(trace.Sum(nil))
}
