package app_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/kafkatest"
	"github.com/casement/casement/internal/natstest"
	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/pgtest"
)

// clusterKey is the install key of the nodes of TestStreamCluster.
const clusterKey = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"

// node is a Casement in a process of its own, on a shared database.
type node struct {
	cmd  *exec.Cmd
	in   io.Closer
	dead chan struct{}
}

func startNode(t *testing.T, dir, target, database string, urls []string) *node {
	t.Helper()
	n := &node{cmd: exec.Command(must(os.Executable())(t)), dead: make(chan struct{})}
	n.cmd.Env = append(os.Environ(), "CASEMENT_KILL_CHILD="+dir, "CASEMENT_KILL_TARGET="+target, streamChild+"="+strings.Join(urls, ","), streamDatabase+"="+database)
	n.cmd.Stderr = os.Stderr
	n.in = must(n.cmd.StdinPipe())(t)
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = n.cmd.Wait(); close(n.dead) }()
	t.Cleanup(n.kill)
	return n
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may be dead
	<-n.dead
	_ = n.in.Close()
}

// TestStreamCluster: three NATS servers with three replicas, two nodes on one
// PostgreSQL that share one consumer. In mid-stream the stream's leader is
// killed with SIGKILL and comes back, then a node, then the next leader.
// Everything the servers confirmed is taken in, and every finding has one case.
func TestStreamCluster(t *testing.T) {
	if !need.Full() {
		need.Missing(t, "the run with three NATS servers and two nodes takes minutes; CASEMENT_FULL=1 (make test-full) runs it")
	}
	const distinct, messages, senders = 500, 5000, 8
	servers := natstest.Cluster(t, `mappings: {"alerts.*.*.*": "casement.{{wildcard(1)}}.{{wildcard(2)}}.{{partition(64,1,2,3)}}"}`)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.URL)
	}
	j := natstest.Connect(t, strings.Join(urls, ","))
	natstest.Make(t, j, len(servers), func(c *js.ConsumerConfig) { c.AckWait = 5 * time.Second }, "all")
	database := pgtest.Start(t).Database(t)
	srv := serveTarget(t, newKillTarget())
	nodes := []*node{}
	for i := range 2 {
		nodes = append(nodes, startNode(t, filepath.Join(t.TempDir(), fmt.Sprint("n", i)), srv, database, urls))
	}
	var confirmed, retried, next atomic.Int64
	reached := make(chan int64, messages)
	var send sync.WaitGroup
	for range senders {
		send.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= messages {
					return
				}
				m := &nats.Msg{Subject: fmt.Sprintf("alerts.default.scanner.f%d", n%distinct), Data: []byte(killAlert(int(n % distinct)))}
				for {
					ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
					_, err := j.PublishMsg(ctx, m, js.WithMsgID(fmt.Sprint(n)))
					cancel()
					if err == nil {
						break
					}
					retried.Add(1) // the same id: stored once
					<-time.After(50 * time.Millisecond)
				}
				reached <- confirmed.Add(1)
			}
		})
	}
	begun := time.Now()
	leader := func() *natstest.Server {
		var i int
		meanwhile(t, "a leader of the stream", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			s, err := j.Stream(ctx, "ALERTS")
			if err != nil || s.CachedInfo().Cluster == nil {
				return false
			}
			n, err := fmt.Sscanf(s.CachedInfo().Cluster.Leader, "n%d", &i)
			return n == 1 && err == nil
		})
		return servers[i]
	}
	kills := 0
	var down *natstest.Server
	for confirmed := range reached {
		switch confirmed {
		case messages / 5, messages * 4 / 5:
			down = leader()
			down.Stop()
			kills++
		case messages * 2 / 5:
			down.Spawn(t)
		case messages * 3 / 5:
			nodes[0].kill()
			nodes[0] = startNode(t, filepath.Join(t.TempDir(), "again"), srv, database, urls)
		}
		if confirmed == messages {
			break
		}
	}
	send.Wait()
	down.Spawn(t)
	emptied(t, j, messages)
	took := time.Since(begun).Round(time.Second)
	i := consumerInfo(t, j, "all")
	for _, n := range nodes {
		n.kill()
	}
	lost, all := storedIn(t, database, distinct)
	t.Logf("%d messages of %d findings confirmed by 3 servers with 3 replicas, %d sent again; %d servers killed, 1 node killed; %d deliveries of %d messages; lost findings %d; cases %d (doubled %d); %s",
		confirmed.Load(), distinct, retried.Load(), kills, i.Delivered.Consumer, messages, lost, all, all-(distinct-lost), took)
	if lost != 0 || all != distinct {
		t.Errorf("lost %d, cases %d of %d findings", lost, all, distinct)
	}
}

// storedIn counts the findings of a database without a case, and its cases. It
// verifies the ledger.
func storedIn(t *testing.T, database string, distinct int) (lost, cases int) {
	t.Helper()
	a, err := app.New(t.Context(), app.Config{DataDir: t.TempDir(), Database: database, InstallKey: clusterKey, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	var uids []string
	for n := range distinct {
		f, err := finding.Normalize(finding.Finding{Source: "kill", NativeID: fmt.Sprint("f", n), Asset: finding.Asset{UID: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, f.UID)
	}
	known, err := a.Store.Known(t.Context(), finding.DefaultTenant, uids)
	if err != nil {
		t.Fatal(err)
	}
	lost = distinct
	for _, k := range known {
		if k.CaseID != "" {
			lost--
		}
	}
	if _, err := a.Store.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
	return lost, (&served{App: a, t: t}).cases()
}

// emptied waits until every message of the stream is acknowledged, as long as
// some are from one half minute to the next.
func emptied(t *testing.T, j js.JetStream, upTo uint64) {
	t.Helper()
	var last *js.ConsumerInfo
	for end := time.Now().Add(30 * time.Second); ; <-time.After(100 * time.Millisecond) {
		i := consumerInfo(t, j, "all")
		// A server that has just come back may say that nothing waits before it
		// knows what was stored meanwhile; its floor gives that away.
		if i.NumPending == 0 && i.NumAckPending == 0 && i.AckFloor.Stream >= upTo {
			return
		}
		if last == nil || i.AckFloor.Stream > last.AckFloor.Stream || i.NumAckPending < last.NumAckPending {
			end = time.Now().Add(30 * time.Second)
		}
		if last = i; time.Now().After(end) {
			t.Fatalf("messages stay in the stream: %d not delivered, %d not acknowledged, %d pulls wait, acknowledged up to %+v, delivered %+v",
				i.NumPending, i.NumAckPending, i.NumWaiting, i.AckFloor, i.Delivered)
		}
	}
}

// BenchmarkStream takes messages of one alert, nine of ten repeats, from a
// stream on disk to cases on disk: SQLite as it is shipped, one consumer, the
// NATS server in the same process; and from a topic of 8 partitions, which kfake
// has in memory. Beside it the same alerts are handed to intake by 64 callers.
func BenchmarkStream(b *testing.B) {
	const messages, distinct = 10_000, 1_000
	body := func(n int) []byte { return []byte(killAlert(n % distinct)) }
	install := func(servers ...string) *app.App {
		cfg, err := killConfig(b.TempDir(), "http://127.0.0.1:1")
		if err != nil {
			b.Fatal(err)
		}
		cfg.Policy, cfg.Authors, cfg.Environment, cfg.Connectors, cfg.Notifiers = nil, nil, nil, nil, nil
		if streamOf(&cfg, servers); servers == nil {
			cfg.Streams = nil
		}
		a, err := app.New(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		return a
	}
	run := func(b *testing.B, a *app.App, wait func()) {
		ctx := context.WithoutCancel(b.Context())
		begun := time.Now()
		if err := a.Start(ctx); err != nil {
			b.Fatal(err)
		}
		wait()
		b.ReportMetric(messages/time.Since(begun).Seconds(), "alerts/s")
		if err := a.Stop(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("stream", func(b *testing.B) {
		server := natstest.Start(b, "")
		j := natstest.Connect(b, server.URL)
		for b.Loop() {
			_ = j.DeleteStream(b.Context(), "ALERTS") // of the last round
			natstest.Make(b, j, 1, nil, "all")
			for n := range messages {
				if _, err := j.PublishAsync(fmt.Sprintf("casement.default.scanner.%d", n%distinct%64), body(n)); err != nil {
					b.Fatal(err)
				}
				if n%1000 == 999 {
					<-j.PublishAsyncComplete()
				}
			}
			run(b, install(server.URL), func() {
				for {
					c, err := j.Consumer(b.Context(), "ALERTS", "all")
					if err != nil {
						b.Fatal(err)
					}
					if i := c.CachedInfo(); i.NumPending == 0 && i.NumAckPending == 0 && i.AckFloor.Consumer >= messages {
						return
					}
					<-time.After(5 * time.Millisecond) // the server tells nobody
				}
			})
		}
	})
	b.Run("kafka", func(b *testing.B) {
		for b.Loop() {
			c := kafkatest.Start(b, 8, nil)
			var rs []*kgo.Record
			for n := range messages {
				rs = append(rs, &kgo.Record{Key: fmt.Append(nil, n%distinct), Value: body(n)})
			}
			c.Produce(rs...)
			run(b, install(c.Servers("kafka")...), func() {
				for {
					if done, _ := c.Committed("casement-scanner"); done == messages {
						return
					}
					<-time.After(5 * time.Millisecond) // the group tells nobody
				}
			})
		}
	})
	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			a := install()
			run(b, a, func() {
				var next atomic.Int64
				var all sync.WaitGroup
				for range 64 {
					all.Go(func() {
						for n := next.Add(1) - 1; n < messages; n = next.Add(1) - 1 {
							a.Intake.Take(b.Context(), intake.Source{Name: "scanner", Tenant: finding.DefaultTenant, Kind: "nats"}, "", body(int(n)))
						}
					})
				}
				all.Wait()
			})
		}
	})
}
