package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

const guarded = `
kind: guardrails
budgets:
  - {name: hour, per: rule, max: 2, window: 1h}
  - {name: s3-only, per: connector, of: [s3], max: 5, window: 1d}
share:
  - {name: fleet, max_percent: 10, at_least: 2, window: 1d}
protected:
  - {name: never, when: 'tags.value("casement") == "never"', reason: asked for, allow: none}
  - {name: crown, when: 'criticality == "critical"', reason: crown jewels, allow: approve}
  - {name: broken, when: 'app == "broken" && scopes[2] == "x"', reason: cannot be told}
freezes:
  - {from: 2026-12-20, until: 2027-01-03, scope: "environment:production", reason: end of year}
  - {from: 2026-12-24T18:00:00Z, until: 2026-12-27, scope: "*", reason: holidays}
`

type counters struct {
	taken map[string]int
	fleet int
}

func (c counters) Taken(key string, _ time.Time) int { return c.taken[key] }
func (c counters) Fleet(string) (int, bool)          { return c.fleet, c.fleet > 0 }

func TestGuard(t *testing.T) {
	p := load(t, guarded)
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	winter := time.Date(2026, 12, 21, 0, 0, 0, 0, time.UTC)
	q := policy.GuardRequest{Rule: "r", Playbook: "pb", Action: remedy.ActionSpec{Connector: "fake"}}
	base := known()
	base.Criticality = "low"
	for _, c := range []struct {
		name  string
		f     func(*policy.Facts, *policy.GuardRequest)
		at    time.Time
		c     counters
		holds string
	}{
		{"free", nil, at, counters{}, ""},
		{"protected", func(f *policy.Facts, _ *policy.GuardRequest) { f.Tags = map[string]string{"casement": "never"} }, at, counters{}, "protected never"},
		{"protected though approved", func(f *policy.Facts, q *policy.GuardRequest) {
			f.Tags, q.Approved = map[string]string{"casement": "never"}, true
		}, at, counters{}, "protected never"},
		{"crown", func(f *policy.Facts, _ *policy.GuardRequest) { f.Criticality = "critical" }, at, counters{}, "protected crown"},
		{"crown approved", func(f *policy.Facts, q *policy.GuardRequest) { f.Criticality, q.Approved = "critical", true }, at, counters{}, ""},
		{"unknown criticality protects", func(f *policy.Facts, _ *policy.GuardRequest) { f.Criticality = "" }, at, counters{}, "protected crown"},
		{"a condition that fails protects", func(f *policy.Facts, _ *policy.GuardRequest) { f.App = "broken" }, at, counters{}, "protected broken"},
		{"frozen elsewhere", nil, winter, counters{}, ""},
		{"frozen", func(f *policy.Facts, _ *policy.GuardRequest) { f.Environment = "production" }, winter, counters{}, "freeze environment:production"},
		{"frozen if unknown", func(f *policy.Facts, _ *policy.GuardRequest) { f.Environment = "" }, winter, counters{}, "freeze environment:production"},
		{"frozen everywhere", nil, time.Date(2026, 12, 25, 0, 0, 0, 0, time.UTC), counters{}, "freeze *"},
		{"room for one more", nil, at, counters{taken: map[string]int{"budget/hour/r": 1}}, ""},
		{"used up", nil, at, counters{taken: map[string]int{"budget/hour/r": 2}}, "budget hour"},
		{"other connector", nil, at, counters{taken: map[string]int{"budget/s3-only/s3": 9}}, ""},
		{"unknown fleet", nil, at, counters{taken: map[string]int{"share/fleet/storage.public": 2}}, "share fleet"},
		{"large fleet", nil, at, counters{taken: map[string]int{"share/fleet/storage.public": 2}, fleet: 100}, ""},
		{"share used up", nil, at, counters{taken: map[string]int{"share/fleet/storage.public": 10}, fleet: 100}, "share fleet"},
	} {
		f, req := base, q
		if c.f != nil {
			c.f(&f, &req)
		}
		v := p.Guard(f, req, c.at, c.c)
		var holds []string
		for _, h := range v.Holds {
			holds = append(holds, h.Kind+" "+h.Name)
			if h.Why == "" || h.Kind == "freeze" && !h.Until.After(c.at) {
				t.Errorf("%s: hold %+v", c.name, h)
			}
		}
		if got := strings.Join(holds, ", "); got != c.holds || v.Allowed != (got == "") {
			t.Errorf("%s: holds %q, want %q", c.name, got, c.holds)
		}
	}
	v := p.Guard(base, policy.GuardRequest{Rule: "r", Action: remedy.ActionSpec{Connector: "s3"}}, at, nil)
	want := []policy.Draw{
		{Key: "budget/hour/r", Limit: 2, From: at.Add(-time.Hour)}, {Key: "budget/s3-only/s3", Limit: 5, From: at.Add(-24 * time.Hour)},
		{Key: "share/fleet/storage.public", Limit: 2, From: at.Add(-24 * time.Hour)},
	}
	if len(v.Draws) != len(want) {
		t.Fatalf("draws %+v", v.Draws)
	}
	for i := range want {
		if v.Draws[i] != want[i] {
			t.Errorf("draw %+v, want %+v", v.Draws[i], want[i])
		}
	}
}

// TestDeadlines: every sla that may fit counts and the strictest stands.
func TestDeadlines(t *testing.T) {
	p := load(t, `
kind: calendars
calendars: [{name: paris, zone: Europe/Paris, hours: [{days: mon-fri, from: "09:00", to: "18:00"}]}]
---
kind: sla
sla:
  - {name: all, use: default, calendar: paris}
  - name: shop
    use: default
    match: {team: [shop], class: ["storage.*"]}
    classes: {K3: {ack: 2h, fix: 7d}}
---
kind: escalations
escalations:
  - {name: urgent, match: {risk: K1}, steps: [{after: 0s, who: owner}, {after: 10m, who: manager}]}
  - {name: rest, steps: [{after: 1d, who: ops_lead}]}
`)
	start := time.Date(2026, 6, 5, 12, 0, 0, 0, time.UTC) // a Friday
	for _, c := range []struct {
		f   func(*policy.Facts)
		ack time.Duration
		fix time.Duration
	}{
		{nil, 2 * time.Hour, 7 * 24 * time.Hour},
		{func(f *policy.Facts) { f.Team = "" }, 2 * time.Hour, 7 * 24 * time.Hour},
		{func(f *policy.Facts) { f.Team = "core" }, 76 * time.Hour, 14 * 24 * time.Hour},
		{func(f *policy.Facts) { f.Class = "database.public" }, 76 * time.Hour, 14 * 24 * time.Hour},
	} {
		f := known()
		if c.f != nil {
			c.f(&f)
		}
		got, err := p.Clocks(f, deadline.K3, start)
		if err != nil {
			t.Fatal(err)
		}
		if got.Fix.Sub(start) != c.fix || got.Ack.Sub(start) > c.ack {
			t.Errorf("%s %s: ack %s fix %s", f.Team, f.Class, got.Ack.Sub(start), got.Fix.Sub(start))
		}
	}
	if l := p.Ladder(known(), deadline.K1); len(l) != 2 || l[1] != (remedy.LadderStep{After: 600, Who: "manager"}) {
		t.Errorf("ladder %+v", l)
	}
	if l := p.Ladder(known(), deadline.K4); len(l) != 1 || l[0].Who != "ops_lead" {
		t.Errorf("ladder %+v", l)
	}
}

// TestRoutesAndTickets: several systems at once, placeholders filled, nothing
// looked into twice.
func TestRoutesAndTickets(t *testing.T) {
	p := load(t, `
kind: templates
templates:
  - {name: card, title: "[${risk}] ${title}", body: "${component} ${fixed_version} by ${fix_by}: ${recommended} ${kev}", fields: {package: "${component}", project: "${repository}"}}
---
kind: routes
routes:
  - name: packages
    match: {class: ["pipeline.*"], team: [shop]}
    tickets: [{system: tracker, template: card, project: "${repository}"}, {system: tracker, template: card}]
    notify: [webhook]
  - {name: all, tickets: [{system: tracker, template: card, project: rest}]}
---
kind: rules
mode: ticket
rules: [{name: pkg, when: 'domain == "pipeline" || class != ""', class: K3, ticket: true}]
`)
	f := finding.Finding{Class: "pipeline.vulnerable-package", Domain: finding.DomainPipeline, Title: "bad ${owner}", Recommended: "upgrade",
		Location: finding.Location{Repository: "shop/web"}, Component: finding.Component{Name: "log4j-core", FixedVersion: "2.17.1"}, Asset: finding.Asset{UID: "shop/web"}}
	facts := policy.FactsOf(f, policy.CaseFacts{OwnerKnown: true, Team: "shop"})
	d, _ := p.Decide(facts)
	if len(d.Tickets) != 2 || d.Tickets[0].Project != "shop/web" || strings.Join(d.Notify, ",") != "webhook" {
		t.Fatalf("tickets %+v notify %v", d.Tickets, d.Notify)
	}
	j := remedy.Judgement{Decision: d, Clocks: deadline.Clocks{Fix: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)}}
	ticket, ok := p.Ticket("card", policy.TicketValues(f, facts, j, "case-1", ""))
	if !ok || ticket.Title != "[K3] bad ${owner}" || ticket.Body != "log4j-core 2.17.1 by 2026-01-02 03:04 UTC: upgrade unknown" ||
		ticket.Fields["package"] != "log4j-core" || ticket.Fields["project"] != "shop/web" {
		t.Errorf("ticket %+v", ticket)
	}
	if _, ok := p.Ticket("none", nil); ok {
		t.Error("a template that does not exist was rendered")
	}
	facts.Team = ""
	if d, _ := p.Decide(facts); len(d.Tickets) != 1 || d.Tickets[0].Project != "rest" {
		t.Errorf("unknown team: %+v", d.Tickets)
	}
}

// TestSelfTests: a failing policy test says what came instead.
func TestSelfTests(t *testing.T) {
	p := load(t, `
kind: rules
mode: ticket
rules: [{name: a, when: 'kev == "yes"', class: K1, ticket: true}, {name: b, when: 'severity == LOW', class: K4}]
---
kind: tests
tests:
  - {name: good, given: {kev: "yes"}, expect: {class: K1, path: ticket, rule: a}}
  - {name: bad, given: {kev: "no", severity: high}, expect: {class: K1, path: enforce, rule: a, unknown: [owner]}}
  - {name: rank, given: {kev: "yes"}, than: {kev: "no", severity: high}, expect: {outranks: "no"}}
`)
	r := policy.RunTests(p)
	if len(r) != 3 || !r[0].OK() || r[1].OK() || r[2].OK() {
		t.Fatalf("results %+v", r)
	}
	all := strings.Join(r[1].Failures, "\n")
	for _, want := range []string{"path: want enforce, got ticket", "class: want K1, got K3", "rule: want a, got fallback", "unknown: want [owner], got []"} {
		if !strings.Contains(all, want) {
			t.Errorf("failures lack %q:\n%s", want, all)
		}
	}
	if u := policy.Untested(p); len(u) != 1 || u[0] != "b" {
		t.Errorf("untested %v", u)
	}
}

// TestDoc: every rule of the shipped pack has its entry in the runbook.
func TestDoc(t *testing.T) {
	p := shipped(t)["default"]
	doc := policy.Doc(p)
	for _, name := range append(p.RuleNames(), policy.FallbackRule, "## Guardrails", "s3/anonymous-get", "cannot be undone", "never-touch") {
		if !strings.Contains(doc, name) {
			t.Errorf("the runbook lacks %q", name)
		}
	}
}

// TestReference: the reference names all that conditions can use.
func TestReference(t *testing.T) {
	doc := policy.Reference()
	for _, v := range policy.Variables() {
		if !strings.Contains(doc, "| `"+v.Name+"` | "+v.Type) {
			t.Errorf("the reference lacks %s", v.Name)
		}
	}
	for _, want := range []string{"`not_no(string) -> bool`", "`CRITICAL` = 5", "environment version 1"} {
		if !strings.Contains(doc, want) {
			t.Errorf("the reference lacks %q", want)
		}
	}
}
