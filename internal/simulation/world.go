package simulation

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// actFault is what a target does to one act.
type actFault int

// The faults of an act.
const (
	actOK      actFault = iota
	actRefused          // no, and it will be no again
	actBusy             // not now: nothing was changed
	actCut              // no answer, nothing was changed
	actLost             // done, and the answer lost
	actLie              // "done", and nothing was changed
	actLate             // no answer, and it is done some seconds later
	actFaults           // their number
)

// probeMode is what a target's probe does.
type probeMode int

// The modes of a probe.
const (
	probeOK       probeMode = iota
	probeBlind              // inconclusive
	probeError              // fails
	probeNearby             // looks from another place
	probeWeak               // of a lower grade than demanded
	probeNonsense           // a result nobody knows
	probeModes              // their number
)

// target is one object with one risky state in an outside system.
type target struct {
	i         int
	asset     string
	class     finding.Class
	connector string // "key", "lookup" or "none": what it promises
	blind     bool   // it can't be asked what became of a key
	exposed   bool   // the risky state
	contained bool   // a compensating control hides it
	broken    bool   // the change broke something
	gone      bool
	rev       int // grows with every change by anybody
	modifier  string
	acts      []actFault
	probe     probeMode
	undos     []actFault
	keys      map[string]bool // the once-keys it took
	late      []lateAct
	// calls by kind, for the laws.
	arrived  map[string]int // acts by once-key
	accepted map[string]int
}

// lateAct is a request still on its way.
type lateAct struct {
	at   time.Time
	verb string
	r    connector.Request
}

// answer is one observation a probe gave.
type answer struct {
	target int
	tick   int
	verb   string
	o      remedy.Observation
}

// world is all outside systems and people.
type world struct {
	s       *sim
	targets []*target
	answers []answer
	people  map[string]*person
	rules   rules
	notices map[string]int
	said    map[string]int
	// deaf: messages and tickets fail.
	deaf bool
}

// verbs of the playbook.
const (
	verbBlock = "block" // the containment
	verbClose = "close" // the fix
	verbForce = "force" // the second fix
	verbLook  = "look"
	verbWorks = "works"
)

func newWorld(s *sim) *world {
	w := &world{s: s, notices: map[string]int{}, said: map[string]int{}}
	promises := []string{"key", "lookup", "none", "key"}
	for i, p := range promises {
		w.targets = append(w.targets, &target{i: i, asset: "bucket-" + strconv.Itoa(i), class: finding.StoragePublic, connector: p, exposed: true,
			blind: i == 3, modifier: "mallory", keys: map[string]bool{}, arrived: map[string]int{}, accepted: map[string]int{}})
	}
	w.people, w.rules = newPeople(), newRules(s)
	return w
}

func (w *world) of(asset finding.Asset) *target {
	for _, t := range w.targets {
		if t.asset == asset.UID {
			return t
		}
	}
	panic("a call for an asset that does not exist: " + asset.UID)
}

func (t *target) digest() string {
	return connector.Digest(t.asset, fmt.Sprint(t.exposed, t.contained, t.rev))
}

// touch is a change by somebody else.
func (t *target) touch(who string) {
	t.rev++
	t.modifier = who
}

// Plan implements connector.Planner.
func (w *world) Plan(_ context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	w.s.pause("plan")
	t := w.of(r.Asset)
	if t.gone {
		return remedy.Plan{}, connector.Errorf(connector.KindRefused, "it does not exist")
	}
	if t.probe == probeError {
		return remedy.Plan{}, connector.Errorf(connector.KindRetry, "the target does not answer")
	}
	return remedy.Plan{Text: fmt.Sprintf("%s %s at revision %d", verb, t.asset, t.rev), Data: verb, BeforeDigest: t.digest(), LastModifier: t.modifier}, nil
}

// Act implements connector.Actor.
func (w *world) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	t := w.of(r.Asset)
	w.s.pause("act")
	if ctx.Err() != nil { // the runner was told that its lease is lost
		return connector.Outcome{}, connector.Errorf(connector.KindRetry, "not sent: %w", context.Cause(ctx))
	}
	fault := actOK
	if len(t.acts) > 0 {
		fault, t.acts = t.acts[0], t.acts[1:]
		w.s.counts["act faults"]++
	}
	if fault == actLate {
		t.late = append(t.late, lateAct{w.s.now.Add(time.Duration(1+w.s.r.IntN(29)) * time.Second), verb, r})
		w.s.say("act %s of %s is on its way and not answered", verb, t.asset)
		w.s.audit.actArrives(t, verb, r)
		w.s.pause("acted")
		return connector.Outcome{}, fmt.Errorf("timeout")
	}
	o, err := w.take(t, verb, r, fault)
	w.s.pause("acted")
	return o, err
}

// take is an act arriving at its target.
func (w *world) take(t *target, verb string, r connector.Request, fault actFault) (connector.Outcome, error) {
	w.s.say("act %s of %s arrives, key %s, fault %d", verb, t.asset, r.Key, fault)
	w.s.counts["acts"]++
	w.s.audit.actArrives(t, verb, r)
	t.arrived[r.Key]++
	switch fault {
	case actRefused:
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "not allowed")
	case actBusy:
		return connector.Outcome{}, connector.Errorf(connector.KindRetry, "busy")
	case actCut:
		return connector.Outcome{}, fmt.Errorf("connection reset")
	case actLie:
		t.accepted[r.Key]++
		return connector.Outcome{UndoHandle: "h", Ref: "lie"}, nil
	}
	o, err := w.change(t, verb, r)
	if fault == actLost {
		return connector.Outcome{}, fmt.Errorf("connection reset after the request was sent")
	}
	return o, err
}

// change makes the change if the state is still the one the plan starts from.
func (w *world) change(t *target, verb string, r connector.Request) (connector.Outcome, error) {
	if t.connector != "none" && t.keys[r.Key] {
		t.accepted[r.Key]++
		return connector.Outcome{UndoHandle: "h", Nothing: true}, nil
	}
	if t.gone || t.digest() != r.Plan.BeforeDigest {
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the live state is not the one the plan starts from")
	}
	t.keys[r.Key] = true
	t.accepted[r.Key]++
	w.s.audit.changed(t, verb, r)
	switch verb {
	case verbBlock:
		t.contained = true
	default:
		t.exposed = false
	}
	t.touch("casement")
	w.s.counts["changes"]++
	return connector.Outcome{UndoHandle: "h", Ref: "r" + strconv.Itoa(t.rev)}, nil
}

// arrive lets what was on its way arrive.
func (w *world) arrive() {
	for _, t := range w.targets {
		var later []lateAct
		for _, l := range t.late {
			if l.at.After(w.s.now) {
				later = append(later, l)
				continue
			}
			t.arrived[l.r.Key]++
			_, err := w.change(t, l.verb, l.r)
			w.s.say("late act %s of %s: %s", l.verb, t.asset, short(err))
		}
		t.late = later
	}
}

// Undo implements connector.Actor.
func (w *world) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	t := w.of(r.Asset)
	w.s.pause("undo")
	if ctx.Err() != nil {
		return connector.Outcome{}, connector.Errorf(connector.KindRetry, "not sent: %w", context.Cause(ctx))
	}
	w.s.say("undo %s of %s arrives, key %s", verb, t.asset, r.Key)
	w.s.counts["undos"]++
	w.s.audit.undoArrives(t, verb, r)
	fault := actOK
	if len(t.undos) > 0 {
		fault, t.undos = t.undos[0], t.undos[1:]
	}
	switch {
	case fault == actRefused || t.gone:
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "somebody changed it meanwhile")
	case fault == actBusy || fault == actCut:
		return connector.Outcome{}, connector.Errorf(connector.KindRetry, "busy")
	}
	if verb == verbBlock {
		t.contained = false
	} else {
		t.exposed = true
	}
	t.broken = false
	t.touch("casement")
	w.s.pause("undone")
	if fault == actLost {
		return connector.Outcome{}, fmt.Errorf("connection reset after the request was sent")
	}
	return connector.Outcome{}, nil
}

// looker is a target that can be asked what became of a key.
type looker struct{ *world }

// Look implements connector.Looker.
func (l looker) Look(_ context.Context, _ string, r connector.Request) (connector.Outcome, bool, error) {
	l.s.pause("look")
	t := l.of(r.Asset)
	if t.probe == probeError {
		return connector.Outcome{}, false, fmt.Errorf("the target does not answer")
	}
	l.s.say("look for %s: %v", r.Key, t.keys[r.Key])
	return connector.Outcome{UndoHandle: "h"}, t.keys[r.Key], nil
}

// Probe implements connector.Prober.
func (w *world) Probe(_ context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	w.s.pause("probe")
	t := w.of(r.Asset)
	o := remedy.Observation{Result: remedy.NotExposed, Grade: remedy.P3, Place: "outside", Detail: "looked at revision " + strconv.Itoa(t.rev)}
	if bad := t.broken; verb == verbWorks && bad || verb == verbLook && t.exposed && !t.contained {
		o.Result = remedy.Exposed
	}
	if t.gone {
		o.Result = remedy.Gone
	}
	switch t.probe {
	case probeBlind:
		o.Result = remedy.Inconclusive
	case probeError:
		return o, connector.Errorf(connector.KindConfig, "the credential of the probe was revoked")
	case probeNearby:
		o.Place = "inside"
	case probeWeak:
		o.Grade = remedy.P1
	case probeNonsense:
		o.Result = "perhaps"
	}
	w.answers = append(w.answers, answer{t.i, w.s.tick, verb, o})
	w.s.say("probe %s of %s: %s %s from %s", verb, t.asset, o.Result, o.Grade, o.Place)
	w.s.pause("probed")
	return o, nil
}

// Notify implements connector.Notifier.
func (w *world) Notify(_ context.Context, n connector.Notice) error {
	w.s.pause("notify")
	if w.deaf {
		return connector.Errorf(connector.KindRetry, "no route")
	}
	w.notices[n.Key]++
	return nil
}

// Open implements connector.Tracker.
func (w *world) Open(_ context.Context, t connector.TicketRequest) (string, string, error) {
	w.s.pause("ticket")
	if w.deaf {
		return "", "", connector.Errorf(connector.KindRetry, "no tracker")
	}
	w.said[t.Key]++
	return "T-" + t.Key, "http://tickets/" + t.Key, nil
}

// Say implements connector.Tracker.
func (w *world) Say(_ context.Context, ref, key, _ string) error {
	w.s.pause("say")
	if w.deaf {
		return connector.Errorf(connector.KindRetry, "no tracker")
	}
	w.said[ref+key]++
	return nil
}

// Reopen implements connector.Reopener.
func (w *world) Reopen(context.Context, string) error { return nil }

// Status implements connector.Tracker.
func (w *world) Status(context.Context, string) (string, bool, error) { return "open", false, nil }

// Actor implements engine.Doors: only targets that can be asked offer a look.
func (w *world) Actor(name string) (connector.Actor, bool) {
	if strings.HasSuffix(name, "-blind") || name == "none" {
		return w, true
	}
	return looker{w}, true
}

// Prober implements engine.Doors.
func (w *world) Prober(string) (connector.Prober, bool) { return w, true }

// Notifier implements engine.Doors.
func (w *world) Notifier(string) (connector.Notifier, bool) { return w, true }

// Tracker implements engine.Doors.
func (w *world) Tracker(string) (connector.Tracker, bool) { return w, true }
