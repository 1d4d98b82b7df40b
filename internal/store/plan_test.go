package store_test

import (
	"strings"
	"testing"
)

// TestHotStatementsUseTheirIndexes: what runs for every alert, effect or claim
// looks nothing through that grows with the number of cases.
func TestHotStatementsUseTheirIndexes(t *testing.T) {
	s := open(t, t.TempDir())
	for _, c := range []struct{ index, text string }{
		{"ticket_once", "SELECT id FROM ticket WHERE tenant = 'a' AND once_key = 'k' AND once_key <> ''"},
		{"effect_dropped", "DELETE FROM effect WHERE dropped = 1 AND next_at <= 5"},
		{"effect_next", "SELECT EXISTS (SELECT 1 FROM effect WHERE next_at <= 5)"},
		{"case_wake", "SELECT id FROM case_state WHERE wake_at > 0 AND wake_at <= 5 ORDER BY wake_at, id LIMIT 10"},
		{"finding_uid", "SELECT f.case_id, f.digest, c.quiet FROM finding f CROSS JOIN case_state c ON c.id = f.case_id WHERE f.tenant = 'a' AND f.uid = 'u'"},
		{"(id>?)", "SELECT state FROM case_state WHERE tenant || '' = 'a' AND id > 'i' AND (open = 1 OR closed_at >= 5) ORDER BY id LIMIT 10"},
		{"PRIMARY KEY", "SELECT case_id FROM case_key k WHERE k.tenant = 'a' AND k.key_version = 1 AND k.key = 'k'"},
	} {
		plan, err := s.Plan(t.Context(), c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if strings.Contains(plan, "SCAN f") || strings.Contains(plan, "SCAN c") || strings.Contains(plan, "SCAN e") || strings.Contains(plan, "SCAN t") || !strings.Contains(plan, c.index) {
			t.Errorf("%s\nis done by: %s\nwant %s", c.text, plan, c.index)
		}
	}
}
