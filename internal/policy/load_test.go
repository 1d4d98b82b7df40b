package policy_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
	"github.com/casement/casement/internal/policy/policytest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func load(t *testing.T, files ...string) *policy.Pack {
	t.Helper()
	p, issues := tryLoad(files...)
	if len(issues) > 0 {
		t.Fatalf("issues:\n%s", issues.Error())
	}
	return p
}

func tryLoad(files ...string) (*policy.Pack, policy.Issues) {
	var fs []policy.File
	for i, f := range files {
		fs = append(fs, policy.File{Name: string(rune('a'+i)) + ".yaml", Data: []byte(f)})
	}
	return policy.Load(fs, policytest.Environment())
}

// TestBrokenFiles pins the message for every kind of fault: place, reason and
// how to mend it.
func TestBrokenFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(names) < 20 {
		t.Fatalf("want at least 20 broken files, got %d (%v)", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			p, issues := policy.Load([]policy.File{{Name: filepath.Base(name), Data: data}}, policytest.Environment())
			if p != nil || len(issues) == 0 {
				t.Fatal("a broken file was loaded")
			}
			for _, i := range issues {
				if i.Line == 0 {
					t.Errorf("no line: %s", i)
				}
			}
			got := []byte(issues.Error() + "\n")
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestAliasBomb: seven levels of ten aliases each are refused at the first.
func TestAliasBomb(t *testing.T) {
	bomb := "kind: rules\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 8; i++ {
		prev, cur := string(rune('0'+i-1)), string(rune('0'+i))
		bomb += "a" + cur + ": &a" + cur + " [" + strings.Repeat("*a"+prev+",", 9) + "*a" + prev + "]\n"
	}
	_, issues := tryLoad(bomb)
	if !strings.Contains(issues.Error(), "anchors and aliases are not allowed") {
		t.Errorf("got %s", issues.Error())
	}
}

func TestSizeLimits(t *testing.T) {
	if _, issues := tryLoad("# " + strings.Repeat("x", 1<<20)); len(issues) != 1 || !strings.Contains(issues[0].Message, "bytes") {
		t.Errorf("large file: %v", issues)
	}
	if _, issues := tryLoad("kind: rules\nrules: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)); len(issues) == 0 {
		t.Error("deep nesting was accepted")
	}
	if _, issues := tryLoad("kind: rules\nrules: [" + strings.Repeat("{},", 120_000) + "]"); len(issues) == 0 {
		t.Error("a hundred thousand values were accepted")
	}
	if _, issues := tryLoad("kind: rules\nrules: [" + strings.Repeat("{},", 2_500) + "]"); len(issues) != 501 || !strings.Contains(issues[500].Message, "more than 500") {
		t.Errorf("%d issues", len(issues))
	}
	many := "kind: rules\nrules:\n"
	for i := range 2_001 {
		many += fmt.Sprintf("- {name: r%d, when: 'asset_name == \"%d\"', class: K3}\n", i, i)
	}
	if _, issues := tryLoad(many); len(issues) != 1 || issues[0].Line != 2003 || !strings.Contains(issues[0].Message, "more than 2000 rules") {
		t.Errorf("%.300s", issues.Error())
	}
}

func TestVersionAndAuthors(t *testing.T) {
	rule := `{kind: rules, authors: [ann, bob], rules: [{name: a, when: 'class == "storage.public"', class: K2}]}`
	one, two := load(t, rule), load(t, rule+" ")
	if one.Version() == two.Version() || len(one.Version()) != 32 {
		t.Errorf("versions %q and %q", one.Version(), two.Version())
	}
	if got := strings.Join(one.Authors(), ","); got != "ann,bob" {
		t.Errorf("authors %s", got)
	}
	a, _ := policy.Load([]policy.File{{Name: "x", Data: []byte("a: 1")}}, policytest.Environment())
	if a != nil {
		t.Error("half a pack was returned")
	}
}

// TestFileOrder: files go by name whatever order they are given in.
func TestFileOrder(t *testing.T) {
	first := policy.File{Name: "10.yaml", Data: []byte(`{kind: rules, mode: ticket, rules: [{name: narrow, when: 'class == "storage.public" && app == "shop"', class: K1}]}`)}
	second := policy.File{Name: "20.yaml", Data: []byte(`{kind: rules, mode: ticket, rules: [{name: wide, when: 'class == "storage.public"', class: K2}]}`)}
	for _, files := range [][]policy.File{{first, second}, {second, first}} {
		p, issues := policy.Load(files, policytest.Environment())
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		if got := strings.Join(p.RuleNames(), " "); got != "narrow wide" {
			t.Errorf("order %s", got)
		}
	}
}

// TestSchema: the schema is JSON, names every kind, and knows every field that
// the shipped packs use.
func TestSchema(t *testing.T) {
	var doc struct {
		OneOf []struct {
			Properties map[string]any `json:"properties"`
		} `json:"oneOf"`
	}
	if err := json.Unmarshal(policy.Schema(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.OneOf) != 11 {
		t.Errorf("%d kinds in the schema", len(doc.OneOf))
	}
	if !bytes.Equal(policy.Schema(), policy.Schema()) {
		t.Error("the schema is not deterministic")
	}
	for _, word := range []string{"additionalProperties", "opt_in", "warn_percent", "continuity_params", "outranks"} {
		if !bytes.Contains(policy.Schema(), []byte(word)) {
			t.Errorf("schema lacks %s", word)
		}
	}
}

func FuzzLoad(f *testing.F) {
	names, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, file := range pack.Default() {
		f.Add(file.Data)
	}
	env := policytest.Environment()
	f.Fuzz(func(t *testing.T, data []byte) {
		p, issues := policy.Load([]policy.File{{Name: "f.yaml", Data: data}}, env)
		if (p == nil) != (len(issues) > 0) {
			t.Fatalf("pack %v with %d issues", p != nil, len(issues))
		}
		for _, i := range issues {
			if i.Message == "" || strings.ContainsAny(i.Excerpt, "\x00\x1b\n") {
				t.Fatalf("issue %q", i.String())
			}
		}
		if p != nil {
			d, _ := p.Decide(policy.Facts{})
			if d.Class == 0 && !d.Suppress {
				t.Fatal("a decision without class")
			}
			policy.RunTests(p)
			policy.Doc(p)
		}
	})
}
