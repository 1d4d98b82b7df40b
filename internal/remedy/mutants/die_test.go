//go:build mutants

package mutants

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMutantsDie builds each mutant as an overlay and wants the tests of the
// core to fail; without a change they have to pass.
func TestMutantsDie(t *testing.T) {
	for _, room := range []string{"remedy", "correlate"} {
		if out, err := try(t, room, nil); err != nil {
			t.Fatalf("the tests of %s fail without a mutant: %v\n%s", room, err, out)
		}
	}
	for _, m := range load(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, err := try(t, m.room(), &m)
			if err == nil {
				t.Fatalf("survived: %s", m.why)
			}
			t.Logf("died: %s\n%s", m.why, first(out))
		})
	}
}

// room is whose tests have to find the mutant.
func (m mutant) room() string {
	if filepath.Base(m.file) == m.file {
		return "remedy"
	}
	return "correlate"
}

// try builds the tests of a room, with a mutant or without, and runs them.
// Only a failure of the tests is returned; one of the build ends the test.
func try(t *testing.T, room string, m *mutant) (string, error) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, room+".test")
	args := []string{"test", "-c", "-o", bin}
	if m != nil {
		args = append(args, "-overlay", overlay(t, dir, *m))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", append(args, filepath.Join("..", "..", room))...)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("does not build: %v\n%s", err, out)
	}
	run := "TestScripts|TestPicture/lives|TestLaws"
	if room != "remedy" {
		run = "."
	}
	tests := exec.CommandContext(ctx, bin, "-test.run", run, "-test.failfast", "-rapid.checks=60", "-rapid.shrinktime=0s", "-rapid.nofailfile")
	tests.Dir = filepath.Join("..", "..", room)
	out, err := tests.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("took too long: %v", ctx.Err())
	}
	return string(out), err
}

// overlay writes the mutated file and the list that puts it in place.
func overlay(t *testing.T, dir string, m mutant) string {
	t.Helper()
	original, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	for name, b := range map[string][]byte{changed: []byte(m.apply(t)), path: list} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// first returns the first complaint of a test's output.
func first(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "_test.go:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
