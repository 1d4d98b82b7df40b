package store_test

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/store"
)

// goByIndex checks that every statement that the short sessions of a store have
// prepared looks up its rows by an index, whatever was in the tables when it was
// planned; the texts are added to seen.
func goByIndex(t *testing.T, s *store.Postgres, seen map[string]bool) {
	t.Helper()
	plans, err := s.ShortPlans(context.Background()) // also in a cleanup
	if err != nil {
		t.Error(err)
	}
	for text, plan := range plans {
		if strings.Contains(text, "SAVEPOINT") || strings.HasPrefix(text, "RELEASE") {
			continue // has no plan
		}
		seen[text] = true
		var roots []struct{ Plan pgPlan }
		if err := json.Unmarshal(plan, &roots); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, r := range roots {
			for _, fault := range r.Plan.faults() {
				t.Errorf("%s\n%s", fault, text)
			}
		}
	}
}

// pgPlan is a node of what EXPLAIN says.
type pgPlan struct {
	Type  string   `json:"Node Type"`
	Table string   `json:"Relation Name"`
	Index string   `json:"Index Name"`
	Cond  string   `json:"Index Cond"`
	Plans []pgPlan `json:"Plans"`
}

// faults are the places at which a plan reads more of a table than it was asked for.
func (p pgPlan) faults() []string {
	var out []string
	table := cmp.Or(p.Table, p.Index)
	switch {
	case table == "" || p.Type == "ModifyTable" || p.Type == "Bitmap Heap Scan": // the index is below
	case !strings.Contains(p.Type, "Index"):
		out = append(out, p.Type+" of "+table)
	case p.Cond == "":
		out = append(out, p.Type+" of "+table+" from end to end")
	}
	for _, below := range p.Plans {
		out = append(out, below.faults()...)
	}
	return out
}

// shortMust are beginnings of statements that TestPostgresConformance must have
// looked at.
var shortMust = []string{"DELETE FROM effect", "WITH e AS (INSERT INTO event", "INSERT INTO case_state", "UPDATE case_state", "INSERT INTO effect", "UPDATE case_key", "INSERT INTO finding",
	"INSERT INTO raw_use", "SELECT id, tenant, version", "SELECT q.n, f.case_id"}

func missing(seen map[string]bool) []string {
	texts := slices.Collect(maps.Keys(seen))
	return slices.DeleteFunc(slices.Clone(shortMust), func(must string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.HasPrefix(text, must) })
	})
}
