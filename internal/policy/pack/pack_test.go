package pack_test

import (
	"testing"

	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/policy/policytest"
)

func TestShippedPacks(t *testing.T) {
	for name, files := range map[string][]policy.File{"default": pack.Default(), "demo": pack.Demo()} {
		t.Run(name, func(t *testing.T) {
			p, issues := policy.Load(files, policytest.Environment())
			if len(issues) > 0 {
				t.Fatalf("issues:\n%s", issues.Error())
			}
			results := policy.RunTests(p)
			if len(results) == 0 {
				t.Fatal("the pack has no tests")
			}
			for _, r := range results {
				for _, f := range r.Failures {
					t.Errorf("%s (%s): %s", r.Name, r.Where, f)
				}
			}
			if u := policy.Untested(p); len(u) > 0 {
				t.Errorf("rules no test is decided by: %v", u)
			}
		})
	}
}
