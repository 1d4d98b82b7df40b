package all

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
)

// entryOf reads the connector of an example; secrets get a value that fits.
func entryOf(t *testing.T, yaml string) Entry {
	t.Helper()
	l, issues := config.Parse([]config.File{{Name: "x.yaml", Data: []byte(yaml)}}, config.Options{})
	if len(issues) > 0 {
		t.Fatalf("%v", issues)
	}
	for name, c := range l.Connectors {
		e := Entry{Name: name, Kind: l.KindOf(name), Params: c.Params, Secrets: map[string]string{}, Allow: c.Allow}
		for s := range c.Secrets {
			e.Secrets[s] = "https://example.com/" + connectortest.Canary
			if strings.HasPrefix(s, "signing") {
				e.Secrets[s] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
			}
		}
		return e
	}
	t.Fatal("no connector in the example")
	return Entry{}
}

// TestKinds: every kind is complete, and its example makes a connector of that
// kind that offers no more than its description says.
func TestKinds(t *testing.T) {
	for _, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			spec := k.Spec(k.Name)
			for _, complaint := range connectortest.CheckSpec(spec) {
				t.Error(complaint)
			}
			for _, s := range slices.Concat(k.Params, k.Secrets) {
				if s.Name == "" || s.Doc == "" {
					t.Errorf("setting %+v has no name or words", s)
				}
			}
			e := entryOf(t, k.Example)
			if faults := Check(e); len(faults) > 0 {
				t.Errorf("check: %v", faults)
			}
			d, faults := Make(e)
			if len(faults) > 0 {
				t.Fatalf("make: %v", faults)
			}
			if got := d.Spec(); got.Name != e.Name || e.Kind != k.Name {
				t.Errorf("the example makes %s of kind %s", got.Name, e.Kind)
			}
			for _, a := range d.Spec().Actions {
				if !slices.ContainsFunc(spec.Actions, func(x connector.ActionSpec) bool { return x.Verb == a.Verb }) {
					t.Errorf("action %s is not described", a.Verb)
				}
			}
		})
	}
	if !slices.IsSortedFunc(Kinds(), func(a, b Kind) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the kinds are not sorted by name")
	}
}

// TestFaults: everything that is wrong is told at once, by key, with the way to
// mend it, and without a secret.
func TestFaults(t *testing.T) {
	for name, x := range map[string]struct {
		e    Entry
		want []string
	}{
		"kind": {Entry{Name: "a", Kind: "s4"}, []string{`kind: there is no connector of kind "s4" (did you mean "s3"?; casement connectors lists them)`}},
		"s3": {Entry{Name: "S3", Kind: "s3", Params: map[string]any{"regoin": "x", "path_style": "perhaps", "timeout": "soon", "per_second": int64(-1)},
			Secrets: map[string]string{"acces_key": connectortest.Canary}, Allow: []string{"10.0.0.0/8", "no host"}},
			[]string{": the name \"S3\"", "params.path_style: ", "params.per_second: ", "params.timeout: ", `params.regoin: there is no setting "regoin" here (did you mean "region"?)`,
				"secrets.access_key: secret access_key is missing", "secrets.secret_key: ", `secrets.acces_key: s3 connectors have no secret "acces_key" (did you mean "access_key"?)`, "allow: "}},
		"s3 address": {Entry{Name: "s3", Kind: "s3", Params: map[string]any{"endpoint": "ftp://x"}, Secrets: map[string]string{"access_key": "a", "secret_key": "b"}},
			[]string{"params.endpoint: "}},
		"oauth": {Entry{Name: "o", Kind: "oauth", Params: map[string]any{"introspect_url": "https://x", "integrations": map[string]any{
			"a": map[string]any{"kep": "x"}, "b": "no"}}, Secrets: map[string]string{"client_secret": "x"}},
			[]string{"params.client_id: client_id is missing", `params.integrations.a.kep: there is no setting "kep" here (did you mean "keep"?)`, "params.integrations.b: "}},
		"oauth tokens": {Entry{Name: "o", Kind: "oauth", Params: map[string]any{"introspect_url": "https://x", "client_id": "c", "integrations": map[string]any{
			"a": map[string]any{"keep": "x"}}}, Secrets: map[string]string{"client_secret": "x", "b": "x"}},
			[]string{`params.integrations.a: integration a: there is no secret "a"`, `secrets.b: no integration uses the secret "b"`}},
		"webhook": {Entry{Name: "w", Kind: "webhook", Params: map[string]any{"url": "https://x", "state": map[string]any{"url": "https://x", "exposed": []any{"200"}}}},
			[]string{"params.state.not_exposed: not_exposed is missing"}},
		"webhook signing": {Entry{Name: "w", Kind: "webhook", Params: map[string]any{"url": "https://x"}, Secrets: map[string]string{"signing": connectortest.Canary}},
			[]string{"secrets: secrets[0]: a signing secret begins with whsec_"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, faults := Make(x.e)
			if d != nil {
				t.Error("a connector was made")
			}
			var got []string
			for _, f := range faults {
				line := f.Key + ": " + f.Message
				if f.Mend != "" {
					line += " (" + f.Mend + ")"
				}
				got = append(got, line)
			}
			if strings.Contains(fmt.Sprint(got), connectortest.Canary) {
				t.Errorf("a secret is shown: %v", got)
			}
			for i, w := range x.want {
				if i >= len(got) || !strings.HasPrefix(got[i], w) {
					t.Fatalf("got\n%s\nwant beginnings\n%s", strings.Join(got, "\n"), strings.Join(x.want, "\n"))
				}
			}
			if len(got) != len(x.want) {
				t.Errorf("got %d faults, want %d:\n%s", len(got), len(x.want), strings.Join(got, "\n"))
			}
		})
	}
}

// TestSpecs: what is set up goes before what could be.
func TestSpecs(t *testing.T) {
	d, faults := Make(Entry{Name: "s3", Kind: "s3", Secrets: map[string]string{"access_key": "a", "secret_key": "b"}})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	names := map[string]int{}
	for _, s := range Specs(d.Spec(), connector.Spec{Name: "lab"}) {
		names[s.Name]++
	}
	if names["s3"] != 1 || names["lab"] != 1 || names["oauth"] != 1 {
		t.Errorf("names: %v", names)
	}
}
