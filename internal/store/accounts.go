package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/recent"
	"github.com/casement/casement/internal/record"
)

// User is a local account. Events name it by ID; name and mail live only here.
type User struct {
	ID, Tenant, Name, Mail string
	Roles                  []string
	// PasswordHash is in the encoded form of its algorithm, "" for none.
	PasswordHash string
	Disabled     bool
	CreatedAt    time.Time
}

// Token is an API token; only its hash is stored.
type Token struct {
	// ID names the token in lists and events, Hash is what is looked up.
	ID, Hash, Tenant string
	UserID, Name     string
	Roles            []string
	CreatedAt        time.Time
	// ExpiresAt is zero for a token without end; UsedAt zero if never used.
	ExpiresAt, UsedAt time.Time
}

// logins remembers the users and tokens that senders of alerts come with: each
// request asks for both. Any change of an account forgets all of them, before
// the one who changed it is answered.
type logins struct {
	mu      sync.Mutex
	changes uint64
	users   recent.Values[string, User]
	tokens  recent.Values[string, Token]
}

// usersOf and tokensOf are nil for a store that remembers nothing.
func (l *logins) usersOf() *recent.Values[string, User] {
	if l == nil {
		return nil
	}
	return &l.users
}

func (l *logins) tokensOf() *recent.Values[string, Token] {
	if l == nil {
		return nil
	}
	return &l.tokens
}

// rememberedLogins bounds each of the two.
const rememberedLogins = 256

// lookUp returns a remembered value or reads it. A value read while an account
// changed is not remembered.
func lookUp[V any](l *logins, values *recent.Values[string, V], key string, read func() (V, error)) (V, error) {
	if l == nil {
		return read()
	}
	l.mu.Lock()
	v, ok := values.Get(key)
	changes := l.changes
	l.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := read()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.changes == changes {
		values.Set(key, v)
	}
	return v, err
}

// putAccount writes a change of accounts.
func (s *tables) putAccount(ctx context.Context, p part) error {
	err := s.db.put(ctx, p)
	if s.logins == nil {
		return err
	}
	s.logins.mu.Lock()
	defer s.logins.mu.Unlock()
	s.logins.changes++
	s.logins.users.Forget()
	s.logins.tokens.Forget()
	return err
}

const userColumns = "id, tenant, name, mail, roles, password_hash, disabled, created_at"

// PutUser creates or replaces a user by id; ErrExists if the name belongs to
// another one.
func (s *tables) PutUser(ctx context.Context, u User) error {
	if u.ID == "" || u.Tenant == "" || u.Name == "" {
		return fmt.Errorf("%w user: id, tenant and name are needed", ErrInvalid)
	}
	return s.putAccount(ctx, func(w *writer) error {
		_, err := w.exec(`INSERT INTO "user" (id, tenant, name, mail, roles, password_hash, disabled, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, mail = excluded.mail, roles = excluded.roles, password_hash = excluded.password_hash, disabled = excluded.disabled`,
			u.ID, u.Tenant, u.Name, u.Mail, jsonText(u.Roles), u.PasswordHash, u.Disabled, nanos(u.CreatedAt))
		if isUnique(err) {
			return fmt.Errorf("user %s %w", u.Name, ErrExists)
		}
		return err
	})
}

// User returns a user by id, or ErrNotFound.
func (s *tables) User(ctx context.Context, id string) (User, error) {
	return lookUp(s.logins, s.logins.usersOf(), id, func() (User, error) {
		return s.user(ctx, id, "SELECT "+userColumns+" FROM \"user\" WHERE id = ?", id)
	})
}

// UserByName returns a user of a tenant by name, or ErrNotFound.
func (s *tables) UserByName(ctx context.Context, tenant, name string) (User, error) {
	return s.user(ctx, name, "SELECT "+userColumns+" FROM \"user\" WHERE tenant = ? AND name = ?", tenant, name)
}

func (s *tables) user(ctx context.Context, what, text string, args ...any) (User, error) {
	var list []User
	err := s.db.reads(ctx, func(q querier) error {
		return q.each(func(row scanner) error { return scanUser(row, &list) }, text, args...)
	})
	if err == nil && len(list) == 0 {
		err = record.ErrNotFound
	}
	if err != nil {
		return User{}, fmt.Errorf("user %s: %w", what, err)
	}
	return list[0], nil
}

// Users returns the users of a tenant by name.
func (s *tables) Users(ctx context.Context, tenant string) ([]User, error) {
	var list []User
	err := s.db.each(ctx, func(row scanner) error { return scanUser(row, &list) }, "SELECT "+userColumns+" FROM \"user\" WHERE tenant = ? ORDER BY name", tenant)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	return list, nil
}

func scanUser(row scanner, list *[]User) error {
	var u User
	var roles string
	var created int64
	if err := row.Scan(&u.ID, &u.Tenant, &u.Name, &u.Mail, &roles, &u.PasswordHash, &u.Disabled, &created); err != nil {
		return err
	}
	u.CreatedAt = instant(created)
	*list = append(*list, u)
	return json.Unmarshal([]byte(roles), &(*list)[len(*list)-1].Roles)
}

// DeleteUser removes a user with its tokens. Events that name its id stay.
func (s *tables) DeleteUser(ctx context.Context, id string) error {
	return s.putAccount(ctx, func(w *writer) error {
		if _, err := w.exec("DELETE FROM token WHERE user_id = ?", id); err != nil {
			return err
		}
		return w.must("user "+id, "DELETE FROM \"user\" WHERE id = ?", id)
	})
}

// must runs a statement that has to change a row; ErrNotFound otherwise.
func (w *writer) must(what, text string, args ...any) error {
	n, err := w.exec(text, args...)
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: %w", what, record.ErrNotFound)
	}
	return err
}

const tokenColumns = "hash, tenant, id, user_id, name, roles, created_at, expires_at, used_at"

// PutToken stores a new token.
func (s *tables) PutToken(ctx context.Context, t Token) error {
	if t.ID == "" || t.Hash == "" || t.Tenant == "" {
		return fmt.Errorf("%w token: id, hash and tenant are needed", ErrInvalid)
	}
	return s.putAccount(ctx, func(w *writer) error {
		_, err := w.exec("INSERT INTO token ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
			t.Hash, t.Tenant, t.ID, t.UserID, t.Name, jsonText(t.Roles), nanos(t.CreatedAt), nanos(t.ExpiresAt), nanos(t.UsedAt))
		if isUnique(err) {
			return fmt.Errorf("token %s %w", t.ID, ErrExists)
		}
		return err
	})
}

// TokenByHash returns the token with a hash, expired or not, or ErrNotFound.
func (s *tables) TokenByHash(ctx context.Context, hash string) (Token, error) {
	return lookUp(s.logins, s.logins.tokensOf(), hash, func() (Token, error) { return s.tokenByHash(ctx, hash) })
}

func (s *tables) tokenByHash(ctx context.Context, hash string) (Token, error) {
	var list []Token
	err := s.db.reads(ctx, func(q querier) error {
		return q.each(func(row scanner) error { return scanToken(row, &list) }, "SELECT "+tokenColumns+" FROM token WHERE hash = ?", hash)
	})
	if err == nil && len(list) == 0 {
		err = record.ErrNotFound
	}
	if err != nil {
		return Token{}, fmt.Errorf("token: %w", err)
	}
	return list[0], nil
}

// Tokens returns the tokens of a tenant, oldest first.
func (s *tables) Tokens(ctx context.Context, tenant string) ([]Token, error) {
	var list []Token
	err := s.db.each(ctx, func(row scanner) error { return scanToken(row, &list) }, "SELECT "+tokenColumns+" FROM token WHERE tenant = ? ORDER BY created_at, id", tenant)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	return list, nil
}

func scanToken(row scanner, list *[]Token) error {
	var t Token
	var roles string
	var created, expires, used int64
	if err := row.Scan(&t.Hash, &t.Tenant, &t.ID, &t.UserID, &t.Name, &roles, &created, &expires, &used); err != nil {
		return err
	}
	t.CreatedAt, t.ExpiresAt, t.UsedAt = instant(created), instant(expires), instant(used)
	*list = append(*list, t)
	return json.Unmarshal([]byte(roles), &(*list)[len(*list)-1].Roles)
}

// TokenUsed records the last use of a token. Call it at most once a minute per
// token: it costs a sync.
func (s *tables) TokenUsed(ctx context.Context, id string, at time.Time) error {
	return s.putAccount(ctx, func(w *writer) error {
		return w.must("token "+id, "UPDATE token SET used_at = CASE WHEN used_at < ?1 THEN ?1 ELSE used_at END WHERE id = ?2", nanos(at), id)
	})
}

// DeleteToken removes a token by id.
func (s *tables) DeleteToken(ctx context.Context, tenant, id string) error {
	return s.putAccount(ctx, func(w *writer) error {
		return w.must("token "+id, "DELETE FROM token WHERE tenant = ? AND id = ?", tenant, id)
	})
}

// Sessions keeps browser sessions; it has the methods of scs.CtxStore. Now
// tells which sessions have expired.
type Sessions struct {
	store *tables
	now   func() time.Time
}

// Sessions returns the session store that reads the time from now.
func (s *tables) Sessions(now func() time.Time) *Sessions { return &Sessions{s, now} }

// Find is FindCtx without a context.
func (x *Sessions) Find(token string) ([]byte, bool, error) {
	return x.FindCtx(context.Background(), token)
}

// FindCtx returns the data of a session that has not expired.
func (x *Sessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	var b []byte
	err := x.store.db.one(ctx, []any{&b}, "SELECT data FROM session WHERE token = ? AND expiry > ?", token, nanos(x.now()))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read session: %w", err)
	}
	return b, true, nil
}

// Commit is CommitCtx without a context.
func (x *Sessions) Commit(token string, b []byte, expiry time.Time) error {
	return x.CommitCtx(context.Background(), token, b, expiry)
}

// CommitCtx stores a session and sweeps out expired ones.
func (x *Sessions) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	now := nanos(x.now())
	return x.store.db.put(ctx, func(w *writer) error {
		if _, err := w.exec("DELETE FROM session WHERE expiry <= ?", now); err != nil {
			return err
		}
		_, err := w.exec("INSERT INTO session (token, tenant, data, expiry) VALUES (?, ?, ?, ?) ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry",
			token, finding.DefaultTenant, b, nanos(expiry))
		return err
	})
}

// Delete is DeleteCtx without a context.
func (x *Sessions) Delete(token string) error { return x.DeleteCtx(context.Background(), token) }

// DeleteCtx ends a session; one that does not exist is no error.
func (x *Sessions) DeleteCtx(ctx context.Context, token string) error {
	return x.store.db.put(ctx, func(w *writer) error {
		_, err := w.exec("DELETE FROM session WHERE token = ?", token)
		return err
	})
}

// AllCtx returns all sessions that have not expired, by token: to end those of
// a user who was disabled.
func (x *Sessions) AllCtx(ctx context.Context) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := x.store.db.each(ctx, func(row scanner) error {
		var token string
		var b []byte
		err := row.Scan(&token, &b)
		out[token] = b
		return err
	}, "SELECT token, data FROM session WHERE expiry > ?", nanos(x.now()))
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return out, nil
}
