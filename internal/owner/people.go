package owner

import (
	"fmt"
	"slices"
	"time"
)

// maxApprovers bounds the list of people who may approve one change.
const maxApprovers = 5

// present tells whether a person is there at an instant.
func (d *Directory) present(id string, at time.Time) bool {
	p, ok := d.people[id]
	return ok && !p.Left && !slices.ContainsFunc(p.Away, func(w Window) bool { return w.Holds(at) })
}

// standIn returns who owns in the place of the named person or team: themselves
// when they are there. Somebody away is stood in for by the next on the team,
// the lead, the manager; a leaver by the lead, the manager, the team. A team
// that nobody belongs to any more falls to its parent. "" if there is nobody.
func (d *Directory) standIn(named string, q Question) (id, why string) {
	p, isPerson := d.people[named]
	if !isPerson {
		for t := named; t != ""; t = d.teams[t].Parent {
			if d.alive(t) {
				if t != named {
					return t, fmt.Sprintf("team %s has nobody left, its parent %s owns", named, t)
				}
				return t, ""
			}
		}
		return "", fmt.Sprintf("team %s has nobody, and no parent that has", named)
	}
	if d.present(named, q.At) {
		return named, ""
	}
	lead := d.teams[p.Team].Lead
	heirs := append(d.after(p), lead)
	reason := "is away"
	if p.Left {
		heirs, reason = []string{lead}, "has left"
	}
	heirs = append(heirs, d.manager(p.ID, q.At))
	for _, h := range heirs {
		if h != named && d.present(h, q.At) {
			return h, fmt.Sprintf("%s %s, %s stands in", named, reason, h)
		}
	}
	if p.Team != "" && d.alive(p.Team) {
		return p.Team, fmt.Sprintf("%s %s, team %s stands in", named, reason, p.Team)
	}
	return "", fmt.Sprintf("%s %s and nobody stands in", named, reason)
}

// alive tells whether a team has anybody who has not left.
func (d *Directory) alive(team string) bool {
	t := d.teams[team]
	return slices.ContainsFunc(append([]string{t.Lead, t.OnCall}, d.members[team]...), func(id string) bool {
		p, ok := d.people[id]
		return ok && !p.Left
	})
}

// after returns the people of somebody's team, from the next in order around.
func (d *Directory) after(p Person) []string {
	all := d.members[p.Team]
	i := slices.Index(all, p.ID)
	return append(slices.Clone(all[i+1:]), all[:max(i, 0)]...)
}

// manager returns the nearest manager above a person who is there, "" if none.
func (d *Directory) manager(id string, at time.Time) string {
	for id = d.people[id].Manager; id != ""; id = d.people[id].Manager {
		if d.present(id, at) {
			return id
		}
	}
	return ""
}

// fillPeople fills in approvers, backup, manager and operations lead.
func (d *Directory) fillPeople(a *Assignment, q Question) {
	barred := map[string]string{}
	if id, ok := d.lookup(q.LastModifier); ok {
		barred[id] = "changed it last"
	}
	if id, ok := d.lookup(q.Requester); ok {
		barred[id] = "asks for it"
	}
	for _, c := range d.candidates(a.Owner, q.At) {
		if id := d.approves(c, barred, q); id != "" && !slices.Contains(a.Approvers, id) && len(a.Approvers) < maxApprovers {
			a.Approvers = append(a.Approvers, id)
		}
	}
	if len(a.Approvers) == 0 {
		a.Gaps = append(a.Gaps, fmt.Sprintf("nobody may approve for %s: everybody is away, has left, asks for the change or made the last one", a.Owner))
	} else {
		a.Approver = a.Approvers[0]
	}
	a.Backup = d.backup(a, q)
	a.Manager = d.managerOf(a.Owner, q.At)
	a.OpsLead = d.opsLead(q.At)
	if a.OpsLead == "" {
		a.Gaps = append(a.Gaps, "there is no operations lead who is there, so escalations end at the manager")
	}
}

// candidates lists who could approve for an owner, best first: the person
// themselves, then lead, on-call and members of the team and of the teams above
// it, then managers, the operations lead and the fallback team.
func (d *Directory) candidates(owner string, at time.Time) []string {
	var list []string
	team := owner
	if p, ok := d.people[owner]; ok {
		list, team = append(list, owner), p.Team
	}
	for t := team; t != ""; t = d.teams[t].Parent {
		list = append(list, d.teams[t].Lead, d.teams[t].OnCall)
		list = append(list, d.members[t]...)
	}
	list = append(list, d.managerOf(owner, at), d.data.OperationsLead)
	f := d.teams[d.data.Fallback]
	return append(append(list, f.Lead, f.OnCall), d.members[f.ID]...)
}

// approves returns who approves when a candidate is asked: their delegate, or
// themselves; "" if neither may. A delegate never passes it on, and somebody
// barred approves neither in person nor for others.
func (d *Directory) approves(id string, barred map[string]string, q Question) string {
	if _, known := d.people[id]; !known {
		return ""
	}
	for _, g := range d.data.Delegations {
		// Who may not approve cannot choose who does instead.
		if g.From == id && barred[id] == "" && !d.people[id].Left && (Window{g.Start, g.Until}).Holds(q.At) &&
			barred[g.To] == "" && d.present(g.To, q.At) {
			return g.To
		}
	}
	if barred[id] == "" && d.present(id, q.At) {
		return id
	}
	return ""
}

// backup is the on-call of the owner's team or of one above it, else the next
// approver; never the approver or the owner.
func (d *Directory) backup(a *Assignment, q Question) string {
	team := a.Owner
	if p, ok := d.people[a.Owner]; ok {
		team = p.Team
	}
	for t := team; t != ""; t = d.teams[t].Parent {
		if id := d.teams[t].OnCall; id != a.Owner && id != a.Approver && slices.Contains(a.Approvers, id) {
			return id
		}
	}
	for _, id := range a.Approvers {
		if id != a.Approver && id != a.Owner {
			return id
		}
	}
	return ""
}

// managerOf returns who is told after owner and backup: the manager above the
// person or the team's lead, else the lead of the team above.
func (d *Directory) managerOf(owner string, at time.Time) string {
	person, team := owner, owner
	if p, ok := d.people[owner]; ok {
		team = p.Team
	} else {
		person = d.teams[owner].Lead
	}
	if id := d.manager(person, at); id != "" {
		return id
	}
	for t := d.teams[team].Parent; t != ""; t = d.teams[t].Parent {
		if id := d.teams[t].Lead; id != person && d.present(id, at) {
			return id
		}
	}
	return ""
}

// opsLead is the operations lead, or who stands in: the next on their team, the
// team's lead, their manager.
func (d *Directory) opsLead(at time.Time) string {
	id := d.data.OperationsLead
	if id == "" || d.present(id, at) {
		return id
	}
	p := d.people[id]
	for _, h := range append(d.after(p), d.teams[p.Team].Lead, d.manager(id, at)) {
		if d.present(h, at) {
			return h
		}
	}
	return ""
}
