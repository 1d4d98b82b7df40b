package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
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
	c := newCluster(t, oneMachine(), 3, 5)
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
	c.load(ctx, 1, alerts, nil)
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
	c.load(ctx, 1000, 1009, nil)
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

// midAct sends alert n and returns the node whose request about it waits for the
// target, in words as well, and what lets the target answer.
func (c *cluster) midAct(ctx context.Context, s *store.Postgres, n int) (node int, word string, release func()) {
	c.t.Helper()
	uid := fmt.Sprint("doc", n)
	release = c.sink.keepBack(uid)
	c.send(ctx, 0, n)
	select {
	case word = <-c.sink.began:
	case <-time.After(time.Minute):
		c.t.Fatal("nothing arrived: " + c.stuck(s, uid))
	}
	if _, err := fmt.Sscanf(word, uid+" node%d", &node); err != nil {
		c.t.Fatalf("%q: %v", word, err)
	}
	return node, word, release
}

// takeOver kills a node that waits for the target; another one finishes its work.
func (c *cluster) takeOver(ctx context.Context, s *store.Postgres, people int) {
	t := c.t
	victim, word, release := c.midAct(ctx, s, 2000)
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
	node, _, release := c.midAct(ctx, s, 3000)
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

// TestNodesUnderFaults: a node that is stopped for longer than its lease and
// wakes in the belief that it still holds its work, nodes killed under load,
// every connection to the database cut, the database crashed and started anew.
// Nothing acknowledged is lost, and nothing is done twice at the target.
func TestNodesUnderFaults(t *testing.T) {
	c := newCluster(t, oneMachine(), 3, 4)
	s := c.store()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()

	c.stalls(ctx, s)
	next := 100
	under := func(what string, fault func()) {
		t.Helper()
		from := next
		next += 40
		loaded, begins := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(loaded)
			c.load(ctx, from, from+40, begins)
		}()
		c.await("load", func() bool { return c.ackedSince(from) >= 10 })
		close(begins)
		fault()
		<-loaded
		if n := c.ackedSince(from); n != 40 {
			t.Fatalf("%s: %d of 40 alerts were acknowledged", what, n)
		}
		c.settle(s, 0, time.Minute)
	}
	for i := range c.nodes {
		under("kill", func() {
			c.kill(i)
			c.start(i)
		})
	}
	under("cut", func() {
		if err := c.srv.Admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'casement'"); err != nil {
			t.Error(err)
		}
	})
	under("crash of the database", func() {
		c.srv.Stop(t)
		c.srv.Run(t)
	})
	t.Logf("1 node stopped and woken, 3 killed, all connections cut, the database crashed; answers other than 200, none of which count: %d", c.refused.Load())
	t.Log(c.tally(s))
}

// stalls stops a node while it waits for the target, until another one has done
// its work, and lets it go on.
func (c *cluster) stalls(ctx context.Context, s *store.Postgres) {
	t := c.t
	node, word, release := c.midAct(ctx, s, 1)
	stopped := c.nodes[node].cmd.Process
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	from := time.Now()
	c.settle(s, 0, time.Minute)
	t.Logf("%s: stopped; another node closed the case after %s", word, time.Since(from).Round(10*time.Millisecond))
	version := c.quiet(ctx, s, 1)
	release() // its answer waits in the socket of the one that sleeps
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.await("word of the woken node that its lease is gone", func() bool {
		log := c.nodes[node].log()
		return strings.Contains(log, "lost its lease") || strings.Contains(log, "outcome of a lost lease ignored")
	})
	if _, now := c.caseOf(s, 1); now != version {
		t.Errorf("the node that woke moved the case from version %d to %d", version, now)
	}
	if code, body, err := c.call(ctx, node, http.MethodGet, "/api/v1/pauses", ""); err != nil || code != http.StatusOK {
		t.Errorf("the node that woke answers %d %s %v", code, body, err)
	}
}

// quiet waits until nothing is left to do for the case of alert n (its ticket
// and its message follow the closure), and returns its version.
func (c *cluster) quiet(ctx context.Context, s *store.Postgres, n int) uint64 {
	c.t.Helper()
	id, _ := c.caseOf(s, n)
	c.await("last effect of the case", func() bool {
		es, err := s.EffectsOf(ctx, id, 10)
		return err == nil && len(es) == 0
	})
	_, version := c.caseOf(s, n)
	return version
}

// caseOf finds the case of alert n, and its version.
func (c *cluster) caseOf(s *store.Postgres, n int) (id string, version uint64) {
	c.t.Helper()
	page, err := s.ListCases(c.t.Context(), store.CaseFilter{Tenant: tenant, Text: fmt.Sprint("doc", n)}, "", 10)
	if err != nil || len(page.Cases) != 1 {
		c.t.Fatalf("%d cases of doc%d: %v", len(page.Cases), n, err)
	}
	return page.Cases[0].ID, page.Cases[0].Version
}

// ackedSince counts the acknowledged alerts from a number on.
func (c *cluster) ackedSince(from int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for k := range c.acked {
		if k >= from {
			n++
		}
	}
	return n
}
