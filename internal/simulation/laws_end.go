package simulation

import (
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// slack is how late something may be at the end of a life: nodes whose clock
// ran ahead wrote instants that far in the future.
const slack = 4 * time.Hour

// end holds the laws that speak of what must have happened by now, after all
// trouble ended and time passed.
func (a *audit) end() {
	s := a.s
	a.pull()
	rows := a.rows()
	for _, id := range a.order {
		v := a.cases[id]
		a.replayed(v)
		row, ok := rows[id]
		if !ok || row.Version != v.version {
			s.breach(1, "case %s has %d events, its row says %d", id, v.version, row.Version)
		}
		a.orphan(v, row)
		a.overdue(v)
	}
	effects, err := s.store.EffectsOf(s.ctx, "", 1000)
	s.must(err)
	for _, e := range effects {
		if s.now.Sub(e.NextAt) > slack {
			s.breach(9, "effect %s waits since %s (attempt %d, %s)", e.ID, e.NextAt, e.Attempt, e.LastError)
		}
	}
	for i, t := range s.world.targets {
		id := a.open[i]
		if id == "" {
			continue
		}
		if v := a.cases[id]; !v.open {
			s.breach(2, "case %s of %s", id, t.asset)
		}
	}
}

// rows are the cases as lists show them.
func (a *audit) rows() map[string]store.CaseRow {
	out := map[string]store.CaseRow{}
	cursor := ""
	for {
		p, err := a.s.store.ListCases(a.s.ctx, store.CaseFilter{Tenant: finding.DefaultTenant}, cursor, 100)
		a.s.must(err)
		for _, r := range p.Cases {
			out[r.ID] = r
		}
		if cursor = p.Next; cursor == "" {
			return out
		}
	}
}

// replayed: the stored case is what its history says.
func (a *audit) replayed(v *caseView) {
	c, err := a.s.store.Load(a.s.ctx, v.id)
	a.s.must(err)
	if c.Version != v.version || c.Open() != v.open || c.Severity != v.severity || len(c.Members) != len(v.members) || c.Settled != v.settled {
		a.s.breach(10, "case %s is stored at version %d, open %v, severity %s, %d members, settled %v; its history says %d, %v, %s, %d, %v", v.id,
			c.Version, c.Open(), c.Severity, len(c.Members), c.Settled, v.version, v.open, v.severity, len(v.members), v.settled)
	}
	for _, x := range v.actions {
		if y, ok := c.Action(x.id); !ok || y.Status != x.status {
			a.s.breach(10, "action %s of %s is stored as %s, its history says %s", x.id, v.id, y.Status, x.status)
		}
	}
}

// orphan: what is not settled has a next instant, an owner and a bottleneck.
func (a *audit) orphan(v *caseView, row store.CaseRow) {
	if v.settled {
		return
	}
	if row.WakeAt.IsZero() || row.Owner == "" || row.Bottleneck.Who == "" {
		a.s.breach(9, "case %s is %s and has wake-up %s, owner %q, bottleneck %q", v.id, row.State, row.WakeAt, row.Owner, row.Bottleneck.Who)
	}
	if a.s.healing && a.s.now.Sub(row.WakeAt) > slack {
		a.s.breach(9, "case %s should have woken up at %s", v.id, row.WakeAt)
	}
}

// overdue: what has an instant happened when it had come.
func (a *audit) overdue(v *caseView) {
	s := a.s
	past := func(t time.Time) bool { return !t.IsZero() && s.now.Sub(t) > slack }
	if v.except != nil && past(v.except.Until) {
		s.breach(11, "the exception of case %s ended at %s and is in force", v.id, v.except.Until)
	}
	if x := v.stopped(); x != nil && past(x.until) {
		s.breach(11, "the clock of case %s was paused until %s and stands still", v.id, x.until)
	}
	if !v.open && (v.how == remedy.ClosedSuppressed || v.how == remedy.ClosedAttested) && past(v.until) {
		s.breach(9, "case %s was set aside as %s until %s and did not come back", v.id, v.how, v.until)
	}
	if !v.open && !v.settled && (v.how == remedy.ClosedProven || v.how == remedy.ClosedGone) && s.now.Sub(v.closedAt) > 8*24*time.Hour {
		s.breach(9, "case %s closed at %s and is not settled", v.id, v.closedAt)
	}
	if v.open && v.except == nil {
		k := v.judged.Clocks
		for _, d := range []struct {
			name string
			due  time.Time
			met  bool
		}{{"ack", v.due(k.Ack), v.acked}, {"contain", v.due(k.Contain), v.contained}, {"fix", v.due(k.Fix), false}} {
			if past(d.due) && !d.met && !v.said[d.name] {
				s.breach(11, "the %s deadline of case %s passed at %s, and nobody was told", d.name, v.id, d.due)
			}
		}
	}
	for _, x := range v.actions {
		switch {
		case x.asking() && past(x.ask.ExpiresAt):
			s.breach(4, "the request to approve %s of %s expired at %s and stands", x.id, v.id, x.ask.ExpiresAt)
		case past(x.expires) && x.status == remedy.ActionDone && !v.said["expired."+x.id]:
			s.breach(9, "the containment %s of %s should have ended at %s", x.id, v.id, x.expires)
		}
	}
	if len(v.messages) > 0 {
		s.breach(9, "%d messages of case %s wait for ever", len(v.messages), v.id)
	}
}
