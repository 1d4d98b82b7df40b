package connectortest

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Build runs scripts/targets/<name>.sh, which builds a real server once and
// prints the path of its binary. Where that is impossible the test is skipped,
// and says so.
func Build(t testing.TB, name string) string {
	t.Helper()
	script := filepath.Join(repoRoot(t), "scripts", "targets", name+".sh")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", script)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Skipf("SKIPPED, NOT PASSED: the real server %s can't be built here: %v\n%s", name, err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

func repoRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// Serve starts a server on a free loopback port and returns its address when
// it accepts connections; it is ended with the test.
func Serve(t testing.TB, binary string, args func(addr string) []string, env ...string) string {
	t.Helper()
	for range 3 { // another process may take the port between our look and its start
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_ = l.Close() // only its number was wanted
		var out bytes.Buffer
		cmd := exec.Command(binary, args(addr)...)
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it is killed below: the error says no more
			close(ended)
		}()
		if ready(addr, ended) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill() // may have ended by itself
				<-ended
			})
			return addr
		}
		_ = cmd.Process.Kill()
		<-ended
		t.Logf("%s did not start on %s: %s", filepath.Base(binary), addr, out.String())
	}
	t.Fatalf("%s does not start", binary)
	return ""
}

// ready polls for at most ten seconds.
func ready(addr string, ended <-chan struct{}) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-tick.C:
		}
	}
	return false
}
