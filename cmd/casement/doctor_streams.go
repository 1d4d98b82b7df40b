package main

import (
	"time"

	"github.com/casement/casement/internal/intake/stream"
)

// streams judges what the server reads from streams.
func (p *patient) streams(list []stream.State, now time.Time) {
	for _, s := range list {
		if s.Server == "" {
			p.add("streams", "bad", "look at servers, credentials and allow under streams."+s.Name+"; it is tried again by itself", "%s is not connected: %s", s.Name, s.Fault)
			continue
		}
		if s.Fault != "" {
			p.add("streams", "warn", "docs/streams.md says what its user must be allowed", "%s: %s", s.Name, s.Fault)
		}
		for _, c := range s.Consumers {
			p.consumer(s, c, now)
		}
	}
}

func (p *patient) consumer(s stream.State, c stream.ConsumerState, now time.Time) {
	name := s.Name + "/" + c.Name
	switch {
	case c.Fault != "":
		p.add("streams", "bad", "docs/streams.md shows how stream, consumer and user are made", "%s is not read: %s", name, c.Fault)
		return
	case c.Missed > 0:
		p.add("streams", "bad", "look for them at their senders; raise the topic's retention", "%s: %s deleted by the topic's retention before they were read", name, plural(c.Missed, "message"))
		return
	case !c.HeldSince.IsZero():
		p.lag("streams", "mend what the store says; nothing is lost, and it goes on by itself", name+" is held ("+c.HeldWhy+"): what came first", c.HeldSince, now)
		if now.Sub(c.HeldSince) > lagWarn {
			return
		}
	case c.MostUnanswered > 0 && c.Unanswered >= c.MostUnanswered:
		p.add("streams", "warn", "look at what waits there (casement quarantine list): when it is full, what can't be read stays in the stream; or raise the consumer's MaxAckPending",
			"%s: %s delivered and not answered, as many as the server delivers", name, plural(c.Unanswered, "message"))
		return
	case c.Looked.IsZero():
		p.add("streams", "warn", "look again in 10 seconds", "%s at %s: connected; not known yet whether it can be read, nor its lag", name, s.Server)
		return
	}
	p.ok("streams", "%s at %s: lag of %s, %s in hand, %s not answered, %s delivered again", name, s.Server, plural(c.Waiting, "message"),
		group(c.InHand), group(c.Unanswered), group(c.Redelivered))
}
