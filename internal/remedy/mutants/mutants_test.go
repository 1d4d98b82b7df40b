// Package mutants asks whether the tests of the core would notice: each text
// file here is one dangerous change to the case, or to what brings findings to
// it, and every one of them has to be found by the property tests or the
// stories of remedy, or by the tests of correlate.
package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is one change: Old in File, a file of remedy or with a path from there,
// becomes New.
type mutant struct {
	name, why, file, old, new string
}

func load(t *testing.T) []mutant {
	t.Helper()
	files, err := filepath.Glob("*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("want 20 mutants or more, have %d: %v", len(files), err)
	}
	var out []mutant
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		why, rest, ok1 := strings.Cut(string(b), "\n== ")
		file, rest, ok2 := strings.Cut(rest, "\n")
		from, to, ok3 := strings.Cut(rest, "\n== becomes\n")
		if !ok1 || !ok2 || !ok3 {
			t.Fatalf("%s: want a reason, \"== file\", the old text, \"== becomes\" and the new text", f)
		}
		out = append(out, mutant{strings.TrimSuffix(f, ".txt"), why, file, from, strings.TrimSuffix(to, "\n")})
	}
	return out
}

// apply returns the source of the mutated file.
func (m mutant) apply(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		t.Fatalf("%s: the text to change is in %s %d times, want once: bring the mutant up to date", m.name, m.file, n)
	}
	return strings.Replace(string(b), m.old, m.new, 1)
}

// TestMutantsApply: no mutant has gone stale.
func TestMutantsApply(t *testing.T) {
	for _, m := range load(t) {
		m.apply(t)
	}
}
