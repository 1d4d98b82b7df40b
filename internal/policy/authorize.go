package policy

import (
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// mode is the ceiling of a rule in the scope of the facts. A scope that an
// unknown fact might be in counts with the lowest mode.
func (j *judging) mode(r *rule) remedy.Mode {
	if j.opt.IgnoreModes {
		return remedy.ModeEnforce
	}
	lowest := remedy.ModeEnforce
	for _, m := range r.modes {
		sure, may := true, true
		for _, p := range [][2]string{{m.team, j.facts.Team}, {m.account, j.facts.Account}, {m.environment, j.facts.Environment}} {
			if p[0] == "" {
				continue
			}
			sure = sure && p[1] != "" && wild(p[0], p[1])
			may = may && (p[1] == "" || wild(p[0], p[1]))
		}
		if may {
			lowest = lowerMode(lowest, m.mode)
		}
		if sure {
			return lowest
		}
	}
	return lowerMode(lowest, r.mode)
}

func lowerMode(a, b remedy.Mode) remedy.Mode {
	if modeRank(b) < modeRank(a) {
		return b
	}
	return a
}

func modeRank(m remedy.Mode) int {
	switch m {
	case remedy.ModeTicket:
		return 1
	case remedy.ModeApprove:
		return 2
	case remedy.ModeEnforce:
		return 3
	}
	return 0
}

// actions authorizes the actions of the playbook: the rule's word, the limits
// of irreversible and traffic-cutting actions, unknown facts, the mode.
func (j *judging) actions(r *rule, pb playbook, d *remedy.Decision) {
	if r == nil {
		d.Intended = d.Path()
		return
	}
	unknown := j.unknownFacts()
	intended := *d
	for _, a := range pb.actions {
		s := a.spec
		s.Params = j.pack.fillParams(s.Params, j.facts)
		s.Continuity.Params = j.pack.fillParams(s.Continuity.Params, j.facts)
		s.OptIn = contains(r.optIn, s.Name)
		s.Auth = j.limit(s, r.auth(s), d.Incident)
		if s.Auth == remedy.AuthEnforce {
			missing := append([]string(nil), unknown...)
			for _, name := range a.required {
				if s.Params[name] == "" && j.facts.Params[name] == "" {
					missing = append(missing, "params."+name)
				}
			}
			if len(missing) > 0 || j.err != "" {
				s.Auth = remedy.AuthApprove
				d.Unknown = unique(append(d.Unknown, missing...))
			}
		}
		intended.Actions = append(intended.Actions, s)
		s.Auth = underMode(s.Auth, d.Mode)
		d.Actions = append(d.Actions, s)
	}
	d.Intended = intended.Path()
	if len(d.Unknown) > 0 {
		j.lower("unknown or doubtful: " + joinWords(d.Unknown) + "; approve instead of enforce")
	}
	if d.Mode != remedy.ModeEnforce {
		j.lower("mode " + string(d.Mode))
	}
	if d.Mode == remedy.ModeShadow {
		d.Ticket = false
	}
	if d.Mode == remedy.ModeTicket && len(d.Actions) > 0 {
		d.Ticket = true
	}
}

// limit lowers an enforcement that no fact could justify: an irreversible
// action not opted in by name, and one that may cut traffic in production
// unless it contains an incident of high confidence and ends by itself.
func (j *judging) limit(s remedy.ActionSpec, auth remedy.Authorization, incident bool) remedy.Authorization {
	if auth != remedy.AuthEnforce {
		return auth
	}
	switch {
	case s.Reversibility >= 3 && !s.OptIn:
		j.lower(s.Name + " is irreversible and not opted in by name")
		return remedy.AuthApprove
	case s.Reversibility == 2 && j.facts.Environment == "production":
		if incident && s.Phase == remedy.Contain && s.Expires > 0 && j.facts.Confidence >= HighConfidence {
			return auth
		}
		j.lower(s.Name + " may cut traffic in production")
		return remedy.AuthApprove
	}
	return auth
}

func underMode(a remedy.Authorization, m remedy.Mode) remedy.Authorization {
	switch m {
	case remedy.ModeShadow, remedy.ModeTicket:
		return remedy.AuthNone
	case remedy.ModeApprove:
		if a == remedy.AuthEnforce {
			return remedy.AuthApprove
		}
	}
	return a
}

// unknownFacts are the facts without which nothing is enforced (law 5): those
// every enforcement needs, and those the choice of the rule hangs on.
func (j *judging) unknownFacts() []string {
	f, out := j.facts, []string(nil)
	if !f.OwnerKnown {
		out = append(out, "owner")
	}
	if f.Blast <= finding.BlastUnknown {
		out = append(out, "blast")
	}
	if f.Environment == "" {
		out = append(out, "environment")
	}
	if customer := f.CustomerFacing; customer != finding.Yes && customer != finding.No && (f.Environment == "production" || f.Environment == "") {
		out = append(out, "customer_facing")
	}
	if f.Confidence < LowConfidence {
		out = append(out, "confidence")
	}
	for n := range j.doubt {
		out = append(out, n)
	}
	return unique(out)
}

func (j *judging) lower(why string) {
	if !contains(j.trace.Lowered, why) {
		j.trace.Lowered = append(j.trace.Lowered, why)
	}
}

// routes fills in systems of record and channels.
func (j *judging) routes(r *rule, d *remedy.Decision) {
	for _, rt := range j.pack.routes {
		if !rt.match.fits(j.facts, d.Class) {
			continue
		}
		d.Notify = append(d.Notify, rt.notify...)
		for _, t := range rt.tickets {
			t.Project = j.pack.fillParams(map[string]string{"p": t.Project}, j.facts)["p"]
			d.Tickets = append(d.Tickets, t)
		}
		break
	}
	if r != nil {
		d.Notify = append(d.Notify, r.notify...)
	}
	d.Notify = unique(d.Notify)
	if d.Ticket && len(d.Tickets) == 0 && len(j.pack.env.Systems) > 0 {
		d.Tickets = []remedy.TicketSpec{{System: j.pack.env.Systems[0]}}
	}
	if !d.Ticket {
		d.Tickets = nil
	}
}

func joinWords(words []string) string {
	out := ""
	for i, w := range words {
		if i > 0 {
			out += ", "
		}
		out += w
	}
	return out
}
