// Package simulation lives seeded lives of Casement: the real core, engine and
// effect runner on several simulated nodes over one store, with a simulated
// clock, targets that are slow, lie, fail after acting or forget to answer, and
// people who approve, change their minds and press the kill switch. One seed is
// one life: what happens, when, and in which order everything that runs at the
// same time is interleaved. After every commit and every touch of the world the
// eleven laws are held against what the ledger and the targets' logs say.
//
// It may import everything from the engine down and store; nothing of the
// product imports it. Invariants: over the in-memory model the same seed is the
// same life to the byte; nothing here reads a clock or starts a goroutine (what
// runs at once are coroutines, one at a time); the laws are judged from events
// and logs, never by asking the code under test.
package simulation

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// Store is what a life runs on: the model, SQLite or PostgreSQL.
type Store interface {
	engine.Store
	engine.Effects
	History
	Switches
}

// History is what the laws are held against.
type History interface {
	// EventsSince returns up to n events committed after pos, oldest first.
	EventsSince(ctx context.Context, pos int64, n int) ([]store.StoredEvent, int64, error)
	// ListCases returns a page of cases.
	ListCases(ctx context.Context, f store.CaseFilter, cursor string, limit int) (store.CasePage, error)
	// EffectsOf returns up to n effects that wait or run, of all cases for "".
	EffectsOf(ctx context.Context, caseID string, n int) ([]store.EffectStatus, error)
	// Fact returns a snapshot of facts by its address.
	Fact(ctx context.Context, tenant, hash string) ([]byte, error)
}

// Switches are the kill switches.
type Switches interface {
	SetPause(ctx context.Context, p store.Pause) error
	ClearPause(ctx context.Context, p store.Pause) error
	Pauses(ctx context.Context) ([]store.Pause, error)
}

// Life says what to live.
type Life struct {
	Seed uint64
	// Script is what happens; nil for the script of the seed.
	Script []Op
	// Store to live on; nil for a new model.
	Store Store
	// Trouble, if set, is asked before each operation of the script to make
	// trouble for the store (a lock, a full disk, a lost connection) and has to
	// end it when told to heal. A life with real trouble is not deterministic.
	Trouble func(op Op, heal bool)
	// Log keeps the lines of the life for reading.
	Log bool
}

// Result is what came of a life.
type Result struct {
	// Broken is the first law that was broken, nil if none was.
	Broken *Breach
	// Trace is the hash over everything that happened.
	Trace [sha256.Size]byte
	// Script is what was played.
	Script []Op
	// Lines is the life as text, if it was to be kept.
	Lines []string
	// Counts tell how much happened: crashes, acts, closed cases …
	Counts map[string]int
}

// Breach says which law was broken, and how.
type Breach struct {
	Law  int
	Text string
}

// Error returns law and text.
func (b *Breach) Error() string { return fmt.Sprintf("law %d: %s", b.Law, b.Text) }

// broken carries the breach of a law out of whatever was running.
type broken struct{ *Breach }

// sim is one life under way.
type sim struct {
	life    Life
	ctx     context.Context
	store   Store
	now     time.Time
	tick    int // counts resumptions: the order of all that happens
	r       *rand.Rand
	nodes   []*node
	tasks   []*task
	cur     *task
	world   *world
	audit   *audit
	trace   hash.Hash
	lines   []string
	counts  map[string]int
	failure *Breach
	healing bool
	// ahead and behind bound what the nodes' clocks ever said of the time.
	ahead, behind time.Duration
}

// begin is when every life begins: a Monday morning.
func begin() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }

// nodeCount is how many nodes share the store.
const nodeCount = 3

// Run lives a life.
func Run(l Life) (res Result) {
	if l.Script == nil {
		l.Script = ScriptOf(l.Seed)
	}
	if l.Store == nil {
		l.Store = store.NewModel()
	}
	s := &sim{life: l, ctx: context.Background(), store: l.Store, now: begin(), r: rand.New(rand.NewPCG(l.Seed, 0)),
		trace: sha256.New(), counts: map[string]int{}}
	s.world = newWorld(s)
	s.audit = newAudit(s)
	for i := range nodeCount {
		s.nodes = append(s.nodes, newNode(s, i))
	}
	defer func() {
		for _, t := range s.tasks {
			t.kill()
		}
		res = Result{Broken: s.failure, Script: l.Script, Lines: s.lines, Counts: s.counts}
		s.trace.Sum(res.Trace[:0])
	}()
	s.guarded(func() {
		s.play(l.Script)
		s.heal()
		s.audit.end()
	})
	return res
}

// guarded runs f until a law is broken.
func (s *sim) guarded(f func()) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			s.failure = r.Breach
		default:
			panic(r)
		}
	}()
	f()
}

// breach ends the life: law n does not hold.
func (s *sim) breach(law int, format string, args ...any) {
	if s.failure == nil {
		s.failure = &Breach{law, fmt.Sprintf(format, args...)}
		s.say("BROKEN %v", s.failure)
	}
	panic(broken{s.failure})
}

// say adds a line to the life and to its hash.
func (s *sim) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(s.now.UnixNano()))
	s.trace.Write(b[:])
	s.trace.Write([]byte(line))
	if s.life.Log {
		who := ""
		if s.cur != nil {
			who = fmt.Sprintf("n%d %s: ", s.cur.n.i, s.cur.name)
		}
		s.lines = append(s.lines, s.now.Format("01-02 15:04:05 ")+who+line)
	}
}

// must ends the life on an error of the store that no trouble explains.
func (s *sim) must(err error) {
	if err != nil {
		panic(fmt.Errorf("seed %d: %w", s.life.Seed, err))
	}
}

// short is the first line of an error, "ok" for none.
func short(err error) string {
	if err == nil {
		return "ok"
	}
	text := err.Error()
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return text[:min(len(text), 120)]
}

// leaseOf names a lease in the lines of a life.
func leaseOf(l record.Lease) string { return fmt.Sprintf("%s#%d", l.Row.ID, l.Epoch) }
