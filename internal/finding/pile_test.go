package finding_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
)

func piled(t *testing.T, i int) finding.Finding {
	t.Helper()
	f, err := finding.Normalize(finding.Finding{
		Source: "a.b", Product: "A <b>", NativeID: fmt.Sprint("n", i), Rule: "r", Title: "bucket \"one\" & more\u2028", Description: "d", Class: finding.StoragePublic,
		Severity: finding.Severity(i%6) % (finding.SeverityCritical + 1), SourceSeverity: "HIGH", Confidence: i % 101,
		Weakness:  finding.Weakness{CVE: []string{"CVE-2026-1"}, CWE: []string{"CWE-1"}, KEV: finding.Yes, CVSS: 98},
		Asset:     finding.Asset{UID: fmt.Sprint("arn:aws:s3:::b", i%300), Type: "bucket", Tags: map[string]string{"owner": "x"}},
		Location:  finding.Location{File: "f", Line: i},
		Component: finding.Component{Name: "c", Version: "1"}, Identity: finding.Identity{Principal: "p"},
		Exposure:   finding.Exposure{Blast: 2, InternetFacing: finding.No},
		OwnerHints: []finding.Hint{{Kind: "team", Value: "x"}}, Evidence: []finding.Evidence{{Name: "e", Value: "v"}},
		Deadline: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), FirstSeen: time.Date(2026, 1, 2, 3, 4, 5, i, time.UTC),
		Params: map[string]string{"bucket": "b"}, Origins: map[string]finding.Origin{"exposure.blast": {Source: "s3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What is put on a pile is taken out again, once, the same, and all of one
// exposure in one part and in order, whether it was small enough to be kept as
// it was or not.
func TestPile(t *testing.T) {
	for _, n := range []int{0, 7, 4_000, 4_001, 6_000} {
		var p finding.Pile
		for i := range n {
			if err := p.Add(piled(t, i)); err != nil {
				t.Fatal(err)
			}
		}
		seen := make([]bool, n)
		partOf := map[string]int{}
		last := map[string]int{}
		parts := 0
		err := p.Each(func(part []finding.Piled) {
			parts++
			for _, x := range part {
				if seen[x.N] {
					t.Fatalf("%d of %d twice", x.N, n)
				}
				seen[x.N] = true
				if want := piled(t, x.N); x.N%9 == 0 && !reflect.DeepEqual(want, x.Finding) {
					t.Fatalf("want %+v\n got %+v", want, x.Finding)
				}
				k := finding.ExposureKey(x.Finding).String()
				if at, ok := partOf[k]; ok && (at != parts || last[k] > x.N) {
					t.Fatalf("key %s in two parts, or out of order", k)
				}
				partOf[k], last[k] = parts, x.N
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, ok := range seen {
			if !ok {
				t.Fatalf("%d of %d is lost", i, n)
			}
		}
		if p.Len() != n || n > 4_000 && parts < 100 {
			t.Errorf("%d findings, %d in the pile of %d parts", n, p.Len(), parts)
		}
	}
}
