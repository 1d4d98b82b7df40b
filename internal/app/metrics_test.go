package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/trace"
)

// call sends a request and returns status, header and body of the answer.
func (s *served) call(method, url string, header map[string]string, body string) (int, http.Header, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// sample returns the value of a line of an exposition, by its name and labels.
func sample(t *testing.T, text, line string) float64 {
	t.Helper()
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, line+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

// TestMetrics reads the real /metrics after a real life of a case: what was
// taken in, committed, done and left is counted, names and helps keep
// Prometheus' conventions, and no label holds what has no bound.
func TestMetrics(t *testing.T) {
	onBoth(t, metricsOfALife)
}

func metricsOfALife(t *testing.T, database string) {
	traces := make(chan string, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { traces <- r.Header.Get("Traceparent") }))
	defer hook.Close()
	t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
	t.Setenv("CASEMENT_TEST_GH", "github-signing-secret")
	s := serveFrom(t, examplePolicy(t), "sources:\n  scanner: {kind: token}\n  gh: {kind: github, secret: env:CASEMENT_TEST_GH}\n"+
		"connectors:\n  hook:\n    kind: webhook\n    params: {notify_url: \""+hook.URL+"\"}\n    secrets: {signing: env:CASEMENT_TEST_SIGNING}\n    allow: [127.0.0.1]\n"+
		"routes:\n  security: {connector: hook}\n"+database,
		"CASEMENT_SERVER_METRICS=true", "CASEMENT_SERVER_PPROF=127.0.0.1:0")

	const sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	auth := map[string]string{"Authorization": "Bearer " + s.token, trace.Header: sent}
	code, _, text := s.call("POST", s.URL+"/api/v1/alerts", auth, bucketAlert("customer-one", "staging"))
	id := regexp.MustCompile(`cas_[0-9a-z]+`).FindString(text)
	if code != http.StatusOK || id == "" {
		t.Fatal(code, text)
	}
	if code, _, text := s.call("POST", s.URL+"/api/v1/alerts", auth, "no alert of any kind"); code != http.StatusUnprocessableEntity {
		t.Fatal(code, text)
	}
	code, header, text := s.call("POST", s.URL+"/hooks/gh", map[string]string{"X-Hub-Signature-256": "sha256=00"}, "{}")
	if code != http.StatusUnauthorized {
		t.Fatal(code, text)
	}
	request := header.Get("X-Request-Id")
	if request == "" || !regexp.MustCompile(`node=[0-9A-Z]{8}.*request=`+request+` trace=[0-9a-f]{32}`).MatchString(s.log.String()) {
		t.Errorf("the log does not speak of request %q:\n%s", request, s.log)
	}

	// The trace of the alert arrives with the message, as another step of it.
	s.until(id, "a message told", func(c remedy.Case) bool { return len(c.Messages) == 0 })
	told := <-traces
	if c, ok := trace.Parse(told); !ok || c.TraceID() != sent[3:35] || c.SpanID() == sent[36:52] || c.Flags != 1 {
		t.Errorf("the message came with trace %q", told)
	}

	end := time.Now().Add(time.Minute)
	for { // the effect is counted just after its outcome is stored
		code, _, text = s.call("GET", s.URL+"/metrics", nil, "")
		if sample(t, text, `casement_effect_seconds_count{connector="security",kind="message"}`) >= 1 || time.Now().After(end) {
			break
		}
	}
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	for line, least := range map[string]float64{
		`casement_build_info{version=""}`:                                    1,
		`casement_intake_bodies_total{kind="token",status="200"}`:            1,
		`casement_intake_bodies_total{kind="token",status="422"}`:            1,
		`casement_intake_bodies_total{kind="github",status="401"}`:           1,
		`casement_intake_alerts_total{kind="token",outcome="stored"}`:        1,
		`casement_intake_seconds_count{kind="token"}`:                        2,
		`casement_inbox_bodies`:                                              0,
		`casement_inbox_oldest_age_seconds`:                                  0,
		`casement_quarantine_bodies`:                                         1,
		`casement_quarantine_bytes`:                                          1,
		`casement_quarantine_oldest_age_seconds`:                             0,
		`casement_commit_seconds_count`:                                      2,
		`casement_commit_sync_seconds_count`:                                 2,
		`casement_commit_group_size_count`:                                   2,
		`casement_step_conflicts_total`:                                      0,
		`casement_timer_lateness_seconds_count`:                              0,
		`casement_effect_seconds_count{connector="security",kind="message"}`: 1,
		`casement_ledger_tail_events`:                                        0,
		`casement_ledger_tail_age_seconds`:                                   0,
		`casement_database_bytes`:                                            4096,
		`casement_wal_bytes`:                                                 0,
		`casement_dead_letters`:                                              0,
		`casement_dead_letters_oldest_age_seconds`:                           0,
		`casement_kill_switches`:                                             0,
		`go_goroutines`:                                                      2,
		`process_resident_memory_bytes`:                                      1 << 20,
	} {
		if v := sample(t, text, line); v < least {
			t.Errorf("%s is %v", line, v)
		}
	}
	if strings.Contains(text, id) || strings.Contains(text, "customer-one") || regexp.MustCompile(`(tenant|case|source|user|asset)="`).MatchString(text) {
		t.Errorf("a label without bound:\n%s", text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if code, _, text := s.call("GET", s.PprofURL+"goroutine?debug=1", nil, ""); code != http.StatusOK || !strings.Contains(text, "goroutine profile") {
		t.Error("pprof:", code)
	}
	if code, _, _ := s.call("GET", s.URL+"/debug/pprof/", nil, ""); code != http.StatusNotFound {
		t.Error("pages serve profiles:", code)
	}
}

// TestPprofOnLoopback: profiles are served to this machine only, and to nobody
// unless it is asked for.
func TestPprofOnLoopback(t *testing.T) {
	for address, want := range map[string]int{"0.0.0.0:6060": 1, "192.0.2.1:6060": 1, ":6060": 1, "6060": 1, "127.0.0.1:6060": 0, "[::1]:6060": 0} {
		_, issues := config.Parse([]config.File{{Name: "c.yaml", Data: []byte("server: {pprof: \"" + address + "\"}\n")}}, config.Options{})
		if len(issues) != want {
			t.Errorf("%s: %v", address, issues)
		}
	}
}
