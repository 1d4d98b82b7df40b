package policy_test

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/policy/policytest"
	"github.com/casement/casement/internal/remedy"
)

func shipped(t *testing.T) map[string]*policy.Pack {
	t.Helper()
	out := map[string]*policy.Pack{}
	for name, files := range map[string][]policy.File{"default": pack.Default(), "demo": pack.Demo()} {
		p, issues := policy.Load(files, policytest.Environment())
		if len(issues) > 0 {
			t.Fatal(issues.Error())
		}
		out[name] = p
	}
	return out
}

// TestTotalAndDeterministic: every fact set gets a whole decision, and the same
// one each time.
func TestTotalAndDeterministic(t *testing.T) {
	for name, p := range shipped(t) {
		rapid.Check(t, func(t *rapid.T) {
			f := policytest.Facts().Draw(t, "facts")
			d, trace := p.Decide(f)
			again, traceAgain := p.Decide(f)
			if !reflect.DeepEqual(d, again) || !reflect.DeepEqual(trace, traceAgain) {
				t.Fatalf("%s: two decisions for the same facts", name)
			}
			if d.Class < deadline.K1 || d.Class > deadline.K5 || d.Rule == "" || d.Mode == "" || d.ProbeEvery <= 0 || d.Intended == "" {
				t.Fatalf("%s: incomplete decision %+v", name, d)
			}
			if d.Error != "" {
				t.Fatalf("%s: shipped policy fails: %s", name, d.Error)
			}
			if d.Class <= deadline.K2 && d.Grade < remedy.P2 && !d.Suppress {
				t.Fatalf("%s: class %s would close on %s", name, d.Class, d.Grade)
			}
			if d.Ticket != (len(d.Tickets) > 0) {
				t.Fatalf("%s: ticket %v but systems %v", name, d.Ticket, d.Tickets)
			}
			if _, err := p.Clocks(f, d.Class, f.At); err != nil {
				t.Fatalf("%s: no clocks: %v", name, err)
			}
			if len(p.Ladder(f, d.Class)) == 0 {
				t.Fatalf("%s: nobody to escalate to", name)
			}
		})
	}
}

// stricter checks the two halves of law 5 on facts and one completion of them.
func stricter(t *rapid.T, p *policy.Pack, f policy.Facts) {
	d, _ := p.Decide(f)
	whole := policytest.Complete(t, f)
	known, _ := p.Decide(whole)
	if d.Class > known.Class && !known.Suppress {
		t.Fatalf("unknown facts give %s (%s), known ones %s (%s)\nunknown: %s\nknown: %s", d.Class, d.Rule, known.Class, known.Rule, f.Snapshot(), whole.Snapshot())
	}
	if d.Suppress && !known.Suppress {
		t.Fatalf("unknown facts suppress (%s), known ones do not", d.Rule)
	}
	for _, a := range d.Actions {
		if a.Auth != remedy.AuthEnforce {
			continue
		}
		found := false
		for _, b := range known.Actions {
			found = found || b.Name == a.Name && b.Auth == remedy.AuthEnforce && b.Connector == a.Connector
		}
		if !found {
			t.Fatalf("%s is enforced with unknown facts but not with the known ones\nunknown: %s\nknown: %s", a.Name, f.Snapshot(), whole.Snapshot())
		}
	}
}

func TestUnknownIsNeverLaxer(t *testing.T) {
	for _, p := range shipped(t) {
		rapid.Check(t, func(t *rapid.T) { stricter(t, p, policytest.Facts().Draw(t, "facts")) })
	}
}

// atom is a condition together with what it means.
type atom struct {
	text string
	want func(policy.Facts) bool
}

func atoms() []atom {
	return []atom{
		{`is_yes(kev)`, func(f policy.Facts) bool { return f.KEV == finding.Yes }},
		{`not_no(internet_facing)`, func(f policy.Facts) bool { return f.InternetFacing != finding.No }},
		{`regulated == "no"`, func(f policy.Facts) bool { return f.Regulated == finding.No }},
		{`is_unknown(customer_facing)`, func(f policy.Facts) bool { return f.CustomerFacing == finding.Unknown }},
		{`not_yes(privileged)`, func(f policy.Facts) bool { return f.Privileged != finding.Yes }},
		{`environment == "production"`, func(f policy.Facts) bool { return f.Environment == "production" }},
		{`environment in ["test", "staging"]`, func(f policy.Facts) bool { return f.Environment == "test" || f.Environment == "staging" }},
		{`severity >= HIGH`, func(f policy.Facts) bool { return f.Severity >= finding.SeverityHigh }},
		{`severity < MEDIUM`, func(f policy.Facts) bool { return f.Severity < finding.SeverityMedium }},
		{`cvss > 5.0`, func(f policy.Facts) bool { return f.CVSS > 50 }},
		{`blast > 10`, func(f policy.Facts) bool { return f.Blast > 10 || f.Blast == 0 }},
		{`data_class == "restricted"`, func(f policy.Facts) bool { return f.DataClass == "restricted" }},
		{`criticality != "low"`, func(f policy.Facts) bool { return f.Criticality != "low" }},
		{`asset_type == "bucket"`, func(f policy.Facts) bool { return f.AssetType == "bucket" }},
		{`tags.value("team") == "shop"`, func(f policy.Facts) bool { return f.Tags["team"] == "shop" }},
		{`"write" in scopes`, func(f policy.Facts) bool { return len(f.Scopes) > 0 }},
		{`owner_known`, func(f policy.Facts) bool { return f.OwnerKnown }},
		{`recurrence`, func(f policy.Facts) bool { return f.Recurrence }},
		{`scopes.exists(s, s.startsWith("re"))`, func(f policy.Facts) bool { return len(f.Scopes) > 0 }},
	}
}

func condition() *rapid.Generator[atom] {
	return rapid.Custom(func(t *rapid.T) atom {
		c := rapid.SampledFrom(atoms()).Draw(t, "atom")
		for range rapid.IntRange(0, 2).Draw(t, "depth") {
			l, r := c, rapid.SampledFrom(atoms()).Draw(t, "atom")
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				c = atom{"(" + l.text + " && " + r.text + ")", func(f policy.Facts) bool { return l.want(f) && r.want(f) }}
			case 1:
				c = atom{"(" + l.text + " || " + r.text + ")", func(f policy.Facts) bool { return l.want(f) || r.want(f) }}
			default:
				c = atom{"!(" + l.text + ")", func(f policy.Facts) bool { return !l.want(f) }}
			}
		}
		return c
	})
}

// TestRandomPolicies: on policies nobody would write, the first match decides,
// class rows go by their order, and unknown facts never relax anything.
func TestRandomPolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		b.WriteString("kind: playbooks\nplaybooks:\n  - {name: pb, description: d, fix: [{name: tag, do: fake/tag, auth: enforce, params: {value: x}}]}\n---\nkind: rules\nmode: enforce\nrules:\n")
		var rules []atom
		var classes [][2]deadline.RiskClass
		for i := range rapid.IntRange(1, 5).Draw(t, "rules") {
			c, row := condition().Draw(t, "when"), condition().Draw(t, "row")
			a := deadline.RiskClass(rapid.IntRange(1, 5).Draw(t, "first"))
			z := deadline.RiskClass(rapid.IntRange(1, 5).Draw(t, "last"))
			rules, classes = append(rules, c, row), append(classes, [2]deadline.RiskClass{a, z})
			fmt.Fprintf(&b, "  - name: r%d\n    when: '%s'\n    class: [{when: '%s', class: %s}, {class: %s}]\n", i, c.text, row.text, a, z)
			if rapid.Bool().Draw(t, "acts") {
				b.WriteString("    playbook: pb\n")
			}
		}
		p, issues := policy.Load([]policy.File{{Name: "r.yaml", Data: []byte(b.String())}}, policytest.Environment())
		if len(issues) > 0 {
			if !strings.Contains(issues.Error(), "never reached") {
				t.Fatalf("%s\n%s", issues.Error(), b.String())
			}
			return // two random rules said the same
		}
		f := policytest.Facts().Draw(t, "facts")
		stricter(t, p, f)

		whole := policytest.Complete(t, f)
		d, _ := p.Decide(whole)
		rule, class := policy.FallbackRule, deadline.K3
		for i := range classes {
			if rules[2*i].want(whole) {
				rule, class = fmt.Sprintf("r%d", i), classes[i][1]
				if rules[2*i+1].want(whole) {
					class = classes[i][0]
				}
				break
			}
		}
		if d.Rule != rule || d.Class != class {
			t.Fatalf("decided %s %s, want %s %s\n%s\n%s", d.Rule, d.Class, rule, class, b.String(), whole.Snapshot())
		}
		if got, _ := p.Decide(f); rule != policy.FallbackRule && got.Rule == "" {
			t.Fatal("no rule")
		}
	})
}

const acting = `
kind: playbooks
playbooks:
  - name: all
    description: One action of every kind.
    contain:
      - {name: isolate, do: fake/isolate, auth: enforce, expires: 8h}
      - {name: isolate-for-good, do: fake/isolate, auth: enforce}
    fix:
      - {name: tag, do: fake/tag, auth: enforce, params: {value: "${app}"}}
      - {name: revoke, do: oauth/revoke, auth: enforce}
      - {name: wipe, do: fake/wipe, auth: enforce}
---
kind: rules
rules:
  - name: all
    when: severity >= LOW
    class: K3
    playbook: all
    incident: true
    opt_in: [revoke]
    mode: enforce
  - {name: unknown-severity, when: "true", class: K4}
`

// TestLimits: irreversible, traffic-cutting and unknown facts bound what is
// enforced, for all facts (law 5).
func TestLimits(t *testing.T) {
	p := load(t, acting)
	rapid.Check(t, func(t *rapid.T) {
		f := policytest.Facts().Draw(t, "facts")
		d, _ := p.Decide(f)
		for _, a := range d.Actions {
			if a.Auth != remedy.AuthEnforce {
				continue
			}
			switch {
			case !f.OwnerKnown, f.Blast == 0, f.Environment == "", f.Confidence < policy.LowConfidence,
				f.Environment == "production" && f.CustomerFacing == finding.Unknown, f.Severity == finding.SeverityUnknown:
				t.Fatalf("%s enforced in spite of unknown facts: %s", a.Name, f.Snapshot())
			case a.Reversibility == 3 && !a.OptIn:
				t.Fatalf("%s is irreversible and not opted in", a.Name)
			case a.Reversibility == 2 && f.Environment == "production" && (a.Expires == 0 || a.Phase != remedy.Contain || f.Confidence < policy.HighConfidence):
				t.Fatalf("%s may cut traffic in production", a.Name)
			case a.Name == "tag" && f.App == "":
				t.Fatalf("%s enforced without its parameter", a.Name)
			}
		}
	})
}

// known are facts with which everything may be enforced.
func known() policy.Facts {
	return policy.Facts{Class: "storage.public", Severity: finding.SeverityHigh, Confidence: 90, Environment: "staging", Blast: 3,
		CustomerFacing: finding.No, OwnerKnown: true, Team: "shop", App: "shop", Account: "111", AssetUID: "b", AssetType: "bucket", At: policytest.At()}
}

func TestAuthorizations(t *testing.T) {
	p := load(t, acting)
	auth := func(f policy.Facts) string {
		d, _ := p.Decide(f)
		var out []string
		for _, a := range d.Actions {
			out = append(out, a.Name+"="+string(a.Auth))
		}
		return strings.Join(out, " ") + " " + strings.Join(d.Unknown, ",")
	}
	f := known()
	if got := auth(f); got != "isolate=enforce isolate-for-good=enforce tag=enforce revoke=enforce wipe=approve " {
		t.Errorf("staging: %s", got)
	}
	f.Environment = "production"
	if got := auth(f); got != "isolate=enforce isolate-for-good=approve tag=enforce revoke=enforce wipe=approve " {
		t.Errorf("production: %s", got)
	}
	f.Confidence = 79
	if got := auth(f); got != "isolate=approve isolate-for-good=approve tag=enforce revoke=enforce wipe=approve " {
		t.Errorf("production, medium confidence: %s", got)
	}
	f = known()
	f.OwnerKnown, f.Blast, f.App = false, 0, ""
	if got := auth(f); got != "isolate=approve isolate-for-good=approve tag=approve revoke=approve wipe=approve blast,owner,params.value" {
		t.Errorf("unknown: %s", got)
	}
	f.Severity = finding.SeverityUnknown
	if d, _ := p.Decide(f); d.Rule != "unknown-severity" || d.Class != deadline.K3 {
		t.Errorf("unknown severity: %s %s", d.Rule, d.Class)
	}
}

// TestDoubtIsNotEnforced: where another rule would decide if an unknown fact had
// another value, a person approves.
func TestDoubtIsNotEnforced(t *testing.T) {
	p := load(t, `
kind: playbooks
playbooks: [{name: pb, description: d, fix: [{name: tag, do: fake/tag, auth: enforce, params: {value: x}}]}]
---
kind: rules
mode: enforce
rules:
  - {name: hands-off, when: is_yes(regulated), class: K3}
  - {name: act, when: not_yes(privileged), class: K3, playbook: pb}
  - {name: rest, when: "true", class: K3}
`)
	f := known()
	f.Regulated, f.Privileged = finding.No, finding.No
	if d, _ := p.Decide(f); d.Path() != remedy.PathEnforce {
		t.Errorf("all known: %+v", d)
	}
	f.Regulated = finding.Unknown
	if d, _ := p.Decide(f); d.Path() != remedy.PathApprove || strings.Join(d.Unknown, ",") != "regulated" {
		t.Errorf("an earlier rule is in doubt: %+v", d)
	}
	f.Regulated, f.Privileged = finding.No, finding.Unknown
	if d, _ := p.Decide(f); d.Path() != remedy.PathApprove || strings.Join(d.Unknown, ",") != "privileged" {
		t.Errorf("the rule itself is in doubt: %+v", d)
	}
}

// TestModes: a mode is a ceiling, scopes lower it, and what cannot be told apart
// takes the lowest.
func TestModes(t *testing.T) {
	base := "kind: playbooks\nplaybooks: [{name: pb, description: d, fix: [{name: tag, do: fake/tag, auth: enforce, params: {value: x}}]}]\n---\nkind: rules\nrules:\n"
	for _, c := range []struct {
		rule string
		f    func(*policy.Facts)
		path remedy.Path
	}{
		{"{name: a, when: 'true', class: K3, playbook: pb}", nil, remedy.PathMonitor},
		{"{name: a, when: 'true', class: K3, playbook: pb, ticket: true, mode: shadow}", nil, remedy.PathMonitor},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: ticket}", nil, remedy.PathTicket},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: approve}", nil, remedy.PathApprove},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: enforce}", nil, remedy.PathEnforce},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: enforce, modes: [{environment: production, mode: approve}]}", nil, remedy.PathEnforce},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: enforce, modes: [{environment: staging, mode: ticket}]}", nil, remedy.PathTicket},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: enforce, modes: [{account: '9*', mode: ticket}]}", nil, remedy.PathEnforce},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: enforce, modes: [{account: '9*', mode: ticket}]}", func(f *policy.Facts) { f.Account = "" }, remedy.PathTicket},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: ticket, modes: [{team: shop, mode: enforce}]}", nil, remedy.PathEnforce},
		{"{name: a, when: 'true', class: K3, playbook: pb, mode: ticket, modes: [{team: shop, account: '222', mode: enforce}]}", nil, remedy.PathTicket},
	} {
		p, f := load(t, base+"  - "+c.rule+"\n"), known()
		if c.f != nil {
			c.f(&f)
		}
		d, _ := p.Decide(f)
		if d.Path() != c.path || d.Intended != remedy.PathEnforce {
			t.Errorf("%s: path %s (intended %s), want %s", c.rule, d.Path(), d.Intended, c.path)
		}
		trusted, _ := p.DecideWith(f, policy.Options{IgnoreModes: true})
		if trusted.Path() != remedy.PathEnforce {
			t.Errorf("%s: without modes %s", c.rule, trusted.Path())
		}
	}
}

// TestRuntimeError: a condition that fails makes a person decide, shows, and
// keeps the strictest class the rule could give.
func TestRuntimeError(t *testing.T) {
	p := load(t, `
kind: rules
mode: shadow
rules:
  - name: broken
    when: scopes[3] == "x"
    class: [{when: recurrence, class: K2}, {class: K4}]
  - {name: fine, when: "true", class: K5}
`)
	d, trace := p.Decide(known())
	if d.Rule != "broken" || d.Class != deadline.K2 || d.Path() != remedy.PathTicket || !strings.Contains(d.Error, `rule "broken"`) {
		t.Errorf("got %+v", d)
	}
	if trace.Rules[0].Result != "error" || trace.Rules[0].Error == "" {
		t.Errorf("trace %+v", trace.Rules)
	}
	if p.Gate(d) != policy.GateBlock {
		t.Error("the gate lets pass what could not be judged")
	}
	// A rule that fails must not hide a stricter one after it.
	p = load(t, `
kind: rules
rules:
  - {name: broken, when: 'scopes[3] == "x"', suppress: {until: 2027-01-01, reason: r}}
  - {name: broken-too, when: 'scopes[4] == "x"', class: K1}
  - {name: rest, when: "true", class: K5}
---
kind: exceptions
exceptions:
  - {name: e, when: 'scopes[5] == "x"', reason: r, asked_by: ann, approved_by: bob, until: 2027-01-01}
`)
	if d, _ := p.Decide(known()); d.Class != deadline.K1 || d.Suppress || d.Error == "" || d.Path() != remedy.PathTicket {
		t.Errorf("got %+v", d)
	}
	if _, trace := p.Decide(known()); trace.Rules[0].Rule != "exception:e" || trace.Rules[0].Result != "error" {
		t.Errorf("trace %+v", trace.Rules)
	}
}

// TestConcurrent: one pack serves many at once.
func TestConcurrent(t *testing.T) {
	p := shipped(t)["default"]
	want, _ := p.Decide(known())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if got, _ := p.Decide(known()); !reflect.DeepEqual(got, want) {
					t.Error("another decision")
				}
			}
		})
	}
	wg.Wait()
}

// TestCostLimit: facts larger than any the estimate expects stop the evaluation
// at the limit; a person decides.
func TestCostLimit(t *testing.T) {
	p := load(t, "kind: rules\nrules: [{name: a, when: 'scopes.exists(s, s.contains(\"needle\"))', class: K3}]")
	f := known()
	for range 20_000 {
		f.Scopes = append(f.Scopes, "read")
	}
	d, trace := p.Decide(f)
	if d.Error == "" || !strings.Contains(d.Error, "cost") {
		t.Errorf("decision %+v, cost %d", d, trace.Cost)
	}
	if trace.Cost > 2*policy.CostLimit {
		t.Errorf("cost %d", trace.Cost)
	}
}

func TestSuppressionAndException(t *testing.T) {
	p := load(t, `
kind: rules
mode: ticket
rules:
  - {name: quiet, when: 'app == "shop" && is_no(internet_facing)', suppress: {until: 2026-07-01, reason: moved away in June}}
  - {name: loud, when: 'class == "storage.public"', class: K2, ticket: true}
---
kind: exceptions
exceptions:
  - {name: pilot, when: 'asset_uid == "b" && environment == "staging" && is_no(regulated)', reason: pilot of the shop, asked_by: ann, approved_by: bob, from: 2026-01-01, until: 2026-08-01}
`)
	f := known()
	f.InternetFacing = finding.No
	if d, _ := p.Decide(f); d.Path() != remedy.PathSuppress || !d.Until.Equal(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)) || p.Gate(d) != policy.GatePass {
		t.Errorf("suppressed: %+v", d)
	}
	f.InternetFacing = finding.Unknown
	if d, _ := p.Decide(f); d.Rule != "loud" || d.Path() != remedy.PathTicket {
		t.Errorf("an unknown fact suppressed: %+v", d)
	}
	for _, when := range []string{`not_yes(internet_facing)`, `severity < HIGH`} {
		q := load(t, "kind: rules\nmode: ticket\nrules:\n  - {name: quiet, when: '"+when+"', suppress: {until: 2026-07-01, reason: r}}\n  - {name: loud, when: 'true', class: K2}\n")
		g := known()
		g.Severity, g.InternetFacing = finding.SeverityUnknown, finding.Unknown
		if d, _ := q.Decide(g); d.Suppress || d.Rule != "loud" {
			t.Errorf("%s: unknown facts suppressed: %+v", when, d)
		}
	}
	f.InternetFacing, f.At = finding.No, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	if d, trace := p.Decide(f); d.Rule != "loud" || trace.Rules[0].Result != "expired" {
		t.Errorf("after its date: %+v", d)
	}
	f.Regulated = finding.No
	if d, _ := p.Decide(f); d.Rule != "exception:pilot" || !strings.Contains(d.Why, "approved by bob") {
		t.Errorf("exception: %+v", d)
	}
	f.At = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	if d, _ := p.Decide(f); d.Rule != "loud" {
		t.Errorf("after the exception: %+v", d)
	}
}

// TestExplain: the trace says what was tried, what hangs on unknown facts and
// which of them could relax the class.
func TestExplain(t *testing.T) {
	p := shipped(t)["default"]
	_, trace := p.Decide(policy.Facts{Class: "workload.vulnerable", Severity: finding.SeverityHigh, InternetFacing: finding.No, At: policytest.At()})
	if len(trace.Would) != 1 || trace.Would[0] != "kev" {
		t.Errorf("would relax: %v", trace.Would)
	}
	last := trace.Rules[len(trace.Rules)-1]
	if last.Rule != "workload-vulnerable" || last.Result != "matches" || trace.Cost == 0 || !strings.HasPrefix(last.Where, "20-rules.yaml:") {
		t.Errorf("last rule %+v, cost %d", last, trace.Cost)
	}
	p = load(t, "kind: rules\nrules: [{name: a, when: is_yes(kev), class: K1}, {name: b, when: 'true', class: K5}]")
	d, trace := p.Decide(known())
	if d.Rule != "b" || d.Class != deadline.K1 || trace.Rules[0].Result != "maybe" || trace.Rules[0].Unknown[0] != "kev" {
		t.Errorf("%+v %+v", d, trace)
	}
}

// TestEnvironmentIsFrozen: names and types are a contract with people's policies;
// a change that is not an addition needs a new EnvVersion.
func TestEnvironmentIsFrozen(t *testing.T) {
	var lines []string
	for _, v := range policy.Variables() {
		lines = append(lines, fmt.Sprintf("variable %s: %s <- %s", v.Name, v.Type, v.Field))
	}
	for _, f := range policy.Functions() {
		lines = append(lines, "function "+f)
	}
	for n, v := range policy.Constants() {
		lines = append(lines, fmt.Sprintf("constant %s = %d", n, v))
	}
	sort.Strings(lines)
	got := fmt.Sprintf("version %d\n%s\n", policy.EnvVersion, strings.Join(lines, "\n"))
	if *update {
		if err := os.WriteFile("testdata/environment.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/environment.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the CEL environment changed:\n%s", got)
	}
}

// TestDigestCoversVariables: every variable comes from a field whose change
// changes finding.DecisionDigest, or is a fact of the case.
func TestDigestCoversVariables(t *testing.T) {
	base := finding.Finding{UID: "u", Asset: finding.Asset{UID: "a"}, Component: finding.Component{FixedVersion: ""}}
	for _, v := range policy.Variables() {
		if v.Field == "case" {
			continue
		}
		changed := base
		if !change(reflect.ValueOf(&changed).Elem(), strings.Split(v.Field, ".")) {
			t.Errorf("%s: finding has no field %s", v.Name, v.Field)
			continue
		}
		if reflect.DeepEqual(policy.FactsOf(base, policy.CaseFacts{}), policy.FactsOf(changed, policy.CaseFacts{})) {
			t.Errorf("%s does not read %s", v.Name, v.Field)
		}
		if finding.DecisionDigest(base) == finding.DecisionDigest(changed) {
			t.Errorf("%s reads %s, which the decision digest leaves out", v.Name, v.Field)
		}
	}
}

// change sets the field at a JSON path to something else.
func change(v reflect.Value, path []string) bool {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if tag != path[0] {
			continue
		}
		f := v.Field(i)
		if len(path) > 1 {
			return change(f, path[1:])
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString("changed")
		case reflect.Int:
			f.SetInt(7)
		case reflect.Uint8:
			f.SetUint(2)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"changed"}))
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"changed": "yes"}))
		}
		return true
	}
	return false
}
