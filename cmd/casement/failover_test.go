package main

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/pgtest"
)

// TestNodesFailover: the database is two servers, one follows the other. The
// first dies under load and the second is promoted; the one that was replaced
// comes back and still takes commits, but none of ours. Nothing acknowledged is
// lost, nothing is done twice.
func TestNodesFailover(t *testing.T) {
	first := pgtest.Start(t)
	url := first.Database(t)
	second := first.Standby(t)
	c := newClusterOn(t, oneMachine(), first, first.With(second, url), 3, 4)
	s := c.store()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()

	under := func(from int, fault func()) {
		t.Helper()
		loaded, begins := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(loaded)
			c.load(ctx, from, from+60, begins)
		}()
		c.await("load", func() bool { return c.ackedSince(from) >= 20 })
		fault()
		close(begins)
		<-loaded
		if n := c.ackedSince(from); n != 60 {
			t.Fatalf("%d of 60 alerts were acknowledged", n)
		}
		c.settle(s, 0, time.Minute)
	}
	under(100, func() {
		first.Stop(t)
		died := time.Now()
		second.Promote(t)
		t.Logf("promoted %s after the first server died", time.Since(died).Round(10*time.Millisecond))
	})
	before := events(t, second, url)
	first.Run(t)                                                                                               // of the old history, and first in the URL
	for _, text := range []string{"ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"} { // it waits for nobody
		if err := first.Admin(text); err != nil {
			t.Fatal(err)
		}
	}
	old := events(t, first, url)
	under(200, func() {
		if err := second.Admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'casement'"); err != nil {
			t.Error(err)
		}
	})
	if n := events(t, first, url); n != old {
		t.Errorf("the server that was replaced took %d events", n-old)
	}
	if n := events(t, second, url); n <= before {
		t.Errorf("the second server has %d events, %d before", n, before)
	}
	t.Logf("answers other than 200, none of which count: %d", c.refused.Load())
	t.Log(c.tally(s))
}

// events counts the events that a server has in the database of a URL.
func events(t *testing.T, srv *pgtest.Server, url string) (n int) {
	t.Helper()
	name, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgx.Connect(t.Context(), srv.URL(name.Database))
	if err == nil {
		err = db.QueryRow(t.Context(), "SELECT count(*) FROM event").Scan(&n)
	}
	if err == nil {
		err = db.Close(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
