package judge_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/deadline"
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
	d, err := owner.New(owner.Data{
		People: []owner.Person{{ID: "ann", Team: "shop", Manager: "eve"}, {ID: "bob", Team: "shop"}, {ID: "eve"}, {ID: "ops"}},
		Teams:  []owner.Team{{ID: "shop", Lead: "ann", Members: []string{"ann", "bob"}}}, OperationsLead: "ops",
		Accounts: map[string]string{"111": "ann"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return judge.Judge{Pack: p, Directory: d}
}

func bucket() finding.Finding {
	return finding.Finding{Tenant: "default", Source: "scanner", NativeID: "1", Title: "public", Class: finding.StoragePublic, Domain: finding.DomainCloud,
		Severity: finding.SeverityHigh, Confidence: 90, Exposure: finding.Exposure{Blast: 2}, Status: finding.StatusOpen,
		Asset: finding.Asset{UID: "b", Name: "b", Type: "bucket", Provider: "aws", Account: "111", Environment: "staging"}}
}

// TestWhole: every random finding gets a judgement with class, owner, clocks and
// ladder, the same each time, whose facts can be read back from the snapshot.
func TestWhole(t *testing.T) {
	j := newJudge(t, pack.Default())
	rapid.Check(t, func(t *rapid.T) {
		f, at := policytest.Finding().Draw(t, "finding"), policytest.At()
		got, e := j.Judge(f, policy.CaseFacts{}, at)
		again, _ := j.Judge(f, policy.CaseFacts{}, at)
		if !reflect.DeepEqual(got, again) {
			t.Fatal("two judgements of the same finding")
		}
		if got.Decision.Class == 0 || got.Routing.Owner == "" || got.Clocks.Fix.IsZero() || len(got.Ladder) == 0 || got.Versions.Policy == "" ||
			got.Versions.Owners == "" || got.Versions.TZ == "" {
			t.Fatalf("incomplete judgement %+v", got)
		}
		sum := sha256.Sum256(e.Snapshot)
		if got.Facts != hex.EncodeToString(sum[:]) {
			t.Fatal("the address is not that of the snapshot")
		}
		var facts policy.Facts
		if err := json.Unmarshal(e.Snapshot, &facts); err != nil {
			t.Fatal(err)
		}
		d, _ := j.Pack.Decide(facts)
		if !reflect.DeepEqual(d, got.Decision) {
			t.Fatalf("the snapshot decides differently:\n%+v\n%+v", d, got.Decision)
		}
	})
}

func TestOwnerAndClocks(t *testing.T) {
	j := newJudge(t, pack.Demo())
	at := policytest.At()
	got, e := j.Judge(bucket(), policy.CaseFacts{}, at)
	if got.Decision.Path() != remedy.PathEnforce || got.Routing.Owner != "ann" || e.Facts.Team != "shop" || !got.Routing.Known {
		t.Errorf("known owner: %s, routing %+v, team %q, lowered %v", got.Decision.Path(), got.Routing, e.Facts.Team, e.Trace.Lowered)
	}
	if got.Clocks.Contain.Sub(at) != 24*time.Hour || got.Clocks.Fix.Sub(at) != 72*time.Hour {
		t.Errorf("clocks %+v", got.Clocks)
	}
	f := bucket()
	f.Asset.Account = "999"
	if got, _ := j.Judge(f, policy.CaseFacts{}, at); got.Decision.Path() != remedy.PathApprove || got.Routing.Known || strings.Join(got.Decision.Unknown, ",") != "owner" {
		t.Errorf("unknown owner: %s %+v", got.Decision.Path(), got.Decision.Unknown)
	}
	f = bucket()
	f.Deadline = at.Add(time.Hour)
	if got, _ := j.Judge(f, policy.CaseFacts{}, at); !got.Clocks.Fix.Equal(f.Deadline) {
		t.Errorf("the source's deadline is earlier, but fix is %s", got.Clocks.Fix)
	}
	opened := at.Add(-10 * 24 * time.Hour)
	if got, _ := j.Judge(bucket(), policy.CaseFacts{Opened: opened}, at); !got.Clocks.Fix.Equal(opened.Add(72 * time.Hour)) {
		t.Errorf("clocks start when the episode began, but fix is %s", got.Clocks.Fix)
	}
}

func TestKEV(t *testing.T) {
	k, err := judge.ReadKEV([]byte(`{"dateReleased":"2026-05-01T10:00:00.0Z","vulnerabilities":[{"cveID":"CVE-2021-44228"},{"cveID":"cve-2024-1 "}]}`))
	if err != nil || len(k.CVE) != 2 || !k.CVE["CVE-2024-1"] {
		t.Fatalf("%+v %v", k, err)
	}
	for _, c := range []struct {
		k    judge.KEV
		ids  []string
		want finding.Tri
	}{{k, []string{"CVE-1", "CVE-2021-44228"}, finding.Yes}, {k, []string{"CVE-1"}, finding.No}, {k, nil, finding.Unknown}, {judge.KEV{}, []string{"CVE-1"}, finding.Unknown}} {
		if got := c.k.Lists(c.ids); got != c.want {
			t.Errorf("%v: %s, want %s", c.ids, got, c.want)
		}
	}
	j := newJudge(t, pack.Default())
	f := bucket()
	f.Class, f.Weakness.CVE, f.Exposure.InternetFacing = finding.VulnerableWorkload, []string{"CVE-2000-1"}, finding.No
	class := func() deadline.RiskClass {
		got, _ := j.Judge(f, policy.CaseFacts{}, policytest.At())
		return got.Decision.Class
	}
	if got := class(); got != deadline.K1 {
		t.Errorf("without a list: %s", got)
	}
	j.KEV = k
	if got := class(); got != deadline.K4 {
		t.Errorf("not listed: %s", got)
	}
	f.Weakness.KEV = finding.Yes
	if got := class(); got != deadline.K1 {
		t.Errorf("the source says listed: %s", got)
	}
	for _, bad := range []string{"", "[]", "{", `{"vulnerabilities":[{"cveID":"CVE-1"}]}`, `{"dateReleased":"2026-05-01T10:00:00Z"}`} {
		if _, err := judge.ReadKEV([]byte(bad)); !errors.Is(err, judge.ErrNoKEV) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzReadKEV(f *testing.F) {
	f.Add([]byte(`{"dateReleased":"2026-05-01T10:00:00Z","vulnerabilities":[{"cveID":"CVE-1"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := judge.ReadKEV(data)
		if (err == nil) != (len(k.CVE) > 0 && !k.AsOf.IsZero()) {
			t.Fatalf("%+v %v", k, err)
		}
	})
}
