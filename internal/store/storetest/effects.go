package storetest

import (
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

const lease = time.Minute

func claim(t *testing.T, b Backend, now time.Time, n int) []record.Lease {
	t.Helper()
	ls, err := b.Claim(ctx, now, lease, n)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

// claimed returns the ids of the effects of leases.
func claimed(ls []record.Lease) []string {
	ids := []string{}
	for _, l := range ls {
		ids = append(ids, l.Row.ID)
	}
	return ids
}

// withEffects opens a case with effects named after objects ("" for none).
func withEffects(t *testing.T, b Backend, id string, objects ...string) {
	t.Helper()
	u := NewCase(id, "key of "+id)
	u.AddEffects = nil
	for i, o := range objects {
		u.AddEffects = append(u.AddEffects, Effect(id, name("message/", i), o))
	}
	must(t, b, u)
}

// outcome is a unit that ends the lease's effect.
func outcome(t *testing.T, b Backend, l record.Lease, hold bool) record.Unit {
	t.Helper()
	u := Step(load(t, b, l.Row.CaseID), remedy.Acked{}, Epoch())
	u.Done, u.Hold = &l, hold
	return u
}

func testClaimApart(t *testing.T, b Backend) {
	withEffects(t, b, "a", "", "")
	withEffects(t, b, "b", "bucket")
	withEffects(t, b, "c", "bucket")
	withEffects(t, b, "d", "", "elsewhere")
	first := claim(t, b, Epoch(), 10)
	equal(t, "first claim", claimed(first), []string{"a/message/0", "b/message/0", "d/message/0"})
	equal(t, "everything else waits", len(claim(t, b, Epoch(), 10)), 0)
	epochs := map[uint64]bool{}
	for _, l := range first {
		if l.Epoch == 0 || epochs[l.Epoch] || l.Attempt != 1 || !l.Until.Equal(Epoch().Add(lease)) {
			t.Errorf("lease %+v", l)
		}
		epochs[l.Epoch] = true
	}
	for _, l := range first {
		must(t, b, outcome(t, b, l, false))
	}
	equal(t, "second claim", claimed(claim(t, b, Epoch(), 2)), []string{"a/message/1", "c/message/0"})
	equal(t, "third claim", claimed(claim(t, b, Epoch(), 2)), []string{"d/message/1"})
	if later := Effect("e", "probe/1", ""); true {
		later.NotBefore = Epoch().Add(time.Hour)
		u := NewCase("e", "ke")
		u.AddEffects = []record.EffectRow{later}
		must(t, b, u)
		equal(t, "not before", len(claim(t, b, Epoch().Add(59*time.Second), 10)), 0)
	}
}

func testLeaseLife(t *testing.T, b Backend) {
	withEffects(t, b, "a", "")
	l := claim(t, b, Epoch(), 1)[0]
	equal(t, "extend", b.Extend(ctx, l, Epoch().Add(2*lease)), nil)
	equal(t, "still leased", len(claim(t, b, Epoch().Add(lease), 1)), 0)
	equal(t, "release", b.Release(ctx, l, Epoch().Add(5*time.Minute), "503 from the target"), nil)
	wantErr(t, b.Extend(ctx, l, Epoch().Add(time.Hour)), record.ErrStale)
	wantErr(t, b.Release(ctx, l, Epoch(), "again"), record.ErrStale)
	wantErr(t, commit(b, outcome(t, b, l, false)), record.ErrStale)
	equal(t, "backs off", len(claim(t, b, Epoch().Add(4*time.Minute), 1)), 0)
	st, err := b.EffectsOf(ctx, "a", 10)
	equal(t, "status error", err, nil)
	if len(st) != 1 || st[0].LastError != "503 from the target" || st[0].Attempt != 1 || !st[0].NextAt.Equal(Epoch().Add(5*time.Minute)) || !st[0].LeaseUntil.IsZero() {
		t.Errorf("status %+v", st)
	}
	again := claim(t, b, Epoch().Add(5*time.Minute), 1)[0]
	if again.Attempt != 2 || again.Epoch <= l.Epoch {
		t.Errorf("second lease %+v after %+v", again, l)
	}
	must(t, b, outcome(t, b, again, false))
	equal(t, "done", len(claim(t, b, Epoch().Add(time.Hour), 1)), 0)
	wantErr(t, commit(b, outcome(t, b, again, false)), record.ErrStale)
}

func testLostLease(t *testing.T, b Backend) {
	withEffects(t, b, "a", "bucket", "bucket")
	old := claim(t, b, Epoch(), 1)[0]
	later := Epoch().Add(lease)
	taken := claim(t, b, later, 2)
	// The expired one is next again by its instant; the order among the two
	// does not matter, only that one of them is in flight.
	equal(t, "taken over", len(taken), 1)
	if taken[0].Epoch <= old.Epoch {
		t.Errorf("epoch %d after %d", taken[0].Epoch, old.Epoch)
	}
	wantErr(t, b.Extend(ctx, old, later.Add(lease)), record.ErrStale)
	wantErr(t, commit(b, outcome(t, b, old, true)), record.ErrStale)
}

func testIntent(t *testing.T, b Backend) {
	withEffects(t, b, "a", "bucket")
	withEffects(t, b, "b", "bucket")
	l := claim(t, b, Epoch(), 1)[0]
	must(t, b, outcome(t, b, l, true))
	equal(t, "the effect goes on", len(claim(t, b, Epoch(), 1)), 0)
	must(t, b, outcome(t, b, l, true)) // a second intent of the same lease
	equal(t, "extend", b.Extend(ctx, l, Epoch().Add(2*lease)), nil)
	must(t, b, outcome(t, b, l, false))
	wantErr(t, commit(b, outcome(t, b, l, true)), record.ErrStale)
	equal(t, "the object is free", claimed(claim(t, b, Epoch(), 1)), []string{"b/message/0"})
}

func testDropped(t *testing.T, b Backend) {
	withEffects(t, b, "a", "bucket", "")
	l := claim(t, b, Epoch(), 1)[0]
	equal(t, "claimed", l.Row.ID, "a/message/0")
	drop := Step(load(t, b, "a"), remedy.Acked{}, Epoch())
	drop.DropEffects = []string{"a/message/0", "unknown"}
	must(t, b, drop)
	st, err := b.EffectsOf(ctx, "a", 10)
	if err != nil || len(st) != 1 || st[0].ID != "a/message/1" {
		t.Errorf("effects after dropping: %+v, %v", st, err)
	}
	equal(t, "the world may still be touched", len(claim(t, b, Epoch(), 5)), 0)
	wantErr(t, b.Extend(ctx, l, Epoch().Add(time.Hour)), record.ErrStale)
	wantErr(t, commit(b, outcome(t, b, l, false)), record.ErrStale)
	wantErr(t, commit(b, outcome(t, b, l, true)), record.ErrStale)
	wantErr(t, b.Release(ctx, l, Epoch(), "was dropped"), record.ErrStale)
	equal(t, "given back", claimed(claim(t, b, Epoch(), 5)), []string{"a/message/1"})

	withEffects(t, b, "b", "")
	claim(t, b, Epoch(), 1)
	drop = Step(load(t, b, "b"), remedy.Acked{}, Epoch())
	drop.DropEffects = []string{"b/message/0"}
	must(t, b, drop)
	equal(t, "after the lease it is gone", claimed(claim(t, b, Epoch().Add(lease), 5)), []string{"a/message/1"})
}

func testEffectAgain(t *testing.T, b Backend) {
	withEffects(t, b, "a", "")
	l := claim(t, b, Epoch(), 1)[0]
	u := outcome(t, b, l, false)
	u.AddEffects = []record.EffectRow{l.Row} // the same effect is called for again
	must(t, b, u)
	again := claim(t, b, Epoch(), 1)[0]
	if again.Epoch <= l.Epoch || again.Attempt != 1 {
		t.Errorf("again %+v after %+v", again, l)
	}
	wantErr(t, commit(b, outcome(t, b, l, false)), record.ErrStale)
	u = Step(load(t, b, "a"), remedy.Acked{}, Epoch())
	u.DropEffects = []string{l.Row.ID}
	u.AddEffects = []record.EffectRow{l.Row}
	must(t, b, u)
	equal(t, "waits for the old lease", len(claim(t, b, Epoch(), 1)), 0)
	wantErr(t, commit(b, outcome(t, b, again, false)), record.ErrStale)
	third := claim(t, b, Epoch().Add(lease), 1)
	if len(third) != 1 || third[0].Epoch <= again.Epoch {
		t.Errorf("third lease %+v", third)
	}
}
