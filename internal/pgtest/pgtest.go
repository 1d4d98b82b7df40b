// Package pgtest serves a real PostgreSQL of Debian's package for tests, on a
// free port, as a user that is not root, with fsync on. It imports nothing of
// ours and is imported by tests only.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/need"
)

// nobody is the user the server runs as where the tests run as root.
const nobody = 65534

// Server is a running server.
type Server struct {
	// Addr is its host and port, Dir its folder.
	Addr, Dir string
	bin       string
	cmd       *exec.Cmd
	n         atomic.Int64
}

// Start makes a cluster and serves it until the test ends. Where PostgreSQL is
// not installed the test is skipped, or fails under CASEMENT_FULL=1.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartOn(t, "127.0.0.1")
}

// StartOn is Start on another address of this machine, for everybody in its
// network, without a password: for a network namespace of the test's own.
func StartOn(t testing.TB, host string) *Server {
	t.Helper()
	return start(t, host, "")
}

// StartIn is Start with the cluster in a folder that the server's user may enter,
// like one that need.Mount made a small disk.
func StartIn(t testing.TB, parent string) *Server {
	t.Helper()
	return start(t, "127.0.0.1", parent)
}

// start puts the cluster below parent, or "" for where temporary files are.
func start(t testing.TB, host, parent string) *Server {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(bins) == 0 {
		need.Missing(t, "PostgreSQL is not here: scripts/setup.sh installs it")
	}
	slices.Sort(bins)
	s := &Server{bin: filepath.Dir(bins[len(bins)-1])}
	s.folder(t, parent)
	if out, err := s.command("initdb", "-D", s.data(), "-U", "casement", "-A", "trust", "-E", "UTF8", "--no-locale").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	if host != "127.0.0.1" {
		s.rule(t, "host all all "+host+"/16 trust")
	}
	s.Addr = freeAddr(t, host)
	s.Run(t)
	return s
}

// rule puts a line before the rules of who may log in.
func (s *Server) rule(t testing.TB, line string) {
	t.Helper()
	rules := filepath.Join(s.data(), "pg_hba.conf")
	b, err := os.ReadFile(rules)
	if err == nil {
		err = os.WriteFile(rules, append([]byte(line+"\n"), b...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func freeAddr(t testing.TB, host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// folder makes the server's folder, which goes with the server when the test
// ends. Not t.TempDir: its parent is closed to other users.
func (s *Server) folder(t testing.TB, parent string) {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "casement-pg")
	if err != nil {
		t.Fatal(err)
	}
	s.Dir = dir
	t.Cleanup(func() {
		s.Stop(t)
		_ = os.RemoveAll(dir)
	})
	s.own(t, dir)
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir, c.SysProcAttr = s.Dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return c
}

// Run starts the server on its folder and waits until it answers.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Addr)
	s.cmd = s.command("postgres", "-D", s.data(), "-h", host, "-p", port, "-c", "unix_socket_directories=", "-c", "max_connections=300",
		"-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "shared_buffers=128MB", "-c", "deadlock_timeout=200ms", "-c", "wal_retrieve_retry_interval=100ms")
	log := &bytes.Buffer{}
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			_ = c.Close(ctx)
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("PostgreSQL does not answer: %v\n%s", err, log)
		}
		time.Sleep(20 * time.Millisecond) // nothing tells when it answers
	}
}

// Stop ends the server at once, as a crash of its machine would.
func (s *Server) Stop(t testing.TB) {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was told to die
	s.cmd = nil
}

// Revive starts the server anew if it has ended by itself, which a disk without
// room for its log makes it do.
func (s *Server) Revive(t testing.TB) (ended bool) {
	t.Helper()
	if s.Admin("SELECT 1") == nil {
		return false
	}
	s.Stop(t)
	s.Run(t)
	return true
}

// URL is that of a database of the server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://casement@%s/%s?sslmode=disable", s.Addr, database)
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) string { t.Helper(); return s.make(t, "template1") }

// Copy makes a database like the one of a URL, which nobody is connected to.
func (s *Server) Copy(t testing.TB, url string) string {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return s.make(t, c.Database)
}

// Guard makes a user who may do everything, but only with a password.
func (s *Server) Guard(t testing.TB, user, password string) {
	t.Helper()
	s.rule(t, "host all "+user+" 127.0.0.1/32 scram-sha-256")
	for _, text := range []string{"CREATE ROLE " + user + " SUPERUSER LOGIN PASSWORD '" + password + "'", "SELECT pg_reload_conf()"} {
		if err := s.Admin(text); err != nil {
			t.Fatal(err)
		}
	}
}

// Drop removes a database that is no longer needed.
func (s *Server) Drop(t testing.TB, url string) {
	t.Helper()
	c, err := pgx.ParseConfig(url)
	if err == nil {
		err = s.Admin("DROP DATABASE " + c.Database + " WITH (FORCE)")
	}
	if err != nil {
		t.Error(err)
	}
}

// Admin runs a statement as the server's owner.
func (s *Server) Admin(text string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, text)
	return err
}

func (s *Server) make(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.n.Add(1))
	if err := s.Admin("CREATE DATABASE " + name + " TEMPLATE " + template); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}
