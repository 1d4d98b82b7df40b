package jetstream

import (
	"context"
	"time"

	js "github.com/nats-io/nats.go/jetstream"

	"github.com/casement/casement/internal/intake/stream"
)

// State returns how the stream fares, as of the last Look.
func (s *Stream) State() stream.State {
	out := stream.State{Name: s.Name, Server: s.server(), Fault: s.fault.String(), Consumers: []stream.ConsumerState{}}
	for _, c := range s.consumers {
		out.Consumers = append(out.Consumers, c.State())
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
		ctx, cancel := context.WithTimeout(ctx, stream.AskTime)
		bound, err := j.Consumer(ctx, s.Stream, c.name)
		cancel()
		if err != nil {
			continue // told where it is read
		}
		c.look(bound.CachedInfo())
	}
	s.fault.Forget(begun)
}

// look notes the server's figures.
func (c *Consumer) look(info *js.ConsumerInfo) {
	c.Figures(int(info.NumPending), info.NumAckPending, max(0, info.Config.MaxAckPending), info.NumRedelivered)
}
