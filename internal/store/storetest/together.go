package storetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// pair makes two units share their fate.
func pair(a, b record.Unit) []record.Unit {
	a.Together, b.Together = "both", "both"
	return []record.Unit{a, b}
}

func testTogether(t *testing.T, b Backend) {
	must(t, b, NewCase("c1", "k1"), NewCase("c2", "k2"))
	old := load(t, b, "c2")
	must(t, b, Step(old, remedy.Acked{}, Epoch()))
	c1 := load(t, b, "c1")

	// A conflict of the last refuses the first, and nobody else in the commit.
	good, late := Step(c1, remedy.AssignedTo{To: "u-bob"}, Epoch()), Step(old, remedy.Acked{}, Epoch())
	good.Reserve = []record.Reservation{{Key: "budget", N: 1, Limit: 1, From: Epoch(), At: Epoch()}}
	good.AddKey = []record.CaseKey{key("k3")}
	units := append([]record.Unit{NewCase("c8", "k8")}, pair(good, late)...)
	units = append(units, NewCase("c9", "k9"))
	errs, err := b.Commit(ctx, units, nil)
	equal(t, "commit", err, nil)
	equal(t, "one before", errs[0], nil)
	wantErr(t, errs[1], record.ErrConflict)
	wantErr(t, errs[2], record.ErrConflict)
	equal(t, "one after", errs[3], nil)
	equal(t, "the first of the two", load(t, b, "c1"), c1)
	if refs, _ := b.Keys(ctx, []record.CaseKey{key("k3")}); len(refs) != 0 {
		t.Error("a key of the refused pair is bound")
	}

	// So does one of the first, another kind of failure, and a unit that makes no sense.
	errs, _ = b.Commit(ctx, pair(late, good), nil)
	wantErr(t, errs[1], record.ErrConflict)
	broke := Step(load(t, b, "c2"), remedy.Acked{}, Epoch())
	broke.Reserve = []record.Reservation{{Key: "other", N: 2, Limit: 1, From: Epoch(), At: Epoch()}}
	errs, _ = b.Commit(ctx, pair(good, broke), nil)
	wantErr(t, errs[0], record.ErrBudget)
	broke.Case.Tenant = ""
	errs, _ = b.Commit(ctx, pair(good, broke), nil)
	wantErr(t, errs[0], store.ErrInvalid)
	equal(t, "still untouched", load(t, b, "c1"), c1)
	must(t, b, good) // its budget is free
}

// testMove moves the key and the finding of one case to another, by events, in
// one step.
func testMove(t *testing.T, b Backend) {
	at := Epoch().Add(time.Hour)
	must(t, b, NewCase("c1", "k1"), NewCase("c2", "k2"))
	loser := Step(load(t, b, "c1"), remedy.MergedInto{Into: "c2", Why: "test"}, at)
	winner := Step(load(t, b, "c2"), remedy.Acked{}, at)
	loser.DropKey = []record.CaseKey{key("k1")}
	winner.AddKey, winner.MoveFindings = loser.DropKey, []string{"uid-c1"}

	ghost := winner
	ghost.MoveFindings = []string{"uid-c1", "uid-nobody"}
	errs, err := b.Commit(ctx, pair(loser, ghost), nil)
	equal(t, "commit", err, nil)
	wantErr(t, errs[0], record.ErrConflict)
	wantErr(t, errs[1], record.ErrConflict)
	if c := load(t, b, "c1"); !c.Open() {
		t.Fatal("half of a refused move is there")
	}
	// The new owner can't have the key before the old one gave it up.
	errs, _ = b.Commit(ctx, pair(winner, loser), nil)
	wantErr(t, errs[0], record.ErrConflict)

	must(t, b, pair(loser, winner)...)
	refs, err := b.Keys(ctx, []record.CaseKey{key("k1"), key("k2")})
	equal(t, "keys error", err, nil)
	equal(t, "keys", refs, map[record.CaseKey][]record.CaseRef{key("k1"): {{ID: "c2", Open: true}}, key("k2"): {{ID: "c2", Open: true}}})
	known, err := b.Known(ctx, tenant, []string{"uid-c1"})
	equal(t, "known error", err, nil)
	equal(t, "known", known["uid-c1"], record.Known{CaseID: "c2", Digest: finding.DecisionDigest(Finding("c1")), Quiet: load(t, b, "c2").Quiet()})
	rows, err := b.Findings(ctx, "c2")
	equal(t, "findings error", err, nil)
	equal(t, "findings", rows[0], store.FindingRow{Finding: Finding("c1"), CaseID: "c2", Digest: finding.DecisionDigest(Finding("c1")), FirstSeen: Epoch(), LastSeen: Epoch(), Sightings: 1})
	if rows, _ := b.Findings(ctx, "c1"); len(rows) != 0 {
		t.Errorf("the old case still has %v", rows)
	}

	// And back.
	back := Step(load(t, b, "c2"), remedy.Acked{}, at)
	again := reopened(load(t, b, "c1"), at)
	back.DropKey = []record.CaseKey{key("k1")}
	again.AddKey, again.MoveFindings = back.DropKey, []string{"uid-c1"}
	must(t, b, pair(back, again)...)
	refs, _ = b.Keys(ctx, []record.CaseKey{key("k1")})
	equal(t, "back", refs[key("k1")], []record.CaseRef{{ID: "c1", Open: true}})
	if err := race(b); err != nil {
		t.Error(err)
	}
}

// race lets pairs over the same two cases be stored at the same time: each pair
// that was stored moved both.
func race(b Backend) error {
	const callers, steps = 4, 5
	var wg sync.WaitGroup
	failed := make(chan error, callers)
	for n := range callers {
		wg.Go(func() {
			for done := 0; done < steps; {
				x, errX := b.Load(ctx, "c1")
				y, errY := b.Load(ctx, "c2")
				if err := errors.Join(errX, errY); err != nil {
					failed <- err
					return
				}
				units := pair(Step(x, remedy.Acked{}, Epoch()), Step(y, remedy.Acked{}, Epoch()))
				if n%2 == 1 { // the other way round
					units[0], units[1] = units[1], units[0]
				}
				errs, err := b.Commit(context.Background(), units, nil)
				switch {
				case err != nil || class(errs[0]) != class(errs[1]):
					failed <- errors.Join(err, errs[0], errs[1])
					return
				case errs[0] == nil:
					done++
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// testBeside: a case is not opened beside one that its maker has not seen, even
// if that one is closed already.
func testBeside(t *testing.T, b Backend) {
	none, one := 0, 1
	first := NewCase("c1", "key")
	first.Beside = &none
	first.Events = append(first.Events, remedy.Event{At: Epoch(), By: remedy.Actor{Kind: remedy.Policy, ID: "test"},
		Body: remedy.EpisodeClosed{How: remedy.ClosedSuppressed, Why: "test", Until: Epoch().Add(time.Hour)}})
	first.Case = remedy.Replay(first.Events)
	must(t, b, first)
	late := NewCase("c2", "key")
	late.Beside = &none
	if err := commit(b, late); !errors.Is(err, record.ErrConflict) {
		t.Errorf("opened beside a case that was set aside meanwhile: %v", err)
	}
	late.Beside = &one
	must(t, b, late)
	if c := load(t, b, "c2"); !c.Open() {
		t.Error("the second case is not open")
	}
	third := NewCase("c3", "key")
	two := 2
	third.Beside = &two
	if err := commit(b, third); !errors.Is(err, record.ErrConflict) {
		t.Errorf("two open cases of one key: %v", err)
	}
}
