package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/intake/jetstream"
	"github.com/casement/casement/internal/intake/kafka"
	"github.com/casement/casement/internal/intake/stream"
	"github.com/casement/casement/internal/kafkatest"
	"github.com/casement/casement/internal/natstest"
	"github.com/casement/casement/internal/store"
)

// streamNode serves a configuration with the shipped policy.
func streamNode(t *testing.T, yaml string, env ...string) *served {
	t.Helper()
	cfg, err := app.Setup(t.Context(), loaded(t, fmt.Sprintf("data: {dir: %q}\nserver: {listen: \"127.0.0.1:0\", metrics: true}\n", t.TempDir())+yaml, env...))
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, log: &lines{}, dir: cfg.DataDir}
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	if s.App, err = app.New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

// meanwhile looks until so holds, a minute at most: another process works, there
// is no signal to wait for.
func meanwhile(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

func consumerInfo(t *testing.T, j js.JetStream, name string) *js.ConsumerInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		c, err := j.Consumer(ctx, "ALERTS", name)
		if err == nil {
			return c.CachedInfo()
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond) // a cluster elects a leader
	}
}

// drained says that the consumer has delivered all, and has an answer for all.
func drained(t *testing.T, j js.JetStream, name string, n int) func() bool {
	return func() bool {
		i := consumerInfo(t, j, name)
		return i.NumPending == 0 && i.NumAckPending == 0 && int(i.AckFloor.Stream) >= n
	}
}

func (s *served) cases() int {
	s.t.Helper()
	counts, err := s.Store.Counts(s.t.Context(), finding.DefaultTenant)
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

// TestStreamKeys: a user that may only read its consumers is all it takes; what
// is read becomes cases, what is not goes to quarantine for the source's owner;
// state and metrics tell; the source can't be spoken for by HTTP.
func TestStreamKeys(t *testing.T) {
	server := natstest.Start(t, `authorization {users = [
  {user: admin, password: admin}
  {user: casement, password: "reads-only", permissions: {
    publish: ["$JS.API.CONSUMER.INFO.ALERTS.*", "$JS.API.CONSUMER.MSG.NEXT.ALERTS.*", "$JS.ACK.ALERTS.>"], subscribe: ["_INBOX.casement.>"]}}]}`)
	j := natstest.Connect(t, server.URL, nats.UserInfo("admin", "admin"))
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.FilterSubject = "casement.default.cloud." + c.Durable + ".>" }, "a", "b")
	t.Setenv("CASEMENT_TEST_NATS", "reads-only")
	s := streamNode(t, fmt.Sprintf(`sources: {cloud: {kind: nats, owner: olga}}
intake: {max_body: 4000}
streams:
  main: {source: cloud, servers: [%q], stream: ALERTS, consumers: [a, b], subject: "casement.default.cloud.*.>", in_hand: 16,
    user: casement, password: env:CASEMENT_TEST_NATS, allow: [127.0.0.1]}
`, server.URL))
	const n = 40
	for i := range n {
		subject := fmt.Sprintf("casement.default.cloud.%c.%d", 'a'+i%2, i%8)
		if _, err := j.Publish(t.Context(), subject, []byte(bucketAlert(fmt.Sprint("bucket-", i%10), "staging"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, odd := range []string{`{"not":"an alert"}`, strings.Repeat("x", 4001)} {
		if _, err := j.Publish(t.Context(), "casement.default.cloud.a.1", []byte(odd)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		meanwhile(t, "everything taken from "+name, func() bool {
			i := consumerInfo(t, j, name)
			return i.NumPending == 0 && i.NumAckPending == 0
		})
	}
	if got := s.cases(); got != 10 {
		t.Errorf("%d cases", got)
	}
	due, err := s.Store.QuarantineDue(t.Context(), time.Now().Add(48*time.Hour), 10)
	if err != nil || len(due) != 2 || due[0].Owner != "olga" || due[0].Source != "cloud" || due[0].Tenant != finding.DefaultTenant {
		t.Errorf("quarantine %+v %v", due, err)
	}
	var health app.Health
	token := map[string]string{"Authorization": "Bearer " + localToken(t, s.dir)}
	meanwhile(t, "figures of the server", func() bool {
		s.get(token, "/api/v1/health", &health)
		c := health.Streams[0].Consumers
		return !c[0].Looked.IsZero() && !c[1].Looked.IsZero()
	})
	if st := health.Streams[0]; st.Name != "main" || st.Fault != "" || !strings.HasSuffix(server.URL, st.Server) || st.Consumers[1].Name != "b" || st.Consumers[0].Fault != "" {
		t.Errorf("%+v", st)
	}
	_, _, text := s.call("GET", s.URL+"/metrics", nil, "")
	for line, want := range map[string]float64{
		`casement_stream_messages_total{outcome="stored",stream="main"}`:      n,
		`casement_stream_messages_total{outcome="quarantined",stream="main"}`: 2,
		`casement_stream_connected{stream="main"}`:                            1,
		`casement_stream_lag_messages{consumer="a",stream="main"}`:            0,
		`casement_intake_bodies_total{kind="nats",status="200"}`:              n,
		`casement_intake_bodies_total{kind="nats",status="422"}`:              2,
	} {
		if line == `casement_stream_lag_messages{consumer="a",stream="main"}` {
			if got := sample(t, text, line); got < 0 {
				t.Errorf("no %s", line)
			}
		} else if got := sample(t, text, line); got != want {
			t.Errorf("%s is %v, want %v", line, got, want)
		}
	}
	if code, _, _ := s.call("POST", s.URL+"/hooks/cloud", nil, bucketAlert("x", "staging")); code != http.StatusUnauthorized {
		t.Errorf("by HTTP: %d", code)
	}
	if log := s.log.String(); strings.Contains(log, "reads-only") || strings.Contains(log, "Permissions") {
		t.Errorf("log:\n%s", log)
	}
}

// TestStreamCredentials: each way to prove who we are, with TLS both ways; what
// is wrong is told at once, or in the state.
func TestStreamCredentials(t *testing.T) {
	cert, key, _ := certificate(t)
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, value := range map[string]string{"CA": read(cert), "KEY": read(key), "PASSWORD": "pass-of-nats", "TOKEN": "token-of-nats", "WRONG": "wrong-of-nats"} {
		t.Setenv("CASEMENT_NATS_"+name, value)
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, public := must(pair.Seed())(t), must(pair.PublicKey())(t)
	t.Setenv("CASEMENT_NATS_SEED", string(seed))
	operator, creds := accounts(t)
	t.Setenv("CASEMENT_NATS_CREDS", creds)
	both := fmt.Sprintf("tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}\n", cert, key, cert)
	ours := ", ca: env:CASEMENT_NATS_CA, cert: env:CASEMENT_NATS_CA, key: env:CASEMENT_NATS_KEY"
	for name, x := range map[string]struct{ server, keys, fault string }{
		"credentials":       {operator, "credentials: env:CASEMENT_NATS_CREDS", ""},
		"nkey":              {"authorization {users = [{nkey: " + string(public) + "}]}", "nkey: env:CASEMENT_NATS_SEED", ""},
		"token by tls":      {both + "authorization {token: token-of-nats}", "token: env:CASEMENT_NATS_TOKEN" + ours, ""},
		"user by tls":       {both + "authorization {user: us, password: pass-of-nats}", "user: us, password: env:CASEMENT_NATS_PASSWORD" + ours, ""},
		"wrong token":       {both + "authorization {token: token-of-nats}", "token: env:CASEMENT_NATS_WRONG" + ours, "refuses the user"},
		"unknown authority": {both, "cert: env:CASEMENT_NATS_CA, key: env:CASEMENT_NATS_KEY", "the stream's ca"},
		"no tls there":      {"", "ca: env:CASEMENT_NATS_CA", "speaks no TLS"},
		"inner address":     {"", "allow: [10.0.0.0/8]", "not in the stream's allow list"},
	} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Start(t, x.server)
			url := server.URL
			if strings.Contains(x.keys, "env:CASEMENT_NATS_CA") {
				url = strings.Replace(url, "nats://", "tls://", 1)
			}
			keys := x.keys
			if !strings.Contains(keys, "allow") {
				keys += ", allow: [127.0.0.1]"
			}
			s := streamNode(t, fmt.Sprintf("sources: {cloud: {kind: nats}}\nstreams:\n  main: {source: cloud, servers: [%q], stream: ALERTS, consumers: [all], %s}\n", url, keys))
			token := map[string]string{"Authorization": "Bearer " + localToken(t, s.dir)}
			var st stream.State
			meanwhile(t, "a connection, or why there is none: "+x.fault, func() bool {
				var h app.Health
				s.get(token, "/api/v1/health", &h)
				st = h.Streams[0]
				return x.fault == "" && st.Server != "" || x.fault != "" && strings.Contains(st.Fault, x.fault)
			})
			if log := s.log.String() + fmt.Sprint(st); strings.Contains(log, "-of-nats") || strings.Contains(log, string(seed)) {
				t.Errorf("a secret is told:\n%s", log)
			}
		})
	}
	_, err = app.Setup(t.Context(), loaded(t, `sources: {cloud: {kind: nats}}
streams:
  a: {source: cloud, servers: ["tls://n:4222"], stream: S, consumers: [c], nkey: env:CASEMENT_NATS_WRONG, ca: env:CASEMENT_NATS_WRONG}
  b: {source: cloud, servers: ["tls://n:4222"], stream: S, consumers: [c], credentials: env:CASEMENT_NATS_WRONG, allow: ["a b"]}
  c: {source: cloud, servers: ["tls://n:4222"], stream: S, consumers: [c], token: env:CASEMENT_NATS_MISSING, cert: env:CASEMENT_NATS_WRONG, key: env:CASEMENT_NATS_WRONG}
`))
	for _, want := range []string{"nkey: no seed", "streams.a.ca leads to no certificate", `allow[0] "a b"`, "CASEMENT_NATS_MISSING is not set"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wrong-of-nats") {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// accounts makes an operator with one account that has JetStream: the server's
// configuration and the creds file of a user.
func accounts(t *testing.T) (conf, creds string) {
	t.Helper()
	op, sys, acc, user := must(nkeys.CreateOperator())(t), must(nkeys.CreateAccount())(t), must(nkeys.CreateAccount())(t), must(nkeys.CreateUser())(t)
	id := func(k nkeys.KeyPair) string { return must(k.PublicKey())(t) }
	o := jwt.NewOperatorClaims(id(op))
	o.SystemAccount = id(sys)
	s, a, u := jwt.NewAccountClaims(id(sys)), jwt.NewAccountClaims(id(acc)), jwt.NewUserClaims(id(user))
	a.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	userJWT := must(u.Encode(acc))(t)
	file := must(jwt.FormatUserConfig(userJWT, must(user.Seed())(t)))(t)
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {%s: %s, %s: %s}\n",
		must(o.Encode(op))(t), id(sys), id(sys), must(s.Encode(op))(t), id(acc), must(a.Encode(op))(t)), string(file)
}

// streamChild is the variable that makes this test binary a node that reads the
// stream at its value, until its input ends.
const streamChild = "CASEMENT_STREAM_CHILD"

// streamDatabase names the database that a child shares with others; without it
// it has its own.
const streamDatabase = "CASEMENT_STREAM_DATABASE"

// streamOf has the stream ALERTS read by its consumer all, or the topic of
// kafkatest where the servers are Kafka's.
func streamOf(cfg *app.Config, servers []string) {
	src := intake.Source{Name: "scanner", Tenant: finding.DefaultTenant, Kind: "nats"}
	cfg.Sources = []intake.Source{src}
	c := stream.Config{Name: "main", Source: src, Servers: servers}
	c.Network.Hosts = []string{"127.0.0.1"}
	cfg.Streams = []stream.Opener{jetstream.Config{Config: c, Stream: "ALERTS", Consumers: []string{"all"}}}
	if len(servers) > 0 && strings.HasPrefix(servers[0], "kafka://") {
		cfg.Sources[0].Kind, c.Source.Kind = "kafka", "kafka"
		cfg.Streams = []stream.Opener{kafka.Config{Config: c, Topics: []string{kafkatest.Topic}, Session: 2 * time.Second}}
	}
}

// serveStream is the child of tests that kill what reads a stream.
func serveStream(dir string) error {
	cfg, err := killConfig(dir, os.Getenv("CASEMENT_KILL_TARGET"))
	if err != nil {
		return err
	}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	streamOf(&cfg, strings.Split(os.Getenv(streamChild), ","))
	if url := os.Getenv(streamDatabase); url != "" {
		cfg.Database, cfg.InstallKey = url, clusterKey
	}
	name, n := os.Getenv("CASEMENT_KILL_AT"), 0
	cfg.Failpoint = func(at string) {
		if at != name {
			return
		}
		if n++; n == 3 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				panic(err)
			}
			select {}
		}
	}
	a, err := app.New(context.Background(), cfg)
	if err != nil {
		return err
	}
	if err := a.Start(context.Background()); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return a.Stop(context.Background())
}

// TestStreamKill kills the process between commit and acknowledgement, and
// before the commit, while it reads: nothing is lost, and what comes again opens
// nothing.
func TestStreamKill(t *testing.T) {
	server := natstest.Start(t, "")
	j := natstest.Connect(t, server.URL)
	natstest.Make(t, j, 1, func(c *js.ConsumerConfig) { c.AckWait = time.Second }, "all")
	killReading(t, server.URL, func(n int) {
		if _, err := j.Publish(t.Context(), fmt.Sprintf("casement.default.scanner.%d", n%8), []byte(killAlert(n))); err != nil {
			t.Fatal(err)
		}
	}, func(n int) bool { return drained(t, j, "all", n)() }, func() int {
		i := consumerInfo(t, j, "all")
		return int(i.Delivered.Consumer - i.Delivered.Stream)
	})
}

// killReading kills a process that reads a stream four times. send puts the alert
// of finding n into it, taken says that n messages are and no more, again how many
// came or are to come a second time.
func killReading(t *testing.T, server string, send func(n int), taken func(n int) bool, again func() int) {
	srv := serveTarget(t, newKillTarget())
	dir := filepath.Join(t.TempDir(), "data")
	const distinct, times = 30, 10
	repeats := 0
	for round, at := range []string{"after observe commit", "before observe commit", "after observe commit", "before observe commit", ""} {
		for i := range distinct * times / 5 {
			send((round*distinct/5 + i) % distinct)
		}
		cmd := exec.Command(must(os.Executable())(t))
		cmd.Env = append(os.Environ(), "CASEMENT_KILL_CHILD="+dir, "CASEMENT_KILL_TARGET="+srv, "CASEMENT_KILL_AT="+at, streamChild+"="+server)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		in := must(cmd.StdinPipe())(t)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		dead := make(chan struct{})
		go func() { _ = cmd.Wait(); close(dead) }()
		if at == "" {
			meanwhile(t, "everything taken", func() bool { return taken(distinct * times) })
			_ = in.Close()
		}
		select {
		case <-dead:
			if killed := cmd.ProcessState.ExitCode() == -1; killed != (at != "") {
				t.Fatalf("%q: %s\n%s", at, cmd.ProcessState, stderr.String())
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-dead
			t.Fatalf("%q was not reached\n%s", at, stderr.String())
		}
		repeats = max(repeats, again())
	}
	cases := storedCases(t, dir, distinct)
	t.Logf("4 kills; %d messages of %d findings, at least %d delivered again; %d cases, all ledgers hold", distinct*times, distinct, repeats, cases)
	if repeats == 0 {
		t.Error("no message was delivered again: the kills came at no bad moment")
	}
	if cases != distinct {
		t.Errorf("%d cases of %d findings", cases, distinct)
	}
}

func serveTarget(t *testing.T, target *killTarget) string {
	srv := httptest.NewServer(target)
	t.Cleanup(srv.Close)
	return srv.URL
}

// storedCases counts the cases of the findings and all there are; they must be
// as many. It verifies the ledger.
func storedCases(t *testing.T, dir string, distinct int) int {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := map[int]bool{}
	for n := range distinct {
		seen[n] = true
	}
	found := killCases(t, s, &killClient{seen: seen})
	counts, err := s.Counts(t.Context(), finding.DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for _, n := range counts {
		all += n
	}
	if all != len(found) {
		t.Errorf("%d cases, but %d findings have one", all, len(found))
	}
	if _, err := s.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
	return all
}

// get reads a document of the API.
func (s *served) get(header map[string]string, path string, out any) {
	s.t.Helper()
	code, _, text := s.call("GET", s.URL+path, header, "")
	if err := json.Unmarshal([]byte(text), out); err != nil || code != http.StatusOK {
		s.t.Fatalf("%s: %d %v %s", path, code, err, text)
	}
}
