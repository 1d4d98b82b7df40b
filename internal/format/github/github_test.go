package github

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

func webhook(alert, repository string) []byte {
	return []byte(fmt.Sprintf(`{"action":"created","alert":{"number":1,%s},"repository":{"full_name":"o/r",%s}}`, alert, repository))
}

func options(event string) format.Options {
	return format.Options{Now: time.Unix(1.8e9, 0), Event: event, File: "f", HashSecret: func(string) string { return "keyed" }}
}

// GitHub states no severity of a secret: what is known of it decides.
func TestSecretSeverityAndClass(t *testing.T) {
	for _, c := range []struct {
		alert, repository string
		severity          finding.Severity
		class             finding.Class
		internet          finding.Tri
	}{
		{`"state":"open","validity":"active","publicly_leaked":true`, `"private":true`, finding.SeverityCritical, finding.KeyExposed, finding.Yes},
		{`"state":"open","validity":"active","publicly_leaked":false`, `"private":true`, finding.SeverityCritical, finding.SecretInCode, finding.No},
		{`"state":"open","validity":"active"`, `"visibility":"public"`, finding.SeverityCritical, finding.KeyExposed, finding.Yes},
		{`"state":"open","validity":"unknown"`, `"private":true`, finding.SeverityHigh, finding.SecretInCode, finding.Unknown},
		{`"state":"resolved","resolution":"false_positive","validity":"active","publicly_leaked":false`, `"private":true`, finding.SeverityInfo, finding.SecretInCode, finding.No},
	} {
		res, err := Reader{}.Read(webhook(`"secret_type":"x","secret":"CANARY",`+c.alert, c.repository), options("secret_scanning_alert"))
		if err != nil {
			t.Fatal(err)
		}
		f := res.Findings[0]
		if f.Severity != c.severity || f.Class != c.class || f.Exposure.InternetFacing != c.internet || f.Weakness.SecretHash != "keyed" {
			t.Errorf("%s: %v %s %v %q", c.alert, f.Severity, f.Class, f.Exposure.InternetFacing, f.Weakness.SecretHash)
		}
		if b, _ := json.Marshal(f); strings.Contains(string(b), "CANARY") {
			t.Errorf("the secret is in %s", b)
		}
	}
}

func TestStates(t *testing.T) {
	for alert, want := range map[string]finding.Status{
		`"state":"open"`:                                  finding.StatusOpen,
		`"state":"fixed"`:                                 finding.StatusFixed,
		`"state":"dismissed"`:                             finding.StatusDismissed,
		`"state":"auto_dismissed"`:                        finding.StatusDismissed,
		`"state":"resolved","resolution":"revoked"`:       finding.StatusFixed,
		`"state":"resolved","resolution":"wont_fix"`:      finding.StatusDismissed,
		`"state":"resolved","resolution":"used_in_tests"`: finding.StatusDismissed,
	} {
		res, err := Reader{}.Read(webhook(`"rule":{"id":"x","severity":"error"},"tool":{"name":"y"},`+alert, `"private":true`), options("code_scanning_alert"))
		if err != nil || res.Findings[0].Status != want {
			t.Errorf("%s: %+v %v, want %s", alert, res, err, want)
		}
	}
}

// Webhooks that are no alerts are told apart: a risky change is a finding, a
// ping is not, and others name what to subscribe to.
func TestOtherWebhooks(t *testing.T) {
	for _, c := range []struct{ event, body, want string }{
		{"ping", `{"zen":"Keep it logically awesome.","hook_id":1,"repository":{"full_name":"o/r"}}`, "suppressed"},
		{"security_advisory", `{"action":"published","security_advisory":{"ghsa_id":"GHSA-a-b-c"}}`, "suppressed"},
		{"public", `{"repository":{"full_name":"o/r","private":false},"sender":{"login":"x"}}`, "pipeline.repo-public"},
		{"branch_protection_rule", `{"action":"deleted","rule":{"name":"main"},"repository":{"full_name":"o/r"}}`, "pipeline.protection-weakened"},
		{"branch_protection_rule", `{"action":"created","rule":{"name":"main"},"repository":{"full_name":"o/r"}}`, "suppressed"},
		{"member", `{"action":"added","repository":{"full_name":"o/r"}}`, "this webhook is member (action added), no security alert"},
	} {
		res, err := Reader{}.Read([]byte(c.body), options(c.event))
		got := "suppressed"
		switch {
		case err != nil:
			got = err.Error()
		case res.Kept == 1:
			got = string(res.Findings[0].Class)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.event, got, c.want)
		}
	}
}

// One alert by webhook, by list and by GraphQL has one identity.
func TestOneIdentity(t *testing.T) {
	hook, err := Reader{}.Read(webhook(`"state":"open","security_advisory":{"ghsa_id":"GHSA-a-b-c"},"dependency":{"package":{"name":"p"}}`, `"private":true`), options("dependabot_alert"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Reader{}.Read([]byte(`[{"number":1,"url":"https://api.github.com/repos/o/r/dependabot/alerts/1","security_advisory":{"ghsa_id":"GHSA-a-b-c"},"dependency":{"package":{"name":"p"}}}]`), options(""))
	if err != nil {
		t.Fatal(err)
	}
	graph, err := Reader{}.Read([]byte(`{"data":{"repository":{"nameWithOwner":"o/r","vulnerabilityAlerts":{"nodes":[{"id":"x","number":1,"securityVulnerability":{"package":{"name":"p"},"advisory":{"identifiers":[{"value":"GHSA-a-b-c"}]}}}]}}}}`), options(""))
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := hook.Findings[0].UID, list.Findings[0].UID, graph.Findings[0].UID; a != b || b != c {
		t.Errorf("%s %s %s", a, b, c)
	}
}
