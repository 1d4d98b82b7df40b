package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// world is one target with one risky state, its own log, and faults.
type world struct {
	exposed  bool
	other    string // a part of the state that drifts
	log      []string
	lies     bool // act answers 200 and changes nothing
	probeErr bool
	actErr   error
	broken   bool // continuity
	undoErr  error
	byKey    map[string]bool
	crash    string // failpoint to panic at, once
	paused   string
	unread   error // of the kill switch
	budget   int
	deny     string
	as       map[string]string
	auth     remedy.Authorization
	once     remedy.Once
	contain  bool
	behind   bool // a lasting containment, then the fix
	watch    int
	notices  []string
	tickets  []string
	repeats  []bool
	tracker  connector.Tracker // instead of the world's own
	suppress bool
	wait     func() // of the layers before a change
	authors  []string
	hideLook bool // the target can't be asked by key
}

// blind is a target that can't be asked what became of a key.
type blind struct{ connector.Actor }

type crashed string

func (w *world) fail(name string) {
	if w.crash == name {
		w.crash = ""
		panic(crashed(name))
	}
}

func (w *world) Plan(_ context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	return remedy.Plan{Text: verb + " on " + r.Asset.UID + " " + w.other, BeforeDigest: connector.Digest(w.other), LastModifier: "mallory"}, nil
}

func (w *world) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	return w.held(ctx, connector.OpAct, r, func() (connector.Outcome, error) { return w.act(verb, r) })
}

// held makes a change behind the layer that reads the kill switch, after the
// wait of the layers before it.
func (w *world) held(ctx context.Context, op connector.Op, r connector.Request, change func() (connector.Outcome, error)) (connector.Outcome, error) {
	if w.wait != nil {
		w.wait()
	}
	reply, err := connector.Switch(connector.WallClock{})(func(context.Context, connector.Call) (connector.Reply, error) {
		o, err := change()
		return connector.Reply{Outcome: o}, err
	})(ctx, connector.Call{Op: op, Request: r})
	return reply.Outcome, err
}

func (w *world) act(verb string, r connector.Request) (connector.Outcome, error) {
	w.log = append(w.log, verb+" "+r.UserAgent())
	if w.byKey[r.Key] && w.once == remedy.OnceKey {
		return connector.Outcome{UndoHandle: "was-open", Nothing: true}, nil
	}
	if w.actErr != nil {
		err := w.actErr
		w.actErr = nil
		return connector.Outcome{}, err
	}
	w.byKey[r.Key] = true
	if !w.lies {
		w.exposed = false
	}
	if strings.HasPrefix(verb, "second") {
		w.exposed = false
	}
	return connector.Outcome{UndoHandle: "was-open", Ref: "req-1"}, nil
}

func (w *world) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	return w.held(ctx, connector.OpUndo, r, func() (connector.Outcome, error) { return w.back(verb) })
}

func (w *world) back(verb string) (connector.Outcome, error) {
	w.log = append(w.log, "undo "+verb)
	if w.undoErr != nil {
		return connector.Outcome{}, w.undoErr
	}
	w.exposed, w.broken = true, false
	return connector.Outcome{}, nil
}

func (w *world) Look(_ context.Context, _ string, r connector.Request) (connector.Outcome, bool, error) {
	return connector.Outcome{UndoHandle: "was-open"}, w.byKey[r.Key], nil
}

func (w *world) Probe(_ context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	o := remedy.Observation{Result: remedy.NotExposed, Grade: remedy.P3, Place: "outside"}
	switch {
	case w.probeErr:
		o.Result = remedy.Inconclusive
	case verb == "works" && w.broken, verb != "works" && w.exposed:
		o.Result = remedy.Exposed
	}
	return o, nil
}

func (w *world) Notify(_ context.Context, n connector.Notice) error {
	w.notices = append(w.notices, n.Kind+" to "+strings.Join(n.To, ","))
	return nil
}

func (w *world) Open(_ context.Context, t connector.TicketRequest) (string, string, error) {
	w.tickets = append(w.tickets, "open "+t.Key)
	w.repeats = append(w.repeats, t.Repeat)
	return "T-1", "http://tickets/1", nil
}
func (w *world) Say(_ context.Context, _, _, text string) error {
	w.tickets = append(w.tickets, text)
	return nil
}
func (w *world) Reopen(context.Context, string) error {
	w.tickets = append(w.tickets, "reopen")
	return nil
}
func (w *world) Finish(context.Context, string) error {
	w.tickets = append(w.tickets, "finish")
	return nil
}
func (w *world) Status(context.Context, string) (string, bool, error) { return "open", false, nil }

func (w *world) Actor(string) (connector.Actor, bool) {
	if w.hideLook {
		return blind{w}, true
	}
	return w, true
}
func (w *world) Prober(string) (connector.Prober, bool)     { return w, true }
func (w *world) Notifier(string) (connector.Notifier, bool) { return w, true }
func (w *world) Tracker(string) (connector.Tracker, bool) {
	if w.tracker != nil {
		return w.tracker, true
	}
	return w, true
}

func (w *world) Check(_ context.Context, c remedy.Case, a remedy.Action, at time.Time) (remedy.Guard, []engine.Reservation, []string) {
	g := remedy.Guard{Deny: w.deny}
	if w.deny != "" {
		g.RetryAt = at.Add(time.Minute)
	}
	var rs []engine.Reservation
	if w.budget > 0 {
		rs = append(rs, engine.Reservation{Key: "rule/r", N: 1, Limit: w.budget, From: at.Truncate(time.Hour), At: at})
	}
	return g, rs, []string{"all"}
}
func (w *world) Paused(context.Context, []string) (string, error) { return w.paused, w.unread }
func (w *world) Entitled(_ context.Context, person string, _ remedy.Case, _ remedy.Action) (string, error) {
	return w.as[person], nil
}
func (w *world) Ticket(_ context.Context, c remedy.Case, t remedy.Ticket, f finding.Finding) connector.TicketRequest {
	return connector.TicketRequest{Title: c.Title}
}

func (w *world) Judge(f finding.Finding, c engine.CaseFacts, at time.Time) (remedy.Judgement, []byte) {
	spec := remedy.ActionSpec{Name: "first", Phase: remedy.Fix, Connector: "w", Verb: "first", Auth: w.auth, Reversibility: 1, Once: w.once,
		Undoable: true, Tries: 2, Interval: 10, Quorum: 1}
	if w.watch > 0 {
		spec.Watch, spec.WatchEvery = w.watch, 10
		spec.Continuity = remedy.ProbeSpec{Connector: "w", Verb: "works", Grade: remedy.P2}
	}
	second := spec
	second.Name, second.Verb = "second", "second"
	actions := []remedy.ActionSpec{spec, second}
	if w.contain {
		spec.Phase = remedy.Contain
		spec.Expires = 3600
		actions = []remedy.ActionSpec{spec}
	}
	if w.behind {
		spec.Phase = remedy.Contain
		actions = []remedy.ActionSpec{spec, second}
	}
	snapshot := []byte(fmt.Sprint(f.UID, at))
	from := at
	if !c.Opened.IsZero() {
		from = c.Opened
	}
	return remedy.Judgement{
		Decision: remedy.Decision{Class: deadline.K2, Rule: "r", Mode: remedy.ModeEnforce, Actions: actions, Grade: remedy.P2, Suppress: w.suppress,
			Probe: remedy.ProbeSpec{Connector: "w", Verb: "look", Grade: remedy.P3}, ProbeEvery: 900, Notify: []string{"chat"}, Ticket: true,
			Tickets: []remedy.TicketSpec{{System: "builtin"}}},
		Routing:  remedy.Routing{Owner: "olga", Approvers: []string{"anna"}, Backup: "ben", Manager: "mia", OpsLead: "oscar", Known: true},
		Clocks:   deadline.Clocks{Ack: from.Add(4 * time.Hour), Contain: from.Add(24 * time.Hour), Fix: from.Add(72 * time.Hour), WarnPercent: 75},
		Ladder:   []remedy.LadderStep{{After: 0, Who: "owner"}, {After: 3600, Who: "backup"}, {After: 7200, Who: "manager"}, {After: 10800, Who: "ops_lead"}},
		Versions: remedy.Versions{Policy: "p1", Authors: w.authors},
		Facts:    connector.Digest(string(snapshot)),
	}, snapshot
}

type backend interface {
	engine.Store
	engine.Effects
	DeadSummary(ctx context.Context, tenant string) (record.DeadSummary, error)
	DeadLetters(ctx context.Context, tenant, caseID string, n int) ([]record.DeadLetter, error)
	EffectsOf(ctx context.Context, caseID string, n int) ([]store.EffectStatus, error)
}

type harness struct {
	t   *testing.T
	w   *world
	s   backend
	e   *engine.Engine
	now time.Time
}

func start(t *testing.T, set func(*world)) *harness {
	w := &world{exposed: true, byKey: map[string]bool{}, auth: remedy.AuthEnforce, once: remedy.OnceKey, as: map[string]string{"anna": "approver", "ben": "backup"}}
	if set != nil {
		set(w)
	}
	h := &harness{t: t, w: w, s: newStore(t), now: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	seed := make([]byte, 1<<16)
	for i := range seed {
		seed[i] = byte(i*7 + i>>8)
	}
	h.e = engine.New(engine.Config{Store: h.s, Effects: h.s, Judge: func() engine.Judge { return w }, Guards: w, Doors: w, Principals: w,
		Tickets: w, BaseURL: "http://127.0.0.1", Rand: bytes.NewReader(seed), Failpoint: w.fail})
	return h
}

func alert(id string) finding.Finding {
	f, err := finding.Normalize(finding.Finding{Source: "test", NativeID: id, Title: "public bucket", Class: finding.StoragePublic,
		Severity: finding.SeverityHigh, Asset: finding.Asset{UID: "logs", Type: "bucket", Provider: "aws"},
		FirstSeen: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)})
	if err != nil {
		panic(err)
	}
	return f
}

func (h *harness) observe(fs ...finding.Finding) []engine.Placed {
	h.t.Helper()
	p, err := h.e.Observe(context.Background(), finding.DefaultTenant, fs, nil, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, x := range p {
		if x.Err != nil {
			h.t.Fatal(x.Err)
		}
	}
	return p
}

// settle runs everything that is due until nothing is, and survives a planned
// crash of the runner: its lease runs out, another takes over.
func (h *harness) settle() {
	h.t.Helper()
	for range 200 {
		n, crash := h.step()
		if crash {
			h.now = h.now.Add(2 * time.Minute)
			continue
		}
		if n == 0 {
			return
		}
	}
	h.t.Fatal("the engine does not come to rest")
}

func (h *harness) step() (n int, crash bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(crashed); !ok {
				panic(r)
			}
			crash = true
		}
	}()
	n, err := h.e.Step(context.Background(), h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return n, false
}

// until moves the clock from wake-up to wake-up.
func (h *harness) until(d time.Duration) {
	h.t.Helper()
	end := h.now.Add(d)
	for range 2000 {
		h.settle()
		next, err := h.s.NextDue(context.Background(), h.now)
		if err != nil {
			h.t.Fatal(err)
		}
		if next.IsZero() || next.After(end) {
			h.now = end
			return
		}
		if next.After(h.now) {
			h.now = next
		} else {
			h.now = h.now.Add(time.Second)
		}
	}
	h.t.Fatal("too many wake-ups")
}

func (h *harness) load(id string) remedy.Case {
	h.t.Helper()
	c, err := h.s.Load(context.Background(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *harness) acts() int {
	n := 0
	for _, l := range h.w.log {
		if strings.HasPrefix(l, "first") {
			n++
		}
	}
	return n
}

func TestEnforcedFixIsProvenRecheckedAndSettled(t *testing.T) {
	h := start(t, nil)
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	c := h.load(id)
	if c.Closed != remedy.ClosedProven || h.w.exposed {
		t.Fatalf("case is %s (%s), world exposed %v; bottleneck %v; escalated %q", c.State(), c.Closed, h.w.exposed, c.Bottleneck, c.Escalated)
	}
	if h.acts() != 1 || !strings.Contains(h.w.log[0], id) {
		t.Fatalf("target's log: %q", h.w.log)
	}
	h.until(8 * 24 * time.Hour)
	if c = h.load(id); !c.Settled {
		t.Fatalf("case is %s, recheck %d, next %v, effects %v", c.State(), c.Recheck, c.NextProbe, remedy.Pending(c))
	}
	if got := strings.Join(h.w.tickets, "; "); !strings.Contains(got, "Closed as proven") {
		t.Errorf("tickets: %s", got)
	}
}

func TestRepeatIsASightingAndStormIsOneCase(t *testing.T) {
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	fs := make([]finding.Finding, 500)
	for i := range fs {
		fs[i] = alert(fmt.Sprint(i % 5))
	}
	seen := map[string]bool{}
	kinds := map[string]int{}
	for _, p := range h.observe(fs...) {
		kinds[string(p.Placement)]++
		seen[p.CaseID] = true
	}
	if len(seen) != 1 || kinds["open"] != 1 || kinds["join"] != 4 || kinds["sighting"] != 495 {
		t.Fatalf("cases %d, placements %v", len(seen), kinds)
	}
	if p := h.observe(alert("1"))[0]; p.Placement != "sighting" {
		t.Fatalf("repeat in a later call is %s", p.Placement)
	}
	h.settle()
	n := 0
	for _, x := range h.w.notices {
		if strings.HasPrefix(x, "opened") {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("notices: %v", h.w.notices)
	}
}

func TestLiarStaysOpenAndNextActionWorks(t *testing.T) {
	h := start(t, func(w *world) { w.lies = true })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	if c := h.load(id); !c.Open() || c.State() != remedy.StateVerifying {
		t.Fatalf("after a lie the case is %s", c.State())
	}
	h.until(time.Minute)
	c := h.load(id)
	if c.Closed != remedy.ClosedProven || c.Actions[0].Status != remedy.ActionFailed || c.Actions[1].Status != remedy.ActionDone {
		t.Fatalf("case %s, actions %s, %s: %s", c.State(), c.Actions[0].Status, c.Actions[1].Status, c.Actions[0].Reason)
	}
}

func TestApprovalCoversExactlyWhatWasShown(t *testing.T) {
	h := start(t, func(w *world) { w.auth = remedy.AuthApprove })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	c := h.load(id)
	if c.State() != remedy.StateApproval || h.acts() != 0 {
		t.Fatalf("case is %s, acts %d", c.State(), h.acts())
	}
	ctx := context.Background()
	a := c.Actions[0]
	for who, want := range map[string]remedy.Code{"eve": remedy.Forbidden, "anna": remedy.Drifted} {
		if _, err := h.e.Approve(ctx, id, a.ID, "other", who, "", h.now); remedy.CodeOf(err) != want {
			t.Errorf("%s with a wrong hash: %v", who, err)
		}
	}
	if _, err := h.e.Approve(ctx, id, a.ID, a.Plan.Hash, "anna", "fine", h.now); err != nil {
		t.Fatal(err)
	}
	h.w.other = "changed by somebody" // drift between approval and act
	h.settle()
	c = h.load(id)
	if c.State() != remedy.StateApproval || h.acts() != 0 || c.Actions[0].Approval.Diff == "" {
		t.Fatalf("after drift: %s, acts %d, diff %q", c.State(), h.acts(), c.Actions[0].Approval.Diff)
	}
	if _, err := h.e.Approve(ctx, id, a.ID, c.Actions[0].Plan.Hash, "anna", "", h.now); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if c = h.load(id); c.Closed != remedy.ClosedProven || h.acts() != 1 {
		t.Fatalf("case is %s, acts %d", c.State(), h.acts())
	}
}

func TestApproverWhoLostTheRightDoesNotCount(t *testing.T) {
	h := start(t, func(w *world) { w.auth = remedy.AuthApprove })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	a := h.load(id).Actions[0]
	if _, err := h.e.Approve(context.Background(), id, a.ID, a.Plan.Hash, "anna", "", h.now); err != nil {
		t.Fatal(err)
	}
	h.w.as = nil
	h.settle()
	if c := h.load(id); c.State() != remedy.StateApproval || h.acts() != 0 {
		t.Fatalf("case is %s, acts %d", c.State(), h.acts())
	}
}

func TestForgedAlertIsNotReproduced(t *testing.T) {
	h := start(t, func(w *world) { w.exposed = false })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	c := h.load(id)
	if c.State() != remedy.StateHeld || h.acts() != 0 || !strings.Contains(c.Escalated, "not reproduced") {
		t.Fatalf("case is %s, acts %d, escalated %q", c.State(), h.acts(), c.Escalated)
	}
}

func TestContinuityRegressionUndoes(t *testing.T) {
	h := start(t, func(w *world) { w.watch = 60; w.broken = true })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	c := h.load(id)
	if a := c.Actions[0]; a.Status != remedy.ActionUndone || !strings.Contains(a.Reason, "continuity") {
		t.Fatalf("first action is %s: %s", a.Status, a.Reason)
	}
}

// The containment hides the risky state from the probe; the fix behind it is
// made all the same, and nothing is planned in circles.
func TestFixIsMadeBehindAContainment(t *testing.T) {
	h := start(t, func(w *world) { w.behind = true })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	c := h.load(id)
	if c.Closed != remedy.ClosedProven || len(h.w.log) != 2 || c.Actions[1].Status != remedy.ActionDone || c.Episode().ContainedAt.IsZero() {
		t.Fatalf("case is %s, log %q, contained at %s", c.State(), h.w.log, c.Episode().ContainedAt)
	}
}

func TestExpiringContainmentEndsByItself(t *testing.T) {
	h := start(t, func(w *world) { w.contain = true })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	if c := h.load(id); c.State() != remedy.StateContained || c.Episode().ContainedAt.IsZero() {
		t.Fatalf("case is %s", c.State())
	}
	h.until(2 * time.Hour)
	c := h.load(id)
	if c.Actions[0].Status != remedy.ActionUndone || !h.w.exposed || !c.Open() {
		t.Fatalf("action %s, world exposed %v, case %s", c.Actions[0].Status, h.w.exposed, c.State())
	}
	told := false
	for _, n := range h.w.notices {
		told = told || strings.HasPrefix(n, "expiring")
	}
	if !told {
		t.Errorf("people were not told before: %v", h.w.notices)
	}
}

func TestBudgetHoldsAndKillSwitchRefuses(t *testing.T) {
	h := start(t, func(w *world) { w.deny = "freeze until Monday" })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	if c := h.load(id); c.State() != remedy.StateHeld || h.acts() != 0 {
		t.Fatalf("case is %s", c.State())
	}
	h.w.deny, h.w.paused = "", "all"
	h.until(2 * time.Minute)
	if h.acts() != 0 {
		t.Fatal("acted though the kill switch was thrown between intent and act")
	}
	h.w.paused = ""
	h.until(time.Hour)
	if c := h.load(id); c.Closed != remedy.ClosedProven {
		t.Fatalf("case is %s: %s", c.State(), c.Actions[0].Reason)
	}
}

// TestCrashBetweenAnyTwoSteps kills the runner at every failpoint, with every
// promise of the connector, and expects one change and a proven close.
func TestCrashBetweenAnyTwoSteps(t *testing.T) {
	points := []string{"before commit", "after commit", "before intent", "after intent", "before act", "after act", "after outcome", "after probe", "after ticket"}
	for _, once := range []remedy.Once{remedy.OnceKey, remedy.OnceLookup, remedy.OnceNone} {
		for _, p := range points {
			t.Run(string(once)+"/"+p, func(t *testing.T) {
				h := start(t, func(w *world) { w.once = once })
				id := h.observe(alert("a"))[0].CaseID
				h.w.crash = p
				h.until(30 * time.Minute)
				c := h.load(id)
				if h.w.crash != "" {
					t.Fatal("the failpoint was never reached")
				}
				if c.Closed != remedy.ClosedProven {
					t.Fatalf("case is %s, action %s: %s", c.State(), c.Actions[0].Status, c.Actions[0].Reason)
				}
				changes := len(h.w.byKey)
				if changes != 1 {
					t.Errorf("%d changes at the target, keys %v, log %q", changes, h.w.byKey, h.w.log)
				}
				if once != remedy.OnceKey && h.acts() > 2 || once == remedy.OnceLookup && h.acts() != 1 {
					t.Errorf("raw arrivals: %d", h.acts())
				}
			})
		}
	}
}

func TestUnsureOutcomeIsLookedUp(t *testing.T) {
	h := start(t, func(w *world) { w.once = remedy.OnceLookup; w.actErr = errors.New("timeout after send") })
	id := h.observe(alert("a"))[0].CaseID
	h.until(10 * time.Minute)
	c := h.load(id)
	if c.Closed != remedy.ClosedProven || c.Actions[0].Looks == 0 {
		t.Fatalf("case is %s, looks %d, action %s %s", c.State(), c.Actions[0].Looks, c.Actions[0].Status, c.Actions[0].Reason)
	}
}

func TestInconclusiveProbeNeverCloses(t *testing.T) {
	h := start(t, nil)
	id := h.observe(alert("a"))[0].CaseID
	for range 3 { // plan, act
		h.step()
	}
	h.w.probeErr = true
	h.until(48 * time.Hour)
	if c := h.load(id); !c.Open() {
		t.Fatalf("closed as %s by inconclusive probes", c.Closed)
	}
	h.w.probeErr = false
	h.until(48 * time.Hour)
	if c := h.load(id); c.Closed != remedy.ClosedProven {
		t.Fatalf("case is %s: %s", c.State(), c.Actions[0].Reason)
	}
}

func TestLadderClimbs(t *testing.T) {
	h := start(t, func(w *world) { w.auth = remedy.AuthNone })
	h.observe(alert("a"))
	h.until(5 * 24 * time.Hour)
	all := strings.Join(h.w.notices, "\n")
	for _, want := range []string{"warning to olga", "breach to olga", "overdue to ben", "overdue to mia", "overdue to oscar"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
}

func newStore(t *testing.T) backend {
	s, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestKillSwitchStopsTheSecondTry: an act whose runner died is not made again
// while the kill switch is thrown, whatever the connector promises.
func TestKillSwitchStopsTheSecondTry(t *testing.T) {
	for _, once := range []remedy.Once{remedy.OnceKey, remedy.OnceNone} {
		h := start(t, func(w *world) { w.once, w.crash = once, "before act" })
		id := h.observe(alert("a"))[0].CaseID
		for crash := false; !crash; {
			_, crash = h.step()
		}
		h.w.paused = "all"
		h.until(30 * time.Minute)
		if c := h.load(id); h.acts() != 0 || c.Actions[0].Status != remedy.ActionIntended {
			t.Fatalf("%s: %d acts under the kill switch, action is %s", once, h.acts(), c.Actions[0].Status)
		}
		h.w.paused = ""
		h.until(30 * time.Minute)
		if c := h.load(id); h.acts() != 1 || c.Closed != remedy.ClosedProven {
			t.Errorf("%s: %d acts, case is %s", once, h.acts(), c.State())
		}
	}
}

// TestKillSwitchIsReadWithTheRepeat: thrown after a runner looked and before the
// one repeat of its act is intended, the kill switch stops the repeat.
func TestKillSwitchIsReadWithTheRepeat(t *testing.T) {
	h := start(t, func(w *world) { w.once, w.crash = remedy.OnceNone, "before act" })
	h.observe(alert("a"))
	for crash := false; !crash; {
		_, crash = h.step()
	}
	h.now = h.now.Add(2 * time.Minute)
	h.e.Failpoint = func(name string) {
		if name != "before commit" {
			return
		}
		p := store.Pause{Scope: "all", By: remedy.Actor{Kind: remedy.Person, ID: "olga"}, At: h.now}
		if err := h.s.(*store.SQLite).SetPause(context.Background(), p); err != nil {
			t.Error(err)
		}
	}
	h.step()
	if h.acts() != 0 {
		t.Errorf("%d acts under the kill switch", h.acts())
	}
}

// TestKillSwitchIsReadBeforeTheChange: a change that waited (a rate limit, a
// repeat) does not go out when the switch was thrown meanwhile, and does once it
// is released.
func TestKillSwitchIsReadBeforeTheChange(t *testing.T) {
	for _, once := range []remedy.Once{remedy.OnceKey, remedy.OnceLookup, remedy.OnceNone} {
		h := start(t, func(w *world) { w.once, w.contain = once, true })
		h.w.wait = func() { h.w.paused = "all" }
		id := h.observe(alert("a"))[0].CaseID
		h.settle()
		if h.acts() != 0 {
			t.Fatalf("%s: %d acts under the kill switch", once, h.acts())
		}
		h.w.wait, h.w.paused = nil, ""
		h.until(30 * time.Minute)
		if c := h.load(id); h.acts() != 1 || c.Actions[0].Repeats != 0 {
			t.Fatalf("%s: after the release %d acts, %d repeats, the case is %s", once, h.acts(), c.Actions[0].Repeats, c.State())
		}
		h.w.wait = func() { h.w.paused = "all" }
		if _, err := h.e.Tell(context.Background(), id, remedy.Command{At: h.now, By: remedy.Actor{Kind: remedy.Person, ID: "olga"},
			Do: remedy.UndoAction{Action: "e1.1", Reason: "wrong"}}); err != nil {
			t.Fatal(err)
		}
		h.settle()
		if slices.ContainsFunc(h.w.log, func(x string) bool { return strings.HasPrefix(x, "undo ") }) {
			t.Fatalf("%s: undone under the kill switch: %v", once, h.w.log)
		}
		h.w.wait, h.w.paused = nil, ""
		h.until(30 * time.Minute)
		if !slices.ContainsFunc(h.w.log, func(x string) bool { return strings.HasPrefix(x, "undo ") }) {
			t.Errorf("%s: not undone after the release", once)
		}
	}
}

// TestUnreadKillSwitchHoldsBackForAMoment: a switch that can't be read stops the
// change under that name, and no longer than the fault lasts.
func TestUnreadKillSwitchHoldsBackForAMoment(t *testing.T) {
	for _, once := range []remedy.Once{remedy.OnceKey, remedy.OnceLookup, remedy.OnceNone} {
		for _, late := range []bool{false, true} { // read by the engine, and by the layer before the connector
			h := start(t, func(w *world) { w.once, w.contain = once, true })
			cut := errors.New("connection was cut")
			if late {
				h.w.wait = func() { h.w.unread = cut }
			} else {
				h.w.unread = cut
			}
			id := h.observe(alert("a"))[0].CaseID
			h.settle()
			if why := h.load(id).Actions[0].Reason; h.acts() != 0 || !strings.Contains(why, "the kill switch can't be read") {
				t.Fatalf("%s: %d acts while the switch can't be read, reason %q", once, h.acts(), why)
			}
			h.w.wait, h.w.unread = nil, nil
			h.until(10 * time.Second)
			if h.acts() != 1 {
				t.Errorf("%s: %d acts ten seconds after the fault", once, h.acts())
			}
		}
	}
}

// TestDoubtLooksBeforeItActs: after a restore the outcome of what was begun is
// not known. Where the target can't be asked, the probe looks first.
func TestDoubtLooksBeforeItActs(t *testing.T) {
	for _, happened := range []bool{true, false} {
		h := start(t, func(w *world) { w.crash = "before act" })
		h.w.hideLook = true
		id := h.observe(alert("a"))[0].CaseID
		for crash := false; !crash; {
			_, crash = h.step()
		}
		h.w.exposed = !happened // the original went on, or not
		n, err := h.e.Doubt(context.Background(), id, "restored", h.now)
		if c := h.load(id); err != nil || n != 1 || c.State() != remedy.StateUnsure {
			t.Fatalf("%d in doubt, %v, case is %s", n, err, c.State())
		}
		h.until(30 * time.Minute)
		if c := h.load(id); c.Closed != remedy.ClosedProven || h.acts() != map[bool]int{true: 0, false: 1}[happened] {
			t.Errorf("happened %v: %d acts, case is %s (%s)", happened, h.acts(), c.State(), c.Escalated)
		}
	}
}

// TestDoubtOfAnUndo: an undo that may have happened is left to a person.
func TestDoubtOfAnUndo(t *testing.T) {
	h := start(t, func(w *world) { w.contain = true; w.crash = "after undo intent" })
	id := h.observe(alert("a"))[0].CaseID
	h.settle()
	if _, err := h.e.Tell(context.Background(), id, remedy.Command{At: h.now, By: remedy.Actor{Kind: remedy.Person, ID: "olga"},
		Do: remedy.UndoAction{Action: "e1.1", Reason: "wrong"}}); err != nil {
		t.Fatal(err)
	}
	for crash := false; !crash; {
		_, crash = h.step()
	}
	if n, err := h.e.Doubt(context.Background(), id, "restored", h.now); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	h.settle()
	c := h.load(id)
	if c.Actions[0].Status != remedy.ActionUnundone || !strings.Contains(c.Escalated, "restored") || strings.Contains(strings.Join(h.w.log, " "), "undo") {
		t.Errorf("%s %q, log %q", c.Actions[0].Status, c.Escalated, h.w.log)
	}
}
