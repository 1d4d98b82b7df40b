package main

import (
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/casement/casement/internal/connector/connectortest/targets"
)

// TestForge holds a merge on a real forge by the gate: branch protection
// requires its check.
func TestForge(t *testing.T) {
	g := targets.StartGitea(t)
	testscript.Run(t, testscript.Params{Dir: "testdata/forge", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, kv := range [][2]string{{"NO_COLOR", "1"}, {"HOME", e.WorkDir}, {"STATUSES", g.URL + g.StatusPath(g.Head)}, {"CASEMENT_STATUS_TOKEN", g.Token}} {
				e.Setenv(kv[0], kv[1])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "capture": capture,
			// merge CODE [TEXT] tries to merge and wants this answer.
			"merge": func(ts *testscript.TestScript, _ bool, args []string) {
				code, text := g.Merge(t, 1)
				if strconv.Itoa(code) != args[0] || len(args) > 1 && !strings.Contains(string(text), args[1]) {
					ts.Fatalf("the merge is answered %d %s, want %s", code, text, args)
				}
			},
			// status STATE [LINK] wants the newest status of the check.
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				all := g.Effective(t, g.Head)
				if len(all) != 1 || all[0].Context != gateContext || all[0].State != args[0] || len(args) > 1 && all[0].Link != args[1] {
					ts.Fatalf("the check is %v, want %v", all, args)
				}
			}}})
}
