package store_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestPostgresSaysNothing: the server is stopped with all its sessions and takes
// connections still. Who was in mid-commit is told that it is not known, all others
// that nothing was stored, and nobody waits for the server; once it goes on, what
// comes again is stored once.
func TestPostgresSaysNothing(t *testing.T) {
	srv, empty := emptyPG(t)
	p := newMiddle(t, srv.Copy(t, empty))
	s := openPG(t, p.url+"&tcp_user_timeout=300&connect_timeout=1")
	commit := func(prefix string, i int) error {
		return commitOne(s, storetest.NewCase(prefix+strconv.Itoa(i), "k"+strconv.Itoa(i)))
	}
	if err := commit("c", 0); err != nil {
		t.Fatal(err)
	}
	frozen := sync.OnceFunc(func() { srv.Freeze(t) })
	p.atCommit = func() (pass, answer bool) { frozen(); return true, true }
	p.watch.Store(true)
	if err := commit("c", 1); !errors.Is(err, record.ErrUnsure) || !errors.Is(err, record.ErrUnavailable) {
		t.Errorf("in mid-commit: %v", err)
	}
	const n = 40
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := 2; i < n; i++ {
		wg.Go(func() { errs[i] = commit("c", i) })
	}
	reads := make([]error, 4)
	wg.Go(func() { _, reads[0] = s.Known(t.Context(), "default", []string{"uid-c1"}) })
	wg.Go(func() { _, reads[1] = s.Load(t.Context(), "c0") })
	wg.Go(func() { _, reads[2] = s.Tail(t.Context()) })
	wg.Go(func() {
		_, reads[3] = s.InboxPut(t.Context(), store.InboxItem{Tenant: "default", Source: "s", ReceivedAt: storetest.Epoch(), NextAt: storetest.Epoch()})
	})
	wg.Wait()
	for i, err := range append(errs[2:], reads...) {
		if !errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrUnsure) {
			t.Errorf("%d: %v", i, err)
		}
	}
	srv.Thaw(t)
	for i := range n {
		err := commit("d", i) // the same exposure, sent again
		if known := errors.Is(err, record.ErrConflict); i == 0 && !known || i > 1 && known || err != nil && !known {
			t.Errorf("exposure %d again: %v", i, err)
		}
	}
	if open := openCases(t, s); open != n {
		t.Errorf("%d open cases, not %d", open, n)
	}
}
