package store_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestPostgresStopped: while the server is not there, all who write and read are
// told so, and nothing of theirs is stored; once it is back, the same is stored
// once.
func TestPostgresStopped(t *testing.T) {
	srv, at := emptyPG(t)
	s := openPG(t, at)
	const n = 300 // more than one group
	all := func() []error {
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = commitOne(s, storetest.NewCase("c"+strconv.Itoa(i), "k"+strconv.Itoa(i))) })
		}
		wg.Wait()
		return errs
	}
	srv.Stop(t)
	for i, err := range all() {
		if !errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrUnsure) {
			t.Fatalf("case %d: %v", i, err)
		}
	}
	_, known := s.Known(t.Context(), "default", []string{"uid-c1"})
	_, load := s.Load(t.Context(), "c1")
	_, tail := s.Tail(t.Context())
	_, put := s.InboxPut(t.Context(), store.InboxItem{Tenant: "default", Source: "s", ReceivedAt: storetest.Epoch(), NextAt: storetest.Epoch()})
	for _, err := range []error{known, load, tail, put} {
		if !errors.Is(err, record.ErrUnavailable) {
			t.Error(err)
		}
	}
	srv.Run(t)
	if err := errors.Join(all()...); err != nil {
		t.Fatal(err)
	}
	for i, err := range all() {
		if !errors.Is(err, record.ErrConflict) {
			t.Fatalf("case %d again: %v", i, err)
		}
	}
}

// TestPostgresLostCommit: the connection ends after a COMMIT of several callers
// was sent and before its answer came, and the server can't be reached any more.
// Who waits for that commit is not told that it failed; who queues behind is told
// that nothing was stored. Trying again doubles nothing, whether it was stored or
// not.
func TestPostgresLostCommit(t *testing.T) {
	srv, empty := emptyPG(t)
	for _, arrives := range []bool{true, false} {
		t.Run("arrives "+strconv.FormatBool(arrives), func(t *testing.T) {
			p := newMiddle(t, srv.Copy(t, empty))
			s := openPG(t, p.url)
			errs := make([]error, 4)
			var wg sync.WaitGroup
			commit := func(i int) {
				errs[i] = commitOne(s, storetest.NewCase("c"+strconv.Itoa(i), "k"+strconv.Itoa(i)))
			}
			queue := func(list ...int) {
				for n, i := range list {
					wg.Go(func() { commit(i) })
					for s.Queued() <= n {
						runtime.Gosched()
					}
				}
			}
			first := true
			p.atCommit = func() (pass, answer bool) {
				if first { // of a group with only c0
					first = false
					queue(1, 2)
					return true, true
				}
				queue(3)
				p.gone.Store(true)
				return arrives, false
			}
			if _, err := s.Load(t.Context(), "none"); !errors.Is(err, record.ErrNotFound) { // what opens a session speaks of commits
				t.Fatal(err)
			}
			p.watch.Store(true)
			commit(0)
			wg.Wait()
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
			for _, err := range errs[1:3] {
				if !errors.Is(err, record.ErrUnsure) || !errors.Is(err, record.ErrUnavailable) {
					t.Errorf("in mid-commit: %v", err)
				}
			}
			if err := errs[3]; !errors.Is(err, record.ErrUnavailable) || errors.Is(err, record.ErrUnsure) {
				t.Errorf("behind it: %v", err)
			}
			p.watch.Store(false)
			p.gone.Store(false)
			if n, want := openCases(t, s), map[bool]int{true: 3, false: 1}[arrives]; n != want {
				t.Errorf("%d cases are stored, not %d", n, want)
			}
			for i, stored := range []bool{true, arrives, arrives, false} { // each comes again, as a new case of the same exposure
				err := commitOne(s, storetest.NewCase("d"+strconv.Itoa(i), "k"+strconv.Itoa(i)))
				if stored != errors.Is(err, record.ErrConflict) || !stored && err != nil {
					t.Errorf("exposure %d again: %v", i, err)
				}
			}
			if n := openCases(t, s); n != 4 {
				t.Errorf("%d open cases, not 4", n)
			}
		})
	}
}

func openCases(t *testing.T, s *store.Postgres) int {
	t.Helper()
	page, err := s.ListCases(t.Context(), store.CaseFilter{Tenant: "default"}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Cases)
}

// middle passes on what clients and server say to each other.
type middle struct {
	url string
	// gone: new connections are closed at once.
	gone atomic.Bool
	// watch has every COMMIT stop at atCommit, which says whether it is passed on
	// and whether its answer is.
	watch    atomic.Bool
	atCommit func() (pass, answer bool)
}

func newMiddle(t *testing.T, at string) *middle {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, server := &middle{}, u.Host
	u.Host = l.Addr().String()
	m.url = u.String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if m.gone.Load() {
				_ = c.Close()
				continue
			}
			wg.Go(func() { m.pass(ctx, c, server) })
		}
	})
	return m
}

func (m *middle) pass(ctx context.Context, client net.Conn, at string) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err != nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })()
	var deaf atomic.Bool // the answer is not passed on
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if n > 0 && !deaf.Load() {
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
			if deaf.Load() { // it was done
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if m.watch.Load() && bytes.Contains(buf[:n], []byte("commit\x00")) {
			pass, answer := m.atCommit()
			if !answer {
				deaf.Store(true)
				if pass {
					if _, err := server.Write(buf[:n]); err == nil {
						<-done
					}
				}
				return
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = server.Close()
	<-done
}
