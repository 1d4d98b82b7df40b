// Package mutants asks whether the simulation would notice: each text file here
// is one bug of the kind that only faults bring to light, applied as a build
// overlay, and the seeds of the simulation have to find it. Without one they
// are clean.
package mutants

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../.."

// mutant is one bug: files with some text changed.
type mutant struct {
	name, why string
	files     map[string]string
}

// load reads the mutants and applies them to the sources as they are.
func load(t *testing.T) []mutant {
	t.Helper()
	names, err := filepath.Glob("*.txt")
	if err != nil || len(names) < 12 {
		t.Fatalf("want 12 mutants or more, have %d: %v", len(names), err)
	}
	var out []mutant
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		why, rest, _ := strings.Cut(string(b), "\n== ")
		m := mutant{name: strings.TrimSuffix(name, ".txt"), why: why, files: map[string]string{}}
		for _, part := range strings.Split(rest, "\n== internal/") {
			file, text, ok1 := strings.Cut(part, "\n")
			from, to, ok2 := strings.Cut(text, "\n== becomes\n")
			if !ok1 || !ok2 {
				t.Fatalf("%s: want a reason, \"== file\", the old text, \"== becomes\" and the new text", name)
			}
			m.change(t, "internal/"+strings.TrimPrefix(file, "internal/"), from, strings.TrimSuffix(to, "\n"))
		}
		out = append(out, m)
	}
	return out
}

func (m mutant) change(t *testing.T, file, from, to string) {
	t.Helper()
	text, ok := m.files[file]
	if !ok {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if n := strings.Count(text, from); n != 1 {
		t.Fatalf("%s: the text to change is in %s %d times, want once: bring the mutant up to date", m.name, file, n)
	}
	m.files[file] = strings.Replace(text, from, to, 1)
}

// TestMutantsApply: no mutant has gone stale.
func TestMutantsApply(t *testing.T) { load(t) }
