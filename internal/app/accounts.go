package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// accounts join the store's rows to what auth needs.
type accounts struct{ Store }

func authErr(err error) error {
	switch {
	case errors.Is(err, record.ErrNotFound):
		return auth.ErrNotFound
	case errors.Is(err, store.ErrExists):
		return auth.ErrTaken
	}
	return err
}

func rolesOf(words []string) []auth.Role {
	out := make([]auth.Role, 0, len(words))
	for _, w := range words {
		out = append(out, auth.Role(w))
	}
	return out
}

func wordsOf(roles []auth.Role) []string {
	out := make([]string, 0, len(roles))
	for _, r := range roles {
		out = append(out, string(r))
	}
	return out
}

func userOf(u store.User) auth.User {
	return auth.User{ID: u.ID, Tenant: u.Tenant, Name: u.Name, Mail: u.Mail, Roles: rolesOf(u.Roles), PasswordHash: u.PasswordHash,
		Disabled: u.Disabled, CreatedAt: u.CreatedAt}
}

func tokenOf(t store.Token) auth.Token {
	return auth.Token{Hash: t.Hash, ID: t.ID, Tenant: t.Tenant, UserID: t.UserID, Name: t.Name, Roles: rolesOf(t.Roles),
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}
}

// User implements auth.Accounts.
func (a accounts) User(ctx context.Context, tenant, id string) (auth.User, error) {
	u, err := a.Store.User(ctx, id)
	if err == nil && u.Tenant != tenant {
		err = record.ErrNotFound
	}
	return userOf(u), authErr(err)
}

// UserByName implements auth.Accounts.
func (a accounts) UserByName(ctx context.Context, tenant, name string) (auth.User, error) {
	u, err := a.Store.UserByName(ctx, tenant, strings.ToLower(name))
	return userOf(u), authErr(err)
}

// Users implements auth.Accounts.
func (a accounts) Users(ctx context.Context, tenant string) ([]auth.User, error) {
	us, err := a.Store.Users(ctx, tenant)
	out := make([]auth.User, 0, len(us))
	for _, u := range us {
		out = append(out, userOf(u))
	}
	return out, err
}

// PutUser implements auth.Accounts.
func (a accounts) PutUser(ctx context.Context, u auth.User) error {
	return authErr(a.Store.PutUser(ctx, store.User{ID: u.ID, Tenant: u.Tenant, Name: strings.ToLower(u.Name), Mail: u.Mail, Roles: wordsOf(u.Roles),
		PasswordHash: u.PasswordHash, Disabled: u.Disabled, CreatedAt: u.CreatedAt}))
}

// TokenByHash implements auth.Accounts.
func (a accounts) TokenByHash(ctx context.Context, hash string) (auth.Token, error) {
	t, err := a.Store.TokenByHash(ctx, hash)
	return tokenOf(t), authErr(err)
}

// PutToken implements auth.Accounts.
func (a accounts) PutToken(ctx context.Context, t auth.Token) error {
	return authErr(a.Store.PutToken(ctx, store.Token{ID: t.ID, Hash: t.Hash, Tenant: t.Tenant, UserID: t.UserID, Name: t.Name,
		Roles: wordsOf(t.Roles), CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}))
}

// DropToken implements auth.Accounts.
func (a accounts) DropToken(ctx context.Context, tenant, id string) error {
	return authErr(a.DeleteToken(ctx, tenant, id))
}

// Session implements auth.Sessions.
func (a accounts) Session(ctx context.Context, token string) ([]byte, bool, error) {
	return a.Sessions(a.Now).FindCtx(ctx, token)
}

// PutSession implements auth.Sessions.
func (a accounts) PutSession(ctx context.Context, token string, data []byte, expiry time.Time) error {
	return a.Sessions(a.Now).CommitCtx(ctx, token, data, expiry)
}

// DropSession implements auth.Sessions.
func (a accounts) DropSession(ctx context.Context, token string) error {
	return a.Sessions(a.Now).DeleteCtx(ctx, token)
}

// Principal implements auth.Audit.
func (a accounts) Principal(ctx context.Context, tenant, typ string, by remedy.Actor, body []byte, at time.Time) error {
	_, err := a.AppendEvent(ctx, store.StreamEvent{Tenant: tenant, Stream: store.StreamPrincipal, Type: typ, Schema: 1, At: at, By: by, Body: body})
	return err
}
