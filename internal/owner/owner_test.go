package owner

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func away() []Window { return []Window{{noon.Add(-time.Hour), noon.Add(time.Hour)}} }

// company is a small directory with every kind of entry.
func company() Data {
	return Data{
		People: []Person{
			{ID: "alice", Email: "alice@example.com", Logins: []string{"alice-gh"}, Team: "payments", Manager: "carol"},
			{ID: "bob", Team: "payments", Manager: "carol"},
			{ID: "carol", Team: "payments", Manager: "dave"},
			{ID: "dave", Team: "platform"},
			{ID: "erin", Team: "platform", Manager: "dave"},
			{ID: "frank", Team: "platform", Left: true},
		},
		Teams: []Team{
			{ID: "payments", Lead: "carol", OnCall: "bob", Members: []string{"alice", "bob"}, Parent: "platform"},
			{ID: "platform", Name: "Platform engineering", Lead: "dave"},
			{ID: "ghosts", Members: []string{"frank"}, Parent: "platform"},
		},
		Components:     []Component{{Name: "shop", Owner: "payments", Assets: []string{"arn:aws:s3:::shop-*"}}, {Name: "orphan"}},
		Repositories:   map[string]string{"acme/shop": "* @acme/platform\n/src/ @acme/payments\n/src/free/\n*.sql @alice-gh\n"},
		Accounts:       map[string]string{"111": "platform", "111/prod": "payments", "stage": "payments"},
		Overrides:      []Override{{Asset: "arn:aws:s3:::special-*", Environment: "production", Owner: "erin", Until: noon.AddDate(0, 1, 0)}},
		Aliases:        map[string]string{"@acme/checkout": "cash", "cash": "payments"},
		Fallback:       "platform",
		OperationsLead: "dave",
	}
}

func directory(t testing.TB, d Data) *Directory {
	t.Helper()
	dir, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func tagged(value string) finding.Finding {
	return finding.Finding{Asset: finding.Asset{UID: "x", Tags: map[string]string{"Owner": value}}}
}

func TestPrecedence(t *testing.T) {
	// A finding that every source knows, each with another answer; sources are
	// then taken away one by one.
	f := finding.Finding{
		Asset: finding.Asset{UID: "arn:aws:s3:::special-1", Account: "111", App: "shop", Environment: "production",
			Tags: map[string]string{"team": "bob"}},
		Location:   finding.Location{Repository: "https://github.com/Acme/Shop", File: "./src/db.sql"},
		OwnerHints: []finding.Hint{{Kind: "user", Value: "@erin"}},
	}
	d := directory(t, company())
	for _, step := range []struct {
		source Source
		owner  string
		remove func()
	}{
		{FromOverride, "erin", func() { f.Asset.Environment = "test" }},
		{FromTag, "bob", func() { f.Asset.Tags = nil }},
		{FromCodeowners, "alice", func() { f.Location.File = "src/free/a.go" }},
		{FromCatalog, "payments", func() { f.Asset.App = "orphan" }},
		{FromHint, "erin", func() { f.OwnerHints = nil }},
		{FromAccount, "platform", func() { f.Asset.Account = "" }},
		{FromFallback, "platform", nil},
	} {
		a := Resolve(d, Question{Finding: f, At: noon})
		if a.Source != step.source || a.Owner != step.owner {
			t.Fatalf("got %s by %s, want %s by %s: %+v", a.Owner, a.Source, step.owner, step.source, a.Chain)
		}
		last := a.Chain[len(a.Chain)-1]
		if !last.Answered || last.Source != step.source || last.Why == "" {
			t.Errorf("the chain ends with %+v", last)
		}
		for _, s := range a.Chain[:len(a.Chain)-1] {
			if s.Answered || s.Why == "" {
				t.Errorf("a step before the answer: %+v", s)
			}
		}
		if a.Known() != (step.source != FromFallback) || (a.Confidence == 0) == a.Known() {
			t.Errorf("%s: known %v, confidence %d", step.source, a.Known(), a.Confidence)
		}
		if r := a.Routing(); r.Owner != a.Owner || r.Known != a.Known() || r.Source != string(step.source) {
			t.Errorf("routing %+v", r)
		}
		if step.remove != nil {
			step.remove()
		}
	}
}

func TestSourcesInDetail(t *testing.T) {
	ns := func(account, namespace string) finding.Finding {
		return finding.Finding{Asset: finding.Asset{UID: "x", Account: account, Tags: map[string]string{"namespace": namespace}}}
	}
	file := func(name string) finding.Finding {
		return finding.Finding{Location: finding.Location{Repository: "git@github.com:acme/shop.git", File: name}}
	}
	override := finding.Finding{Asset: finding.Asset{UID: "arn:aws:s3:::special-1", Environment: "production"}}
	for _, test := range []struct {
		name  string
		q     Question
		owner string
		want  Source
	}{
		{"account and namespace before either", Question{Finding: ns("111", "prod")}, "payments", FromAccount},
		{"namespace before account", Question{Finding: ns("111", "Stage")}, "payments", FromAccount},
		{"account alone", Question{Finding: ns("111", "other")}, "platform", FromAccount},
		{"CODEOWNERS last match wins", Question{Finding: file("src/a.go")}, "payments", FromCodeowners},
		{"CODEOWNERS unowned on purpose", Question{Finding: file("src/free/a.go")}, "platform", FromFallback},
		{"component by asset pattern", Question{Finding: finding.Finding{Asset: finding.Asset{UID: "arn:aws:s3:::shop-logs"}}}, "payments", FromCatalog},
		{"override that is over", Question{Finding: override, At: noon.AddDate(0, 1, 0)}, "platform", FromFallback},
		{"alias of a merged team", Question{Finding: tagged("@acme/checkout")}, "payments", FromTag},
		{"team by title", Question{Finding: tagged("platform ENGINEERING")}, "platform", FromTag},
		{"entity reference", Question{Finding: tagged("group:default/payments")}, "payments", FromTag},
		{"login", Question{Finding: tagged("@Alice-GH")}, "alice", FromTag},
		{"mail", Question{Finding: tagged("mailto:ALICE@example.com")}, "alice", FromTag},
		{"unknown tag is passed over", Question{Finding: tagged("nobody")}, "platform", FromFallback},
		{"team of leavers falls to its parent", Question{Finding: tagged("ghosts")}, "platform", FromTag},
		{"leaver falls to the lead", Question{Finding: tagged("frank")}, "dave", FromTag},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.q.At.IsZero() {
				test.q.At = noon
			}
			a := Resolve(directory(t, company()), test.q)
			if a.Owner != test.owner || a.Source != test.want {
				t.Errorf("got %s by %s: %+v", a.Owner, a.Source, a.Chain)
			}
		})
	}
}

func TestStandIns(t *testing.T) {
	edit := func(ids ...string) Data {
		d := company()
		for i := range d.People {
			if slices.Contains(ids, d.People[i].ID) {
				d.People[i].Away = away()
			}
		}
		return d
	}
	for _, test := range []struct {
		name, tag string
		away      []string
		owner     string
		approver  string
	}{
		{"there", "alice", nil, "alice", "alice"},
		{"away: next on the team", "alice", []string{"alice"}, "bob", "bob"},
		{"next away too: the lead", "alice", []string{"alice", "bob"}, "carol", "carol"},
		{"the last of the team is followed by the first", "bob", []string{"bob", "carol"}, "alice", "alice"},
		{"whole team away: the manager's manager", "alice", []string{"alice", "bob", "carol"}, "dave", "dave"},
		{"team stays accountable while its people are away", "payments", []string{"alice", "bob", "carol"}, "payments", "dave"},
		{"team: the lead approves", "payments", nil, "payments", "carol"},
		{"team, lead away: on-call approves", "payments", []string{"carol"}, "payments", "bob"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := Resolve(directory(t, edit(test.away...)), Question{Finding: tagged(test.tag), At: noon})
			if a.Owner != test.owner || a.Approver != test.approver {
				t.Errorf("owner %s, approver %s: %+v", a.Owner, a.Approver, a)
			}
			if (a.Named != "") != (a.Owner != test.tag) {
				t.Errorf("named %q", a.Named)
			}
		})
	}
	// Back from the vacation, back in the job.
	if a := Resolve(directory(t, edit("alice")), Question{Finding: tagged("alice"), At: noon.Add(time.Hour)}); a.Owner != "alice" {
		t.Errorf("after the vacation: %s", a.Owner)
	}
}

func TestEscalation(t *testing.T) {
	a := Resolve(directory(t, company()), Question{Finding: tagged("alice"), At: noon})
	if a.Backup != "bob" || a.Manager != "carol" || a.OpsLead != "dave" {
		t.Errorf("backup %s, manager %s, operations lead %s", a.Backup, a.Manager, a.OpsLead)
	}
	d := company()
	d.People[3].Away = away() // dave
	a = Resolve(directory(t, d), Question{Finding: tagged("carol"), At: noon})
	if a.Manager != "" || a.OpsLead != "erin" {
		t.Errorf("manager %q, operations lead %q", a.Manager, a.OpsLead)
	}
}

func TestSeparationOfDuties(t *testing.T) {
	d := directory(t, company())
	a := Resolve(d, Question{Finding: tagged("alice"), At: noon, LastModifier: "alice@example.com"})
	if a.Owner != "alice" || a.Approver == "alice" || slices.Contains(a.Approvers, "alice") {
		t.Errorf("the last modifier approves: %+v", a)
	}
	a = Resolve(d, Question{Finding: tagged("alice"), At: noon, LastModifier: "alice", Requester: "carol"})
	if a.Approver != "bob" || slices.Contains(a.Approvers, "carol") {
		t.Errorf("approvers %v", a.Approvers)
	}
}

func TestDelegation(t *testing.T) {
	build := func(gs ...Delegation) *Directory {
		d := company()
		for _, g := range gs {
			g.Start, g.Until, g.Reason = noon.Add(-time.Hour), noon.Add(time.Hour), "travel"
			d.Delegations = append(d.Delegations, g)
		}
		return directory(t, d)
	}
	q := Question{Finding: tagged("payments"), At: noon}
	if a := Resolve(build(Delegation{From: "carol", To: "erin"}), q); a.Approver != "erin" {
		t.Errorf("delegated: %v", a.Approvers)
	}
	// One hop: what erin holds she cannot pass on.
	if a := Resolve(build(Delegation{From: "carol", To: "erin"}, Delegation{From: "erin", To: "dave"}), q); a.Approver != "erin" {
		t.Errorf("two hops: %v", a.Approvers)
	}
	q.Requester = "erin"
	if a := Resolve(build(Delegation{From: "carol", To: "erin"}), q); a.Approver != "carol" {
		t.Errorf("delegated to the requester: %v", a.Approvers)
	}
	// Who may not approve may not choose who does.
	q.Requester, q.LastModifier = "", "carol"
	if a := Resolve(build(Delegation{From: "carol", To: "erin"}), q); slices.Index(a.Approvers, "erin") == 0 {
		t.Errorf("the last modifier's delegate approves: %v", a.Approvers)
	}
	// Who has left has nothing to pass on.
	q = Question{Finding: tagged("platform"), At: noon}
	if a := Resolve(build(Delegation{From: "frank", To: "alice"}), q); slices.Contains(a.Approvers, "alice") {
		t.Errorf("a leaver's delegate approves: %v", a.Approvers)
	}
	q = Question{Finding: tagged("payments"), At: noon.Add(time.Hour)}
	if a := Resolve(build(Delegation{From: "carol", To: "erin"}), q); a.Approver != "carol" {
		t.Errorf("after its end: %v", a.Approvers)
	}
}

// Among components that match in different ways the first one listed decides.
func TestFirstComponentWins(t *testing.T) {
	d := Data{Teams: []Team{{ID: "t"}}, People: []Person{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}}, Components: []Component{
		{Name: "pattern", Owner: "a", Assets: []string{"db-*"}},
		{Name: "exact", Owner: "b", Assets: []string{"db-1", "web-1"}},
		{Name: "repository", Owner: "c", Repositories: []string{"acme/web"}},
		{Name: "late pattern", Owner: "d", Assets: []string{"*-1", "*-2"}},
		{Name: "late asset", Owner: "d", Assets: []string{"y"}},
	}}
	dir := directory(t, d)
	for _, test := range [][3]string{{"db-1", "", "a"}, {"web-1", "acme/web", "b"}, {"x-1", "acme/web", "c"}, {"y", "acme/web", "c"}, {"y", "", "d"}, {"X-2", "", "d"}, {"x", "https://github.com/ACME/web.git", "c"}} {
		f := finding.Finding{Asset: finding.Asset{UID: test[0]}, Location: finding.Location{Repository: test[1]}}
		if a := Resolve(dir, Question{Finding: f, At: noon}); a.Owner != test[2] {
			t.Errorf("%v: owner %s", test, a.Owner)
		}
	}
}

// Without any directory there is still an owner, and the gaps say what to do.
func TestEmptyDirectory(t *testing.T) {
	a := Resolve(directory(t, Data{}), Question{At: noon})
	if a.Owner != DefaultFallback || a.Approver != "" || a.Known() || len(a.Gaps) != 3 {
		t.Errorf("%+v", a)
	}
}

func TestNewReportsEverything(t *testing.T) {
	d := company()
	d.People = append(d.People, Person{ID: "Alice"}, Person{ID: "x", Manager: "y", Place: "owners.yaml:9:3"}, Person{ID: "y", Manager: "x", Email: "alice@example.com"},
		Person{ID: "payments"}, Person{ID: "a/b"}, Person{}, Person{ID: "z", Team: "alice", Away: []Window{{noon, noon}}})
	d.Teams = append(d.Teams, Team{ID: "t1", Parent: "t2", Lead: "platform"}, Team{ID: "t2", Parent: "t1", Members: []string{"nobody"}})
	d.Delegations = []Delegation{{From: "bob", To: "bob"}, {From: "bob", To: "erin", Start: noon, Until: noon, Reason: "r"}, {From: "bob", To: "erin", Until: noon}}
	d.Overrides = []Override{{Owner: "bob"}, {App: "x"}, {App: "x", Owner: "nobody"}}
	d.Aliases = map[string]string{"p": "q", "q": "p", "r": "nobody"}
	d.Components = append(d.Components, Component{Name: "Shop"})
	d.Fallback, d.OperationsLead = "alice", "platform"
	_, err := New(d)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`person "Alice": the id is taken`, "owners.yaml:9:3: person x: the chain of managers", `"alice@example.com" names both`,
		`team "payments": the id is taken`, `person "a/b"`, "person without an id", `person z: team "alice"`, "person z: away[0]",
		"team t1: the chain of parents", `lead "platform"`, `member "nobody"`, "delegates to themselves", "delegations[1]: until", "delegations[2] has no reason",
		"overrides[0] has no condition", "overrides[1] names no owner", "overrides[2]: owner", `alias "p" leads in a circle`, `alias "r"`, `component "Shop" is there twice`,
		`fallback "alice"`, `operations_lead "platform"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in:\n%v", want, err)
		}
	}
}

func TestGaps(t *testing.T) {
	d := directory(t, company())
	gaps := Gaps(d, []finding.Finding{tagged("nobody"), tagged("nobody"), tagged("frank"), tagged("alice")}, noon)
	if len(gaps) != 3 || gaps[0].Findings != 2 || !strings.Contains(gaps[0].Gap+gaps[1].Gap, `"nobody"`) || !strings.Contains(gaps[2].Gap, "frank has left") {
		t.Errorf("%+v", gaps)
	}
	if len(gaps[0].Assets) != 1 {
		t.Errorf("one asset is named %d times", len(gaps[0].Assets))
	}
}

func TestCodeowners(t *testing.T) {
	rules, notes := ParseCodeowners("# comment\r\n*  @acme/all  # inline\r\n\ndocs/ writer@example.technology\n!docs/x @a\n[Section] @b\nbad owner-without-at\n" +
		"/apps/ @group/sub/team\n/apps/github\nsp\\ ace.txt @user\n" + strings.Repeat("x", 5000) + " @a\n")
	for file, want := range map[string]string{"a.go": "[acme/all] 2", "docs/a/b": "[writer@example.technology] 4", "./apps/x": "[group/sub/team] 8",
		"apps/github": "[] 9", "sp ace.txt": "[user] 10", "/a.go": "[acme/all] 2"} {
		owners, line := rules.Of(file)
		if got := fmt.Sprint(owners, line); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
	if len(notes) != 4 || !strings.HasPrefix(notes[0], "line 5:") || !strings.HasPrefix(notes[2], "line 7:") {
		t.Errorf("notes %q", notes)
	}
	if _, line := (Codeowners{}).Of("a"); line != 0 {
		t.Error("an empty file owns")
	}
	if _, notes := ParseCodeowners(strings.Repeat("#", maxCodeowners)); len(notes) != 1 {
		t.Errorf("a huge file: %q", notes)
	}
}

func FuzzParseCodeowners(f *testing.F) {
	f.Add("* @a\n/src/ @b/c d@e.f\n", "src/x")
	f.Add("**/logs @a\nfoo/**/bar @b\n\\#x @c\n[a] @d", "foo/a/bar")
	f.Fuzz(func(t *testing.T, text, file string) {
		rules, _ := ParseCodeowners(text)
		owners, line := rules.Of(file)
		if line == 0 && owners != nil {
			t.Fatal("owners without a line")
		}
	})
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{{"a", "A", true}, {"a", "ab", false}, {"*", "", true}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "ac", true}, {"a*b*c", "a-b-c", true},
		{"a*b*c", "acb", false}, {"ab*b", "ab", false}, {"*b*", "abc", true}, {"", "", true}, {"", "a", false}} {
		if got := glob(test.pattern, test.text); got != test.want {
			t.Errorf("glob(%q, %q) = %v", test.pattern, test.text, got)
		}
	}
}

// drawQuestion draws a directory of any shape that New takes, and a question.
func drawQuestion(t *rapid.T) (Data, Question) {
	ids := []string{"p0", "p1", "p2", "p3", "p4", "p5"}
	teams := []string{"t0", "t1", "t2"}
	maybe := func(of []string, label string) string {
		return rapid.SampledFrom(append([]string{""}, of...)).Draw(t, label)
	}
	var d Data
	for i, id := range ids {
		p := Person{ID: id, Team: maybe(teams, "team"), Manager: maybe(ids[:i], "manager"), Left: rapid.IntRange(0, 3).Draw(t, "left") == 0}
		if rapid.Bool().Draw(t, "away") {
			p.Away = away()
		}
		d.People = append(d.People, p)
	}
	for i, id := range teams {
		d.Teams = append(d.Teams, Team{ID: id, Lead: maybe(ids, "lead"), OnCall: maybe(ids, "on call"), Parent: maybe(teams[:i], "parent"),
			Members: rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 3, rapid.ID[string]).Draw(t, "members")})
	}
	d.Fallback, d.OperationsLead = maybe(teams, "fallback"), maybe(ids, "operations lead")
	for range rapid.IntRange(0, 3).Draw(t, "delegations") {
		g := Delegation{From: rapid.SampledFrom(ids).Draw(t, "from"), To: rapid.SampledFrom(ids).Draw(t, "to"), Start: noon, Until: noon.Add(1), Reason: "r"}
		if g.From != g.To {
			d.Delegations = append(d.Delegations, g)
		}
	}
	q := Question{At: noon, Finding: tagged(rapid.SampledFrom(slices.Concat(ids, teams, []string{"", "nobody"})).Draw(t, "tag")),
		LastModifier: maybe(ids, "last modifier"), Requester: maybe(ids, "requester")}
	return d, q
}

// The laws of the package comment, over any directory.
func TestResolveLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, q := drawQuestion(t)
		d, err := New(data)
		if err != nil {
			t.Fatal(err)
		}
		a := Resolve(d, q)
		again, err := New(data)
		if err != nil || !reflect.DeepEqual(a, Resolve(again, q)) || d.Version() != again.Version() {
			t.Fatal("the same input gave another answer")
		}
		if a.Owner == "" || len(a.Chain) == 0 {
			t.Fatalf("no owner: %+v", a)
		}
		if _, isPerson := d.Person(a.Owner); isPerson && !d.present(a.Owner, noon) {
			t.Fatalf("owner %s is not there", a.Owner)
		}
		for _, id := range a.Approvers {
			if !d.present(id, noon) || id == q.Requester || id == q.LastModifier {
				t.Fatalf("%s approves: %+v", id, q)
			}
		}
		if len(a.Approvers) > 0 && a.Approver != a.Approvers[0] || len(a.Approvers) == 0 && a.Approver != "" {
			t.Fatalf("approver %s of %v", a.Approver, a.Approvers)
		}
		if a.Approver == "" && len(a.Gaps) == 0 {
			t.Fatal("nobody approves and no gap says so")
		}
		for _, id := range []string{a.Backup, a.Manager, a.OpsLead} {
			if id != "" && !d.present(id, noon) {
				t.Fatalf("%s is not there: %+v", id, a)
			}
		}
		if a.Backup != "" && (a.Backup == a.Approver || a.Backup == a.Owner) {
			t.Fatalf("backup %s is owner or approver", a.Backup)
		}
		var back Assignment
		text, err := json.Marshal(a)
		if err != nil || json.Unmarshal(text, &back) != nil || !reflect.DeepEqual(a, back) {
			t.Fatalf("as JSON: %s", text)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	d := company()
	for i := range 5000 {
		d.Components = append(d.Components, Component{Name: fmt.Sprint("c", i), Owner: "payments", Repositories: []string{fmt.Sprint("acme/r", i)}, Assets: []string{fmt.Sprint("asset-", i)}})
	}
	dir := directory(b, d)
	q := Question{Finding: finding.Finding{Asset: finding.Asset{UID: "asset-4999"}, Location: finding.Location{Repository: "acme/r4999"}}, At: noon}
	for b.Loop() {
		Resolve(dir, q)
	}
}
