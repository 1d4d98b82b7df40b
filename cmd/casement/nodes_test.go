package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/store"
)

// TestNodes: three processes of the real binary on one PostgreSQL. Intake on
// all, effects spread, timers fire once, pages and kill switch of every node
// follow what happens on another, the work of a node that died is taken over,
// and one that is told to end finishes what it began.
func TestNodes(t *testing.T) {
	c := newCluster(t, 3, 5)
	s := c.store()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()

	// Pages: a node hears what another committed.
	heard := c.listen(ctx, 2)
	c.send(ctx, 0, 0)
	from := time.Now()
	if <-heard != "changed" {
		t.Fatal("node 2 heard nothing of node 0")
	}
	t.Logf("a page of node 2 was told of an alert on node 0 after %s", time.Since(from).Round(time.Millisecond))

	// Load on all; a tenth waits for people and climbs the ladder.
	const alerts, people = 150, 15
	for n := range people {
		if !c.send(ctx, n, -n-1) {
			t.Fatal("an alert was not taken")
		}
	}
	c.load(ctx, 1, alerts)
	c.settle(s, people, 2*time.Minute)
	c.sink.mu.Lock()
	for _, name := range []string{"node0", "node1", "node2"} {
		if c.sink.by[name] == 0 {
			t.Errorf("%s did nothing: %v", name, c.sink.by)
		}
	}
	c.sink.mu.Unlock()

	c.killSwitch(ctx, s, people)
	c.takeOver(ctx, s, people)
	c.drains(ctx, s, people)
	t.Log(c.tally(s))
	ladders(t, s, people)
}

// listen returns what the page stream of a node says, event by event.
func (c *cluster) listen(ctx context.Context, i int) <-chan string {
	c.t.Helper()
	at := c.nodes[i].addr
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.URL+"/events", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+at.Token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%+v %v", resp, err)
	}
	c.t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() { // it is subscribed once it says how to come back
		c.t.Fatal(lines.Err())
	}
	out := make(chan string, 100)
	go func() {
		defer close(out)
		for lines.Scan() {
			if word, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				select {
				case out <- word:
				default:
				}
			}
		}
	}()
	return out
}

// killSwitch throws it on one node: no node acts until another one releases it.
func (c *cluster) killSwitch(ctx context.Context, s *store.Postgres, people int) {
	t := c.t
	heard := c.listen(ctx, 1)
	if code, body, err := c.call(ctx, 0, http.MethodPut, "/api/v1/pauses", `{"scope":"all","reason":"test"}`); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
	from := time.Now()
	if <-heard != "changed" {
		t.Fatal("node 1 heard nothing of the switch")
	}
	t.Logf("a page of node 1 was told of the switch on node 0 after %s", time.Since(from).Round(time.Millisecond))
	for i := range c.nodes {
		if code, body, err := c.call(ctx, i, http.MethodGet, "/api/v1/pauses", ""); err != nil || code != http.StatusOK || !strings.Contains(body, `"all"`) {
			t.Errorf("node %d: %d %s %v", i, code, body, err)
		}
	}
	c.load(ctx, 1000, 1009)
	c.await("nine held actions", func() bool {
		page, err := s.ListCases(ctx, store.CaseFilter{Tenant: tenant, Open: finding.Yes}, "", 500)
		if err != nil {
			return false
		}
		held := 0
		for _, k := range page.Cases {
			if full, err := s.Load(ctx, k.ID); err == nil && len(full.Actions) > 0 && strings.Contains(full.Actions[0].Reason, "paused") {
				held++
			}
		}
		return held == 9
	})
	c.sink.mu.Lock()
	for n := 1000; n < 1009; n++ {
		c.held[n] = true // a held action is tried again after five minutes
		if c.sink.raw[fmt.Sprint("doc", n)] > 0 {
			t.Errorf("document %d was changed while the switch was thrown", n)
		}
	}
	c.sink.mu.Unlock()
	if code, body, err := c.call(ctx, 2, http.MethodDelete, "/api/v1/pauses", `{"scope":"all"}`); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s %v", code, body, err)
	}
}

// await looks until something is so.
func (c *cluster) await(what string, so func() bool) {
	c.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			c.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// arrived returns the next request that is kept back.
func (c *cluster) arrived(s *store.Postgres, uid string) string {
	c.t.Helper()
	select {
	case word := <-c.sink.began:
		return word
	case <-time.After(time.Minute):
		c.t.Fatal("nothing arrived: " + c.stuck(s, uid))
		return ""
	}
}

// takeOver kills a node that waits for the target; another one finishes its work.
func (c *cluster) takeOver(ctx context.Context, s *store.Postgres, people int) {
	t := c.t
	release := c.sink.keepBack("doc2000")
	c.send(ctx, 0, 2000)
	word := c.arrived(s, "doc2000")
	var victim int
	if _, err := fmt.Sscanf(word, "doc2000 node%d", &victim); err != nil {
		t.Fatalf("%q: %v", word, err)
	}
	c.kill(victim)
	from := time.Now()
	c.settle(s, people+9, time.Minute) // nine wait for the end of their pause
	t.Logf("%s: killed; another node looked, and closed the case %s after the kill", word, time.Since(from).Round(10*time.Millisecond))
	release()
	c.start(victim)
}

// drains tells a node to end while it waits for the target: it takes nothing
// new, and what is under way is finished by itself.
func (c *cluster) drains(ctx context.Context, s *store.Postgres, people int) {
	t := c.t
	release := c.sink.keepBack("doc3000")
	c.send(ctx, 0, 3000)
	word := c.arrived(s, "doc3000")
	var node int
	if _, err := fmt.Sscanf(word, "doc3000 node%d", &node); err != nil {
		t.Fatalf("%q: %v", word, err)
	}
	ended := make(chan string)
	go func() { ended <- c.stop(node).String() }()
	c.await("a node that takes nothing any more", func() bool {
		_, _, err := c.call(ctx, node, http.MethodGet, "/api/v1/pauses", "")
		return err != nil
	})
	release()
	if how := <-ended; how != "exit status 0" && how != "exit status 130" {
		t.Errorf("the node ended with %s", how)
	}
	c.settle(s, people+9, time.Minute)
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	if n := c.sink.raw["doc3000"]; n != 1 {
		t.Errorf("%d requests for what was under way at the drain", n)
	}
}

// ladders looks whether every case that waits for people climbed three rungs.
func ladders(t *testing.T, s *store.Postgres, people int) {
	page, err := s.ListCases(t.Context(), store.CaseFilter{Tenant: tenant, Open: finding.Yes, Class: "network.world-open"}, "", 100)
	if err != nil || len(page.Cases) != people {
		t.Fatalf("%d cases %v", len(page.Cases), err)
	}
	for _, k := range page.Cases {
		events, err := s.Events(t.Context(), tenant, k.ID)
		if err != nil {
			t.Fatal(err)
		}
		rungs := 0
		for _, e := range events {
			if e.Type == "ladder_stepped" {
				rungs++
			}
		}
		if rungs != 3 {
			t.Errorf("case %s climbed %d rungs, want 3", k.ID, rungs)
		}
	}
}
