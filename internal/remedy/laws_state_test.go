package remedy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// state checks what holds of every case at rest.
func (l *laws) state(c Case) {
	busy, begun := 0, 0
	for _, a := range c.Actions {
		l.action(c, a)
		switch {
		case active(a):
			busy++
		case a.Status == ActionPlanning || a.Status == ActionAsking || a.Status == ActionReady:
			begun++
		}
	}
	l.must(busy <= 1, "at most one action touches the world: %d", busy)
	l.must(busy+begun <= 1, "at most one action is under way: %d touch the world, %d begun", busy, begun)
	l.episodes(c)
	l.effects(c)
	for n := range l.messages {
		l.must(slices.ContainsFunc(c.Messages, func(m Message) bool { return m.N == n }), "no message is lost: %d", n)
	}
	l.must(len(c.Messages) == len(l.messages), "no message is made up: %d, queued %d", len(c.Messages), len(l.messages))
	for _, e := range Pending(c) {
		l.must(!slices.Contains(c.Stuck, e.ID) || c.Bottleneck.Kind == "dead letter", "a dead letter shows as what the case waits for: %s, %+v", e.ID, c.Bottleneck)
	}
	if !c.Settled {
		l.must(c.Bottleneck.Kind != "" && c.Bottleneck.Kind != "nobody" && !c.Bottleneck.Since.IsZero(), "no orphan: a case that is not settled waits for somebody: %+v", c.Bottleneck)
		l.must(c.Bottleneck.Who != "", "no orphan: it is known who is waited for: %+v in %s", c.Bottleneck, c.State())
		l.must(!WakeAt(c).IsZero(), "no orphan: a case that is not settled wakes up")
	}
	if c.Closed == ClosedSuppressed || c.Closed == ClosedAttested {
		l.must(!c.NextProbe.IsZero(), "what is set aside until a date wakes up then")
	}
	if c.State() == StateContained {
		l.must(l.last.Result != Exposed, "contained means that the probe does not see it")
		l.must(!c.Episode().ContainedAt.IsZero(), "contained has an instant")
	}
	if c.Open() && !c.Episode().ContainedAt.IsZero() {
		l.must(slices.ContainsFunc(c.Actions, func(a Action) bool { return a.Spec.Phase == Contain && a.After.Result == NotExposed }), "contained is proven")
	}
	for _, t := range c.Tickets {
		l.must(!c.Open() || !l.refuted || !l.claims[t.N] || t.Ref == "" || t.Ref == TicketGivenUp, "no ticket stays at done while the probe sees the exposure: %d is %s", t.N, t.Status)
		l.must(c.Open() || c.Closed != ClosedProven || t.Ref == TicketGivenUp || t.Status != TicketReopened, "a proven case leaves no ticket reopened: %d", t.N)
		l.must(!c.Open() || t.Status != TicketProven, "a ticket is proven only while its case is closed: %d", t.N)
	}
	if c.Quiet() {
		l.must(c.Open() && c.Exception == nil && !l.loud && !l.claimed, "a case is quiet only when nothing was acted, probed or claimed")
	}
}

// action: whatever an action waits for is on its way.
func (l *laws) action(c Case, a Action) {
	ep := c.Episode()
	if c.Closed != "" {
		l.must(a.Status == ActionUndoing || !active(a), "a closed case has nothing under way: %s is %s", a.ID, a.Status)
		l.must(a.Episode < ep.N || !slices.Contains([]ActionStatus{ActionWaiting, ActionPlanning, ActionHeld, ActionAsking, ActionReady}, a.Status), "a closed case begins nothing: %s is %s", a.ID, a.Status)
	}
	switch a.Status {
	case ActionActed, ActionWatching, ActionUnsure:
		looks := slices.ContainsFunc(Pending(c), func(e Effect) bool { return e.Kind == EffectLook && e.Action == a.ID })
		l.must(looks || c.Probe.N != 0 || !a.ProbeAt.IsZero(), "no orphan: something will tell what became of %s, %s", a.ID, a.Status)
	case ActionAsking:
		l.must(a.Approval.PlanHash == a.Plan.Hash && a.Approval.Needed >= 1 && a.Approval.ExpiresAt.After(a.Approval.AskedAt), "what is asked for is the plan: %+v", a.Approval)
	case ActionWaiting, ActionDropped:
		l.must(a.Approval.PlanHash == "" && len(a.Approval.Grants) == 0, "no approval outlives its plan: %s is %s", a.ID, a.Status)
	}
}

// episodes are well formed and do not overlap.
func (l *laws) episodes(c Case) {
	var last time.Time
	for i, ep := range c.Episodes {
		l.must(ep.N == i+1, "episodes are numbered: %d at %d", ep.N, i)
		l.must(!ep.DetectedAt.After(ep.OpenedAt), "exposure starts at detection: %s after %s", ep.DetectedAt, ep.OpenedAt)
		l.must(!ep.DetectedAt.Before(last) && !ep.OpenedAt.Before(last), "episodes do not overlap: %s, %s before %s", ep.DetectedAt, ep.OpenedAt, last)
		for _, at := range []time.Time{ep.AckAt, ep.ContainedAt, ep.ActedAt, ep.ClosedAt} {
			l.must(at.IsZero() || !at.Before(ep.OpenedAt), "an episode runs forward: %s before %s", at, ep.OpenedAt)
			l.must(at.IsZero() || ep.ClosedAt.IsZero() || !at.After(ep.ClosedAt), "nothing happens in an episode after its end: %s after %s", at, ep.ClosedAt)
		}
		open := i == len(c.Episodes)-1 && c.Open()
		l.must(ep.ClosedAt.IsZero() == open && (ep.How == "") == open, "an episode that is over has an end and a reason: %+v", ep)
		last = ep.ClosedAt
	}
	if c.Open() {
		for _, m := range c.Members {
			l.must(m.ProvenAt.IsZero(), "an open case has no proven finding: %s", m.UID)
		}
	}
}

// effects have an id of their own, for ever.
func (l *laws) effects(c Case) {
	ids := map[string]bool{}
	for _, e := range Pending(c) {
		l.must(!ids[e.ID], "effects have different ids: %s", e.ID)
		ids[e.ID] = true
		work := fmt.Sprint(e.Kind, e.Action, e.N)
		a, _ := c.Action(e.Action)
		switch e.Kind {
		case EffectPlan, EffectAct, EffectLook:
			work += fmt.Sprint(a.Gen)
		case EffectUndo:
			work += fmt.Sprint(a.Undos)
		case EffectProbe:
			work += fmt.Sprint(c.Probe)
		case EffectJudge:
			work += fmt.Sprint(c.Episode().N, c.NeedJudge)
		case EffectMessage:
			work += fmt.Sprint(c.Messages[slices.IndexFunc(c.Messages, func(m Message) bool { return m.N == e.N })])
		case EffectSay:
			work += fmt.Sprint(c.Tickets[e.N-1].Said)
		}
		l.must(l.work[e.ID] == "" || l.work[e.ID] == work, "an effect id is never used for other work: %s for %s, then %s", e.ID, l.work[e.ID], work)
		l.work[e.ID] = work
	}
	for _, t := range c.Tickets {
		l.must(t.Said-t.Told == len(t.Lines), "no line to a ticket is lost: %d said, %d told, %d left", t.Said, t.Told, len(t.Lines))
		if t.Ref == "" {
			l.must(ids["ticket/"+strconv.Itoa(t.N)], "a ticket that is wanted is on its way: %d", t.N)
		}
	}
}

// clock: a tick at the wake-up moves the case on; nothing spins.
func (l *laws) clock(c Case) {
	at := WakeAt(c)
	if at.IsZero() {
		return
	}
	if at.Before(c.At) {
		at = c.At
	}
	for range 20 {
		evs, err := Handle(c, Command{At: at, By: Actor{System, "clock"}, Do: Tick{}})
		l.must(err == nil, "a tick is always taken: %v", err)
		for _, e := range evs {
			c = Apply(c, e)
		}
		next := WakeAt(c)
		if next.IsZero() || next.After(at) {
			return
		}
	}
	l.fail("no hot loop: 20 ticks at %s did not move the wake-up on from %s in %s", at, WakeAt(c), c.State())
}

// silence: though nobody answers, a case goes on from wake-up to wake-up.
func (l *laws) silence(c Case) {
	for range 40 {
		at := WakeAt(c)
		if at.IsZero() {
			l.must(c.Settled, "no orphan: only a settled case sleeps for ever")
			return
		}
		if at.Before(c.At) {
			at = c.At
		}
		evs, err := Handle(c, Command{At: at, By: Actor{System, "clock"}, Do: Tick{}})
		l.must(err == nil, "a tick is always taken: %v", err)
		for _, e := range evs {
			c = Apply(c, e)
		}
		l.clock(c)
	}
}

func TestLaws(t *testing.T) {
	pairs := pictured(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWalk(rapidChooser{t})
		l := newLaws(func(f string, args ...any) { t.Helper(); t.Fatalf("%s\n%s", fmt.Sprintf(f, args...), w.story()) })
		for range 60 {
			cmd := w.next()
			was := w.c.State()
			w.asked = cmd
			c, taken := l.step(w.c, cmd)
			if taken {
				p := pair{was, cmd.Do.Name()}
				l.must(pairs[p], "states.md does not have %s in state %s", p.command, p.state)
			}
			w.took(c, cmd, taken)
		}
		l.silence(w.c)
		l.end()
	})
}

// took moves the walk on.
func (w *walk) took(c Case, cmd Command, taken bool) {
	if taken {
		w.told = append(w.told, cmd)
		if d, ok := cmd.Do.(Merge); ok {
			_, w.winner, _ = Step(d.Into, Command{At: cmd.At, By: cmd.By, Do: Absorb{From: w.c, Note: d.Note, Alias: d.Alias}})
		}
	}
	w.c = c
	w.sent = append(w.sent, cmd)
	if w.c.At.After(w.now) {
		w.now = w.c.At
	}
}

// story lists the commands that were taken, for the reader of a failure.
func (w *walk) story() string {
	var b strings.Builder
	for _, cmd := range append(slices.Clip(w.told), w.asked) {
		do := cmd.Do
		if o, ok := do.(Observe); ok {
			do = Comment{Note: Note(fmt.Sprint("observe ", o.Finding.UID, o.Finding.Status, o.Judgement.Decision.Class))}
		}
		switch d := do.(type) {
		case Merge:
			do = Comment{Note: Note("merge into " + d.Into.ID + " of " + d.Into.Asset.UID)}
		case Absorb:
			do = Comment{Note: Note("absorb " + d.From.ID + " of " + d.From.Asset.UID)}
		case Unmerge:
			do = Comment{Note: Note("unmerge from " + d.From.ID)}
		}
		if r, ok := do.(Rejudge); ok {
			do = Comment{Note: Note("rejudge " + r.Trigger)}
		}
		fmt.Fprintf(&b, "%s %s %s %+v\n", cmd.At.Format(time.DateTime), cmd.By.ID, do.Name(), do)
	}
	return b.String()
}
