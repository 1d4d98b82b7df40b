package mapping

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// TestClassesAreListed: the table of docs/mapping.md is that of the program.
func TestClassesAreListed(t *testing.T) {
	file := filepath.Join(repoRoot, "docs/mapping.md")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const head = "| class | domain | what it is |\n| --- | --- | --- |\n"
	before, _, ok := strings.Cut(string(doc), head)
	if !ok {
		t.Fatal("docs/mapping.md has no table of classes")
	}
	want := before + head
	for _, c := range finding.Classes() {
		want += fmt.Sprintf("| `%s` | %s | %s |\n", c.Class, c.Domain, c.Description)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(doc) {
		t.Error("the table of classes in docs/mapping.md is not that of finding.Classes; run with -update")
	}
}

// TestObjectsByName: the key of an object by name can be a field, and records
// that are in no element are an error, not an empty report.
func TestObjectsByName(t *testing.T) {
	load := func(records string) *Reader {
		r, err := Load("m.yaml", []byte("format: hosts\nrecords: "+records+"\nfields: {rule: rule, asset.uid: '@key', params.site: ^.site}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	body := []byte(`{"hosts": {"web-1": {"site": "a", "open": [{"rule": "r1"}, {"rule": "r2"}]}, "db-1": {"site": "b", "open": []}, "mail": {}}}`)
	res, err := load("hosts[*].open[*]").Read(body, options("f"))
	if err != nil || res.Kept != 2 || res.Findings[1].Asset.UID != "web-1" || res.Findings[1].Params["site"] != "a" {
		t.Errorf("%v %+v", err, res)
	}
	if _, err := load("hosts[*].opened[*]").Read(body, options("f")); err == nil || !strings.Contains(err.Error(), `records: "hosts[*].opened[*]" is not in the body; it has hosts`) {
		t.Errorf("records that are nowhere: %v", err)
	}
	for _, empty := range []string{`{"hosts": {}}`, `{"hosts": {"web-1": {"open": []}}}`, `{"hosts": {"web-1": {"open": null}, "mail": {}}}`} {
		if res, err := load("hosts[*].open[*]").Read([]byte(empty), options("f")); err != nil || res.Read != 0 {
			t.Errorf("%s is a report without findings: %v %+v", empty, err, res)
		}
	}
	if _, err := Load("m.yaml", []byte("format: hosts\nrecords: hosts[*]\nfields: {rule: rule, asset.uid: '@kei'}\n")); err == nil || !strings.Contains(err.Error(), "want @key or @scanned") {
		t.Errorf("a misspelt @key: %v", err)
	}
}

// TestMinimalFile: what the first steps of docs/mapping.md begin with loads, and
// claims nothing by itself.
func TestMinimalFile(t *testing.T) {
	r, err := Load("m.yaml", []byte("format: hosts\nrecords: list[*]\nfields: {rule: r, title: t, severity: s, asset.uid: h}\n"))
	if err != nil || !r.Blind() || r.Detect(format.NewProbe([]byte(`{"list":[]}`), format.Options{})) != 0 {
		t.Fatalf("%v: a mapping without detect claims nothing by itself", err)
	}
}
