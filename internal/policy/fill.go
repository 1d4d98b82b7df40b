package policy

import (
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// template is a ticket text with ${placeholders}.
type template struct {
	name, title, body string
	fields            map[string]string
}

// Ticket is a rendered ticket.
type Ticket struct {
	Title, Body string
	Fields      map[string]string
}

// factNames are the placeholders of action parameters: the text variables.
func factNames() []string {
	var out []string
	for _, v := range Variables() {
		if v.Type == "string" {
			out = append(out, v.Name)
		}
	}
	return out
}

// TicketNames lists the placeholders of ticket templates: every variable, and
// what is known of the case.
func TicketNames() []string {
	names := []string{"title", "description", "recommended", "location", "evidence", "case", "link", "owner", "approver",
		"risk", "why", "decision", "playbook", "policy_rule", "ack_by", "contain_by", "fix_by", "first_seen", "unknown_facts"}
	for _, v := range Variables() {
		names = append(names, v.Name)
	}
	sort.Strings(names)
	return names
}

// TicketValues gives the placeholders of a template their values. link leads to
// the case; it may be "".
func TicketValues(f finding.Finding, facts Facts, j remedy.Judgement, caseID, link string) map[string]string {
	out := map[string]string{}
	for _, v := range Variables() {
		out[v.Name] = plainText(v.value(facts))
		if v.Bounded && v.unknown(facts) {
			out[v.Name] = "unknown"
		}
	}
	out["severity"] = facts.Severity.String()
	if facts.CVSS > 0 {
		out["cvss"] = strconv.FormatFloat(float64(facts.CVSS)/10, 'f', 1, 64)
	}
	location := f.Location.File
	if f.Location.Line > 0 {
		location += ":" + strconv.Itoa(f.Location.Line)
	}
	var evidence []string
	for _, e := range f.Evidence {
		evidence = append(evidence, e.Name+": "+e.Value)
	}
	for name, v := range map[string]string{
		"title": f.Title, "description": f.Description, "recommended": f.Recommended, "location": location,
		"evidence": strings.Join(evidence, "\n"), "case": caseID, "link": link,
		"owner": j.Routing.Owner, "approver": strings.Join(j.Routing.Approvers, ", "),
		"risk": j.Decision.Class.String(), "why": j.Decision.Why, "decision": string(j.Decision.Path()),
		"playbook": j.Decision.Playbook, "policy_rule": j.Decision.Rule,
		"ack_by": instant(j.Clocks.Ack), "contain_by": instant(j.Clocks.Contain), "fix_by": instant(j.Clocks.Fix),
		"first_seen": instant(f.FirstSeen), "unknown_facts": strings.Join(j.Decision.Unknown, ", "),
	} {
		out[name] = v
	}
	return out
}

// Ticket renders a template; ok is false when the pack has none of that name.
// A value that is "" or missing prints as a dash, so that a reader sees what is
// not known.
func (p *Pack) Ticket(name string, values map[string]string) (Ticket, bool) {
	t, ok := p.templates[name]
	if !ok {
		return Ticket{}, false
	}
	get := func(k string) string {
		if v := values[k]; strings.TrimSpace(v) != "" {
			return v
		}
		return "-"
	}
	out := Ticket{Title: fill(t.title, get), Body: fill(t.body, get), Fields: map[string]string{}}
	for k, v := range t.fields {
		out.Fields[k] = fill(v, get)
	}
	return out, true
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// plainText renders a variable's value for people.
func plainText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case bool:
		return strconv.FormatBool(x)
	case []string:
		return strings.Join(x, ", ")
	case map[string]string:
		var parts []string
		for _, k := range keysOf(x) {
			parts = append(parts, k+"="+x[k])
		}
		return strings.Join(parts, ", ")
	}
	return ""
}

// fill replaces ${name} once; values are not looked into again.
func fill(s string, get func(string) string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(s[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		b.WriteString(get(s[i+2 : i+j]))
		s = s[i+j+1:]
	}
	b.WriteString(s)
	return b.String()
}

// placeholders checks every ${name} of a text.
func (l *loader) placeholders(t text, names []string) {
	rest := t.s
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			return
		}
		j := strings.IndexByte(rest[i:], '}')
		if j < 0 {
			t.at.failf("close it with }", "%s has a ${ without an end", quote(t.s))
			return
		}
		name := rest[i+2 : i+j]
		if !contains(names, name) {
			t.at.failf(didYouMean(name, names), "there is no fact ${%s}", name)
		}
		rest = rest[i+j+1:]
	}
}

// fillParams replaces placeholders by facts; a parameter whose fact is unknown
// is left out, so that the finding's own parameter, if any, takes its place.
func (p *Pack) fillParams(in map[string]string, f Facts) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range in {
		missing := false
		v = fill(v, func(name string) string {
			for _, x := range p.vars {
				if x.Name == name {
					s := plainText(x.value(f))
					missing = missing || s == ""
					return s
				}
			}
			return ""
		})
		if !missing {
			out[k] = v
		}
	}
	return out
}

func keysOf[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func (l *loader) templates(raws []rawTemplate) {
	l.pack.templates = map[string]template{}
	for _, raw := range raws {
		l.unique("template", raw.Name)
		t := template{name: raw.Name.s, title: raw.Title.s, body: raw.Body.s, fields: map[string]string{}}
		l.placeholders(raw.Title, TicketNames())
		l.placeholders(raw.Body, TicketNames())
		for _, k := range keysOf(raw.Fields) {
			l.placeholders(raw.Fields[k], TicketNames())
			t.fields[k] = raw.Fields[k].s
		}
		l.pack.templates[t.name] = t
	}
}

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

func (l *loader) escalations(raws []rawEscalation) {
	for i, raw := range raws {
		l.unique("escalation", raw.Name)
		e := escalation{name: raw.Name.s, match: l.match(raw.Match)}
		for j, s := range raw.Steps {
			if j > 0 && s.After.seconds < raw.Steps[j-1].After.seconds {
				s.After.at.failf("put the steps in order of time", "step %d comes before the one above it", j+1)
			}
			e.steps = append(e.steps, remedy.LadderStep{After: s.After.seconds, Who: s.Who.s})
		}
		if len(e.steps) == 0 {
			raw.Place.at.failf("add steps", "escalation %q tells nobody", e.name)
		}
		if last := i == len(raws)-1; e.match.empty() != last {
			raw.Place.at.failf("exactly the last escalation has no match", "escalation %q is out of place", e.name)
		}
		l.pack.escalations = append(l.pack.escalations, e)
	}
}

func (l *loader) calendars(raws []rawCalendar) map[string]*deadline.Calendar {
	out := map[string]*deadline.Calendar{}
	for _, raw := range raws {
		l.unique("calendar", raw.Name)
		spec := deadline.CalendarSpec{Name: raw.Name.s, Zone: raw.Zone.s, Holidays: raw.Holidays.words()}
		for _, h := range raw.Hours {
			spec.Hours = append(spec.Hours, deadline.Hours{Days: h.Days.s, From: h.From.s, To: h.To.s})
		}
		c, err := deadline.NewCalendar(spec)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				raw.Place.at.failf("", "%s", line)
			}
			continue
		}
		out[spec.Name] = c
	}
	return out
}

// deadlines compiles the SLA entries. One without a match has to exist: it sets
// the clocks of cases nothing else fits.
func (l *loader) deadlines(raws []rawSLA, calendars map[string]*deadline.Calendar) {
	general := len(raws) == 0
	if general {
		l.pack.slas = []sla{{terms: deadline.DefaultSLA()}}
		return
	}
	for _, raw := range raws {
		l.unique("sla", raw.Name)
		s := deadline.SLA{WarnPercent: deadline.DefaultWarnPercent, Classes: map[deadline.RiskClass]deadline.Duties{}}
		switch raw.Use.s {
		case "default":
			s = deadline.DefaultSLA()
		case "ladder":
			s = deadline.LadderSLA()
		}
		s.Name = raw.Name.s
		if raw.Warn.set {
			s.WarnPercent = raw.Warn.n
		}
		s.Upgrade = raw.Upgrade.t
		for _, c := range []struct {
			t   text
			out **deadline.Calendar
		}{{raw.Calendar, &s.Calendar}, {raw.Maintenance, &s.Maintenance}} {
			if c.t.at.src != nil && l.known(c.t, "calendar", keysOf(calendars)) {
				*c.out = calendars[c.t.s]
			}
		}
		l.duties(raw, s)
		if err := s.Check(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				raw.Place.at.failf("", "%s", line)
			}
		}
		m := l.match(raw.Match)
		general = general || m.empty()
		l.pack.slas = append(l.pack.slas, sla{m, s})
	}
	if !general {
		raws[0].Place.at.failf("add an sla without match", "no sla fits every case: a case could run without clocks")
	}
}

func (l *loader) duties(raw rawSLA, s deadline.SLA) {
	for _, k := range keysOf(raw.Classes) {
		d := raw.Classes[k]
		class, err := deadline.ParseRiskClass(k)
		if err != nil || class == 0 {
			d.Place.at.failf("", "%s is not a risk class: want K1 to K5", quote(k))
			continue
		}
		out := s.Classes[class]
		for _, p := range []struct {
			t    text
			term *deadline.Term
		}{{d.Ack, &out.Ack}, {d.Contain, &out.Contain}, {d.Fix, &out.Fix}} {
			if p.t.at.src == nil {
				continue
			}
			term, err := deadline.ParseTerm(p.t.s)
			if err != nil {
				p.t.at.failf("", "%s", err)
			}
			*p.term = term
		}
		s.Classes[class] = out
	}
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
