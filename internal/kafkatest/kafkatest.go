// Package kafkatest serves Kafka's protocol for tests, by the fake cluster of
// franz-go, which keeps its log in memory. It imports nothing of ours and is
// imported by tests only: the server is linked into no binary.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topic that every cluster has.
const Topic = "alerts"

// Cluster is a running cluster.
type Cluster struct {
	*kfake.Cluster
	// Client of the test, and its administration.
	Client *kgo.Client
	Admin  *kadm.Client
	t      testing.TB
}

// Start serves until the test ends, with one broker unless an option says
// otherwise; clients is what the test's client needs to come in.
func Start(t testing.TB, partitions int32, opts []kfake.Opt, clients ...kgo.Opt) *Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(partitions, Topic), kfake.GroupMinSessionTimeout(time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	out := &Cluster{Cluster: c, t: t}
	out.Client, err = kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.DefaultProduceTopic(Topic)}, clients...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Client.Close)
	out.Admin = kadm.NewClient(out.Client)
	return out
}

// Servers of the cluster as a configuration names them, by a scheme: kafka, or
// tls.
func (c *Cluster) Servers(scheme string) []string {
	var out []string
	for _, addr := range c.ListenAddrs() {
		out = append(out, scheme+"://"+addr)
	}
	return out
}

// Send produces records in their order, each "key body" or "body" alone, and
// returns after the cluster has them all.
func (c *Cluster) Send(records ...string) {
	c.t.Helper()
	var rs []*kgo.Record
	for _, r := range records {
		key, body, ok := strings.Cut(r, " ")
		if !ok {
			rs = append(rs, kgo.StringRecord(r))
			continue
		}
		rs = append(rs, kgo.KeyStringRecord(key, body))
	}
	c.Produce(rs...)
}

// Produce returns after the cluster has all records.
func (c *Cluster) Produce(rs ...*kgo.Record) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Client.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// Committed is how many records before the offsets of the group there are, and
// how many at all.
func (c *Cluster) Committed(group string, topics ...string) (done, all int) {
	c.t.Helper()
	if len(topics) == 0 {
		topics = []string{Topic}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	offsets, err := c.Admin.FetchOffsetsForTopics(ctx, group, topics...)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // it has read nothing yet
		c.t.Fatal(err)
	}
	ends, err := c.Admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		c.t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At > 0 {
			done += int(o.At)
		}
	})
	ends.Each(func(o kadm.ListedOffset) { all += int(o.Offset) })
	return done, all
}

// Offsets of the group, by partition, with what is noted beside them.
func (c *Cluster) Offsets(group string) string {
	c.t.Helper()
	offsets, err := c.Admin.FetchOffsets(context.Background(), group)
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, o := range offsets.Sorted() {
		out = append(out, fmt.Sprintf("%d:%d %s", o.Partition, o.At, o.Metadata))
	}
	return strings.Join(out, "; ")
}

// Ahead is how many records the group's members had fetched beyond what they had
// committed, as they noted beside the offsets: what comes again.
func (c *Cluster) Ahead(group string) int {
	c.t.Helper()
	offsets, err := c.Admin.FetchOffsets(context.Background(), group)
	if err != nil {
		c.t.Fatal(err)
	}
	n := 0
	for _, o := range offsets.Sorted() {
		var tries, seen int
		if k, _ := fmt.Sscanf(o.Metadata, "casement tries=%d seen=%d", &tries, &seen); k == 2 {
			n += max(0, seen-int(o.At))
		}
	}
	return n
}
