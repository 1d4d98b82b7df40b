package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestServeOnSilentPostgres: the database of a server stops in what it does and
// takes connections still. Intake and pages answer 503 with Retry-After within
// their bound; the server is alive and not ready. When the database goes on, so
// does the server: nothing acknowledged is lost, and what was answered as not
// known or not stored, and comes again, is done once.
func TestServeOnSilentPostgres(t *testing.T) {
	// A statement is given up after three times tcp_user_timeout, and connections
	// after connect_timeout; what is left is room for a busy machine.
	const bound = 3*500*time.Millisecond + time.Second + 10*time.Second
	at := oneMachine()
	at.params = "&tcp_user_timeout=500&connect_timeout=1"
	c := newCluster(t, at, 1, 5)
	s := c.store()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c.load(ctx, 0, 40, nil)

	// One action is under way, and load goes on, when the database stops.
	_, _, release := c.midAct(ctx, s, 500)
	during := make(chan struct{})
	go func() {
		defer close(during)
		c.load(ctx, 100, 160, nil)
	}()
	c.await("load", func() bool { return c.ackedSince(100) >= 10 })
	c.srv.Freeze(t)
	release()
	c.await("the server not to be ready", func() bool { return !c.ready(ctx, 0) })

	codes := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for n := 200; n < 240; n++ {
		all.Go(func() {
			code, took := c.ask(ctx, http.MethodPost, "/api/v1/alerts", clusterAlert(n))
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
			if took > bound {
				t.Errorf("alert %d: answered after %s, the bound is %s", n, took, bound)
			}
		})
	}
	for path, want := range map[string]string{"/readyz": "503 again", "/api/v1/cases": "503 again", "/healthz": "200"} {
		all.Go(func() {
			if code, took := c.ask(ctx, http.MethodGet, path, ""); code != want || took > bound {
				t.Errorf("%s: %s after %s, want %s", path, code, took, want)
			}
		})
	}
	all.Wait()
	if codes["503 again"] != 40 {
		t.Errorf("intake answered %v, want 40 times 503 with Retry-After", codes)
	}
	before := c.sink.requests()
	c.srv.Thaw(t)
	<-during // what was sent while it said nothing is sent until it is taken
	c.await("the server to be ready", func() bool { return c.ready(ctx, 0) })
	c.load(ctx, 200, 240, nil)
	c.settle(s, 0, 2*time.Minute)
	if after := c.sink.requests(); after <= before {
		t.Errorf("%d requests to change before the database went on, %d after", before, after)
	}
	if c.refused.Load() == 0 {
		t.Error("no load came while the database said nothing")
	}
	t.Logf("while it said nothing: %v; of the load %d were refused and %d got no answer", codes, c.refused.Load(), c.silent.Load())
	t.Log(c.tally(s))
}

// ask sends one request and returns its status, "again" after it if it names a
// time to come back, and how long it took.
func (c *cluster) ask(ctx context.Context, method, path, body string) (string, time.Duration) {
	from := time.Now()
	r, err := http.NewRequestWithContext(ctx, method, c.nodes[0].addr.URL+path, strings.NewReader(body))
	if err != nil {
		return err.Error(), 0
	}
	r.Header.Set("Authorization", "Bearer "+c.nodes[0].addr.Token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error(), time.Since(from)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err != nil {
		return err.Error(), time.Since(from)
	}
	code := fmt.Sprint(resp.StatusCode)
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		code += " again"
	}
	return code, time.Since(from)
}

// requests counts the changes that arrived.
func (s *countingSink) requests() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.raw {
		n += k
	}
	return n
}
