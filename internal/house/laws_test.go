package house

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLawsAreTested: every law has a test that exists, and every mutant that
// docs/laws.md names is there.
func TestLawsAreTested(t *testing.T) {
	root := filepath.Join("..", "..")
	b, err := os.ReadFile(filepath.Join(root, "docs", "laws.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(b)) {
		var law int
		if _, err := fmt.Sscanf(line, "| %d ", &law); err == nil {
			rows[fmt.Sprint(law)] = line
		}
	}
	test, mutant := regexp.MustCompile("`([a-z]+)\\.(Test[A-Za-z0-9]+)`"), regexp.MustCompile("`([0-9]{2}-[a-z0-9-]+)`")
	for law := 1; law <= 11; law++ {
		row := rows[fmt.Sprint(law)]
		named := test.FindAllStringSubmatch(row, -1)
		if len(named) == 0 {
			t.Errorf("law %d has no test", law)
		}
		for _, m := range named {
			if !hasTest(t, filepath.Join(root, "internal", m[1]), m[2]) {
				t.Errorf("law %d: there is no %s in internal/%s", law, m[2], m[1])
			}
		}
		for _, m := range mutant.FindAllStringSubmatch(row, -1) {
			found, err := filepath.Glob(filepath.Join(root, "internal", "*", "mutants", m[1]+".txt"))
			if err != nil || len(found) != 1 {
				t.Errorf("law %d: mutant %s is there %d times, %v", law, m[1], len(found), err)
			}
		}
	}
}

// hasTest reports whether a test file of a folder declares the test.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}
