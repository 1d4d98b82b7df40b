package app_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/pgtest"
)

// onBoth runs a test on both stores; the second argument is the part of the
// configuration that picks one.
func onBoth(t *testing.T, f func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, "") })
	t.Run("postgres", func(t *testing.T) { f(t, fmt.Sprintf("database: {url: %q}\n", sharedDatabase(t))) })
}

// onBothURLs is onBoth with the URL, "" for SQLite.
func onBothURLs(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, "") })
	t.Run("postgres", func(t *testing.T) { f(t, sharedDatabase(t)) })
}

func sharedDatabase(t *testing.T) string { return pgtest.Start(t).Database(t) }

// TestSharedKeys shows what the keys of database and data.key do.
func TestSharedKeys(t *testing.T) {
	const password = "hunter2-of-the-database"
	srv := pgtest.Start(t)
	srv.Guard(t, "keyed", password)
	url := strings.Replace(srv.Database(t), "casement@", "keyed@", 1)
	began := make(chan struct{}, 1)
	end := make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-end // the message is under way for as long as the test looks
	}))
	defer hook.Close()
	defer close(end)
	t.Setenv("CASEMENT_TEST_DATABASE", password)
	t.Setenv("CASEMENT_TEST_KEY", strings.Repeat("0a", 32))
	t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
	env := []string{}
	node := func(extra ...string) (app.Config, error) {
		t.Helper()
		l := loaded(t, fmt.Sprintf("data: {dir: %q}\nserver: {listen: \"127.0.0.1:0\"}\npolicy: {dir: %q}\n", t.TempDir(), examplePolicy(t))+
			fmt.Sprintf("connectors:\n  hook:\n    kind: webhook\n    params: {notify_url: %q}\n    secrets: {signing: env:CASEMENT_TEST_SIGNING}\n    allow: [127.0.0.1]\nroutes:\n  security: {connector: hook}\n", hook.URL)+
			strings.Join(extra, ""), append(env, "CASEMENT_DATABASE_URL="+url)...)
		return app.Setup(t.Context(), l)
	}
	log := &lines{}
	open := func(cfg app.Config, err error) (*app.App, error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
		return app.New(t.Context(), cfg)
	}

	if _, err := open(node()); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("without a password: %v", err)
	}
	t.Setenv("CASEMENT_TEST_WRONG", "wrong-"+password)
	if _, err := open(node("database: {password: env:CASEMENT_TEST_WRONG}\n")); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("with a wrong password: %v", err)
	}
	t.Setenv("PGPASSWORD", password)
	a, err := open(node())
	if err != nil {
		t.Fatalf("with PGPASSWORD: %v", err)
	}
	verifier := a.Verifier()
	if err := a.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	t.Setenv("PGPASSWORD", "")
	cfg, err := node("database: {password: env:CASEMENT_TEST_DATABASE}\n")
	if _, err := open(cfg, err); !errors.Is(err, app.ErrOtherKey) || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("a node with a key of its own: %v", err)
	}
	if err := srv.Admin("DROP DATABASE " + url[strings.LastIndex(url, "/")+1:strings.Index(url, "?")]); err != nil {
		t.Fatal(err)
	}
	url = strings.Replace(srv.Database(t), "casement@", "keyed@", 1)

	// By data.key a node needs no key file; the work of a dead node is free
	// after database.takeover.
	env = append(env, "CASEMENT_DATA_KEY=env:CASEMENT_TEST_KEY")
	cfg, err = node("database: {password: env:CASEMENT_TEST_DATABASE, takeover: 3}\n")
	if a, err = open(cfg, err); err != nil {
		t.Fatal(err)
	}
	s := &served{App: a, t: t, log: log}
	ctx := context.WithoutCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	if files, err := filepath.Glob(filepath.Join(cfg.DataDir, "*")); err != nil || len(files) != 2 { // lock and address
		t.Errorf("the data folder holds %v %v", files, err)
	}
	if s.Verifier() == verifier {
		t.Error("the install key is not the given one")
	}
	s.token = s.issue(s.user("sender", auth.RoleSource), "scanner")
	id := s.alert(bucketAlert("customer-one", "staging"))
	<-began
	es, err := s.Store.EffectsOf(t.Context(), id, 10)
	if err != nil {
		t.Fatal(err)
	}
	leased := 0
	for _, e := range es {
		if !e.LeaseUntil.IsZero() {
			leased++
			if left := e.LeaseUntil.Sub(s.Store.Now()); left > 3*time.Second {
				t.Errorf("leased for %s", left)
			}
		}
	}
	if leased != 1 {
		t.Errorf("%d effects are under way: %+v", leased, es)
	}
	if strings.Contains(log.String(), password) {
		t.Error("the password is in the log")
	}
}
