package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/casement/casement/internal/need"
)

// TestBackupWithoutRoom: what a person sees when a backup does not fit.
func TestBackupWithoutRoom(t *testing.T) {
	disk := need.SmallDisk(t, "16m")
	free := need.Fill(t, disk, 64<<10)
	testscript.Run(t, testscript.Params{Dir: "testdata/full", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, kv := range [][2]string{{"NO_COLOR", "1"}, {"HOME", e.WorkDir}, {"DISK", disk}} {
				e.Setenv(kv[0], kv[1])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits,
			"room": func(*testscript.TestScript, bool, []string) { free() },
			// holds NAME… wants nothing else on the disk.
			"holds": func(ts *testscript.TestScript, _ bool, args []string) {
				list, err := os.ReadDir(disk)
				ts.Check(err)
				var names []string
				for _, x := range list {
					names = append(names, x.Name())
				}
				if got, want := strings.Join(names, " "), strings.Join(args, " "); got != want {
					ts.Fatalf("the disk holds %s, want %s", got, want)
				}
			}}})
}
