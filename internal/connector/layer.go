package connector

import (
	"context"

	"github.com/casement/casement/internal/remedy"
)

// Op is what a call asks of a connector.
type Op string

// The operations. OpAct and OpUndo change the target.
const (
	OpPlan   Op = "plan"
	OpAct    Op = "act"
	OpUndo   Op = "undo"
	OpLook   Op = "look"
	OpProbe  Op = "probe"
	OpNotify Op = "notify"
)

// Changes reports whether the operation changes the target.
func (o Op) Changes() bool { return o == OpAct || o == OpUndo }

// Call is one call on its way through the layers.
type Call struct {
	Op      Op
	Verb    string
	Request Request
	// Notice is set for OpNotify.
	Notice Notice
}

// Reply is the answer to a call; the field of its operation is set.
type Reply struct {
	Plan        remedy.Plan
	Outcome     Outcome
	Found       bool
	Observation remedy.Observation
}

// Handler answers calls.
type Handler func(ctx context.Context, c Call) (Reply, error)

// Layer wraps a handler.
type Layer func(next Handler) Handler

// Door is a connector behind layers. It has every method; one the connector
// does not offer answers KindConfig. Actor, Prober and Notifier hand out only
// what is offered.
type Door struct {
	inner  Connector
	handle Handler
}

// Wrap puts layers round a connector, the first one outermost.
func Wrap(c Connector, layers ...Layer) *Door {
	h := Handler(func(ctx context.Context, call Call) (Reply, error) { return dispatch(ctx, c, call) })
	for i := len(layers) - 1; i >= 0; i-- {
		h = layers[i](h)
	}
	return &Door{inner: c, handle: h}
}

func dispatch(ctx context.Context, c Connector, call Call) (r Reply, err error) {
	missing := Errorf(KindConfig, "connector %s can't %s", c.Spec().Name, call.Op)
	ctx = WithRequest(ctx, call.Request)
	switch call.Op {
	case OpPlan:
		if p, ok := c.(Planner); ok {
			r.Plan, err = p.Plan(ctx, call.Verb, call.Request)
			return r, err
		}
	case OpAct:
		if a, ok := c.(Actor); ok {
			r.Outcome, err = a.Act(ctx, call.Verb, call.Request)
			return r, err
		}
	case OpUndo:
		if a, ok := c.(Actor); ok {
			r.Outcome, err = a.Undo(ctx, call.Verb, call.Request)
			return r, err
		}
	case OpLook:
		if l, ok := c.(Looker); ok {
			r.Outcome, r.Found, err = l.Look(ctx, call.Verb, call.Request)
			return r, err
		}
	case OpProbe:
		if p, ok := c.(Prober); ok {
			r.Observation, err = p.Probe(ctx, call.Verb, call.Request)
			return r, err
		}
	case OpNotify:
		if n, ok := c.(Notifier); ok {
			return r, n.Notify(ctx, call.Notice)
		}
	}
	return r, missing
}

// Actor returns the door as an Actor if the connector is one, and as a Looker
// only if it can look.
func (d *Door) Actor() (Actor, bool) {
	if _, ok := d.inner.(Actor); !ok {
		return nil, false
	}
	if _, ok := d.inner.(Looker); !ok {
		return struct{ Actor }{d}, true
	}
	return d, true
}

// Prober returns the door as a Prober if the connector is one.
func (d *Door) Prober() (Prober, bool) { _, ok := d.inner.(Prober); return d, ok }

// Notifier returns the door as a Notifier if the connector is one and is set up
// to deliver.
func (d *Door) Notifier() (Notifier, bool) {
	n, ok := d.inner.(Notifier)
	if s, can := n.(interface{ Notifies() bool }); can && !s.Notifies() {
		return nil, false
	}
	return d, ok
}

// Tracker returns the connector as a Tracker if it is one. Its calls pass no
// layer: an effect's own tries repeat them, and the kit for REST systems keeps
// limits and secrets.
func (d *Door) Tracker() (Tracker, bool) { t, ok := d.inner.(Tracker); return t, ok }

// Spec describes the connector.
func (d *Door) Spec() Spec { return d.inner.Spec() }

// Plan implements Planner.
func (d *Door) Plan(ctx context.Context, verb string, r Request) (remedy.Plan, error) {
	a, err := d.handle(ctx, Call{Op: OpPlan, Verb: verb, Request: r})
	return a.Plan, err
}

// Act implements Actor.
func (d *Door) Act(ctx context.Context, verb string, r Request) (Outcome, error) {
	a, err := d.handle(ctx, Call{Op: OpAct, Verb: verb, Request: r})
	return a.Outcome, err
}

// Undo implements Actor.
func (d *Door) Undo(ctx context.Context, verb string, r Request) (Outcome, error) {
	a, err := d.handle(ctx, Call{Op: OpUndo, Verb: verb, Request: r})
	return a.Outcome, err
}

// Look implements Looker.
func (d *Door) Look(ctx context.Context, verb string, r Request) (Outcome, bool, error) {
	a, err := d.handle(ctx, Call{Op: OpLook, Verb: verb, Request: r})
	return a.Outcome, a.Found, err
}

// Probe implements Prober.
func (d *Door) Probe(ctx context.Context, verb string, r Request) (remedy.Observation, error) {
	a, err := d.handle(ctx, Call{Op: OpProbe, Verb: verb, Request: r})
	return a.Observation, err
}

// Notify implements Notifier.
func (d *Door) Notify(ctx context.Context, n Notice) error {
	_, err := d.handle(ctx, Call{Op: OpNotify, Notice: n, Request: Request{CaseID: n.CaseID, Key: n.Key, Now: n.At}})
	return err
}
