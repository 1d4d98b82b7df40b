package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/store"
)

// dyingStore is a store whose process dies at one of the writes that a grant
// makes: before it, or when it is done and nobody was told.
type dyingStore struct {
	app.Store
	at    int // counts from 1
	after bool

	writes int
	// shift moves its clock.
	shift time.Duration
}

var errDied = errors.New("the process died")

func (d *dyingStore) Now() time.Time { return d.Store.Now().Add(d.shift) }

func (d *dyingStore) write(f func() error) error {
	d.writes++
	if d.writes > d.at || d.writes == d.at && !d.after {
		return errDied
	}
	if err := f(); err != nil {
		return err
	}
	if d.writes == d.at {
		return errDied
	}
	return nil
}

func (d *dyingStore) ChangeSetting(ctx context.Context, tenant, key string, old, value []byte, events ...store.StreamEvent) error {
	return d.write(func() error { return d.Store.ChangeSetting(ctx, tenant, key, old, value, events...) })
}

func (d *dyingStore) PutException(ctx context.Context, e store.Exception, at time.Time) error {
	return d.write(func() error { return d.Store.PutException(ctx, e, at) })
}

// excepting is one request for an exception and what became of it.
type excepting struct {
	*site
	id, of string // of is its case, "" for one that passes the gate
}

// state is whether the request waits, how often its exception was granted by
// the ledger, whether it is in force, and whether a drop is recorded.
func (e excepting) state() (waits bool, grants int, stands, dropped bool) {
	e.t.Helper()
	var l struct {
		Requests   []struct{ ID string }
		Exceptions []struct {
			ID     string
			Active bool
		}
	}
	e.want(200, "vic", "GET", "/api/v1/exceptions?all=1", "", &l)
	for _, q := range l.Requests {
		waits = waits || q.ID == e.id
	}
	for _, x := range l.Exceptions {
		stands = stands || x.ID == e.id && x.Active
	}
	if e.of != "" {
		var c struct{ State string }
		e.want(200, "vic", "GET", "/api/v1/cases/"+e.of, "", &c)
		stands = c.State == "excepted"
	}
	for line := range strings.Lines(e.do("token:mara", "GET", "/api/v1/ledger/export", "").Body.String()) {
		var r struct {
			Record struct {
				Type string
				Body []byte
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			e.t.Fatal(err)
		}
		if strings.Contains(string(r.Record.Body), e.id) {
			switch r.Record.Type {
			case "exception_granted":
				grants++
			case "exception_dropped":
				dropped = true
			}
		}
	}
	return waits, grants, stands, dropped
}

func (e excepting) wants(waits bool, grants int, stands, dropped bool) {
	e.t.Helper()
	w, g, s, d := e.state()
	if w != waits || g != grants || s != stands || d != dropped {
		e.t.Fatalf("waits %v, granted %d times, in force %v, dropped %v; want %v, %d, %v, %v", w, g, s, d, waits, grants, stands, dropped)
	}
}

// TestGrantDies lets the process die at each write of a grant. A request waits
// or its exception was granted, never both; what waits can be granted, once, or
// dropped; what was granted can be ended, stays ended, and is never said to be
// dropped.
func TestGrantDies(t *testing.T) { onBothURLs(t, grantDies) }

func grantDies(t *testing.T, database string) {
	s := newSite(t, app.Config{Database: database})
	alive := s.app.Store
	n := 0
	ask := func(t *testing.T, ofCase bool) excepting {
		t.Helper()
		n++
		s := &site{t: t, app: s.app, tokens: s.tokens, sessions: s.sessions}
		e, what := excepting{site: s}, `"package":"left-pad"`
		if ofCase {
			var in struct{ Results []struct{ Case string } }
			s.want(200, "token:feed", "POST", "/api/v1/alerts", fmt.Sprintf(`{"source":"iac","native_id":"m-%d","rule":"sg-open","title":"Security group open","severity":"medium","asset":{"uid":"sg-%d","type":"security_group"}}`, n, n), &in)
			e.of = in.Results[0].Case
			what = `"case":"` + e.of + `"`
		}
		var q struct{ ID string }
		s.want(200, "lee", "POST", "/api/v1/exceptions", fmt.Sprintf(`{%s,"until":%q,"reason":"a move is planned"}`, what, time.Now().Add(72*time.Hour).UTC().Format(time.RFC3339)), &q)
		e.id = q.ID
		return e
	}
	post := func(who, path string) int { return s.do(who, "POST", path, "").Code }
	grant := func(who string, e excepting) int { return post(who, "/api/v1/exceptions/"+e.id+"/grant") }
	end := func(e excepting, of string) int {
		path := "/api/v1/exceptions/" + e.id
		if of != "" {
			path += "?case=" + of
		}
		return s.do("mara", "DELETE", path, "").Code
	}
	for _, ofCase := range []bool{false, true} {
		writes := 3 // the mark, the exception, the list
		if ofCase {
			writes = 2 // the case writes its exception by itself
		}
		for at := 1; at <= writes; at++ {
			for _, after := range []bool{false, true} {
				// What it has come to when the process dies.
				marked := at > 1 || after
				made := at == writes || !ofCase && at == 2 && after || ofCase && at == 2
				off := at == writes && after
				died := func(t *testing.T) excepting {
					t.Helper()
					e := ask(t, ofCase)
					s.app.Store = &dyingStore{Store: alive, at: at, after: after}
					if code := grant("dana", e); code < 500 {
						t.Fatalf("the grant is answered %d", code)
					}
					s.app.Store = alive
					grants := 0
					if made {
						grants = 1
					}
					e.wants(!made, grants, made, false)
					return e
				}
				name := fmt.Sprintf("case=%v/%d after=%v", ofCase, at, after)
				t.Run(name+"/granted again", func(t *testing.T) {
					e := died(t)
					want := http.StatusOK
					if off {
						want = http.StatusNotFound
					}
					if code := grant("mara", e); code != want {
						t.Fatalf("answered %d, want %d", code, want)
					}
					e.wants(false, 1, true, false)
				})
				t.Run(name+"/dropped", func(t *testing.T) {
					e := died(t)
					if !made && marked { // somebody may be at it
						if code := end(e, ""); code != http.StatusConflict {
							t.Fatalf("dropped at once: %d", code)
						}
						e.wants(true, 0, false, false)
						s.app.Store = &dyingStore{Store: alive, at: 100, shift: 2 * time.Minute}
						defer func() { s.app.Store = alive }()
					}
					of := ""
					if off {
						of = e.of // it is not among the requests
					}
					if code := end(e, of); code != http.StatusOK {
						t.Fatalf("answered %d", code)
					}
					grants := 0
					if made {
						grants = 1
					}
					e.wants(false, grants, false, !made)
				})
				if !made {
					continue
				}
				t.Run(name+"/ended", func(t *testing.T) {
					e := died(t)
					if code := end(e, e.of); code != http.StatusOK {
						t.Fatalf("answered %d", code)
					}
					e.wants(false, 1, false, false)
					grant("mara", e)
					e.wants(false, 1, false, false)
					ask(t, ofCase) // which writes the list
					e.wants(false, 1, false, false)
				})
			}
		}
	}
}
