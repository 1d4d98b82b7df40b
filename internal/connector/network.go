package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Network says which inner addresses outgoing connections may reach. The zero
// value reaches public addresses only. It is checked at dial time on the
// address the name resolved to, so neither DNS nor a redirect gets round it.
type Network struct {
	// Prefixes are address ranges that may be reached though they are not
	// public.
	Prefixes []netip.Prefix
	// Hosts are names, or name:port, that may resolve to any address.
	Hosts []string
}

// ParseNetwork reads an allow-list of CIDR ranges, addresses, host names and
// host:port pairs. All bad entries are reported at once.
func ParseNetwork(entries []string) (Network, error) {
	var n Network
	var errs []error
	for i, e := range entries {
		if p, err := netip.ParsePrefix(e); err == nil {
			n.Prefixes = append(n.Prefixes, p.Masked())
			continue
		}
		if a, err := netip.ParseAddr(e); err == nil {
			n.Prefixes = append(n.Prefixes, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			continue
		}
		host := e
		if h, port, err := net.SplitHostPort(e); err == nil {
			host = h
			if port == "" {
				host = ""
			}
		}
		if host == "" || strings.ContainsAny(host, "/ *@?:") {
			errs = append(errs, fmt.Errorf("allow[%d] %q: want a range (10.0.0.0/8), an address, a host name or host:port", i, e))
			continue
		}
		n.Hosts = append(n.Hosts, strings.ToLower(e))
	}
	return n, errors.Join(errs...)
}

// ErrBlocked is the cause of a connection that Network does not allow.
var ErrBlocked = errors.New("address is not allowed")

// Allows reports whether an address may be dialled for a host and port as the
// URL named them.
func (n Network) Allows(host, port string, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if slices.ContainsFunc(n.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if slices.Contains(n.Hosts, host) || slices.Contains(n.Hosts, net.JoinHostPort(host, port)) {
		return true
	}
	return public(a)
}

// notPublic lists the special ranges of the IANA registries (RFC 6890 and
// successors) that netip has no predicate for, and the transition ranges that
// carry an IPv4 address inside, through which an inner one could be reached.
func notPublic() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"),
		netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("::/96"),
		netip.MustParsePrefix("64:ff9b::/96"),
		netip.MustParsePrefix("64:ff9b:1::/48"),
		netip.MustParsePrefix("2001::/32"),
		netip.MustParsePrefix("2002::/16"),
		netip.MustParsePrefix("fec0::/10"),
	}
}

func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() &&
		!slices.ContainsFunc(notPublic(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// DialContext connects like net.Dialer, to allowed addresses only.
func (n Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return fmt.Errorf("%w: %s", ErrBlocked, resolved)
			}
			if !n.Allows(host, port, ap.Addr()) {
				return fmt.Errorf("%w: %s is not public; add it to the connector's allow list if it is meant", ErrBlocked, ap.Addr())
			}
			return nil
		}}
	return d.DialContext(ctx, network, address)
}
