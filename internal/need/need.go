// Package need is for tests that need what a machine may not have: a real
// server, a browser, the folder of references beside the checkout, root.
//
// It may import nothing of ours. Invariant: what is missing is skipped in
// words that tools/skipped counts in the last line of make test, and
// fails under CASEMENT_FULL=1 (make test-full).
package need

import (
	"os"
	"path/filepath"
	"testing"
)

// Mark begins the reason of every skip.
const Mark = "SKIPPED, NOT PASSED: "

// Full reports whether nothing may be skipped.
func Full() bool { return os.Getenv("CASEMENT_FULL") != "" }

// Missing ends a test that can't run here and says why.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Full() {
		t.Fatalf(format, args...)
	}
	t.Skipf(Mark+format, args...)
}

// Part says that a part of a test can't run here while the rest does: it is a
// subtest of that name, which is missing.
func Part(t testing.TB, name, format string, args ...any) {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Run(name, func(t *testing.T) { Missing(t, format, args...) })
		return
	}
	t.Logf(Mark+format, args...)
}

// Find looks for a file or folder of the references that lie beside the
// checkout and are not part of it: in ../shared, or CASEMENT_SHARED.
func Find(t testing.TB, name string) (path string, ok bool) {
	t.Helper()
	dir := os.Getenv("CASEMENT_SHARED")
	if dir == "" {
		dir = filepath.Join(Root(t), "..", "shared")
	}
	path = filepath.Join(dir, filepath.FromSlash(name))
	_, err := os.Stat(path)
	return path, err == nil
}

// Root is the folder of the checkout.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
