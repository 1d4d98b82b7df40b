package remedy

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
)

// chooser makes the choices of a walk: rapid's, which shrink, or fixed ones.
type chooser interface{ n(k int) int }

type rapidChooser struct{ t *rapid.T }

func (r rapidChooser) n(k int) int {
	all := [64]int{}
	for i := range all {
		all[i] = i
	}
	return rapid.SampledFrom(all[:k]).Draw(r.t, "n")
}

// often is true in about p of 64 cases.
func often(ch chooser, p int) bool { return ch.n(64) >= 64-p }

func oneOf[T any](ch chooser, xs ...T) T { return xs[ch.n(len(xs))] }

// walk is one life of a case in a world of which the commands tell.
type walk struct {
	ch  chooser
	c   Case
	now time.Time
	// exposed and gone are the truth outside.
	exposed, gone bool
	plan          int
	sent          []Command
	told          []Command // those taken
	asked         Command   // the one at hand
	winner        Case      // the case that this one was merged into
}

func newWalk(ch chooser) *walk { return &walk{ch: ch, now: start(), exposed: true} }

// next chooses a command. Most are what a working engine would send.
func (w *walk) next() Command {
	if w.c.Version == 0 {
		if often(w.ch, 2) {
			return w.by(w.anything())
		}
		return w.by(w.observe())
	}
	k := w.ch.n(64)
	switch {
	case k < 34:
		if p := Pending(w.c); len(p) > 0 {
			if often(w.ch, 40) { // what touches the case, rather than messages
				p = slices.DeleteFunc(slices.Clone(p), func(e Effect) bool { return e.Kind == EffectMessage || e.Kind == EffectSay })
			}
			if len(p) > 0 {
				w.now = w.now.Add(time.Duration(w.ch.n(20)) * time.Second)
				return w.by(w.answer(p[w.ch.n(len(p))]))
			}
		}
		fallthrough
	case k < 42:
		if at := WakeAt(w.c); at.After(w.now) {
			w.now = at
		}
		if often(w.ch, 3) {
			w.now = w.now.Add(time.Duration(1+w.ch.n(40)) * 24 * time.Hour)
		}
		return w.by(Tick{})
	case k < 55:
		return w.by(w.people())
	case k < 58:
		return w.by(w.observe())
	case k < 60:
		return w.by(Rejudge{Judgement: w.judge(), Trigger: oneOf(w.ch, "policy", "kev", "owner", "reopened", "opened")})
	case k < 62 && len(w.sent) > 0: // late, twice or out of order
		cmd := w.sent[w.ch.n(min(len(w.sent), 64))]
		if often(w.ch, 32) {
			cmd.At = w.now
		}
		return cmd
	}
	return w.by(w.anything())
}

func (w *walk) by(do Do) Command {
	by := Actor{System, "casement"}
	switch do.(type) {
	case Approve, Reject, Ack, Assign, Comment, ContainNow, Verify, Escalate, Snooze, PauseClock, ResumeClock, Reopen, Attest, UndoAction, Merge, Absorb, Split, Unmerge, RevokeException:
		by = Actor{Person, w.person()}
		if often(w.ch, 2) {
			by.Kind = System
		}
	case GrantException:
		by = Actor{Person, do.(GrantException).Exception.By}
		if often(w.ch, 4) {
			by.ID = w.person()
		}
	case Observe, Leave:
		by = Actor{Source, "aws.securityhub"}
	}
	at := w.now
	if often(w.ch, 3) {
		at = at.Add(-time.Duration(w.ch.n(60)) * time.Hour) // a clock that went back
	}
	return Command{At: at, By: by, Do: do}
}

func (w *walk) person() string { return oneOf(w.ch, "ann", "bob", "cid", "eve", "pat") }

func (w *walk) note() Note { return oneOf(w.ch, Note(""), Note("a1b2")) }

// answer does the work of an effect and reports it.
func (w *walk) answer(e Effect) Do {
	if often(w.ch, 2) {
		return Died{Effect: e, Reason: "gave up"}
	}
	if often(w.ch, 2) {
		return Stuck{Effect: e, Reason: "panicked"}
	}
	a, _ := w.c.Action(e.Action)
	switch e.Kind {
	case EffectJudge:
		return Rejudge{Judgement: w.judge(), Trigger: w.c.NeedJudge}
	case EffectPlan:
		return w.planned(a)
	case EffectAct:
		return w.act(a)
	case EffectLook:
		return Looked{Action: a.ID, Gen: a.Gen, Found: often(w.ch, 32), UndoHandle: "u", Ref: "r"}
	case EffectUndo:
		if a.UndoIntentAt.IsZero() {
			return IntendUndo{Action: a.ID}
		}
		if often(w.ch, 10) {
			return UndoDone{Action: a.ID, Failed: "somebody changed it"}
		}
		w.exposed = true
		return UndoDone{Action: a.ID, Detail: "restored"}
	case EffectProbe:
		return w.probed(e.N)
	case EffectMessage:
		return Delivered{N: e.N}
	case EffectTicket:
		return TicketOpened{N: e.N, Ref: oneOf(w.ch, "T-1", "T-2", ""), URL: "https://tickets"}
	default:
		t := w.c.Tickets[e.N-1]
		return TicketSaid{N: e.N, Told: t.Told + 1 + w.ch.n(t.Said-t.Told)}
	}
}

// planned answers with the plan of today; most days are like the one before.
func (w *walk) planned(a Action) Do {
	if often(w.ch, 3) {
		return PlanFailed{Action: a.ID, Gen: a.Gen, Reason: "no such bucket", Final: often(w.ch, 20)}
	}
	if often(w.ch, 8) {
		w.plan++
	}
	d := PlanMade{Action: a.ID, Gen: a.Gen, Before: w.sees(), Diff: "other grants",
		Plan: Plan{Hash: fmt.Sprintf("h%d", w.plan), Text: "remove public access", BeforeDigest: "b", At: w.now,
			LastModifier: oneOf(w.ch, "dan", "dan", "dan", "dan", "dan", "ann", "eve", "")}}
	if often(w.ch, 4) {
		d.Guard.Deny = "budget"
		d.Guard.RetryAt = oneOf(w.ch, time.Time{}, w.now.Add(time.Hour), w.now.Add(-time.Hour))
	}
	if often(w.ch, 4) {
		d.Guard.Ask = "protected asset"
	}
	return d
}

// act walks the two steps of an act: plan anew and intend, then the outcome.
func (w *walk) act(a Action) Do {
	if a.Status == ActionReady {
		switch {
		case often(w.ch, 12):
			return w.planned(a)
		case often(w.ch, 4):
			return Hold{Action: a.ID, Gen: a.Gen, Reason: "paused", RetryAt: w.now.Add(time.Hour)}
		}
		d := Intend{Action: a.ID, Gen: a.Gen, PlanHash: a.Plan.Hash, Entitled: !often(w.ch, 4)}
		if often(w.ch, 3) {
			d.PlanHash = "other"
		}
		return d
	}
	switch w.ch.n(12) {
	case 0:
		return Intend{Action: a.ID, Gen: a.Gen, PlanHash: a.Plan.Hash, Entitled: true, Repeat: true}
	case 1, 2:
		w.exposed = w.exposed && often(w.ch, 32)
		return Unsure{Action: a.ID, Gen: a.Gen, Reason: "connection lost"}
	case 3:
		return Refused{Action: a.ID, Gen: a.Gen, Reason: "denied", RetryAt: oneOf(w.ch, time.Time{}, w.now.Add(time.Minute))}
	}
	w.exposed = w.exposed && often(w.ch, 16) // the liar
	return Done{Action: a.ID, Gen: a.Gen, UndoHandle: "u", Ref: "r", Nothing: often(w.ch, 2)}
}

// sees is what the probe of the exposure says now: the truth, mostly.
func (w *walk) sees() Observation {
	o := saw(NotExposed, w.now)
	if w.exposed {
		o.Result = Exposed
	}
	w.gone = w.gone || often(w.ch, 1) && often(w.ch, 32)
	if w.gone {
		o.Result = Gone
	}
	switch {
	case often(w.ch, 5):
		o.Result = Inconclusive
	case often(w.ch, 1):
		o.Result = "teapot"
	}
	if often(w.ch, 4) {
		o.Place = "inside"
	}
	if often(w.ch, 4) {
		o.Grade = Grade(w.ch.n(3))
	}
	if often(w.ch, 2) {
		o.Probe = "scanner/silence"
	}
	return o
}

func (w *walk) probed(n int) Do {
	d := Probed{N: n, Observation: w.sees()}
	if w.c.Probe.Purpose == ProbeContinuity {
		d.Observation = Observation{Probe: "s3/health", Result: NotExposed, Grade: P3, At: w.now}
		if often(w.ch, 12) {
			d.Observation.Result = oneOf(w.ch, Exposed, Inconclusive, Gone)
		}
		return d
	}
	switch w.ch.n(8) {
	case 0:
		for _, m := range w.c.Members[:min(1, len(w.c.Members))] {
			d.Covers = append(d.Covers, m.UID)
		}
	case 1:
		for _, m := range w.c.Members {
			d.Covers = append(d.Covers, m.UID)
		}
	}
	if w.c.Closed != "" && often(w.ch, 4) {
		w.exposed = true // somebody opened it again
	}
	return d
}

// people is what people do of their own accord.
func (w *walk) people() Do {
	action := "e1.1"
	if n := len(w.c.Actions); n > 0 {
		action = w.c.Actions[w.ch.n(min(n, 64))].ID
	}
	a, _ := w.c.current()
	if a.Status == ActionAsking && often(w.ch, 48) {
		hash := a.Approval.PlanHash
		if often(w.ch, 3) {
			hash = "h0"
		}
		if often(w.ch, 6) {
			return Reject{Action: a.ID, As: oneOf(w.ch, "approver", ""), Note: w.note()}
		}
		return Approve{Action: a.ID, PlanHash: hash, As: oneOf(w.ch, "approver", "approver", "approver", "backup", ""), Note: w.note()}
	}
	switch w.ch.n(20) {
	case 0:
		return Ack{}
	case 1:
		return Assign{To: oneOf(w.ch, "team-web", "", "cid")}
	case 2:
		return Comment{Note: w.note()}
	case 3:
		return ContainNow{}
	case 4, 5:
		return Verify{}
	case 6:
		return Escalate{Note: w.note()}
	case 7:
		return Snooze{Until: w.now.Add(time.Duration(w.ch.n(10)) * 24 * time.Hour)}
	case 8:
		return Reopen{Note: w.note()}
	case 9:
		return Attest{Evidence: w.note(), Until: w.now.Add(time.Duration(w.ch.n(60)) * 10 * 24 * time.Hour)}
	case 10, 11:
		if often(w.ch, 40) {
			w.exposed = false // the colleague told the truth
		}
		return Claim{From: "tracker", Ticket: w.ch.n(3), Status: "done"}
	case 12:
		return GrantException{Exception{ID: "x1", Kind: "freeze", By: w.person(), Asked: w.person(),
			Until: w.now.Add(time.Duration(w.ch.n(20)-2) * 24 * time.Hour)}}
	case 13:
		return RevokeException{ID: oneOf(w.ch, "x1", "x2", "")}
	case 14, 15:
		return UndoAction{Action: action, Reason: "by hand"}
	case 16, 17:
		d := PauseClock{Reason: oneOf(w.ch, PauseReasons()...), Until: w.now.Add(time.Duration(w.ch.n(50)) * 20 * time.Minute), Note: "a1b2"}
		switch w.ch.n(16) {
		case 0:
			d.Reason = oneOf(w.ch, PauseReason(""), "owner", PauseException)
		case 1:
			d.Note = ""
		case 2:
			d.Until = oneOf(w.ch, time.Time{}, w.now.Add(30*24*time.Hour))
		}
		return d
	case 18:
		return ResumeClock{}
	}
	return w.mergeOrSplit()
}

// mergeOrSplit joins the case with another, or takes it apart again.
func (w *walk) mergeOrSplit() Do {
	note := oneOf(w.ch, Note("a1b2"), "a1b2", "a1b2", "")
	if w.c.MergedInto != "" && often(w.ch, 40) {
		return Unmerge{From: w.winner, Note: note}
	}
	alias := oneOf(w.ch, Note(""), "", "", "a1ce")
	switch w.ch.n(9) {
	case 8:
		return Leave{UID: oneOf(w.ch, "u1", "u2", "u3", "u4"), To: oneOf(w.ch, "c3", "c3", "c3", "")}
	case 0:
		return Merge{Into: w.peer(), Note: note, Alias: alias}
	case 1, 2, 3:
		return Absorb{From: w.peer(), Note: note, Alias: alias}
	case 4, 5:
		return Split{To: oneOf(w.ch, "c2", "c4"), Undo: true, Note: note}
	case 6:
		return Unmerge{From: w.peer(), Note: note}
	}
	return Split{UIDs: []string{oneOf(w.ch, "u1", "u2", "u3", "u4")}, To: oneOf(w.ch, "c3", "c3", "c3", ""), Note: note}
}

// peer is another case, mostly one that could be merged with this one.
func (w *walk) peer() Case {
	id := oneOf(w.ch, "c2", "c2", "c4", "c1")
	f := public("u4")
	o := observe(f, w.judge())
	o.ID, o.Key, o.DetectedAt = id, "v1:"+id, w.now.Add(-time.Duration(w.ch.n(60))*time.Hour)
	if often(w.ch, 4) {
		o.Finding.UID = "u2" // both have it
	}
	if often(w.ch, 8) {
		o.Finding.Asset.UID = "arn:aws:s3:::other"
	}
	if often(w.ch, 3) {
		o.Tenant = "other"
	}
	do := []Do{o}
	if often(w.ch, 6) {
		do = append(do, oneOf[Do](w.ch, GrantException{Exception{ID: "x9", Kind: "freeze", By: "ann", Asked: "bob", Until: w.now.Add(time.Hour)}},
			Claim{From: "ann"}, Attest{Evidence: "a1", Until: w.now.Add(time.Hour)}))
	}
	var c Case
	for _, d := range do {
		if _, after, err := Step(c, Command{At: w.now, By: Actor{Person, "ann"}, Do: d}); err == nil {
			c = after
		}
	}
	return c
}

// anything is a command that nobody called for.
func (w *walk) anything() Do {
	id := fmt.Sprintf("e%d.%d", 1+w.ch.n(2), 1+w.ch.n(3))
	gen, n := w.ch.n(3), w.ch.n(4)
	a, _ := w.c.Action(id)
	switch w.ch.n(16) {
	case 0:
		return w.planned(a)
	case 1:
		return PlanFailed{Action: id, Gen: gen, Reason: "late"}
	case 2:
		return Approve{Action: id, PlanHash: "h0", As: "approver"}
	case 3:
		return Intend{Action: id, Gen: gen, PlanHash: "h0", Entitled: true, Repeat: often(w.ch, 32)}
	case 4:
		return Hold{Action: id, Gen: gen, Reason: "late"}
	case 5:
		return Done{Action: id, Gen: gen}
	case 6:
		return Refused{Action: id, Gen: gen, Reason: "late"}
	case 7:
		return Unsure{Action: id, Gen: gen, Reason: "late"}
	case 8:
		return Looked{Action: id, Gen: gen, Found: often(w.ch, 32)}
	case 9:
		return Probed{N: n, Observation: saw(oneOf(w.ch, Exposed, NotExposed, Gone), w.now)}
	case 10:
		return IntendUndo{Action: id}
	case 11:
		return UndoDone{Action: id}
	case 12:
		return TicketOpened{N: n, Ref: "T-9"}
	case 13:
		return TicketSaid{N: n, Told: w.ch.n(9)}
	case 14:
		return Delivered{N: n}
	}
	kinds := []EffectKind{EffectPlan, EffectAct, EffectLook, EffectUndo, EffectProbe, EffectJudge}
	return Died{Effect: Effect{ID: oneOf(w.ch, kinds...).idOf(n), Kind: oneOf(w.ch, kinds...), Action: id, N: n}, Reason: "late"}
}

func (k EffectKind) idOf(n int) string { return fmt.Sprintf("%s/%d", k, n) }

func (w *walk) observe() Do {
	f := public(oneOf(w.ch, "u1", "u1", "u2", "u3"))
	f.Severity = oneOf(w.ch, finding.SeverityHigh, finding.SeverityLow)
	f.Status = oneOf(w.ch, finding.StatusOpen, finding.StatusOpen, "", finding.StatusFixed, finding.StatusDismissed)
	if w.c.Version == 0 {
		f.Status = finding.StatusOpen
	}
	f.LastSeen = w.now.Add(time.Duration(w.ch.n(8)-6) * time.Hour)
	o := observe(f, w.judge())
	o.Key = oneOf(w.ch, o.Key, o.Key, o.Key, "v1:c2")
	o.DetectedAt = oneOf(w.ch, time.Time{}, w.now.Add(-time.Hour), w.now.Add(time.Hour))
	return o
}

// judge draws what policy might say now.
func (w *walk) judge() Judgement {
	j := judged(w.now, w.playbook()...)
	d := &j.Decision
	d.Class = deadline.RiskClass(1 + w.ch.n(5))
	d.Grade = oneOf(w.ch, P1, P2, P2, P3)
	d.Incident, d.Ticket = often(w.ch, 8), often(w.ch, 24)
	d.Tickets = []TicketSpec{{System: "jira"}, {System: "snow"}}[:1+w.ch.n(2)]
	if often(w.ch, 3) {
		d.Suppress = true
		d.Until = oneOf(w.ch, time.Time{}, w.now.Add(72*time.Hour))
	}
	if often(w.ch, 6) {
		d.Mode = oneOf(w.ch, ModeShadow, ModeTicket, ModeApprove)
	}
	if often(w.ch, 4) {
		d.Probe = ProbeSpec{}
	}
	if often(w.ch, 4) {
		d.Unknown = []string{"blast"}
	}
	if often(w.ch, 2) {
		d.Error = "cost limit"
	}
	if often(w.ch, 8) {
		j.Ladder = nil
	}
	j.Routing.Known = !often(w.ch, 4)
	j.Routing.Owner = oneOf(w.ch, "team-data", "team-data", "team-data", "team-web", "")
	j.Versions.Authors = oneOf(w.ch, []string{"pat"}, []string{"pat", "quinn"}, []string{"ann"}, nil)
	j.Versions.Policy = oneOf(w.ch, "p1", "p1", "p2")
	scale := time.Duration(1 + w.ch.n(8))
	j.Clocks = deadline.Clocks{Ack: w.now.Add(scale * time.Hour), Fix: w.now.Add(scale * 24 * time.Hour), WarnPercent: oneOf(w.ch, 75, 0, 200)}
	if often(w.ch, 40) {
		j.Clocks.Contain = w.now.Add(scale * 6 * time.Hour)
	}
	return j
}

func (w *walk) playbook() []ActionSpec {
	auth := func() Authorization {
		return oneOf(w.ch, AuthEnforce, AuthEnforce, AuthEnforce, AuthApprove, AuthApprove, AuthNone)
	}
	var out []ActionSpec
	if often(w.ch, 32) {
		a := blockSpec(auth())
		a.Expires = oneOf(w.ch, 0, 3600, 3*86400)
		a.Undoable = !often(w.ch, 12)
		out = append(out, a)
	}
	if often(w.ch, 52) {
		a := closeSpec(auth())
		a.Settle = oneOf(w.ch, 0, 60)
		a.UnknownModifierOK = often(w.ch, 48)
		a.Quorum = oneOf(w.ch, 0, 1, 1, 2)
		a.Undoable = !often(w.ch, 12)
		if often(w.ch, 24) {
			a.Continuity, a.Watch = ProbeSpec{Connector: "s3", Verb: "health"}, 120
		}
		out = append(out, a)
	}
	if often(w.ch, 24) {
		a := rotateSpec(auth())
		a.OptIn = often(w.ch, 16)
		a.Reversibility = oneOf(w.ch, uint8(3), 3, 1, 2)
		out = append(out, a)
	}
	return out
}
