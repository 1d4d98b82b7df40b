package policy

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
)

// guardrails are the compiled limits of a pack.
type guardrails struct {
	budgets   []budget
	shares    []share
	protected []protected
	freezes   []freeze
}

type budget struct {
	name, per string
	of        []string
	max       int
	window    time.Duration
}

type share struct {
	name    string
	class   []string
	percent float64
	atLeast int
	window  time.Duration
}

type protected struct {
	name, reason string
	when         condition
	approvable   bool
}

type freeze struct {
	deadline.Freeze
	dimension, name string
}

// Counters tells the guard what was acted on; the engine answers from the store.
type Counters interface {
	// Taken is how often the budget was drawn on since an instant.
	Taken(key string, from time.Time) int
	// Fleet is the number of known assets that a class can befall; known is
	// false when nobody counted them.
	Fleet(class string) (n int, known bool)
}

// GuardRequest is one action about to be intended.
type GuardRequest struct {
	Rule, Playbook string
	Action         remedy.ActionSpec
	// Approved: a person approved this plan.
	Approved bool
}

// GuardVerdict says whether the action may go ahead and what it draws on.
type GuardVerdict struct {
	Allowed bool
	// Holds are all guardrails that stand in the way.
	Holds []Hold
	// Draws have to be reserved in the transaction of the intent, also when the
	// counters said that there is room.
	Draws []Draw
}

// Hold is one guardrail in the way.
type Hold struct {
	// Kind is budget, share, protected or freeze.
	Kind, Name, Why string
	// Until is when it may be tried again by itself; zero: a person.
	Until time.Time
	// Approvable: with a person's approval it gives way.
	Approvable bool
}

// Draw is one unit of a budget: at most Limit since From.
type Draw struct {
	Key   string
	Limit int
	From  time.Time
}

// Guard applies the guardrails to one action at an instant. It fails closed: a
// condition that fails or hangs on unknown facts protects the asset, and a
// fleet nobody counted allows only the least number. c may be nil: then only
// the draws say what has to be reserved.
func (p *Pack) Guard(f Facts, q GuardRequest, at time.Time, c Counters) GuardVerdict {
	var v GuardVerdict
	act := newActivation(p.vars, f)
	for _, g := range p.guard.protected {
		r := g.when.eval(act, act.unknown)
		if r.result == never || (g.approvable && q.Approved) {
			continue
		}
		why := g.reason
		switch r.result {
		case maybe:
			why += " (not known: " + strings.Join(r.unknown, ", ") + ")"
		case failed:
			why += " (the condition failed: " + r.err + ")"
		}
		v.Holds = append(v.Holds, Hold{Kind: "protected", Name: g.name, Why: why, Approvable: g.approvable})
	}
	for _, g := range p.guard.freezes {
		if g.Active(at) && g.covers(f, q) {
			v.Holds = append(v.Holds, Hold{Kind: "freeze", Name: g.Scope, Why: g.Reason, Until: g.Until})
		}
	}
	for _, b := range p.guard.budgets {
		value := b.value(f, q)
		if !in(b.of, value) {
			continue
		}
		v.draw(c, "budget", b.name, Draw{Key: "budget/" + b.name + "/" + value, Limit: b.max, From: at.Add(-b.window)}, b.window, at)
	}
	for _, s := range p.guard.shares {
		if !in(s.class, f.Class) {
			continue
		}
		limit := s.atLeast
		if c != nil {
			if n, known := c.Fleet(f.Class); known {
				limit = max(limit, int(math.Floor(float64(n)*s.percent/100)))
			}
		}
		v.draw(c, "share", s.name, Draw{Key: "share/" + s.name + "/" + f.Class, Limit: limit, From: at.Add(-s.window)}, s.window, at)
	}
	v.Allowed = len(v.Holds) == 0
	return v
}

func (v *GuardVerdict) draw(c Counters, kind, name string, d Draw, window time.Duration, at time.Time) {
	v.Draws = append(v.Draws, d)
	if c == nil {
		return
	}
	if taken := c.Taken(d.Key, d.From); taken >= d.Limit {
		v.Holds = append(v.Holds, Hold{
			Kind: kind, Name: name, Until: at.Add(min(window, 15*time.Minute)),
			Why: fmt.Sprintf("%d of %d actions in %s are used up", taken, d.Limit, short(window)),
		})
	}
}

// short is a length of time without zeros at its end: 24h, not 24h0m0s.
func short(d time.Duration) string {
	s := d.String()
	for _, end := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, end) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func (b budget) value(f Facts, q GuardRequest) string {
	switch b.per {
	case "rule":
		return q.Rule
	case "playbook":
		return q.Playbook
	case "connector":
		return q.Action.Connector
	case "account":
		return f.Account
	}
	return "all"
}

// covers reports whether an action is in the scope of a freeze. An unknown fact
// is inside every scope of its kind.
func (g freeze) covers(f Facts, q GuardRequest) bool {
	may := func(v string) bool { return v == "" || wild(g.name, v) }
	switch g.dimension {
	case "environment":
		return may(f.Environment)
	case "account":
		return may(f.Account)
	case "team":
		return may(f.Team)
	case "class":
		return wild(g.name, f.Class)
	case "connector":
		return wild(g.name, q.Action.Connector)
	case "playbook":
		return wild(g.name, q.Playbook)
	}
	return true
}

// freezeScopes are the dimensions a freeze can name.
func freezeScopes() []string {
	return []string{"environment", "account", "team", "class", "connector", "playbook"}
}

func (l *loader) guardrails(raw rawGuardrails) {
	g := &l.pack.guard
	for _, b := range raw.Budgets {
		l.unique("budget", b.Name)
		if b.Max.set && b.Max.n == 0 {
			b.Max.at.failf("use mode shadow to stop a rule", "budget %q allows nothing", b.Name.s)
		}
		if b.Window.set && b.Window.seconds == 0 {
			b.Window.at.failf("", "budget %q has an empty window", b.Name.s)
		}
		g.budgets = append(g.budgets, budget{b.Name.s, b.Per.s, b.Of.words(), b.Max.n, time.Duration(b.Window.seconds) * time.Second})
	}
	for _, s := range raw.Share {
		l.unique("share", s.Name)
		if s.Percent <= 0 || s.Percent > 100 {
			s.Place.at.failf("", "max_percent of share %q is %v: want more than 0, up to 100", s.Name.s, s.Percent)
		}
		g.shares = append(g.shares, share{s.Name.s, s.Class.words(), s.Percent, orDefault(s.AtLeast.n, 1), time.Duration(s.Window.seconds) * time.Second})
	}
	for _, p := range raw.Protected {
		l.unique("protected", p.Name)
		when, _ := l.condition(p.When)
		g.protected = append(g.protected, protected{p.Name.s, p.Reason.s, when, p.Allow.s == "approve"})
	}
	for _, f := range raw.Freezes {
		out := freeze{Freeze: deadline.Freeze{From: f.From.t, Until: f.Until.t, Scope: f.Scope.s, Reason: f.Reason.s}}
		if err := out.Check(); err != nil && f.From.at.src != nil && f.Until.at.src != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				f.Place.at.failf("", "%s", line)
			}
		}
		if f.Scope.s != "*" {
			var ok bool
			out.dimension, out.name, ok = strings.Cut(f.Scope.s, ":")
			if f.Scope.at.src != nil && (!ok || out.name == "" || !contains(freezeScopes(), out.dimension)) {
				f.Scope.at.failf("write * or one of "+strings.Join(freezeScopes(), ", ")+" with a name, e.g. environment:production", "%s is not a scope", quote(f.Scope.s))
			}
		}
		g.freezes = append(g.freezes, out)
	}
}
