package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// apiRoutes is the table of the JSON API. Commands take {"to","into","uids",
// "text","until","action"} as far as the verb needs them.
func (s *server) apiRoutes() []route {
	return []route{
		{"GET", "/api/v1/me", auth.View, s.apiMe},
		{"GET", "/api/v1/cases", auth.View, s.apiCases},
		{"GET", "/api/v1/cases/{id}", auth.View, s.apiCase},
		{"GET", "/api/v1/cases/{id}/events", auth.View, s.apiEvents},
		{"POST", "/api/v1/cases/{id}/commands/attest", auth.Attest, s.apiCommand("attest")},
		{"POST", "/api/v1/cases/{id}/commands/{verb}", auth.Respond, s.apiCommand("")},
		{"GET", "/api/v1/pauses", auth.View, s.apiPauses},
		{"PUT", "/api/v1/pauses", auth.Halt, s.apiPause(true)},
		{"DELETE", "/api/v1/pauses", auth.Halt, s.apiPause(false)},
	}
}

func (s *server) mountAPI(mux *http.ServeMux) {
	for _, rt := range s.apiRoutes() {
		mux.Handle(rt.method+" "+rt.pattern, s.guard(rt))
	}
}

// respond writes a value as JSON.
func (s *server) respond(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.Log.Debug("answer not delivered", "err", err)
	}
	return nil
}

func (s *server) apiMe(w http.ResponseWriter, r *http.Request) error {
	p := auth.FromContext(r.Context())
	return s.respond(w, map[string]any{"id": p.ID, "kind": p.Kind, "tenant": p.Tenant})
}

func (s *server) apiCases(w http.ResponseWriter, r *http.Request) error {
	p := auth.FromContext(r.Context())
	f, _, err := filterOf(r.URL.Query(), p.Tenant)
	if err != nil {
		return err
	}
	limit := 100
	if v := r.URL.Query().Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > 500 {
			return &problem{Status: http.StatusBadRequest, Title: "The limit can't be read", Detail: "limit " + v + ": want a number from 1 to 500."}
		}
	}
	page, err := s.Reader.ListCases(r.Context(), f, r.URL.Query().Get("cursor"), limit)
	if err != nil {
		return err
	}
	return s.respond(w, map[string]any{"cases": page.Cases, "next": page.Next})
}

// apiOwn loads a case of the caller's tenant.
func (s *server) apiOwn(r *http.Request) (remedy.Case, error) {
	id := r.PathValue("id")
	if err := s.sameTenant(r.Context(), auth.FromContext(r.Context()).Tenant, id); err != nil {
		return remedy.Case{}, err
	}
	return s.Reader.Load(r.Context(), id)
}

func (s *server) apiCase(w http.ResponseWriter, r *http.Request) error {
	c, err := s.apiOwn(r)
	if err != nil {
		return err
	}
	return s.respond(w, map[string]any{"state": c.State(), "path": c.Judgement.Decision.Path(), "owner": c.Owner(), "case": c})
}

func (s *server) apiEvents(w http.ResponseWriter, r *http.Request) error {
	c, err := s.apiOwn(r)
	if err != nil {
		return err
	}
	events, err := s.Reader.Events(r.Context(), c.Tenant, c.ID)
	if err != nil {
		return err
	}
	type line struct {
		Seq  uint64          `json:"seq"`
		At   time.Time       `json:"at"`
		Type string          `json:"type"`
		By   remedy.Actor    `json:"by"`
		Body json.RawMessage `json:"body"`
	}
	out := make([]line, len(events))
	for i, e := range events {
		out[i] = line{e.Seq, e.At, e.Type, e.By, json.RawMessage(e.Body)}
	}
	return s.respond(w, map[string]any{"events": out})
}

// apiCommand gives a command to a case; verb "" takes it from the path.
func (s *server) apiCommand(verb string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Action, To, Into, Text string
			UIDs                   []string
			Until                  time.Time
		}
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return &problem{Status: http.StatusBadRequest, Title: "The body is not the JSON of a command", Detail: err.Error()}
		}
		o := order{Verb: verb, Action: in.Action, To: in.To, Into: in.Into, UIDs: in.UIDs, Text: in.Text, Until: in.Until}
		if o.Verb == "" {
			o.Verb = r.PathValue("verb")
		}
		c, err := s.tell(r.Context(), r.PathValue("id"), o)
		if err != nil {
			return err
		}
		return s.respond(w, map[string]any{"id": c.ID, "state": c.State(), "version": c.Version})
	}
}

func (s *server) apiPauses(w http.ResponseWriter, r *http.Request) error {
	ps, err := s.Switches.Pauses(r.Context())
	if err != nil {
		return err
	}
	return s.respond(w, map[string]any{"pauses": ps})
}

// apiPause throws or releases the kill switch of a scope.
func (s *server) apiPause(on bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		var in struct{ Scope, Reason string }
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil || in.Scope == "" {
			return &problem{Status: http.StatusBadRequest, Title: "Name the scope", Detail: `Send {"scope":"all","reason":"…"}.`}
		}
		p := store.Pause{Scope: in.Scope, By: auth.FromContext(r.Context()).Actor(), At: s.Now().UTC()}
		_, texts, err := s.Engine.Note(in.Reason)
		if err != nil {
			return err
		}
		if len(texts) == 1 {
			p.Reason = texts[0]
		}
		if on {
			err = s.Switches.SetPause(r.Context(), p)
		} else {
			p.Reason = engine.NoteText{}
			err = s.Switches.ClearPause(r.Context(), p)
		}
		if err != nil {
			return err
		}
		return s.apiPauses(w, r)
	}
}
