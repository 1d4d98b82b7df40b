package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/web"
)

// operations are the operator's side of the API: users, tokens,
// ledger, backup and health. They stand in the one table of web.
func (a *App) operations() []web.Operation {
	return []web.Operation{
		web.Op("GET", "/api/v1/users", auth.Administer, "listUsers", "List users", a.listUsers),
		web.Op("POST", "/api/v1/users", auth.Administer, "addUser", "Add a user", a.addUser),
		web.Op("PATCH", "/api/v1/users/{id}", auth.Administer, "changeUser", "Change a user's roles or password, disable or enable her", a.changeUser),
		web.Op("GET", "/api/v1/tokens", auth.Administer, "listTokens", "List tokens without their secrets", a.listTokens),
		web.Op("POST", "/api/v1/tokens", auth.Administer, "addToken", "Make a token; its secret is shown only now", a.addToken),
		web.Op("DELETE", "/api/v1/tokens/{id}", auth.Administer, "revokeToken", "End a token at once", a.dropToken),
		web.Op("POST", "/api/v1/ledger/verify", auth.View, "verifyLedger", "Verify every chain, the tree and the signed checkpoints", a.verifyLedger),
		web.StreamOp("GET", "/api/v1/ledger/export", auth.Administer, "exportLedger", "Export the ledger as lines of JSON", "application/jsonl", a.exportLedger),
		web.Op("POST", "/api/v1/backup", auth.Administer, "backup", "Copy database and key into a new folder of the server's machine; from that machine only", a.backup),
		web.Op("GET", "/api/v1/cases/{id}/raw/{hash}", auth.Respond, "getRawRecord", "Show a raw record that is evidence of a case, secrets redacted; the ledger holds who looked", a.rawRecord),
		web.Op("GET", "/api/v1/retention", auth.View, "getRetention", "Tell what is kept beside the ledger, how much it takes and for how long", a.showRetention),
		web.Op("POST", "/api/v1/retention/prune", auth.Administer, "pruneRawRecords", "Remove what the retention policy lets go, or count it", a.pruneNow),
		web.Op("GET", "/api/v1/report", auth.View, "getReport", "Measure closure by risk class: times, promises, reopened, rejected", a.apiReport),
		web.Op("GET", "/api/v1/dead-letters", auth.View, "listDeadLetters", "List what failed too often and is tried every hour", a.listDead),
		web.Op("POST", "/api/v1/dead-letters/retry", auth.Respond, "retryDeadLetter", "Have a dead letter tried again now", a.retryDead),
		web.Op("GET", "/api/v1/health", auth.View, "getHealth", "Tell what the install is made of and how it fares", a.health),
	}
}

// badInput is what the sender got wrong.
func badInput(format string, args ...any) error {
	return &auth.InputError{Msg: fmt.Sprintf(format, args...)}
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

// userList is all users.
type userList struct {
	Users []userView `json:"users" nullable:"false"`
}

func (a *App) listUsers(ctx context.Context, p auth.Principal, _ *struct{}) (userList, error) {
	us, err := accounts{a.Store}.Users(ctx, p.Tenant)
	out := userList{make([]userView, len(us))}
	for i, u := range us {
		out.Users[i] = viewOf(u)
	}
	return out, err
}

// userIn is a user to add.
type userIn struct {
	Body struct {
		Name     string `json:"name"`
		Mail     string `json:"mail,omitempty" doc:"Joins the user to the people in the owners files."`
		Password string `json:"password" format:"password"`
		Roles    string `json:"roles" doc:"Separated by commas: viewer, responder, approver, admin, source."`
	}
}

func (a *App) addUser(ctx context.Context, p auth.Principal, in *userIn) (userView, error) {
	roles, err := auth.ParseRoles(in.Body.Roles)
	if err != nil {
		return userView{}, badInput("%v", err)
	}
	u, err := a.Auth.AddUser(ctx, p.Actor(), auth.User{Tenant: p.Tenant, Name: in.Body.Name, Mail: in.Body.Mail, Roles: roles}, in.Body.Password)
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

// userChange is what may change of a user; what is missing stays.
type userChange struct {
	ID   string `path:"id" doc:"The user's id or login name."`
	Body struct {
		Roles    *string `json:"roles,omitempty"`
		Disabled *bool   `json:"disabled,omitempty"`
		Password string  `json:"password,omitempty" format:"password"`
	}
}

func (a *App) changeUser(ctx context.Context, p auth.Principal, in *userChange) (userView, error) {
	u, err := a.userNamed(ctx, p.Tenant, in.ID)
	if err != nil {
		return userView{}, err
	}
	if in.Body.Roles != nil {
		if u.Roles, err = auth.ParseRoles(*in.Body.Roles); err != nil {
			return userView{}, badInput("%v", err)
		}
	}
	if in.Body.Disabled != nil {
		u.Disabled = *in.Body.Disabled
	}
	return viewOf(u), a.Auth.ChangeUser(ctx, p.Actor(), p.Tenant, u.ID, u.Roles, u.Disabled, in.Body.Password)
}

// tokenList is all tokens.
type tokenList struct {
	Tokens []auth.Token `json:"tokens" nullable:"false"`
}

func (a *App) listTokens(ctx context.Context, p auth.Principal, _ *struct{}) (tokenList, error) {
	ts, err := a.Store.Tokens(ctx, p.Tenant)
	out := tokenList{make([]auth.Token, len(ts))}
	for i, t := range ts {
		out.Tokens[i] = tokenOf(t)
	}
	return out, err
}

// tokenIn is a token to make.
type tokenIn struct {
	Body struct {
		User    string    `json:"user" doc:"Id or login name of the user it belongs to."`
		Name    string    `json:"name" doc:"What it is for."`
		Roles   string    `json:"roles" doc:"Separated by commas; only those the user has as well count."`
		Expires time.Time `json:"expires,omitzero" doc:"Never, if missing."`
	}
}

// newToken is a token with its secret.
type newToken struct {
	Secret string     `json:"secret"`
	Token  auth.Token `json:"token"`
}

func (a *App) addToken(ctx context.Context, p auth.Principal, in *tokenIn) (newToken, error) {
	u, err := a.userNamed(ctx, p.Tenant, in.Body.User)
	if err != nil {
		return newToken{}, err
	}
	roles, err := auth.ParseRoles(in.Body.Roles)
	if err != nil {
		return newToken{}, badInput("%v", err)
	}
	secret, t, err := a.Auth.IssueToken(ctx, p.Actor(), p.Tenant, u.ID, in.Body.Name, roles, in.Body.Expires)
	return newToken{secret, t}, err
}

func (a *App) dropToken(ctx context.Context, p auth.Principal, in *web.Named) (web.Revoked, error) {
	return web.Revoked{Revoked: in.ID}, a.Auth.RevokeToken(ctx, p.Actor(), p.Tenant, in.ID)
}
