package app_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// TestAfterPITR: PostgreSQL goes back to an instant at which an action was
// between intent and act; it happened afterwards. No node may run while the
// database is marked; the next one is paused in a new epoch, counts the action as
// unsure, and after the resume looks before it acts.
func TestAfterPITR(t *testing.T) {
	ctx := context.Background()
	target := newKillTarget()
	srv := httptest.NewServer(target)
	defer srv.Close()
	pg := pgtest.Start(t)
	pg.Archive(t)
	cfg, err := killConfig(t.TempDir(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Database = pg.Database(t)
	cfg.Takeover = 3 * time.Second // what was leased at that instant is waited for, as after a node's death
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
	then := pg.Now(t)
	close(goOn)
	first.await("the case is closed", func() bool { return first.of(1).Closed == remedy.ClosedProven })
	first.stop()
	if n := target.raw("bucket-1"); n != 1 {
		t.Fatalf("%d requests", n)
	}

	pg.Recover(t, then)
	cfg.Failpoint = nil
	node, err := store.OpenPostgres(ctx, cfg.Database)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.RestoreDatabase(ctx, cfg); !errors.Is(err, app.ErrNodes) {
		t.Errorf("marked while a node is connected: %v", err)
	}
	if _, marked, err := node.Marked(ctx); marked || err != nil {
		t.Errorf("refused, and marked: %v, %v", marked, err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := app.RestoreDatabase(ctx, cfg)
	if err != nil || !rep.Ledger.OK || rep.Replayed != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	second := startInstall(t, cfg)
	defer second.stop()
	if why, err := second.Held(ctx); err != nil || !strings.Contains(why, "restored from the copy of "+rep.Backup) {
		t.Errorf("held: %q, %v", why, err)
	}
	if c := second.of(1); c.State() != remedy.StateUnsure || c.Actions[0].Status != remedy.ActionUnsure {
		t.Errorf("in flight at that instant: %s, %+v", c.State(), c.Actions)
	}
	second.call("DELETE", "/api/v1/pauses", map[string]string{"scope": "all"})
	second.await("the case is closed again", func() bool { return second.of(1).Closed == remedy.ClosedProven })
	if n := target.raw("bucket-1"); n != 1 {
		t.Errorf("acted again without looking: %d requests", n)
	}
	if l, err := second.VerifyLedger(ctx); err != nil || !l.OK {
		t.Errorf("ledger: %+v, %v", l, err)
	}
}
