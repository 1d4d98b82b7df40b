package web

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// The kinds by which a timeline is filtered.
const (
	kindFinding  = "finding"
	kindDecision = "decision"
	kindAction   = "action"
	kindVerify   = "verify"
	kindHuman    = "human"
	kindNotice   = "notice"
)

// timelineKinds lists the kinds with their labels, in the order of the filter.
func timelineKinds() [][2]string {
	return [][2]string{{"", "All"}, {kindDecision, "Decisions"}, {kindAction, "Actions"}, {kindVerify, "Verification"},
		{kindHuman, "People"}, {kindFinding, "Findings"}, {kindNotice, "Notices"}}
}

// entry is one event in words.
type entry struct {
	Seq   uint64
	At    time.Time
	Actor string
	Kind  string
	Icon  string
	Tone  tone
	// Verb and Object make the sentence "Actor verb object".
	Verb, Object string
	// Detail is a second line, Quote the words of a person.
	Detail string
	Quote  string
	Type   string
	Hash   string
}

// timeline puts events into words, oldest first, keeping those of kind ("" for
// all).
func timeline(evs []store.StoredEvent, kind string, names people, notes map[remedy.Note]string) []entry {
	var out []entry
	for _, ev := range evs {
		if ev.Decoded == nil {
			continue
		}
		e := describe(ev.Decoded, names)
		if e.Verb == "" || kind != "" && e.Kind != kind {
			continue
		}
		e.Seq, e.At, e.Actor, e.Type = ev.Seq, ev.At, names.actor(doer(ev)), ev.Type
		e.Object, e.Detail = names.text(e.Object), names.text(e.Detail)
		e.Hash = shortHash(ev.Hash)
		if n := noteOf(ev.Decoded); n != "" {
			e.Quote = cmp.Or(notes[n], "(erased)")
		}
		if n := aliasOf(ev.Decoded); n != "" {
			e.Quote += "; evidence that both assets are one: " + cmp.Or(notes[n], "(erased)")
		}
		out = append(out, e)
	}
	return out
}

// doer is who the reader takes for the one who did it: what followed from a
// source's report was decided by policy and done by us, not by the source.
func doer(ev store.StoredEvent) remedy.Actor {
	switch ev.Decoded.(type) {
	case remedy.Opened, remedy.Joined, remedy.MemberChanged:
		return ev.By
	case remedy.Judged:
		return remedy.Actor{Kind: remedy.Policy}
	case remedy.ActionAdded:
		if ev.By.Kind != remedy.Person {
			return remedy.Actor{Kind: remedy.Policy}
		}
	}
	if ev.By.Kind == remedy.Source {
		return remedy.Actor{Kind: remedy.System}
	}
	return ev.By
}

func shortHash(h [32]byte) string {
	const digits = "0123456789abcdef"
	var b [12]byte
	for i := range 6 {
		b[2*i], b[2*i+1] = digits[h[i]>>4], digits[h[i]&15]
	}
	return string(b[:])
}

func say(kind, icon string, t tone, verb, object string, detail ...string) entry {
	return entry{Kind: kind, Icon: icon, Tone: t, Verb: verb, Object: object, Detail: strings.Join(detail, " ")}
}

// describe puts one event into words. Mere bookkeeping has no words.
func describe(b remedy.Body, names people) entry {
	switch e := b.(type) {
	case remedy.Opened:
		return say(kindFinding, "open", toneBad, "opened the case:", e.Title, "exposed since "+stamp(e.DetectedAt))
	case remedy.Joined:
		return say(kindFinding, "link", toneQuiet, "took in a finding of", e.Member.Source, e.Member.Why)
	case remedy.MemberChanged:
		return say(kindFinding, "link", toneQuiet, "reported the finding again as", string(e.Status))
	case remedy.Judged:
		d := e.Judgement.Decision
		return say(kindDecision, "scale", toneInfo, "decided", pathMark(d.Path()).Word+", "+d.Class.String()+", by rule "+d.Rule, d.Why)
	case remedy.JudgeAsked:
		return say(kindDecision, "scale", toneQuiet, "asked for a new decision:", e.Why)
	case remedy.EpisodeClosed:
		m := closedMark(e.How)
		return say(kindVerify, m.Icon, m.Tone, "closed the case as", string(e.How), e.Why)
	case remedy.EpisodeStarted:
		return say(kindVerify, "open", toneBad, "opened the case again:", e.Why)
	case remedy.CaseSettled:
		return say(kindVerify, "check", toneGood, "settled the case:", "every re-probe passed")
	case remedy.ProbeSaw:
		return describeProbe(e)
	case remedy.Contained:
		return say(kindVerify, "shield", toneGood, "proved the exposure", "contained")
	case remedy.EffectDied:
		return say(kindAction, "cross", toneBad, "gave up", e.Effect, e.Reason)
	case remedy.EffectStuck:
		return say(kindAction, "cross", toneBad, "made a dead letter of", e.Effect, e.Reason, "It is tried again every hour.")
	}
	if e := describeMerge(b); e.Verb != "" {
		return e
	}
	if e := describePeople(b, names); e.Verb != "" {
		return e
	}
	return describeAction(b, names)
}

func describeMerge(b remedy.Body) entry {
	switch e := b.(type) {
	case remedy.MergedInto:
		return say(kindHuman, "merge", toneQuiet, "merged the case into", e.Into, e.Why)
	case remedy.Absorbed:
		return say(kindHuman, "merge", toneQuiet, "merged into this case", e.From, plural(len(e.UIDs), "finding", "findings")+", "+plural(len(e.Keys), "key", "keys"))
	case remedy.MembersSplit:
		verb := "split off " + plural(len(e.UIDs), "finding", "findings") + " to"
		if e.Note == "" && !e.Undo {
			verb = "gave " + plural(len(e.UIDs), "finding", "findings") + " to"
		}
		if e.Undo {
			verb = "undid the merge and gave " + plural(len(e.UIDs), "finding", "findings") + " back to"
		}
		return say(kindHuman, "merge", toneQuiet, verb, e.To, e.Why)
	case remedy.Unmerged:
		return say(kindHuman, "merge", toneQuiet, "undid the merge into", e.From, "the case goes on")
	}
	return entry{}
}

func describeProbe(e remedy.ProbeSaw) entry {
	o := e.Observation
	m := resultMark(o.Result)
	if e.Purpose == remedy.ProbeContinuity {
		m = worksMark(o.Result)
	}
	verb := map[remedy.Purpose]string{
		remedy.ProbeAfter: "probed after the act:", remedy.ProbeContinuity: "checked that nothing broke:",
		remedy.ProbeSchedule: "probed by schedule:", remedy.ProbeClaim: "probed on a claim:",
		remedy.ProbeRecheck: "probed again after closing:", remedy.ProbeUndo: "probed after the undo:",
	}[e.Purpose]
	return say(kindVerify, m.Icon, m.Tone, cmp.Or(verb, "probed:"), strings.ToLower(m.Word), o.Detail+" ("+o.Probe+", "+o.Grade.String()+placeText(o.Place)+")")
}

func placeText(place string) string {
	if place == "" {
		return ""
	}
	return ", from " + place
}

func describePeople(b remedy.Body, names people) entry {
	switch e := b.(type) {
	case remedy.Acked:
		return say(kindHuman, "check", toneQuiet, "acknowledged", "the case")
	case remedy.AssignedTo:
		return say(kindHuman, "person", toneQuiet, "assigned the case to", names.of(e.To))
	case remedy.Commented:
		switch {
		case e.Undo:
			return say(kindHuman, "undo", toneQuiet, "said that a step is not done:", e.Step)
		case e.Step != "":
			return say(kindHuman, "check", toneQuiet, "said that a step is done:", e.Step)
		}
		return say(kindHuman, "pen", toneQuiet, "commented", "")
	case remedy.SnoozedUntil:
		return say(kindHuman, "mute", toneQuiet, "silenced reminders until", stamp(e.Until))
	case remedy.ClockPaused:
		return say(kindHuman, "pause", tonePerm, "paused the SLA clock until", stamp(e.Pause.Until), e.Pause.Reason.Words()+"; the exposure goes on")
	case remedy.ClockResumed:
		return say(kindHuman, "clock", toneQuiet, "let the SLA clock run again:", e.Why, "paused until "+stamp(e.At))
	case remedy.EscalatedFor:
		if e.Why == "" {
			return entry{}
		}
		return say(kindHuman, "siren", toneWarn, "escalated:", e.Why)
	case remedy.ExceptionGranted:
		return say(kindHuman, "clock", tonePerm, "granted an exception ("+e.Exception.Kind+") until", e.Exception.Until.Format(time.DateOnly),
			"asked for by "+names.of(e.Exception.Asked))
	case remedy.ExceptionEnded:
		return say(kindHuman, "clock", toneQuiet, "ended the exception:", e.Why)
	case remedy.ClockSaid:
		return describeClock(e)
	case remedy.LadderStepped:
		return say(kindNotice, "siren", toneWarn, "escalated to the", strings.ReplaceAll(e.Who, "_", " "), "step "+strconv.Itoa(e.Step))
	case remedy.MessageQueued:
		return say(kindNotice, "bell", toneQuiet, "told", cmp.Or(namesText(e.Message.To, names), "route "+e.Message.Route)+":", e.Message.Text)
	case remedy.MessageSent:
		if e.Failed != "" {
			return say(kindNotice, "cross", toneBad, "could not deliver a message:", e.Failed)
		}
	case remedy.TicketWanted:
		return say(kindNotice, "ticket", toneQuiet, "asked for a ticket in", e.Ticket.System)
	case remedy.TicketLinked:
		return say(kindNotice, "ticket", toneQuiet, "opened ticket", e.Ref)
	case remedy.TicketMoved:
		if !e.Done {
			return say(kindNotice, "ticket", toneQuiet, "said of the ticket:", e.Status)
		}
		return say(kindNotice, "ticket", toneQuiet, "saw the ticket go to", e.Status, "a claim, not a proof: it is probed")
	}
	return entry{}
}

func describeClock(e remedy.ClockSaid) entry {
	switch {
	case e.Breach:
		return say(kindNotice, "clock", toneBad, "declared overdue:", e.Duty, "due "+stamp(e.Due))
	case e.Action != "":
		return say(kindNotice, "clock", toneWarn, "said that the containment ends:", stamp(e.Due))
	}
	return say(kindNotice, "clock", toneWarn, "warned: due soon:", e.Duty, "due "+stamp(e.Due))
}

func namesText(ids []string, names people) string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = names.of(id)
	}
	return strings.Join(out, ", ")
}

func describeAction(b remedy.Body, names people) entry {
	switch e := b.(type) {
	case remedy.ActionAdded:
		return say(kindAction, "plus", toneQuiet, "added an action of the playbook:", e.Spec.Name, string(e.Spec.Phase)+" "+e.Action)
	case remedy.ActionMoved:
		m := actionMark(e.To)
		if e.To == remedy.ActionPlanning && e.Reason == "" {
			return entry{}
		}
		return say(kindAction, m.Icon, m.Tone, "moved action "+e.Action+" to", strings.ToLower(m.Word), e.Reason)
	case remedy.Planned:
		return say(kindAction, "gear", toneInfo, "planned:", firstLine(e.Plan.Text), "probe before: "+strings.ToLower(resultMark(e.Before.Result).Word))
	case remedy.ApprovalAsked:
		return say(kindDecision, "hand", tonePerm, "asked for approval of action "+e.Action+" from", cmp.Or(namesText(e.Approval.From, names), "the operations lead"),
			"answer until "+stamp(e.Approval.ExpiresAt))
	case remedy.ApprovalReminded:
		return say(kindDecision, "bell", toneWarn, "reminded, and asked the backup as well:", names.of(e.Backup))
	case remedy.Approved:
		return say(kindDecision, "check", toneGood, "approved action "+e.Action+" as", e.Grant.As, "plan "+short(e.Grant.PlanHash))
	case remedy.ApprovalVoided:
		return say(kindDecision, "cross", toneWarn, "voided the approval of action "+e.Action+":", e.Why, e.Diff)
	case remedy.Rejected:
		return say(kindDecision, "cross", toneWarn, "rejected action", e.Action)
	case remedy.Intended:
		return say(kindAction, "bolt", toneInfo, "committed the intent of action", e.Action, "before touching the target; plan "+short(e.PlanHash))
	case remedy.ActedOn:
		verb := "changed the target:"
		if e.Nothing {
			verb = "found the target in the wanted state:"
		}
		return say(kindAction, "bolt", toneInfo, verb, cmp.Or(e.Detail, "action "+e.Action), refText(e.Ref))
	case remedy.OutcomeUnknown:
		return say(kindAction, "question", toneBad, "does not know what came of action "+e.Action+":", e.Reason)
	case remedy.LookedFor:
		found := "it did not happen"
		if e.Found {
			found = "it happened"
		}
		return say(kindAction, "eye", toneInfo, "asked the target about action "+e.Action+":", found)
	case remedy.WatchStarted:
		return say(kindVerify, "eye", toneInfo, "watches that nothing breaks until", stamp(e.Until))
	case remedy.UndoAsked:
		return say(kindAction, "undo", toneWarn, "is undoing action "+e.Action+":", e.Reason)
	case remedy.UndoneAt:
		return say(kindAction, "undo", toneQuiet, "undid action "+e.Action, "", e.Detail)
	}
	return entry{}
}

func refText(ref string) string {
	if ref == "" {
		return ""
	}
	return "the target's reference: " + ref
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// short is the beginning of a hash, enough to compare by eye.
func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
