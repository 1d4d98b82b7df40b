package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	o := remedy.Observation{Grade: remedy.P3, Place: c.cfg.Place, At: r.Now}
	if verb != VerbPackets && verb != VerbReference {
		return o, noVerb(verb)
	}
	text := c.cfg.Reference
	if v := r.Params["reference"]; v != "" {
		text = v
	}
	ref, err := netip.ParseAddrPort(text)
	if err != nil {
		return o, connector.Errorf(connector.KindConfig, "reference: want address:port of something behind the same way that must answer, not %q", text)
	}
	if verb == VerbReference {
		answer, said := c.knock(ctx, ref)
		o.Result, o.Detail = remedy.NotExposed, said
		switch answer {
		case silent:
			o.Result = remedy.Exposed
		case unclear:
			o.Result = remedy.Inconclusive
		}
		return o, nil
	}
	a, _, err := c.addressOf(r)
	if err != nil {
		return o, err
	}
	port := c.cfg.Port
	if v := r.Params["port"]; v != "" {
		port = v
	}
	to, err := netip.ParseAddrPort(netip.AddrPortFrom(a, 0).Addr().String() + ":" + port)
	if a.Is6() {
		to, err = netip.ParseAddrPort("[" + a.String() + "]:" + port)
	}
	if err != nil {
		return o, connector.Errorf(connector.KindConfig, "port: want the port to knock at, not %q", port)
	}
	answer, said := c.knock(ctx, to)
	switch answer {
	case passes:
		o.Result, o.Detail = remedy.Exposed, said
	case silent:
		other, refSaid := c.knock(ctx, ref)
		o.Result, o.Detail = remedy.NotExposed, said+", while "+refSaid
		if other != passes {
			o.Result, o.Detail = remedy.Inconclusive, said+", and "+refSaid+": the way itself may be broken"
		}
	default:
		o.Result, o.Detail = remedy.Inconclusive, said
	}
	return o, nil
}

// answer is what came of knocking.
type answer int

const (
	unclear answer = iota
	// passes: something answered, be it a refusal.
	passes
	// silent: no answer in time.
	silent
)

// knock opens one TCP connection from the namespace of the probe and closes it.
func (c *Connector) knock(ctx context.Context, to netip.AddrPort) (answer, string) {
	if !c.cfg.Network.Allows(to.Addr().String(), fmt.Sprint(to.Port()), to.Addr()) {
		return unclear, to.Addr().String() + " is not public and not in the connector's allow list"
	}
	fd := -1
	err := InNamespace(c.cfg.ProbeNamespace, func() (err error) {
		family := unix.AF_INET
		if to.Addr().Is6() {
			family = unix.AF_INET6
		}
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return unclear, "no socket in the namespace of the probe: " + err.Error()
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written to it
	switch err := c.connect(ctx, fd, to); {
	case err == nil:
		return passes, to.String() + " answers"
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return passes, to.String() + " answers with a refusal"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		return silent, fmt.Sprintf("%s does not answer within %s", to, c.cfg.Wait)
	default:
		return unclear, fmt.Sprintf("%s: %v", to, err)
	}
}

// connect waits in steps, so that a cancelled context ends it soon.
func (c *Connector) connect(ctx context.Context, fd int, to netip.AddrPort) error {
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	if to.Addr().Is6() {
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	if err := unix.Connect(fd, sa); !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	const step = 20 * time.Millisecond
	for left := c.cfg.Wait; left > 0; left -= step {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(p, int(step/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil && code != 0 {
				err = unix.Errno(code)
			}
			return err
		}
	}
	return os.ErrDeadlineExceeded
}

// InNamespace runs f on a thread of the named network namespace (ip netns), ""
// for our own. Sockets that f makes stay in it. A thread that can't come back
// is never used again.
func InNamespace(name string, f func() error) error {
	if name == "" {
		return f()
	}
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = home.Close() }()
	away, err := os.Open(filepath.Join("/run/netns", name))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = away.Close() }()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}
