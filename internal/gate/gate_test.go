package gate

import (
	"encoding/json"
	"encoding/xml"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/policy"
)

const rules = `kind: rules
rules:
  - name: bad-package
    when: class == "pipeline.vulnerable-package" && severity >= HIGH
    class: K2
    ticket: true
    gate: block
    why: A severe weakness must not be shipped.
  - name: other-package
    when: class == "pipeline.vulnerable-package"
    class: K4
    ticket: true
  - name: breaks
    when: class == "pipeline.code-weakness" && tags["nobody-set-this"] == "x"
    class: K5
    ticket: true
---
kind: exceptions
exceptions:
  - {name: accepted-lib, when: 'component == "accepted"', reason: replaced in June, asked_by: kim, approved_by: lee, until: 2026-07-01}
`

func testJudge(t testing.TB) judge.Judge {
	t.Helper()
	p, issues := policy.Load([]policy.File{{Name: "p.yaml", Data: []byte(rules)}}, policy.Environment{Systems: []string{"tracker"}})
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	d, err := owner.New(owner.Data{})
	if err != nil {
		t.Fatal(err)
	}
	return judge.Judge{Pack: p, Directory: d}
}

func at(day string) time.Time {
	v, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err)
	}
	return v
}

func evaluate(t interface{ Fatal(...any) }, j judge.Judge, fs []finding.Finding, o Options) Report {
	var p finding.Pile
	for _, f := range fs {
		if err := p.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Evaluate(j, &p, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pkg(name, cve string, s finding.Severity) finding.Finding {
	f, err := finding.Normalize(finding.Finding{Source: "t", Title: cve + " in " + name, Class: finding.VulnerablePackage, Severity: s, Rule: cve,
		Weakness: finding.Weakness{CVE: []string{cve}}, Component: finding.Component{Name: name, Version: "1.0", FixedVersion: "1.1"},
		Asset: finding.Asset{UID: "shop", Type: "repository"}, Location: finding.Location{Repository: "acme/shop", File: "go mod/ü.sum", Line: 7}})
	if err != nil {
		panic(err)
	}
	return f
}

func TestOutcomes(t *testing.T) {
	broken, err := finding.Normalize(finding.Finding{Source: "t", Title: "x", Class: finding.CodeWeakness, Rule: "r", Asset: finding.Asset{UID: "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	r := evaluate(t, testJudge(t), []finding.Finding{
		pkg("lib", "CVE-2026-1", finding.SeverityHigh), pkg("lib", "CVE-2026-1", finding.SeverityHigh),
		pkg("small", "CVE-2026-2", finding.SeverityLow), pkg("accepted", "CVE-2026-3", finding.SeverityCritical), broken,
	}, Options{At: at("2026-05-01")})
	got := map[string]Outcome{}
	for _, x := range r.Results {
		got[x.Weakness] = x.Outcome
	}
	want := map[string]Outcome{"CVE-2026-1": Blocked, "CVE-2026-2": Warned, "CVE-2026-3": Excepted, "r": Blocked}
	for k, o := range want {
		if got[k] != o {
			t.Errorf("%s: %s, want %s", k, got[k], o)
		}
	}
	if r.Blocked != 2 || r.Warned != 1 || r.Excepted != 1 || len(r.Results) != 4 || r.Alerts != 5 || r.Pass() {
		t.Errorf("counts %+v", r)
	}
	if r.Results[0].Outcome != Blocked || r.Results[len(r.Results)-1].Outcome != Warned {
		t.Error("blocked results do not come first")
	}
	for _, x := range r.Results {
		if x.Weakness == "r" && x.Error == "" {
			t.Error("a policy error is not shown")
		}
	}
	// The policy's exception is over.
	after := evaluate(t, testJudge(t), []finding.Finding{pkg("accepted", "CVE-2026-3", finding.SeverityCritical)}, Options{At: at("2026-07-01")})
	if after.Pass() {
		t.Error("an exception holds beyond its date")
	}
}

func TestExceptionsCoverWhatTheyName(t *testing.T) {
	f := pkg("lib", "CVE-2026-1", finding.SeverityHigh)
	two := f
	two.Weakness.CVE = []string{"CVE-2026-1", "CVE-2026-9"}
	base := Exception{ID: "exc_1", From: at("2026-01-01"), Until: at("2026-06-01"), Approved: "lee"}
	for name, c := range map[string]struct {
		change func(*Exception)
		f      finding.Finding
		day    string
		pass   bool
	}{
		"nothing named":          {func(*Exception) {}, f, "2026-05-01", false},
		"weakness":               {func(e *Exception) { e.Weakness = "cve-2026-1" }, f, "2026-05-01", true},
		"other weakness":         {func(e *Exception) { e.Weakness = "CVE-2026-2" }, f, "2026-05-01", false},
		"one of two weaknesses":  {func(e *Exception) { e.Weakness = "CVE-2026-1" }, two, "2026-05-01", false},
		"package":                {func(e *Exception) { e.Package = "LIB" }, f, "2026-05-01", true},
		"package and other case": {func(e *Exception) { e.Package, e.Project = "lib", "acme/other" }, f, "2026-05-01", false},
		"project":                {func(e *Exception) { e.Project = "acme/shop" }, f, "2026-05-01", true},
		"class":                  {func(e *Exception) { e.Class = finding.VulnerablePackage }, f, "2026-05-01", true},
		"first instant":          {func(e *Exception) { e.Package = "lib" }, f, "2026-01-01", true},
		"not begun":              {func(e *Exception) { e.Package = "lib" }, f, "2025-12-31", false},
		"last day is out":        {func(e *Exception) { e.Package = "lib" }, f, "2026-06-01", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := base
			c.change(&e)
			r := evaluate(t, testJudge(t), []finding.Finding{c.f}, Options{At: at(c.day), Exceptions: []Exception{e}})
			if r.Pass() != c.pass {
				t.Errorf("pass = %v", r.Pass())
			}
			x := r.Results[0]
			if c.pass && (x.Exception == nil || !strings.Contains(x.Reason(), "until 2026-06-01")) {
				t.Errorf("the exception does not show: %s", x.Reason())
			}
			if name == "last day is out" && (x.Ended == nil || x.Reason() != "the exception exc_1 ended on 2026-06-01") {
				t.Errorf("the ended exception does not show: %s", x.Reason())
			}
		})
	}
}

// TestExceptionNeverPassesMore: whatever the exceptions, the gate passes only
// what some active exception covers, and never an error.
func TestExceptionNeverPassesMore(t *testing.T) {
	j := testJudge(t)
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"lib", "accepted", "small"}
		cves := []string{"CVE-2026-1", "CVE-2026-2"}
		var fs []finding.Finding
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			fs = append(fs, pkg(rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(cves).Draw(t, "cve"), finding.Severity(rapid.IntRange(1, 5).Draw(t, "sev"))))
		}
		var es []Exception
		for range rapid.IntRange(0, 3).Draw(t, "m") {
			es = append(es, Exception{ID: "e", Package: rapid.SampledFrom(append(names, "")).Draw(t, "pkg"), Weakness: rapid.SampledFrom(append(cves, "")).Draw(t, "w"),
				From: at("2026-01-01"), Until: at("2026-01-01").AddDate(0, 0, rapid.IntRange(0, 300).Draw(t, "days"))})
		}
		now := at("2026-01-01").AddDate(0, 0, rapid.IntRange(-10, 310).Draw(t, "now"))
		without := evaluate(t, j, fs, Options{At: now})
		with := evaluate(t, j, fs, Options{At: now, Exceptions: es})
		if len(with.Results) != with.Blocked+with.Warned+with.Excepted+with.Passed || len(with.Results) != len(without.Results) {
			t.Fatal("counts do not add up")
		}
		before := map[string]Result{}
		for _, r := range without.Results {
			before[r.Key] = r
		}
		for _, r := range with.Results {
			if r.Outcome == before[r.Key].Outcome {
				continue
			}
			ok := false
			for _, e := range es {
				ok = ok || e.Covers(r.Finding, r.Project) && !now.Before(e.From) && now.Before(e.Until)
			}
			if before[r.Key].Outcome != Blocked || r.Outcome != Excepted || !ok {
				t.Fatalf("%s went from %s to %s without an exception for it", r.Key, before[r.Key].Outcome, r.Outcome)
			}
		}
	})
}

func TestRecommendation(t *testing.T) {
	f := pkg("lib", "CVE-2026-1", finding.SeverityHigh)
	if got := Recommendation(f, nil); got != "upgrade lib from 1.0 to 1.1" {
		t.Error(got)
	}
	f.Component.FixedVersion = ""
	if got := Recommendation(f, nil); !strings.Contains(got, "exception with a date") {
		t.Error(got)
	}
	f.Recommended = "Do this.\nAnd that."
	if got := Recommendation(f, nil); got != "Do this." {
		t.Error(got)
	}
}

// TestSARIFShape checks what the SARIF 2.1.0 schema demands of every part that
// is written: required members, enumerations, index and fingerprint.
func TestSARIFShape(t *testing.T) {
	r := evaluate(t, testJudge(t), []finding.Finding{pkg("lib", "CVE-2026-1", finding.SeverityHigh), pkg("lib2", "CVE-2026-1", finding.SeverityHigh),
		pkg("small", "CVE-2026-2", finding.SeverityLow), pkg("accepted", "CVE-2026-3", finding.SeverityCritical)}, Options{At: at("2026-05-01")})
	b, err := r.SARIF("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasPrefix(log.Schema, "https://") || len(log.Runs) != 1 {
		t.Fatalf("head %+v", log)
	}
	run := log.Runs[0]
	if len(run.Results) != 4 || len(run.Tool.Driver.Rules) != 3 || run.Tool.Driver.Name == "" {
		t.Errorf("%d results, %d rules", len(run.Results), len(run.Tool.Driver.Rules))
	}
	levels := map[string]int{}
	for _, x := range run.Results {
		levels[x.Level]++
		if run.Tool.Driver.Rules[x.RuleIndex].ID != x.RuleID || x.Message.Text == "" || x.PartialFingerprints["casementExposureKey/v1"] == "" {
			t.Errorf("result %+v", x)
		}
		loc := x.Locations[0].PhysicalLocation
		if loc.ArtifactLocation.URI != "go%20mod/%C3%BC.sum" || loc.Region.StartLine != 7 {
			t.Errorf("location %+v", loc)
		}
		if (x.RuleID == "CVE-2026-3") != (len(x.Suppressions) == 1) {
			t.Errorf("suppressions of %s: %v", x.RuleID, x.Suppressions)
		}
	}
	if levels["error"] != 3 || levels["warning"] != 1 {
		t.Errorf("levels %v", levels)
	}
	empty, err := Report{At: at("2026-05-01")}.SARIF("")
	if err != nil || !strings.Contains(string(empty), `"results": []`) || !strings.Contains(string(empty), `"rules": []`) {
		t.Errorf("an empty log leaves out what the schema demands: %s %v", empty, err)
	}
}

func TestJUnit(t *testing.T) {
	bad := pkg("lib\x01", "CVE-2026-1", finding.SeverityHigh)
	bad.Title = "<script>\x02 & co"
	r := evaluate(t, testJudge(t), []finding.Finding{bad, pkg("small", "CVE-2026-2", finding.SeverityLow), pkg("accepted", "CVE-2026-3", finding.SeverityCritical)},
		Options{At: at("2026-05-01"), Project: "acme/shop"})
	for _, rep := range []Report{r, {}} {
		b, err := rep.JUnit()
		if err != nil {
			t.Fatal(err)
		}
		var back junitSuites
		if err := xml.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		n := max(len(rep.Results), 1)
		if back.Tests != n || back.Failures != rep.Blocked || back.Skipped != rep.Excepted || len(back.Suites[0].Cases) != n {
			t.Errorf("%+v", back)
		}
	}
}

// TestUnknownShows: a class that stands only because a fact is unknown says so,
// and goes once the fact is known.
func TestUnknownShows(t *testing.T) {
	p, issues := policy.Load([]policy.File{{Name: "p.yaml", Data: []byte(`kind: rules
rules:
  - name: package
    when: class == "pipeline.vulnerable-package"
    class:
      - {when: is_yes(kev), class: K3}
      - {class: K5}
    ticket: true
`)}}, policy.Environment{Systems: []string{"tracker"}})
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	j := testJudge(t)
	j.Pack = p
	f := []finding.Finding{pkg("lib", "CVE-2020-1", finding.SeverityLow)}
	r := evaluate(t, j, f, Options{At: at("2026-06-01")}).Results[0]
	if r.Outcome != Blocked || !strings.Contains(r.Reason(), "because unknown: kev") {
		t.Errorf("without the list: %s, %q", r.Outcome, r.Reason())
	}
	j.KEV = judge.KEV{AsOf: at("2026-05-31"), CVE: map[string]bool{"CVE-2021-44228": true}}
	if r = evaluate(t, j, f, Options{At: at("2026-06-01")}).Results[0]; r.Outcome != Warned || strings.Contains(r.Reason(), "unknown") {
		t.Errorf("with the list: %s, %q", r.Outcome, r.Reason())
	}
}

// A report that lists fewer results counts as before, and lists those that
// press most.
func TestKeep(t *testing.T) {
	j := testJudge(t)
	rapid.Check(t, func(t *rapid.T) {
		var p finding.Pile
		for i := range rapid.IntRange(0, 60).Draw(t, "findings") {
			f, err := finding.Normalize(finding.Finding{Source: "s", NativeID: strings.Repeat("n", i+1), Title: "t", Class: finding.VulnerablePackage,
				Severity:  rapid.SampledFrom([]finding.Severity{finding.SeverityLow, finding.SeverityHigh, finding.SeverityCritical}).Draw(t, "severity"),
				Component: finding.Component{Name: rapid.SampledFrom([]string{"a", "b", "accepted"}).Draw(t, "package")}, Asset: finding.Asset{UID: strings.Repeat("r", i+1)},
				FirstSeen: at("2026-05-01")})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Add(f); err != nil {
				t.Fatal(err)
			}
		}
		all, err := Evaluate(j, &p, Options{At: at("2026-05-02")})
		if err != nil {
			t.Fatal(err)
		}
		keep := rapid.IntRange(1, 70).Draw(t, "keep")
		few, err := Evaluate(j, &p, Options{At: at("2026-05-02"), Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		n := min(keep, len(all.Results))
		if !reflect.DeepEqual(few.Results, all.Results[:n]) || few.Unlisted != len(all.Results)-n {
			t.Fatalf("with %d of %d results: %d listed, %d not", keep, len(all.Results), len(few.Results), few.Unlisted)
		}
		few.Results, few.Unlisted = all.Results, 0
		if !reflect.DeepEqual(few, all) {
			t.Fatalf("the counts differ: %+v", few)
		}
	})
}
