package web

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// past is what became of a request for approval: people come by a link of a
// message, often late. Head is empty where there is nothing to be told.
type past struct {
	Head, Icon string
	Tone       tone
	// Quote are a person's words.
	Quote string
	// Text says what that means and what there is to do.
	Text []string
	// Diff is the difference between the plan that was shown and the one in
	// force, by lines.
	Diff []string
}

// minShown is the number of digits a link has to have of a plan's hash.
const minShown = 8

// pastOf says what became of the request for an action, from its history. shown
// is the plan that the reader was told of, "" if that is not known.
func (s *server) pastOf(ctx context.Context, c remedy.Case, a remedy.Action, names people, shown string) (past, error) {
	evs, err := s.Reader.Events(ctx, c.Tenant, c.ID)
	if err != nil {
		return past{}, err
	}
	if a.Status == remedy.ActionAsking {
		return askedAgain(evs, a, s.Now().UTC(), shown), nil
	}
	p := s.ended(ctx, c, a, names, evs)
	if p.Diff == nil {
		p.Diff = planDiff(evs, a, shown)
	}
	return p, nil
}

// askedAgain is for a request that waits: it may not be the first.
func askedAgain(evs []store.StoredEvent, a remedy.Action, now time.Time, shown string) past {
	if diff := planDiff(evs, a, shown); len(diff) > 0 {
		return past{Head: "The plan changed since you were told of it.", Icon: "question", Tone: toneWarn, Diff: diff,
			Text: []string{"An answer counts for the plan below, as it is now."}}
	}
	for _, ev := range slices.Backward(evs) {
		b, ok := ev.Decoded.(remedy.ApprovalVoided)
		switch {
		case !ok || b.Action != a.ID:
		case a.Approval.Diff != "":
			return past{Head: "An earlier approval is void: the plan is not the one that was shown then.", Icon: "question", Tone: toneWarn, Diff: lines(a.Approval.Diff)}
		default:
			p := past{Head: "It is asked again: the request before it is void, " + b.Why + ", " + ago(now, ev.At) + ".", Icon: "clock", Tone: toneQuiet}
			was, is := planTexts(evs, a.ID, ev.Seq)
			switch {
			case was == "" || is == "":
			case was == is:
				p.Text = []string{"The plan is the same."}
			default:
				p.Tone, p.Text, p.Diff = toneWarn, []string{"The plan is another one."}, diffLines(lines(was), lines(is))
			}
			return p
		}
	}
	return past{}
}

// ended is for a request that waits no more, or that there never was.
func (s *server) ended(ctx context.Context, c remedy.Case, a remedy.Action, names people, evs []store.StoredEvent) past {
	now, how := s.Now().UTC(), goesOn(c, a, names)
	for _, ev := range slices.Backward(evs) {
		switch b := ev.Decoded.(type) {
		case remedy.Approved:
			if b.Action == a.ID {
				return past{Head: "Approved by " + names.of(b.Grant.By) + " as " + b.Grant.As + ", " + ago(now, b.Grant.At) + ".", Icon: "check", Tone: toneGood, Text: how}
			}
		case remedy.Rejected:
			if b.Action == a.ID {
				return past{Head: "Rejected by " + names.actor(ev.By) + ", " + ago(now, ev.At) + ".", Icon: "cross", Tone: toneQuiet,
					Quote: s.notes(ctx, c.Tenant, []store.StoredEvent{ev})[b.Note],
					Text:  []string{"Nothing was changed at the target. If it should be done after all, say so in the case: its owner decides what comes next."}}
			}
		case remedy.ApprovalVoided:
			if b.Action == a.ID {
				p := past{Head: "This request is void: " + names.text(b.Why) + ", " + ago(now, ev.At) + ".", Icon: "question", Tone: toneWarn, Text: how}
				if b.Diff != "" {
					p.Diff = lines(b.Diff)
				}
				return p
			}
		}
	}
	p := past{Head: "Nothing is asked here.", Icon: "question", Tone: toneQuiet, Text: how}
	if a.Spec.Auth == remedy.AuthEnforce {
		p.Head = "No approval was asked for: policy lets this action run by itself."
	}
	return p
}

// goesOn says how it stands with an action that is not asked for, and what the
// one who wanted to answer can do.
func goesOn(c remedy.Case, a remedy.Action, names people) []string {
	why := ""
	if a.Reason != "" {
		why = ": " + names.text(a.Reason)
	}
	state := "The action is now: " + strings.ToLower(actionMark(a.Status).Word) + "."
	switch a.Status {
	case remedy.ActionWaiting, remedy.ActionPlanning:
		return []string{"The plan is being made anew" + why + ".", "If it needs a person's yes again, this page shows it, and those asked get a new message. Nothing was changed at the target so far."}
	case remedy.ActionHeld:
		return []string{"The action is held" + why + ".", "Nothing was changed at the target. The case says what it waits for."}
	case remedy.ActionDropped:
		if c.MergedInto != "" {
			return []string{"The case was merged into " + c.MergedInto + ", which goes on with the exposure and asks for its own actions."}
		}
		return []string{"The action was dropped" + cmp.Or(why, ".") + " There is nothing left to answer."}
	case remedy.ActionReady, remedy.ActionIntended:
		return []string{"It is being done at the target now. To stop it, throw the kill switch (casement pause); once it is done it can be undone from the case."}
	case remedy.ActionActed, remedy.ActionWatching, remedy.ActionDone:
		out := []string{state}
		if canUndo(a) {
			out = append(out, "There is nothing left to answer. If it should not have been done, undo it from the case.")
		}
		return out
	}
	if why != "" {
		state = strings.TrimSuffix(state, ".") + why + "."
	}
	return []string{state, "There is nothing left to answer; the case says how it goes on."}
}

// planTexts are the last plan of an action before an event and the newest one
// after it; "" where there is none.
func planTexts(evs []store.StoredEvent, action string, seq uint64) (before, after string) {
	for _, ev := range evs {
		if b, ok := ev.Decoded.(remedy.Planned); ok && b.Action == action {
			if ev.Seq < seq {
				before = b.Plan.Text
			} else {
				after = b.Plan.Text
			}
		}
	}
	return before, after
}

// planDiff is the difference between the plan that was shown, by its hash or the
// beginning of it, and the one in force; nil if it is the same, or the shown one
// is not in the case's history.
func planDiff(evs []store.StoredEvent, a remedy.Action, shown string) []string {
	if len(shown) < minShown || strings.HasPrefix(a.Plan.Hash, shown) || a.Plan.Text == "" {
		return nil
	}
	for _, ev := range slices.Backward(evs) {
		if b, ok := ev.Decoded.(remedy.Planned); ok && b.Action == a.ID && strings.HasPrefix(b.Plan.Hash, shown) && b.Plan.Text != a.Plan.Text {
			return diffLines(lines(b.Plan.Text), lines(a.Plan.Text))
		}
	}
	return nil
}

// pastRole tells readers of screens at once what they did not expect.
func pastRole(d approvalData) string {
	if d.Past.Tone == toneWarn {
		return "alert"
	}
	return "status"
}
