package store_test

import (
	"testing"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestFilterForgetsNothing, over several layers, and mistakes few.
func TestFilterForgetsNothing(t *testing.T) {
	const n = 400_000
	mistaken, forgot := store.Unseen(7, n)
	if forgot {
		t.Error("something that was added is taken for one that never was")
	}
	if mistaken > n/25 {
		t.Errorf("%d of %d are taken for one that was added", mistaken, n)
	}
}

// TestWhatWasNeverStored: a store opened anew tells nothing before it has read
// what is there, then that of what is not, and never that of what is.
func TestWhatWasNeverStored(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	key := func(name string) record.CaseKey { return storetest.NewCase("c1", name).AddKey[0] }
	for _, n := range []string{"1", "4", "5", "6"} {
		must(t, s, storetest.NewCase("c"+n, "k"+n))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, folder)
	check := func(when, uid, name string, want bool) {
		t.Helper()
		k := key(name)
		f, c := s.Never(k.Tenant, uid, k)
		if f != want || c != want {
			t.Errorf("%s: never stored: finding %s %v, key %s %v; want %v", when, uid, f, name, c, want)
		}
	}
	check("opened", "uid-c9", "k9", false)
	must(t, s, storetest.NewCase("c2", "k2")) // before anything was read
	pieces := 0
	for more := true; more; pieces++ {
		check("while it reads", "uid-c9", "k9", false)
		var err error
		if more, err = s.LearnSome(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
	}
	if pieces < 4 {
		t.Errorf("five findings and keys were read in %d pieces of two", pieces)
	}
	must(t, s, storetest.NewCase("c3", "k3"))
	for _, n := range []string{"1", "2", "3", "4", "5", "6"} {
		check("read", "uid-c"+n, "k"+n, false)
		k := key("k" + n)
		refs, err := s.Keys(t.Context(), []record.CaseKey{k})
		if err != nil || len(refs[k]) != 1 || refs[k][0].ID != "c"+n {
			t.Errorf("key %v leads to %v, %v", k, refs, err)
		}
	}
	check("read", "uid-c9", "k9", true)
}

func must(t *testing.T, s *store.SQLite, u record.Unit) {
	t.Helper()
	errs, err := s.Commit(t.Context(), []record.Unit{u}, nil)
	if err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
}
