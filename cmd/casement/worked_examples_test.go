package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/need"
)

// TestWorkedExamples runs the scripts of examples/ as anybody would: the real
// binary, real servers, checks in the scripts themselves.
func TestWorkedExamples(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "casement")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, x := range []struct {
		name  string
		needs []string
		// server is built once by scripts/targets, "" if none is needed.
		server string
		last   string
	}{
		{"saas-integration", []string{"node", "npm", "curl"}, "oidc-provider", "Done: lowered at once, proven, nothing broke."},
		{"ci-gate", []string{"node", "curl"}, "", "Done: blocked, ticketed, excepted with a date, blocked again."},
		{"cloud-identity", []string{"node", "curl", "openssl", "etcd"}, "kube-apiserver", "Done: looked up, asked, removed, proven, nothing broke."},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, p := range x.needs {
				if _, err := exec.LookPath(p); err != nil {
					need.Missing(t, "%s is not here: scripts/setup.sh installs it", p)
				}
			}
			switch x.server {
			case "":
			case "kube-apiserver":
				connectortest.Build(t, x.server, connectortest.Cached)
			default:
				connectortest.Build(t, x.server)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", filepath.Join("..", "..", "examples", x.name, "run.sh"))
			cmd.Env = append(os.Environ(), "CASEMENT="+bin, "TMPDIR="+t.TempDir())
			// The script ends what it started when it is asked to stop.
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			cmd.WaitDelay = 10 * time.Second
			out, err := cmd.CombinedOutput()
			if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); err != nil || lines[len(lines)-1] != x.last {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
