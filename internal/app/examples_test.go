package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/format/mapping"
	"github.com/casement/casement/internal/policy"
)

const (
	exampleConfig  = "../../examples/config"
	exampleSigning = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// exampleSecrets gives every variable that the example configuration names a
// value.
func exampleSecrets(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(exampleConfig, "casement.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(" ,[]{}\n", r) }) {
		if name, ok := strings.CutPrefix(w, "env:"); ok && strings.HasPrefix(name, "CASEMENT_") {
			t.Setenv(name, "value of "+name)
		}
	}
	t.Setenv("CASEMENT_HOOK_SIGNING", exampleSigning)
}

// TestExampleConfiguration: the example sets a whole server up, and the tests of
// its policy pass.
func TestExampleConfiguration(t *testing.T) {
	exampleSecrets(t)
	l, issues, err := config.Load(config.Options{Path: filepath.Join(exampleConfig, "casement.yaml")})
	if err != nil || len(issues) > 0 {
		t.Fatal(err, issues)
	}
	if issues := app.Check(l); len(issues) > 0 {
		t.Errorf("check: %v", issues)
	}
	cfg, err := app.Setup(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	a, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := a.Policy()
	if n := len(p.RuleNames()); n < 3 {
		t.Errorf("%d rules", n)
	}
	results := policy.RunTests(p)
	for _, r := range results {
		if !r.OK() {
			t.Errorf("%s %s: %v", r.Where, r.Name, r.Failures)
		}
	}
	if left := policy.Untested(p); len(left) > 0 {
		t.Errorf("no test is decided by %v", left)
	}
	if len(results) < 3 {
		t.Errorf("%d tests of the policy", len(results))
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSmallExamples: the configurations of the worked examples set a server up,
// and the tests of their policies pass. run.sh puts addresses and secrets in.
func TestSmallExamples(t *testing.T) {
	t.Setenv("DOCS_SIGNING", exampleSigning)
	for _, name := range []string{"first-case", "ci-gate"} {
		l, issues, err := config.Load(config.Options{Path: filepath.Join("../../examples", name, "casement.yaml")})
		if err != nil || len(issues) > 0 {
			t.Fatal(name, err, issues)
		}
		cfg, err := app.Setup(t.Context(), l)
		if err != nil {
			t.Fatal(name, err)
		}
		cfg.DataDir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
		a, err := app.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(name, err)
		}
		p, _ := a.Policy()
		for _, r := range policy.RunTests(p) {
			if !r.OK() {
				t.Errorf("%s: %s %s: %v", name, r.Where, r.Name, r.Failures)
			}
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(name, err)
		}
	}
}

// TestEveryExampleIsRead: nothing lies in examples/ that no test looks at.
func TestEveryExampleIsRead(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../../examples", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&fs.ModeSymlink != 0 { // the link leads to the shipped mappings, which have their own tests
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		seen++
		switch dir, _ := filepath.Split(filepath.ToSlash(p)); {
		case strings.Contains(dir, "/alerts/"):
			r, err := all.Read(b, format.Options{HashSecret: func(s string) string { return "h" }, File: p})
			if err != nil || r.Refused > 0 || r.Kept == 0 {
				t.Errorf("%s: kept %d, refused %d: %v", p, r.Kept, r.Refused, err)
			}
		case strings.Contains(dir, "/mappings/"):
			if _, err := mapping.Load(p, b); err != nil {
				t.Error(err)
			}
		case strings.HasPrefix(filepath.ToSlash(p), exampleConfig): // TestExampleConfiguration
		case strings.HasSuffix(p, "lib.sh"), strings.Contains(dir, "/saas-integration/"), strings.Contains(dir, "/ci-gate/"), strings.Contains(dir, "/cloud-identity/"):
			// TestWorkedExamples in cmd/casement runs them.
		case strings.Contains(dir, "/first-case/"): // TestSmallExamples; the first README session
		default:
			t.Errorf("%s: no test reads it; add it here", p)
		}
		return nil
	})
	if err != nil || seen < 8 {
		t.Errorf("%d files: %v", seen, err)
	}
}
