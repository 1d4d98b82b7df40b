// Package jetstream takes alerts from streams of NATS JetStream.
//
// It may import the lower floors, intake and intake/stream; app starts its loops.
// Invariants: a message is acknowledged only after what intake answers about it is
// on disk, and terminated only after its bytes are in quarantine; what could not be
// stored stays the stream's. A repeat costs little, so the acknowledgement itself
// is not confirmed by the server (no double ack).
// Messages of one subject are taken one after the other, in the order they came
// in; those of different subjects at the same time, so that they share commits.
package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	"github.com/casement/casement/internal/intake/stream"
)

// InboxPrefix is where answers to our requests come: a user that may subscribe
// to it and what is below, and to nothing else, reads nobody else's answers.
const InboxPrefix = "_INBOX.casement"

const (
	// leastAckWait of a consumer: a third of it passes before the server is told
	// that a message is worked on.
	leastAckWait = time.Second
	// fetchTime is how long a request for messages stands; a stop waits for it.
	fetchTime = time.Second
)

// Config is one stream of the configuration. Its servers are tls:// or nats://;
// those that the cluster names are not called.
type Config struct {
	stream.Config
	// Stream and its durable pull consumers, which the operator made.
	Stream    string
	Consumers []string
	// Subject is what all messages must have, with wildcards; "" is SubjectOf the
	// source.
	Subject string
	// Credentials (a creds file's text), Seed (of an nkey), Token, or User and
	// Password; at most one kind.
	Credentials, Seed, Token string
}

// SubjectOf is the subject of a source's messages: below it comes the partition.
func SubjectOf(src intake.Source) string { return "casement." + src.Tenant + "." + src.Name + ".>" }

// Open implements stream.Opener.
func (c Config) Open(w stream.Wiring) (stream.Reader, error) {
	s, err := New(c, w)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Stream reads one stream; it is a stream.Reader.
type Stream struct {
	Config
	stream.Wiring
	consumers []*Consumer
	fault     stream.Fault
	mu        sync.Mutex
	nc        *nats.Conn
	js        js.JetStream
}

// New returns a stream; it calls nobody.
func New(c Config, w stream.Wiring) (*Stream, error) {
	c.Subject = cmp.Or(c.Subject, SubjectOf(c.Source))
	c.InHand = cmp.Or(c.InHand, stream.DefaultInHand)
	s := &Stream{Config: c, Wiring: w.For(c.Name)}
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
func (s *Stream) Consumers() []stream.Consumer {
	var out []stream.Consumer
	for _, c := range s.consumers {
		out = append(out, c)
	}
	return out
}

// options of the connection; the error is a credential that can't be read.
func (s *Stream) options() ([]nats.Option, error) {
	o := []nats.Option{
		nats.Name("casement/" + s.Node), nats.CustomInboxPrefix(InboxPrefix), nats.SetCustomDialer(dialer{s.Network}), nats.SkipHostLookup(),
		nats.IgnoreDiscoveredServers(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.CustomReconnectDelay(stream.Backoff), nats.Timeout(stream.AskTime), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { s.failed(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.failed(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { s.failed(err) }),
		nats.ConnectHandler(func(*nats.Conn) { s.connected() }), nats.ReconnectHandler(func(*nats.Conn) { s.connected() }),
		func(o *nats.Options) error {
			o.Secure, o.TLSConfig = s.Secure(), s.TLS()
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
	j, err := js.New(nc, js.WithDefaultTimeout(stream.AskTime))
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
	if err := nc.FlushTimeout(stream.AskTime); err != nil {
		return fmt.Errorf("stream %s: acknowledgements may be lost, their messages will come again: %w", s.Name, err)
	}
	return nil
}

// failed notes and tells what is wrong with the connection.
func (s *Stream) failed(err error) {
	if err == nil {
		return // closed by us
	}
	if s.fault.Set(explain(err), errors.Is(err, nats.ErrNoServers)) {
		s.Log.Warn("NATS: will be tried again", "err", s.fault.String())
	}
}

func (s *Stream) connected() {
	s.fault.Set("", false)
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
		return stream.Blocked
	case stream.Certificate(err) != "":
		return stream.Certificate(err)
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
