package jetstream

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/trace"
)

const (
	// mostDeliveries of a message that was never taken in: each of them ended
	// with the process, or with its connection. After that it is not read any
	// more but kept for a person.
	mostDeliveries = 20
	// mostHold bounds the wait before what could not be stored is tried again.
	mostHold = 5 * time.Second
	// takeTime bounds one try to take a message in.
	takeTime = time.Minute
	// eventHeader is the sender's event name, where a relay passes it on.
	eventHeader = "X-GitHub-Event"
)

// Work settles the messages of a lane, one after the other, until the last one
// after Fetch ended. When ctx ends, what is left goes back to the stream.
func (c *Consumer) Work(ctx context.Context, lane int) {
	for m := range c.lanes[lane] {
		outcome, err := c.settle(ctx, m)
		if err != nil {
			c.s.Log.Warn("the server was not told; it will deliver the message again", "consumer", c.name, "sequence", m.meta.Sequence.Stream, "outcome", outcome, "err", err)
		}
		c.mu.Lock()
		delete(c.hand, m)
		c.mu.Unlock()
		select {
		case c.freed <- struct{}{}:
		default:
		}
		c.s.Watch(Settled{Stream: c.s.Name, Outcome: outcome, Again: m.meta.NumDelivered > 1, Age: time.Since(m.meta.Timestamp)})
	}
}

// settle takes a message in and tells the server. What could not be stored is
// held and tried again, so that messages of its subject do not overtake it and
// no more are fetched than there is room for; only a full quarantine does not
// hold up the messages behind. The error is that of telling.
func (c *Consumer) settle(ctx context.Context, m *message) (Outcome, error) {
	for tries := 0; ; tries++ {
		if ctx.Err() != nil {
			return Returned, m.Nak()
		}
		a := c.take(ctx, m)
		switch {
		case a.Stored && a.Status == http.StatusUnprocessableEntity:
			c.released(m)
			c.s.Log.WarnContext(ctx, "message quarantined", "consumer", c.name, "sequence", m.meta.Sequence.Stream, "subject", m.Subject(), "quarantine", a.Quarantine, "why", a.Error)
			return Quarantined, m.TermWithReason(fmt.Sprintf("Casement keeps it as quarantined body %d", a.Quarantine))
		case a.Stored:
			c.released(m)
			return Stored, m.Ack()
		case a.Status == http.StatusInsufficientStorage && (a.Format == "" || a.Refused > 0):
			c.released(m)
			return Later, m.NakWithDelay(min(time.Second<<min(m.meta.NumDelivered, 16), time.Minute))
		}
		c.held(m, a.Error)
		pause(c.stop, min(backoff(tries), mostHold))
		select {
		case <-c.stop:
			c.released(m)
			return Returned, m.Nak()
		default:
		}
	}
}

// take hands a message to intake.
func (c *Consumer) take(ctx context.Context, m *message) intake.Answer {
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	tc, ok := trace.Parse(m.Headers().Get(trace.Header))
	if !ok {
		tc = trace.New()
	}
	ctx = trace.With(ctx, tc.Child())
	event, body := m.Headers().Get(eventHeader), m.Data()
	switch {
	case !covers(c.s.Subject, m.Subject()):
		return c.s.Intake.Refuse(ctx, c.s.Source, event, body, fmt.Sprintf("its subject %s is not one of this source (%s)", m.Subject(), c.s.Subject))
	case int64(len(body)) > c.s.MaxBody:
		return c.s.Intake.Refuse(ctx, c.s.Source, event, body, fmt.Sprintf("the message has %d bytes, more than intake.max_body (%d)", len(body), c.s.MaxBody))
	case m.meta.NumDelivered > mostDeliveries:
		return c.s.Intake.Refuse(ctx, c.s.Source, event, body, fmt.Sprintf("it was delivered %d times and never taken in: the process or its connection ended each time", m.meta.NumDelivered))
	}
	return c.s.Intake.Take(ctx, c.s.Source, event, body)
}

// held notes that messages wait here because they can't be stored.
func (c *Consumer) held(m *message, why string) {
	c.mu.Lock()
	first := c.state.HeldSince.IsZero()
	if first {
		c.state.HeldSince = time.Now().UTC()
	}
	c.state.HeldWhy = why
	m.holding = true
	c.mu.Unlock()
	if first {
		c.s.Log.Warn("stream is held: nothing can be stored", "consumer", c.name, "err", why)
	}
}

// released notes that a message that was held is not any more.
func (c *Consumer) released(m *message) {
	if !m.holding {
		return
	}
	c.mu.Lock()
	m.holding = false
	last := true
	for x := range c.hand {
		last = last && !x.holding
	}
	if last {
		c.state.HeldSince, c.state.HeldWhy = time.Time{}, ""
	}
	c.mu.Unlock()
	if last {
		c.s.Log.Info("stream goes on", "consumer", c.name)
	}
}
