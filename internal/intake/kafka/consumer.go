package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/casement/casement/internal/intake/stream"
)

const (
	// mostUnanswered bounds the records that were fetched and can't be committed
	// because one before them is not settled: a full quarantine.
	mostUnanswered = 10_000
	// commitEvery is the least time between two commits.
	commitEvery = 50 * time.Millisecond
	// fineAfter is how long no error must have come until it is forgotten: the
	// library repeats what lasts more often.
	fineAfter = 15 * time.Second
)

// Consumer is our membership of the group; it is a stream.Consumer.
type Consumer struct {
	*stream.Hand[*message]
	s *Stream
	// committing is held by whoever tells the group where to go on, so that what
	// is told of a partition comes in order, and nothing after it was given up.
	committing sync.Mutex
	// dirty hints that there is something to commit.
	dirty chan struct{}

	mu    sync.Mutex
	parts map[tp]*part
	// marks are what the group knew of partitions when they became ours.
	marks map[tp]mark
	// later are messages for which the quarantine had no room.
	later []*message
	// failed is when the last error came.
	failed time.Time
}

func newConsumer(s *Stream) *Consumer {
	return &Consumer{Hand: stream.NewHand[*message](s.Config.Config, s.Wiring, s.Group), s: s, dirty: make(chan struct{}, 1),
		parts: map[tp]*part{}, marks: map[tp]mark{}}
}

// Fetch implements stream.Consumer.
func (c *Consumer) Fetch(ctx context.Context) {
	defer c.End()
	for {
		n := c.room(ctx)
		if n == 0 {
			return // ctx ended
		}
		c.poll(ctx, c.s.client, n)
	}
}

// room is how many records may be fetched; 0 when ctx ended.
func (c *Consumer) room(ctx context.Context) int {
	for {
		n := c.Room(ctx)
		if n == 0 || c.unanswered() < mostUnanswered {
			return n
		}
		c.Freed(ctx)
	}
}

// unanswered is how many records were fetched and are not to be committed yet.
func (c *Consumer) unanswered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.parts {
		n += len(p.queue)
	}
	return n
}

// poll fetches up to n records and hands them on. Until it ends no partition is
// taken from us.
func (c *Consumer) poll(ctx context.Context, cl *kgo.Client, n int) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	fs := cl.PollRecords(ctx, n)
	defer cl.AllowRebalance()
	var begun []*part
	fs.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		at := tp{f.Topic, f.Partition}
		c.mu.Lock()
		defer c.mu.Unlock()
		p := c.parts[at]
		if p == nil {
			p = newPart(at, c.marks[at], kgo.EpochOffset{Epoch: f.Records[0].LeaderEpoch, Offset: f.Records[0].Offset})
			c.parts[at] = p
			begun = append(begun, p)
		}
		if n := f.LogStartOffset - p.position; n > 0 {
			c.Missed(int(n))
			c.Log.Error("records were deleted by the retention of the topic before they were read", "topic", f.Topic, "partition", f.Partition, "records", n)
		}
		for _, r := range f.Records {
			c.Take(p.add(r))
		}
	})
	if len(begun) > 0 {
		c.commit(begun, true)
	}
	fs.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) > 0 {
			c.hand(tp{f.Topic, f.Partition})
		}
	})
	c.faults(fs)
}

// hand hands on what of a partition is ready.
func (c *Consumer) hand(at tp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parts[at]
	if p == nil {
		return
	}
	for _, m := range p.ready() {
		c.pass(m)
	}
}

// pass hands a message on to its lane.
func (c *Consumer) pass(m *message) {
	c.Pass(m, m.part.topic, fmt.Sprint(m.part.id), string(m.rec.Key))
}

// faults notes what is wrong, or that nothing is.
func (c *Consumer) faults(fs kgo.Fetches) {
	for _, f := range fs.Errors() {
		if errors.Is(f.Err, context.DeadlineExceeded) || errors.Is(f.Err, context.Canceled) || errors.Is(f.Err, kgo.ErrClientClosed) {
			continue // our own
		}
		if f.Topic != "" {
			f.Err = fmt.Errorf("topic %s: %w", f.Topic, f.Err)
		}
		c.fails(f.Err)
		return
	}
	c.mu.Lock()
	fine := time.Since(c.failed) > fineAfter
	c.mu.Unlock()
	if fine {
		c.Fine()
	}
}

// fails notes and tells what is wrong.
func (c *Consumer) fails(err error) {
	c.mu.Lock()
	c.failed = time.Now()
	c.mu.Unlock()
	c.Failed(explain(err), c.s.server() == "")
}

// Work implements stream.Consumer.
func (c *Consumer) Work(ctx context.Context, lane int) {
	for m := range c.Lane(lane) {
		if !c.begin(m) {
			c.Finish(m, stream.Returned)
			continue
		}
		outcome, _ := c.Settle(ctx, m)
		c.end(m, outcome)
	}
}

// begin notes that a message is being taken in, and reports whether its
// partition is still ours.
func (c *Consumer) begin(m *message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-m.part.gone:
		return false
	default:
		m.part.taking++
		return true
	}
}

// end notes what became of it. A message for which the quarantine has no room
// stays in hand; those behind it go on.
func (c *Consumer) end(m *message, o stream.Outcome) {
	c.mu.Lock()
	p, gone, on := m.part, false, false
	select {
	case <-p.gone:
		gone = true
	default:
	}
	switch o {
	case stream.Stored, stream.Quarantined:
		on = p.settle(m)
		m.rec = nil // it may stay in the queue
	case stream.Later:
		if !gone {
			m.due = time.Now().Add(stream.LaterWait(m.tries))
			m.tries++
			c.later = append(c.later, m)
		}
	}
	if p.taking--; p.taking == 0 && gone {
		close(p.idle)
	}
	c.mu.Unlock()
	if o == stream.Later && !gone {
		c.Tell(m, o)
	} else {
		c.Finish(m, o)
	}
	if on {
		select {
		case c.dirty <- struct{}{}:
		default:
		}
	}
}

// Keep implements stream.Consumer: it tells the group how far we are, and hands
// on again what waits for room in the quarantine.
func (c *Consumer) Keep(done <-chan struct{}) {
	for {
		t := time.NewTimer(time.Second)
		select {
		case <-done:
			t.Stop()
			return
		case <-t.C:
			c.again(time.Now())
		case <-c.dirty:
			t.Stop()
		}
		c.commit(c.owned(), false)
		stream.Pause(commitEvery, done)
	}
}

func (c *Consumer) owned() []*part {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*part
	for _, p := range c.parts {
		out = append(out, p)
	}
	return out
}

// again hands on what is due of what waits for room in the quarantine.
func (c *Consumer) again(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.later[:0:0]
	for _, m := range c.later {
		if now.Before(m.due) {
			rest = append(rest, m)
		} else {
			c.pass(m)
		}
	}
	c.later = rest
}

// commit tells the group where to go on in the partitions: all, or those where
// that changed. An error is told, and it is done again.
func (c *Consumer) commit(parts []*part, all bool) {
	c.committing.Lock()
	defer c.committing.Unlock()
	told := map[string]map[int32]kgo.EpochOffset{}
	marks := map[tp]mark{}
	byName := map[tp]*part{}
	c.mu.Lock()
	for _, p := range parts {
		if c.parts[p.tp] != p && !all {
			continue // given up meanwhile
		}
		if !all && p.next == p.saved {
			continue
		}
		if told[p.topic] == nil {
			told[p.topic] = map[int32]kgo.EpochOffset{}
		}
		told[p.topic][p.id], marks[p.tp], byName[p.tp] = p.next, p.mark, p
	}
	c.mu.Unlock()
	if len(told) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stream.AskTime)
	defer cancel()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			t := &req.Topics[i]
			for k := range t.Partitions {
				text := marks[tp{t.Topic, t.Partitions[k].Partition}].String()
				t.Partitions[k].Metadata = &text
			}
		}
		return nil
	})
	c.s.client.CommitOffsetsSync(ctx, told, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			c.Log.Debug("offsets are not committed yet", "err", err)
			return
		}
		for _, t := range resp.Topics {
			for _, r := range t.Partitions {
				at := tp{t.Topic, r.Partition}
				if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
					c.Log.Debug("an offset is not committed yet", "topic", at.topic, "partition", at.id, "err", err)
					continue
				}
				c.mu.Lock()
				byName[at].saved = told[at.topic][at.id]
				c.mu.Unlock()
				c.hand(at) // one at a time
			}
		}
	})
}

// fetched notes what the group knew of the partitions that become ours.
func (c *Consumer) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				c.note(tp{t.Topic, p.Partition}, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Metadata)
			}
		}
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			c.note(tp{t.Topic, p.Partition}, p.ErrorCode, p.Offset, p.LeaderEpoch, p.Metadata)
		}
	}
	return nil
}

func (c *Consumer) note(at tp, code int16, offset int64, epoch int32, text *string) {
	delete(c.marks, at)
	if code != 0 || offset < 0 {
		return
	}
	m := readMark(text)
	m.at, m.known = kgo.EpochOffset{Epoch: epoch, Offset: offset}, true
	c.marks[at] = m
}

// revoked gives partitions up: what is being taken in of them finishes, what is
// not begun is dropped, and the group is told where others go on.
func (c *Consumer) revoked(_ context.Context, _ *kgo.Client, which map[string][]int32) {
	c.commit(c.giveUp(which, revokeTime), true)
}

// lost is told of partitions that are another's already: nothing is committed.
func (c *Consumer) lost(_ context.Context, _ *kgo.Client, which map[string][]int32) {
	c.giveUp(which, 0)
}

// giveUp takes partitions out of our hands, and waits for what is being taken in
// of them.
func (c *Consumer) giveUp(which map[string][]int32, most time.Duration) []*part {
	var out []*part
	var dropped []*message
	c.mu.Lock()
	for topic, ids := range which {
		for _, id := range ids {
			at := tp{topic, id}
			delete(c.marks, at)
			p := c.parts[at]
			if p == nil {
				continue
			}
			delete(c.parts, at)
			close(p.gone)
			if p.taking == 0 {
				close(p.idle)
			}
			dropped, p.waiting = append(dropped, p.waiting...), nil
			out = append(out, p)
		}
	}
	rest := c.later[:0:0]
	for _, m := range c.later {
		if c.parts[m.part.tp] == m.part {
			rest = append(rest, m)
		} else {
			dropped = append(dropped, m)
		}
	}
	c.later = rest
	c.mu.Unlock()
	for _, m := range dropped {
		c.Finish(m, stream.Returned)
	}
	end := time.NewTimer(most)
	defer end.Stop()
	for _, p := range out {
		select {
		case <-p.idle:
		case <-end.C:
			return out // what is still taken in there is a repeat elsewhere
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range out {
		p.mark.tries = 0 // it did not end the process
	}
	return out
}

// drop takes what waits out of the hand, after the lanes ended.
func (c *Consumer) drop() {
	c.mu.Lock()
	c.later = nil
	for _, p := range c.parts {
		p.waiting = nil
	}
	c.mu.Unlock()
	for _, m := range c.Messages() {
		c.Finish(m, stream.Returned)
	}
}

// look notes the figures of the brokers, and ours.
func (c *Consumer) look(lag int) {
	again := 0
	for _, m := range c.Messages() {
		if m.Again() {
			again++
		}
	}
	c.Figures(lag, c.unanswered(), mostUnanswered, again)
}
