// Package kafka takes alerts from topics of Kafka, as a member of a consumer
// group.
//
// It may import the lower floors, intake and intake/stream; app starts its loops.
// Invariants: the offset of a record is committed only after what intake answers
// about it, and about all before it in its partition, is on disk; a partition is
// given up only after what is being taken in of it has finished or was dropped,
// and after that nothing of it is committed. Records of one key of a partition are
// taken one after the other, in the order they came in; so are those of a
// partition that have none; others at the same time, so that they share commits.
package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/intake/stream"
)

const (
	// fetchTime is how long a request for records stands; a stop waits for it.
	fetchTime = time.Second
	// fetchBytes bounds what the library reads ahead from one broker, and
	// leastInflate what one batch may become when it is decompressed, unless
	// intake.max_body is larger.
	fetchBytes   = 8 << 20
	leastInflate = 64 << 20
	// revokeTime bounds the wait for records of a partition that goes to another
	// node; the group waits for rebalanceTime.
	revokeTime    = 20 * time.Second
	rebalanceTime = time.Minute
	// DefaultSession is after how long without a sign of life the group gives our
	// partitions to others: what a killed node had in hand is taken over then.
	DefaultSession = 10 * time.Second
)

// Config is one stream of the configuration. Its servers are tls:// or kafka://;
// the brokers that they name are called as well, where Network allows it.
type Config struct {
	stream.Config
	// Topics that are read; all their records are the source's.
	Topics []string
	// Group all nodes are members of; "" is GroupOf the source.
	Group string
	// Mechanism by which User is proven: one of Mechanisms; "" is the first.
	Mechanism string
	// Session is how long we may be silent; 0 is DefaultSession.
	Session time.Duration
}

// GroupOf is the group that reads a source's topics.
func GroupOf(src intake.Source) string { return "casement-" + src.Name }

// Mechanisms of SASL, the preferred one first.
func Mechanisms() []string { return []string{"scram-sha-512", "scram-sha-256", "plain"} }

// Open implements stream.Opener.
func (c Config) Open(w stream.Wiring) (stream.Reader, error) {
	c.Group = cmp.Or(c.Group, GroupOf(c.Source))
	c.InHand = cmp.Or(c.InHand, stream.DefaultInHand)
	c.Mechanism = cmp.Or(c.Mechanism, Mechanisms()[0])
	c.Session = cmp.Or(c.Session, DefaultSession)
	if len(c.Topics) == 0 {
		return nil, errors.New("no topic is named")
	}
	s := &Stream{Config: c, Wiring: w.For(c.Name), brokers: map[string]*broker{}}
	s.consumer = newConsumer(s)
	return s, nil
}

// Stream reads the topics of one stream; it is a stream.Reader.
type Stream struct {
	Config
	stream.Wiring
	consumer *Consumer

	mu     sync.Mutex
	client *kgo.Client
	admin  *kadm.Client
	// brokers by address.
	brokers map[string]*broker
}

// Consumers implements stream.Reader.
func (s *Stream) Consumers() []stream.Consumer { return []stream.Consumer{s.consumer} }

// Connect implements stream.Reader.
func (s *Stream) Connect() error {
	cl, err := kgo.NewClient(s.options()...)
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.admin = cl, kadm.NewClient(cl)
	s.admin.SetTimeoutMillis(int32(stream.AskTime / time.Millisecond))
	return nil
}

// options of the client.
func (s *Stream) options() []kgo.Opt {
	var seeds []string
	for _, text := range s.Servers {
		u, err := url.Parse(text)
		if err != nil {
			continue // the configuration was checked
		}
		seeds = append(seeds, u.Host)
	}
	o := []kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID("casement/" + s.Node), kgo.SoftwareNameAndVersion("casement", "1"), kgo.Dialer(s.dial),
		kgo.WithHooks(hooks{s}), kgo.DisableClientMetrics(), kgo.AlwaysRetryEOF(),
		kgo.ConsumerGroup(s.Group), kgo.ConsumeTopics(s.Topics...), kgo.SessionTimeout(s.Session), kgo.HeartbeatInterval(s.Session / 4), kgo.RebalanceTimeout(rebalanceTime),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit(),
		kgo.OnOffsetsFetched(s.consumer.fetched), kgo.OnPartitionsRevoked(s.consumer.revoked), kgo.OnPartitionsLost(s.consumer.lost),
		// What the topic lost under us is no reason to skip what it still has.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// Records of a transaction that was given up are no alerts.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes / 8), kgo.MaxDecompressBatchBytes(int(max(leastInflate, 2*s.MaxBody))),
	}
	if s.User != "" {
		o = append(o, kgo.SASL(s.mechanism()))
	}
	return o
}

func (s *Stream) mechanism() sasl.Mechanism {
	switch auth := (scram.Auth{User: s.User, Pass: s.Password}); s.Mechanism {
	case "plain":
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()
	case "scram-sha-256":
		return auth.AsSha256Mechanism()
	default:
		return auth.AsSha512Mechanism()
	}
}

// dial calls allowed addresses only, and by TLS where the servers are.
func (s *Stream) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.AskTime)
	defer cancel()
	conn, err := s.Network.DialContext(ctx, network, address)
	if err != nil || !s.Secure() {
		return conn, err
	}
	c := s.TLS()
	if c.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	secure := tls.Client(conn, c)
	if err := secure.HandshakeContext(ctx); err != nil {
		var noTLS tls.RecordHeaderError
		if errors.As(err, &noTLS) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) {
			err = errNoTLS // it takes our greeting for a request
		}
		_ = conn.Close() // the handshake may have done it
		return nil, err
	}
	return secure, nil
}

// Close implements stream.Reader: it commits what is not yet and leaves the group,
// so that others go on at once.
func (s *Stream) Close() error {
	s.mu.Lock()
	cl := s.client
	s.mu.Unlock()
	if cl == nil {
		return nil
	}
	defer cl.CloseAllowingRebalance()
	s.consumer.drop()
	if s.server() == "" {
		return nil // the group goes on from what was committed
	}
	ctx, cancel := context.WithTimeout(context.Background(), stream.AskTime)
	defer cancel()
	if err := cl.LeaveGroupContext(ctx); err != nil { // has revoked called
		return fmt.Errorf("stream %s: what was not committed will come again: %w", s.Name, err)
	}
	return nil
}

// State implements stream.Reader.
func (s *Stream) State() stream.State {
	return stream.State{Name: s.Name, Server: s.server(), Fault: s.fault(), Consumers: []stream.ConsumerState{s.consumer.State()}}
}

// server is the address of a broker that answers, "" if none does.
func (s *Stream) server() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	least := ""
	for addr, b := range s.brokers {
		if b.answers && (least == "" || addr < least) {
			least = addr
		}
	}
	return least
}

// fault is what is wrong with the brokers.
func (s *Stream) fault() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	up := false
	for addr, b := range s.brokers {
		if text := b.fault.String(); text != "" {
			all = append(all, addr+": "+text)
		}
		up = up || b.answers
	}
	if len(all) == 0 && !up {
		return "no broker answers"
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// Look implements stream.Reader.
func (s *Stream) Look(ctx context.Context) {
	s.mu.Lock()
	admin := s.admin
	s.mu.Unlock()
	if admin == nil || s.server() == "" {
		return // State says so
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, stream.AskTime)
	defer cancel()
	if lag, ok := s.lag(ctx, admin); ok {
		s.consumer.look(lag)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.brokers {
		b.fault.Forget(begun.Add(-time.Minute)) // of a broker that nobody calls any more
	}
}

// lag is how many records of the topics the group has not committed.
func (s *Stream) lag(ctx context.Context, admin *kadm.Client) (int, bool) {
	last, err := admin.ListCommittedOffsets(ctx, s.Topics...)
	if err == nil {
		last.Each(func(end kadm.ListedOffset) {
			if end.Err != nil && err == nil {
				err = fmt.Errorf("topic %s: %w", end.Topic, end.Err)
			}
		})
	}
	if err != nil {
		s.consumer.fails(err)
		return 0, false
	}
	first, err := admin.ListStartOffsets(ctx, s.Topics...)
	if err != nil {
		return 0, false
	}
	done, err := admin.FetchOffsetsForTopics(ctx, s.Group, s.Topics...)
	if err != nil {
		return 0, false // told where they are read
	}
	lag := 0
	last.Each(func(end kadm.ListedOffset) {
		from := int64(-1)
		if o, ok := done.Lookup(end.Topic, end.Partition); ok {
			from = o.At
		}
		if o, ok := first.Lookup(end.Topic, end.Partition); ok {
			from = max(from, o.Offset)
		}
		if from >= 0 {
			lag += int(max(0, end.Offset-from))
		}
	})
	return lag, true
}
