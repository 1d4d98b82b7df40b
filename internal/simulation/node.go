package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// leaseTime is the lease of the runner (dispatch.DefaultLease).
const leaseTime = dispatch.DefaultLease

// commitFault is what happens to the next commit of a node.
type commitFault int

// The faults of a commit.
const (
	commitOK       commitFault = iota
	commitLost                 // cut before it arrived: nothing is stored
	commitUnknown              // stored, and the answer is lost
	commitConflict             // somebody else was first
	commitFaults               // their number
)

// node is one process: an engine and a runner over the shared store.
type node struct {
	s       *sim
	i       int
	engine  *engine.Engine
	runner  *dispatch.Local
	skew    time.Duration
	stalled bool
	faults  []commitFault
	// few is the number of effects one claim takes.
	few int
}

func newNode(s *sim, i int) *node {
	n := &node{s: s, i: i, few: 1 + int(s.life.Seed+uint64(i))%3}
	var seed [32]byte
	seed[0], seed[1] = byte(i), 7
	for k := range 8 {
		seed[8+k] = byte(s.life.Seed >> (8 * k))
	}
	p := port{n}
	n.engine = engine.New(engine.Config{Store: p, Effects: p, Judge: func() engine.Judge { return judge{s.world} }, Guards: guards{n},
		Doors: s.world, Principals: s.world, Tickets: s.world, BaseURL: "http://127.0.0.1", Rand: rand.NewChaCha8(seed)})
	n.runner = &dispatch.Local{Source: p, Doer: n, Lease: leaseTime, Clock: n.time}
	return n
}

// time is what the node's clock says.
func (n *node) time() time.Time { return n.s.now.Add(n.skew) }

// work claims a few effects and does them, as the runner does.
func (n *node) work() {
	n.s.start(n, "work", func(ctx context.Context) {
		if _, err := n.runner.Step(ctx, n.time()); err != nil {
			n.s.say("work: %s", short(err))
		}
	})
}

// Do does one effect while a heartbeat may prolong its lease, as the runner
// does.
func (n *node) Do(ctx context.Context, l record.Lease, _ time.Time) error {
	t := n.s.cur
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.lease = &l
	defer func() {
		t.lease = nil
		t.cancel(nil)
	}()
	return n.engine.Do(t.ctx, l, n.time())
}

// step is one turn of the engine itself: clocks, then effects.
func (n *node) step() {
	n.s.start(n, "step", func(ctx context.Context) {
		if _, err := n.engine.Step(ctx, n.time()); err != nil {
			n.s.say("step: %s", short(err))
		}
	})
}

func (n *node) sweep() {
	n.s.start(n, "sweep", func(ctx context.Context) {
		if _, err := n.engine.Sweep(ctx, n.time(), 64); err != nil {
			n.s.say("sweep: %s", short(err))
		}
	})
}

// die kills everything under way on the node; a new process takes its place.
func (n *node) die() {
	for _, t := range slices.Clone(n.s.tasks) {
		if t.n == n {
			n.s.say("dies in %s at %s", t.name, t.at)
			n.s.cur = t
			t.kill()
			n.s.cur = nil
			n.s.tasks = without(n.s.tasks, t)
		}
	}
	n.stalled, n.faults = false, nil
}

// port is the store as one node sees it: every call is a moment at which others
// may come first, or the node may die.
type port struct{ n *node }

var errCut = errors.New("the connection to the database was cut")

func (p port) Load(ctx context.Context, id string) (remedy.Case, error) {
	p.n.s.pause("load")
	return p.n.s.store.Load(ctx, id)
}

func (p port) Keys(ctx context.Context, keys []record.CaseKey) (map[record.CaseKey][]record.CaseRef, error) {
	p.n.s.pause("keys")
	return p.n.s.store.Keys(ctx, keys)
}

func (p port) Known(ctx context.Context, tenant string, uids []string) (map[string]record.Known, error) {
	p.n.s.pause("known")
	return p.n.s.store.Known(ctx, tenant, uids)
}

func (p port) Due(ctx context.Context, now time.Time, n int) ([]string, error) {
	return p.n.s.store.Due(ctx, now, n)
}

func (p port) Finding(ctx context.Context, tenant, uid string) (finding.Finding, error) {
	return p.n.s.store.Finding(ctx, tenant, uid)
}

func (p port) NextDue(ctx context.Context, now time.Time) (time.Time, error) {
	return p.n.s.store.NextDue(ctx, now)
}

func (p port) Commit(ctx context.Context, units []record.Unit, seen []record.Sighting) ([]error, error) {
	s := p.n.s
	s.pause("commit")
	fault := commitOK
	if len(p.n.faults) > 0 && s.cur != nil {
		fault, p.n.faults = p.n.faults[0], p.n.faults[1:]
		s.counts["commit faults"]++
	}
	switch fault {
	case commitLost:
		s.say("commit cut: nothing stored")
		return make([]error, len(units)), errCut
	case commitConflict:
		errs := make([]error, len(units))
		for i := range errs {
			errs[i] = fmt.Errorf("case %s: %w", units[i].Case.ID, record.ErrConflict)
		}
		if len(units) == 0 {
			return errs, fmt.Errorf("sightings: %w", record.ErrConflict)
		}
		return errs, nil
	}
	errs, err := s.store.Commit(ctx, units, seen)
	s.audit.committed(units, seen, errs, err)
	if fault == commitUnknown && err == nil {
		s.say("commit stored, its answer lost")
		return make([]error, len(units)), errCut
	}
	s.pause("committed")
	return errs, err
}

func (p port) Sight(ctx context.Context, tenant string, rs []record.Repeat, at time.Time) ([]record.Known, error) {
	s := p.n.s
	s.pause("sight")
	fault := commitOK
	if len(p.n.faults) > 0 && s.cur != nil {
		fault, p.n.faults = p.n.faults[0], p.n.faults[1:]
		s.counts["commit faults"]++
	}
	if fault == commitLost {
		s.say("commit cut: nothing counted")
		return nil, errCut
	}
	known, err := s.store.Sight(ctx, tenant, rs, at)
	if err == nil {
		s.audit.sighted(rs, known)
	}
	if fault == commitUnknown && err == nil {
		s.say("commit stored, its answer lost")
		return nil, errCut
	}
	s.pause("sighted")
	return known, err
}

func (p port) Claim(ctx context.Context, now time.Time, lease time.Duration, n int) ([]record.Lease, error) {
	s := p.n.s
	s.pause("claim")
	ls, err := s.store.Claim(ctx, now, lease, min(n, p.n.few))
	for _, l := range ls {
		s.audit.claimed(l)
	}
	s.pause("claimed")
	return ls, err
}

func (p port) Extend(ctx context.Context, l record.Lease, until time.Time) error {
	return p.n.s.store.Extend(ctx, l, until)
}

func (p port) Stumbled(ctx context.Context, id string, now time.Time, reason string) (time.Time, bool, error) {
	s := p.n.s
	at, dead, err := s.store.Stumbled(ctx, id, now, reason)
	s.say("puts %s off: %s, %s", id, reason, short(err))
	return at, dead, err
}

func (p port) Postpone(ctx context.Context, l record.Lease, at time.Time, reason string) error {
	s := p.n.s
	s.pause("release")
	err := s.store.Postpone(ctx, l, at, reason)
	s.say("postpones %s: %s, %s", leaseOf(l), reason, short(err))
	return err
}

func (p port) Bury(ctx context.Context, l record.Lease, now, at time.Time, reason string) error {
	s := p.n.s
	s.pause("release")
	err := s.store.Bury(ctx, l, now, at, reason)
	s.say("buries %s: %s, %s", leaseOf(l), reason, short(err))
	return err
}

func (p port) Release(ctx context.Context, l record.Lease, at time.Time, reason string) error {
	s := p.n.s
	s.pause("release")
	err := s.store.Release(ctx, l, at, reason)
	s.say("gives %s back: %s, %s", leaseOf(l), reason, short(err))
	return err
}
