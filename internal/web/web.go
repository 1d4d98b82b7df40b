// Package web is the HTTP API (OpenAPI 3.1, problem+json) and the pages.
//
// It may import the lower floors, store for the rows it lists, and engine for
// its errors; it starts no goroutine outside of requests. Invariants: every
// route stands in one table with the permission it demands, deny is the
// default; a state-changing request by cookie must come from our own pages;
// only a human in a session approves; what came from outside is text, never
// markup; the policy of contents forbids inline code and foreign sources; times
// are UTC in markup and relative for the reader.
package web

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/report"
	"github.com/casement/casement/internal/store"
)

// Reader is what pages and API read of cases.
type Reader interface {
	Load(ctx context.Context, id string) (remedy.Case, error)
	ListCases(ctx context.Context, f store.CaseFilter, cursor string, limit int) (store.CasePage, error)
	Counts(ctx context.Context, tenant string) (map[string]int, error)
	Events(ctx context.Context, tenant, caseID string) ([]store.StoredEvent, error)
	Findings(ctx context.Context, caseID string) ([]store.FindingRow, error)
	// DeadLetters are those of a case, or of all with an empty id.
	DeadLetters(ctx context.Context, tenant, caseID string, n int) ([]record.DeadLetter, error)
	Notes(ctx context.Context, tenant string, hashes []remedy.Note) (map[remedy.Note]engine.NoteText, error)
}

// Engine gives commands to cases; *engine.Engine is one.
type Engine interface {
	Tell(ctx context.Context, id string, cmd remedy.Command, notes ...engine.NoteText) (remedy.Case, error)
	// TellAt fails with engine.ErrConflict if the case is not at version.
	TellAt(ctx context.Context, id string, version uint64, cmd remedy.Command, notes ...engine.NoteText) (remedy.Case, error)
	Approve(ctx context.Context, id, action, planHash, person, note string, at time.Time) (remedy.Case, error)
	Reject(ctx context.Context, id, action, person, reason string, at time.Time) (remedy.Case, error)
	Note(text string) (remedy.Note, []engine.NoteText, error)
	Merger
}

// Merger joins cases and takes them apart; each method returns both cases after
// it, the one spoken to first.
type Merger interface {
	Merge(ctx context.Context, loser, winner, alias string, w engine.Word) (remedy.Case, remedy.Case, error)
	Unmerge(ctx context.Context, winner, loser string, w engine.Word) (remedy.Case, remedy.Case, error)
	Split(ctx context.Context, id string, findings []string, w engine.Word) (remedy.Case, remedy.Case, error)
}

// Switches are the kill switches.
type Switches interface {
	SetPause(ctx context.Context, p store.Pause) error
	ClearPause(ctx context.Context, p store.Pause) error
	Pauses(ctx context.Context) ([]store.Pause, error)
}

// Hints tell that something changed, so that lists refresh. A hint may be lost;
// the truth is in the store.
type Hints interface {
	// Subscribe returns a channel that gets a value after changes of the
	// tenant's cases, and the function that ends the subscription.
	Subscribe(tenant string) (<-chan struct{}, func())
}

// Config wires the handler. Reader, Engine and Auth are required.
type Config struct {
	Reader   Reader
	Engine   Engine
	Auth     *auth.Service
	Switches Switches
	// Tickets of the built-in tracker.
	Tickets Tickets
	// Quarantine of bodies that could not be read.
	Quarantine Quarantine
	// Exceptions that people ask for.
	Exceptions Exceptions
	// Report measures closure from an instant, zero for all time, to now.
	Report func(ctx context.Context, p auth.Principal, since time.Time) (report.Closure, error)
	// RawRecord reads a raw record of a case and records who did; nil: none are
	// shown.
	RawRecord func(ctx context.Context, p auth.Principal, caseID, hash string) (string, error)
	// More operations of the API, and raw routes such as intake: they stand in
	// the one table with ours.
	More []Operation
	Raw  []RawRoute
	// Steps returns the manual steps of a playbook by the active policy, in their
	// order; nil where there are none to be shown.
	Steps func(playbook string) []string
	// Hints may be nil: then pages don't refresh by themselves.
	Hints Hints
	// Ready says whether the process can serve; nil for always.
	Ready func(ctx context.Context) error
	// Metrics, if not nil, gets our metrics and is served under /metrics to
	// peers on the loopback interface only.
	Metrics *prometheus.Registry
	// HTTPS tells browsers to come by HTTPS only (Strict-Transport-Security).
	HTTPS   bool
	Version string
	Now     func() time.Time
	Log     *slog.Logger
}

// server is the handler's state: its configuration.
type server struct {
	Config
	assets assetSet
	// document writes the API in OpenAPI 3.1, once.
	document func() ([]byte, error)
	measure  func(pattern string, status int, took time.Duration)
}

// New returns the handler of all pages and of the API.
func New(c Config) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{Config: c, assets: loadAssets()}
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.Handle(rt.method+" "+rt.pattern, s.guard(rt))
	}
	s.mountAPI(mux)
	mux.Handle("/", s.guard(route{"", "/", auth.Public, s.notFound}))
	s.observeRoutes()

	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &problem{Status: http.StatusForbidden, Title: "This request came from another site",
			Detail: "Nothing was done. Open the page here and try again."})
	}))
	all := http.NewServeMux()
	for _, rt := range c.Raw {
		all.Handle(rt.Method+" "+rt.Pattern, rt.Handler)
	}
	all.Handle("/", s.outer(cross.Handler(c.Auth.Web.LoadAndSave(s.identify(mux)))))
	return all
}

// Route is one line of the table of all routes, for tests and documents.
type Route struct {
	Method, Pattern string
	Need            auth.Permission
}

// Routes is the table of everything that New serves: pages, operations and raw
// routes, each with the permission it demands.
func Routes(c Config) []Route {
	s := &server{Config: c}
	var out []Route
	for _, rt := range s.routes() {
		out = append(out, Route{rt.method, rt.pattern, rt.need})
	}
	for _, o := range s.operations() {
		out = append(out, Route{o.Method, o.Path, o.Need})
	}
	for _, rt := range c.Raw {
		out = append(out, Route{rt.Method, rt.Pattern, rt.Need})
	}
	return out
}

// route is one line of the table of routes.
type route struct {
	method, pattern string
	need            auth.Permission
	handle          func(w http.ResponseWriter, r *http.Request) error
}

// routes is the table of all pages. The API's operations stand in api.go, with
// their permission as well; Routes joins them.
func (s *server) routes() []route {
	return []route{
		{"GET", "/{$}", auth.Public, s.home},
		{"GET", "/assets/{hash}/{name}", auth.Public, s.asset},
		{"GET", "/favicon.ico", auth.Public, s.favicon},
		{"GET", "/healthz", auth.Public, s.healthz},
		{"GET", "/readyz", auth.Public, s.readyz},
		{"GET", "/metrics", auth.Public, s.metrics},
		{"GET", "/openapi.json", auth.Public, s.openapi},
		{"GET", "/login", auth.Public, s.loginPage},
		{"POST", "/login", auth.Public, s.login},
		{"POST", "/logout", auth.Public, s.logout},
		{"GET", "/setup", auth.Public, s.setupPage},
		{"POST", "/setup", auth.Public, s.setup},
		{"GET", "/events", auth.View, s.events},
		{"GET", "/cases", auth.View, s.casesPage},
		{"GET", "/cases/{id}", auth.View, s.casePage},
		{"GET", "/cases/{id}/raw/{hash}", auth.Respond, s.rawRecord},
		{"POST", "/cases/{id}/ack", auth.Respond, s.caseForm("ack")},
		{"POST", "/cases/{id}/assign", auth.Respond, s.caseForm("assign")},
		{"POST", "/cases/{id}/comment", auth.Respond, s.caseForm("comment")},
		{"POST", "/cases/{id}/verify", auth.Respond, s.caseForm("verify")},
		{"POST", "/cases/{id}/contain", auth.Respond, s.caseForm("contain")},
		{"POST", "/cases/{id}/snooze", auth.Respond, s.caseForm("snooze")},
		{"POST", "/cases/{id}/pause", auth.Respond, s.caseForm("pause")},
		{"POST", "/cases/{id}/resume", auth.Respond, s.caseForm("resume")},
		{"POST", "/cases/{id}/escalate", auth.Respond, s.caseForm("escalate")},
		{"POST", "/cases/{id}/reopen", auth.Respond, s.caseForm("reopen")},
		{"POST", "/cases/{id}/attest", auth.Attest, s.caseForm("attest")},
		{"POST", "/cases/{id}/claim", auth.Respond, s.caseForm("claim")},
		{"POST", "/cases/{id}/step", auth.Respond, s.stepForm},
		{"GET", "/cases/{id}/merge", auth.Respond, s.mergePage},
		{"POST", "/cases/{id}/merge", auth.Respond, s.mergeForm("merge")},
		{"POST", "/cases/{id}/merge-alias", auth.Decide, s.mergeForm("merge-alias")},
		{"GET", "/cases/{id}/split", auth.Respond, s.splitPage},
		{"POST", "/cases/{id}/split", auth.Respond, s.splitForm},
		{"POST", "/cases/{id}/undo-merge", auth.Respond, s.mergeForm("undo-merge")},
		{"GET", "/cases/{id}/actions/{action}/undo", auth.Respond, s.undoPage},
		{"POST", "/cases/{id}/actions/{action}/undo", auth.Respond, s.undo},
		{"GET", "/approvals", auth.View, s.approvalsPage},
		{"GET", "/approvals/{id}/{action}", auth.View, s.approvalPage},
		{"POST", "/approvals/{id}/{action}/approve", auth.Decide, s.approve},
		{"POST", "/approvals/{id}/{action}/reject", auth.Decide, s.reject},
		{"POST", "/approvals/{id}/{action}/ask", auth.Respond, s.approvalForm("comment")},
		{"POST", "/approvals/{id}/{action}/snooze", auth.Respond, s.approvalForm("snooze")},
		{"GET", "/tickets", auth.View, s.ticketsPage},
		{"GET", "/tickets/{id}", auth.View, s.ticketPage},
		{"POST", "/tickets/{id}/comment", auth.Respond, s.ticketForm("comment")},
		{"POST", "/tickets/{id}/status", auth.Respond, s.ticketForm("status")},
		{"GET", "/exceptions", auth.View, s.exceptionsPage},
		{"POST", "/exceptions", auth.Respond, s.askForm},
		{"POST", "/exceptions/{id}/grant", auth.Decide, s.grantForm},
		{"POST", "/exceptions/{id}/end", auth.Decide, s.endForm},
		{"GET", "/report", auth.View, s.reportPage},
		{"GET", "/quarantine", auth.View, s.quarantinePage},
		{"GET", "/quarantine/{id}", auth.Respond, s.bodyPage},
		{"POST", "/quarantine/{id}/release", auth.Administer, s.releaseForm},
		{"POST", "/quarantine/{id}/drop", auth.Administer, s.dropForm},
	}
}

// guard holds the permission of a route and turns errors into pages.
func (s *server) guard(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		if err := s.permit(r, rt.need); err != nil {
			s.fail(rec, r, err)
		} else if err := rt.handle(rec, r); err != nil {
			s.fail(rec, r, err)
		}
		if s.measure != nil {
			s.measure(strings.TrimSpace(rt.method+" "+rt.pattern), rec.status, s.Now().Sub(start))
		}
	})
}

// permit says whether the request's principal may do what is needed.
func (s *server) permit(r *http.Request, need auth.Permission) error {
	p := auth.FromContext(r.Context())
	switch {
	case p.Can(need):
		return nil
	case p.ID == "":
		return &problem{Status: http.StatusUnauthorized, Title: "You are not signed in", Detail: "Sign in, or send an API token."}
	case need == auth.Decide && p.Kind != auth.Human:
		return &problem{Status: http.StatusForbidden, Title: "A token can't decide",
			Detail: "Approvals, rejections and exceptions need a person who signed in with a password."}
	}
	return &problem{Status: http.StatusForbidden, Title: "Your role does not allow this",
		Detail: "You are " + cmp.Or(rolesText(p.Roles), "without a role") + "; this needs the permission “" + need.String() + "”, which comes with the role " + holders(need) + ". An administrator can change your role."}
}

// holders names the roles that have a permission.
func holders(need auth.Permission) string {
	var have []string
	for _, r := range auth.Roles() {
		if slices.Contains(auth.Grants(r), need) {
			have = append(have, string(r))
		}
	}
	if n := len(have); n > 1 {
		have = []string{strings.Join(have[:n-1], ", "), have[n-1]}
	}
	return strings.Join(have, " or ")
}

// identify puts the request's principal into its context.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := s.Auth.Request(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(auth.WithPrincipal(r.Context(), p)))
	})
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader remembers the status.
func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write remembers that the answer has begun.
func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(b)
}

// Unwrap serves http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
