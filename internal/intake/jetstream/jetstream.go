// Package jetstream takes alerts from streams of NATS JetStream.
//
// It may import the lower floors and intake; app starts its loops. Invariants: a
// message is acknowledged only after what intake answers about it is on disk,
// and terminated only after its bytes are in quarantine; what could not be
// stored stays the stream's. A message may come twice, also to two nodes: the
// second time it is a repeat. So the acknowledgement itself is not confirmed by
// the server (no double ack): one that is lost costs a repeat and nothing else.
// Messages of one subject are taken one after the other, in the order they came
// in; those of different subjects at the same time, so that they share commits.
package jetstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/intake"
)

// InboxPrefix is where answers to our requests come: a user that may subscribe
// to it and what is below, and to nothing else, reads nobody else's answers.
const InboxPrefix = "_INBOX.casement"

// Bounds of one stream.
const (
	// DefaultInHand bounds the messages a consumer has in hand, taken from the
	// stream and not answered yet.
	DefaultInHand = 256
	// lanes is how many subjects of a consumer are taken at the same time: the
	// most that share a commit.
	lanes = 64
	// leastWait and mostWait bound the back-off of everything that failed.
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
	// leastAckWait of a consumer: a third of it passes before the server is told
	// that a message is worked on.
	leastAckWait = time.Second
	// askTime bounds one request to the server.
	askTime = 5 * time.Second
	// fetchTime is how long a request for messages stands; a stop waits for it.
	fetchTime = time.Second
)

// Config is one stream of the configuration.
type Config struct {
	// Name in the configuration, in logs and metrics.
	Name string
	// Source whose alerts the stream carries: its tenant is theirs.
	Source intake.Source
	// Servers of one cluster, tls://host:port or nats://host:port; all or none by
	// TLS. Servers that the cluster names are not called.
	Servers []string
	// Stream and its durable pull consumers, which the operator made.
	Stream    string
	Consumers []string
	// Subject is what all messages must have, with wildcards; "" is SubjectOf the
	// source.
	Subject string
	// InHand of each consumer; 0 is DefaultInHand.
	InHand int
	// Credentials (a creds file's text), Seed (of an nkey), Token, or User and
	// Password; at most one kind.
	Credentials, Seed, Token, User, Password string
	// RootCAs verify the servers' certificates, the system's if nil; Certificate
	// is ours.
	RootCAs     *x509.CertPool
	Certificate *tls.Certificate
	// Network says which inner addresses may be called.
	Network connector.Network
}

// SubjectOf is the subject of a source's messages: below it comes the partition.
func SubjectOf(src intake.Source) string { return "casement." + src.Tenant + "." + src.Name + ".>" }

// Taker commits what a message says; *intake.Intake is one.
type Taker interface {
	Take(ctx context.Context, src intake.Source, event string, body []byte) intake.Answer
	// Refuse keeps a body for a person without reading it.
	Refuse(ctx context.Context, src intake.Source, event string, body []byte, why string) intake.Answer
}

// Wiring is what a stream works with; all fields but Watch and Log are required.
type Wiring struct {
	Intake Taker
	// MaxBody of a message that is read, in bytes.
	MaxBody int64
	// Node names this process to the NATS server.
	Node string
	// Watch is told of every message that was settled. nil: nobody.
	Watch func(Settled)
	Log   *slog.Logger
}

// Settled is how a message ended here.
type Settled struct {
	// Stream is the name in the configuration.
	Stream string
	// Outcome is Stored, Quarantined, Later or Returned.
	Outcome Outcome
	// Again says that it had been delivered before.
	Again bool
	// Age is the time since it was stored in the stream.
	Age time.Duration
}

// Outcome of a message.
type Outcome string

// Outcomes.
const (
	// Stored: acknowledged.
	Stored Outcome = "stored"
	// Quarantined: its bytes wait for a person, and it is terminated.
	Quarantined Outcome = "quarantined"
	// Later: the quarantine is full; it is delivered again after a while.
	Later Outcome = "later"
	// Returned: nothing was stored before the stop; it is delivered again at once.
	Returned Outcome = "returned"
)

// Stream reads one stream. Its loops are started by the caller: Connect, then
// for each consumer Fetch, Work for each lane and Keep; Look now and then.
type Stream struct {
	Config
	Wiring
	consumers []*Consumer
	nc        *nats.Conn
	js        js.JetStream
	mu        sync.Mutex
	fault     string
	faultAt   time.Time
}

// New returns a stream; it calls nobody.
func New(c Config, w Wiring) (*Stream, error) {
	if c.Subject == "" {
		c.Subject = SubjectOf(c.Source)
	}
	if c.InHand == 0 {
		c.InHand = DefaultInHand
	}
	if w.Watch == nil {
		w.Watch = func(Settled) {}
	}
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	w.Log = w.Log.With("stream", c.Name)
	s := &Stream{Config: c, Wiring: w}
	for _, name := range c.Consumers {
		s.consumers = append(s.consumers, newConsumer(s, name))
	}
	if len(s.consumers) == 0 {
		return nil, errors.New("no consumer is named")
	}
	_, err := s.options()
	return s, err
}

// Consumers of the stream.
func (s *Stream) Consumers() []*Consumer { return s.consumers }

// options of the connection; the error is a credential that can't be read.
func (s *Stream) options() ([]nats.Option, error) {
	o := []nats.Option{
		nats.Name("casement/" + s.Node), nats.CustomInboxPrefix(InboxPrefix), nats.SetCustomDialer(dialer{s.Network}), nats.SkipHostLookup(),
		nats.IgnoreDiscoveredServers(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(backoff), nats.Timeout(askTime), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.failed(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.failed(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { s.failed(err) }),
		nats.ConnectHandler(func(*nats.Conn) { s.connected() }), nats.ReconnectHandler(func(*nats.Conn) { s.connected() }),
		func(o *nats.Options) error {
			o.Secure = strings.HasPrefix(s.Servers[0], "tls://")
			o.TLSConfig = &tls.Config{RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
			if s.Certificate != nil {
				o.TLSConfig.Certificates = []tls.Certificate{*s.Certificate}
			}
			return nil
		},
	}
	switch {
	case s.Credentials != "":
		if _, err := nkeys.ParseDecoratedJWT([]byte(s.Credentials)); err != nil {
			return nil, errors.New("credentials: no creds file of NATS")
		}
		o = append(o, nats.UserCredentialBytes([]byte(s.Credentials)))
	case s.Seed != "":
		pair, err := nkeys.FromSeed([]byte(s.Seed))
		if err != nil {
			return nil, errors.New("nkey: no seed of an nkey")
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, errors.New("nkey: no seed of an nkey")
		}
		o = append(o, nats.Nkey(public, pair.Sign))
	case s.Token != "":
		o = append(o, nats.Token(s.Token))
	case s.User != "":
		o = append(o, nats.UserInfo(s.User, s.Password))
	}
	return o, nil
}

// dialer calls allowed addresses only.
type dialer struct{ net connector.Network }

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.net.DialContext(context.Background(), network, address)
}

// backoff is the wait before the next try, doubled from leastWait to mostWait, the
// half of it random so that nodes do not come at once.
func backoff(tries int) time.Duration {
	d := min(leastWait<<min(max(tries, 0), 20), mostWait)
	return d/2 + rand.N(d/2)
}

// Connect begins to connect. A server that is not there is no error: it is
// called again until Close.
func (s *Stream) Connect() error {
	o, err := s.options()
	if err != nil {
		return err
	}
	nc, err := nats.Connect(strings.Join(s.Servers, ","), o...)
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.Name, err)
	}
	j, err := js.New(nc, js.WithDefaultTimeout(askTime))
	if err != nil {
		nc.Close()
		return fmt.Errorf("stream %s: %w", s.Name, err)
	}
	s.mu.Lock()
	s.nc, s.js = nc, j
	s.mu.Unlock()
	if !nc.IsConnected() {
		s.failed(cmp.Or(nc.LastError(), nats.ErrNoServers))
	}
	return nil
}

// Close sends the acknowledgements that are still here and ends the connection.
func (s *Stream) Close() error {
	s.mu.Lock()
	nc := s.nc
	s.mu.Unlock()
	if nc == nil {
		return nil
	}
	defer nc.Close()
	if !nc.IsConnected() {
		return nil // the server delivers again what it has no answer for
	}
	if err := nc.FlushTimeout(askTime); err != nil {
		return fmt.Errorf("stream %s: acknowledgements may be lost, their messages will come again: %w", s.Name, err)
	}
	return nil
}

// failed notes and tells what is wrong with the connection.
func (s *Stream) failed(err error) {
	if err == nil {
		return // closed by us
	}
	text := explain(err)
	s.mu.Lock()
	if errors.Is(err, nats.ErrNoServers) && s.fault != "" {
		text = s.fault // that says why
	}
	same := s.fault == text
	s.fault, s.faultAt = text, time.Now()
	s.mu.Unlock()
	if !same {
		s.Log.Warn("NATS: will be tried again", "err", text)
	}
}

func (s *Stream) connected() {
	s.mu.Lock()
	s.fault = ""
	s.mu.Unlock()
	s.Log.Info("NATS: connected", "server", s.server())
}

// server is the address we are connected to, "" if there is none.
func (s *Stream) server() string {
	s.mu.Lock()
	nc := s.nc
	s.mu.Unlock()
	if nc == nil || !nc.IsConnected() {
		return ""
	}
	u, err := url.Parse(nc.ConnectedUrl())
	if err != nil {
		return ""
	}
	return u.Host
}

// explain words an error for the operator.
func explain(err error) string {
	switch {
	case errors.Is(err, connector.ErrBlocked):
		return "the server's address is not public and not in the stream's allow list"
	case connector.CertificateFault(err) != "":
		return "TLS: " + strings.Replace(connector.CertificateFault(err), "the connector's secret ca", "the stream's ca", 1)
	case errors.Is(err, io.EOF):
		return "the server ended the connection"
	case errors.Is(err, nats.ErrNoServers):
		return "no server answers"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server speaks no TLS: name it by nats:// if that is meant"
	case errors.Is(err, nats.ErrAuthorization):
		return "the server refuses the user: check the credential"
	case errors.Is(err, nats.ErrNoResponders):
		return "JetStream does not answer: no quorum, or it is not enabled for this user's account"
	case errors.Is(err, js.ErrConsumerNotFound), errors.Is(err, js.ErrConsumerDeleted):
		return "there is no such consumer: make it, docs/streams.md shows how"
	case errors.Is(err, js.ErrStreamNotFound):
		return "there is no such stream: make it, docs/streams.md shows how"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: no quorum, or the user may not publish to $JS.API.CONSUMER.INFO and .MSG.NEXT of the consumer or subscribe to " + InboxPrefix + ".>"
	}
	return err.Error()
}
