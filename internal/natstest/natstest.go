// Package natstest serves real NATS servers with JetStream on disk for tests:
// inside the test's process, or in processes of their own that can be killed. It
// imports nothing of ours and is imported by tests only: the server is linked
// into no binary.
package natstest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// ready bounds the start of a server.
const ready = time.Minute

// childConf is the variable that makes a test binary a server.
const childConf = "CASEMENT_NATS_CONF"

// Server is a running server.
type Server struct {
	// URL to call it by, with the user and password of its configuration, if any.
	URL  string
	conf string
	in   *server.Server
	cmd  *exec.Cmd
	hold io.Closer
}

// write makes a configuration file: JetStream on disk, each write synced, on a
// loopback port that stays the same over restarts.
func write(t testing.TB, port int, more string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream: {store_dir: %q, sync_interval: always, max_file_store: 4GB, max_memory_store: 64MB}\n%s\n", port, filepath.Join(dir, "js"), more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// FreePort returns a loopback port that was free a moment ago.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Start serves inside this process until the test ends; more is added to the
// server's configuration.
func Start(t testing.TB, more string) *Server {
	t.Helper()
	s := Prepare(t, more)
	s.Run(t)
	return s
}

// Prepare makes a server that is not running yet.
func Prepare(t testing.TB, more string) *Server {
	t.Helper()
	port := FreePort(t)
	s := &Server{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), conf: write(t, port, more)}
	t.Cleanup(s.Stop)
	return s
}

// Run starts a stopped server again, on its port and with its files.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	in, err := serve(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
}

func serve(conf string) (*server.Server, error) {
	o, err := server.ProcessConfigFile(conf)
	if err != nil {
		return nil, err
	}
	o.NoSigs, o.NoLog = true, true
	in, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	in.Start()
	if !in.ReadyForConnections(ready) {
		in.Shutdown()
		return nil, fmt.Errorf("the NATS server of %s is not ready", conf)
	}
	return in, nil
}

// Stop ends the server; its files stay.
func (s *Server) Stop() {
	if s.in != nil {
		s.in.Shutdown()
		s.in.WaitForShutdown()
		s.in = nil
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // killed
		_ = s.hold.Close()
		s.cmd = nil
	}
}

// Child serves if this process was started as a server by Cluster, until its
// standard input ends, and reports whether it did: TestMain of a test that uses
// Cluster calls it first.
func Child() bool {
	conf := os.Getenv(childConf)
	if conf == "" {
		return false
	}
	in, err := serve(conf)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(in.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
	return true
}

// Cluster starts three servers in processes of their own, which are one cluster;
// more is added to the configuration of each.
func Cluster(t testing.TB, more string) []*Server {
	t.Helper()
	const n = 3
	var ports, routes []int
	var to []string
	for range n {
		ports, routes = append(ports, FreePort(t)), append(routes, FreePort(t))
		to = append(to, fmt.Sprintf("nats://127.0.0.1:%d", routes[len(routes)-1]))
	}
	var out []*Server
	for i := range n {
		s := &Server{URL: fmt.Sprintf("nats://127.0.0.1:%d", ports[i]), conf: write(t, ports[i],
			fmt.Sprintf("server_name: n%d\ncluster: {name: test, listen: \"127.0.0.1:%d\", routes: [%s]}\n%s", i, routes[i], strings.Join(to, ", "), more))}
		t.Cleanup(s.Stop)
		s.Spawn(t)
		out = append(out, s)
	}
	return out
}

// Spawn starts the server in a process of its own.
func (s *Server) Spawn(t testing.TB) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(exe)
	s.cmd.Env = append(os.Environ(), childConf+"="+s.conf)
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.hold = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the NATS server did not start: %v", err)
	}
}

// Connect returns a connection that is closed when the test ends.
func Connect(t testing.TB, url string, o ...nats.Option) js.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	j, err := js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// Make makes a stream of casement.> on disk, as docs/streams.md shows it, and a
// durable pull consumer for each name, changed by change.
func Make(t testing.TB, j js.JetStream, replicas int, change func(*js.ConsumerConfig), names ...string) {
	t.Helper()
	elected(t, func(ctx context.Context) error {
		_, err := j.CreateStream(ctx, js.StreamConfig{Name: "ALERTS", Subjects: []string{"casement.>"}, Replicas: replicas, Storage: js.FileStorage,
			Retention: js.WorkQueuePolicy, Discard: js.DiscardNew, MaxBytes: 1 << 30, Duplicates: time.Minute})
		return err
	})
	for _, name := range names {
		c := js.ConsumerConfig{Durable: name, AckPolicy: js.AckExplicitPolicy, MaxDeliver: -1, FilterSubject: "casement.default.scanner.>"}
		if change != nil {
			change(&c)
		}
		elected(t, func(ctx context.Context) error {
			_, err := j.CreateConsumer(ctx, "ALERTS", c)
			return err
		})
	}
}

// elected does f until it succeeds: a cluster answers nothing before it has
// elected a leader, and there is no signal to wait for.
func elected(t testing.TB, f func(context.Context) error) {
	t.Helper()
	for end := time.Now().Add(ready); ; <-time.After(100 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := f(ctx)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
