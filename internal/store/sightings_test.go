package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestRepeatsAreCountedOnce: whatever is sighted, counted in parts, or read
// again from the log after the store was opened anew, every repeat counts once.
func TestRepeatsAreCountedOnce(t *testing.T) {
	empty, folder := t.TempDir(), t.TempDir()
	if err := open(t, empty).Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		sub := filepath.Join(folder, string(rune('a'+n%26))+time.Now().Format("150405.000000000"))
		if err := os.CopyFS(sub, os.DirFS(empty)); err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		s, err := store.Open(ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(s.Close(), os.RemoveAll(sub)); err != nil {
				t.Error(err)
			}
		}()
		names := []string{"c1", "c2", "c3", "c4"}
		want, last := map[string]int{}, map[string]time.Time{}
		for _, id := range names {
			u := storetest.NewCase(id, "key-"+id)
			if _, err := s.Commit(ctx, []record.Unit{u}, nil); err != nil {
				t.Fatal(err)
			}
			want[id], last[id] = 1, u.Case.At
		}
		at := storetest.Epoch()
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"sight", "sight", "count some", "count all", "open anew"}).Draw(r, "step") {
			case "sight":
				id := rapid.SampledFrom(names).Draw(r, "case")
				at = at.Add(time.Second)
				count := rapid.IntRange(1, 3).Draw(r, "count")
				seen := []record.Sighting{{Tenant: "default", UID: "uid-" + id, At: at, Count: count}}
				if _, err := s.Commit(ctx, nil, seen); err != nil {
					t.Fatal(err)
				}
				want[id] += count
				last[id] = at
			case "count some":
				err = s.CountSome(ctx, 2)
			case "count all":
				err = s.Checkpoint(ctx)
			case "open anew":
				if err = s.Close(); err == nil {
					s, err = store.Open(ctx, sub)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range names {
				rows, err := s.Findings(ctx, id)
				if err != nil || len(rows) != 1 {
					t.Fatalf("findings of %s: %v, %v", id, rows, err)
				}
				if rows[0].Sightings != want[id] || !rows[0].LastSeen.Equal(last[id]) {
					r.Fatalf("%s was seen %d times, last at %v; want %d, %v", id, rows[0].Sightings, rows[0].LastSeen, want[id], last[id])
				}
			}
		}
	})
}

// TestWhatIsRememberedIsWhatIsCommitted: after a case stops being quiet a
// repeat is no sighting any more, however well the finding is known.
func TestWhatIsRememberedIsWhatIsCommitted(t *testing.T) {
	s := open(t, t.TempDir())
	u := storetest.NewCase("c1", "k1")
	commit := func(u record.Unit) {
		t.Helper()
		errs, err := s.Commit(t.Context(), []record.Unit{u}, nil)
		if err = errors.Join(append(errs, err)...); err != nil {
			t.Fatal(err)
		}
	}
	commit(u)
	seen := []record.Sighting{{Tenant: "default", UID: "uid-c1", At: u.Case.At, Count: 1}}
	if _, err := s.Commit(t.Context(), nil, seen); err != nil {
		t.Fatalf("a repeat of a quiet case: %v", err)
	}
	loud := storetest.Step(u.Case, remedy.EpisodeClosed{How: remedy.ClosedSuppressed}, u.Case.At.Add(time.Minute))
	if loud.Case.Quiet() {
		t.Fatal("the case is still quiet; this test needs one that is not")
	}
	commit(loud)
	known, err := s.Known(t.Context(), "default", []string{"uid-c1"})
	if err != nil || known["uid-c1"].Quiet {
		t.Errorf("known after the case closed: %+v, %v", known, err)
	}
	if _, err := s.Commit(t.Context(), nil, seen); !errors.Is(err, record.ErrConflict) {
		t.Errorf("a repeat of a case that is not quiet: %v, want a conflict", err)
	}
	rows, err := s.Findings(t.Context(), "c1")
	if err != nil || rows[0].Sightings != 2 {
		t.Errorf("seen %d times, %v; want 2", rows[0].Sightings, err)
	}
}
