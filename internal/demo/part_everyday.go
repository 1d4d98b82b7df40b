package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector/tracker"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/sim"
)

// stormSize is how many alerts of one detection come at once.
const stormSize = 5000

// everyday is part 5: what a week brings.
func (s *stage) everyday(ctx context.Context) error {
	s.out.title(5, "A week's work", "A ticket set to Done too early, a storm of alerts, a build that must not pass, an integration that may do too much.")
	for _, part := range []func(context.Context) error{s.ticket, s.storm, s.gate, s.grant} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ticket: a colleague sets a ticket to Done, the probe disagrees.
func (s *stage) ticket(ctx context.Context) error {
	id := s.held()
	c, err := s.until(ctx, id, 10*time.Second, func(c remedy.Case) bool { return len(c.Tickets) > 0 && c.Tickets[0].Ref != "" })
	if err != nil || len(c.Tickets) == 0 {
		return orNothing(err, "the case has no ticket")
	}
	t := c.Tickets[0]
	s.out.line("", "ticket", "ben sets ticket %s (%s) to Done on its page", t.Ref, c.Asset.Name)
	page := "/tickets/" + strings.TrimPrefix(t.Ref, "T-") + "/status"
	if err := s.ben.post(ctx, s.server.url, page, map[string]string{"status": tracker.StatusDone}); err != nil {
		return err
	}
	reopened := func(c remedy.Case) bool {
		return !c.Open() || len(c.Tickets) > 0 && c.Tickets[0].Status == "reopened" && c.Tickets[0].Told == c.Tickets[0].Said
	}
	if c, err = s.until(ctx, id, 10*time.Second, reopened); err != nil {
		return err
	}
	evs, err := s.server.events(ctx, id)
	if err != nil {
		return err
	}
	saw, evidence := c.Tickets[0].Status, ""
	for _, p := range every[remedy.ProbeSaw](evs) {
		if p.Purpose == remedy.ProbeClaim {
			evidence = string(p.Observation.Result) + ". " + p.Observation.Detail
		}
	}
	if err := s.claims.put(claim{Kind: "refuted", Case: id, Subject: "s3/" + c.Asset.Name, Want: "reopened", Saw: saw, State: "open"}); err != nil {
		return err
	}
	if saw != "reopened" {
		return fmt.Errorf("the ticket is %s", saw)
	}
	s.out.line(red, "probe", "%s", s.short(evidence))
	s.out.line(yellow, "reopened", "ticket %s, with that evidence in it; Done is a claim, not a proof", t.Ref)
	s.note(id, "Done refuted; waits for its budget")
	return nil
}

// held is the case that met its budget in part 4.
func (s *stage) held() string {
	for _, m := range s.cast {
		if strings.HasPrefix(m.name, "acme-sandbox") {
			return m.id
		}
	}
	return ""
}

// storm: thousands of alerts of one detection are one case and one message.
func (s *stage) storm(ctx context.Context) error {
	began := time.Now()
	a, err := s.server.alert(ctx, storm(stormSize))
	if err != nil {
		return err
	}
	ids := a.cases()
	if len(ids) != 1 {
		return fmt.Errorf("the storm became %d cases", len(ids))
	}
	s.out.line("", "storm", "%d alerts of an EDR about build-03, taken in %s", a.Kept, took(time.Since(began)))
	c, err := s.until(ctx, ids[0], 20*time.Second, func(c remedy.Case) bool { return len(c.Messages) == 0 })
	if err != nil {
		return err
	}
	s.cast = append(s.cast, member{name: "build-03", id: c.ID, note: "incident, with its owner"})
	notices := 0
	for _, e := range s.world.Log() {
		if e.Service == sim.ServiceSink && e.Path == "/notice" && e.Case == c.ID {
			notices++
		}
	}
	saw := fmt.Sprintf("%d alerts, %d case, %d message", a.Kept, len(ids), notices)
	if err := s.claims.put(claim{Kind: "storm", Case: c.ID, Subject: "build-03", Want: fmt.Sprintf("%d alerts, 1 case, 1 message", stormSize), Saw: saw}); err != nil {
		return err
	}
	if notices != 1 {
		return fmt.Errorf("the storm is %s", saw)
	}
	s.out.line(green, "one case", "%s, owner %s, one message to %s", c.Judgement.Decision.Path(), c.Owner(), listed([]string{c.Owner(), c.Judgement.Routing.OpsLead}))
	return nil
}

// gateRun is what a run of the gate said.
type gateRun struct {
	code     int
	file     string
	Blocked  int `json:"blocked"`
	Excepted int `json:"excepted"`
	Results  []struct {
		Weakness, Package, Version, Recommendation, Ticket, Case string
		Exception                                                *struct {
			ID    string    `json:"id"`
			Until time.Time `json:"until"`
		} `json:"exception"`
	} `json:"results"`
}

// runGate runs the gate as a build would: another process, exit code and all.
func (s *stage) runGate(ctx context.Context, name string) (gateRun, error) {
	var g gateRun
	cmd := exec.CommandContext(ctx, s.Exe, "gate", "--policy", filepath.Join(s.dir, "policy"), "--project", "acme/shop", "-o", "json", filepath.Join(s.dir, "trivy.json"))
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "CASEMENT_URL="+s.server.url, "CASEMENT_TOKEN="+s.server.token, "CASEMENT_CONFIG="+filepath.Join(s.dir, "casement.yaml"))
	out, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return g, err
	}
	if ended != nil && ended.ExitCode() != 4 {
		return g, fmt.Errorf("the gate ended with %d: %s", ended.ExitCode(), ended.Stderr)
	}
	g.code, g.file = cmd.ProcessState.ExitCode(), name
	if err := json.Unmarshal(out, &g); err != nil {
		return g, fmt.Errorf("the gate's report: %w", err)
	}
	return g, os.WriteFile(filepath.Join(s.dir, name), out, 0o600)
}

// gate: a build is stopped; an exception with a date lets it pass.
func (s *stage) gate(ctx context.Context) error {
	if err := s.gateFiles(); err != nil {
		return err
	}
	g, err := s.runGate(ctx, "gate-1.json")
	if err != nil {
		return err
	}
	if err := s.claims.put(claim{Kind: "gate", Subject: "acme/shop", Want: "exit 4", Saw: fmt.Sprint("exit ", g.code), File: g.file}); err != nil {
		return err
	}
	if g.code != 4 || len(g.Results) == 0 {
		return fmt.Errorf("the gate let the build pass with %d", g.code)
	}
	r := g.Results[0]
	s.out.line(red, "gate", "the build of acme/shop fails (exit 4): %s in %s %s. To do: %s. %s", r.Weakness, r.Package, r.Version, r.Recommendation, r.Ticket)
	if err := s.twin(ctx, r.Case); err != nil {
		return err
	}
	until := time.Now().UTC().AddDate(0, 0, 14).Truncate(24 * time.Hour)
	var asked struct {
		ID string `json:"id"`
	}
	err = s.ben.call(ctx, s.server.url, http.MethodPost, "/api/v1/exceptions", map[string]any{"kind": "risk-accepted", "weakness": r.Weakness,
		"project": "acme/shop", "until": until, "reason": "not reachable from outside; upgrade is planned"}, &asked)
	if err != nil {
		return err
	}
	if err := s.anna.call(ctx, s.server.url, http.MethodPost, "/api/v1/exceptions/"+asked.ID+"/grant", map[string]string{}, nil); err != nil {
		return err
	}
	s.out.line("", "exception", "ben asks, anna grants: until %s, then it has to be looked at again", until.Format("2 January 2006"))
	if g, err = s.runGate(ctx, "gate-2.json"); err != nil {
		return err
	}
	if err := s.claims.put(claim{Kind: "gate", Subject: "acme/shop", Want: "exit 0", Saw: fmt.Sprint("exit ", g.code), File: g.file, Detail: asked.ID}); err != nil {
		return err
	}
	if g.code != 0 {
		return fmt.Errorf("the gate still ends with %d", g.code)
	}
	s.out.line(green, "gate", "the same build passes (exit 0), the exception is on its report")
	return nil
}

// gateConfig names the route that the policy speaks of.
const gateConfig = `routes:
  webhook: {connector: notices}
connectors:
  notices:
    kind: webhook
    params: {notify_url: "https://notices.invalid/"}
    secrets: {signing: "env:CASEMENT_DEMO_SECRET"}
`

// gateFiles writes what a build has: the scanner's report and the policy.
func (s *stage) gateFiles() error {
	dir := filepath.Join(s.dir, "policy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range policyFiles("http://127.0.0.1/health") {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
			return err
		}
	}
	err := os.WriteFile(filepath.Join(s.dir, "trivy.json"), sample("trivy.json"), 0o600)
	return errors.Join(err, os.WriteFile(filepath.Join(s.dir, "casement.yaml"), []byte(gateConfig), 0o600))
}

// twin: GitHub speaks of the same exposure, and joins its case; another tool's
// finding in the code is another case.
func (s *stage) twin(ctx context.Context, id string) error {
	a, err := s.server.hook(ctx, "dependabot_alert", s.secret, sample("dependabot.json"))
	if err != nil {
		return err
	}
	joined := "another case"
	if ids := a.cases(); len(ids) == 1 && ids[0] == id {
		joined = "the same case"
	}
	if err := s.claims.put(claim{Kind: "twin", Case: id, Subject: "acme/shop", Want: "the same case", Saw: joined}); err != nil {
		return err
	}
	s.out.line("", "webhook", "GitHub's signed Dependabot alert about it joins %s", joined)
	s.cast = append(s.cast, member{name: "acme/shop log4j-core", id: id, note: "ticket, gate excepts it"})
	if a, err = s.server.alert(ctx, sample("codeql.sarif")); err != nil {
		return err
	}
	s.cast = append(s.cast, member{name: "acme/shop Orders.java", id: a.cases()[0], note: "ticket"})
	return nil
}

// grant: an integration loses the scopes it does not need, at once.
func (s *stage) grant(ctx context.Context) error {
	a, err := s.server.alert(ctx, sample("grant.jsonl"))
	if err != nil {
		return err
	}
	id := a.cases()[0]
	s.cast = append(s.cast, member{name: "crm-sync", id: id})
	s.out.line("", "alert", "a SaaS audit reports that CRM sync may read all mail and files")
	c, evs, err := s.follow(ctx, id, 20*time.Second, ended, nil)
	if err != nil {
		return err
	}
	return s.claimFix(c, evs, "oauth/"+crmGrant, crmKeep)
}

// health asks the storefront how it is.
func (s *stage) health(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.world.URL(sim.ServiceApp)+"/storefront/health", nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
