package simulation

import (
	"context"
	"errors"
	"iter"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/record"
)

// task is one thing a node does, as a coroutine: it stops at every call to the
// store, to a target and to people, and goes on when the script says so. Many
// run at a time, one at a time.
type task struct {
	n      *node
	name   string
	next   func() (string, bool)
	stop   func()
	yield  func(string) bool
	ctx    context.Context
	cancel context.CancelCauseFunc
	dead   bool
	done   bool
	at     string // where it stands
	since  int    // the tick it began at
	// lease is that of the effect it does: what a heartbeat prolongs.
	lease *record.Lease
	// looked is the tick of its last look at the kill switch that let it go on.
	looked int
	// intended is the tick of its last committed intent.
	intended int
}

// crash unwinds a task whose node died.
type crash struct{}

// start begins a task on a node; it runs when it is resumed.
func (s *sim) start(n *node, name string, f func(ctx context.Context)) {
	t := &task{n: n, name: name, since: s.tick, at: "start"}
	t.ctx, t.cancel = context.WithCancelCause(s.ctx)
	t.next, t.stop = iter.Pull(func(yield func(string) bool) {
		t.yield = yield
		defer func() {
			if r := recover(); r != nil {
				switch r.(type) {
				case crash:
				case broken:
					if !t.dead {
						panic(r)
					}
				default:
					panic(r)
				}
			}
		}()
		f(t.ctx)
	})
	s.tasks = append(s.tasks, t)
}

// pause lets others run; the task goes on when it is resumed, or never.
func (s *sim) pause(at string) {
	t := s.cur
	if t == nil {
		return
	}
	t.at = at
	if s.failure != nil { // the runner takes a panic for a fault of one effect
		panic(broken{s.failure})
	}
	if t.dead || !t.yield(at) {
		t.dead = true
		panic(crash{})
	}
}

// resume runs a task to its next pause.
func (s *sim) resume(t *task) {
	s.tick++
	s.cur = t
	_, ok := t.next()
	s.cur = nil
	if s.failure != nil {
		panic(broken{s.failure})
	}
	if !ok {
		t.done = true
		t.cancel(nil)
		s.tasks = without(s.tasks, t)
	}
}

func without(list []*task, t *task) []*task {
	out := list[:0:0]
	for _, x := range list {
		if x != t {
			out = append(out, x)
		}
	}
	return out
}

// kill ends a task where it stands.
func (t *task) kill() {
	if !t.done {
		t.done, t.dead = true, true
		t.stop()
		t.cancel(nil)
	}
}

// runnable are the tasks of nodes that are not stalled.
func (s *sim) runnable() []*task {
	out := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		if !t.n.stalled {
			out = append(out, t)
		}
	}
	return out
}

// drain runs all tasks that can run to their end, in turn.
func (s *sim) drain() {
	for range 100_000 {
		ready := s.runnable()
		if len(ready) == 0 {
			return
		}
		s.resume(ready[0])
	}
	s.breach(9, "a task never ends: %s at %s", s.tasks[0].name, s.tasks[0].at)
}

// beat prolongs the leases of the tasks of nodes that are not stalled, as the
// runner's heartbeat does, and ends the work of those that lost theirs.
func (s *sim) beat() {
	for _, t := range s.runnable() {
		if t.lease == nil {
			continue
		}
		if err := s.store.Extend(s.ctx, *t.lease, t.n.time().Add(leaseTime)); errors.Is(err, record.ErrStale) {
			t.cancel(dispatch.ErrLost)
		}
	}
}
