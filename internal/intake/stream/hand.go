package stream

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"
	"time"

	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/trace"
)

const (
	// mostHold bounds the wait before what could not be stored is tried again.
	mostHold = 5 * time.Second
	// takeTime bounds one try to take a message in.
	takeTime = time.Minute
	// eventHeader is the sender's event name, where a relay passes it on.
	eventHeader = "X-GitHub-Event"
)

// Message is one in hand.
type Message interface {
	comparable
	Body() []byte
	// Header returns a header, "" if there is none.
	Header(name string) string
	// Refusal is why it is kept for a person without being read, "" if it is read.
	Refusal() string
	// Gone is closed when it is not ours any more; nil: that never happens.
	Gone() <-chan struct{}
	// Again says that it had been delivered before, At when the stream stored it.
	Again() bool
	At() time.Time
	// Where says in the log which it is: keys and values.
	Where() []any
}

// Hand has the messages of one consumer that were fetched and not settled yet.
type Hand[M Message] struct {
	Config
	Wiring
	lanes [Lanes]chan M
	// freed hints that a message was settled, stop is closed when no more is
	// fetched.
	freed, stop chan struct{}

	mu      sync.Mutex
	ended   bool
	hand    map[M]struct{}
	holding map[M]struct{}
	state   ConsumerState
}

// NewHand returns an empty hand of the consumer of that name.
func NewHand[M Message](c Config, w Wiring, name string) *Hand[M] {
	h := &Hand[M]{Config: c, Wiring: w, freed: make(chan struct{}, 1), stop: make(chan struct{}),
		hand: map[M]struct{}{}, holding: map[M]struct{}{}, state: ConsumerState{Name: name}}
	h.Log = w.Log.With("consumer", name)
	for i := range h.lanes {
		h.lanes[i] = make(chan M, c.InHand) // so that handing on never waits
	}
	return h
}

// Take puts messages into the hand; room must have been there.
func (h *Hand[M]) Take(ms ...M) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range ms {
		h.hand[m] = struct{}{}
	}
}

// Pass hands a message that is in the hand on to the lane of key, and reports
// whether it did: not after End.
func (h *Hand[M]) Pass(m M, key ...string) bool {
	sum := fnv.New32a()
	for _, k := range key {
		_, _ = sum.Write([]byte(k)) // never fails
		_, _ = sum.Write([]byte{0})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.lanes[sum.Sum32()%Lanes] <- m
	return true
}

// Lane has the messages of a lane, in their order.
func (h *Hand[M]) Lane(lane int) <-chan M { return h.lanes[lane] }

// End says that no more is fetched.
func (h *Hand[M]) End() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	close(h.stop)
	for _, l := range h.lanes {
		close(l)
	}
}

// Stop is closed by End.
func (h *Hand[M]) Stop() <-chan struct{} { return h.stop }

// Messages in the hand.
func (h *Hand[M]) Messages() []M {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]M, 0, len(h.hand))
	for m := range h.hand {
		out = append(out, m)
	}
	return out
}

// Room waits until a quarter of the hand is free, and returns how much is; 0
// when ctx ended.
func (h *Hand[M]) Room(ctx context.Context) int {
	for ctx.Err() == nil {
		h.mu.Lock()
		n := h.InHand - len(h.hand)
		h.mu.Unlock()
		if n > 0 && n >= h.InHand/4 {
			return n
		}
		h.Freed(ctx)
	}
	return 0
}

// Freed waits until a message was settled, or ctx ends.
func (h *Hand[M]) Freed(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-h.freed:
	}
}

// Settle takes a message in. What could not be stored is held and tried again,
// until it is Returned: the consumer ended, the message is gone, or ctx ended.
// Only a full quarantine does not hold it: it is Later's.
func (h *Hand[M]) Settle(ctx context.Context, m M) (Outcome, intake.Answer) {
	for tries := 0; ; tries++ {
		select {
		case <-ctx.Done():
			return Returned, intake.Answer{}
		case <-m.Gone():
			return Returned, intake.Answer{}
		default:
		}
		a := h.take(ctx, m)
		switch {
		case a.Stored && a.Status == http.StatusUnprocessableEntity:
			h.Log.WarnContext(ctx, "message quarantined", append(m.Where(), "quarantine", a.Quarantine, "why", a.Error)...)
			return Quarantined, a
		case a.Stored:
			return Stored, a
		case a.Status == http.StatusInsufficientStorage && (a.Format == "" || a.Refused > 0):
			return Later, a
		}
		h.held(m, a.Error)
		Pause(min(Backoff(tries), mostHold), h.stop, m.Gone())
		select {
		case <-h.stop:
			return Returned, a
		default:
		}
	}
}

// take hands a message to intake.
func (h *Hand[M]) take(ctx context.Context, m M) intake.Answer {
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	tc, ok := trace.Parse(m.Header(trace.Header))
	if !ok {
		tc = trace.New()
	}
	ctx = trace.With(ctx, tc.Child())
	event, body := m.Header(eventHeader), m.Body()
	why := m.Refusal()
	if int64(len(body)) > h.MaxBody {
		why = fmt.Sprintf("the message has %d bytes, more than intake.max_body (%d)", len(body), h.MaxBody)
	}
	if why != "" {
		return h.Intake.Refuse(ctx, h.Source, event, body, why)
	}
	return h.Intake.Take(ctx, h.Source, event, body)
}

// Tell says what became of a message, which may stay in the hand.
func (h *Hand[M]) Tell(m M, o Outcome) {
	h.released(m)
	h.Watch(Settled{Stream: h.Name, Outcome: o, Again: m.Again(), Age: time.Since(m.At())})
}

// Finish takes a message that is settled out of the hand.
func (h *Hand[M]) Finish(m M, o Outcome) {
	h.mu.Lock()
	delete(h.hand, m)
	h.mu.Unlock()
	select {
	case h.freed <- struct{}{}:
	default:
	}
	h.Tell(m, o)
}

// held notes that messages wait here because they can't be stored.
func (h *Hand[M]) held(m M, why string) {
	h.mu.Lock()
	first := h.state.HeldSince.IsZero()
	if first {
		h.state.HeldSince = time.Now().UTC()
	}
	h.state.HeldWhy = why
	h.holding[m] = struct{}{}
	h.mu.Unlock()
	if first {
		h.Log.Warn("stream is held: nothing can be stored", "err", why)
	}
}

// released notes that a message that may have been held is not any more.
func (h *Hand[M]) released(m M) {
	h.mu.Lock()
	_, was := h.holding[m]
	delete(h.holding, m)
	last := was && len(h.holding) == 0
	if last {
		h.state.HeldSince, h.state.HeldWhy = time.Time{}, ""
	}
	h.mu.Unlock()
	if last {
		h.Log.Info("stream goes on")
	}
}

// Failed notes and tells why the consumer is not read; quiet: the connection
// says why.
func (h *Hand[M]) Failed(text string, quiet bool) {
	h.mu.Lock()
	same := h.state.Fault == text
	h.state.Fault = text
	h.mu.Unlock()
	if !same && !quiet {
		h.Log.Warn("stream is not read now; will be tried again", "err", text)
	}
}

// Fine notes that the consumer is read.
func (h *Hand[M]) Fine() {
	h.mu.Lock()
	was := h.state.Fault
	h.state.Fault = ""
	h.mu.Unlock()
	if was != "" {
		h.Log.Info("stream is read again")
	}
}

// Figures notes the figures of a look, now.
func (h *Hand[M]) Figures(waiting, unanswered, mostUnanswered, redelivered int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Waiting, h.state.Unanswered, h.state.MostUnanswered, h.state.Redelivered = waiting, unanswered, mostUnanswered, redelivered
	h.state.Looked = time.Now().UTC()
}

// Missed notes messages that the stream had and nobody can read any more.
func (h *Hand[M]) Missed(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Missed += n
}

// State of the consumer.
func (h *Hand[M]) State() ConsumerState {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.state
	st.InHand = len(h.hand)
	return st
}
