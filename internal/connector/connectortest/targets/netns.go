package targets

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/nftables"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/need"
)

// The network of the bench: out ── gw ── host. The filter is at gw, the probe
// looks from out, the compromised host answers at Host and a neighbour behind
// the same wire at hostNeighbour.
const (
	hostNeighbour = "10.77.1.3"
	// Host is the address of the compromised host.
	Host     = "10.77.1.2"
	hostPort = "8080"
)

// NetBench is a gateway with a real packet filter and a host behind it.
type NetBench struct {
	t                   testing.TB
	out, gw, host       string
	fault, fifo, writes string
	conn                *nftables.Connector
	drifts              int
}

// StartNet makes three network namespaces that end with the test.
func StartNet(t testing.TB) *NetBench {
	t.Helper()
	for _, p := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(p); err != nil {
			need.Missing(t, "%s is not here: scripts/setup.sh installs it", p)
		}
	}
	if os.Getuid() != 0 {
		need.Missing(t, "network namespaces need root")
	}
	dir := t.TempDir()
	id := fmt.Sprintf("cm%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)
	b := &NetBench{t: t, out: id + "o", gw: id + "g", host: id + "h", fault: filepath.Join(dir, "fault"), fifo: filepath.Join(dir, "arrived"),
		writes: filepath.Join(dir, "writes")}
	for _, ns := range []string{b.out, b.gw, b.host} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			need.Missing(t, "network namespaces can't be made here: %v %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		b.ip("-n", ns, "link", "set", "lo", "up")
	}
	b.wire(b.out, "10.77.0.2/24", b.gw, "10.77.0.1/24", "a")
	b.wire(b.host, Host+"/24", b.gw, "10.77.1.1/24", "b")
	b.ip("-n", b.host, "addr", "add", hostNeighbour+"/24", "dev", "b0")
	b.ip("-n", b.out, "route", "add", "default", "via", "10.77.0.1")
	b.ip("-n", b.host, "route", "add", "default", "via", "10.77.1.1")
	b.ip("netns", "exec", b.gw, "sysctl", "-qw", "net.ipv4.ip_forward=1")
	b.nft(`add table inet casement
add set inet casement quarantine { type ipv4_addr; flags timeout; }
add chain inet casement forward { type filter hook forward priority 0; policy accept; }
add rule inet casement forward ip saddr @quarantine counter drop
add rule inet casement forward ip daddr @quarantine counter drop`)
	err := nftables.InNamespace(b.host, func() error {
		l, err := net.Listen("tcp", "0.0.0.0:"+hostPort)
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err // connections wait in its queue: the handshake is the answer
	})
	if err != nil {
		t.Fatal(err)
	}
	network, err := connector.ParseNetwork([]string{"10.77.0.0/16"})
	if err != nil {
		t.Fatal(err)
	}
	b.conn, err = nftables.New(nftables.Config{Namespace: b.gw, ProbeNamespace: b.out, Timeout: time.Hour, Port: hostPort,
		Reference: hostNeighbour + ":" + hostPort, Wait: 250 * time.Millisecond, NFT: b.wrapper(dir), Network: network})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wire joins two namespaces.
func (b *NetBench) wire(ns1, addr1, ns2, addr2, name string) {
	b.t.Helper()
	b.ip("-n", ns1, "link", "add", name+"0", "type", "veth", "peer", "name", name+"1", "netns", ns2)
	for _, x := range [][3]string{{ns1, name + "0", addr1}, {ns2, name + "1", addr2}} {
		b.ip("-n", x[0], "addr", "add", x[2], "dev", x[1])
		b.ip("-n", x[0], "link", "set", x[1], "up")
	}
}

// wrapper is an nft that plays faults, and writes down each change that was
// made through it, a repeat of one that the set does not show too.
func (b *NetBench) wrapper(dir string) string {
	nft, err := exec.LookPath("nft")
	if err != nil {
		b.t.Fatal(err)
	}
	for name, text := range map[string]string{b.fault: "none\n", b.writes: ""} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "nft")
	script := `#!/bin/sh
read -r fault <` + b.fault + `
run() {
	case "$*" in *-f*) ;; *) exec ` + nft + ` "$@" ;; esac
	change=$(cat)
	printf '%s' "$change" | ` + nft + ` "$@" || exit
	printf '%s\n' "$change" >>` + b.writes + `
}
case "$fault" in
none) run "$@" ;;
down) echo "Error: cache initialization failed: Operation not permitted" >&2; exit 1 ;;
404) echo "Error: No such file or directory" >&2; exit 1 ;;
429) echo "Error: Could not process rule: Device or resource busy" >&2; exit 1 ;;
lost)
	run "$@"
	kill -9 $$ ;;
hang) echo here >` + b.fifo + `; exec sleep 60 ;;
*) echo "internal error" >&2; exit 70 ;;
esac
`
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *NetBench) ip(args ...string) {
	b.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		b.t.Fatalf("ip %s: %v %s", strings.Join(args, " "), err, out)
	}
}

func (b *NetBench) nft(script string) string {
	b.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", b.gw, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("nft %s: %v %s", script, err, out)
	}
	return string(out)
}

// Cut takes the wire to the host down, or brings it up again.
func (b *NetBench) Cut(down bool) {
	b.t.Helper()
	b.ip("-n", b.host, "link", "set", "b0", map[bool]string{true: "down", false: "up"}[down])
	if !down { // it went with the link
		b.ip("-n", b.host, "route", "replace", "default", "via", "10.77.1.1")
	}
}

// Elements is what the set holds, by nft itself.
func (b *NetBench) Elements() string {
	b.t.Helper()
	return b.nft("list set inet casement quarantine")
}

// Connector implements connectortest.Bench.
func (b *NetBench) Connector() connector.Connector { return b.conn }

// Request implements connectortest.Bench.
func (b *NetBench) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: Host, Name: "shop-17", Type: "host"}, Params: map[string]string{"timeout": "1h"}}
}

// State implements connectortest.Bench: the table without times and counters.
func (b *NetBench) State() string {
	b.t.Helper()
	var lines []string
	for line := range strings.Lines(b.nft("list ruleset")) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "elements") {
			line, _, _ = strings.Cut(line, " timeout")
		} else if i := strings.Index(line, "counter packets"); i >= 0 {
			line = line[:i]
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// Config implements connectortest.Configured.
func (b *NetBench) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"namespace": b.gw, "probe_namespace": b.out, "block_for": "1h", "port": hostPort, "reference": hostNeighbour + ":" + hostPort, "wait": "250ms"}, nil
}

// Environ is the environment of a server that is to find the nft of the bench.
func (b *NetBench) Environ() []string {
	return []string{"PATH=" + filepath.Dir(b.fault) + string(os.PathListSeparator) + os.Getenv("PATH")}
}

// Changes implements connectortest.Bench: elements that were put into the set.
func (b *NetBench) Changes() int {
	b.t.Helper()
	text, err := os.ReadFile(b.writes)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Count(string(text), `"create":`)
}

// Log implements connectortest.Bench: the comment stands in the filter itself.
func (b *NetBench) Log() string { return b.Elements() }

// Drift implements connectortest.Bench: a colleague adds a rule.
func (b *NetBench) Drift() {
	b.t.Helper()
	b.drifts++
	b.nft(fmt.Sprintf(`add rule inet casement forward tcp dport %d counter accept`, 9000+b.drifts))
}

// Fault implements connectortest.Bench.
func (b *NetBench) Fault(f connectortest.Fault) <-chan struct{} {
	b.t.Helper()
	arrived := make(chan struct{}, 1)
	word := f.String()
	switch f {
	case connectortest.LostAnswer:
		word = "lost"
	case connectortest.Hang:
		if err := syscall.Mkfifo(b.fifo, 0o600); err != nil {
			b.t.Fatal(err)
		}
		f, err := os.OpenFile(b.fifo, os.O_RDWR, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		go func() {
			var one [1]byte
			if _, err := f.Read(one[:]); err == nil {
				arrived <- struct{}{}
			}
			_ = f.Close()
		}()
	}
	b.Cut(f != connectortest.None && f != connectortest.LostAnswer && f != connectortest.Hang)
	if err := os.WriteFile(b.fault, []byte(word+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return arrived
}

// Gateway is the network namespace with the filter.
func (b *NetBench) Gateway() string { return b.gw }
