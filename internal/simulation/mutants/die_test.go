//go:build mutants

package mutants

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var seeds = flag.Int("seeds", 400, "within how many seeds a mutant has to be found")

// TestMutantsDie lives the seeds against each mutant, built as an overlay:
// some seed has to break a law; without a mutant none does.
func TestMutantsDie(t *testing.T) {
	if out := live(t, nil, "TestSeeds$", "-seeds", *seeds); !strings.HasSuffix(strings.TrimSpace(out), "PASS") {
		t.Fatalf("the seeds are not clean without a mutant:\n%s", out)
	}
	for _, m := range load(t) {
		t.Run(m.name, func(t *testing.T) {
			out := live(t, &m, "TestSeeds$", "-seeds", *seeds)
			found := breach(out)
			if found == "" {
				t.Fatalf("not found in %d seeds: %s\n%s", *seeds, m.why, out)
			}
			t.Logf("%s: %s", m.why, found)
		})
	}
}

// TestMutantsDieOnSQLite does the same on the real database, for the bugs that
// live in its statements.
func TestMutantsDieOnSQLite(t *testing.T) {
	for _, m := range load(t) {
		if m.files["internal/store/effects.go"]+m.files["internal/store/commit.go"]+m.files["internal/store/group_parts.go"] == "" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			out := live(t, &m, "TestOnSQLite$", "-stores", *seeds)
			found := breach(out)
			if found == "" {
				t.Fatalf("not found in %d seeds: %s\n%.2000s", *seeds, m.why, out)
			}
			t.Logf("%s: %s", m.why, found)
		})
	}
}

// breach is the first complaint of the simulation.
func breach(out string) string { return regexp.MustCompile(`seed \d+: law \d+: .*`).FindString(out) }

// live builds the simulation, with a mutant or without, and lives the seeds.
func live(t *testing.T, m *mutant, tests, flag string, n int) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "simulation.test")
	args := []string{"test", "-c", "-o", bin}
	if m != nil {
		args = append(args, "-overlay", overlay(t, dir, *m))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", append(args, "..")...).CombinedOutput(); err != nil {
		t.Fatalf("does not build: %v\n%s", err, out)
	}
	c := exec.CommandContext(ctx, bin, "-test.run", tests, "-first", fmt.Sprint(flag, "=", n))
	c.Dir = ".."
	out, _ := c.CombinedOutput() // its failure is what is looked for
	if ctx.Err() != nil {
		t.Fatalf("took too long: %v", ctx.Err())
	}
	return string(out)
}

// overlay writes the mutated files and the list that puts them in place.
func overlay(t *testing.T, dir string, m mutant) string {
	t.Helper()
	replace := map[string]string{}
	for file, text := range m.files {
		original, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		replace[original] = changed
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
