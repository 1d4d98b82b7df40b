package auth

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// setupLife is how long the set-up link is good for.
const setupLife = 30 * time.Minute

// setupKey is the setting under which the link's hash is kept.
const setupKey = "auth.setup"

type setupLink struct {
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

// SetUp reports whether there is any user yet.
func (s *Service) SetUp(ctx context.Context) (bool, error) {
	us, err := s.Accounts.Users(ctx, s.Tenant)
	return len(us) > 0, err
}

// NewSetupLink returns the secret of a fresh one-time link (the value of the
// parameter "token" of /setup), good for 30 minutes; an older one is void, also
// that of another node which starts at the same time. ErrSetUp when there are
// users already.
func (s *Service) NewSetupLink(ctx context.Context) (string, error) {
	secret, err := newID("setup-")
	if err != nil {
		return "", err
	}
	value, err := json.Marshal(setupLink{HashSecret(secret), s.Now().UTC().Add(setupLife)})
	if err != nil {
		return "", err
	}
	for {
		if done, err := s.SetUp(ctx); err != nil || done {
			return "", cmp.Or(err, ErrSetUp)
		}
		old, err := s.Values.Setting(ctx, s.Tenant, setupKey)
		if errors.Is(err, record.ErrNotFound) {
			old, err = nil, nil // the first link
		}
		if err == nil {
			err = s.Values.CompareAndSetSetting(ctx, s.Tenant, setupKey, old, value)
		}
		if err == nil {
			return secret, nil
		}
		if !errors.Is(err, record.ErrConflict) {
			return "", fmt.Errorf("store the set-up link: %w", err)
		}
	}
}

// CheckSetupLink says whether the link is good, without using it up.
func (s *Service) CheckSetupLink(ctx context.Context, secret string) error {
	_, err := s.setupValue(ctx, secret)
	return err
}

// setupValue returns the stored value of a link that is good.
func (s *Service) setupValue(ctx context.Context, secret string) ([]byte, error) {
	if done, err := s.SetUp(ctx); err != nil || done {
		if err == nil {
			err = ErrSetUp
		}
		return nil, err
	}
	value, err := s.Values.Setting(ctx, s.Tenant, setupKey)
	if err != nil {
		return nil, ErrLink
	}
	var l setupLink
	if err := json.Unmarshal(value, &l); err != nil {
		return nil, ErrLink
	}
	if subtle.ConstantTimeCompare([]byte(l.Hash), []byte(HashSecret(secret))) != 1 || !s.Now().Before(l.Expires) {
		return nil, ErrLink
	}
	return value, nil
}

// FirstAdmin uses the link up, creates the first administrator and opens her
// session. The link is void from the instant it was used, even if the rest
// fails: then a restart prints a new one.
func (s *Service) FirstAdmin(ctx context.Context, secret, name, mail, password string) (User, error) {
	if err := CheckPassword(password); err != nil {
		return User{}, err
	}
	value, err := s.setupValue(ctx, secret)
	if err != nil {
		return User{}, err
	}
	if err := s.Values.CompareAndSetSetting(ctx, s.Tenant, setupKey, value, nil); err != nil {
		return User{}, ErrLink // somebody else was faster
	}
	u, err := s.AddUser(ctx, remedy.Actor{Kind: remedy.System, ID: "setup"}, User{Tenant: s.Tenant, Name: name, Mail: mail, Roles: []Role{RoleAdmin}}, password)
	if err != nil {
		// Nothing was created: the person at the screen may mend her entry.
		if back := s.Values.CompareAndSetSetting(ctx, s.Tenant, setupKey, nil, value); back != nil {
			return u, fmt.Errorf("%w (and the link is used up: restart for a new one)", err)
		}
		return u, err
	}
	return u, s.begin(ctx, u)
}
