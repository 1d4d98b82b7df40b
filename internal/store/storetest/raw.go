package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// raw is a raw record of the finding of NewCase(id); equal texts are one record.
func raw(id, text string) record.Raw {
	h := sha256.Sum256([]byte(text))
	return record.Raw{UID: "uid-" + id, Hash: hex.EncodeToString(h[:]), Size: 10 * len(text), Body: []byte(text)}
}

// withRaw opens a case with a raw record of its finding.
func withRaw(t *testing.T, b Backend, id, text string) {
	t.Helper()
	u := NewCase(id, "k-"+id)
	u.Raws = []record.Raw{raw(id, text)}
	must(t, b, u)
}

// settle closes and settles a case.
func settle(t *testing.T, b Backend, id string, at time.Time) {
	t.Helper()
	must(t, b, closed(load(t, b, id), at))
	must(t, b, Step(load(t, b, id), remedy.CaseSettled{}, at))
}

func prune(t *testing.T, b Backend, p store.RawPrune) store.RawPruned {
	t.Helper()
	if p.Look == 0 {
		p.Look = 100
	}
	out, err := b.PruneRaw(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func rawStats(t *testing.T, b Backend) store.RawStats {
	t.Helper()
	s, err := b.RawStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testRaw(t *testing.T, b Backend) {
	equal(t, "none", rawStats(t, b), store.RawStats{})
	withRaw(t, b, "c1", "one")
	withRaw(t, b, "c2", "one")
	withRaw(t, b, "c3", "three")
	equal(t, "stored once", rawStats(t, b), store.RawStats{Records: 2, Size: 80, Stored: 8, Oldest: Epoch()})
	one := raw("c1", "one")
	got, err := b.Raw(ctx, tenant, one.Hash)
	equal(t, "raw error", err, nil)
	equal(t, "raw", got, one)
	_, err = b.Raw(ctx, "other", one.Hash)
	wantErr(t, err, record.ErrNotFound)
	_, err = b.Raw(ctx, tenant, "no hash")
	wantErr(t, err, record.ErrNotFound)

	refused := NewCase("c4", "k-c1")
	refused.Raws = []record.Raw{raw("c4", "four")}
	wantErr(t, commit(b, refused), record.ErrConflict)
	_, err = b.Raw(ctx, tenant, refused.Raws[0].Hash)
	wantErr(t, err, record.ErrNotFound)
	for _, bad := range []record.Raw{{UID: "u", Hash: "abc", Body: []byte("x")}, {Hash: one.Hash, Body: []byte("x")}, {UID: "u", Hash: one.Hash}} {
		u := NewCase("c5", "k-c5")
		u.Raws = []record.Raw{bad}
		wantErr(t, commit(b, u), store.ErrInvalid)
	}
}

func testPruneRaw(t *testing.T, b Backend) {
	end, far := Epoch().Add(time.Hour), Epoch().Add(1000*time.Hour)
	for _, id := range []string{"c1", "c2"} {
		withRaw(t, b, id, "shared")
	}
	withRaw(t, b, "acts", "acts")
	withRaw(t, b, "gone1", "gone1")
	withRaw(t, b, "gone2", "gone2")
	withRaw(t, b, "moved", "moved")
	withRaw(t, b, "took", "took")
	none := store.RawPruned{Done: true}
	last := prune(t, b, store.RawPrune{Before: far}).Next
	equal(t, "open cases keep theirs", prune(t, b, store.RawPrune{Before: far}), store.RawPruned{Next: last, Done: true})
	equal(t, "too young", prune(t, b, store.RawPrune{Before: Epoch()}), none)

	must(t, b, Step(load(t, b, "acts"), remedy.Intended{Action: "a", Key: "k"}, Epoch()))
	must(t, b, record.Unit{Before: 3, Case: remedy.Apply(load(t, b, "took"), remedy.Event{At: Epoch(), Body: remedy.Acked{}}),
		Events: []remedy.Event{{At: Epoch(), Body: remedy.Acked{}}}, MoveFindings: []string{"uid-moved"}})
	for _, id := range []string{"c1", "acts", "gone1", "gone2", "moved"} {
		settle(t, b, id, end)
	}
	equal(t, "the case ended later", prune(t, b, store.RawPrune{Before: end}).Records, 0)
	// c2 is open, acts made a change, and the finding of moved is in took, which
	// is open.
	free := store.RawPrune{Before: far, Dry: true}
	equal(t, "counted", prune(t, b, free), store.RawPruned{Records: 2, Stored: 10, Next: last, Done: true})
	equal(t, "only counted", rawStats(t, b).Records, 6)
	free.Dry, free.Look = false, 3
	first := prune(t, b, free)
	equal(t, "in batches", [2]any{first.Records, first.Done}, [2]any{1, false})
	free.After = first.Next
	second := prune(t, b, free)
	equal(t, "second batch", second.Records, 1)
	free.After = second.Next
	equal(t, "end", prune(t, b, free), store.RawPruned{Next: last, Done: true})
	for text, want := range map[string]error{"shared": nil, "acts": nil, "moved": nil, "took": nil, "gone1": record.ErrNotFound, "gone2": record.ErrNotFound} {
		_, err := b.Raw(ctx, tenant, raw("", text).Hash)
		wantErr(t, err, want)
	}

	settle(t, b, "c2", end)
	again := Step(load(t, b, "c1"), remedy.Commented{}, end)
	again.Raws = []record.Raw{raw("c1", "shared")} // news again
	must(t, b, again)
	equal(t, "touched", prune(t, b, store.RawPrune{Before: end.Add(time.Nanosecond), Stored: 1}).Records, 1)
	_, err := b.Raw(ctx, tenant, raw("", "shared").Hash)
	wantErr(t, err, record.ErrNotFound)
	withRaw(t, b, "c9", "shared") // may be kept anew
	equal(t, "anew", rawStats(t, b).Records, 4)
	equal(t, "ledger", len(must1(b.Events(ctx, tenant, "gone1"))), 5)
}

func must1[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}
