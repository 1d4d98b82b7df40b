package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestReach: of all who connect to a server that does not answer one tries at a
// time, and nobody beside it waits for its whole time.
func TestReach(t *testing.T) {
	const within = 3 * time.Second
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tries, answers := 0, false
		r := newReach(func(ctx context.Context, _, _ string) (net.Conn, error) {
			mu.Lock()
			tries++
			ok := answers
			mu.Unlock()
			if ok {
				c, _ := net.Pipe()
				return c, nil
			}
			<-ctx.Done() // packets vanish
			return nil, ctx.Err()
		}, within)
		many := func(n int) (slowest time.Duration, failed int) {
			begun := time.Now()
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					c, err := r.connect(t.Context(), "tcp", "db:5432")
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, time.Since(begun))
					if err != nil {
						failed++
					} else if c.Close() != nil {
						t.Error("no connection")
					}
				})
			}
			wg.Wait()
			return slowest, failed
		}
		if slowest, failed := many(10); slowest != within || failed != 10 || tries != 10 {
			t.Errorf("before anything is known: %d failed after %s, %d tries", failed, slowest, tries)
		}
		tries = 0
		other, err := r.connect(t.Context(), "tcp", "standby:5432") // in its own right
		if err == nil || other != nil || tries != 1 {
			t.Error("another server")
		}
		tries = 0
		done := make(chan struct{})
		go func() { many(1); close(done) }()
		synctest.Wait()
		if slowest, failed := many(50); slowest != pgJoin || failed != 50 || tries != 1 {
			t.Errorf("beside an attempt: %d failed after %s, %d tries", failed, slowest, tries)
		}
		<-done
		answers, tries = true, 0
		if slowest, failed := many(50); slowest != 0 || failed != 0 {
			t.Errorf("when it answers again: %d failed after %s, %d tries", failed, slowest, tries)
		}
	})
}

// TestReachCallerLeaves: an attempt that its caller gave up says nothing of the
// server.
func TestReachCallerLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newReach(func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, ctx.Err() }, time.Second)
	if _, err := r.connect(ctx, "tcp", "db:5432"); !errors.Is(err, context.Canceled) || len(r.at) != 0 {
		t.Error(err, r.at)
	}
}
