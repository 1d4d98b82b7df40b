package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/casement/casement/internal/remedy"
)

// Clock is the time a layer waits by.
type Clock interface {
	// Now is the present, UTC.
	Now() time.Time
	// Sleep waits, or returns the error of the context.
	Sleep(ctx context.Context, d time.Duration) error
}

// WallClock is the clock of the machine.
type WallClock struct{}

// Now implements Clock.
func (WallClock) Now() time.Time { return time.Now().UTC() }

// Sleep implements Clock.
func (WallClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Options set up the layers of one connector.
type Options struct {
	// Timeout bounds a whole call with its retries; 60 s if zero.
	Timeout time.Duration
	// DryRun: nothing is changed, whatever policy or people say.
	DryRun bool
	// PerSecond calls with bursts of Burst; unlimited if zero.
	PerSecond float64
	Burst     int
	// Attempts of a retryable call, 3 if zero; the waits double from Wait
	// (500 ms if zero) and are never longer than MaxWait (10 s if zero).
	Attempts      int
	Wait, MaxWait time.Duration
	// Redact takes the connector's secrets out of all it returns.
	Redact Redactor
	Clock  Clock
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 3
	}
	if o.Wait <= 0 {
		o.Wait = 500 * time.Millisecond
	}
	if o.MaxWait <= 0 {
		o.MaxWait = 10 * time.Second
	}
	if o.Burst <= 0 {
		o.Burst = 1
	}
	if o.Clock == nil {
		o.Clock = WallClock{}
	}
	return o
}

// Stack puts the layers round a connector in their order: guard(dry
// run(limit(retry(switch(act))))).
func Stack(c Connector, o Options) *Door {
	o = o.withDefaults()
	layers := []Layer{Guard(c.Spec(), o.Redact, o.Timeout)}
	if o.DryRun {
		layers = append(layers, DryRun())
	}
	if o.PerSecond > 0 {
		layers = append(layers, Limit(rate.NewLimiter(rate.Limit(o.PerSecond), o.Burst), o.MaxWait, o.Clock))
	}
	layers = append(layers, Retry(o.Attempts, o.Wait, o.MaxWait, o.Clock), Switch(o.Clock))
	return Wrap(c, layers...)
}

// Guard checks a call before it goes out and what comes back: the verb is
// declared, required parameters are there, an act has case, key and plan; the
// call ends in time; a panic is an error; no known secret is in any answer; a
// probe that fails on the way is inconclusive and claims no more than its
// declared grade.
func Guard(spec Spec, redact Redactor, timeout time.Duration) Layer {
	return func(next Handler) Handler {
		return func(ctx context.Context, c Call) (Reply, error) {
			if err := checkCall(spec, c); err != nil {
				return Reply{}, err
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			r, err := protect(ctx, next, c)
			r = redact.reply(r)
			if err != nil {
				e := redact.Error(err)
				if !c.Op.Changes() && c.Op != OpNotify {
					err = ReadOnly(e)
				} else {
					err = e
				}
			}
			if c.Op != OpProbe {
				return r, err
			}
			return guardProbe(spec, c, r, err)
		}
	}
}

func guardProbe(spec Spec, c Call, r Reply, err error) (Reply, error) {
	if err != nil && KindOf(err) == KindRetry {
		r.Observation = remedy.Observation{Result: remedy.Inconclusive, Detail: err.Error(), Place: r.Observation.Place}
		err = nil
	}
	i := slices.IndexFunc(spec.Probes, func(p ProbeSpec) bool { return p.Verb == c.Verb })
	o := capGrade(r.Observation, spec.Probes[i].Grade)
	o.Probe = spec.Name + "/" + c.Verb
	if o.At.IsZero() {
		o.At = c.Request.Now
	}
	r.Observation = o
	return r, err
}

// protect turns a panic of a connector into an error. The value is left out:
// nobody knows what it holds.
func protect(ctx context.Context, next Handler, c Call) (r Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			r, err = Reply{}, Errorf(KindUnsure, "%s failed inside the connector (%T)", c.Op, v)
		}
	}()
	return next(ctx, c)
}

func checkCall(spec Spec, c Call) error {
	if c.Op == OpNotify {
		if c.Notice.Key == "" {
			return Errorf(KindConfig, "%s: a notice needs a key", spec.Name)
		}
		return nil
	}
	name := spec.Name + "/" + c.Verb
	var params []Param
	if c.Op == OpProbe {
		i := slices.IndexFunc(spec.Probes, func(p ProbeSpec) bool { return p.Verb == c.Verb })
		if i < 0 {
			return Errorf(KindConfig, "%s: there is no such probe", name)
		}
		params = spec.Probes[i].Params
	} else {
		i := slices.IndexFunc(spec.Actions, func(a ActionSpec) bool { return a.Verb == c.Verb })
		if i < 0 {
			return Errorf(KindConfig, "%s: there is no such action", name)
		}
		if c.Op == OpUndo && !spec.Actions[i].Undoable {
			return Errorf(KindConfig, "%s: this action has no way back", name)
		}
		params = spec.Actions[i].Params
	}
	for _, p := range params {
		if p.Required && c.Request.Params[p.Name] == "" {
			return Errorf(KindConfig, "%s: parameter %q is missing (%s)", name, p.Name, p.Description)
		}
	}
	r := c.Request
	switch {
	case r.CaseID == "":
		return Errorf(KindConfig, "%s: a call needs a case id", name)
	case c.Op.Changes() && r.Key == "":
		return Errorf(KindConfig, "%s: a change needs a once-key", name)
	case c.Op == OpAct && r.Plan.BeforeDigest == "":
		return Errorf(KindConfig, "%s: an act needs its plan", name)
	case c.Op == OpUndo && r.UndoHandle == "":
		return Errorf(KindConfig, "%s: an undo needs the handle of the act", name)
	}
	return nil
}

// DryRun lets nothing through that changes the target. An act is planned anew
// instead, so that a drift shows, and is then refused with what it would have
// done: it must never look like done.
func DryRun() Layer {
	return func(next Handler) Handler {
		return func(ctx context.Context, c Call) (Reply, error) {
			if !c.Op.Changes() {
				return next(ctx, c)
			}
			if c.Op == OpUndo {
				return Reply{}, Errorf(KindRefused, "dry run: nothing was undone")
			}
			again := c
			again.Op, again.Request.Plan = OpPlan, remedy.Plan{}
			r, err := next(ctx, again)
			if err != nil {
				return Reply{}, ReadOnly(err)
			}
			if r.Plan.BeforeDigest != c.Request.Plan.BeforeDigest {
				return Reply{}, Errorf(KindRefused, "dry run: the target is no longer in the state the plan starts from")
			}
			return Reply{}, Errorf(KindRefused, "dry run: nothing was changed. Planned: %s", c.Request.Plan.Text)
		}
	}
}

// Limit holds calls to the rate of l. A wait longer than maxWait is not
// waited: the call comes back as retryable with the wait.
func Limit(l *rate.Limiter, maxWait time.Duration, clock Clock) Layer {
	return func(next Handler) Handler {
		return func(ctx context.Context, c Call) (Reply, error) {
			now := clock.Now()
			res := l.ReserveN(now, 1)
			wait := res.DelayFrom(now)
			if !res.OK() || wait > maxWait {
				res.CancelAt(now)
				return Reply{}, &Error{Kind: KindRetry, After: wait, Msg: fmt.Sprintf("%s: held back by our own rate limit", c.Op)}
			}
			if wait > 0 {
				if err := clock.Sleep(ctx, wait); err != nil {
					res.CancelAt(clock.Now())
					return Reply{}, &Error{Kind: KindRetry, Msg: fmt.Sprintf("%s: stopped while waiting for our own rate limit", c.Op), Err: err}
				}
			}
			return next(ctx, c)
		}
	}
}

// Retry repeats a call that failed without touching the world (KindRetry),
// after the wait the target asks for or a doubling one. A wait longer than
// maxWait is left to the caller, who has a schedule.
func Retry(attempts int, wait, maxWait time.Duration, clock Clock) Layer {
	return func(next Handler) Handler {
		return func(ctx context.Context, c Call) (Reply, error) {
			d := wait
			for n := 1; ; n++ {
				r, err := next(ctx, c)
				if err == nil || n >= attempts || KindOf(err) != KindRetry {
					return r, err
				}
				pause := max(d, afterOf(err))
				if pause > maxWait || clock.Sleep(ctx, pause) != nil {
					return r, err
				}
				d *= 2
			}
		}
	}
}

// ErrStopped is the cause when the kill switch kept a change from going out.
var ErrStopped = errors.New("stopped by the kill switch")

const (
	// switchAge is how old a reading of the kill switch may be when a change goes
	// out (design, 7).
	switchAge = time.Second
	// stoppedRetry is when a change that was stopped may be tried again.
	stoppedRetry = 5 * time.Minute
	// unreadRetry is the same where the switch could not be read: a fault of ours
	// holds a change back no longer than it lasts.
	unreadRetry = 5 * time.Second
)

// Switch reads the kill switch right before each change, however long limits and
// repeats held it up. What can't be read, or not in time, stops it as well.
func Switch(clock Clock) Layer {
	return func(next Handler) Handler {
		return func(ctx context.Context, c Call) (Reply, error) {
			if !c.Op.Changes() || c.Request.Stopped == nil {
				return next(ctx, c)
			}
			stop := func(why string, after time.Duration, err error) error {
				return &Error{Kind: KindRetry, After: after, Msg: why, Err: errors.Join(ErrStopped, err)}
			}
			asked := clock.Now()
			scope, err := c.Request.Stopped(ctx)
			switch {
			case err != nil:
				return Reply{}, stop("the kill switch can't be read", unreadRetry, err)
			case scope != "":
				return Reply{}, stop("paused by the kill switch: "+scope, stoppedRetry, nil)
			case clock.Now().Sub(asked) > switchAge:
				return Reply{}, stop("reading the kill switch took too long", unreadRetry, nil)
			}
			return next(ctx, c)
		}
	}
}
