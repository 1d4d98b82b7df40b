package remedy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
)

// laws watches one case from outside and keeps what it needs to judge it: it
// shares no rule with the code it judges.
type laws struct {
	fail func(format string, args ...any)
	// stored is the case as replayed from the stored bytes of its events.
	stored Case
	n      int // events so far
	// seen are the probes and places that saw the exposure since the last end
	// of an episode, and in this one.
	seen map[string]bool
	// last is the newest observation of the exposure, lastN its event, covers
	// the findings it spoke for; actedN the newest act.
	last          Observation
	lastN, actedN int
	covers        []string
	keys          map[string]string // once-key → action and attempt
	work          map[string]string // effect id → work
	messages      map[int]bool      // queued and not yet delivered
	said          map[string]bool   // what a clock said in this episode
	loud, claimed bool              // acted or probed; claimed in this episode
	passed        int               // re-probes passed since closing
	claims        map[int]bool      // tickets that stand at done
	refuted       bool              // the command at hand saw the exposure
	stands        []stand           // when the clock of the episode stood still
	snapshots     []Case
	bytes         []string
}

func newLaws(fail func(string, ...any)) *laws {
	return &laws{fail: fail, seen: map[string]bool{}, keys: map[string]string{}, work: map[string]string{}, messages: map[int]bool{}, said: map[string]bool{}, claims: map[int]bool{}}
}

// Fatalf lets asJSON report.
func (l *laws) Fatalf(format string, args ...any) { l.fail(format, args...) }

func (l *laws) must(ok bool, format string, args ...any) {
	if !ok {
		l.fail(format, args...)
	}
}

// step handles one command under all laws and returns the case after it.
func (l *laws) step(c Case, cmd Command) (Case, bool) {
	before := asJSON(l, c)
	evs, err := Handle(c, cmd)
	again, err2 := Handle(c, cmd)
	l.must(asJSON(l, evs) == asJSON(l, again) && (err == nil) == (err2 == nil), "deterministic: the same %s gave other events", cmd.Do.Name())
	l.must(asJSON(l, c) == before, "pure: handling %s changed the case", cmd.Do.Name())
	if err != nil {
		l.must(len(evs) == 0, "refused means nothing: %s left %d events", cmd.Do.Name(), len(evs))
		l.must(CodeOf(err) != "" && err.Error() != "", "a refusal of %s has a code and says why: %v", cmd.Do.Name(), err)
		return c, false
	}
	after := c
	l.refuted = false
	for _, e := range evs {
		l.heard(cmd.Do, e)
		l.joined(after, cmd.Do, e)
		l.pauses(after, e)
		l.event(after, e)
		after = Apply(after, e)
		se, err := stored(e)
		l.must(err == nil, "stored events are read back: %v", err)
		l.stored = Apply(l.stored, se)
		l.n++
	}
	l.must(asJSON(l, c) == before, "pure: applying the events of %s changed the case before", cmd.Do.Name())
	got, want := asJSON(l, l.stored), asJSON(l, after)
	l.must(got == want, "replay equals live after %s:\n%s\n%s", cmd.Do.Name(), got, want)
	l.state(after)
	l.still(after)
	if _, ok := cmd.Do.(Tick); ok {
		at := cmd.At
		if at.Before(c.At) {
			at = c.At
		}
		l.ticked(after, at)
	}
	l.clock(after)
	if l.n%7 == 0 {
		l.snapshots, l.bytes = append(l.snapshots, after), append(l.bytes, want)
	}
	return after, true
}

// end checks what only the whole life shows.
func (l *laws) end() {
	for i, c := range l.snapshots {
		l.must(asJSON(l, c) == l.bytes[i], "pure: a later command changed version %d of the case", c.Version)
	}
}

// heard: an answer nobody knows counts as none.
func (l *laws) heard(do Do, e Event) {
	known := func(said, noted Result) {
		ok := slices.Contains([]Result{Exposed, NotExposed, Inconclusive, Gone}, said)
		l.must(ok && noted == said || !ok && noted == Inconclusive, "what can't be told is inconclusive: %q was noted as %s", said, noted)
	}
	switch b := e.Body.(type) {
	case ProbeSaw:
		if d, ok := do.(Probed); ok {
			known(d.Observation.Result, b.Observation.Result)
		}
	case Planned:
		if d, ok := do.(PlanMade); ok {
			known(d.Before.Result, b.Before.Result)
		}
	}
}

// event checks one event against the case before it.
func (l *laws) event(c Case, e Event) {
	l.must(!e.At.Before(c.At) && e.At.Location() == time.UTC, "time never runs backwards: %s at %s after %s", e.Body.Type(), e.At, c.At)
	switch b := e.Body.(type) {
	case Judged:
		l.judged(c, b)
	case Planned:
		l.saw(b.Before, nil)
	case ProbeSaw:
		l.must(c.Probe.N != 0 && b.N == c.Probe.N, "only the awaited probe is heard: %d, awaited %d", b.N, c.Probe.N)
		l.loud = true
		if b.Purpose != ProbeContinuity {
			l.saw(b.Observation, b.Covers)
			if c.Closed != "" && (b.Observation.Result == NotExposed || b.Observation.Result == Gone) {
				l.passed++
			}
		}
	case Approved:
		l.must(e.By.Kind == Person && b.Grant.By == e.By.ID && b.Grant.As != "", "only entitled people approve: %+v", b.Grant)
	case Intended:
		l.intended(c, e, b)
	case ActedOn:
		a, _ := c.Action(b.Action)
		l.must(!a.IntentAt.IsZero() && (a.Status == ActionIntended || a.Status == ActionUnsure), "acted only after an intent: %s was %s", a.ID, a.Status)
		l.actedN = l.n
	case UndoAsked:
		a, _ := c.Action(b.Action)
		l.must(!a.IntentAt.IsZero() && a.Spec.Undoable, "only what was done and has a way back is undone: %s", a.ID)
		l.must(a.Status != ActionUndone && a.Status != ActionUndoing, "what is undone is not undone again: %s", a.ID)
	case UndoIntended:
		a, _ := c.Action(b.Action)
		l.must(a.Status == ActionUndoing, "undo is intended only when asked for: %s", a.Status)
	case UndoneAt:
		a, _ := c.Action(b.Action)
		l.must(a.Status == ActionUndoing && !a.UndoIntentAt.Before(a.Since), "undone only after the intent to: %s", a.ID)
	case EpisodeClosed:
		l.closed(c, e, b)
	case EpisodeStarted:
		l.must(c.Closed != "", "an episode starts only after the one before ended")
		maps.DeleteFunc(l.said, func(w string, _ bool) bool { return !strings.HasPrefix(w, "expir") })
		l.passed, l.claimed = 0, false
	case CaseSettled:
		if (c.Closed == ClosedProven || c.Closed == ClosedGone) && c.Judgement.Decision.Probe.Connector != "" {
			l.must(l.passed >= 3 && e.At.Sub(c.Episode().ClosedAt) >= 7*24*time.Hour, "settled only after the three re-probes: %d, %s after closing", l.passed, e.At.Sub(c.Episode().ClosedAt))
		}
		l.must(c.Closed != ClosedSuppressed && c.Closed != ClosedAttested, "what is set aside until a date never settles: %s", c.Closed)
	default:
		l.outbox(c, e)
	}
}

func (l *laws) saw(o Observation, covers []string) {
	l.loud = true
	l.last, l.lastN, l.covers = o, l.n, covers
	l.refuted = l.refuted || o.Result == Exposed
	if o.Result == Exposed {
		l.seen[o.Probe+"@"+o.Place] = true
	}
}

// judged: deadlines and class never loosen within an episode.
func (l *laws) judged(c Case, b Judged) {
	tighter := func(name string, was, is time.Time) {
		l.must(was.IsZero() || !is.IsZero() && !is.After(was), "deadlines never loosen within an episode: %s from %s to %s", name, was, is)
	}
	was, is := c.Judgement, b.Judgement
	tighter("ack", was.Clocks.Ack, is.Clocks.Ack)
	tighter("contain", was.Clocks.Contain, is.Clocks.Contain)
	tighter("fix", was.Clocks.Fix, is.Clocks.Fix)
	l.must(was.Decision.Class == 0 || is.Decision.Class <= was.Decision.Class, "the class never loosens within an episode: %s to %s", was.Decision.Class, is.Decision.Class)
}

// intended holds every condition of a change to the world.
func (l *laws) intended(c Case, e Event, b Intended) {
	a, ok := c.Action(b.Action)
	l.must(ok && b.Key != "" && b.PlanHash == a.Plan.Hash && a.Plan.Hash != "", "an intent names its key and the plan of the action: %+v", b)
	l.must(c.Open() && c.Exception == nil, "nothing is done on a case that is closed or set aside")
	attempt := fmt.Sprintf("%s/%d", a.ID, a.Gen)
	if b.Repeat {
		l.must(a.Status == ActionIntended && b.Key == a.Key && l.keys[b.Key] == attempt, "a repeat carries the key of its intent: %s", b.Key)
		l.must(a.Spec.Once != OnceNone || a.Repeats == 0 && a.Spec.Reversibility < 2, "what can't be looked up is repeated at most once, and only if harmless: %s", a.ID)
		return
	}
	l.must(l.keys[b.Key] == "", "a once-key is never used again: %s of %s for %s", b.Key, l.keys[b.Key], attempt)
	l.keys[b.Key] = attempt
	l.must(a.Status == ActionReady, "only a ready action begins: %s is %s", a.ID, a.Status)
	l.must(!slices.ContainsFunc(c.Actions, active), "one action at a time: %s begins beside another", a.ID)
	behind := a.Spec.Phase == Fix && a.Before.Result == NotExposed && l.seen[a.Before.Probe+"@"+a.Before.Place] &&
		slices.ContainsFunc(c.Actions, func(x Action) bool {
			return x.Spec.Phase == Contain && x.Status == ActionDone && x.After.Result == NotExposed
		})
	l.must(a.Before.Result == Exposed || behind, "the probe saw the risky state before: %s of %s", a.Before.Result, a.ID)
	j := c.Judgement
	if len(a.Approval.Grants) == 0 {
		l.must(a.Spec.Auth == AuthEnforce && j.Decision.Mode == ModeEnforce, "nothing is enforced without leave: %s in mode %s", a.Spec.Auth, j.Decision.Mode)
		l.must(j.Routing.Known && len(j.Decision.Unknown) == 0 && j.Decision.Error == "", "unknown facts never permit an enforcement: known %v, unknown %v, error %q", j.Routing.Known, j.Decision.Unknown, j.Decision.Error)
		l.must(a.Spec.Reversibility < 3 || a.Spec.OptIn, "what can't be undone is enforced only by opt-in: %s", a.ID)
		return
	}
	people := map[string]bool{}
	for _, g := range a.Approval.Grants {
		people[g.By] = true
		l.must(g.PlanHash == b.PlanHash, "an approval covers exactly what was shown: %s for %s", g.PlanHash, b.PlanHash)
		l.must(g.By != a.Requester && g.By != a.Plan.LastModifier, "four eyes: %s asked for or changed it", g.By)
		l.must(a.Requester != "policy:"+j.Versions.Policy || len(j.Versions.Authors) != 1 || j.Versions.Authors[0] != g.By, "four eyes: %s is the only author of the policy", g.By)
	}
	needed := max(1, a.Spec.Quorum)
	if a.Plan.LastModifier == "" && !a.Spec.UnknownModifierOK {
		needed = max(2, needed)
	}
	l.must(len(people) >= needed, "enough different people approved: %d of %d", len(people), needed)
	l.must(e.At.Before(a.Approval.ExpiresAt), "an expired approval covers nothing: until %s", a.Approval.ExpiresAt)
}

// closed: proven means proven, and nobody's word closes what matters.
func (l *laws) closed(c Case, e Event, b EpisodeClosed) {
	l.must(c.Open(), "only an open case closes")
	switch b.How {
	case ClosedProven:
		grade := c.Judgement.Decision.Grade
		l.must(l.last.Result == NotExposed, "proven means seen: the last probe said %s", l.last.Result)
		l.must(l.last.Grade >= grade, "proven by the grade demanded: %s, demanded %s", l.last.Grade, grade)
		l.must(l.seen[l.last.Probe+"@"+l.last.Place], "a negative probe proves only against a positive one of the same probe and place: %s from %q", l.last.Probe, l.last.Place)
		l.must(l.lastN > l.actedN || l.actedN == 0, "proof comes after the act")
		in := func(p Phase) bool {
			return slices.ContainsFunc(c.Actions, func(a Action) bool {
				return a.Episode == c.Episode().N && a.Spec.Phase == p && a.Status == ActionDone && (p == Fix || a.ExpiresAt.After(e.At))
			})
		}
		l.must(!in(Contain) || in(Fix), "a containment that ends by itself is no fix")
		for _, m := range c.Members {
			l.must(len(l.covers) == 0 || slices.Contains(l.covers, m.UID), "proof covers every finding: not %s", m.UID)
		}
	case ClosedGone:
		l.must(l.last.Result == Gone, "gone means proven deleted: the last probe said %s", l.last.Result)
	case ClosedAttested:
		l.must(e.By.Kind == Person && c.Judgement.Decision.Class >= deadline.K3, "K1 and K2 never close on a word: %s by %s", c.Judgement.Decision.Class, e.By.Kind)
		l.must(b.Note != "" && b.Until.After(e.At), "an attestation has evidence and an end")
	case ClosedSuppressed:
		l.must(b.Until.After(e.At), "a suppression ends: %s", b.Until)
	}
	l.seen, l.passed = map[string]bool{}, 0
}

// outbox: what is said arrives once, clocks speak once.
func (l *laws) outbox(c Case, e Event) {
	once := func(word string) {
		l.must(!l.said[word], "said once per episode: %s", word)
		l.said[word] = true
	}
	switch b := e.Body.(type) {
	case MessageQueued:
		l.must(b.Message.N == c.MessageSeq+1, "messages are numbered: %d after %d", b.Message.N, c.MessageSeq)
		l.messages[b.Message.N] = true
	case MessageSent:
		l.must(l.messages[b.N], "a message is delivered once: %d", b.N)
		delete(l.messages, b.N)
	case TicketWanted:
		delete(l.claims, b.Ticket.N) // whoever spoke of it before spoke of none of ours
	case TicketLinked:
		delete(l.claims, b.N)
		l.must(slices.ContainsFunc(c.Tickets, func(t Ticket) bool { return t.N == b.N && t.Ref == "" }) && b.Ref != "", "a ticket is opened once: %d", b.N)
	case Acked:
		l.must(c.Open(), "only an open case is acknowledged")
		once("acked")
	case ClockSaid:
		once(fmt.Sprintf("%s %v %s", b.Duty, b.Breach, b.Action))
	case ExceptionGranted:
		l.must(b.Exception.By != b.Exception.Asked && b.Exception.Until.After(e.At), "an exception is granted by another and ends: %+v", b.Exception)
	case TicketMoved:
		l.claimed = l.claimed || b.Done
		l.claims[b.N] = b.Done
	}
}

func active(a Action) bool {
	return slices.Contains([]ActionStatus{ActionIntended, ActionUnsure, ActionActed, ActionWatching, ActionUndoing}, a.Status)
}
