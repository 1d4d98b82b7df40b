package policy

import (
	"sort"
	"strconv"
	"strings"
	"time"

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
