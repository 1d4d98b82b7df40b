package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// backlog is alerts that wait in a stream for the product.
type backlog struct {
	// config is where the product finds them.
	config string
	// left is how many are not acknowledged.
	left func(context.Context) (int, error)
	stop func()
}

// streamed: one alert a message, nine of ten repeats, from a stream that is full
// before the product starts. The servers run in this process.
func streamed(b *bench) ([]row, error) {
	n := max(5_000, int(b.dur.Seconds()*4_000))
	var rows []row
	for _, x := range []struct {
		what string
		fill func(b *bench, n int) (backlog, error)
	}{{"NATS JetStream, a file synced at each write, 64 subjects", natsOf(js.WorkQueuePolicy)},
		{"NATS JetStream, the same, kept after it was read (limits)", natsOf(js.LimitsPolicy)},
		{"Kafka, 8 partitions, in memory", fillKafka}} {
		var rate, cpu []float64
		for range b.repeats {
			q, err := x.fill(b, n)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", x.what, err)
			}
			r, c, err := b.drain(q)
			q.stop()
			if err != nil {
				return rows, fmt.Errorf("%s: %w", x.what, err)
			}
			b.sayf("  %s: %.0f/s, %.0f µs", x.what, r, c)
			rate, cpu = append(rate, r), append(cpu, c)
		}
		rows = append(rows, row{ID: "–", What: "from a stream: " + x.what, Got: median(rate), Unit: "/s", CPU: median(cpu), Met: true})
	}
	return rows, nil
}

// drain starts the product and returns how many alerts a second it takes from
// when it is ready, and its CPU time for each, in microseconds.
func (b *bench) drain(q backlog) (rate, cpu float64, err error) {
	dir, err := b.folder()
	if err != nil {
		return 0, 0, err
	}
	config := filepath.Join(dir, "casement.yaml")
	if err := os.WriteFile(config, []byte(q.config), 0o600); err != nil {
		return 0, 0, err
	}
	database, err := b.databaseOf(dir)
	if err != nil {
		return 0, 0, err
	}
	p, err := startProduct(b.ctx, b.binary, dir, config, database)
	if err != nil {
		return 0, 0, err
	}
	defer b.drop(p)
	before, err1 := cpuOf(p.cmd.Process.Pid)
	first, err2 := q.left(b.ctx)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	last, begun, moved := first, time.Now(), time.Now()
	for last > 0 {
		time.Sleep(5 * time.Millisecond) // the servers tell nobody
		n, err := q.left(b.ctx)
		if err != nil {
			return 0, 0, err
		}
		if n < last {
			last, moved = n, time.Now()
		}
		if time.Since(moved) > time.Minute {
			return 0, 0, fmt.Errorf("%d of %d alerts stay in the stream: %.500s", last, first, p.stderr)
		}
	}
	took := time.Since(begun)
	after, err := cpuOf(p.cmd.Process.Pid)
	if first == 0 {
		return 0, 0, errors.New("all alerts were taken before the product was ready: measure longer, with -d")
	}
	return float64(first) / took.Seconds(), float64((after - before).Microseconds()) / float64(first), err
}

// streamConfig is the product's configuration for one stream.
func streamConfig(kind, address, more string) string {
	return fmt.Sprintf("sources:\n  bench: {kind: %s, owner: bench}\nstreams:\n  main:\n    source: bench\n    servers: [\"%s\"]\n    allow: [127.0.0.0/8]\n%s", kind, address, more)
}

// messages calls each with the finding and the body of n alerts.
func (b *bench) messages(n int, each func(finding int, body []byte) error) error {
	p := repeating(b.take(n))
	for i := range n {
		f := p(i)
		if err := each(f, b.gen.body(nil, f, i, time.Now())); err != nil {
			return err
		}
	}
	return nil
}

// natsOf fills a stream of that retention: of a work queue the server removes,
// and syncs, each message that is acknowledged.
func natsOf(keep js.RetentionPolicy) func(b *bench, n int) (backlog, error) {
	return func(b *bench, n int) (backlog, error) { return fillNATS(b, n, keep) }
}

func fillNATS(b *bench, n int, keep js.RetentionPolicy) (q backlog, err error) {
	dir, err := b.folder()
	if err != nil {
		return q, err
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		return q, err
	}
	s.Start()
	q.stop = s.Shutdown
	defer func() {
		if err != nil {
			q.stop()
		}
	}()
	if !s.ReadyForConnections(10 * time.Second) {
		return q, errors.New("the server does not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		return q, err
	}
	q.stop = func() {
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
	}
	j, err := js.New(nc)
	if err != nil {
		return q, err
	}
	if _, err := j.CreateStream(b.ctx, js.StreamConfig{Name: "ALERTS", Subjects: []string{"casement.>"}, Storage: js.FileStorage, Retention: keep, Discard: js.DiscardNew}); err != nil {
		return q, err
	}
	c, err := j.CreateConsumer(b.ctx, "ALERTS", js.ConsumerConfig{Durable: "all", AckPolicy: js.AckExplicitPolicy, MaxDeliver: -1, FilterSubject: "casement.default.bench.>"})
	if err != nil {
		return q, err
	}
	sent := 0
	err = b.messages(n, func(f int, body []byte) error {
		if sent++; sent%1000 == 0 { // more on the way are refused
			<-j.PublishAsyncComplete()
		}
		_, err := j.PublishAsync(fmt.Sprintf("casement.default.bench.%d", f%64), body)
		return err
	})
	if err != nil {
		return q, err
	}
	<-j.PublishAsyncComplete()
	q.left = func(ctx context.Context) (int, error) {
		i, err := c.Info(ctx)
		if err != nil {
			return 0, err
		}
		return int(i.NumPending) + i.NumAckPending, nil
	}
	q.config = streamConfig("nats", s.ClientURL(), "    stream: ALERTS\n    consumers: [all]\n")
	return q, nil
}

func fillKafka(b *bench, n int) (q backlog, err error) {
	const topic, group = "alerts", "casement-bench"
	s, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(8, topic))
	if err != nil {
		return q, err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(s.ListenAddrs()...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.DefaultProduceTopic(topic))
	if err != nil {
		s.Close()
		return q, err
	}
	q.stop = func() {
		c.Close()
		s.Close()
	}
	var records []*kgo.Record
	_ = b.messages(n, func(f int, body []byte) error { // it only collects
		records = append(records, &kgo.Record{Key: fmt.Append(nil, f), Value: body})
		return nil
	})
	if err := c.ProduceSync(b.ctx, records...).FirstErr(); err != nil {
		q.stop()
		return q, err
	}
	admin := kadm.NewClient(c)
	q.left = func(ctx context.Context) (int, error) {
		offsets, err := admin.FetchOffsets(ctx, group)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // it has read nothing yet
			return 0, err
		}
		done := 0
		offsets.Each(func(o kadm.OffsetResponse) { done += int(max(o.At, 0)) })
		return n - done, nil
	}
	q.config = streamConfig("kafka", "kafka://"+strings.Join(s.ListenAddrs(), ","), "    topics: ["+topic+"]\n")
	return q, nil
}
