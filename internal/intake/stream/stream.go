// Package stream is what all readers of streams share: the messages in hand, how
// one is settled, and how a stream fares.
//
// It may import the lower floors and intake; readers (jetstream, kafka) import
// it, and app starts their loops. Invariants: a message is settled only after
// what intake answers about it is on disk; what can't be stored is held, so that
// messages behind it in its lane do not overtake it and no more are fetched than
// the hand holds. A message may come twice, also to two nodes: the second time it
// is a repeat.
package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/intake"
)

// Bounds of every stream.
const (
	// DefaultInHand bounds the messages a consumer has in hand, taken from the
	// stream and not settled yet.
	DefaultInHand = 256
	// Lanes is how many messages of a consumer are taken in at the same time: the
	// most that share a commit.
	Lanes = 64
	// AskTime bounds one request to a server.
	AskTime = 5 * time.Second
	// MostDeliveries of a message that was never taken in: each of them ended
	// with the process, or with its connection. After that it is not read any
	// more but kept for a person.
	MostDeliveries = 20
	// leastWait and mostWait bound the back-off of everything that failed.
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
)

// Config is what the configuration says of any stream.
type Config struct {
	// Name in the configuration, in logs and metrics.
	Name string
	// Source whose alerts the stream carries: its tenant is theirs.
	Source intake.Source
	// Servers of one cluster, scheme://host:port; all by tls:// or none.
	Servers []string
	// InHand of each consumer; 0 is DefaultInHand.
	InHand int
	// User and Password, or neither.
	User, Password string
	// RootCAs verify the servers' certificates, the system's if nil; Certificate
	// is ours.
	RootCAs     *x509.CertPool
	Certificate *tls.Certificate
	// Network says which inner addresses may be called.
	Network connector.Network
}

// Secure reports whether the servers are called by TLS.
func (c Config) Secure() bool { return strings.HasPrefix(c.Servers[0], "tls://") }

// TLS is how the servers are verified, and what they are shown.
func (c Config) TLS() *tls.Config {
	out := &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}
	if c.Certificate != nil {
		out.Certificates = []tls.Certificate{*c.Certificate}
	}
	return out
}

// Opener is a stream of the configuration, of any kind.
type Opener interface {
	// Open returns its reader; it calls nobody. The error is what the
	// configuration has wrong.
	Open(Wiring) (Reader, error)
}

// Reader reads one stream. Its loops are started by the caller: Connect, then
// those of each consumer, and Look now and then; Close after they ended.
type Reader interface {
	// Connect begins to connect. A server that is not there is no error: it is
	// called again until Close.
	Connect() error
	Consumers() []Consumer
	// Look asks the servers how far the consumers are, for State.
	Look(ctx context.Context)
	State() State
	// Close sends what the servers were not told yet and ends the connection.
	Close() error
}

// Consumer is one of a reader's. Fetch, Keep and Work on each lane run at the
// same time.
type Consumer interface {
	// Fetch takes messages from the stream, as many as there is room for, until
	// ctx ends.
	Fetch(ctx context.Context)
	// Work settles the messages of a lane, 0 to Lanes-1, one after the other,
	// until the last one after Fetch ended. When ctx ends, what is left goes back
	// to the stream.
	Work(ctx context.Context, lane int)
	// Keep tells the servers how far the work is, until done is closed.
	Keep(done <-chan struct{})
}

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
	// Node names this process to the servers.
	Node string
	// Watch is told of every message that was settled. nil: nobody.
	Watch func(Settled)
	Log   *slog.Logger
}

// For returns the wiring of the stream of that name, with what is missing.
func (w Wiring) For(name string) Wiring {
	if w.Watch == nil {
		w.Watch = func(Settled) {}
	}
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	w.Log = w.Log.With("stream", name)
	return w
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
	// Stored: its alerts, or its bytes to be worked on, are on disk.
	Stored Outcome = "stored"
	// Quarantined: its bytes wait for a person.
	Quarantined Outcome = "quarantined"
	// Later: the quarantine is full; it is tried again after a while.
	Later Outcome = "later"
	// Returned: nothing was stored before the stop, or before it became another
	// node's; it is delivered again at once.
	Returned Outcome = "returned"
)

// State is how a stream fares, for health and metrics.
type State struct {
	Name string `json:"name"`
	// Server we are connected to, "" if there is none.
	Server string `json:"server"`
	// Fault is why there is no connection, or what the server refused.
	Fault     string          `json:"fault,omitempty"`
	Consumers []ConsumerState `json:"consumers" nullable:"false"`
}

// ConsumerState is how a consumer fares.
type ConsumerState struct {
	Name string `json:"name"`
	// Waiting messages were not delivered yet, or (Kafka) not committed: the lag.
	// Unanswered ones were delivered and not acknowledged, MostUnanswered is where
	// delivery stops, 0 if not known. Redelivered ones are those of them that came
	// before. All are the figures of Looked; Waiting is the server's, and so are
	// the others of JetStream, while those of Kafka are of this process.
	Waiting        int `json:"waiting"`
	Unanswered     int `json:"unanswered"`
	MostUnanswered int `json:"most_unanswered"`
	Redelivered    int `json:"redelivered"`
	// Missed were deleted by the retention of the topic (Kafka) before they were
	// read, since this process began.
	Missed int `json:"missed"`
	// Looked is when the server was asked, zero if it never answered.
	Looked time.Time `json:"looked,omitzero"`
	// InHand are the messages this process has.
	InHand int `json:"in_hand"`
	// HeldSince is since when messages wait here because they can't be stored.
	HeldSince time.Time `json:"held_since,omitzero"`
	HeldWhy   string    `json:"held_why,omitempty"`
	// Fault is why it is not read.
	Fault string `json:"fault,omitempty"`
}

// Backoff is the wait before the next try, doubled from 0.1 to 30 s, the half of
// it random so that nodes do not come at once.
func Backoff(tries int) time.Duration {
	d := min(leastWait<<min(max(tries, 0), 20), mostWait)
	return d/2 + rand.N(d/2)
}

// LaterWait is the wait before a message is tried again for which the quarantine
// had no room, after so many tries.
func LaterWait(tries int) time.Duration {
	return min(time.Second<<min(max(tries, 0), 16), time.Minute)
}

// Pause waits for d, or until one of the channels is closed.
func Pause(d time.Duration, done ...<-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	var one, two <-chan struct{}
	switch len(done) {
	case 2:
		two = done[1]
		fallthrough
	case 1:
		one = done[0]
	}
	select {
	case <-one:
	case <-two:
	case <-t.C:
	}
}
