package engine

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// undo changes an action back: commit the intent, undo, record.
func (r *run) undo(ctx context.Context) error {
	a, _ := r.c.Action(r.l.Row.Effect.Action)
	actor, ok := r.e.Doors.Actor(a.Spec.Connector)
	if !ok {
		return r.later(ctx, connector.Errorf(connector.KindConfig, "connector %s is not set up: add it to the configuration", a.Spec.Connector))
	}
	_, _, scopes := r.e.Guards.Check(ctx, r.c, a, r.now)
	if a.UndoIntentAt.IsZero() {
		c, err := r.outcome(ctx, remedy.IntendUndo{Action: a.ID}, func(u *Unit) { u.PauseScopes = scopes })
		if errors.Is(err, ErrPaused) {
			return r.paused(ctx, pausedWhy, time.Minute)
		}
		if err != nil {
			return err
		}
		r.c = c
		a, _ = c.Action(a.ID)
		r.e.Failpoint("after undo intent")
	}
	r.scopes = scopes
	if stop, err := r.braked(ctx); stop {
		return err
	}
	q := r.change(a)
	q.Key = a.UndoKey()
	o, err := actor.Undo(ctx, a.Spec.Verb, q)
	r.e.Failpoint("after undo")
	if errors.Is(err, connector.ErrStopped) {
		return r.paused(ctx, err.Error(), min(afterOf(err), time.Minute))
	}
	done := remedy.UndoDone{Action: a.ID, Detail: o.Detail}
	if err != nil {
		if connector.KindOf(err) != connector.KindRefused {
			return r.later(ctx, err) // an undo restores a state: it may be repeated
		}
		done.Failed = err.Error()
	}
	_, err = r.outcome(ctx, done, nil)
	return err
}

// paused gives the effect back without counting a try.
func (r *run) paused(ctx context.Context, why string, wait time.Duration) error {
	r.held = false
	return ignoreStale(r.e.Effects.Postpone(ctx, r.l, r.now.Add(wait), why))
}

// probe observes what the case asked for.
func (r *run) probe(ctx context.Context) error {
	p := r.c.Probe
	a, _ := r.c.Action(p.Action)
	spec := r.c.Judgement.Decision.Probe
	if p.Purpose == remedy.ProbeContinuity {
		spec = a.Spec.Continuity
	}
	o := r.observe(ctx, a, spec)
	covers := make([]string, len(r.c.Members))
	for i, m := range r.c.Members {
		covers[i] = m.UID
	}
	_, err := r.outcome(ctx, remedy.Probed{N: p.N, Observation: o, Covers: covers}, nil)
	r.e.Failpoint("after probe")
	return err
}

// message delivers one notice.
func (r *run) message(ctx context.Context) error {
	var m remedy.Message
	for _, x := range r.c.Messages {
		if x.N == r.l.Row.Effect.N {
			m = x
		}
	}
	n, ok := r.e.Doors.Notifier(m.Route)
	if !ok {
		return r.die(ctx, "there is no route "+m.Route+": add it to the configuration")
	}
	notice := connector.Notice{Key: r.l.Row.ID, Kind: m.Kind, CaseID: r.c.ID, Title: r.c.Title, Text: m.Text, To: m.To, At: m.At,
		Link: r.e.BaseURL + "/cases/" + r.c.ID, Fields: r.fields()}
	if a, ok := r.c.Action(m.Action); ok && (m.Kind == "approval" || m.Kind == "approval_reminder") {
		notice.Link = r.e.BaseURL + "/approvals/" + r.c.ID + "/" + m.Action
		if len(a.Plan.Hash) >= 12 { // so that a late reader is told what has changed since
			notice.Link += "?plan=" + a.Plan.Hash[:12]
		}
		r.ask(notice.Fields, a)
	}
	if err := n.Notify(ctx, notice); err != nil {
		if connector.KindOf(err) == connector.KindRefused {
			return r.die(ctx, err.Error())
		}
		return r.later(ctx, err) // repeats carry the same key
	}
	r.e.Failpoint("after message")
	_, err := r.outcome(ctx, remedy.Delivered{N: m.N}, nil)
	return err
}

func (r *run) fields() map[string]string {
	f := map[string]string{"class": string(r.c.Class), "risk": r.c.RiskClass().String(), "owner": r.c.Owner(),
		"asset": r.c.Asset.Name, "environment": r.c.Asset.Environment, "state": string(r.c.State())}
	if fix := r.c.Clocks().Fix; !fix.IsZero() {
		f["due"] = fix.Format(time.RFC3339)
	}
	return f
}

// ask adds what an approver has to know, as on the card.
func (r *run) ask(fields map[string]string, a remedy.Action) {
	b := r.c.Judgement.Routing.Backup
	for name, v := range map[string]string{"plan": a.Plan.Text, "blast": a.Plan.Blast, "undo": a.Plan.Undo, "why": r.c.Judgement.Decision.Why,
		"asked": strings.Join(a.Approval.From, ", "), "backup": b, "plan_hash": a.Plan.Hash} {
		if v != "" {
			fields[name] = v
		}
	}
	if end := a.Approval.ExpiresAt; !end.IsZero() {
		fields["answer_by"] = end.Format(time.RFC3339)
	}
}

// ticket opens a ticket or says its next lines.
func (r *run) ticket(ctx context.Context) error {
	ef := r.l.Row.Effect
	var t remedy.Ticket
	for _, x := range r.c.Tickets {
		if x.N == ef.N {
			t = x
		}
	}
	tr, ok := r.e.Doors.Tracker(t.System)
	if !ok {
		return r.die(ctx, "there is no system of record "+t.System+": add it to the configuration")
	}
	if ef.Kind == remedy.EffectTicket {
		return r.openTicket(ctx, tr, t)
	}
	for i, line := range t.Lines {
		if t.Status == remedy.TicketProven && i == len(t.Lines)-1 {
			line += "\n\nEvidence: " + r.e.BaseURL + "/cases/" + r.c.ID
		}
		if err := tr.Say(ctx, t.Ref, r.c.ID+"/"+strconv.Itoa(t.N)+"/"+strconv.Itoa(t.Told+i+1), line); err != nil {
			return r.ticketFailed(ctx, err)
		}
	}
	var err error
	re, reopens := tr.(connector.Reopener)
	fi, finishes := tr.(connector.Finisher)
	switch {
	case reopens && t.Status == remedy.TicketReopened:
		err = re.Reopen(ctx, t.Ref)
	case finishes && t.Status == remedy.TicketProven:
		err = fi.Finish(ctx, t.Ref)
	}
	if err != nil {
		return r.ticketFailed(ctx, err)
	}
	_, err = r.outcome(ctx, remedy.TicketSaid{N: t.N, Told: t.Said}, nil)
	return err
}

func (r *run) openTicket(ctx context.Context, tr connector.Tracker, t remedy.Ticket) error {
	f, err := r.e.face(ctx, r.c)
	if err != nil {
		return err
	}
	req := r.e.Tickets.Ticket(ctx, r.c, t, f)
	req.Key, req.CaseID, req.Repeat = r.c.ID+"/ticket/"+strconv.Itoa(t.N), r.c.ID, r.l.Attempt > 1
	req.Link = r.e.BaseURL + "/cases/" + r.c.ID
	ref, url, err := tr.Open(ctx, req)
	if err != nil {
		return r.ticketFailed(ctx, err)
	}
	r.e.Failpoint("after ticket")
	_, err = r.outcome(ctx, remedy.TicketOpened{N: t.N, Ref: ref, URL: url}, nil)
	return err
}

func (r *run) ticketFailed(ctx context.Context, err error) error {
	if connector.KindOf(err) == connector.KindRefused {
		return r.die(ctx, err.Error())
	}
	return r.later(ctx, err)
}

// judge judges the case anew.
func (r *run) judge(ctx context.Context) error {
	j, facts, err := r.e.rejudge(ctx, r.c, r.now)
	if err != nil {
		return err
	}
	_, err = r.outcome(ctx, remedy.Rejudge{Judgement: j, Trigger: r.c.NeedJudge}, func(u *Unit) { u.Facts = facts })
	return err
}
