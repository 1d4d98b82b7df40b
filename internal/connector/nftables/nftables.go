// Package nftables is the connector to the packet filter of this machine, or
// of a network namespace on it: it puts the address of a host into a named set
// whose elements are dropped, with a timeout after which the kernel takes it
// out again, and proves it by sending packets.
//
// It may import connector, remedy, finding and x/sys; it needs Linux and the
// programs nft and ip, which it starts without a shell. Invariants: the set and
// the rule that drops its elements are made by the operator, never here; an
// element is added only to the table the plan saw, by "create", which fails
// where it exists; its comment carries the case; only an element with our
// comment is taken out.
package nftables

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one connector.
type Config struct {
	// Name is the connector's name, "nftables" if empty.
	Name string
	// Namespace is the network namespace (ip netns) whose filter is changed,
	// ProbeNamespace the one packets are sent from; "" is our own.
	Namespace, ProbeNamespace string
	// Family, Table and Set name the set of IPv4 addresses, Set6 that of IPv6;
	// "inet", "casement" and "quarantine" if empty, Set6 is optional.
	Family, Table, Set, Set6 string
	// Timeout of an element where the playbook names none; 24 h if zero.
	Timeout time.Duration
	// Port is where the probe knocks at the host, Reference a host:port behind
	// the same way that must answer, or the probe can't tell a dropped packet
	// from a broken way.
	Port, Reference string
	// Wait is how long the probe waits for an answer; 3 s if zero.
	Wait time.Duration
	// Place names where the probe looks from, "casement" if empty.
	Place string
	// NFT and IP are the programs, found in PATH if empty.
	NFT, IP string
	Network connector.Network
}

// The verbs.
const (
	VerbBlock     = "block-host"
	VerbPackets   = "packets"
	VerbReference = "reference-answers"
)

// Connector is the nftables connector. It is safe for concurrent use.
type Connector struct{ cfg Config }

// New checks the configuration and returns the connector. Nothing is run.
func New(cfg Config) (*Connector, error) {
	var errs []error
	for _, x := range []struct {
		v *string
		d string
	}{{&cfg.Name, "nftables"}, {&cfg.Family, "inet"}, {&cfg.Table, "casement"}, {&cfg.Set, "quarantine"}, {&cfg.Place, "casement"}, {&cfg.NFT, "nft"}, {&cfg.IP, "ip"}} {
		if *x.v == "" {
			*x.v = x.d
		}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 24 * time.Hour
	}
	if cfg.Wait <= 0 {
		cfg.Wait = 3 * time.Second
	}
	if cfg.Timeout < time.Second {
		errs = append(errs, errors.New("timeout: at least 1s"))
	}
	for name, v := range map[string]string{"namespace": cfg.Namespace, "probe_namespace": cfg.ProbeNamespace, "family": cfg.Family, "table": cfg.Table, "set": cfg.Set, "set6": cfg.Set6} {
		if strings.ContainsAny(v, "/ \t\n") || strings.HasPrefix(v, "-") {
			errs = append(errs, fmt.Errorf("%s: %q is not a name", name, v))
		}
	}
	if cfg.Reference != "" {
		if _, err := netip.ParseAddrPort(cfg.Reference); err != nil {
			errs = append(errs, errors.New("reference: want address:port, like 10.0.0.1:443"))
		}
	}
	return &Connector{cfg: cfg}, errors.Join(errs...)
}

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg.Name) }

// Describe is the Spec of a connector of that name, before there is one.
func Describe(name string) connector.Spec {
	host := []connector.Param{{Name: "address", Description: "IP address of the host; by default the asset's uid or name, where that is one"}}
	knock := append(host[:1:1],
		connector.Param{Name: "port", Description: "port to knock at; by default that of the configuration"},
		connector.Param{Name: "reference", Description: "address:port behind the same way that must answer; by default that of the configuration"})
	return connector.Spec{
		Name: name, Title: "Packet filter (nftables)",
		Actions: []connector.ActionSpec{
			{Verb: VerbBlock, Description: "Put the address of a host into the set of blocked ones, with a timeout after which the kernel takes it out by itself",
				Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Permissions: []string{"CAP_NET_ADMIN for the filter", "CAP_SYS_ADMIN where another network namespace is entered"},
				Params:      append(host[:1:1], connector.Param{Name: "timeout", Description: "life of the block, like 4h; by default that of the configuration"}),
				Probe:       VerbPackets, Continuity: VerbReference,
				Example: "{do: nftables/block-host, params: {timeout: 24h}, expires: 24h}"},
		},
		Probes: []connector.ProbeSpec{
			{Verb: VerbPackets, Description: "Knock at a port of the host, and at a reference behind the same way", Grade: remedy.P3,
				Proves:      "whether packets of a new connection pass between this place and the host: no answer counts only while the reference answers",
				Cannot:      "other ways to the host, other protocols, and connections that a rule before the set accepts as established",
				Permissions: []string{"CAP_SYS_ADMIN where another network namespace is entered, else none"}, Params: knock},
			{Verb: VerbReference, Description: "Knock at the reference behind the same way", Grade: remedy.P3,
				Proves:      "the way is not cut for others",
				Cannot:      "hosts and ports that nobody named",
				Permissions: []string{"CAP_SYS_ADMIN where another network namespace is entered, else none"}, Params: knock[2:]},
		},
	}
}

// addressOf returns the address a request speaks of, and the set for it.
func (c *Connector) addressOf(r connector.Request) (netip.Addr, string, error) {
	for _, v := range []string{r.Params["address"], r.Asset.UID, r.Asset.Name} {
		a, err := netip.ParseAddr(strings.TrimPrefix(v, "ip:"))
		if v == "" || err != nil && v != r.Params["address"] {
			continue
		}
		a = a.Unmap()
		set := c.cfg.Set
		if a.Is6() {
			set = c.cfg.Set6
		}
		switch {
		case err != nil || a.Zone() != "" || !a.IsGlobalUnicast():
			return a, "", connector.Errorf(connector.KindConfig, "%q is not the address of a host", v)
		case set == "":
			return a, "", connector.Errorf(connector.KindConfig, "connector %s has no set for IPv6 addresses: set6", c.cfg.Name)
		}
		return a, set, nil
	}
	return netip.Addr{}, "", connector.Errorf(connector.KindConfig, "no address: parameter \"address\" is missing and asset %q is none", r.Asset.UID)
}

// nft runs one JSON call.
func (c *Connector) nft(ctx context.Context, what string, input any, args ...string) ([]byte, error) {
	name, args := c.cfg.NFT, append([]string{"-j"}, args...)
	if c.cfg.Namespace != "" {
		name, args = c.cfg.IP, append([]string{"netns", "exec", c.cfg.Namespace, c.cfg.NFT}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if input != nil {
		b, err := json.Marshal(input)
		if err != nil {
			return nil, err
		}
		cmd.Stdin = bytes.NewReader(b)
	}
	if err := cmd.Run(); err != nil {
		return nil, failed(what, err, errs.String())
	}
	return out.Bytes(), nil
}

// failed classifies the end of nft. A call is one transaction: where nft says
// what is wrong nothing was changed.
func failed(what string, err error, said string) error {
	line, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	e := &connector.Error{Kind: connector.KindUnsure, Msg: what + ": nft did not end in order", Err: err}
	var exit *exec.ExitError
	switch {
	case !errors.As(err, &exit):
		e.Kind, e.Msg = connector.KindConfig, what+": nft or ip can't be started: are they installed?"
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e.Kind, e.Msg = connector.KindRetry, what+": ended before nft was started"
		}
		return e
	case !exit.Exited():
		return e
	}
	for text, kind := range map[string]connector.Kind{
		"Operation not permitted": connector.KindConfig, "Permission denied": connector.KindConfig, "Cannot open network namespace": connector.KindConfig,
		"resource busy": connector.KindRetry, "Resource temporarily unavailable": connector.KindRetry, "No buffer space": connector.KindRetry,
		"No such file or directory": connector.KindRefused, "File exists": connector.KindRefused, "No space left": connector.KindRefused,
		"syntax error": connector.KindRefused, "Could not process rule": connector.KindRefused,
	} {
		if strings.Contains(said, text) && (e.Kind == connector.KindUnsure || kind != connector.KindRefused) {
			e.Kind = kind
		}
	}
	e.Msg = what + ": nft says: " + line
	return e
}
