package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/store"
)

// ownNetwork is set in the process that runs in a network namespace of its own.
const ownNetwork = "CASEMENT_OWN_NETWORK"

// hub is the address of the database and of the target in that namespace.
const hub = "10.213.100.1"

// TestNodesCutOff: three nodes, each in a network namespace of its own, are cut
// off one by one and all together: packets vanish, nobody is told. Work is taken
// over, what is cut off does no harm when it comes back, nothing acknowledged is
// lost and nothing is done twice. What is cut off from the database says so: no
// request stays without an answer for ten seconds, where connect_timeout and
// tcp_user_timeout make up four. Under CASEMENT_FULL=1 each node is cut off from
// the database once, else one of them.
func TestNodesCutOff(t *testing.T) {
	if os.Getenv(ownNetwork) == "" {
		inOwnNetwork(t)
		return
	}
	n := newNetwork(t, 3)
	c := newCluster(t, n.place(), 3, 4)
	s := c.store()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()

	n.cutInMidAction(ctx, c, s)
	_, port, _ := net.SplitHostPort(c.srv.Addr)
	from := 100
	under := func(what string, nodes []int, cutOff func(first int) bool) {
		t.Helper()
		loaded, isCut, first := make(chan struct{}), make(chan struct{}), from
		from += 40
		silent := c.silent.Load()
		go func() {
			defer close(loaded)
			c.load(ctx, first, first+40, isCut)
		}()
		c.await("load", func() bool { return c.ackedSince(first) >= 10 })
		began := time.Now()
		for _, i := range nodes {
			n.cut(i, "tcp dport "+port)
		}
		close(isCut)
		c.await("sign of the cut", func() bool { return cutOff(first) })
		for _, i := range nodes {
			c.await("red readiness", func() bool { return !c.ready(ctx, i) })
		}
		for _, i := range nodes {
			n.heal(i)
		}
		for _, i := range nodes {
			c.await("green readiness", func() bool { return c.ready(ctx, i) })
		}
		<-loaded
		if got := c.ackedSince(first); got != 40 {
			t.Fatalf("%s: %d of 40 alerts were acknowledged", what, got)
		}
		c.settle(s, 0, 2*time.Minute)
		if n := c.silent.Load() - silent; n > 0 {
			t.Errorf("%s: %d requests were not answered within ten seconds", what, n)
		}
		t.Logf("%s: all closed %s after the cut", what, time.Since(began).Round(100*time.Millisecond))
	}
	all := []int{0, 1, 2}
	each := all[:1]
	if os.Getenv("CASEMENT_FULL") != "" {
		each = all
	}
	for _, i := range each { // the others answer
		under(fmt.Sprintf("node %d cut off from the database", i), []int{i}, func(first int) bool { return c.ackedSince(first) >= 25 })
	}
	refused := c.refused.Load()
	under("all cut off from the database", all, func(int) bool { return c.refused.Load() > refused })
	t.Logf("1 node cut off from everything in mid-action, %d from the database, then all three; answers other than 200, none of which count: %d", len(each), c.refused.Load())
	t.Log(c.tally(s))
}

// ready asks a node whether it is.
func (c *cluster) ready(ctx context.Context, i int) bool {
	one, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	code, _, err := c.call(one, i, http.MethodGet, "/readyz", "")
	if err != nil {
		c.silent.Add(1)
	}
	return err == nil && code == http.StatusOK
}

// cutInMidAction cuts a node off from everything while the target keeps its
// answer back, until another node has done its work.
func (n *network) cutInMidAction(ctx context.Context, c *cluster, s *store.Postgres) {
	t := c.t
	node, word, release := c.midAct(ctx, s, 1)
	n.cut(node, "")
	from := time.Now()
	c.settle(s, 0, time.Minute)
	t.Logf("%s: cut off; another node closed the case after %s", word, time.Since(from).Round(10*time.Millisecond))
	version := c.quiet(ctx, s, 1)
	release()
	n.heal(node)
	c.await("answer of the node that was cut off", func() bool {
		one, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		code, _, err := c.call(one, node, http.MethodGet, "/api/v1/cases", "")
		return err == nil && code == http.StatusOK
	})
	if !c.send(ctx, node, 2) {
		t.Error("the node takes nothing after it came back")
	}
	c.settle(s, 0, time.Minute)
	if _, now := c.caseOf(s, 1); now != version {
		t.Errorf("the node that came back moved the case from version %d to %d", version, now)
	}
}

// inOwnNetwork runs the test anew in a network namespace that ends with it.
func inOwnNetwork(t *testing.T) {
	for _, p := range []string{"unshare", "ip", "nft"} {
		if _, err := exec.LookPath(p); err != nil {
			need.Missing(t, "%s is not here: scripts/setup.sh installs it", p)
		}
	}
	if out, err := exec.Command("unshare", "--net", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		need.Missing(t, "network namespaces can't be made here: %v %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in its own network: %v", err)
	}
}

// network is a namespace for each node, each wired to that of the test.
type network struct {
	t    *testing.T
	name string
}

func newNetwork(t *testing.T, nodes int) *network {
	n := &network{t: t, name: fmt.Sprintf("cmn%d", os.Getpid())}
	n.run("ip", "link", "set", "lo", "up")
	n.run("ip", "addr", "add", hub+"/32", "dev", "lo")
	for i := range nodes {
		ns, here, there, addr := n.ns(i), fmt.Sprint("to", i), fmt.Sprint("up", i), fmt.Sprintf("10.213.%d.", i)
		n.run("ip", "netns", "add", ns)
		t.Cleanup(func() { n.run("ip", "netns", "del", ns) })
		n.run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", ns)
		n.run("ip", "addr", "add", addr+"1/24", "dev", here)
		n.run("ip", "link", "set", here, "up")
		n.run("ip", "-n", ns, "link", "set", "lo", "up")
		n.run("ip", "-n", ns, "addr", "add", addr+"2/24", "dev", there)
		n.run("ip", "-n", ns, "link", "set", there, "up")
		n.run("ip", "-n", ns, "route", "add", "default", "via", addr+"1")
	}
	return n
}

func (n *network) ns(i int) string { return fmt.Sprint(n.name, "-", i) }

func (n *network) run(name string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// cut drops what comes from node i, or that part of it which matches.
func (n *network) cut(i int, match string) {
	n.t.Helper()
	n.run("nft", fmt.Sprintf("add table inet cut%d; add chain inet cut%d in { type filter hook prerouting priority 0; }; add rule inet cut%d in iifname to%d %s drop", i, i, i, i, match))
}

// heal lets everything pass again.
func (n *network) heal(i int) {
	n.t.Helper()
	n.run("nft", fmt.Sprint("delete table inet cut", i))
}

func (n *network) place() place {
	return place{
		host: hub, params: "&connect_timeout=2&tcp_user_timeout=2000",
		node: func(i int) (string, []string) {
			return fmt.Sprintf("10.213.%d.2", i), []string{"ip", "netns", "exec", n.ns(i)}
		},
		owner: func(_ *cluster, remote string) string {
			var i, last, port int
			if _, err := fmt.Sscanf(remote, "10.213.%d.%d:%d", &i, &last, &port); err != nil {
				return ""
			}
			return fmt.Sprint("node", i)
		},
	}
}
