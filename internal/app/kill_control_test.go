package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// TestKillBetweenActAndRecord kills the real server with SIGKILL around the act
// of a connector on a real target, starts it again, and counts in the target's
// own log: one change, whenever the server died, and the case goes on to its
// proof. The server is set up by a configuration file, as a user's is.
func TestKillBetweenActAndRecord(t *testing.T) {
	for _, c := range controls() {
		t.Run(c.title(), func(t *testing.T) {
			fresh := c.start(t)
			moments := []string{"after act", "after outcome"}
			if c.name == "postgres" { // what was not done is done after half a minute: once is enough
				moments = append(moments, "before act")
			}
			for _, at := range moments {
				t.Run(at, func(t *testing.T) {
					b, ok := fresh(t).(connectortest.Configured)
					if !ok {
						t.Fatal("the bench can't be configured")
					}
					killControl(t, c, b, at)
				})
			}
		})
	}
}

func killControl(t *testing.T, c control, b connectortest.Configured, at string) {
	dir := filepath.Join(t.TempDir(), "data")
	env := killFiles(t, c, b, dir)
	cmd, in, addr := startChild(t, dir, "", at+":1", env...)
	defer in.Close()
	token := localToken(t, dir)
	tellChild(t, addr, token, b.Request(c.verb))
	dead := make(chan struct{})
	go func() { _ = cmd.Wait(); close(dead) }()
	askUntil(dead, addr, token)
	wantKilled(t, cmd)
	want := 1
	if at == "before act" {
		want = 0
	}
	if n := b.Changes(); n != want {
		t.Fatalf("when the server died the target had made %d changes, want %d\n%s", n, want, b.Log())
	}
	x := loadKilled(t, dir)
	if len(x.Actions) == 0 {
		t.Fatalf("case %s has no action", x.ID)
	}
	if a := x.Actions[0]; at != "after outcome" && (a.Status != remedy.ActionIntended || a.UndoHandle != "") {
		t.Fatalf("died %s: the action is %s already", at, a.Status)
	}

	goesOn(t, dir, env, x.ID, "the case is closed", func(body string) bool { return strings.Contains(body, `"state":"closed"`) })
	if n := b.Changes(); n != 1 {
		t.Errorf("the target made %d changes:\n%s", n, b.Log())
	}
	if !strings.Contains(b.Log(), x.ID) {
		t.Errorf("the target's log does not lead to case %s:\n%s", x.ID, b.Log())
	}
	x = loadKilled(t, dir)
	a := x.Actions[0]
	if x.Closed != remedy.ClosedProven || a.Before.Result != remedy.Exposed || a.After.Result != remedy.NotExposed || a.UndoHandle == "" && !c.final || a.Repeats > 1 {
		t.Errorf("%s, closed as %q, action %s", x.State(), x.Closed, asText(a))
	}
}

// askUntil asks a child until it is dead: a request is in flight whenever it dies.
func askUntil(dead <-chan struct{}, addr, token string) {
	for {
		select {
		case <-dead:
			return
		default:
			_, _, _ = askChild(http.MethodGet, addr+"/api/v1/health", token, "") // fails when it dies
		}
	}
}

func wantKilled(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || s.Signal() != syscall.SIGKILL {
		t.Fatalf("the server ended by itself: %s\n%s", cmd.ProcessState, cmd.Stderr)
	}
}

// killFiles writes a configuration with the bench's connector, a policy that
// enforces its action, and owners; it returns the environment of a server with
// it.
func killFiles(t *testing.T, c control, b connectortest.Configured, data string) []string {
	t.Helper()
	params, values := b.Config()
	watch, opt := "", ""
	if c.final {
		opt = ", opt_in: [change]"
	}
	if c.watched {
		watch = ", watch: 1s, watch_every: 1s"
	}
	env := childFiles(t, data, c.name, params, values, fmt.Appendf(nil, deskPolicy, c.name, c.verb, c.probe, c.grade, "enforce", watch, opt), nil)
	if x, ok := b.(interface{ Environ() []string }); ok {
		env = append(env, x.Environ()...)
	}
	return env
}

// childFiles writes a configuration with one connector, a policy, and owners; it
// returns the environment of a child with it. More is put into the configuration.
func childFiles(t *testing.T, data, kind string, params map[string]any, values map[string]string, policy []byte, more map[string]any) []string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "casement.yaml")
	env, secrets := []string{"CASEMENT_KILL_CONFIG=" + file}, map[string]string{}
	for name, v := range values {
		variable := "KILL_SECRET_" + strings.ToUpper(name)
		secrets[name], env = "env:"+variable, append(env, variable+"="+v)
	}
	all := map[string]any{
		"server": map[string]any{"listen": "127.0.0.1:0", "base_url": "https://casement.example"}, "data": map[string]any{"dir": data},
		"policy": map[string]any{"dir": filepath.Join(dir, "policy")}, "owners": map[string]any{"files": []string{filepath.Join(dir, "owners.yaml")}},
		"connectors": map[string]any{kind: map[string]any{"kind": kind, "params": params, "secrets": secrets, "allow": []string{"127.0.0.0/8", "10.77.0.0/16"}}}}
	maps.Copy(all, more)
	text, err := json.Marshal(all) // JSON is YAML
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "policy"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{file: text, filepath.Join(dir, "owners.yaml"): []byte(killOwners),
		filepath.Join(dir, "policy", "policy.yaml"): policy} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

// tellChild sends an alert about the asset. The server may die before it
// answers, but not before the case is stored: it dies while it works on it.
func tellChild(t *testing.T, addr, token string, r connector.Request) {
	t.Helper()
	asset := r.Asset
	alert, err := json.Marshal(map[string]any{"source": "kill", "native_id": "1", "title": asset.UID + " is exposed", "class": "workload.privileged",
		"severity": "high", "confidence": 90, "params": r.Params, "exposure": map[string]any{"blast": 1},
		"asset": map[string]any{"uid": asset.UID, "name": asset.Name, "type": asset.Type, "provider": asset.Provider, "environment": "staging",
			"customer_facing": "no", "tags": map[string]string{"owner": "olga"}}})
	if err != nil {
		t.Fatal(err)
	}
	if status, body, err := askChild(http.MethodPost, addr+"/api/v1/alerts", token, string(alert)); err == nil && status != http.StatusOK {
		t.Fatalf("alert: %d %s", status, body)
	}
}

// askChild makes a request of a server that may die meanwhile.
func askChild(method, url, token, body string) (int, string, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// loadKilled reads the one case that a dead server left, and holds its ledger and
// its history against what is stored.
func loadKilled(t *testing.T, dir string) remedy.Case {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.VerifyLedger(ctx); err != nil {
		t.Errorf("ledger: %v", err)
	}
	if _, err := s.VerifyReplay(ctx); err != nil {
		t.Errorf("replay: %v", err)
	}
	list, err := s.ListCases(ctx, store.CaseFilter{Tenant: finding.DefaultTenant}, "", 10)
	if err != nil || len(list.Cases) != 1 {
		t.Fatalf("%d cases, %v", len(list.Cases), err)
	}
	c, err := s.Load(ctx, list.Cases[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
