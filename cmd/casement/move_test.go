package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/casement/casement/internal/pgtest"
)

// TestMoveScripts runs testdata/move/*.txtar as TestScripts does, with a real
// PostgreSQL: PG and OTHER name empty databases.
func TestMoveScripts(t *testing.T) {
	srv := pgtest.Start(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/move",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("PG", srv.Database(t))
			e.Setenv("OTHER", srv.Database(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "awaits": awaits, "freeport": freeport, "capture": capture, "until": until, "target": target},
	})
}
