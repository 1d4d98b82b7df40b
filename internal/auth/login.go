package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/casement/casement/internal/remedy"
)

// attempts is a rate of login attempts: a burst, then one per interval. By name
// it protects an account, by address the machine.
type attempts struct {
	burst int
	every time.Duration
}

func loginsPerName() attempts    { return attempts{10, time.Minute} }
func loginsPerAddress() attempts { return attempts{30, 10 * time.Second} }

// RetryError is ErrTooMany with the time to wait.
type RetryError struct{ After time.Duration }

// Error names the time to wait.
func (e *RetryError) Error() string {
	return fmt.Sprintf("too many attempts: try again in %d seconds", int(e.After.Seconds())+1)
}

// Unwrap makes it an ErrTooMany.
func (e *RetryError) Unwrap() error { return ErrTooMany }

// limiter counts attempts per key. It forgets keys that are full again.
type limiter struct {
	attempts
	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

// maxKeys bounds the memory of a limiter; beyond it the full ones are dropped.
const maxKeys = 10_000

func newLimiter(a attempts) *limiter { return &limiter{attempts: a, keys: map[string]*rate.Limiter{}} }

// take uses one attempt up; it returns how long to wait, 0 if it was allowed.
func (l *limiter) take(key string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.keys) >= maxKeys {
		for k, r := range l.keys {
			if r.TokensAt(now) >= float64(l.burst) {
				delete(l.keys, k)
			}
		}
		if len(l.keys) >= maxKeys {
			return l.every // an attack on very many names: all wait
		}
	}
	r := l.keys[key]
	if r == nil {
		r = rate.NewLimiter(rate.Every(l.every), l.burst)
		l.keys[key] = r
	}
	if r.AllowN(now, 1) {
		return 0
	}
	return l.every
}

// Login checks name and password and opens the request's session. address is
// the peer's IP. Errors: ErrCredentials, a *RetryError, or a fault of ours.
func (s *Service) Login(ctx context.Context, name, password, address string) (Principal, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	now := s.Now().UTC()
	if wait := max(s.byIP.take(address, now), s.byWho.take(HashSecret(name), now)); wait > 0 {
		return Principal{}, &RetryError{wait}
	}
	u, err := s.Accounts.UserByName(ctx, s.Tenant, name)
	known := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Principal{}, err
	}
	// Asked for by every login, so that the first unknown user takes no longer.
	stored, err := s.decoy()
	if err != nil {
		return Principal{}, err
	}
	if u.PasswordHash != "" {
		stored = u.PasswordHash
	}
	ok, stale, err := s.verify(ctx, stored, password)
	if err != nil {
		return Principal{}, err
	}
	if !ok || !known || u.PasswordHash == "" || u.Disabled {
		if known {
			err = s.audit(ctx, s.Tenant, "login_failed", systemActor(), map[string]any{"user": u.ID})
		}
		return Principal{}, errors.Join(ErrCredentials, err)
	}
	if stale {
		if u.PasswordHash, err = s.hash(ctx, password); err != nil {
			return Principal{}, err
		}
		if err := s.Accounts.PutUser(ctx, u); err != nil {
			return Principal{}, err
		}
	}
	p := Principal{ID: u.ID, Tenant: u.Tenant, Name: u.Name, Kind: Human, Roles: u.Roles}
	if err := s.audit(ctx, u.Tenant, "login", p.Actor(), map[string]any{"user": u.ID}); err != nil {
		return Principal{}, err
	}
	return p, s.begin(ctx, u)
}

// verify and hash wait for one of the places that bound the memory in use.
func (s *Service) verify(ctx context.Context, phc, password string) (ok, stale bool, err error) {
	if err := s.enter(ctx); err != nil {
		return false, false, err
	}
	defer s.leave()
	return VerifyPassword(phc, password, s.Password)
}

func (s *Service) hash(ctx context.Context, password string) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.leave()
	return HashPassword(password, s.Password)
}

func (s *Service) enter(ctx context.Context) error {
	select {
	case s.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) leave() { <-s.hashing }

// AddUser creates a user with a password.
func (s *Service) AddUser(ctx context.Context, by remedy.Actor, u User, password string) (User, error) {
	u.Name, u.Mail = strings.TrimSpace(u.Name), strings.TrimSpace(u.Mail)
	switch {
	case u.Name == "" || len(u.Name) > 100 || strings.ContainsAny(u.Name, " \t\r\n/,"):
		return u, &InputError{"the login name must have 1 to 100 characters without spaces, commas and slashes"}
	case len(u.Roles) == 0:
		return u, &InputError{"the user needs a role: viewer, responder, approver or admin"}
	}
	if err := CheckPassword(password); err != nil {
		return u, err
	}
	var err error
	if u.ID, err = newID("u-"); err != nil {
		return u, err
	}
	if u.PasswordHash, err = s.hash(ctx, password); err != nil {
		return u, err
	}
	u.CreatedAt = s.Now().UTC()
	if err := s.Accounts.PutUser(ctx, u); err != nil {
		return u, err
	}
	return u, s.audit(ctx, u.Tenant, "user_added", by, map[string]any{"user": u.ID, "roles": u.Roles})
}

// ChangeUser replaces roles and the disabled mark, and the password if one is
// given. A new password ends the user's sessions.
func (s *Service) ChangeUser(ctx context.Context, by remedy.Actor, tenant, id string, roles []Role, disabled bool, password string) error {
	u, err := s.Accounts.User(ctx, tenant, id)
	if err != nil {
		return err
	}
	if password != "" {
		if err := CheckPassword(password); err != nil {
			return err
		}
		if u.PasswordHash, err = s.hash(ctx, password); err != nil {
			return err
		}
	}
	u.Roles, u.Disabled = roles, disabled
	if err := s.Accounts.PutUser(ctx, u); err != nil {
		return err
	}
	return s.audit(ctx, tenant, "user_changed", by, map[string]any{"user": id, "roles": roles, "disabled": disabled, "password": password != ""})
}
