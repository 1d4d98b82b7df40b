package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// frame is what every page has around its content.
type frame struct {
	Title string
	// Nav is the chosen entry of the navigation.
	Nav string
	// Said is the notice after a command, from the address.
	Said      string
	Who       auth.Principal
	Now       time.Time
	Style     string
	Script    string
	Icon      string
	StyleSum  string
	ScriptSum string
	Version   string
	Approvals int
	Pauses    []pauseView
	Live      bool
	// Here is the address of this page, for going back to it.
	Here string
}

// pauseView is one thrown kill switch.
type pauseView struct {
	Scope, By, Why string
	At             time.Time
}

// frame reads what the frame shows. Its look-ups are for information only: if
// one fails the page is shown without it, and the fault is logged.
func (s *server) frame(r *http.Request, title, nav string) frame {
	f := frame{Title: title, Nav: nav, Who: auth.FromContext(r.Context()), Now: s.Now().UTC(), Style: s.assets["style.css"].path,
		Script: s.assets["app.js"].path, Icon: s.assets["icon.svg"].path, StyleSum: s.assets["style.css"].integrity,
		ScriptSum: s.assets["app.js"].integrity, Version: s.Version, Live: s.Hints != nil, Here: r.URL.RequestURI()}
	f.Said = saidText(r.URL.Query().Get("said"))
	if !f.Who.Can(auth.View) {
		return f
	}
	counts, err := s.Reader.Counts(r.Context(), f.Who.Tenant)
	if err != nil {
		s.Log.Error("counts not read", "err", err)
	}
	f.Approvals = counts[string(remedy.StateApproval)]
	if s.Switches == nil {
		return f
	}
	ps, err := s.Switches.Pauses(r.Context())
	if err != nil {
		s.Log.Error("pauses not read", "err", err)
	}
	names := s.names(r.Context())
	for _, p := range ps {
		if p.Tenant == "" || p.Tenant == f.Who.Tenant {
			f.Pauses = append(f.Pauses, pauseView{p.Scope, names.of(p.By.ID), p.Reason.Text, p.At})
		}
	}
	return f
}

// saidText is the notice for a word of the address; unknown words say nothing,
// so that nobody can put words into our mouth by a link.
func saidText(word string) string {
	switch word {
	case "dropped":
		return "The body was dropped; the ledger holds who did it and why."
	case "except":
		return "Asked. The exception holds once somebody else grants it."
	case "grant":
		return "Granted. It ends by itself; the ledger holds who asked and who granted it."
	case "drop-exception":
		return "The request is dropped; had somebody granted it just before, its exception is ended. The ledger holds which, and by whom."
	case "end-exception":
		return "Ended. What it set aside or let pass is judged again."
	case "ack":
		return "Acknowledged."
	case "assign":
		return "Assigned."
	case "comment":
		return "Your comment is in the timeline."
	case "verify":
		return "A probe was asked for; its result appears here."
	case "contain":
		return "Containment was asked for. Somebody else has to approve it."
	case "snooze":
		return "Reminders are silent until then. The clocks go on."
	case "pause":
		return "The SLA clock stands still until then. The exposure goes on."
	case "resume":
		return "The SLA clock runs again."
	case "escalate":
		return "Escalated to the manager and the operations lead."
	case "reopen":
		return "The case is open again."
	case "attest":
		return "Closed as attested. It opens again when the attestation ends."
	case "claim":
		return "Your word is taken as a claim. Where the playbook has a probe, it looks now; the case closes only by what it sees."
	case "step":
		return "Noted in the timeline under your name. Nothing follows from it by itself."
	case "step-undone":
		return "Noted: the step is not done."
	case "merge", "merge-alias":
		return "Merged. The other case goes on with the findings of both."
	case "split":
		return "Split off. This is the new case; the other one goes on with the rest."
	case "undo-merge":
		return "The merge is undone. Both cases are judged anew."
	case "undo":
		return "It is being changed back; a probe will show the state after it."
	case "comment-ticket":
		return "Your comment is on the ticket."
	case "ticket-open", "ticket-in-progress":
		return "The status is changed."
	case "ticket-done":
		return "Done is taken as a claim: a probe checks it now. The case closes only when the probe agrees."
	case "approve":
		return "Approved. The action starts as soon as everybody needed has agreed."
	case "reject":
		return "Rejected. Nothing is changed at the target."
	}
	return ""
}

// people maps principal ids to login names.
type people map[string]string

// of returns the name of a principal or the id itself.
func (p people) of(id string) string {
	if n := p[id]; n != "" {
		return n
	}
	return id
}

// text puts names in the place of ids in a sentence of the core.
func (p people) text(s string) string {
	for id, name := range p {
		if name == "" || !strings.Contains(s, id) {
			continue
		}
		words := strings.Fields(s)
		for i, w := range words {
			if strings.TrimRight(w, ".,:;)") == id {
				words[i] = name + w[len(id):]
			}
		}
		s = strings.Join(words, " ")
	}
	return s
}

// actor names who gave a command.
func (p people) actor(a remedy.Actor) string {
	switch a.Kind {
	case remedy.Person:
		return p.of(a.ID)
	case remedy.Policy:
		return "Policy"
	case remedy.Source:
		return a.ID
	}
	return "Casement"
}

func (s *server) names(ctx context.Context) people {
	m, err := s.Auth.Names(ctx, auth.FromContext(ctx).Tenant)
	if err != nil {
		s.Log.Error("names not read", "err", err)
	}
	return m
}

// clock is one duty of a case with its bar.
type clock struct {
	Name string
	Due  time.Time
	// Percent of the time that is used up, 0..100.
	Percent int
	Tone    tone
	Text    string
	Met     time.Time
}

// clocksOf returns the duties of the newest episode that have a due instant.
func clocksOf(c remedy.Case, now time.Time) []clock {
	ep, k := c.Episode(), c.Clocks()
	var out []clock
	if c.MergedInto != "" { // nothing was met by a merge: the clocks run in the other case
		return nil
	}
	add := func(name string, due, met time.Time) {
		if due.IsZero() {
			return
		}
		if met.IsZero() && !c.Open() {
			met = ep.ClosedAt
		}
		cl := clockOf(name, ep.OpenedAt, due, met, now, k.WarnPercent)
		if met.IsZero() {
			cl.stand(c, now)
		}
		out = append(out, cl)
	}
	add("Acknowledge", k.Ack, ep.AckAt)
	add("Contain", k.Contain, ep.ContainedAt)
	add("Fix", k.Fix, ep.ClosedAt)
	return out
}

// stand takes the time in which the clock stood still out of the share that is
// used up, and says that it stands still now.
func (cl *clock) stand(c remedy.Case, now time.Time) {
	ep := c.Episode()
	if len(ep.Pauses) == 0 || !now.Before(cl.Due) {
		return
	}
	all := deadline.Stood(ep.Still(), ep.OpenedAt, cl.Due)
	if term := cl.Due.Sub(ep.OpenedAt) - all; term > 0 {
		cl.Percent = int(min(max((now.Sub(ep.OpenedAt)-ep.Paused(now))*100/term, 0), 100))
	}
	if p, ok := c.Pausing(); ok && now.Before(p.Until) {
		cl.Tone, cl.Text = tonePerm, "paused; "+span(cl.Due.Sub(p.Until))+" left from "+p.Until.Format("2 Jan 15:04")+" UTC"
	}
}

// pausedTime is how long the SLA clock of a case stood still, in all episodes.
func pausedTime(c remedy.Case, at time.Time) time.Duration {
	var sum time.Duration
	for _, ep := range c.Episodes {
		sum += ep.Paused(at)
	}
	return sum
}

func clockOf(name string, start, due, met, now time.Time, warn int) clock {
	cl := clock{Name: name, Due: due, Met: met}
	at := now
	if !met.IsZero() {
		at = met
	}
	if total := due.Sub(start); total > 0 {
		cl.Percent = int(min(max(at.Sub(start)*100/total, 0), 100))
	} else {
		cl.Percent = 100
	}
	if warn <= 0 || warn >= 100 {
		warn = 75
	}
	switch {
	case !met.IsZero() && met.After(due):
		cl.Tone, cl.Text = toneBad, "met "+span(met.Sub(due))+" late"
	case !met.IsZero():
		cl.Tone, cl.Text = toneGood, "met in "+span(met.Sub(start))
	case now.After(due):
		cl.Tone, cl.Text = toneBad, span(now.Sub(due))+" overdue"
	case cl.Percent >= warn:
		cl.Tone, cl.Text = toneWarn, span(due.Sub(now))+" left"
	default:
		cl.Tone, cl.Text = toneInfo, span(due.Sub(now))+" left"
	}
	return cl
}

// nextClock is the earliest duty not yet met; ok is false if there is none.
func nextClock(cs []clock) (clock, bool) {
	open := slices.DeleteFunc(slices.Clone(cs), func(c clock) bool { return !c.Met.IsZero() })
	if len(open) == 0 {
		return clock{}, false
	}
	return slices.MinFunc(open, func(a, b clock) int { return cmp.Compare(a.Due.UnixNano(), b.Due.UnixNano()) }), true
}

// summary is one case as lists and headers show it.
type summary struct {
	Case    remedy.Case
	State   mark
	Path    mark
	Asset   string
	Owner   string
	Waits   string
	WaitsOn string
	Clock   clock
	Clocked bool
	// NoClock says why an open case has no deadline now.
	NoClock string
	// Window says how long the exposure is or was open.
	Window string
	Since  time.Time
	// Again: the exposure was closed before and came back.
	Again bool
	// Seen is what is known of the exposure, SeenAt when a probe saw it; zero if
	// none did.
	Seen   mark
	SeenAt time.Time
}

func (s *server) summarize(c remedy.Case, names people) summary {
	now := s.Now().UTC()
	v := summary{Case: c, State: stateMark(c.State(), c.Closed), Path: pathMark(c.Judgement.Decision.Path()), Owner: names.of(c.Owner()),
		Again: c.RecurrenceOf != "" || len(c.Episodes) > 1}
	v.Asset = cmp.Or(c.Asset.Name, c.Asset.UID, "unknown asset")
	v.Waits, v.WaitsOn = waitsFor(c, names)
	v.Clock, v.Clocked = nextClock(clocksOf(c, now))
	v.NoClock = "none"
	if c.Exception != nil { // the duties are off, the exposure is not
		v.Clocked, v.NoClock = false, "excepted until "+c.Exception.Until.Format("2 Jan 2006")
	}
	v.Seen, v.SeenAt = verdictOf(c, now), c.LastProbe.At
	ep := c.Episode()
	v.Since = ep.DetectedAt
	end := now
	if !c.Open() {
		end = ep.ClosedAt
	}
	v.Window = span(end.Sub(ep.DetectedAt))
	return v
}

// waitsFor says in words what a case waits for, and on whom.
func waitsFor(c remedy.Case, names people) (what, who string) {
	who = names.of(c.Bottleneck.Who)
	if who == "casement" {
		who = "Casement"
	}
	switch c.Bottleneck.Kind {
	case "nobody":
		return "nobody", ""
	case "owner":
		return "the owner", who
	case "approval":
		return "approval", who
	case "decision":
		return "a decision", who
	case "escalation":
		return "a person", who
	case "guardrail":
		return "a guardrail", who
	case "target":
		return "the target", who
	case "case":
		return "case", who
	case "dead letter":
		return "a dead letter", who
	}
	return c.Bottleneck.Kind, who
}

// notes returns the words behind the notes of stored events.
func (s *server) notes(ctx context.Context, tenant string, evs []store.StoredEvent) map[remedy.Note]string {
	var hashes []remedy.Note
	for _, e := range evs {
		for _, n := range []remedy.Note{noteOf(e.Decoded), aliasOf(e.Decoded)} {
			if n != "" {
				hashes = append(hashes, n)
			}
		}
	}
	out := map[remedy.Note]string{}
	if len(hashes) == 0 {
		return out
	}
	texts, err := s.Reader.Notes(ctx, tenant, hashes)
	if err != nil {
		s.Log.Error("notes not read", "err", err)
	}
	for h, n := range texts {
		out[h] = n.Text
	}
	return out
}

// noteOf is the note an event refers to, "" if none.
func noteOf(b remedy.Body) remedy.Note {
	switch e := b.(type) {
	case remedy.Commented:
		return e.Note
	case remedy.Approved:
		return e.Grant.Note
	case remedy.Rejected:
		return e.Note
	case remedy.SnoozedUntil:
		return e.Note
	case remedy.ClockPaused:
		return e.Pause.Note
	case remedy.EscalatedFor:
		return e.Note
	case remedy.EpisodeClosed:
		return e.Note
	case remedy.ExceptionGranted:
		return e.Exception.Reason
	case remedy.MergedInto:
		return e.Note
	case remedy.Absorbed:
		return e.Note
	case remedy.MembersSplit:
		return e.Note
	case remedy.Unmerged:
		return e.Note
	}
	return ""
}

// aliasOf is the evidence of a merge that two assets are one, "" if none.
func aliasOf(b remedy.Body) remedy.Note {
	switch e := b.(type) {
	case remedy.MergedInto:
		return e.Alias
	case remedy.Absorbed:
		return e.Alias
	}
	return ""
}

// lines cuts a text into lines for display.
func lines(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") }

// pausedWords says why the SLA clock stands still, and for how long it did in the
// episode; "" if it runs, or never stood still.
func pausedWords(c remedy.Case, names people, now time.Time) (why, sum string) {
	if d := c.Episode().Paused(now); d > 0 {
		sum = span(d)
	}
	if p, ok := c.Pausing(); ok && p.Reason != remedy.PauseException {
		why = "The SLA clock is paused until " + stamp(p.Until) + ": " + p.Reason.Words() + ", by " + names.of(p.By) + "."
	}
	return why, sum
}
