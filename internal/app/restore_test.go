package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// install is one app in this process, with its handler called directly.
type install struct {
	*app.App
	t *testing.T
}

func startInstall(t *testing.T, cfg app.Config) install {
	t.Helper()
	a, err := app.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return install{a, t}
}

func (i install) stop() {
	i.t.Helper()
	if err := i.Stop(context.Background()); err != nil {
		i.t.Error(err)
	}
}

// call speaks to the API as the operator of this machine.
func (i install) call(method, path string, in any) map[string]any {
	i.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		i.t.Fatal(err)
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(b))
	r.Header.Set("Authorization", "Bearer "+i.LocalToken())
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	i.Handler.ServeHTTP(w, r)
	if w.Code >= 300 {
		i.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		i.t.Fatal(err)
	}
	return out
}

func (i install) send(body string) {
	i.t.Helper()
	if ans, status := i.Ingest(context.Background(), "kill", []byte(body)); status != http.StatusOK {
		i.t.Fatalf("ingest: %d %+v", status, ans)
	}
}

// case of an asset of the kill test.
func (i install) of(asset int) remedy.Case {
	i.t.Helper()
	f, err := finding.Normalize(finding.Finding{Source: "kill", NativeID: fmt.Sprint("f", asset), Asset: finding.Asset{UID: "x"}})
	if err != nil {
		i.t.Fatal(err)
	}
	known, err := i.Store.Known(context.Background(), finding.DefaultTenant, []string{f.UID})
	if err != nil {
		i.t.Fatal(err)
	}
	c, err := i.Store.Load(context.Background(), known[f.UID].CaseID)
	if err != nil {
		i.t.Fatal(err)
	}
	return c
}

// await waits from change to change until ok.
func (i install) await(what string, ok func() bool) {
	i.t.Helper()
	changes, end := i.Changes()
	defer end()
	limit := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-changes:
		case <-limit:
			effects, err := i.Store.EffectsOf(context.Background(), "", 20)
			i.t.Fatalf("not seen: %s; effects that wait: %+v %v", what, effects, err)
		}
	}
}

// TestRestore: a backup is made while an action is between intent and act. The
// original goes on and acts. The copy, put into use, is paused in a new epoch,
// counts the action as unsure, and after the resume looks before it acts.
func TestRestore(t *testing.T) {
	target := newKillTarget()
	srv := httptest.NewServer(target)
	defer srv.Close()
	folder := t.TempDir()
	cfg, err := killConfig(filepath.Join(folder, "data"), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	at, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cfg.Failpoint = func(name string) {
		if name == "before act" {
			once.Do(func() { close(at); <-goOn })
		}
	}
	first := startInstall(t, cfg)
	first.send(killAlert(1))
	<-at
	backup := filepath.Join(folder, "backup")
	first.call("POST", "/api/v1/backup", map[string]string{"folder": backup})
	close(goOn)
	first.await("the original closes the case", func() bool { return first.of(1).Closed == remedy.ClosedProven })
	first.stop()
	if n := target.raw("bucket-1"); n != 1 {
		t.Fatalf("%d requests of the original", n)
	}

	cfg.Failpoint = nil
	cfg.DataDir = filepath.Join(folder, "restored")
	rep, err := app.Restore(context.Background(), backup, cfg, false)
	if err != nil || !rep.Ledger.OK || rep.Replayed != 1 || rep.Backup == "" {
		t.Fatalf("restore: %+v, %v", rep, err)
	}
	if _, err := app.Restore(context.Background(), backup, cfg, false); err == nil || !strings.Contains(err.Error(), "already") {
		t.Fatalf("a restore overwrote an install: %v", err)
	}
	second := startInstall(t, cfg)
	ctx := context.Background()
	why, err := second.Held(ctx)
	if err != nil || !strings.Contains(why, "restored from the copy of "+rep.Backup) {
		t.Errorf("held: %q, %v", why, err)
	}
	if c := second.of(1); c.State() != remedy.StateUnsure || c.Actions[0].Status != remedy.ActionUnsure || !strings.Contains(c.Actions[0].Reason, "restored") {
		t.Errorf("in flight at the backup: %s, %+v", c.State(), c.Actions)
	}
	second.send(killAlert(4)) // intake goes on
	effects, err := second.Store.EffectsOf(ctx, "", 100)
	if err != nil || len(effects) < 2 {
		t.Fatalf("effects %v, %v", effects, err)
	}
	for _, e := range effects {
		if e.Attempt > 1 || e.CaseID == second.of(4).ID && e.Attempt > 0 || !e.LeaseUntil.IsZero() {
			t.Errorf("paused, and %s was begun (attempt %d)", e.ID, e.Attempt)
		}
	}
	second.stop()
	second = startInstall(t, cfg) // paused is paused, also after another start
	if why, err := second.Held(ctx); why == "" || err != nil {
		t.Fatalf("a second start forgot the restore: %v", err)
	}
	second.call("DELETE", "/api/v1/pauses", map[string]string{"scope": "all"})
	second.await("both cases are closed", func() bool {
		return second.of(1).Closed == remedy.ClosedProven && second.of(4).Closed == remedy.ClosedProven
	})
	if n := target.raw("bucket-1"); n != 1 {
		t.Errorf("the restored install acted again without looking: %d requests", n)
	}
	second.stop()
	checkEpochs(t, cfg.DataDir)
	third := startInstall(t, cfg)
	defer third.stop()
	if why, err := third.Held(ctx); why != "" || err != nil {
		t.Errorf("held again: %q, %v", why, err)
	}
	ledger, err := third.VerifyLedger(ctx)
	if err != nil || !ledger.OK || ledger.Checkpoints < 2 {
		t.Errorf("ledger: %+v, %v", ledger, err)
	}
}

// checkEpochs: the ledger goes on under a new origin that names the last
// checkpoint of the old one, and says so in an event.
func checkEpochs(t *testing.T, dir string) {
	t.Helper()
	s, err := store.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.Checkpoints(context.Background(), 100)
	if err != nil || len(list) < 2 {
		t.Fatalf("checkpoints %v, %v", list, err)
	}
	newest, oldest := list[0], list[len(list)-1]
	for _, c := range list {
		if c.Origin == oldest.Origin && c.Size >= oldest.Size {
			oldest = c
		}
	}
	if !strings.HasSuffix(oldest.Origin, "/1") || !strings.Contains(newest.Origin, "/2.") || newest.Follows != oldest.Digest() {
		t.Errorf("epochs: %q follows %x; %q is %x", newest.Origin, newest.Follows, oldest.Origin, oldest.Digest())
	}
	events, err := s.Stream(context.Background(), finding.DefaultTenant, store.StreamGuardrail, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range events {
		types = append(types, e.Type)
		if e.Type == store.EventRestored && (!strings.Contains(string(e.Body), oldest.Origin) || !strings.Contains(string(e.Body), `"unsure":1`)) {
			t.Errorf("restored event: %s", e.Body)
		}
	}
	if got := strings.Join(types, " "); got != "paused restored resumed" {
		t.Errorf("guardrail stream: %s", got)
	}
}
