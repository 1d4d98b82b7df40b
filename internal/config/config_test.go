package config

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBroken compares the whole list of issues of each broken file with its
// golden file, and makes sure that no canary secret is in it.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("want at least 20 broken files, found %d (%v)", len(files), err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			l, issues, err := Load(Options{Path: name})
			if err != nil {
				t.Fatal(err)
			}
			if l != nil || len(issues) == 0 {
				t.Fatal("a broken configuration was accepted")
			}
			got := issues.Error() + "\n"
			if strings.Contains(got, "CANARY") {
				t.Errorf("a literal secret is repeated:\n%s", got)
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

func loadGood(t *testing.T, o Options) *Loaded {
	t.Helper()
	o.Path = "testdata/good"
	l, issues, err := Load(o)
	if err != nil || len(issues) > 0 {
		t.Fatalf("good configuration refused: %v %v", err, issues)
	}
	return l
}

func TestDirectoryIsMerged(t *testing.T) {
	l := loadGood(t, Options{})
	if l.Server.Listen != "127.0.0.1:9000" || !l.Server.Metrics || l.URL() != "https://casement.example.com" {
		t.Errorf("server sections were not joined: %+v", l.Server)
	}
	want := []string{"testdata/good/owners.yaml", "acme/shop=testdata/good/CODEOWNERS", "testdata/good/catalog.yaml"}
	if fmt.Sprint(l.Owners.Files) != fmt.Sprint(want) {
		t.Errorf("owners.files = %v", l.Owners.Files)
	}
	if p := l.Connectors["s3"].Params; p["path_style"] != true || p["tries"] != int64(3) {
		t.Errorf("params = %#v", p)
	}
	if l.KindOf("s3") != "s3" || l.Sources["github"].Kind != "github" || l.Sources["scanner"].Kind != "token" {
		t.Errorf("names and defaults: %+v", l.Sources)
	}
	if len(l.Sources["github"].Secret) != 2 {
		t.Errorf("secrets = %v", l.Sources["github"].Secret)
	}
}

func TestScalarIsSetOnce(t *testing.T) {
	_, issues := Parse([]File{
		{Name: "a.yaml", Data: []byte("server:\n  listen: 127.0.0.1:1\n")},
		{Name: "b.yaml", Data: []byte("server:\n  listen: 127.0.0.1:2\n")},
	}, Options{})
	want := "b.yaml:2:3: server.listen is already set at a.yaml:2:3: set it in one file only"
	if len(issues) != 1 || !strings.HasPrefix(issues[0].String(), want) {
		t.Errorf("got %v", issues)
	}
}

func TestOverlayOrderAndOrigins(t *testing.T) {
	env := []string{"CASEMENT_SERVER_LISTEN=127.0.0.1:2", "CASEMENT_LOG_LEVEL=debug", "CASEMENT_OWNERS_FILES=a.yaml, b.yaml", "CASEMENT_TOKEN=x"}
	l := loadGood(t, Options{Env: env, Flags: []Flag{{Key: "server.listen", Name: "listen", Value: "127.0.0.1:3"}}})
	for key, want := range map[string][2]string{
		"server.listen":   {"127.0.0.1:3", "flag --listen"},
		"log.level":       {"debug", "env CASEMENT_LOG_LEVEL"},
		"log.format":      {"text", "default"},
		"owners.files":    {"a.yaml, b.yaml", "env CASEMENT_OWNERS_FILES"},
		"server.base_url": {"https://casement.example.com/", "testdata/good/10-base.yaml:4:13"},
	} {
		found := false
		for _, s := range l.Settings() {
			if s.Key == key {
				found = true
				if s.Value != want[0] || s.Origin != want[1] {
					t.Errorf("%s = %q from %q, want %q from %q", key, s.Value, s.Origin, want[0], want[1])
				}
			}
		}
		if !found {
			t.Errorf("%s is not shown", key)
		}
	}
	if _, issues := Parse(nil, Options{Flags: []Flag{{"server.listen", "listen", "x"}}}); !issues.FromFlags() {
		t.Errorf("a fault of a flag alone is not told: %v", issues)
	}
	if _, issues := Parse(nil, Options{Env: []string{"CASEMENT_SERVER_METRICS=maybe"}, Flags: []Flag{{"server.listen", "listen", "x"}}}); len(issues) != 2 || issues.FromFlags() {
		t.Errorf("a fault of the environment is taken for one of a flag: %v", issues)
	}
	_, issues := Parse(nil, Options{Env: []string{"CASEMENT_SERVER_LISTN=x", "CASEMENT_SERVER_METRICS=maybe"}})
	want := "env CASEMENT_SERVER_LISTN: this variable names no setting: did you mean CASEMENT_SERVER_LISTEN?\nenv CASEMENT_SERVER_METRICS: server.metrics is \"maybe\": want true or false"
	if issues.Error() != want {
		t.Errorf("got  %s\nwant %s", issues.Error(), want)
	}
}

// TestKeysFollowTheRule holds the naming rule for every key.
func TestKeysFollowTheRule(t *testing.T) {
	for _, k := range Keys() {
		if k.Env != "CASEMENT_"+strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_")) || k.Doc == "" {
			t.Errorf("key %+v", k)
		}
	}
}

func TestSecretsStayHidden(t *testing.T) {
	t.Setenv("S3_KEY", "canary-value")
	l := loadGood(t, Options{})
	js, err := json.Marshal(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", l.Connectors["s3"].Secrets["access_key"])
	all := string(js) + fmt.Sprintf("%v %+v %#v %s", l.Connectors, l.Connectors, l.Connectors["s3"].Secrets["access_key"], l.Connectors["s3"].Secrets) + log.String() + fmt.Sprint(l.Settings())
	for _, word := range []string{"canary-value", "S3_KEY", "s3.key", "GH_NEW"} {
		if strings.Contains(all, word) {
			t.Errorf("%q is shown in %s", word, all)
		}
	}
	v, err := l.Connectors["s3"].Secrets["access_key"].Resolve(context.Background())
	if err != nil || v != "canary-value" {
		t.Errorf("Resolve: %q %v", v, err)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{"file:key": "from file", "cmd:cat key": "from file"} {
		s, err := NewSecret(ref, dir)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Resolve(context.Background()); err != nil || v != want {
			t.Errorf("%s: %q %v", ref, v, err)
		}
	}
	for ref, want := range map[string]string{
		"env:CASEMENT_TEST_UNSET": "secret reference env: variable CASEMENT_TEST_UNSET is not set or empty",
		"file:none":               "secret reference file: open " + filepath.Join(dir, "none") + ": no such file or directory",
		"cmd:false":               "secret reference cmd: false failed: exit status 1",
		"cmd:true":                "secret reference cmd: what it leads to is empty",
	} {
		s, err := NewSecret(ref, dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve(context.Background()); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", ref, err, want)
		}
	}
	if _, err := NewSecret("hunter2", dir); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("literal: %v", err)
	}
}

// TestSchemaNamesEveryKey walks the types and the schema side by side.
func TestSchemaNamesEveryKey(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, typ reflect.Type, s map[string]any)
	walk = func(at string, typ reflect.Type, s map[string]any) {
		props, _ := s["properties"].(map[string]any)
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := f.Tag.Get("yaml")
			sub, ok := props[name].(map[string]any)
			if !ok || sub["description"] == "" {
				t.Errorf("%s.%s is not in the schema, or has no description", at, name)
				continue
			}
			switch {
			case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]():
				walk(at+"."+name, f.Type, sub)
			case f.Type.Kind() == reflect.Map:
				if f.Type.Elem().Kind() == reflect.Struct && f.Type.Elem() != reflect.TypeFor[Secret]() {
					walk(at+"."+name+".*", f.Type.Elem(), sub["additionalProperties"].(map[string]any))
				}
			}
		}
		if len(props) != typ.NumField() {
			t.Errorf("%s: schema has %d keys, the type %d", at, len(props), typ.NumField())
		}
	}
	walk("", reflect.TypeFor[Config](), s)
}

func TestNoConfigurationWorks(t *testing.T) {
	l, issues := Parse(nil, Options{})
	if len(issues) > 0 || l.Server.Listen != "127.0.0.1:7410" || l.Data.Dir != "casement-data" || l.Intake.MaxBody != 32<<20 {
		t.Errorf("%+v %v", l, issues)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.yaml")
	for _, n := range files {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, issues := Parse([]File{{Name: "x.yaml", Data: b}}, Options{})
		if (l == nil) != (len(issues) > 0) {
			t.Fatal("either a value or issues")
		}
		_, again := Parse([]File{{Name: "x.yaml", Data: b}}, Options{})
		if again.Error() != issues.Error() {
			t.Fatal("not deterministic")
		}
		if l != nil {
			l.Settings()
		}
	})
}
