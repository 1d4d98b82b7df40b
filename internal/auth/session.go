package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/casement/casement/internal/remedy"
)

// sessionLife is how long a login lasts at most.
const sessionLife = 12 * time.Hour

// CookieName is the name of the session cookie.
const CookieName = "casement_session"

// The keys of session data.
const (
	keyUser  = "user"
	keyProof = "proof"
)

// newSessions is built by hand: scs.New would start the goroutine of its
// in-memory store.
func newSessions(st Sessions, secure bool) *scs.SessionManager {
	m := &scs.SessionManager{Lifetime: sessionLife, Store: sessionStore{st}, Codec: scs.GobCodec{}, HashTokenInStore: true}
	m.Cookie = scs.SessionCookie{Name: CookieName, HttpOnly: true, Path: "/", SameSite: http.SameSiteLaxMode, Secure: secure, Persist: true}
	m.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.Header().Set("Retry-After", "2")
		http.Error(w, "the session can't be read or stored now; try again", http.StatusServiceUnavailable)
	}
	return m
}

// sessionStore is Sessions as scs wants it.
type sessionStore struct{ Sessions }

// Find looks a session up without a deadline.
func (s sessionStore) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit stores a session without a deadline.
func (s sessionStore) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete removes a session without a deadline.
func (s sessionStore) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }

// FindCtx looks a session up.
func (s sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	return s.Session(ctx, token)
}

// CommitCtx stores a session.
func (s sessionStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	return s.PutSession(ctx, token, b, expiry)
}

// DeleteCtx removes a session.
func (s sessionStore) DeleteCtx(ctx context.Context, token string) error {
	return s.DropSession(ctx, token)
}

// proof binds a session to the password it was opened with: a new password
// ends all sessions of the user.
func proof(u User) string { return HashSecret("session\x00" + u.ID + "\x00" + u.PasswordHash)[:16] }

// begin puts the user into the request's session under a new id, so that an id
// planted before the login is worth nothing.
func (s *Service) begin(ctx context.Context, u User) error {
	if err := s.Web.RenewToken(ctx); err != nil {
		return err
	}
	s.Web.Put(ctx, keyUser, u.ID)
	s.Web.Put(ctx, keyProof, proof(u))
	return nil
}

// Logout ends the session of the request.
func (s *Service) Logout(ctx context.Context) error {
	p, err := s.sessionPrincipal(ctx)
	if err != nil {
		return err
	}
	if err := s.Web.Destroy(ctx); err != nil {
		return err
	}
	if p.ID == "" {
		return nil
	}
	return s.audit(ctx, p.Tenant, "logout", p.Actor(), map[string]any{"user": p.ID})
}

// sessionPrincipal is who the loaded session speaks for; roles are read anew at
// every request.
func (s *Service) sessionPrincipal(ctx context.Context) (Principal, error) {
	id := s.Web.GetString(ctx, keyUser)
	if id == "" {
		return Principal{}, nil
	}
	u, err := s.Accounts.User(ctx, s.Tenant, id)
	if errors.Is(err, ErrNotFound) {
		return Principal{}, nil
	}
	if err != nil {
		return Principal{}, err
	}
	if u.Disabled || s.Web.GetString(ctx, keyProof) != proof(u) {
		return Principal{}, nil
	}
	return Principal{ID: u.ID, Tenant: u.Tenant, Name: u.Name, Kind: Human, Roles: u.Roles}, nil
}

// systemActor is who the ledger names where nobody is logged in yet.
func systemActor() remedy.Actor { return remedy.Actor{Kind: remedy.System, ID: "auth"} }
