package policy

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

func (l *loader) match(raw rawMatch) match {
	for _, c := range raw.Class {
		if !strings.HasSuffix(c.s, "*") && !finding.KnownClass(finding.Class(c.s)) {
			var names []string
			for _, i := range finding.Classes() {
				names = append(names, string(i.Class))
			}
			c.at.failf(didYouMean(c.s, names), "there is no class %s", quote(c.s))
		}
	}
	return match{raw.Class.words(), raw.Domain.words(), raw.Risk.words(), raw.Team.words(), raw.Account.words(), raw.Environment.words(), raw.App.words()}
}

func (l *loader) routes(raws []rawRoute) {
	for i, raw := range raws {
		l.unique("route", raw.Name)
		r := route{name: raw.Name.s, match: l.match(raw.Match), notify: raw.Notify.words()}
		for _, t := range raw.Tickets {
			l.known(t.System, "system", l.env.Systems)
			l.known(t.Template, "template", keysOf(l.pack.templates))
			l.placeholders(t.Project, factNames())
			r.tickets = append(r.tickets, remedy.TicketSpec{System: t.System.s, Template: t.Template.s, Project: t.Project.s})
		}
		for _, n := range raw.Notify {
			l.known(n, "channel", l.env.Channels)
		}
		if last := i == len(raws)-1; r.match.empty() != last {
			if last {
				raw.Place.at.failf("end the routes with one that has no match", "the last route %q does not fit every case: a ticket could go nowhere", r.name)
			} else {
				raw.Place.at.failf("move it to the end or give it a match", "routes after %q are never reached", r.name)
			}
		}
		l.pack.routes = append(l.pack.routes, r)
	}
}

// Channels are the channels by which a team is told of what belongs to no case:
// those of the first route that asks for nothing but the team.
func (p *Pack) Channels(team string) []string {
	for _, r := range p.routes {
		m := r.match
		m.team = nil
		if m.empty() && in(r.match.team, team) {
			return append([]string(nil), r.notify...)
		}
	}
	return nil
}

func (l *loader) exceptions(raws []rawException) {
	for _, raw := range raws {
		l.unique("exception", raw.Name)
		e := exception{name: raw.Name.s, reason: raw.Reason.s, asked: raw.Asked.s, approved: raw.Approved.s, from: raw.From.t, until: raw.Until.t}
		e.when, _ = l.condition(raw.When)
		if e.asked == e.approved && e.asked != "" {
			raw.Approved.at.failf("let somebody else approve it", "exception %q was asked for and approved by the same person", e.name)
		}
		if !e.from.IsZero() && !e.until.IsZero() && !e.until.After(e.from) {
			raw.Until.at.failf("", "exception %q ends before it begins", e.name)
		}
		l.pack.exceptions = append(l.pack.exceptions, e)
	}
}
