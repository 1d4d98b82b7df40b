package jetstream

import (
	"context"
	"time"

	js "github.com/nats-io/nats.go/jetstream"
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
	// Waiting messages were not delivered yet: the lag. Unanswered ones were
	// delivered, to any node, and not acknowledged; MostUnanswered is where the
	// server stops to deliver, 0 if not known. Redelivered ones are those of them
	// that came before. All are the server's figures of Looked.
	Waiting        int `json:"waiting"`
	Unanswered     int `json:"unanswered"`
	MostUnanswered int `json:"most_unanswered"`
	Redelivered    int `json:"redelivered"`
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

// State returns how the stream fares, as of the last Look.
func (s *Stream) State() State {
	out := State{Name: s.Name, Server: s.server(), Consumers: []ConsumerState{}}
	s.mu.Lock()
	out.Fault = s.fault
	s.mu.Unlock()
	for _, c := range s.consumers {
		c.mu.Lock()
		st := c.state
		st.InHand = len(c.hand)
		c.mu.Unlock()
		out.Consumers = append(out.Consumers, st)
	}
	return out
}

// Look asks the server how far the consumers are. What it refused before is
// forgotten when nothing new came.
func (s *Stream) Look(ctx context.Context) {
	s.mu.Lock()
	j := s.js
	s.mu.Unlock()
	if j == nil || s.server() == "" {
		return // State says so
	}
	begun := time.Now()
	for _, c := range s.consumers {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		bound, err := j.Consumer(ctx, s.Stream, c.name)
		cancel()
		if err != nil {
			continue // told where it is read
		}
		c.look(bound.CachedInfo())
	}
	s.mu.Lock()
	if s.faultAt.Before(begun) {
		s.fault = ""
	}
	s.mu.Unlock()
}

// look notes the server's figures.
func (c *Consumer) look(info *js.ConsumerInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Waiting, c.state.Unanswered, c.state.Redelivered = int(info.NumPending), info.NumAckPending, info.NumRedelivered
	c.state.MostUnanswered = max(0, info.Config.MaxAckPending)
	c.state.Looked = time.Now().UTC()
}
