package backtest_test

import (
	"math/rand"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/backtest"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/policy/policytest"
	"github.com/casement/casement/internal/remedy"
)

func newJudge(t *testing.T, files []policy.File) judge.Judge {
	t.Helper()
	p, issues := policy.Load(files, policytest.Environment())
	if len(issues) > 0 {
		t.Fatal(issues.Error())
	}
	d, err := owner.New(owner.Data{People: []owner.Person{{ID: "ann"}, {ID: "bob"}},
		Teams: []owner.Team{{ID: "shop", Lead: "ann", Members: []string{"ann", "bob"}}}, Accounts: map[string]string{"111": "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return judge.Judge{Pack: p, Directory: d}
}

func found(t *testing.T, f finding.Finding) finding.Finding {
	t.Helper()
	n, err := finding.Normalize(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func bucket(t *testing.T, source, native, name, account string) finding.Finding {
	return found(t, finding.Finding{Source: source, NativeID: native, Title: "bucket " + name + " is public", Class: finding.StoragePublic,
		Severity: finding.SeverityHigh, Confidence: 90, Exposure: finding.Exposure{Blast: 2},
		Asset: finding.Asset{UID: name, Type: "bucket", Provider: "aws", Account: account, Environment: "staging"}})
}

func pkg(t *testing.T, native, name string, s finding.Severity) finding.Finding {
	return found(t, finding.Finding{Source: "scanner", NativeID: native, Title: name, Class: finding.VulnerablePackage, Severity: s,
		Weakness:  finding.Weakness{CVE: []string{"CVE-2026-1"}, KEV: finding.No},
		Component: finding.Component{Name: name}, Asset: finding.Asset{UID: "shop/web", Type: "repository", Account: "111"}})
}

// sample: four alerts of one bucket by two tools, one of another bucket nobody
// owns, two packages.
func sample(t *testing.T) []finding.Finding {
	return []finding.Finding{
		bucket(t, "a", "1", "one", "111"), bucket(t, "a", "1", "one", "111"), bucket(t, "b", "9", "one", "111"), bucket(t, "b", "9", "one", "111"),
		bucket(t, "a", "2", "two", "999"), pkg(t, "3", "openssl", finding.SeverityHigh), pkg(t, "4", "zlib", finding.SeverityLow),
	}
}

type failer interface{ Fatal(...any) }

func pile(t failer, fs []finding.Finding) *finding.Pile {
	var p finding.Pile
	for _, f := range fs {
		if err := p.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	return &p
}

func tryOf(t failer, j judge.Judge, fs []finding.Finding, at time.Time) backtest.Trial {
	trial, err := backtest.Try(j, pile(t, fs), at, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

func inventoryOf(t failer, j judge.Judge, fs []finding.Finding, at time.Time) backtest.Inventory {
	inv, err := backtest.InventoryOf(j, pile(t, fs), at)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// TestTryManyCases: what is listed is the most pressing, everything is counted,
// and neither depends on how many were asked for.
func TestTryManyCases(t *testing.T) {
	j := newJudge(t, pack.Default())
	var fs []finding.Finding
	for i := range 12_000 {
		f := sample(t)[i%7]
		f.Asset.UID = "asset-" + strconv.Itoa(i/14)
		fs = append(fs, f)
	}
	all := tryOf(t, j, fs, policytest.At())
	few, err := backtest.Try(j, pile(t, fs), policytest.At(), 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	if all.Alerts != 12_000 || len(all.Items) != all.Cases || len(few.Items) != 5 || !reflect.DeepEqual(few.Items, all.Items[:5]) {
		t.Fatalf("%d alerts, %d cases, %d items, of few %d", all.Alerts, all.Cases, len(all.Items), len(few.Items))
	}
	if few.String() != all.String() || !reflect.DeepEqual(few.Paths, all.Paths) || !reflect.DeepEqual(few.Held, all.Held) || !reflect.DeepEqual(few.Unowned, all.Unowned) {
		t.Errorf("%s\n%s", few, all)
	}
	var inOrder []string
	for _, g := range backtest.GroupOf(fs) {
		inOrder = append(inOrder, g.Key)
	}
	at := map[string]int{}
	for i, k := range inOrder {
		at[k] = i
	}
	for i := 1; i < len(all.Items); i++ {
		if a, b := all.Items[i-1], all.Items[i]; a.Risk == b.Risk && a.Alerts == b.Alerts && at[a.Key] > at[b.Key] {
			t.Fatalf("case %s before %s, which appears first", a.Key, b.Key)
		}
	}
}

func TestTry(t *testing.T) {
	j := newJudge(t, pack.Default())
	at := policytest.At()
	trial := tryOf(t, j, sample(t), at)
	if got := trial.String(); got != "7 alerts → 4 cases; 1 would be enforced, 0 approved, 2 ticketed, 1 no owner; nothing was touched" {
		t.Errorf("%s", got)
	}
	first := trial.Items[0]
	if first.Path != remedy.PathEnforce || first.Now != remedy.PathMonitor || first.Alerts != 4 || first.FixBy != "3 d" || !first.OwnerKnown || first.Rule != "storage-public-s3" {
		t.Errorf("first %+v", first)
	}
	if second := trial.Items[1]; second.Path != remedy.PathApprove || second.OwnerKnown || !strings.Contains(strings.Join(second.Held, ";"), "owner") {
		t.Errorf("second %+v", second)
	}
}

func TestInventory(t *testing.T) {
	inv := inventoryOf(t, newJudge(t, pack.Default()), sample(t), policytest.At())
	if inv.Alerts != 7 || inv.Cases != 4 || len(inv.Rows) != 2 {
		t.Fatalf("inventory %+v", inv)
	}
	b, p := inv.Rows[0], inv.Rows[1]
	if b.Domain != finding.DomainCloud || b.Alerts != 5 || b.Cases != 2 || b.Duplicates != 3 || b.Confidence != 90 || b.OwnerFound != 1 ||
		b.Decisions[remedy.PathEnforce] != 1 || b.Now != remedy.PathMonitor || b.Probe != "s3/anonymous-get" || b.Contain != "24 h" || b.Fix != "3 d" ||
		!reflect.DeepEqual(b.Actions, []string{"s3/remove-public-access", "s3/block-public-access"}) || b.Grade != "P3" || b.Risk["K2"] != 2 || strings.Join(b.Unknown, " ") != "data_class owner" || strings.Join(b.Sources, " ") != "a b" {
		t.Errorf("buckets %+v", b)
	}
	if p.Domain != finding.DomainPipeline || p.Cases != 2 || p.Path != remedy.PathTicket || p.ConfidenceStated != 0 ||
		!strings.HasPrefix(p.Actions[0], "by hand: ") || p.Fix != "14 d" || p.Risk["K3"] != 1 || p.Risk["K5"] != 1 {
		t.Errorf("packages %+v", p)
	}
}

// TestGroups: every alert is in exactly one group, groups do not depend on the
// order of the file, and different assets never meet (law 2).
func TestGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := rapid.SliceOfN(policytest.Finding(), 0, 20).Draw(t, "findings")
		groups := backtest.GroupOf(fs)
		alerts := 0
		count := map[string]int{}
		for _, g := range groups {
			alerts += g.Alerts
			count[g.Key] += g.Alerts
		}
		if alerts != len(fs) || len(count) != len(groups) {
			t.Fatalf("%d alerts in %d groups of %d keys", alerts, len(groups), len(count))
		}
		shuffled := append([]finding.Finding(nil), fs...)
		rand.New(rand.NewSource(int64(len(fs)))).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for _, g := range backtest.GroupOf(shuffled) {
			if count[g.Key] != g.Alerts {
				t.Fatalf("group %s has %d alerts in one order, %d in another", g.Key, count[g.Key], g.Alerts)
			}
		}
	})
}

// TestTrialMatchesInventory: two views of the same file agree.
func TestTrialMatchesInventory(t *testing.T) {
	j := newJudge(t, pack.Default())
	rapid.Check(t, func(t *rapid.T) {
		fs := rapid.SliceOfN(policytest.Finding(), 0, 15).Draw(t, "findings")
		trial, inv := tryOf(t, j, fs, policytest.At()), inventoryOf(t, j, fs, policytest.At())
		cases, paths := 0, map[remedy.Path]int{}
		for _, r := range inv.Rows {
			cases += r.Cases
			for p, n := range r.Decisions {
				paths[p] += n
			}
		}
		if cases != trial.Cases || inv.Alerts != trial.Alerts || !reflect.DeepEqual(paths, trial.Paths) {
			t.Fatalf("inventory %d %v, trial %d %v", cases, paths, trial.Cases, trial.Paths)
		}
	})
}

// TestBacktestAgreesWithTry: on the same file, by the same pack, history counts
// what try counts, unknown facts included, for the rules in shadow.
func TestBacktestAgreesWithTry(t *testing.T) {
	j := newJudge(t, pack.Default())
	fs := append(sample(t), bucket(t, "a", "7", "nobodys", "999"))
	held := 0
	check := func(t failer, fs []finding.Finding) {
		trial := tryOf(t, j, fs, policytest.At())
		held += len(trial.Held)
		want := map[string]remedy.Path{}
		for _, c := range trial.Items {
			want[c.Key] = c.Path
		}
		past := backtest.FromFindings(j, fs, policytest.At())
		again := backtest.Compare(past, j.Pack)
		for _, p := range past {
			if l := backtest.Label(p.Decision); p.Decision.Mode == remedy.ModeShadow && l != want[p.Key] {
				t.Fatal("history", l, "try", want[p.Key], p.Title)
			}
		}
		if again.Same != len(past) {
			t.Fatal("the same pack differs from itself", again.Changed)
		}
	}
	check(t, fs)
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.SliceOfN(policytest.Finding(), 0, 15).Draw(t, "findings")) })
	if held == 0 {
		t.Error("no limit held anything back: the test compares nothing")
	}
}

const other = `
kind: playbooks
playbooks: [{name: s3, description: d, probe: s3/anonymous-get, fix: [{name: remove-public-access, do: s3/remove-public-access, auth: enforce}]}]
---
kind: rules
mode: enforce
rules:
  - {name: buckets, when: 'class == "storage.public"', class: K3, playbook: s3}
  - {name: packages, when: 'class == "pipeline.vulnerable-package" && severity >= HIGH', class: K2, ticket: true, mode: ticket}
  - {name: broken, when: 'component == "zlib" && scopes[1] == "x"', class: K4}
`

func TestCompare(t *testing.T) {
	j := newJudge(t, pack.Default())
	past := backtest.FromFindings(j, sample(t), policytest.At())
	if same := backtest.Compare(past, j.Pack); same.Same != 4 || len(same.Changed) != 0 {
		t.Fatalf("the same pack differs: %+v", same)
	}
	next, issues := policy.Load([]policy.File{{Name: "x.yaml", Data: []byte(other)}}, policytest.Environment())
	if len(issues) > 0 {
		t.Fatal(issues.Error())
	}
	c := backtest.Compare(past, next)
	if c.Cases != 4 || c.Same != 0 || c.Tighter != 2 || c.Looser != 2 || c.NewlyEnforced != 0 || c.Errors != 1 {
		t.Errorf("comparison %+v", c)
	}
	if c.Matrix[remedy.PathEnforce][remedy.PathEnforce] != 1 || c.Matrix[remedy.PathApprove][remedy.PathApprove] != 1 || c.Matrix[remedy.PathTicket][remedy.PathTicket] != 2 {
		t.Errorf("matrix %v", c.Matrix)
	}
	if c.Changed[0].New.Error == "" || !strings.Contains(strings.Join(c.Changed[1].Why, "; "), "class K2 → K3") {
		t.Errorf("changes %+v", c.Changed)
	}
}

func TestAgainst(t *testing.T) {
	past := backtest.FromFindings(newJudge(t, pack.Default()), sample(t), policytest.At())
	file := "\xef\xbb\xbfkey,who,path\n" + past[0].Key + ",eve,Approve\n" + past[1].Key + ",eve,approve\n" + past[2].UIDs[0] + ",eve,ticket\nnobody,eve,ticket\n"
	ops, err := backtest.ReadOperators("ops.csv", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	a := backtest.Against(past, ops)
	if a.Compared != 3 || a.Agree != 2 || a.Bolder != 1 || len(a.Disagree) != 1 || len(a.Unmatched) != 1 || a.Unmatched[0] != "nobody" {
		t.Errorf("agreement %+v", a)
	}
	if a.Matrix[remedy.PathApprove][remedy.PathEnforce] != 1 || a.Disagree[0].Rule != "storage-public-s3" {
		t.Errorf("matrix %v, disagree %+v", a.Matrix, a.Disagree)
	}
	// By hand: observed 2/3, expected (2·1 + 1·1)/9 = 1/3, kappa 1/2.
	if a.Kappa != 0.5 {
		t.Errorf("kappa %v", a.Kappa)
	}
	if empty := backtest.Against(past, nil); empty.Kappa != 0 || empty.Compared != 0 {
		t.Errorf("no operators: %+v", empty)
	}
}

func TestOperatorFaults(t *testing.T) {
	for file, want := range map[string]string{
		"":                          "ops.csv: file is empty",
		"a,b\n":                     "want a column case",
		"case,path\nx,maybe\ny\n":   "ops.csv:2: path \"maybe\"",
		"case,path\nx,\"ticket\n\n": "ops.csv: ",
	} {
		_, err := backtest.ReadOperators("ops.csv", []byte(file))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
	if _, err := backtest.ReadOperators("ops.csv", []byte("case,path\nx,maybe\ny\n")); !strings.Contains(err.Error(), "ops.csv:3: 1 columns") {
		t.Errorf("not all faults at once: %v", err)
	}
}

func FuzzReadOperators(f *testing.F) {
	f.Add([]byte("case,path\nx,ticket\n"))
	f.Add([]byte("uid;decision\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ops, err := backtest.ReadOperators("f", data)
		if err != nil {
			return
		}
		for _, o := range ops {
			if o.Path == "" || o.Line < 2 {
				t.Fatalf("%+v", o)
			}
		}
	})
}

func TestEmptyFile(t *testing.T) {
	j := newJudge(t, pack.Default())
	if got := tryOf(t, j, nil, time.Time{}).String(); got != "0 alerts → 0 cases; 0 would be enforced, 0 approved, 0 ticketed, 0 no owner; nothing was touched" {
		t.Errorf("%s", got)
	}
}
