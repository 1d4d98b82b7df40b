package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/web"
)

// LocalToken is the token of the data folder's address file: by it commands on
// this machine speak to the handler of an app that was not started.
func (a *App) LocalToken() string { return a.local }

// operate adds the operator's side of the API: exceptions, users, tokens,
// ledger and backup. Pages do not use it; the command line does.
func (a *App) operate(mux *http.ServeMux) {
	for pattern, op := range map[string]operation{
		"GET /api/v1/exceptions":             {auth.View, a.listExceptions},
		"POST /api/v1/exceptions":            {auth.Respond, a.requestException},
		"POST /api/v1/exceptions/{id}/grant": {auth.Decide, a.grantException},
		"DELETE /api/v1/exceptions/{id}":     {auth.Decide, a.revokeException},
		"GET /api/v1/cases/{id}/timeline":    {auth.View, a.caseTimeline},
		"GET /api/v1/users":                  {auth.Administer, a.listUsers},
		"POST /api/v1/users":                 {auth.Administer, a.addUser},
		"PATCH /api/v1/users/{id}":           {auth.Administer, a.changeUser},
		"GET /api/v1/tokens":                 {auth.Administer, a.listTokens},
		"POST /api/v1/tokens":                {auth.Administer, a.addToken},
		"DELETE /api/v1/tokens/{id}":         {auth.Administer, a.dropToken},
		"POST /api/v1/ledger/verify":         {auth.View, a.verifyLedger},
		"GET /api/v1/ledger/export":          {auth.Administer, a.exportLedger},
		"POST /api/v1/backup":                {auth.Administer, a.backup},
		"GET /api/v1/health":                 {auth.View, a.health},
	} {
		mux.Handle(pattern, a.operation(op))
	}
}

// operation is one call: what it demands, and what it does. A nil result means
// that the answer was written already.
type operation struct {
	need auth.Permission
	do   func(w http.ResponseWriter, r *http.Request, p auth.Principal) (any, error)
}

// operation checks the sender and writes the answer, or the error as
// problem+json.
func (a *App) operation(op operation) http.Handler {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.Auth.Request(r)
		switch {
		case err != nil:
		case p.ID == "":
			err = auth.ErrToken
		case !p.Can(op.need):
			err = &denied{op.need, p.Kind}
		}
		var out any
		if err == nil {
			out, err = op.do(w, r, p)
		}
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		if out == nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			a.cfg.Log.Debug("answer not delivered", "err", err)
		}
	})
	return http.NewCrossOriginProtection().Handler(a.Auth.Web.LoadAndSave(h))
}

// denied is a permission that is missing.
type denied struct {
	need auth.Permission
	kind auth.Kind
}

func (d *denied) Error() string {
	if d.need == auth.Decide && d.kind != auth.Human {
		return "only a person who signed in with a password decides; a token never does"
	}
	return "your role does not allow this: it needs the permission " + d.need.String()
}

// badInput is what the sender got wrong.
type badInput string

func (b badInput) Error() string { return string(b) }

// refuse writes an error as problem+json (RFC 9457).
func (a *App) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, title := http.StatusInternalServerError, "Something failed on our side"
	var d *denied
	var bad badInput
	var input *auth.InputError
	switch {
	case errors.As(err, &d):
		status, title = http.StatusForbidden, "You may not do this"
	case errors.Is(err, auth.ErrToken):
		status, title = http.StatusUnauthorized, "You are not signed in"
	case errors.As(err, &bad), errors.As(err, &input), errors.Is(err, store.ErrInvalid):
		status, title = http.StatusUnprocessableEntity, "That can't be done as asked"
	case errors.Is(err, record.ErrNotFound), errors.Is(err, auth.ErrNotFound):
		status, title = http.StatusNotFound, "There is no such thing here"
	case errors.Is(err, auth.ErrTaken), errors.Is(err, store.ErrExists), errors.Is(err, record.ErrConflict):
		status, title = http.StatusConflict, "It is taken, or it changed meanwhile"
	case remedy.CodeOf(err) == remedy.Forbidden:
		status, title = http.StatusForbidden, "You may not do this here"
	case remedy.CodeOf(err) == remedy.Invalid:
		status, title = http.StatusUnprocessableEntity, "That can't be done as asked"
	case remedy.CodeOf(err) != "":
		status, title = http.StatusConflict, "Not now"
	}
	detail := err.Error()
	if status == http.StatusInternalServerError {
		a.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		detail = "It was logged. Look before you repeat it."
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": title, "detail": detail, "status": status}) // the sender is gone if this fails
}

// maxCall bounds the body of a call.
const maxCall = 64 << 10

// read decodes the JSON body of a call; unknown fields are errors.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(io.LimitReader(r.Body, maxCall))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badInput("the body is not the JSON that is wanted: " + err.Error())
	}
	return nil
}

// userView is an account as lists show it.
type userView struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Mail     string      `json:"mail,omitempty"`
	Roles    []auth.Role `json:"roles"`
	Disabled bool        `json:"disabled"`
	Created  time.Time   `json:"created_at"`
}

func viewOf(u auth.User) userView {
	return userView{u.ID, u.Name, u.Mail, u.Roles, u.Disabled, u.CreatedAt}
}

func (a *App) listUsers(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	us, err := accounts{a.Store}.Users(r.Context(), p.Tenant)
	out := make([]userView, len(us))
	for i, u := range us {
		out[i] = viewOf(u)
	}
	return map[string]any{"users": out}, err
}

func (a *App) addUser(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		Name, Mail, Password, Roles string
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	roles, err := auth.ParseRoles(in.Roles)
	if err != nil {
		return nil, badInput(err.Error())
	}
	u, err := a.Auth.AddUser(r.Context(), p.Actor(), auth.User{Tenant: p.Tenant, Name: in.Name, Mail: in.Mail, Roles: roles}, in.Password)
	return viewOf(u), err
}

// userNamed finds a user by id or login name.
func (a *App) userNamed(ctx context.Context, tenant, name string) (auth.User, error) {
	acc := accounts{a.Store}
	u, err := acc.User(ctx, tenant, name)
	if errors.Is(err, auth.ErrNotFound) {
		u, err = acc.UserByName(ctx, tenant, name)
	}
	if errors.Is(err, auth.ErrNotFound) {
		return u, fmt.Errorf("user %q: %w", name, err)
	}
	return u, err
}

func (a *App) changeUser(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		Roles    *string
		Disabled *bool
		Password string
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	u, err := a.userNamed(r.Context(), p.Tenant, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if in.Roles != nil {
		if u.Roles, err = auth.ParseRoles(*in.Roles); err != nil {
			return nil, badInput(err.Error())
		}
	}
	if in.Disabled != nil {
		u.Disabled = *in.Disabled
	}
	return viewOf(u), a.Auth.ChangeUser(r.Context(), p.Actor(), p.Tenant, u.ID, u.Roles, u.Disabled, in.Password)
}

func (a *App) listTokens(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	ts, err := a.Store.Tokens(r.Context(), p.Tenant)
	out := make([]auth.Token, len(ts))
	for i, t := range ts {
		out[i] = tokenOf(t)
	}
	return map[string]any{"tokens": out}, err
}

func (a *App) addToken(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	var in struct {
		User, Name, Roles string
		Expires           time.Time
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	u, err := a.userNamed(r.Context(), p.Tenant, in.User)
	if err != nil {
		return nil, err
	}
	roles, err := auth.ParseRoles(in.Roles)
	if err != nil {
		return nil, badInput(err.Error())
	}
	secret, t, err := a.Auth.IssueToken(r.Context(), p.Actor(), p.Tenant, u.ID, in.Name, roles, in.Expires)
	return map[string]any{"secret": secret, "token": t}, err
}

func (a *App) dropToken(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	id := r.PathValue("id")
	return map[string]any{"revoked": id}, a.Auth.RevokeToken(r.Context(), p.Actor(), p.Tenant, id)
}

// caseTimeline returns a case's events in words, with what people wrote.
func (a *App) caseTimeline(_ http.ResponseWriter, r *http.Request, p auth.Principal) (any, error) {
	ctx := r.Context()
	c, err := a.Store.Load(ctx, r.PathValue("id"))
	if err == nil && c.Tenant != p.Tenant {
		err = fmt.Errorf("case %s: %w", r.PathValue("id"), record.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	events, err := a.Store.Events(ctx, c.Tenant, c.ID)
	if err != nil {
		return nil, err
	}
	var hashes []remedy.Note
	for _, e := range events {
		var body any
		if json.Unmarshal(e.Body, &body) == nil {
			hashes = hashesIn(body, hashes)
		}
	}
	texts, err := a.Store.Notes(ctx, c.Tenant, hashes)
	if err != nil {
		return nil, err
	}
	notes := make(map[remedy.Note]string, len(texts))
	for h, n := range texts {
		notes[h] = n.Text
	}
	names, err := a.Auth.Names(ctx, p.Tenant)
	return map[string]any{"timeline": web.Timeline(events, r.URL.Query().Get("kind"), names, notes)}, err
}

// hashesIn collects what may be the hash of a note: 64 hex digits.
func hashesIn(v any, to []remedy.Note) []remedy.Note {
	switch x := v.(type) {
	case map[string]any:
		for _, e := range x {
			to = hashesIn(e, to)
		}
	case []any:
		for _, e := range x {
			to = hashesIn(e, to)
		}
	case string:
		if len(x) == 64 && strings.Trim(x, "0123456789abcdef") == "" {
			to = append(to, remedy.Note(x))
		}
	}
	return to
}
