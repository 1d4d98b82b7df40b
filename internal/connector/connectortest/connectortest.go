// Package connectortest is the conformance suite of connectors: what every
// door to an outside system must do before policy may enforce through it.
//
// It may import connector, remedy, finding and testing. Invariants tested: the
// Spec is complete; Plan and Probe change nothing; Act makes exactly the
// planned change, once; a drifted target is refused; Undo restores, and refuses
// what somebody else changed; a probe that can't tell says inconclusive; the
// target's own log leads to the case; no secret is seen; cancelling works.
package connectortest

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Canary is the secret that a bench gives its connector as credential; the
// suite looks for it in everything the connector returns.
const Canary = "canary-5e1f0c2b9d"

// CaseID is the case id of every request of the suite; the target's own log
// must show it after an act.
const CaseID = "case-7f3k"

// Now is the time of every request of the suite.
func Now() time.Time { return time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) }

// Bench is a connector with a target whose one object is in the risky state.
type Bench interface {
	// Connector returns the connector without layers.
	Connector() connector.Connector
	// Request returns asset and parameters for an action or a probe. The suite
	// fills in the rest.
	Request(verb string) connector.Request
	// State is the risky object as the target holds it, read behind the
	// connector's back; equal texts are equal states.
	State() string
	// Changes counts the changes the target has made for the connector.
	Changes() int
	// Log is the target's own log.
	Log() string
	// Drift changes the object as somebody else would, so that it stays risky
	// when it is.
	Drift()
	// Fault plays a fault from now on; the channel receives when a request
	// hangs.
	Fault(f Fault) <-chan struct{}
}

// Configured is a bench whose connector a server can be given by its
// configuration: settings under params: and the values of its secrets by name.
type Configured interface {
	Bench
	Config() (params map[string]any, secrets map[string]string)
}

// Option changes what the suite runs.
type Option func(*suite)

// Without leaves out actions that the target of the bench does not have; that
// they are refused there is a test of its own.
func Without(verbs ...string) Option {
	return func(s *suite) { s.without = append(s.without, verbs...) }
}

type suite struct {
	open func(testing.TB) Bench
	// without are the verbs that are left out.
	without []string
}

// Run runs the suite; open returns a fresh bench, stopped by t.Cleanup.
func Run(t *testing.T, open func(testing.TB) Bench, opts ...Option) {
	s := &suite{open: open}
	for _, o := range opts {
		o(s)
	}
	spec := open(t).Connector().Spec()
	t.Run("spec", func(t *testing.T) {
		for _, complaint := range CheckSpec(spec) {
			t.Error(complaint)
		}
	})
	for _, a := range spec.Actions {
		if !slices.Contains(s.without, a.Verb) {
			t.Run(a.Verb, func(t *testing.T) { s.action(t, spec, a) })
		}
	}
	for _, p := range spec.Probes {
		t.Run(p.Verb, func(t *testing.T) { s.probe(t, p, isContinuity(spec, p.Verb)) })
	}
}

func isContinuity(spec connector.Spec, verb string) bool {
	return slices.ContainsFunc(spec.Actions, func(a connector.ActionSpec) bool { return a.Continuity == verb })
}

// CheckSpec returns what a Spec leaves open, nil for a complete one.
func CheckSpec(s connector.Spec) []string {
	var out []string
	say := func(bad bool, what string) {
		if bad {
			out = append(out, s.Name+": "+what)
		}
	}
	probes := map[string]connector.ProbeSpec{}
	for _, p := range s.Probes {
		_, twice := probes[p.Verb]
		say(twice, "probe "+p.Verb+" twice")
		probes[p.Verb] = p
		say(p.Verb == "" || p.Description == "" || p.Proves == "" || p.Cannot == "", "probe "+p.Verb+": verb, description, what it proves and what it can't must be said")
		say(len(p.Permissions) == 0, "probe "+p.Verb+": permissions are not stated")
		say(p.Grade < remedy.P1, "probe "+p.Verb+": no grade")
	}
	say(s.Name == "" || s.Name != strings.ToLower(s.Name) || s.Title == "", "name (lower case) and title must be there")
	seen := map[string]bool{}
	for _, a := range s.Actions {
		say(seen[a.Verb], "action "+a.Verb+" twice")
		seen[a.Verb] = true
		say(a.Verb == "" || a.Description == "" || a.Example == "", "action "+a.Verb+": verb, description and example must be there")
		say(len(a.Permissions) == 0, "action "+a.Verb+": permissions are not stated")
		say(a.Once != remedy.OnceKey && a.Once != remedy.OnceLookup && a.Once != remedy.OnceNone, "action "+a.Verb+": once is not declared")
		say(a.Reversibility > 3 || a.Undoable == (a.Reversibility == 3), "action "+a.Verb+": r3 means no undo, r0..r2 mean one")
		_, ok := probes[a.Probe]
		say(!ok, "action "+a.Verb+": its probe "+a.Probe+" does not exist")
		_, ok = probes[a.Continuity]
		say(a.Continuity != "" && !ok, "action "+a.Verb+": its continuity probe "+a.Continuity+" does not exist")
		for _, p := range a.Params {
			say(p.Name == "" || p.Description == "", "action "+a.Verb+": a parameter without name or description")
		}
	}
	return out
}

// run is one bench in one test.
type run struct {
	*testing.T
	Bench
	door  *connector.Door
	verb  string
	probe string
}

func (s *suite) start(t *testing.T, verb, probe string) *run {
	b := s.open(t)
	d := connector.Stack(b.Connector(), connector.Options{Attempts: 1, Timeout: 20 * time.Second})
	return &run{T: t, Bench: b, door: d, verb: verb, probe: probe}
}

func (r *run) request(verb string) connector.Request {
	q := r.Bench.Request(verb)
	q.CaseID, q.ActionID, q.Key, q.Now = CaseID, "e1.1", CaseID+".e1.1.1", Now()
	return q
}

// clean fails if any of what a connector returned shows the canary.
func (r *run) clean(vs ...any) {
	r.Helper()
	for _, v := range vs {
		var text string
		if err, ok := v.(error); ok {
			text = err.Error()
		} else if b, err := json.Marshal(v); err == nil {
			text = string(b)
		}
		if strings.Contains(text, Canary) {
			r.Errorf("a secret is shown: %s", text)
		}
	}
}

func (r *run) plan() connector.Request {
	r.Helper()
	q := r.request(r.verb)
	p, err := r.door.Plan(r.Context(), r.verb, q)
	if err != nil {
		r.Fatalf("plan: %v", err)
	}
	r.clean(p)
	q.Plan = connector.Seal(p, r.door.Spec().Name, r.verb, q, q.Now)
	return q
}

func (r *run) act(q connector.Request) connector.Outcome {
	r.Helper()
	o, err := r.door.Act(r.Context(), r.verb, q)
	if err != nil {
		r.Fatalf("act: %v", err)
	}
	r.clean(o)
	return o
}

func (r *run) look(verb string) remedy.Observation {
	r.Helper()
	o, err := r.door.Probe(r.Context(), verb, r.request(verb))
	if err != nil {
		r.Fatalf("probe %s: %v", verb, err)
	}
	r.clean(o)
	return o
}

func (r *run) sees(verb string, want remedy.Result) {
	r.Helper()
	if o := r.look(verb); o.Result != want {
		r.Errorf("probe %s says %s (%s), want %s", verb, o.Result, o.Detail, want)
	}
}

func (r *run) refused(err error, what string) {
	r.Helper()
	if err == nil || connector.KindOf(err) != connector.KindRefused {
		r.Errorf("%s: got error %v, want a refusal", what, err)
	}
	if err != nil {
		r.clean(err)
	}
}

func (r *run) still(state string, what string) {
	r.Helper()
	if got := r.State(); got != state {
		r.Errorf("%s: the target was changed\n from %s\n to   %s", what, state, got)
	}
}

func (s *suite) action(t *testing.T, spec connector.Spec, a connector.ActionSpec) {
	part := func(name string, f func(r *run)) {
		t.Run(name, func(t *testing.T) { f(s.start(t, a.Verb, a.Probe)) })
	}
	part("plan changes nothing and is stable", func(r *run) { testPlan(r) })
	part("act once is proven", func(r *run) { testAct(r, a) })
	part("act refuses a drifted target", func(r *run) {
		q := r.plan()
		r.Drift()
		state, n := r.State(), r.Changes()
		_, err := r.door.Act(r.Context(), r.verb, q)
		r.refused(err, "act after a drift")
		r.still(state, "act after a drift")
		if r.Changes() != n {
			r.Error("the target made a change")
		}
	})
	part("lost answer is unsure, repeat is once", func(r *run) { testLost(r, a) })
	part("faults never look like done", func(r *run) { testFaults(r) })
	part("dry run changes nothing", func(r *run) {
		d := connector.Stack(r.Bench.Connector(), connector.Options{DryRun: true, Attempts: 1})
		q, state := r.plan(), r.State()
		_, err := d.Act(r.Context(), r.verb, q)
		r.refused(err, "act in dry run")
		r.still(state, "dry run")
		r.sees(r.probe, remedy.Exposed)
	})
	part("cancel is honoured", func(r *run) { testCancel(r) })
	part("missing parameters are our fault", func(r *run) {
		for _, p := range a.Params {
			if !p.Required {
				continue
			}
			q := r.request(r.verb)
			delete(q.Params, p.Name)
			if _, err := r.door.Plan(r.Context(), r.verb, q); connector.KindOf(err) != connector.KindConfig || err == nil || !strings.Contains(err.Error(), p.Name) {
				r.Errorf("plan without %s: %v", p.Name, err)
			}
		}
	})
	if a.Once == remedy.OnceLookup {
		part("look tells what happened", func(r *run) { testLook(r, a) })
	}
	if a.Undoable {
		part("undo restores", func(r *run) { testUndo(r) })
		part("undo refuses what somebody changed", func(r *run) {
			q := r.plan()
			q.UndoHandle = r.act(q).UndoHandle
			r.Drift()
			state := r.State()
			_, err := r.door.Undo(r.Context(), r.verb, q)
			r.refused(err, "undo after a drift")
			r.still(state, "undo after a drift")
		})
	} else {
		part("undo is refused", func(r *run) {
			q := r.plan()
			q.UndoHandle = "x"
			if _, err := r.door.Undo(r.Context(), r.verb, q); err == nil {
				r.Error("an action without a way back was undone")
			}
		})
	}
}

func testPlan(r *run) {
	state := r.State()
	one := r.plan().Plan
	two := r.plan().Plan
	if one.Hash != two.Hash {
		r.Errorf("two plans of one state differ:\n%+v\n%+v", one, two)
	}
	if one.Text == "" || one.Blast == "" || one.Undo == "" || one.BeforeDigest == "" {
		r.Errorf("text, blast, undo and before-digest must be there: %+v", one)
	}
	r.still(state, "plan")
	if r.Changes() != 0 {
		r.Error("planning made a change")
	}
	r.Drift()
	if three := r.plan().Plan; three.BeforeDigest == one.BeforeDigest {
		r.Error("the before-digest did not see the drift")
	}
}

func testAct(r *run, a connector.ActionSpec) {
	r.sees(r.probe, remedy.Exposed)
	if a.Continuity != "" {
		r.sees(a.Continuity, remedy.NotExposed)
	}
	q := r.plan()
	first := r.act(q)
	n, state := r.Changes(), r.State()
	if n == 0 || first.Nothing {
		r.Errorf("act said %+v and the target made %d changes", first, n)
	}
	second := r.act(q)
	if a.Once != remedy.OnceNone {
		if r.Changes() != n {
			r.Errorf("the same key changed the target again: %d changes, then %d", n, r.Changes())
		}
		if second.UndoHandle != first.UndoHandle {
			r.Errorf("the repeat lost the way back: %q, then %q", first.UndoHandle, second.UndoHandle)
		}
		r.still(state, "repeat")
	}
	r.sees(r.probe, remedy.NotExposed)
	if a.Continuity != "" {
		r.sees(a.Continuity, remedy.NotExposed)
	}
	if !strings.Contains(r.Log(), CaseID) {
		r.Errorf("the target's own log does not lead to the case:\n%s", r.Log())
	}
	if strings.Contains(r.Log(), Canary) {
		r.Error("the target's log shows the secret")
	}
}

func testLost(r *run, a connector.ActionSpec) {
	q := r.plan()
	r.Fault(LostAnswer)
	_, err := r.door.Act(r.Context(), r.verb, q)
	if err == nil {
		r.Fatal("act without an answer said done")
	}
	r.clean(err)
	n := r.Changes()
	if n > 0 && connector.KindOf(err) != connector.KindUnsure {
		r.Errorf("the target changed and the error says that nothing happened: %v", err)
	}
	r.Fault(None)
	if a.Once == remedy.OnceNone {
		return
	}
	o := r.act(q)
	if a.Undoable && o.UndoHandle == "" {
		r.Error("the repeat has no way back")
	}
	r.sees(r.probe, remedy.NotExposed)
	if n > 0 && r.Changes() != n {
		r.Errorf("the repeat changed again: %d changes, then %d", n, r.Changes())
	}
}

func testFaults(r *run) {
	q, state := r.plan(), r.State()
	for _, f := range []Fault{Down, NotFound, Busy, Broken} {
		r.Fault(f)
		p, err := r.door.Plan(r.Context(), r.verb, r.request(r.verb))
		if err == nil {
			r.Errorf("%s: plan without a target: %+v", f, p)
		} else {
			r.clean(err)
		}
		o, err := r.door.Act(r.Context(), r.verb, q)
		if err == nil {
			r.Errorf("%s: act without a target: %+v", f, o)
		} else {
			r.clean(err)
		}
		if f == Busy && connector.KindOf(err) != connector.KindRetry {
			r.Errorf("429 must be retryable, got %v", err)
		}
		r.still(state, f.String())
	}
	r.Fault(None)
	r.act(q)
	r.sees(r.probe, remedy.NotExposed)
}

func testCancel(r *run) {
	q, state := r.plan(), r.State()
	gone, cancel := context.WithCancel(r.Context())
	cancel()
	if _, err := r.door.Act(gone, r.verb, q); err == nil {
		r.Error("act went on under a cancelled context")
	}
	if o, err := r.door.Probe(gone, r.probe, r.request(r.probe)); err == nil && o.Result != remedy.Inconclusive {
		r.Errorf("a cancelled probe says %s", o.Result)
	}
	arrived := r.Fault(Hang)
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.door.Act(ctx, r.verb, q)
		done <- err
	}()
	<-arrived
	cancel()
	if err := <-done; err == nil {
		r.Error("act said done though it was cancelled")
	} else {
		r.clean(err)
	}
	r.Fault(None)
	r.still(state, "cancel")
}

func testLook(r *run, a connector.ActionSpec) {
	if _, ok := r.Bench.Connector().(connector.Looker); !ok {
		r.Fatal("once is lookup, but the connector can't look")
	}
	q := r.plan()
	if _, found, err := r.door.Look(r.Context(), r.verb, q); err != nil || found {
		r.Errorf("look before the act: found %v, error %v", found, err)
	}
	want := r.act(q)
	o, found, err := r.door.Look(r.Context(), r.verb, q)
	if err != nil || !found {
		r.Errorf("look after the act: found %v, error %v", found, err)
	}
	if a.Undoable && o.UndoHandle != want.UndoHandle {
		r.Errorf("look gives the way back %q, act gave %q", o.UndoHandle, want.UndoHandle)
	}
	r.Fault(Broken)
	if _, found, err := r.door.Look(r.Context(), r.verb, q); err == nil {
		r.Errorf("look without a target: found %v and no error", found)
	}
}

func testUndo(r *run) {
	before := r.State()
	q := r.plan()
	q.UndoHandle = r.act(q).UndoHandle
	if q.UndoHandle == "" {
		r.Fatal("no undo handle")
	}
	q.Key += ".undo1"
	if _, err := r.door.Undo(r.Context(), r.verb, q); err != nil {
		r.Fatalf("undo: %v", err)
	}
	r.still(before, "undo")
	r.sees(r.probe, remedy.Exposed)
	n := r.Changes()
	if _, err := r.door.Undo(r.Context(), r.verb, q); err != nil {
		r.Errorf("undo twice: %v", err)
	}
	if r.Changes() != n {
		r.Error("the second undo changed the target again")
	}
	r.Fault(Broken)
	if _, err := r.door.Undo(r.Context(), r.verb, q); err == nil {
		r.Error("undo without a target said done")
	}
}

func (s *suite) probe(t *testing.T, p connector.ProbeSpec, continuity bool) {
	r := s.start(t, "", p.Verb)
	state := r.State()
	first := remedy.Exposed
	if continuity {
		first = remedy.NotExposed
	}
	r.sees(p.Verb, first)
	if o := r.look(p.Verb); o.Probe != r.door.Spec().Name+"/"+p.Verb || o.Grade != p.Grade || o.Place == "" || o.At.IsZero() || o.Detail == "" {
		r.Errorf("probe, grade, place, time and detail must be there: %+v", o)
	}
	for _, f := range []Fault{Down, NotFound, Busy, Broken} {
		r.Fault(f)
		o := r.look(p.Verb)
		if !continuity && o.Result != remedy.Inconclusive || o.Result == remedy.NotExposed || o.Result == remedy.Gone {
			r.Errorf("%s: probe says %s (%s)", f, o.Result, o.Detail)
		}
	}
	r.Fault(None)
	r.still(state, "probe")
	if r.Changes() != 0 {
		r.Error("probing made a change")
	}
	for _, x := range p.Params {
		if !x.Required {
			continue
		}
		q := r.request(p.Verb)
		delete(q.Params, x.Name)
		if _, err := r.door.Probe(r.Context(), p.Verb, q); err == nil {
			r.Errorf("probe without %s must be an error", x.Name)
		}
	}
}
