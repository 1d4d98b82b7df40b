package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/casement/casement/internal/connector/connectortest/targets"
)

// TestForge holds a merge on a real forge by the gate: branch protection
// requires its check.
func TestForge(t *testing.T) {
	g := targets.StartGitea(t)
	testscript.Run(t, testscript.Params{Dir: "testdata/forge", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, kv := range [][2]string{{"NO_COLOR", "1"}, {"HOME", e.WorkDir}, {"STATUSES", g.Statuses()}, {"CASEMENT_STATUS_TOKEN", g.Token}} {
				e.Setenv(kv[0], kv[1])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "capture": capture,
			// merge CODE [TEXT] tries to merge and wants this answer.
			"merge": func(ts *testscript.TestScript, _ bool, args []string) {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				var code int
				var text []byte
				for range 400 { // the forge finds out by itself whether the branches fit
					code, text = g.Do(t, http.MethodPost, "/repos/olga/shop/pulls/1/merge", map[string]string{"Do": "merge"})
					if !strings.Contains(string(text), "try again later") {
						break
					}
					<-tick.C
				}
				if strconv.Itoa(code) != args[0] || len(args) > 1 && !strings.Contains(string(text), args[1]) {
					ts.Fatalf("the merge is answered %d %s, want %s", code, text, args)
				}
			},
			// status STATE [LINK] wants the newest status of the check.
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				_, text := g.Do(t, http.MethodGet, "/repos/olga/shop/commits/"+g.Head+"/status", nil)
				var all struct {
					Statuses []struct {
						Status  string `json:"status"`
						Context string `json:"context"`
						Link    string `json:"target_url"`
					} `json:"statuses"`
				}
				ts.Check(json.Unmarshal(text, &all))
				if len(all.Statuses) != 1 || all.Statuses[0].Context != gateContext || all.Statuses[0].Status != args[0] || len(args) > 1 && all.Statuses[0].Link != args[1] {
					ts.Fatalf("the check is %s, want %v", text, args)
				}
			}}})
}
