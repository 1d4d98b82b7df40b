// Package authtest keeps accounts, sessions and links in memory, for tests of
// what stands on package auth.
package authtest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Memory satisfies auth.Accounts, auth.Sessions, auth.Values and auth.Audit.
type Memory struct {
	mu       sync.Mutex
	users    map[string]auth.User
	tokens   map[string]auth.Token
	sessions map[string]session
	values   map[string][]byte
	events   []Event
}

type session struct {
	data   []byte
	expiry time.Time
}

// Event is one record of the stream "principal".
type Event struct {
	Tenant, Type string
	By           remedy.Actor
	Body         string
}

// New returns an empty memory.
func New() *Memory {
	return &Memory{users: map[string]auth.User{}, tokens: map[string]auth.Token{}, sessions: map[string]session{}, values: map[string][]byte{}}
}

// Service returns an auth service on m with cheap password hashing.
func (m *Memory) Service(now func() time.Time, d auth.Directory) *auth.Service {
	s, err := auth.New(auth.Config{Accounts: m, Sessions: m, Values: m, Audit: m, Directory: d, Tenant: "default", Now: now,
		Password: auth.PasswordParams{Memory: 64, Passes: 1, Lanes: 1}})
	if err != nil {
		panic(err) // no randomness on the test machine
	}
	return s
}

// User returns a user by id.
func (m *Memory) User(_ context.Context, tenant, id string) (auth.User, error) {
	return m.find(func(u auth.User) bool { return u.Tenant == tenant && u.ID == id })
}

// UserByName returns a user by login name.
func (m *Memory) UserByName(_ context.Context, tenant, name string) (auth.User, error) {
	return m.find(func(u auth.User) bool { return u.Tenant == tenant && strings.EqualFold(u.Name, name) })
}

func (m *Memory) find(f func(auth.User) bool) (auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if f(u) {
			return u, nil
		}
	}
	return auth.User{}, auth.ErrNotFound
}

// Users returns the users of a tenant by name.
func (m *Memory) Users(_ context.Context, tenant string) ([]auth.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []auth.User
	for _, u := range m.users {
		if u.Tenant == tenant {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b auth.User) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// PutUser stores a user.
func (m *Memory) PutUser(_ context.Context, u auth.User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.users {
		if o.Tenant == u.Tenant && o.ID != u.ID && strings.EqualFold(o.Name, u.Name) {
			return auth.ErrTaken
		}
	}
	m.users[u.ID] = u
	return nil
}

// TokenByHash returns a token.
func (m *Memory) TokenByHash(_ context.Context, hash string) (auth.Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tokens[hash]
	if !ok {
		return t, auth.ErrNotFound
	}
	return t, nil
}

// PutToken stores a token.
func (m *Memory) PutToken(_ context.Context, t auth.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens[t.Hash] = t
	return nil
}

// DropToken removes a token.
func (m *Memory) DropToken(_ context.Context, tenant, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for h, t := range m.tokens {
		if t.Tenant == tenant && t.ID == id {
			delete(m.tokens, h)
			return nil
		}
	}
	return auth.ErrNotFound
}

// Session returns session data.
func (m *Memory) Session(_ context.Context, token string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[token]
	return s.data, ok && time.Now().Before(s.expiry), nil
}

// PutSession stores session data.
func (m *Memory) PutSession(_ context.Context, token string, data []byte, expiry time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[token] = session{data, expiry}
	return nil
}

// DropSession removes session data.
func (m *Memory) DropSession(_ context.Context, token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, token)
	return nil
}

// Setting returns a value.
func (m *Memory) Setting(_ context.Context, tenant, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[tenant+"/"+key]
	if !ok {
		return nil, record.ErrNotFound
	}
	return v, nil
}

// CompareAndSetSetting replaces a value.
func (m *Memory) CompareAndSetSetting(_ context.Context, tenant, key string, old, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.values[tenant+"/"+key]
	if ok != (old != nil) || string(have) != string(old) {
		return record.ErrConflict
	}
	if value == nil {
		delete(m.values, tenant+"/"+key)
		return nil
	}
	m.values[tenant+"/"+key] = value
	return nil
}

// Principal records an event.
func (m *Memory) Principal(_ context.Context, tenant, typ string, by remedy.Actor, body []byte, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, Event{tenant, typ, by, string(body)})
	return nil
}

// Events returns what was recorded.
func (m *Memory) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// SessionKeys returns the stored session tokens.
func (m *Memory) SessionKeys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for k := range m.sessions {
		out = append(out, k)
	}
	return out
}
