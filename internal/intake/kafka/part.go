package kafka

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/casement/casement/internal/intake/stream"
)

// carefulAfter is after how many beginnings at one record, none of which came
// past it, records are taken one at a time: so the one that ends the process is
// found among those that were in hand with it.
const carefulAfter = 3

// message is a record in hand.
type message struct {
	part   *part
	rec    *kgo.Record // nil when it is settled
	offset int64
	epoch  int32
	at     time.Time
	why    string
	done   bool // guarded by the consumer
	tries  int  // for which the quarantine had no room
	due    time.Time
}

// Body implements stream.Message, as do those that follow.
func (m *message) Body() []byte { return m.rec.Value }

func (m *message) Header(name string) string {
	for _, h := range m.rec.Headers {
		if strings.EqualFold(h.Key, name) {
			return string(h.Value)
		}
	}
	return ""
}

func (m *message) Refusal() string       { return m.why }
func (m *message) Gone() <-chan struct{} { return m.part.gone }
func (m *message) Again() bool           { return m.offset < m.part.seen }
func (m *message) At() time.Time         { return m.at }
func (m *message) Where() []any {
	return []any{"topic", m.part.topic, "partition", m.part.id, "offset", m.offset}
}

// tp names a partition.
type tp struct {
	topic string
	id    int32
}

// part is a partition that is ours: what of it was fetched and not committed.
// It knows no lock: the consumer's guards it.
type part struct {
	tp
	// gone is closed when it is not ours any more, idle when after that nothing
	// of it is being taken in.
	gone, idle chan struct{}
	taking     int
	// queue has what was handed on and not committed, in the order of the
	// partition; what is settled leaves it at its head only.
	queue []*message
	// waiting are handed on one at a time, careful of them.
	waiting []*message
	careful int
	// next is where the group is to go on: everything before it is settled.
	// saved is what the brokers know of it.
	next, saved kgo.EpochOffset
	// mark is what they have noted beside it.
	mark mark
	// seen: what is before it had been delivered before.
	seen int64
	// position is where the next fetch goes on.
	position int64
}

// newPart begins at a record of offset first, or where the group was.
func newPart(at tp, was mark, first kgo.EpochOffset) *part {
	p := &part{tp: at, gone: make(chan struct{}), idle: make(chan struct{}), next: first, saved: kgo.EpochOffset{Offset: -1}, seen: was.seen, position: first.Offset}
	if was.known && was.at.Offset <= first.Offset {
		p.next, p.saved, p.position = was.at, was.at, was.at.Offset
	}
	p.mark = mark{tries: was.tries + 1, seen: was.seen}
	if p.mark.tries > carefulAfter {
		p.careful = mostUnanswered
	}
	return p
}

// add takes a record that was fetched.
func (p *part) add(r *kgo.Record) *message {
	m := &message{part: p, rec: r, offset: r.Offset, epoch: r.LeaderEpoch, at: r.Timestamp}
	p.position = r.Offset + 1
	p.mark.seen = max(p.mark.seen, p.position)
	if p.mark.tries > stream.MostDeliveries && len(p.queue)+len(p.waiting) == 0 && p.next == p.saved {
		m.why = fmt.Sprintf("it was delivered %d times and never taken in: the process or its connection ended each time", p.mark.tries)
	}
	p.waiting = append(p.waiting, m)
	return m
}

// ready returns what is to be handed on now.
func (p *part) ready() []*message {
	n := len(p.waiting)
	if p.careful > 0 {
		if n = min(n, 1); len(p.queue) > 0 || p.next.Offset > p.saved.Offset && p.saved.Offset >= 0 {
			return nil
		}
		p.careful -= n
	}
	out := p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	p.queue = append(p.queue, out...)
	return out
}

// settle notes that a message is settled, and reports whether the group may go
// on further.
func (p *part) settle(m *message) bool {
	m.done = true
	n := 0
	for n < len(p.queue) && p.queue[n].done {
		n++
	}
	if n == 0 {
		return false
	}
	last := p.queue[n-1]
	p.next = kgo.EpochOffset{Epoch: last.epoch, Offset: last.offset + 1}
	p.mark.tries = 0
	p.queue = append(p.queue[:0:0], p.queue[n:]...)
	return true
}

// mark is noted beside a committed offset: how often was begun there, and up to
// where records had been delivered.
type mark struct {
	at    kgo.EpochOffset
	known bool
	tries int
	seen  int64
}

const markForm = "casement tries=%d seen=%d"

func (m mark) String() string { return fmt.Sprintf(markForm, m.tries, m.seen) }

// readMark reads what String wrote; what it does not know says nothing.
func readMark(text *string) mark {
	var m mark
	if text == nil {
		return m
	}
	if n, err := fmt.Sscanf(*text, markForm, &m.tries, &m.seen); n != 2 || err != nil || m.tries < 0 || m.seen < 0 {
		return mark{}
	}
	return m
}
