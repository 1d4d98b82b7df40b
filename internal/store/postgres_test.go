package store_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// openPG opens a database and closes it with the test.
func openPG(t testing.TB, url string) *store.Postgres {
	t.Helper()
	s, err := store.OpenPostgres(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// emptyPG is a server and a database with the schema that nobody has open.
func emptyPG(t *testing.T) (*pgtest.Server, string) {
	t.Helper()
	srv := pgtest.Start(t)
	url := srv.Database(t)
	s, err := store.OpenPostgres(context.Background(), url)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return srv, url
}

func TestPostgresConformance(t *testing.T) {
	srv, empty := emptyPG(t)
	seen := map[string]bool{}
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		s := openPG(t, srv.Copy(t, empty))
		t.Cleanup(func() { goByIndex(t, s, seen) })
		return s
	})
	if list := missing(seen); len(list) > 0 {
		t.Errorf("no plan was looked at of: %q", list)
	}
}

// TestPostgresAgrees compares the store with the model.
func TestPostgresAgrees(t *testing.T) {
	srv, empty := emptyPG(t)
	storetest.Agree(t, func() (storetest.Backend, func()) {
		url := srv.Copy(t, empty)
		s, err := store.OpenPostgres(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		return s, func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			srv.Drop(t, url)
		}
	}, func() (storetest.Backend, func()) { return store.NewModel(), func() {} })
}

// TestPostgresDeadlock: a commit that the database ends because it and another
// transaction wait for each other is done again, also where its parts have
// savepoints because one of them failed.
func TestPostgresDeadlock(t *testing.T) {
	srv, url := emptyPG(t)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	if err := srv.Admin("ALTER DATABASE " + name + " SET deadlock_timeout = '2s'"); err != nil { // so that the other one waits by then
		t.Fatal(err)
	}
	s, ctx := openPG(t, url), t.Context()
	other, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	const insert = "INSERT INTO fact (tenant, hash, body) VALUES ('default', $1, '') ON CONFLICT DO NOTHING"
	tx, err := other.Begin(ctx)
	if err == nil {
		_, err = tx.Exec(ctx, "SET LOCAL deadlock_timeout = '60s'") // it is the commit that is ended
	}
	if err == nil {
		_, err = tx.Exec(ctx, insert, "second")
	}
	if err != nil {
		t.Fatal(err)
	}
	var units []record.Unit
	for i, fact := range []string{"none", "none", "first", "second"} {
		id := "cas_" + strconv.Itoa(i)
		u := storetest.NewCase(id, "key of "+strconv.Itoa(max(i, 1))) // the second has the key of the first
		u.Facts = map[string][]byte{fact: []byte("{}")}
		units = append(units, u)
	}
	done := make(chan []error, 1)
	go func() {
		errs, err := s.Commit(ctx, units, nil)
		done <- append(errs, err)
	}()
	for waits := false; !waits; {
		select {
		case errs := <-done:
			t.Fatalf("it waited for nobody: %v", errs)
		default:
		}
		// pg_stat_activity would stay as it was first seen in the transaction.
		if err := other.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tx.Exec(ctx, insert, "first"); err != nil { // now they wait for each other
		t.Fatal(err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if errs := <-done; errs[0] != nil || !errors.Is(errs[1], record.ErrConflict) || errs[2] != nil || errs[3] != nil || errs[4] != nil {
		t.Errorf("%v", errs)
	}
}

func BenchmarkPostgres(b *testing.B) {
	srv := pgtest.Start(b)
	for _, callers := range []int{1, 64} {
		name := strconv.Itoa(callers) + "callers"
		b.Run("open/"+name, func(b *testing.B) { benchCommit(b, openPG(b, srv.Database(b)), callers, openUnit) })
		b.Run("step/"+name, func(b *testing.B) { benchCommit(b, openPG(b, srv.Database(b)), callers, stepUnits(callers)) })
	}
}
