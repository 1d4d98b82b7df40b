package app

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

// Environment says to policy what the given connectors can do, and which routes
// lead messages on.
func Environment(specs []connector.Spec, routes []string) policy.Environment {
	env := policy.Environment{Systems: []string{"tracker"}, Channels: routes}
	names := func(ps []connector.Param) (all, required []string) {
		for _, p := range ps {
			all = append(all, p.Name)
			if p.Required {
				required = append(required, p.Name)
			}
		}
		return all, required
	}
	for _, s := range specs {
		if s.Tickets {
			env.Systems = append(env.Systems, s.Name)
		}
		for _, a := range s.Actions {
			all, required := names(a.Params)
			env.Actions = append(env.Actions, policy.Action{Connector: s.Name, Verb: a.Verb, Once: a.Once, Reversibility: a.Reversibility,
				Undoable: a.Undoable, Probe: a.Probe, Continuity: a.Continuity, Params: all, Required: required})
		}
		for _, p := range s.Probes {
			all, required := names(p.Params)
			env.Probes = append(env.Probes, policy.Probe{Connector: s.Name, Verb: p.Verb, Grade: p.Grade, Params: all, Required: required})
		}
	}
	return env
}

// live is the judgement in force: what a reload swaps.
type live struct {
	judge judge.Judge
	files []policy.File
}

// Judge implements engine.Judge.
func (l *live) Judge(f finding.Finding, c engine.CaseFacts, at time.Time) (remedy.Judgement, []byte) {
	j, why := l.judge.Judge(f, policy.CaseFacts{Recurrence: c.Recurrence, Opened: c.Opened}, at)
	return j, why.Snapshot
}

// tickets render tickets from the policy's templates.
type tickets struct {
	live  func() *live
	store Store
	base  string
}

// Ticket implements engine.Tickets. Without a template the finding speaks for
// itself.
func (t tickets) Ticket(ctx context.Context, c remedy.Case, tk remedy.Ticket, f finding.Finding) connector.TicketRequest {
	var facts policy.Facts
	b, err := t.store.Fact(ctx, c.Tenant, c.Judgement.Facts)
	if err == nil {
		err = json.Unmarshal(b, &facts)
	}
	if err != nil {
		facts = policy.FactsOf(f, policy.CaseFacts{})
	}
	req := connector.TicketRequest{Title: f.Title, Body: f.Description, Assignee: c.Owner(), Due: c.Clocks().Fix}
	for _, s := range c.Judgement.Decision.Tickets {
		if s.System == tk.System && s.Template == tk.Template {
			req.Project = s.Project
		}
	}
	out, ok := t.live().judge.Pack.Ticket(tk.Template, policy.TicketValues(f, facts, c.Judgement, c.ID, t.base+"/cases/"+c.ID))
	if ok {
		req.Title, req.Body, req.Fields = out.Title, out.Body, out.Fields
	}
	return req
}

// people answers questions about teams and delegations from the directory.
type people struct{ live func() *live }

// Teams implements auth.Directory: the ids of the teams a person is in. The
// person may be named by id, mail or a login.
func (p people) Teams(person string) []string {
	d := p.live().judge.Directory
	id := personID(d, person)
	var out []string
	for _, t := range d.Data().Teams {
		if slices.Contains(d.Members(t.ID), id) || t.Lead == id {
			out = append(out, t.ID)
		}
	}
	return out
}

// ActsFor implements auth.Directory: who delegated to the person at at.
func (p people) ActsFor(person string, at time.Time) []string {
	d := p.live().judge.Directory
	id := personID(d, person)
	var out []string
	for _, x := range d.Data().Delegations {
		if x.To == id && !at.Before(x.Start) && at.Before(x.Until) {
			out = append(out, x.From)
		}
	}
	return out
}

func personID(d *owner.Directory, name string) string {
	for _, p := range d.Data().People {
		if p.ID == name || p.Email != "" && strings.EqualFold(p.Email, name) || slices.Contains(p.Logins, name) {
			return p.ID
		}
	}
	return name
}
