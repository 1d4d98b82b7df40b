package main

import (
	"database/sql"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// capture puts the first group of a pattern, found in the last output, into a
// variable: capture ID '"id":"(\w+)"'.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("%s is not in the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// until repeats a program until its output matches: until 'closed' casement ….
func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 150 {
		if ts.Exec(args[1], args[2:]...) == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%q never appeared; last output:\n%s", args[0], ts.ReadFile("stdout"))
}

// target starts a system with one document per asset that anyone can read until
// it is told otherwise, and puts its host:port into a variable. It acts once
// per webhook-id and stops with the script.
func target(ts *testscript.TestScript, _ bool, args []string) {
	var mu sync.Mutex
	private, seen := map[string]bool{}, map[string]bool{}
	set := func(to bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Data struct{ Asset struct{ UID string } }
			}
			if json.NewDecoder(r.Body).Decode(&in) != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if id := r.Header.Get("webhook-id"); !seen[id] {
				seen[id], private[in.Data.Asset.UID] = true, to
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("POST /private", set(true))
	mux.Handle("POST /public", set(false))
	mux.HandleFunc("GET /documents/{name}", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if private[r.PathValue("name")] {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	s := httptest.NewServer(mux)
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.Listener.Addr().(*net.TCPAddr).String())
}

// tamper runs a statement in the database of a data folder nobody holds.
func tamper(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0]) + "/casement.db"
	if _, err := os.Stat(path); err != nil {
		ts.Fatalf("%v", err)
	}
	db, err := sql.Open("sqlite", path)
	ts.Check(err)
	_, err = db.Exec("DROP TRIGGER IF EXISTS event_fixed") // who can write the file can drop it
	ts.Check(err)
	r, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("nothing was changed (%v)", err)
	}
	ts.Check(db.Close())
}
