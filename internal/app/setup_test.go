package app_test

import (
	"strings"
	"testing"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
)

func loaded(t *testing.T, yaml string, env ...string) *config.Loaded {
	t.Helper()
	l, issues := config.Parse([]config.File{{Name: "casement.yaml", Data: []byte(yaml)}}, config.Options{Env: env})
	if len(issues) > 0 {
		t.Fatalf("%v", issues)
	}
	return l
}

// TestShippedPackNeedsNoConnector: the pack loads whatever is configured.
func TestShippedPackNeedsNoConnector(t *testing.T) {
	for name, yaml := range map[string]string{
		"nothing":    "",
		"other name": "connectors:\n  lake:\n    kind: s3\n    secrets: {access_key: env:A, secret_key: env:B}\n",
	} {
		if _, issues := policy.Load(pack.Default(), app.PolicyEnvironment(loaded(t, yaml))); len(issues) > 0 {
			t.Errorf("%s: %v", name, issues)
		}
	}
}

// TestSetupTellsEverything: all faults at once, with file, line and column.
func TestSetupTellsEverything(t *testing.T) {
	t.Setenv("CASEMENT_TEST_KEY", "value")
	l := loaded(t, `connectors:
  s3:
    params: {regoin: x}
    secrets: {access_key: env:CASEMENT_TEST_NOT_SET, secret_key: env:CASEMENT_TEST_KEY}
  lake:
    kind: s3
    secrets: {access_key: env:CASEMENT_TEST_NOT_SET, secret_key: env:CASEMENT_TEST_KEY}
  store:
    kind: s3
    secrets: {access_key: env:CASEMENT_TEST_KEY, secret_key: env:CASEMENT_TEST_KEY}
routes:
  security: {connector: store}
sources:
  gh: {kind: github, secret: env:CASEMENT_TEST_NOT_SET}
  odd: {kind: token, mapping: setup_test.go}
`)
	_, err := app.Setup(t.Context(), l)
	if err == nil {
		t.Fatal("accepted")
	}
	at := 0
	for _, want := range []string{
		`casement.yaml:3:22: connector s3: there is no setting "regoin" here: did you mean "region"?`,
		"casement.yaml:7:27: connectors.lake.secrets.access_key: secret reference env: variable CASEMENT_TEST_NOT_SET is not set",
		"casement.yaml:12:25: route security: connector store delivers no messages: name a",
		"casement.yaml:14:30: sources.gh.secret: secret reference env: variable CASEMENT_TEST_NOT_SET",
		"casement.yaml:15:31: source odd: setup_test.go",
	} {
		i := strings.Index(err.Error()[at:], want)
		if i < 0 {
			t.Fatalf("missing, or not in its place: %q in\n%s", want, err)
		}
		at += i
	}
	if n := len(err.(config.Issues)); n != 5 {
		t.Errorf("%d issues:\n%v", n, err)
	}
	if got := app.Check(l); len(got) != 2 {
		t.Errorf("without secrets: %v", got)
	}
}
