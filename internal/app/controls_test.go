package app_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/all"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// Every action that changes a real server, under the whole engine: store,
// policy, guards and connector are those of the product, only time is moved by
// the test.

// control is one action and the server it is proven on.
type control struct {
	name, verb string
	// on is the server.
	on, probe, grade string
	// watched: it has a continuity probe. final: it has no way back.
	watched, final bool
	// start starts the server and returns what makes a fresh risky object.
	start func(testing.TB) func(testing.TB) connectortest.Bench
}

// title names the action in tests.
func (c control) title() string { return c.name + "/" + c.verb + " on " + c.on }

func controls() []control {
	return []control{
		{name: "s3", verb: "remove-public-access", on: "MinIO", probe: "anonymous-get", grade: "P3", watched: true, start: func(t testing.TB) func(testing.TB) connectortest.Bench {
			s := targets.StartMinIO(t)
			return func(t testing.TB) connectortest.Bench { return s.Bucket(t) }
		}},
		{name: "s3", verb: "remove-public-access", on: "versitygw", probe: "anonymous-get", grade: "P3", watched: true,
			start: alone(func(t testing.TB) connectortest.Bench { return targets.StartGateway(t) })},
		{name: "s3", verb: "block-public-access", on: "Ceph", probe: "anonymous-get", grade: "P3", watched: true, start: func(t testing.TB) func(testing.TB) connectortest.Bench {
			s := targets.StartCeph(t)
			return func(t testing.TB) connectortest.Bench { return s.Bucket(t) }
		}},
		{name: "minio", verb: "disable-key", on: "MinIO", probe: "bogus-secret", grade: "P2", watched: true, start: func(t testing.TB) func(testing.TB) connectortest.Bench {
			s := targets.StartMinIO(t)
			return func(t testing.TB) connectortest.Bench { return s.Bench(t) }
		}},
		{name: "oauth", verb: "reduce-scope", on: "node-oidc-provider", probe: "introspect", grade: "P2", watched: true, start: startProvider},
		{name: "oauth", verb: "revoke", on: "node-oidc-provider", probe: "introspect", grade: "P2", final: true, start: startProvider},
		{name: "postgres", verb: "revoke-login", on: "PostgreSQL", probe: "login", grade: "P3", watched: true, start: func(t testing.TB) func(testing.TB) connectortest.Bench {
			s := targets.StartPostgreSQL(t)
			return func(t testing.TB) connectortest.Bench { return s.Bench(t) }
		}},
		{name: "nftables", verb: "block-host", on: "nftables", probe: "packets", grade: "P3", watched: true,
			start: alone(func(t testing.TB) connectortest.Bench { return targets.StartNet(t) })},
		{name: "kubernetes", verb: "remove-subject", on: "kube-apiserver", probe: "access", grade: "P3", watched: true, start: startKubernetes},
		{name: "kubernetes", verb: "quarantine", on: "kube-apiserver", probe: "isolated", grade: "P1", start: startKubernetes},
		{name: "webhook", verb: "call", on: "a receiver in its own process", probe: "state", grade: "P2", start: func(t testing.TB) func(testing.TB) connectortest.Bench {
			r := targets.StartReceiver(t)
			return func(t testing.TB) connectortest.Bench { return r.Bench(t) }
		}},
	}
}

// alone is for a server that is made anew for each object.
func alone(fresh func(testing.TB) connectortest.Bench) func(testing.TB) func(testing.TB) connectortest.Bench {
	return func(testing.TB) func(testing.TB) connectortest.Bench { return fresh }
}

func startProvider(t testing.TB) func(testing.TB) connectortest.Bench {
	p := targets.StartProvider(t)
	return func(t testing.TB) connectortest.Bench { return p.Integration(t, true) }
}

func startKubernetes(t testing.TB) func(testing.TB) connectortest.Bench {
	k := targets.StartKubernetes(t)
	return func(t testing.TB) connectortest.Bench { return k.Bench(t) }
}

// desk is an app that is driven by hand.
type desk struct {
	testing.TB
	app   *app.App
	bench connectortest.Bench
	now   time.Time
	id    string
	// at is called at every failpoint.
	at func(string)
}

// death is the panic of a test that kills the runner.
type death struct{}

const deskPolicy = `kind: playbooks
playbooks:
  - name: control
    description: Under test.
    probe: %[1]s/%[3]s
    grade: %[4]s
    fix:
      - {name: change, do: %[1]s/%[2]s, auth: %[5]s, settle: 0s, tries: 3, interval: 10s%[6]s, approve_within: 4h, unknown_modifier_ok: true}
---
kind: rules
mode: enforce
rules:
  - {name: control, when: "true", class: K3, playbook: control, why: Under test.%[7]s}
---
kind: routes
routes: [{name: all}]
`

// open starts a desk over a fresh object; wrap may replace the connector.
func (c control) open(t testing.TB, b connectortest.Bench, auth string, wrap func(*connector.Door) connector.Connector) *desk {
	t.Helper()
	d := &desk{TB: t, bench: b, now: time.Now().UTC(), at: func(string) {}}
	if x, ok := b.(interface{ SetClock(func() time.Time) }); ok {
		x.SetClock(func() time.Time { return d.now })
	}
	door := connector.Stack(b.Connector(), connector.Options{Attempts: 1, Timeout: 20 * time.Second})
	var conn connector.Connector = door
	if wrap != nil {
		conn = wrap(door)
	}
	watch, opt := "", ""
	if c.final {
		opt = ", opt_in: [change]"
	}
	if c.watched && auth == "enforce" {
		watch = ", watch: 1m, watch_every: 20s"
	}
	a, err := app.New(context.Background(), app.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Authors: []string{"paula"},
		Connectors: map[string]connector.Connector{c.name: conn}, Failpoint: func(at string) { d.at(at) },
		Policy: []policy.File{{Name: "control.yaml", Data: fmt.Appendf(nil, deskPolicy, c.name, c.verb, c.probe, c.grade, auth, watch, opt)}},
		Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(killOwners)}}})
	if err != nil {
		t.Fatal(err)
	}
	d.app = a
	t.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// alert tells of the exposure and returns when the case is there.
func (d *desk) alert(c control) { d.Helper(); d.tell(c, finding.StatusOpen) }

func (d *desk) tell(c control, status finding.Status) {
	d.Helper()
	r := d.bench.Request(c.verb)
	asset := r.Asset
	asset.Environment, asset.CustomerFacing, asset.Tags = "staging", finding.No, map[string]string{"owner": "olga"}
	f, err := finding.Normalize(finding.Finding{Source: "test", NativeID: "1", Status: status, Title: "exposed: " + asset.UID, Class: "workload.privileged",
		Severity: finding.SeverityHigh, Confidence: 90, Asset: asset, Params: r.Params, FirstSeen: d.now, Exposure: finding.Exposure{Blast: 1}})
	if err != nil {
		d.Fatal(err)
	}
	placed, err := d.app.Engine.Observe(context.Background(), finding.DefaultTenant, []finding.Finding{f}, nil, d.now)
	if err != nil || placed[0].Err != nil {
		d.Fatal(err, placed)
	}
	d.id = placed[0].CaseID
}

func (d *desk) load() remedy.Case {
	d.Helper()
	c, err := d.app.Store.Load(context.Background(), d.id)
	if err != nil {
		d.Fatal(err)
	}
	return c
}

func (d *desk) action() remedy.Action {
	d.Helper()
	c := d.load()
	if len(c.Actions) == 0 {
		d.Fatalf("the case has no action: %s, %v", c.State(), c.Bottleneck)
	}
	return c.Actions[0]
}

// step does what is due; a death takes the runner with it, and two minutes
// later, when its lease is over, another one comes.
func (d *desk) step() (n int) {
	d.Helper()
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(death); !ok {
				panic(r)
			}
			d.now, n = d.now.Add(2*time.Minute), 1
		}
	}()
	n, err := d.app.Engine.Step(context.Background(), d.now)
	if err != nil {
		d.Fatal(err)
	}
	return n
}

// until moves time from wake-up to wake-up, until done or for span.
func (d *desk) until(span time.Duration, done func(remedy.Case) bool) {
	d.Helper()
	end := d.now.Add(span)
	for range 5000 {
		for n := 1; n > 0; n = d.step() {
			if done(d.load()) {
				return
			}
		}
		next, err := d.app.Store.NextDue(context.Background(), d.now)
		if err != nil {
			d.Fatal(err)
		}
		if next.IsZero() || next.After(end) {
			d.now = end
			return
		}
		if !next.After(d.now) {
			next = d.now.Add(time.Second)
		}
		d.now = next
	}
	d.Fatal("too many wake-ups")
}

func closed(c remedy.Case) bool { return !c.Open() }
func never(remedy.Case) bool    { return false }

func (d *desk) proven() {
	d.Helper()
	d.until(2*time.Hour, closed)
	if c := d.load(); c.Closed != remedy.ClosedProven {
		d.Fatalf("the case is %s (%s), its action %s (%s); probe %+v; escalated %q", c.State(), c.Closed, d.action().Status, d.action().Reason, c.LastProbe, c.Escalated)
	}
}

func TestControls(t *testing.T) {
	for _, c := range controls() {
		t.Run(c.title(), func(t *testing.T) {
			fresh := c.start(t)
			t.Run("a dry run changes nothing", func(t *testing.T) { testControlDryRun(t, c, fresh(t)) })
			t.Run("closes proven and undo restores", func(t *testing.T) { testControlCloses(t, c, fresh(t)) })
			t.Run("a probe that can't tell keeps it open", func(t *testing.T) { testControlUnprobed(t, c, fresh(t)) })
			t.Run("a target that lies keeps it open", func(t *testing.T) { testControlLies(t, c, fresh(t)) })
			t.Run("death between act and record changes once", func(t *testing.T) { testControlDeath(t, c, fresh(t)) })
			if !c.final {
				t.Run("undo refuses what somebody changed", func(t *testing.T) { testControlDrift(t, c, fresh(t)) })
			}
		})
	}
}

// TestEveryActionIsTried: what is on the hand-written list of connectors is in
// the table of TestControls, as its Spec describes it, and the table of
// docs/controls.md has a row for it.
func TestEveryActionIsTried(t *testing.T) {
	doc, err := os.ReadFile(controlsDoc)
	if err != nil {
		t.Fatal(err)
	}
	tried := map[string]control{}
	for _, c := range controls() {
		name := c.name + "/" + c.verb
		tried[name] = c
		_, row, _ := strings.Cut(string(doc), "\n| `"+name+"` |")
		if row, _, _ = strings.Cut(row, "\n"); !strings.Contains(row, strings.TrimPrefix(strings.TrimPrefix(c.on, "the "), "a ")) {
			t.Errorf("the row of %s in docs/controls.md does not name %s", name, c.on)
		}
	}
	for _, k := range all.Kinds() {
		spec := k.Spec(k.Name)
		for _, a := range spec.Actions {
			name := k.Name + "/" + a.Verb
			c, ok := tried[name]
			delete(tried, name)
			switch i := slices.IndexFunc(spec.Probes, func(p connector.ProbeSpec) bool { return p.Verb == c.probe }); {
			case !ok:
				t.Errorf("%s is registered and not in the table of TestControls", name)
			case c.probe != a.Probe || i < 0 || c.grade != spec.Probes[i].Grade.String() || c.watched != (a.Continuity != "") || c.final == a.Undoable:
				t.Errorf("%s is tried as %+v, and its Spec says probe %s, continuity %q, undoable %v", name, c, a.Probe, a.Continuity, a.Undoable)
			}
			if !strings.Contains(string(doc), "\n| `"+name+"` |") {
				t.Errorf("docs/controls.md has no row for %s", name)
			}
		}
	}
	for name := range tried {
		t.Errorf("%s is tried and not registered", name)
	}
}

// A dry run goes all the way to the act, under a policy that enforces, and the
// target is as it was: its state, and its own count of changes.
func testControlDryRun(t *testing.T, c control, b connectortest.Bench) {
	before := b.State()
	d := c.open(t, b, "enforce", func(*connector.Door) connector.Connector {
		return connector.Stack(b.Connector(), connector.Options{Attempts: 1, Timeout: 20 * time.Second, DryRun: true})
	})
	d.alert(c)
	d.until(2*time.Hour, closed)
	x, a := d.load(), d.action()
	if !x.Open() || a.Before.Result != remedy.Exposed || a.Plan.Hash == "" || !strings.Contains(a.Reason, "dry run: nothing was changed. Planned: "+a.Plan.Text) {
		t.Errorf("the case is %s (%s), its action %s (%s), the probe before it %+v", x.State(), x.Closed, a.Status, a.Reason, a.Before)
	}
	if after := b.State(); after != before || b.Changes() != 0 {
		t.Errorf("the dry run made %d changes, from\n%s\nto\n%s", b.Changes(), before, after)
	}
}

func (d *desk) undo() {
	d.Helper()
	if err := d.tryUndo(); err != nil {
		d.Fatal(err)
	}
	d.until(time.Minute, func(remedy.Case) bool { return d.action().Status != remedy.ActionUndoing })
}

func (d *desk) tryUndo() error {
	d.Helper()
	_, err := d.app.Engine.Tell(context.Background(), d.id, remedy.Command{At: d.now, By: remedy.Actor{Kind: remedy.Person, ID: "anna"},
		Do: remedy.UndoAction{Action: d.action().ID, Reason: "asked for"}})
	return err
}

func testControlCloses(t *testing.T, c control, b connectortest.Bench) {
	before := b.State()
	d := c.open(t, b, "enforce", nil)
	d.alert(c)
	d.proven()
	if a := d.action(); a.Before.Result != remedy.Exposed || a.After.Result != remedy.NotExposed || a.After.Grade.String() != c.grade || c.watched && a.Works.Result != remedy.NotExposed {
		t.Errorf("before %+v\nafter %+v\ncontinuity %+v", a.Before, a.After, a.Works)
	}
	if log := b.Log(); !strings.Contains(log, d.id) {
		t.Errorf("the target's own log does not lead to case %s:\n%s", d.id, log)
	}
	if c.final {
		state := b.State()
		if err := d.tryUndo(); err == nil || !strings.Contains(err.Error(), "no way back") || b.State() != state {
			t.Errorf("undo of what has no way back: %v; state %s, then %s", err, state, b.State())
		}
		return
	}
	d.undo()
	if a := d.action(); a.Status != remedy.ActionUndone {
		t.Errorf("after the undo the action is %s: %s", a.Status, a.Reason)
	}
	if after := b.State(); after != before {
		t.Errorf("undo left\n%s\nwant\n%s", after, before)
	}
	d.until(time.Minute, never)
	if x := d.load(); !x.Open() || x.LastProbe.Result != remedy.Exposed {
		t.Errorf("after the undo the case is %s, its probe says %+v", x.State(), x.LastProbe)
	}
}

func testControlUnprobed(t *testing.T, c control, b connectortest.Bench) {
	d := c.open(t, b, "enforce", nil)
	acted := false
	d.at = func(at string) {
		if at == "after act" && !acted {
			acted = true
			b.Fault(connectortest.Down)
		}
	}
	d.alert(c)
	d.until(2*time.Hour, closed)
	if x := d.load(); !acted || !x.Open() {
		t.Fatalf("acted %v; without a probe that can tell the case is %s (%s), probe %+v", acted, x.State(), x.Closed, x.LastProbe)
	}
	b.Fault(connectortest.None)
	d.until(48*time.Hour, closed)
	if x := d.load(); x.Closed != remedy.ClosedProven {
		t.Errorf("when the probe can tell again the case is %s: %+v", x.State(), x.LastProbe)
	}
}

// liar says done and does nothing.
type liar struct{ *connector.Door }

func (l liar) Act(context.Context, string, connector.Request) (connector.Outcome, error) {
	return connector.Outcome{UndoHandle: "none", Detail: "done"}, nil
}

func testControlLies(t *testing.T, c control, b connectortest.Bench) {
	d := c.open(t, b, "enforce", func(x *connector.Door) connector.Connector { return liar{x} })
	d.alert(c)
	d.until(2*time.Hour, closed)
	x, a := d.load(), d.action()
	if !x.Open() || a.Status != remedy.ActionFailed || x.LastProbe.Result != remedy.Exposed || !strings.Contains(a.Reason, "still") {
		t.Errorf("the case is %s, the action %s (%s), the probe says %+v", x.State(), a.Status, a.Reason, x.LastProbe)
	}
}

func testControlDeath(t *testing.T, c control, b connectortest.Bench) {
	d := c.open(t, b, "enforce", nil)
	deaths, changes := 0, 0
	d.at = func(at string) {
		if at == "after act" && deaths == 0 {
			deaths++
			changes = b.Changes()
			panic(death{})
		}
	}
	d.alert(c)
	d.proven()
	if deaths != 1 || changes == 0 || b.Changes() != changes {
		t.Errorf("%d deaths; %d changes when the runner died, %d in the end", deaths, changes, b.Changes())
	}
	if a := d.action(); a.UndoHandle == "" && !c.final {
		t.Error("the way back was lost with the runner")
	}
}

func testControlDrift(t *testing.T, c control, b connectortest.Bench) {
	d := c.open(t, b, "enforce", nil)
	d.alert(c)
	d.proven()
	b.Drift()
	state := b.State()
	d.undo()
	a := d.action()
	if a.Status != remedy.ActionUnundone || !strings.Contains(a.Reason, "somebody else") || !strings.Contains(d.load().Escalated, "could not be undone") {
		t.Errorf("undo of what somebody changed: %s (%s), escalated %q", a.Status, a.Reason, d.load().Escalated)
	}
	if b.State() != state {
		t.Errorf("the object was changed\nfrom %s\nto   %s", state, b.State())
	}
}
