package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/store"
)

// cluster is some processes of the real binary on one PostgreSQL, before a
// target that counts.
type cluster struct {
	t     *testing.T
	place place
	srv   *pgtest.Server
	url   string
	exe   string
	conf  string
	sink  *countingSink
	nodes []*clusterNode

	mu    sync.Mutex
	acked map[int]bool
	// held wait longer than the test for their turn.
	held map[int]bool
	// refused are answers other than 200, none of which count; silent are requests
	// without an answer.
	refused, silent atomic.Int64
}

// place is where a cluster lives.
type place struct {
	// host is the address of the database and of the target; params are added to the
	// URL of the database.
	host, params string
	// node is the address of node i, and what starts a program there.
	node func(i int) (addr string, prefix []string)
	// owner names the node behind a connection to the target.
	owner func(c *cluster, remote string) string
}

// oneMachine has everything on the loopback address.
func oneMachine() place {
	return place{host: "127.0.0.1", node: func(int) (string, []string) { return "127.0.0.1", nil }, owner: (*cluster).ownerOf}
}

// clusterNode is one process.
type clusterNode struct {
	dir   string
	cmd   *exec.Cmd
	gone  chan struct{}
	addr  app.Address
	mu    sync.Mutex
	stuff bytes.Buffer
}

// countingSink is the outside system: a document can be read until it was told
// otherwise. It acts once per webhook-id, whatever arrives.
type countingSink struct {
	*httptest.Server
	mu        sync.Mutex
	seen      map[string]bool
	effective map[string]int // changes by asset
	raw       map[string]int // requests to change by asset
	notices   map[string]int // raw notices by id
	by        map[string]int // requests to change by node
	owner     func(remote string) string
	// hold keeps the answers about an asset back until the channel is closed.
	hold  map[string]chan struct{}
	began chan string // assets whose answers are kept back, as they arrive
	// down, if set, is for how many seconds the target sends a change to an asset
	// away (503, Retry-After), 0 for not at all; away counts those by asset.
	down func(uid string) int
	away map[string]int
	// mute is the same for messages.
	mute int
}

func newCountingSink(t *testing.T, host string) *countingSink {
	s := &countingSink{seen: map[string]bool{}, effective: map[string]int{}, raw: map[string]int{}, notices: map[string]int{}, by: map[string]int{},
		owner: func(string) string { return "" }, hold: map[string]chan struct{}{}, away: map[string]int{}, began: make(chan string, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /private", s.change)
	mux.HandleFunc("POST /notice", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mute > 0 {
			s.away["message"]++
			w.Header().Set("Retry-After", strconv.Itoa(s.mute))
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.notices[r.Header.Get("Webhook-Id")]++
	})
	mux.HandleFunc("GET /documents/{name}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.effective[r.PathValue("name")] > 0 {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(mux)
	_ = s.Listener.Close() // it never served
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *countingSink) change(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Data struct{ Asset struct{ UID string } }
	}
	id := r.Header.Get("Webhook-Id")
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Data.Asset.UID == "" || id == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	uid, node := in.Data.Asset.UID, s.owner(r.RemoteAddr)
	s.mu.Lock()
	if s.down != nil {
		if wait := s.down(uid); wait > 0 {
			s.away[uid]++
			s.mu.Unlock()
			w.Header().Set("Retry-After", strconv.Itoa(wait))
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	s.raw[uid]++
	s.by[node]++
	if !s.seen[id] {
		s.seen[id] = true
		s.effective[uid]++
	}
	hold := s.hold[uid]
	s.mu.Unlock()
	if hold != nil {
		s.began <- uid + " " + node
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
}

// keepBack holds the answers about an asset until the returned function is
// called.
func (s *countingSink) keepBack(uid string) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{})
	s.hold[uid] = c
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hold, uid)
		close(c)
	}
}

const clusterPolicy = `kind: playbooks
playbooks:
  - name: close
    description: Tells the target to close it.
    probe: docs/state
    grade: P2
    fix:
      - {name: close, do: docs/call, auth: enforce, settle: 1s, tries: 5, interval: 1s}
---
kind: rules
mode: enforce
rules:
  - {name: public, when: class == "storage.public", class: K2, playbook: close, ticket: true, why: Anyone can read it.}
  - {name: open, when: class == "network.world-open", class: K2, ticket: true, why: Anyone can reach it.}
---
kind: sla
sla:
  - {name: quick, use: default, match: {class: ["network.*"]}, classes: {K2: {ack: 1s, fix: 1h}}}
  - {name: rest, use: default}
---
kind: escalations
escalations:
  - name: quick
    steps:
      - {after: 0s, who: owner}
      - {after: 1s, who: backup}
      - {after: 2s, who: ops_lead}
---
kind: routes
routes:
  - name: all
    notify: [chat]
    tickets:
      - {system: tracker, template: plain, project: docs}
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}"}
`

const clusterOwners = `people:
  - {id: olga, team: docs}
  - {id: anna, team: docs}
teams:
  - {id: docs, lead: anna, members: [olga, anna]}
fallback: docs
operations_lead: anna
`

// newCluster starts n nodes at once on an empty database.
func newCluster(t *testing.T, at place, n, takeover int) *cluster {
	t.Helper()
	srv := pgtest.StartOn(t, at.host)
	return newClusterOn(t, at, srv, srv.Database(t)+at.params, n, takeover)
}

// newClusterOn starts n nodes at once on a database.
func newClusterOn(t *testing.T, at place, srv *pgtest.Server, url string, n, takeover int) *cluster {
	t.Helper()
	c := &cluster{t: t, place: at, srv: srv, url: url, sink: newCountingSink(t, at.host), acked: map[int]bool{}, held: map[int]bool{}}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.exe, c.conf = filepath.Join(dir, "casement"), filepath.Join(dir, "casement.yaml") // by that name the test binary is the program
	conf := fmt.Sprintf(`policy: {dir: policy}
owners: {files: [owners.yaml]}
database: {takeover: %d}
server: {behind_proxy: true}
connectors:
  docs:
    kind: webhook
    allow: [%[3]s]
    params:
      url: %[2]s/private
      undo_url: %[2]s/public
      state: {url: "%[2]s/documents/{asset}", exposed: ["200"], not_exposed: ["403"]}
    secrets: {signing: env:CLUSTER_SIGNING}
  chat:
    kind: webhook
    allow: [%[3]s]
    params: {notify_url: %[2]s/notice}
    secrets: {signing: env:CLUSTER_SIGNING}
routes:
  chat: {connector: chat}
`, takeover, c.sink.URL, at.host)
	err = errors.Join(os.Symlink(self, c.exe), os.Mkdir(filepath.Join(dir, "policy"), 0o700), os.WriteFile(c.conf, []byte(conf), 0o600),
		os.WriteFile(filepath.Join(dir, "policy", "policy.yaml"), []byte(clusterPolicy), 0o600), os.WriteFile(filepath.Join(dir, "owners.yaml"), []byte(clusterOwners), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		node := &clusterNode{dir: filepath.Join(dir, "node"+strconv.Itoa(i))}
		if err := errors.Join(os.Mkdir(node.dir, 0o700), os.WriteFile(filepath.Join(node.dir, "install.key"), []byte(strings.Repeat("5c", 32)), 0o600)); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, node)
	}
	c.sink.owner = func(remote string) string { return at.owner(c, remote) }
	var wg sync.WaitGroup
	for i := range c.nodes {
		wg.Go(func() { c.start(i) })
	}
	wg.Wait()
	t.Cleanup(func() {
		for i := range c.nodes {
			c.kill(i)
		}
		if t.Failed() {
			for i, n := range c.nodes {
				t.Logf("node %d:\n%s", i, n.log())
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return c
}

func (n *clusterNode) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.stuff.Bytes()
	return string(b[max(0, len(b)-6000):])
}

// start runs node i and waits until it says that it does.
func (c *cluster) start(i int) {
	n := c.nodes[i]
	addr, prefix := c.place.node(i)
	args := append(prefix, c.exe, "serve", "--config", c.conf, "--data", n.dir, "--listen", net.JoinHostPort(addr, "0"), "--database", c.url)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CLUSTER_SIGNING=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Error(err)
		return
	}
	up, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		said := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			n.mu.Lock()
			n.stuff.WriteString(lines.Text() + "\n")
			n.mu.Unlock()
			if !said && strings.HasPrefix(lines.Text(), "Casement is running") {
				said = true
				close(up)
			}
		}
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	select {
	case <-up:
	case <-gone:
		c.t.Errorf("node %d did not start: %s\n%s", i, cmd.ProcessState, n.log())
		return
	}
	var at app.Address
	b, err := os.ReadFile(filepath.Join(n.dir, app.AddressFile))
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	if err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n.cmd, n.gone, n.addr = cmd, gone, at
}

// kill ends node i as a power failure would.
func (c *cluster) kill(i int) {
	if n := c.nodes[i]; n.cmd != nil {
		_ = n.cmd.Process.Kill() // it may be gone
		<-n.gone
	}
}

// stop asks node i to end, and returns how it ended.
func (c *cluster) stop(i int) *os.ProcessState {
	c.t.Helper()
	n := c.nodes[i]
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Error(err)
	}
	<-n.gone
	return n.cmd.ProcessState
}

// ownerOf names the node that a connection comes from, by the kernel's tables.
func (c *cluster) ownerOf(remote string) string {
	_, port, err := net.SplitHostPort(remote)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil {
		return ""
	}
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) && f[9] != "0" {
				inode = "socket:[" + f[9] + "]"
			}
		}
	}
	for i, node := range c.nodes {
		c.mu.Lock()
		cmd := node.cmd
		c.mu.Unlock()
		if cmd == nil {
			continue
		}
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", cmd.Process.Pid))
		if err != nil {
			continue
		}
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil && to == inode {
				return "node" + strconv.Itoa(i)
			}
		}
	}
	return ""
}

// call sends a request to node i as the operator of its machine.
func (c *cluster) call(ctx context.Context, i int, method, path, body string) (int, string, error) {
	c.mu.Lock()
	at := c.nodes[i].addr
	c.mu.Unlock()
	r, err := http.NewRequestWithContext(ctx, method, at.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+at.Token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// clusterAlert is alert number n: an open document that is closed at once, or,
// with a negative number, one that waits for people.
func clusterAlert(n int) string {
	class := "storage.public"
	if n < 0 {
		class = "network.world-open"
	}
	return fmt.Sprintf(`{"source":"cluster","native_id":"f%[1]d","title":"%[1]d is open","class":%[2]q,"severity":"high","confidence":90,`+
		`"asset":{"uid":"doc%[1]d","type":"document","environment":"staging","customer_facing":"no","tags":{"owner":"olga"}},"exposure":{"internet_facing":"yes","blast":1}}`, n, class)
}

// send sends an alert until a node says 200, beginning at node i: as a load
// balancer would.
func (c *cluster) send(ctx context.Context, i, n int) bool {
	for ; ctx.Err() == nil; i++ {
		one, cancel := context.WithTimeout(ctx, 10*time.Second)
		code, _, err := c.call(one, i%len(c.nodes), http.MethodPost, "/api/v1/alerts", clusterAlert(n))
		cancel()
		if err == nil && code == http.StatusOK {
			c.mu.Lock()
			c.acked[n] = true
			c.mu.Unlock()
			return true
		}
		if err == nil {
			c.refused.Add(1)
		} else {
			c.silent.Add(1)
		}
	}
	return false
}

// load sends alerts from one number up to another through all nodes, one third
// of them twice. The last ten wait until a fault begins, where there is one.
func (c *cluster) load(ctx context.Context, from, to int, fault <-chan struct{}) {
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= to-10 && n < to && fault != nil {
					<-fault
				}
				if n >= to || !c.send(ctx, i+n, n) {
					return
				}
				if n%3 == 0 {
					c.send(ctx, i+n+1, n)
				}
			}
		})
	}
	wg.Wait()
}

// store opens the database beside the nodes.
func (c *cluster) store() *store.Postgres {
	c.t.Helper()
	s, err := store.OpenPostgres(context.Background(), c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return s
}

// settle waits until nothing is open but what waits for people.
func (c *cluster) settle(s *store.Postgres, people int, limit time.Duration) {
	c.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for {
		page, err := s.ListCases(context.Background(), store.CaseFilter{Tenant: tenant, Open: finding.Yes}, "", 500)
		if err == nil && len(page.Cases) <= people {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			c.t.Fatalf("%d cases are still open (%v), among them\n%s", len(page.Cases), err, c.stuck(s, ""))
		}
	}
}

// stuck shows an open case, of the named asset if there is one.
func (c *cluster) stuck(s *store.Postgres, asset string) string {
	ctx := context.Background()
	page, err := s.ListCases(ctx, store.CaseFilter{Tenant: tenant, Open: finding.Yes, Class: "storage.public", Text: asset}, "", 1)
	if err != nil || len(page.Cases) == 0 {
		return fmt.Sprint("no case ", err)
	}
	full, err := s.Load(ctx, page.Cases[0].ID)
	es, eerr := s.EffectsOf(ctx, full.ID, 10)
	return fmt.Sprintf("%s\n%+v\neffects %+v %v", asText(full), page.Cases[0], es, errors.Join(err, eerr))
}

func asText(v any) string {
	b, _ := json.MarshalIndent(v, "", " ") // plain values cannot fail
	return string(b)
}

// tally compares what was acknowledged, what reached the target and what the
// ledger says. It returns a line for the record.
func (c *cluster) tally(s *store.Postgres) string {
	c.t.Helper()
	ctx := context.Background()
	c.mu.Lock()
	acked := len(c.acked)
	c.mu.Unlock()
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	lost, doubled, raw, changed := 0, 0, 0, 0
	for n := range c.acked {
		f, err := finding.Normalize(finding.Finding{Source: "cluster", NativeID: "f" + strconv.Itoa(n), Asset: finding.Asset{UID: "x"}})
		if err != nil {
			c.t.Fatal(err)
		}
		known, err := s.Known(ctx, tenant, []string{f.UID})
		if err != nil {
			c.t.Fatal(err)
		}
		uid := "doc" + strconv.Itoa(n)
		if known[f.UID].CaseID == "" || n >= 0 && !c.held[n] && c.sink.effective[uid] == 0 {
			lost++
		}
		if c.sink.effective[uid] > 1 {
			doubled++
		}
		raw += c.sink.raw[uid]
		changed += c.sink.effective[uid]
	}
	if lost > 0 || doubled > 0 {
		c.t.Errorf("%d lost, %d doubled", lost, doubled)
	}
	notices, rawNotices := len(c.sink.notices), 0
	for _, n := range c.sink.notices {
		rawNotices += n
	}
	rep, err := s.VerifyLedger(ctx)
	if err != nil {
		c.t.Errorf("ledger: %v", err)
	}
	replayed, err := s.VerifyReplay(ctx)
	if err != nil {
		c.t.Errorf("replay: %v", err)
	}
	c.once(s)
	return fmt.Sprintf("acknowledged %d, lost %d, changed %d, doubled %d, raw arrivals %d; messages %d, raw %d; acts by node %v; ledger of %d events verifies, %d cases replay",
		acked, lost, changed, doubled, raw, notices, rawNotices, c.sink.by, rep.Sequenced+rep.Unsequenced, replayed)
}

// once looks whether what a clock does happened once: each breach, each rung of a
// ladder, and the closure.
func (c *cluster) once(s *store.Postgres) {
	c.t.Helper()
	ctx := context.Background()
	for cursor := ""; ; {
		page, err := s.ListCases(ctx, store.CaseFilter{Tenant: tenant}, cursor, 500)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, k := range page.Cases {
			events, err := s.Events(ctx, tenant, k.ID)
			if err != nil {
				c.t.Fatal(err)
			}
			rungs, closed := map[string]int{}, 0
			for _, e := range events {
				switch e.Type {
				case "ladder_stepped", "clock_said":
					rungs[string(e.Body)]++
				case "closed":
					closed++
				}
			}
			for rung, n := range rungs {
				if n > 1 {
					c.t.Errorf("case %s: %d times %s", k.ID, n, rung)
				}
			}
			if closed > 1 {
				c.t.Errorf("case %s was closed %d times", k.ID, closed)
			}
		}
		if cursor = page.Next; cursor == "" {
			return
		}
	}
}
