package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/auth/authtest"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// epoch is the instant the pages are looked at in tests.
func epoch() time.Time { return time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC) }

const password = "correct horse battery staple"

// world is a server on an in-memory store with a clock of its own.
type world struct {
	t      testing.TB
	model  *store.Model
	auth   *auth.Service
	users  *authtest.Memory
	hints  *hints
	engine *engine.Engine
	// tickets are in a store of their own: the model keeps none.
	tickets *store.SQLite
	shelf   *shelf
	config  Config
	h       http.Handler
	mu      sync.Mutex
	now     time.Time
	// sessions are kept: logins are limited.
	sessions map[string]*http.Cookie
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// hints is a Hints that tests poke.
type hints struct {
	mu   sync.Mutex
	subs []chan struct{}
	came []chan struct{}
}

// next returns a channel that is closed when the next page listens: it misses
// what is poked before.
func (h *hints) next() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{})
	h.came = append(h.came, c)
	return c
}

func (h *hints) Subscribe(string) (<-chan struct{}, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{}, 1)
	h.subs = append(h.subs, c)
	for _, waits := range h.came {
		close(waits)
	}
	h.came = nil
	return c, func() {}
}

func (h *hints) poke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// teams is the directory of the tests.
type teams struct{}

func (teams) Teams(person string) []string {
	switch person {
	case "u-dana", "u-omar":
		return []string{"team-storage"}
	case "u-lee":
		return []string{"team-payments"}
	}
	return nil
}

func (teams) ActsFor(string, time.Time) []string { return nil }

// nobody judges, guards and leads nowhere: commands of people need none of it.
type nobody struct{}

func (nobody) Judge(finding.Finding, engine.CaseFacts, time.Time) (remedy.Judgement, []byte) {
	return remedy.Judgement{}, nil
}
func (nobody) Check(context.Context, remedy.Case, remedy.Action, time.Time) (remedy.Guard, []record.Reservation, []string) {
	return remedy.Guard{}, nil, nil
}
func (nobody) Paused(context.Context, []string) (string, error) { return "", nil }
func (nobody) Actor(string) (connector.Actor, bool)             { return nil, false }
func (nobody) Prober(string) (connector.Prober, bool)           { return nil, false }
func (nobody) Notifier(string) (connector.Notifier, bool)       { return nil, false }
func (nobody) Tracker(string) (connector.Tracker, bool)         { return nil, false }
func (nobody) Ticket(context.Context, remedy.Case, remedy.Ticket, finding.Finding) connector.TicketRequest {
	return connector.TicketRequest{}
}

// newWorld returns a server with users and no cases.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, model: store.NewModel(), users: authtest.New(), hints: &hints{}, now: epoch(), shelf: &shelf{}, sessions: map[string]*http.Cookie{}}
	w.auth = w.users.Service(w.clock, teams{})
	ctx := context.Background()
	for _, u := range []struct {
		id, name string
		role     auth.Role
	}{
		{"u-dana", "dana", auth.RoleApprover}, {"u-omar", "omar", auth.RoleApprover}, {"u-lee", "lee", auth.RoleResponder},
		{"u-vic", "vic", auth.RoleViewer}, {"u-mara", "mara", auth.RoleAdmin}, {"u-feed", "feed", auth.RoleSource},
	} {
		hash, err := auth.HashPassword(password, auth.PasswordParams{Memory: 64, Passes: 1, Lanes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.users.PutUser(ctx, auth.User{ID: u.id, Tenant: finding.DefaultTenant, Name: u.name, Roles: []auth.Role{u.role}, PasswordHash: hash}); err != nil {
			t.Fatal(err)
		}
	}
	e := engine.New(engine.Config{Store: w.model, Effects: w.model, Judge: func() engine.Judge { return nobody{} }, Guards: nobody{},
		Doors: nobody{}, Principals: w.auth, Tickets: nobody{}})
	w.engine = e
	db, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w.tickets = db
	w.config = Config{Reader: w.model, Engine: e, Auth: w.auth, Switches: w.model, Tickets: w.tickets, Quarantine: w.shelf, Hints: w.hints, Steps: testSteps,
		Version: "test", Now: w.clock}
	w.h = New(w.config)
	return w
}

// life writes the history of one case by the commands that made it.
type life struct {
	w      *world
	c      remedy.Case
	events []remedy.Event
	found  []finding.Finding
	notes  []record.NoteText
}

func source(id string) remedy.Actor { return remedy.Actor{Kind: remedy.Source, ID: id} }
func person(id string) remedy.Actor { return remedy.Actor{Kind: remedy.Person, ID: id} }
func system() remedy.Actor          { return remedy.Actor{Kind: remedy.System, ID: "engine"} }

// at gives a command some time before the epoch.
func (l *life) at(before time.Duration, by remedy.Actor, do remedy.Do) *life {
	l.w.t.Helper()
	evs, err := remedy.Handle(l.c, remedy.Command{At: epoch().Add(-before), By: by, Do: do})
	if err != nil {
		l.w.t.Fatalf("case %s: %s: %v", l.c.ID, do.Name(), err)
	}
	for _, e := range evs {
		l.c = remedy.Apply(l.c, e)
	}
	l.events = append(l.events, evs...)
	return l
}

func (l *life) note(text string) remedy.Note {
	h := sha256.Sum256([]byte(text))
	n := remedy.Note(hex.EncodeToString(h[:]))
	l.notes = append(l.notes, record.NoteText{Hash: n, Salt: "00", Text: text})
	return n
}

// open begins a case by a finding seen some time before the epoch.
func (w *world) open(id string, before time.Duration, f finding.Finding, j remedy.Judgement) *life {
	l := &life{w: w}
	return l.see(id, before, f, j, "opened the case: no other case has this exposure key")
}

// see takes in a finding.
func (l *life) see(id string, before time.Duration, f finding.Finding, j remedy.Judgement, why string) *life {
	l.w.t.Helper()
	at := epoch().Add(-before)
	f.Tenant, f.Status = finding.DefaultTenant, finding.StatusOpen
	f.FirstSeen, f.LastSeen = at.Add(-40*time.Minute), at
	f.UID = id + "-" + f.Source
	if j.Clocks.Fix.IsZero() {
		j.Clocks = clocksFor(j.Decision.Class, at)
	}
	j.Facts, j.Versions = "f-"+id, remedy.Versions{Policy: "9c41d07be2aa5f10", Authors: []string{"u-mara", "u-omar"}, Owners: "o-1", TZ: "2026b"}
	l.found = append(l.found, f)
	return l.at(before, source(f.Source), remedy.Observe{ID: id, Tenant: f.Tenant, Key: "v1:" + id, Finding: f, Digest: "d-" + f.UID,
		Why: why, Judgement: j, DetectedAt: f.FirstSeen})
}

func clocksFor(k deadline.RiskClass, at time.Time) deadline.Clocks {
	hours := map[deadline.RiskClass][3]int{deadline.K1: {1, 4, 72}, deadline.K2: {4, 24, 336}, deadline.K3: {24, 72, 720}, deadline.K4: {72, 0, 1440}, deadline.K5: {168, 0, 2160}}[k]
	c := deadline.Clocks{WarnPercent: 75}
	for i, p := range []*time.Time{&c.Ack, &c.Contain, &c.Fix} {
		if hours[i] > 0 {
			*p = at.Add(time.Duration(hours[i]) * time.Hour)
		}
	}
	return c
}

// keep stores the life.
func (l *life) keep() remedy.Case {
	l.w.t.Helper()
	u := record.Unit{Case: l.c, Events: l.events, Findings: l.found, Notes: l.notes, WakeAt: remedy.WakeAt(l.c),
		AddKey: []record.CaseKey{{Tenant: l.c.Tenant, Version: 1, Key: l.c.Key}}}
	errs, err := l.w.model.Commit(context.Background(), []record.Unit{u}, nil)
	if err != nil || errs[0] != nil {
		l.w.t.Fatal(err, errs)
	}
	return l.c
}

// planned plans the current action; seen is what the probe saw before.
func (l *life) planned(before time.Duration, action string, gen int, p remedy.Plan, seen string) *life {
	d := l.c.Judgement.Decision
	p.At = epoch().Add(-before)
	p.Hash = hash(p.Text + p.BeforeDigest)
	return l.at(before, system(), remedy.PlanMade{Action: action, Gen: gen, Plan: p, Before: remedy.Observation{Probe: d.Probe.Name(),
		Result: remedy.Exposed, Grade: d.Probe.Grade, Place: "outside", Detail: seen, At: p.At}})
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:16])
}

// probed answers the probe the case waits for.
func (l *life) probed(before time.Duration, res remedy.Result, detail string) *life {
	d := l.c.Judgement.Decision
	var covers []string
	for _, m := range l.c.Members {
		covers = append(covers, m.UID)
	}
	spec := d.Probe
	if a, ok := l.c.Action(l.c.Probe.Action); ok && l.c.Probe.Purpose == remedy.ProbeContinuity {
		spec = a.Spec.Continuity
	}
	return l.at(before, system(), remedy.Probed{N: l.c.Probe.N, Covers: covers, Observation: remedy.Observation{Probe: spec.Name(), Result: res,
		Grade: spec.Grade, Place: "outside", Detail: detail, At: epoch().Add(-before)}})
}

// do sends a request as somebody: a login name, "token:<name>", or "".
func (w *world) do(who, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Accept", "text/html")
	if strings.HasPrefix(path, "/api/") {
		r.Header.Set("Accept", "application/json")
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	if name, ok := strings.CutPrefix(who, "token:"); ok {
		r.Header.Set("Authorization", "Bearer "+w.token(name))
	} else if who != "" {
		r.AddCookie(w.session(who))
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	return rec
}

// token issues a token with all roles of a user.
func (w *world) token(name string) string {
	w.t.Helper()
	u, err := w.users.UserByName(context.Background(), finding.DefaultTenant, name)
	if err != nil {
		w.t.Fatal(err)
	}
	secret, _, err := w.auth.IssueToken(context.Background(), person("u-mara"), u.Tenant, u.ID, "test", u.Roles, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// session signs a user in.
func (w *world) session(name string) *http.Cookie {
	w.t.Helper()
	if c := w.sessions[name]; c != nil {
		return c
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", strings.NewReader("name="+name+"&password="+strings.ReplaceAll(password, " ", "+")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = name + ":1" // the limit of attempts counts per address
	w.h.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if c.Name == auth.CookieName && rec.Code == http.StatusSeeOther {
			w.sessions[name] = c
			return c
		}
	}
	w.t.Fatalf("login of %s: %d %s", name, rec.Code, rec.Body)
	return nil
}
