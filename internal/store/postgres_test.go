package store_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/casement/casement/internal/pgtest"
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
	storetest.Run(t, func(t *testing.T) storetest.Backend { return openPG(t, srv.Copy(t, empty)) })
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

func BenchmarkPostgres(b *testing.B) {
	srv := pgtest.Start(b)
	for _, callers := range []int{1, 64} {
		name := strconv.Itoa(callers) + "callers"
		b.Run("open/"+name, func(b *testing.B) { benchCommit(b, openPG(b, srv.Database(b)), callers, openUnit) })
		b.Run("step/"+name, func(b *testing.B) { benchCommit(b, openPG(b, srv.Database(b)), callers, stepUnits(callers)) })
	}
}
