package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// TestRetention: raw records are shown to who may see them and the ledger says
// who looked; those of settled cases go by age or for room, those of open cases
// and of changes stay, the ledger stays whole.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	cfg, err := app.Setup(t.Context(), loaded(t, "retention: {raw_days: 3, raw_size: 50, quarantine_days: 7}\n"))
	if err != nil || cfg.Retention != (app.Retention{Raw: 3 * day, RawBytes: 50, Quarantine: 7 * day}) {
		t.Fatalf("by the configuration: %+v %v", cfg.Retention, err)
	}
	onBothURLs(t, testRetention)
}

func testRetention(t *testing.T, url string) {
	dir := t.TempDir()
	with := func(r app.Retention) install {
		return startInstall(t, app.Config{DataDir: dir, Database: url, Listen: "127.0.0.1:0", Retention: r})
	}
	i := with(app.Retention{Raw: time.Nanosecond})
	for n := range 5 {
		i.send(fmt.Sprintf(`{"source":"kill","native_id":"f%d","title":"t%d","class":"storage.public","severity":"high","asset":{"uid":"x%d"}}`+"\n", n, n, n))
	}
	i.settle(1)
	i.settle(2, remedy.Intended{Action: "a", Key: "k"})
	open, gone := i.of(0), i.of(1)

	show := i.call("GET", "/api/v1/cases/"+open.ID+"/raw/"+open.Members[0].Raw, nil)
	if !strings.Contains(show["record"].(string), `"native_id":"f0"`) || fmt.Sprint(show["events"]) != "[2]" {
		t.Errorf("raw record: %v", show)
	}
	if code, text := i.get("/api/v1/cases/" + open.ID + "/raw/" + gone.Members[0].Raw); code != http.StatusNotFound {
		t.Errorf("a record of another case: %d %s", code, text)
	}
	if got := i.evidence(); got != "raw_record_read by local-admin" {
		t.Errorf("the ledger says %q", got)
	}
	if out := i.call("POST", "/api/v1/retention/prune", map[string]bool{"dry_run": true}); out["records"] != 1. {
		t.Errorf("dry run: %v", out)
	}
	if raw := i.call("GET", "/api/v1/retention", nil)["raw_records"].(map[string]any); raw["records"] != 5. {
		t.Errorf("after a dry run: %v", raw)
	}
	if out := i.call("POST", "/api/v1/retention/prune", map[string]bool{}); out["records"] != 1. {
		t.Errorf("pruned: %v", out)
	}
	if code, text := i.get("/api/v1/cases/" + gone.ID + "/raw/" + gone.Members[0].Raw); code != http.StatusGone || !strings.Contains(text, "ledger keeps its hash") {
		t.Errorf("a pruned record: %d %s", code, text)
	}
	i.settle(3)
	if ans, status := i.Ingest(context.Background(), "file", []byte(`{"no":"alert"}`)); status != http.StatusUnprocessableEntity {
		t.Fatalf("%d %+v", status, ans)
	}
	i.stop()

	// Another policy: no age, but hardly any room.
	i = with(app.Retention{RawBytes: 1})
	defer i.stop()
	if err := i.Retain(context.Background()); err != nil {
		t.Fatal(err)
	}
	h := i.call("GET", "/api/v1/health", nil)
	if raw := h["raw_records"].(map[string]any); raw["records"] != 3. || h["quarantined_bodies"] != 1. {
		t.Errorf("kept for room: %v, quarantined %v", raw, h["quarantined_bodies"])
	}
	if err := i.RetainBy(context.Background(), app.Retention{Quarantine: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	if h = i.call("GET", "/api/v1/health", nil); h["quarantined_bodies"] != 0. {
		t.Errorf("quarantined %v", h["quarantined_bodies"])
	}
	if got, want := i.evidence(), "raw_record_read by local-admin, raw_records_pruned by local-admin, raw_records_pruned by retention, quarantined_body_expired by retention"; got != want {
		t.Errorf("the ledger says %q\nwant %q", got, want)
	}
	if rep, err := i.VerifyLedger(context.Background()); err != nil || !rep.OK {
		t.Errorf("ledger: %+v %v", rep, err)
	}
	if _, err := i.Store.VerifyReplay(context.Background()); err != nil {
		t.Error(err)
	}
}

// settle ends the case of an asset as if all had been proven, after events.
func (i install) settle(asset int, before ...remedy.Body) {
	i.t.Helper()
	c := i.of(asset)
	u := record.Unit{Before: c.Version, Case: c}
	for _, b := range append(slices.Clip(before), remedy.EpisodeClosed{How: remedy.ClosedProven}, remedy.CaseSettled{}) {
		e := remedy.Event{At: i.Store.Now(), By: remedy.Actor{Kind: remedy.System, ID: "test"}, Body: b}
		u.Events = append(u.Events, e)
		u.Case = remedy.Apply(u.Case, e)
	}
	errs, err := i.Store.Commit(context.Background(), []record.Unit{u}, nil)
	if err == nil && errors.Is(errs[0], record.ErrConflict) { // an effect of the case ended meanwhile
		i.settle(asset, before...)
		return
	}
	if err != nil || errs[0] != nil {
		i.t.Fatal(err, errs)
	}
}

// get reads as the operator of this machine.
func (i install) get(path string) (int, string) {
	i.t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Authorization", "Bearer "+i.LocalToken())
	w := httptest.NewRecorder()
	i.Handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// evidence is what the ledger's stream of evidence says, in order.
func (i install) evidence() string {
	i.t.Helper()
	s, ok := i.Store.(interface {
		Stream(ctx context.Context, tenant, stream string, seq uint64, n int) ([]store.StoredEvent, error)
	})
	if !ok {
		i.t.Fatal("the store has no streams")
	}
	events, err := s.Stream(context.Background(), i.Tenant(), store.StreamEvidence, 0, -1)
	if err != nil {
		i.t.Fatal(err)
	}
	words := make([]string, len(events))
	for n, e := range events {
		words[n] = e.Type + " by " + e.By.ID
	}
	return strings.Join(words, ", ")
}
