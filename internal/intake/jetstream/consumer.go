package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"

	"github.com/casement/casement/internal/intake/stream"
)

// Consumer reads one durable pull consumer of a stream; it is a stream.Consumer.
type Consumer struct {
	*stream.Hand[*message]
	s    *Stream
	name string
	mu   sync.Mutex
	// wait is the consumer's AckWait.
	wait time.Duration
}

// message is one in hand.
type message struct {
	js.Msg
	c    *Consumer
	meta *js.MsgMetadata
}

// Body implements stream.Message, as do those that follow.
func (m *message) Body() []byte              { return m.Data() }
func (m *message) Header(name string) string { return m.Headers().Get(name) }
func (m *message) Gone() <-chan struct{}     { return nil }
func (m *message) Again() bool               { return m.meta.NumDelivered > 1 }
func (m *message) At() time.Time             { return m.meta.Timestamp }
func (m *message) Where() []any {
	return []any{"sequence", m.meta.Sequence.Stream, "subject", m.Subject()}
}

func (m *message) Refusal() string {
	switch want := m.c.s.Subject; {
	case !covers(want, m.Subject()):
		return fmt.Sprintf("its subject %s is not one of this source (%s)", m.Subject(), want)
	case m.meta.NumDelivered > stream.MostDeliveries:
		return fmt.Sprintf("it was delivered %d times and never taken in: the process or its connection ended each time", m.meta.NumDelivered)
	}
	return ""
}

func newConsumer(s *Stream, name string) *Consumer {
	return &Consumer{Hand: stream.NewHand[*message](s.Config.Config, s.Wiring, name), s: s, name: name, wait: 30 * time.Second}
}

// Fetch implements stream.Consumer; what was asked for until ctx ends is still
// taken.
func (c *Consumer) Fetch(ctx context.Context) {
	defer c.End()
	var bound js.Consumer
	var group string
	for tries := 0; ctx.Err() == nil; {
		var err error
		if bound == nil {
			bound, group, err = c.bind(ctx)
		}
		if err == nil {
			err = c.fetch(ctx, bound, group)
		}
		if err == nil {
			c.Fine()
			tries = 0
			continue
		}
		bound = nil
		if ctx.Err() == nil {
			c.failed(err)
			stream.Pause(stream.Backoff(tries), ctx.Done())
			tries++
		}
	}
}

var errNoConnection = errors.New("no connection")

// bind finds the consumer and looks whether it keeps what law 1 needs.
func (c *Consumer) bind(ctx context.Context) (js.Consumer, string, error) {
	c.s.mu.Lock()
	nc, j := c.s.nc, c.s.js
	c.s.mu.Unlock()
	if nc == nil || !nc.IsConnected() {
		return nil, "", errNoConnection
	}
	ctx, cancel := context.WithTimeout(ctx, stream.AskTime)
	defer cancel()
	bound, err := j.Consumer(ctx, c.s.Stream, c.name)
	if err != nil {
		return nil, "", err
	}
	info := bound.CachedInfo()
	if err := c.check(info.Config); err != nil {
		return nil, "", err
	}
	c.look(info)
	c.mu.Lock()
	c.wait = ackWait(info.Config)
	c.mu.Unlock()
	group := ""
	if len(info.Config.PriorityGroups) > 0 {
		group = info.Config.PriorityGroups[0]
	}
	return bound, group, nil
}

// ackWait is how long the server waits for an answer.
func ackWait(cfg js.ConsumerConfig) time.Duration {
	if len(cfg.BackOff) > 0 {
		return slices.Min(cfg.BackOff)
	}
	return cfg.AckWait
}

// check refuses a consumer that would lose messages, or bring in those of
// another source. All faults are told at once.
func (c *Consumer) check(cfg js.ConsumerConfig) error {
	var errs []error
	if cfg.AckPolicy != js.AckExplicitPolicy {
		errs = append(errs, fmt.Errorf("its ack policy is %s: want explicit", cfg.AckPolicy))
	}
	if cfg.MaxDeliver > 0 {
		errs = append(errs, fmt.Errorf("it gives a message up after %d deliveries (MaxDeliver): want -1; what can't be read goes to quarantine", cfg.MaxDeliver))
	}
	if w := ackWait(cfg); w < leastAckWait {
		errs = append(errs, fmt.Errorf("its ack wait is %s: want at least %s", w, leastAckWait))
	}
	if cfg.HeadersOnly {
		errs = append(errs, errors.New("it delivers headers only"))
	}
	filters := cfg.FilterSubjects
	if cfg.FilterSubject != "" {
		filters = append(filters, cfg.FilterSubject)
	}
	if len(filters) == 0 {
		filters = []string{">"}
	}
	for _, f := range filters {
		if !covers(c.s.Subject, f) {
			errs = append(errs, fmt.Errorf("its filter %s is wider than the subject %s of source %s", f, c.s.Subject, c.s.Source.Name))
		}
	}
	return errors.Join(errs...)
}

// fetch asks for as many messages as there is room for, and hands them on as
// they come.
func (c *Consumer) fetch(ctx context.Context, bound js.Consumer, group string) error {
	n := c.Room(ctx)
	if n == 0 {
		return nil // ctx ended
	}
	if c.s.server() == "" {
		return errNoConnection
	}
	opts := []js.FetchOpt{js.FetchMaxWait(fetchTime)}
	if group != "" {
		opts = append(opts, js.FetchPriorityGroup(group))
	}
	batch, err := bound.Fetch(n, opts...)
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		meta, merr := m.Metadata()
		if merr != nil {
			err = merr // no message of JetStream: it can't be answered
			continue
		}
		held := &message{m, c, meta}
		c.Take(held)
		c.Pass(held, m.Subject())
	}
	return errors.Join(err, batch.Error())
}

// Keep implements stream.Consumer: it tells the server that what is in hand is
// being worked on, so that it is not delivered again meanwhile.
func (c *Consumer) Keep(done <-chan struct{}) {
	last := time.Now()
	for {
		stream.Pause(leastAckWait/3, done)
		select {
		case <-done:
			return
		default:
		}
		c.mu.Lock()
		due := time.Since(last) >= c.wait/3-leastAckWait/6
		c.mu.Unlock()
		if !due {
			continue
		}
		last = time.Now()
		for _, m := range c.Messages() {
			if err := m.InProgress(); err != nil && !errors.Is(err, js.ErrMsgAlreadyAckd) && !errors.Is(err, nats.ErrConnectionClosed) {
				c.failed(err)
			}
		}
	}
}

// failed notes and tells what is wrong.
func (c *Consumer) failed(err error) { c.Failed(explain(err), errors.Is(err, errNoConnection)) }

// Work implements stream.Consumer.
func (c *Consumer) Work(ctx context.Context, lane int) {
	for m := range c.Lane(lane) {
		outcome, a := c.Settle(ctx, m)
		var err error
		switch outcome {
		case stream.Stored:
			err = m.Ack()
		case stream.Quarantined:
			err = m.TermWithReason(fmt.Sprintf("Casement keeps it as quarantined body %d", a.Quarantine))
		case stream.Later:
			err = m.NakWithDelay(stream.LaterWait(int(min(m.meta.NumDelivered, 16))))
		case stream.Returned:
			err = m.Nak()
		}
		if err != nil {
			c.Log.Warn("the server was not told; it will deliver the message again", append(m.Where(), "outcome", outcome, "err", err)...)
		}
		c.Finish(m, outcome)
	}
}
