package connectortest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/need"
)

// Build runs scripts/targets/<name>.sh, which builds a real server once and
// prints the path of its binary. Dear ones are only taken from the cache: make
// targets builds them. Where there is none the test is missing its server.
func Build(t testing.TB, name string, args ...string) string {
	t.Helper()
	script := Script(t, name+".sh")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", append([]string{script}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		need.Missing(t, "the real server %s is not here: %v\n%s", name, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// Script is the path of a file in scripts/targets.
func Script(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(need.Root(t), "scripts", "targets", filepath.FromSlash(name))
}

// Cached is the argument of Build for a server that is dear to build.
const Cached = "--cached"

// Server is a process to serve.
type Server struct {
	Binary string
	Args   func(addr string) []string
	Env    []string
	// UID runs it as another user, where the test is root; 0 as ourselves.
	UID uint32
	// Ready tells that it answers; nil: that it accepts connections.
	Ready func(addr string) bool
	// Stop ends it, SIGKILL if zero.
	Stop os.Signal
}

// Serve starts a server on a free loopback port and returns its address when
// it is ready; it is ended with the test.
func Serve(t testing.TB, binary string, args func(addr string) []string, env ...string) string {
	t.Helper()
	return Start(t, Server{Binary: binary, Args: args, Env: env})
}

// Start is Serve with more to say.
func Start(t testing.TB, s Server) string {
	t.Helper()
	if s.Stop == nil {
		s.Stop = os.Kill
	}
	if s.Ready == nil {
		s.Ready = func(string) bool { return true }
	}
	for range 3 { // another process may take the port between our look and its start
		addr := FreeAddr(t)
		p := s.launch(t, addr)
		if ready(addr, p.ended, s.Ready) {
			t.Cleanup(func() { p.stop(s.Stop) })
			return addr
		}
		p.stop(os.Kill)
		t.Logf("%s did not start on %s: %s", filepath.Base(s.Binary), addr, p.out.String())
	}
	t.Fatalf("%s does not start", s.Binary)
	return ""
}

// Background starts a program that nobody dials here; it is ended with the
// test. Its Args get no address, and Ready is not asked.
func Background(t testing.TB, s Server) {
	t.Helper()
	if s.Stop == nil {
		s.Stop = os.Kill
	}
	p := s.launch(t, "")
	t.Cleanup(func() {
		p.stop(s.Stop)
		if t.Failed() {
			t.Logf("%s said: %s", filepath.Base(s.Binary), p.out.String())
		}
	})
}

// process is a server that was started.
type process struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended chan struct{}
}

func (s Server) launch(t testing.TB, addr string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(s.Binary, s.Args(addr)...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), s.Env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// It does not outlive a test that is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.UID != 0 && os.Getuid() == 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.UID}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // it is ended by stop: the error says no more
		close(p.ended)
	}()
	return p
}

func (p *process) stop(how os.Signal) {
	_ = p.cmd.Process.Signal(how) // may have ended by itself
	<-p.ended
}

// FreeAddr is a loopback address that nobody listened on a moment ago.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // only its number was wanted
	return addr
}

// ready polls for at most a minute.
func ready(addr string, ended <-chan struct{}, answers func(addr string) bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = c.Close()
			if answers(addr) {
				return true
			}
		}
		select {
		case <-ended:
			return false
		case <-tick.C:
		}
	}
	return false
}
