package targets

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/casement/casement/internal/connector/connectortest"
)

// pgProxy stands before a PostgreSQL server and plays faults in its protocol
// (PostgreSQL manual, 55.7 message formats).
type pgProxy struct {
	addr   string
	target string

	mu      sync.Mutex
	fault   connectortest.Fault
	arrived chan struct{}
	conns   map[net.Conn]bool
}

func newPGProxy(t testing.TB, target string) *pgProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pgProxy{addr: l.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close() // ends its copies
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return p
}

// Set plays a fault from now on.
func (p *pgProxy) Set(f connectortest.Fault) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.arrived = f, make(chan struct{}, 16)
	return p.arrived
}

func (p *pgProxy) keep(c net.Conn) func() {
	p.mu.Lock()
	p.conns[c] = true
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
		_ = c.Close() // it may be closed already
	}
}

func (p *pgProxy) serve(c net.Conn) {
	defer p.keep(c)()
	p.mu.Lock()
	fault, arrived := p.fault, p.arrived
	p.mu.Unlock()
	switch fault {
	case connectortest.Down:
		return
	case connectortest.Hang:
		arrived <- struct{}{}
		_, _ = io.Copy(io.Discard, c) // until the caller gives up
		return
	case connectortest.NotFound, connectortest.Busy, connectortest.Broken:
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))-4); err != nil {
			return
		}
		code := map[connectortest.Fault]string{connectortest.NotFound: "3D000", connectortest.Busy: "53300", connectortest.Broken: "XX000"}[fault]
		_, _ = c.Write(pgError(code)) // the caller may be gone
		return
	}
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.keep(up)()
	lost := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() { // answers
		defer func() { _ = c.Close() }()
		buf := make([]byte, 16<<10)
		for {
			n, err := up.Read(buf)
			select {
			case <-lost: // the change arrived, its answer does not
				if bytes.Contains(buf[:n], []byte("COMMIT")) || err != nil {
					return
				}
				continue
			default:
			}
			if _, werr := c.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	buf := make([]byte, 16<<10)
	for {
		n, err := c.Read(buf)
		if fault == connectortest.LostAnswer && bytes.Contains(bytes.ToLower(buf[:n]), []byte("commit")) {
			once.Do(func() { close(lost) })
		}
		if _, werr := up.Write(buf[:n]); err != nil || werr != nil {
			_ = up.Close()
			wg.Wait()
			return
		}
	}
}

// pgError is a FATAL ErrorResponse.
func pgError(code string) []byte {
	body := []byte("SFATAL\x00VFATAL\x00C" + code + "\x00Mplayed fault\x00\x00")
	out := binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(body)+4))
	return append(out, body...)
}
