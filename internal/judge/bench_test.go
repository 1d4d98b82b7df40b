package judge_test

import (
	"testing"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/judge"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/policy/policytest"
)

// BenchmarkJudge is one judgement of the default pack: a class that an early
// rule takes, and one that all rules are tried for.
func BenchmarkJudge(b *testing.B) {
	p, issues := policy.Load(pack.Default(), policytest.Environment())
	if len(issues) > 0 {
		b.Fatal(issues)
	}
	d, err := owner.New(owner.Data{})
	if err != nil {
		b.Fatal(err)
	}
	j := judge.Judge{Pack: p, Directory: d}
	for _, class := range []finding.Class{finding.StoragePublic, ""} {
		b.Run("class="+string(class), func(b *testing.B) {
			f := bucket()
			f.Class = class
			b.ReportAllocs()
			for b.Loop() {
				j.Judge(f, policy.CaseFacts{}, policytest.At())
			}
		})
	}
}
