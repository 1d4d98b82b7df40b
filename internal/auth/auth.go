// Package auth is principals: local users, API tokens, roles, sessions, the
// one-time set-up link, and who is entitled to approve an action.
//
// It may import remedy and the lower floors, and libraries for hashing,
// sessions and rate limits; never the engine, the store or a connector: it
// declares the stores it needs. It starts no goroutine. Invariants: a request
// without a valid session or token has no principal; deny is the default, one
// static table says what a role may do; a token is never a human, so it never
// approves; passwords are kept as argon2id, tokens and links as SHA-256, and
// none of them is ever logged or shown again; a disabled user has no rights
// from the next request on; an unknown user costs as much time as a known one.
package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/casement/casement/internal/remedy"
)

// Errors of this package. Their texts may be shown to the person at the door.
var (
	// ErrNotFound is what an account store returns for a missing user or token.
	ErrNotFound = errors.New("no such user or token")
	// ErrTaken is what an account store returns for a name that is in use.
	ErrTaken = errors.New("the name is taken")
	// ErrCredentials: name and password do not fit, whatever the reason is.
	ErrCredentials = errors.New("name or password is wrong")
	// ErrTooMany: too many attempts; see RetryError for how long to wait.
	ErrTooMany = errors.New("too many attempts")
	// ErrToken: the bearer token is malformed, unknown, expired or revoked.
	ErrToken = errors.New("the token is unknown, expired or revoked")
	// ErrLink: the set-up link is unknown, used or older than 30 minutes.
	ErrLink = errors.New("the set-up link is wrong, used or expired")
	// ErrSetUp: there are users already, nothing is to be set up.
	ErrSetUp = errors.New("casement is set up already")
)

// User is a local account. ID is opaque and stable: it is what events name.
type User struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Name is the login name; unique in the tenant.
	Name  string `json:"name"`
	Mail  string `json:"mail,omitempty"`
	Roles []Role `json:"roles"`
	// PasswordHash is an argon2id PHC string, "" for no password login.
	PasswordHash string    `json:"-"`
	Disabled     bool      `json:"disabled,omitempty"`
	CreatedAt    time.Time `json:"created_at"`
}

// Token is an API token without its secret.
type Token struct {
	// Hash is the hex SHA-256 of the token.
	Hash   string `json:"-"`
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// UserID owns the token: its rights end with the owner's.
	UserID string `json:"user_id"`
	Name   string `json:"name"`
	// Roles of the token; only those the owner has as well count.
	Roles     []Role    `json:"roles"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt ends the token; zero for never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Accounts keeps users and tokens. Lookups of missing rows return ErrNotFound.
type Accounts interface {
	User(ctx context.Context, tenant, id string) (User, error)
	// UserByName looks a login name up, ignoring the case of ASCII letters.
	UserByName(ctx context.Context, tenant, name string) (User, error)
	// Users returns all users of a tenant by name.
	Users(ctx context.Context, tenant string) ([]User, error)
	// PutUser inserts or replaces by ID; ErrTaken when another has the name.
	PutUser(ctx context.Context, u User) error
	// TokenByHash looks a token up in all tenants.
	TokenByHash(ctx context.Context, hash string) (Token, error)
	PutToken(ctx context.Context, t Token) error
	// DropToken revokes by tenant and id.
	DropToken(ctx context.Context, tenant, id string) error
}

// Sessions keeps session data by the hash of the session token.
type Sessions interface {
	// Session returns the data, found false if there is none or it expired.
	Session(ctx context.Context, token string) (data []byte, found bool, err error)
	PutSession(ctx context.Context, token string, data []byte, expiry time.Time) error
	DropSession(ctx context.Context, token string) error
}

// Values keeps the one-time link: record.ErrNotFound if there is none. old nil
// means "is missing", value nil "delete"; a mismatch is record.ErrConflict.
type Values interface {
	Setting(ctx context.Context, tenant, key string) ([]byte, error)
	CompareAndSetSetting(ctx context.Context, tenant, key string, old, value []byte) error
}

// Audit appends to the ledger's stream "principal". body is JSON and holds
// ids, never names, passwords or tokens.
type Audit interface {
	Principal(ctx context.Context, tenant, typ string, by remedy.Actor, body []byte, at time.Time) error
}

// Directory knows teams and delegations, from the owners' catalog.
type Directory interface {
	// Teams are all names of the teams a person belongs to. person is one of
	// the names the account is known by (id, login name, mail).
	Teams(person string) []string
	// ActsFor are the people and teams that delegated to the person at at.
	ActsFor(person string, at time.Time) []string
}

// Config wires a Service. Accounts, Sessions, Values and Now are required.
type Config struct {
	Accounts Accounts
	Sessions Sessions
	Values   Values
	// Audit may be nil: then nothing is recorded (tests).
	Audit Audit
	// Directory may be nil: then nobody is in a team or a delegate.
	Directory Directory
	// Tenant of people who log in by name and password.
	Tenant string
	// Secure marks the session cookie for HTTPS only; set it when the address
	// of the pages is https.
	Secure bool
	Now    func() time.Time
	// Password sets the cost of hashing; zero for the default.
	Password PasswordParams
	// Local is a token that is valid without being stored: the one of the data
	// folder's 0600 file, by which the command line on the same machine speaks
	// to the server. "" for none. It has the role admin and is no human.
	Local string
}

// Service answers who somebody is and what she may do. All methods may be
// called concurrently.
type Service struct {
	Config
	// Web loads and saves the session of a request (its LoadAndSave).
	Web   *scs.SessionManager
	byWho *limiter
	byIP  *limiter
	// hashing bounds the memory that concurrent logins may take: to one hash, which
	// has lanes for two processors.
	hashing chan struct{}
	// decoy is checked for unknown users; made at the first login, not at start,
	// because it takes as long as a login.
	decoy func() (string, error)
}

// New returns a service.
func New(c Config) (*Service, error) {
	if c.Password == (PasswordParams{}) {
		c.Password = DefaultPasswordParams()
	}
	decoy := sync.OnceValues(func() (string, error) { return HashPassword("a password that nobody has", c.Password) })
	s := &Service{Config: c, decoy: decoy, hashing: make(chan struct{}, 1)}
	s.byWho, s.byIP = newLimiter(loginsPerName()), newLimiter(loginsPerAddress())
	s.Web = newSessions(c.Sessions, c.Secure)
	return s, nil
}

// LocalID is the principal id of the command line on the same machine.
const LocalID = "local-admin"

// InputError is what is wrong with a name, role or password somebody entered.
type InputError struct{ Msg string }

// Error returns the message, made for the person who entered it.
func (e *InputError) Error() string { return e.Msg }
