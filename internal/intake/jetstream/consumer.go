package jetstream

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
)

// Consumer reads one durable pull consumer of a stream.
type Consumer struct {
	s    *Stream
	name string
	// lanes hold what was fetched, by subject; they are closed after the last one.
	lanes [lanes]chan *message
	// freed hints that a message was settled, stop is closed when no more is
	// fetched.
	freed, stop chan struct{}

	mu    sync.Mutex
	hand  map[*message]struct{}
	state ConsumerState
	// wait is the consumer's AckWait.
	wait time.Duration
}

// message is one in hand.
type message struct {
	// holding: it could not be stored yet; guarded by the consumer.
	holding bool
	js.Msg
	meta *js.MsgMetadata
}

func newConsumer(s *Stream, name string) *Consumer {
	c := &Consumer{s: s, name: name, freed: make(chan struct{}, 1), stop: make(chan struct{}), hand: map[*message]struct{}{},
		state: ConsumerState{Name: name}, wait: 30 * time.Second}
	for i := range c.lanes {
		c.lanes[i] = make(chan *message, s.InHand) // so that handing on never waits
	}
	return c
}

// Name of the consumer.
func (c *Consumer) Name() string { return c.name }

// Lanes is the number of lanes to Work on.
func (c *Consumer) Lanes() int { return len(c.lanes) }

// Fetch takes messages from the stream into the lanes, as many as there is room
// for, until ctx ends; what was asked for till then is still taken.
func (c *Consumer) Fetch(ctx context.Context) {
	defer func() {
		close(c.stop)
		for _, l := range c.lanes {
			close(l)
		}
	}()
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
			c.fine()
			tries = 0
			continue
		}
		bound = nil
		if ctx.Err() == nil {
			c.failed(err)
			pause(ctx.Done(), backoff(tries))
			tries++
		}
	}
}

// pause waits for d, or until done is closed.
func pause(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
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
	ctx, cancel := context.WithTimeout(ctx, askTime)
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
	n := c.room(ctx)
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
		held := &message{Msg: m, meta: meta}
		c.mu.Lock()
		c.hand[held] = struct{}{}
		c.mu.Unlock()
		h := fnv.New32a()
		_, _ = h.Write([]byte(m.Subject())) // never fails
		c.lanes[h.Sum32()%uint32(len(c.lanes))] <- held
	}
	return errors.Join(err, batch.Error())
}

// room waits until a quarter of the hand is free, and returns how much is; 0
// when ctx ended.
func (c *Consumer) room(ctx context.Context) int {
	for ctx.Err() == nil {
		c.mu.Lock()
		n := c.s.InHand - len(c.hand)
		c.mu.Unlock()
		if n > 0 && n >= c.s.InHand/4 {
			return n
		}
		select {
		case <-ctx.Done():
		case <-c.freed:
		}
	}
	return 0
}

// Keep tells the server that what is in hand is being worked on, so that it is
// not delivered again meanwhile. It returns when done is closed.
func (c *Consumer) Keep(done <-chan struct{}) {
	last := time.Now()
	for {
		pause(done, leastAckWait/3)
		select {
		case <-done:
			return
		default:
		}
		c.mu.Lock()
		due := time.Since(last) >= c.wait/3-leastAckWait/6
		var hand []*message
		if due {
			hand = slices.Collect(maps.Keys(c.hand))
		}
		c.mu.Unlock()
		if !due {
			continue
		}
		last = time.Now()
		for _, m := range hand {
			if err := m.InProgress(); err != nil && !errors.Is(err, js.ErrMsgAlreadyAckd) && !errors.Is(err, nats.ErrConnectionClosed) {
				c.failed(err)
			}
		}
	}
}

// failed notes and tells what is wrong.
func (c *Consumer) failed(err error) {
	text := explain(err)
	c.mu.Lock()
	same := c.state.Fault == text
	c.state.Fault = text
	c.mu.Unlock()
	if !same && !errors.Is(err, errNoConnection) { // the connection says why
		c.s.Log.Warn("stream is not read now; will be tried again", "consumer", c.name, "err", text)
	}
}

func (c *Consumer) fine() {
	c.mu.Lock()
	was := c.state.Fault
	c.state.Fault = ""
	c.mu.Unlock()
	if was != "" {
		c.s.Log.Info("stream is read again", "consumer", c.name)
	}
}
