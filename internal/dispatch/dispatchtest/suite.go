// Package dispatchtest is the conformance suite of effect runners. It imports
// dispatch for its interfaces and is imported by tests only; the store is
// brought by the caller, so that every runner can be tested on its own.
package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/dispatch"
	"github.com/casement/casement/internal/record"
)

// Runner is what is tested.
type Runner interface {
	// Run does effects until ctx ends, then waits for those under way.
	Run(ctx context.Context) error
	// Wake hints that effects may be due.
	Wake()
}

// Rig is a runner with the store it runs on.
type Rig struct {
	Source dispatch.Source
	// Runner returns a new runner over Source; two of them are two nodes.
	Runner func(d dispatch.Doer) Runner
	// Add opens a case with n effects, in their order, on an outside object
	// ("" for none).
	Add func(caseID, object string, n int)
	// Finish commits the outcome of a lease: its effect is done.
	Finish func(l record.Lease) error
	// Drop takes all effects of a case back.
	Drop func(caseID string)
	// Pass lets time go by: the fake time of a synctest bubble, or real time.
	Pass func(d time.Duration)
	// Leap lets much time go by while nothing takes time but waiting; a rig in
	// real time moves its clock.
	Leap func(d time.Duration)
	// Slack is how late a runner in real time may be.
	Slack time.Duration
	// Mute returns a runner whose leases cannot be prolonged: a node that is
	// stalled or cut off.
	Mute func(d dispatch.Doer) Runner
	// Postpone gives an effect back that was not tried.
	Postpone func(l record.Lease, at time.Time) error
	// Now is the runner's clock.
	Now func() time.Time
	// Workers, Lease and Grace are the settings of the runners.
	Workers      int
	Lease, Grace time.Duration
}

// Run runs the suite; bubble calls a test with a fresh rig, in a synctest
// bubble if it can.
func Run(t *testing.T, bubble func(t *testing.T, test func(t *testing.T, r Rig))) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, r Rig)
	}{
		{"EachOnceAndApart", testEachOnce},
		{"TwoNodes", testTwoNodes},
		{"RetriesWithGrowingDelay", testRetry},
		{"PanicIsAFailure", testPanic},
		{"BuriesWhatFailsTooOften", testDead},
		{"PostponedCostsNoTry", testPostponed},
		{"StalledNodeDoesNoHarm", testStalled},
		{"TakesOverExpiredLeases", testTakeOver},
		{"HeartbeatKeepsTheLease", testHeartbeat},
		{"LostLeaseEndsTheWork", testLost},
		{"DrainsOnStop", testDrain},
		{"GraceEnds", testGrace},
		{"WorkersAreUsedAndBounded", testWorkers},
	} {
		t.Run(c.name, func(t *testing.T) { bubble(t, c.test) })
	}
}

// doer records what it is given and does what the test says.
type doer struct {
	do func(ctx context.Context, l record.Lease) error

	mu      sync.Mutex
	log     []attempt
	flying  map[string]int // cases and objects
	most    int
	over    map[uint64]bool
	clashes []string
	now     func() time.Time
	// buried are the effects it was told of as dead letters.
	buried []string
}

type attempt struct {
	id    string
	epoch uint64
	at    time.Time
}

func newDoer(r Rig, do func(ctx context.Context, l record.Lease) error) *doer {
	return &doer{do: do, flying: map[string]int{}, over: map[uint64]bool{}, now: r.Now}
}

// Do implements dispatch.Doer.
func (d *doer) Do(ctx context.Context, l record.Lease, _ time.Time) error {
	d.enter(l, 1)
	err := d.do(ctx, l)
	d.leave(l)
	return err
}

// Buried implements dispatch.Mourner.
func (d *doer) Buried(_ context.Context, l record.Lease, _ time.Time, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buried = append(d.buried, l.Row.ID)
	return nil
}

// finish commits the outcome. The effect counts as over just before: once the
// row is gone another runner may rightly begin what it kept back.
func (d *doer) finish(r Rig, l record.Lease) error {
	d.leave(l)
	return r.Finish(l)
}

// leave ends the flight of a lease, once.
func (d *doer) leave(l record.Lease) {
	d.mu.Lock()
	over := d.over[l.Epoch]
	d.over[l.Epoch] = true
	d.mu.Unlock()
	if !over {
		d.enter(l, -1)
	}
}

func (d *doer) enter(l record.Lease, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flying["all"] += by
	d.most = max(d.most, d.flying["all"])
	for _, k := range []string{"case " + l.Row.CaseID, "object " + l.Row.Object} {
		if d.flying[k] += by; d.flying[k] > 1 && k != "object " {
			d.clashes = append(d.clashes, k)
		}
	}
	if by > 0 {
		d.log = append(d.log, attempt{l.Row.ID, l.Epoch, d.now()})
	}
}

// attempts returns how often each effect was tried.
func (d *doer) attempts() (list []attempt, per map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	per = map[string]int{}
	for _, a := range d.log {
		per[a.id]++
	}
	return append(list, d.log...), per
}

func (d *doer) check(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.clashes) > 0 {
		t.Errorf("two effects in flight at once: %v", d.clashes)
	}
}

// count is the number of attempts so far.
func (d *doer) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// until lets time go by, limit at most, until enough has happened, and then a
// little more: what comes twice would come now.
func (r Rig) until(limit time.Duration, enough func() bool) {
	const looks = 60
	for range looks {
		if r.Pass(limit / looks); enough() {
			break
		}
	}
	r.Pass(3 * time.Second)
}

// start runs runners until the returned function stops them and waits.
func start(t *testing.T, runners ...Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, r := range runners {
		wg.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

func testEachOnce(t *testing.T, r Rig) {
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		r.Pass(time.Second)
		return d.finish(r, l)
	})
	stop := start(t, r.Runner(d))
	for i := range 10 {
		r.Add(fmt.Sprint("case", i), []string{"", "bucket"}[i%2], 3)
	}
	r.until(2*time.Minute, func() bool { return d.count() >= 30 })
	stop()
	d.check(t)
	_, per := d.attempts()
	if len(per) != 30 {
		t.Errorf("%d effects were done, want 30", len(per))
	}
	for id, n := range per {
		if n != 1 {
			t.Errorf("%s was done %d times", id, n)
		}
	}
}

func testTwoNodes(t *testing.T, r Rig) {
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		r.Pass(2 * r.Lease) // heartbeats keep it
		return d.finish(r, l)
	})
	for i := range 6 {
		r.Add(fmt.Sprint("case", i), []string{"", "bucket", "role"}[i%3], 2)
	}
	stop := start(t, r.Runner(d), r.Runner(d))
	r.until(30*r.Lease, func() bool { return d.count() >= 12 })
	stop()
	d.check(t)
	if _, per := d.attempts(); len(per) != 12 {
		t.Errorf("%d effects were done, want 12", len(per))
	} else {
		for id, n := range per {
			if n != 1 {
				t.Errorf("%s was done %d times", id, n)
			}
		}
	}
}

func testRetry(t *testing.T, r Rig) {
	fails := 5
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		if l.Attempt <= fails {
			return errors.New("503 from the target")
		}
		return d.finish(r, l)
	})
	r.Add("case", "", 1)
	stop := start(t, r.Runner(d))
	r.until(10*time.Minute, func() bool { return d.count() > fails })
	stop()
	log, _ := d.attempts()
	if len(log) != fails+1 {
		t.Fatalf("%d attempts, want %d", len(log), fails+1)
	}
	for i := 1; i < len(log); i++ {
		if gap, least := log[i].at.Sub(log[i-1].at), record.Backoff(log[i].id, i); gap < least {
			t.Errorf("attempt %d came %v after the last, want %v at least", i+1, gap, least)
		}
		if log[i].epoch <= log[i-1].epoch {
			t.Errorf("epoch %d after %d", log[i].epoch, log[i-1].epoch)
		}
	}
}

func testPanic(t *testing.T, r Rig) {
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		if l.Row.CaseID == "bad" && l.Attempt == 1 {
			panic("boom")
		}
		return d.finish(r, l)
	})
	r.Add("bad", "", 1)
	r.Add("good", "", 1)
	stop := start(t, r.Runner(d))
	r.Pass(time.Minute)
	stop()
	log, _ := d.attempts()
	if len(log) != 3 {
		t.Errorf("attempts %v, want bad twice and good once", log)
	}
}

// testDead: what always fails is a dead letter after a bounded number of tries,
// is tried at the slow rhythm from then on, and keeps nobody from working.
func testDead(t *testing.T, r Rig) {
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		if l.Row.CaseID == "bad" {
			panic("boom")
		}
		return d.finish(r, l)
	})
	r.Add("bad", "", 1)
	stop := start(t, r.Runner(d))
	r.Leap(20 * time.Minute)
	log, _ := d.attempts()
	if len(log) != record.DeadAfter {
		t.Fatalf("%d tries in 20 minutes, want %d", len(log), record.DeadAfter)
	}
	r.Add("good", "", 1)
	r.Leap(3 * record.DeadEvery)
	stop()
	if _, per := d.attempts(); per["good/message/0"] != 1 || len(d.buried) == 0 || d.buried[0] != "bad/message/0" {
		t.Errorf("tries %v, buried %v", per, d.buried)
	}
	log, per := d.attempts()
	if n := per["bad/message/0"] - record.DeadAfter; n < 2 || n > 3 {
		t.Errorf("a dead letter was tried %d times in three hours, want 2 or 3", n)
	}
	last := log[len(log)-1].at.Sub(log[len(log)-2].at)
	if last < record.DeadEvery || last > record.DeadEvery*5/4+time.Second+r.Slack {
		t.Errorf("the last two tries of a dead letter were %v apart, want about %v", last, record.DeadEvery)
	}
}

// testPostponed: what the kill switch holds back is never a dead letter, and
// goes once it may.
func testPostponed(t *testing.T, r Rig) {
	const held = 2 * record.DeadAfter
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		if l.Attempt != 1 {
			t.Errorf("try %d after being held back only", l.Attempt)
		}
		if d.count() > held {
			return d.finish(r, l)
		}
		d.leave(l)
		return r.Postpone(l, r.Now().Add(time.Minute))
	})
	r.Add("case", "", 1)
	stop := start(t, r.Runner(d))
	r.Leap((held + 2) * time.Minute)
	stop()
	log, _ := d.attempts()
	if len(log) != held+1 || len(d.buried) > 0 {
		t.Fatalf("given out %d times, buried %v; want %d and never", len(log), d.buried, held+1)
	}
	for i := 1; i < len(log); i++ {
		if gap := log[i].at.Sub(log[i-1].at); gap < time.Minute {
			t.Errorf("given out again after %v", gap)
		}
	}
}

// testStalled: a node that stands still until its work was taken over, and then
// goes on as if it held it, is refused whatever it says.
func testStalled(t *testing.T, r Rig) {
	r.Add("case", "bucket", 1)
	begun, wake, over := make(chan record.Lease, 1), make(chan bool), make(chan bool)
	var stalled, other *doer
	stalled = newDoer(r, func(_ context.Context, l record.Lease) error {
		stalled.leave(l)
		begun <- l
		<-wake // and hears nothing
		defer close(over)
		at := r.Now().Add(time.Minute)
		for what, err := range map[string]error{
			"an outcome": r.Finish(l), "prolonging": r.Source.Extend(context.Background(), l, at), "giving back": r.Source.Release(context.Background(), l, at, "503"),
			"burying": r.Source.Bury(context.Background(), l, at, at, "503"), "putting off": r.Postpone(l, at),
		} {
			if !errors.Is(err, record.ErrStale) {
				t.Errorf("%s by a node that lost its work: %v, want ErrStale", what, err)
			}
		}
		return errors.New("nobody waits for this")
	})
	stopStalled := start(t, r.Mute(stalled))
	first := <-begun
	var gone sync.WaitGroup
	gone.Go(stopStalled) // it takes nothing else, and waits for the one it has
	done := make(chan record.Lease, 1)
	other = newDoer(r, func(_ context.Context, l record.Lease) error {
		done <- l
		<-over // still under way when the other wakes
		return other.finish(r, l)
	})
	stop := start(t, r.Runner(other))
	second := <-done
	close(wake)
	<-over
	gone.Wait()
	r.Pass(r.Lease)
	stop()
	if second.Epoch <= first.Epoch || second.Row.ID != first.Row.ID {
		t.Errorf("epoch %d of %s after epoch %d of %s", second.Epoch, second.Row.ID, first.Epoch, first.Row.ID)
	}
	if n := stalled.count() + other.count(); n != 2 || len(stalled.buried)+len(other.buried) > 0 {
		t.Errorf("given out %d times, buried %v %v; want twice and never", n, stalled.buried, other.buried)
	}
}

func testTakeOver(t *testing.T, r Rig) {
	r.Add("case", "", 1)
	began := r.Now()
	dead, err := r.Source.Claim(context.Background(), began, r.Lease, 1) // a node that dies now
	if err != nil || len(dead) != 1 {
		t.Fatalf("claimed %v, %v", dead, err)
	}
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error { return d.finish(r, l) })
	stop := start(t, r.Runner(d))
	r.Pass(2 * r.Lease)
	stop()
	log, _ := d.attempts()
	if len(log) != 1 || log[0].at.Before(began.Add(r.Lease)) || log[0].epoch <= dead[0].Epoch {
		t.Errorf("attempts %+v; want one, after %v, with an epoch above %d", log, began.Add(r.Lease), dead[0].Epoch)
	}
	if err := r.Finish(dead[0]); !errors.Is(err, record.ErrStale) {
		t.Errorf("the dead node's outcome: %v, want ErrStale", err)
	}
}

func testHeartbeat(t *testing.T, r Rig) {
	r.Add("case", "", 1)
	var d *doer
	d = newDoer(r, func(_ context.Context, l record.Lease) error {
		for range 5 {
			r.Pass(r.Lease)
			if other, err := r.Source.Claim(context.Background(), r.Now(), r.Lease, 1); err != nil || len(other) != 0 {
				t.Errorf("taken from under a living worker: %v, %v", other, err)
			}
		}
		return d.finish(r, l)
	})
	stop := start(t, r.Runner(d))
	r.Pass(7 * r.Lease)
	stop()
	if log, _ := d.attempts(); len(log) != 1 {
		t.Errorf("attempts %v, want one", log)
	}
}

func testLost(t *testing.T, r Rig) {
	r.Add("case", "", 1)
	var cause error
	var took time.Duration
	d := newDoer(r, func(ctx context.Context, _ record.Lease) error {
		r.Drop("case")
		at := r.Now()
		<-ctx.Done()
		cause, took = context.Cause(ctx), r.Now().Sub(at)
		return ctx.Err()
	})
	stop := start(t, r.Runner(d))
	r.Pass(5 * r.Lease)
	stop()
	if log, _ := d.attempts(); len(log) != 1 || !errors.Is(cause, dispatch.ErrLost) {
		t.Errorf("attempts %v, cause %v; want one that was told of its loss", log, cause)
	}
	if took >= r.Lease {
		t.Errorf("told after %v, which is no sooner than the end of the lease", took)
	}
}

func testDrain(t *testing.T, r Rig) {
	r.Add("case", "", 2)
	begun := make(chan bool)
	finished := false
	var d *doer
	d = newDoer(r, func(ctx context.Context, l record.Lease) error {
		close(begun)
		r.Pass(r.Grace / 2)
		finished = ctx.Err() == nil
		return d.finish(r, l)
	})
	stop := start(t, r.Runner(d))
	<-begun
	stop()
	if log, _ := d.attempts(); !finished || len(log) != 1 {
		t.Errorf("finished %v, attempts %v; want the one under way to end well and no other to begin", finished, log)
	}
}

func testGrace(t *testing.T, r Rig) {
	r.Add("case", "", 1)
	begun := make(chan bool)
	d := newDoer(r, func(ctx context.Context, _ record.Lease) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	})
	stop := start(t, r.Runner(d))
	<-begun
	at := r.Now()
	stop()
	if took := r.Now().Sub(at); took < r.Grace || took > 2*r.Grace {
		t.Errorf("stopped after %v, want the grace of %v", took, r.Grace)
	}
	r.Pass(2 * time.Second) // the back-off, but not what was left of the lease
	again, err := r.Source.Claim(context.Background(), r.Now(), r.Lease, 1)
	if err != nil || len(again) != 1 || again[0].Attempt != 2 {
		t.Errorf("after the stop: %v, %v; want the effect to be free again", again, err)
	}
}

func testWorkers(t *testing.T, r Rig) {
	var d *doer
	busy := make(chan struct{}) // closed when all workers are
	all := sync.OnceFunc(func() { close(busy) })
	d = newDoer(r, func(ctx context.Context, l record.Lease) error {
		if d.count() >= r.Workers {
			all()
		}
		select { // however long a busy machine takes; heartbeats keep the lease
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
		r.Pass(time.Second) // one more than the workers would come now
		return d.finish(r, l)
	})
	for i := range 5 * r.Workers {
		r.Add(fmt.Sprint("case", i), "", 1)
	}
	stop := start(t, r.Runner(d))
	r.until(time.Minute, func() bool { return d.count() >= 5*r.Workers })
	stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most != r.Workers || len(d.log) != 5*r.Workers {
		t.Errorf("at most %d at once and %d in all; want %d and %d", d.most, len(d.log), r.Workers, 5*r.Workers)
	}
}
