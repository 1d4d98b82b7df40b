package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/intake/stream"
)

// hooks hear of every connection to a broker, and of every answer.
type hooks struct{ s *Stream }

// broker is what we know of one.
type broker struct {
	// connections there are; answers says that one of them brought an answer.
	connections int
	answers     bool
	fault       stream.Fault
}

// broker returns what is known of a broker; the stream's mu is held.
func (s *Stream) broker(addr string) *broker {
	b := s.brokers[addr]
	if b == nil {
		b = &broker{}
		s.brokers[addr] = b
	}
	return b
}

func address(b kgo.BrokerMetadata) string { return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))) }

// OnBrokerConnect implements kgo.HookBrokerConnect: a connection is up, and has
// proven who we are, or could not be made.
func (h hooks) OnBrokerConnect(b kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		if errors.Is(err, io.EOF) && h.s.User != "" {
			err = errRefused
		}
		h.failed(address(b), err)
		return
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.broker(address(b)).connections++
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (h hooks) OnBrokerDisconnect(b kgo.BrokerMetadata, _ net.Conn) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	x := h.s.broker(address(b))
	if x.connections = max(0, x.connections-1); x.connections == 0 {
		x.answers = false
	}
}

// OnBrokerE2E implements kgo.HookBrokerE2E. What comes before we have proven who
// we are is no answer yet.
func (h hooks) OnBrokerE2E(b kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.SASLAuthenticate:
		return
	}
	addr := address(b)
	if e.Err() != nil {
		h.failed(addr, e.Err())
		return
	}
	h.s.mu.Lock()
	x := h.s.broker(addr)
	first := !x.answers && x.connections > 0
	x.answers = x.connections > 0
	h.s.mu.Unlock()
	if first && x.fault.Set("", false) {
		h.s.Log.Info("Kafka: connected", "broker", addr)
	}
}

func (h hooks) failed(addr string, err error) {
	if errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return // our own doing
	}
	h.s.mu.Lock()
	b := h.s.broker(addr)
	h.s.mu.Unlock()
	if b.fault.Set(explain(err), false) {
		h.s.Log.Warn("Kafka: will be tried again", "broker", addr, "err", b.fault.String())
	}
}

// Faults that the errors of the protocol do not name.
var (
	errNoTLS   = errors.New("the broker speaks no TLS: name it by kafka:// if that is meant")
	errRefused = errors.New("the broker refuses the user, it ended the connection: check user, password and mechanism")
)

// explain words an error for the operator.
func explain(err error) string {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(err, connector.ErrBlocked):
		return stream.Blocked
	case stream.Certificate(err) != "":
		return stream.Certificate(err)
	case errors.Is(err, io.EOF):
		return "the broker ended the connection: it was stopped, or it wants TLS (name it by tls://), or user and password"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the broker refuses the user: check user, password and mechanism"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the broker does not know the mechanism"
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return about(err) + "there is no such topic, or the user may not read it: docs/streams.md shows how they are made"
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return about(err) + "the user may not read the topic: docs/streams.md shows what it must be allowed"
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return "the user may not read by the group: docs/streams.md shows what it must be allowed"
	case errors.As(err, &loss):
		return "the brokers lost records of the topic that they had confirmed; what it still has is read: " + err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return err.Error()
}

// about is the topic that an error speaks of, as "topic x: ".
func about(err error) string {
	if head, _, ok := strings.Cut(err.Error(), ": "); ok && strings.HasPrefix(head, "topic ") {
		return head + ": "
	}
	return ""
}
