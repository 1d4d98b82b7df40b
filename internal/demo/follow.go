package demo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/sim"
)

// follow prints a case's events in words as they happen, until the case is as
// wanted or the time is up; what was told in an earlier call is not told again.
// on, if not nil, is called after each event. It returns the case and all its
// events.
func (s *stage) follow(ctx context.Context, id string, within time.Duration, wanted func(remedy.Case) bool, on func(event) error) (remedy.Case, []event, error) {
	end := time.Now().Add(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	t := s.tellers[id]
	if t == nil {
		t = &teller{s: s, names: map[string]string{}}
		s.tellers[id] = t
	}
	for {
		c, err := s.server.load(ctx, id)
		if err != nil {
			return c, nil, err
		}
		evs, err := s.server.events(ctx, id)
		if err != nil {
			return c, evs, err
		}
		for t.told < len(evs) {
			e := evs[t.told]
			t.tell(e)
			t.told++
			if on != nil {
				if err := on(e); err != nil {
					return c, evs, err
				}
			}
		}
		if wanted(c) && uint64(len(evs)) >= c.Version || time.Now().After(end) {
			return c, evs, nil
		}
		select {
		case <-ctx.Done():
			return c, evs, ctx.Err()
		case <-tick.C:
		}
	}
}

// teller puts events into one line each.
type teller struct {
	s *stage
	// names of actions by id.
	names map[string]string
	// told counts the events that were told, last is the newest line.
	told int
	last string
	// looked: the newest act was found by looking.
	looked bool
}

// tell prints an event, if it is one of the story.
func (t *teller) tell(e event) {
	body, err := remedy.DecodeBody(e.Type, remedy.SchemaVersion, e.Body)
	if err != nil {
		return
	}
	say := func(style, label, format string, args ...any) {
		text := t.s.short(fmt.Sprintf(format, args...))
		if label+text == t.last {
			return // seen again
		}
		t.last = label + text
		t.s.out.lineAt(e.At, style, label, "%s", text)
	}
	switch b := body.(type) {
	case remedy.Judged:
		if d := b.Judgement.Decision; b.Trigger == "opened" {
			say("", "decision", "%s, %s: rule %s, owner %s", d.Class, d.Path(), d.Rule, b.Judgement.Routing.Owner)
		}
	case remedy.ActionAdded:
		t.names[b.Action] = b.Spec.Name
	case remedy.Planned:
		say(resultStyle(b.Before.Result), "probe", "before %s: %s. %s", t.names[b.Action], resultWord(b.Before.Result), b.Before.Detail)
	case remedy.ActedOn:
		if t.looked { // that it had happened was said
			return
		}
		say("", "act", "%s: the target says done", t.names[b.Action])
	case remedy.ProbeSaw:
		t.probe(b, say)
	case remedy.Contained:
		say(green, "contained", "by %s", t.names[b.Action])
	case remedy.ActionMoved:
		switch b.To {
		case remedy.ActionHeld:
			say(yellow, "held", "%s", b.Reason)
		case remedy.ActionFailed:
			say(yellow, "no effect", "%s: %s", t.names[b.Action], b.Reason)
		}
	case remedy.OutcomeUnknown:
		say(yellow, "unsure", "%s", b.Reason)
	case remedy.LookedFor:
		found := "it did not happen"
		if t.looked = b.Found; b.Found {
			found = "it had happened; nothing is done twice"
		}
		say("", "look", "%s: %s", t.names[b.Action], found)
	case remedy.UndoAsked:
		say(yellow, "undo", "%s", b.Reason)
	case remedy.UndoneAt:
		say(green, "undone", "%s is changed back", t.names[b.Action])
	case remedy.EscalatedFor:
		if b.Why != "" {
			say(yellow, "person", "called: %s", b.Why)
		}
	case remedy.EpisodeClosed:
		say(green, "closed", "as %s", b.How)
	}
}

func (t *teller) probe(b remedy.ProbeSaw, say func(style, label, format string, args ...any)) {
	o := b.Observation
	switch b.Purpose {
	case remedy.ProbeContinuity:
		word, style := "works", ""
		if o.Result == remedy.Exposed {
			word, style = "broken", red
		}
		say(style, "watch", "%s. %s", cmp.Or(map[bool]string{true: "can't tell"}[o.Result == remedy.Inconclusive], word), o.Detail)
	case remedy.ProbeClaim:
		say(resultStyle(o.Result), "probe", "of the claim: %s. %s", resultWord(o.Result), o.Detail)
	case remedy.ProbeAfter:
		say(resultStyle(o.Result), "probe", "after: %s. %s", resultWord(o.Result), o.Detail)
	}
}

func resultWord(r remedy.Result) string { return strings.ReplaceAll(string(r), "_", " ") }

func resultStyle(r remedy.Result) string {
	switch r {
	case remedy.Exposed:
		return red
	case remedy.NotExposed:
		return green
	}
	return yellow
}

// short takes the addresses of the targets out of a text: they say nothing.
func (s *stage) short(text string) string {
	for _, x := range []string{sim.ServiceS3, sim.ServiceOAuth, sim.ServiceSink, sim.ServiceApp} {
		u := s.world.URL(x)
		text = strings.ReplaceAll(strings.ReplaceAll(text, u, ""), strings.TrimPrefix(u, "http://"), x)
	}
	return strings.ReplaceAll(text, "GET without a credential is refused for", "An outsider is refused:")
}

// claimFix claims what became of a case that was to be proven: the probe
// before, each act but those claimed already, the probe after each, and the
// proof.
func (s *stage) claimFix(c remedy.Case, evs []event, subject, state string, claimed ...string) error {
	var list []claim
	for i, a := range c.Actions {
		if i == 0 {
			first := remedy.Planned{Before: remedy.Observation{Result: "nothing"}}
			if plans := every[remedy.Planned](evs); len(plans) > 0 {
				first = plans[0]
			}
			list = append(list, claim{Kind: "before-probe", Action: a.ID, Want: "exposed", Saw: string(first.Before.Result)})
		}
		if a.ActedAt.IsZero() || slices.Contains(claimed, a.ID) {
			continue
		}
		list = append(list, claim{Kind: "action", Action: a.ID, Want: "acted", Saw: "acted"},
			claim{Kind: "after-probe", Action: a.ID, Want: "not_exposed", Saw: string(a.After.Result), State: state})
	}
	saw := string(c.Closed)
	if saw == "" {
		saw = "open: " + string(c.State())
	}
	list = append(list, claim{Kind: "proven", Want: "proven", Saw: saw, State: state})
	for _, x := range list {
		x.Case, x.Subject = c.ID, subject
		if err := s.claims.put(x); err != nil {
			return err
		}
	}
	if c.Closed != remedy.ClosedProven {
		return fmt.Errorf("the case of %s is not proven: %s", subject, whyOpen(c))
	}
	return nil
}

// whyOpen says what an open case waits for.
func whyOpen(c remedy.Case) string {
	for i := len(c.Actions) - 1; i >= 0; i-- {
		if r := c.Actions[i].Reason; r != "" {
			return string(c.Actions[i].Status) + ", " + r
		}
	}
	return string(c.State()) + ", waits for " + c.Bottleneck.Kind
}

// ended: closed, or nothing more is tried by itself.
func ended(c remedy.Case) bool {
	if !c.Open() {
		return true
	}
	for _, a := range c.Actions {
		switch a.Status {
		case remedy.ActionFailed, remedy.ActionDropped, remedy.ActionUnundone:
		default:
			return false
		}
	}
	return len(c.Actions) > 0
}

// inconclusive: the probe before an act could not tell.
func inconclusive(c remedy.Case) bool {
	for _, a := range c.Actions {
		if a.Status == remedy.ActionHeld && a.Before.Result == remedy.Inconclusive {
			return true
		}
	}
	return false
}
