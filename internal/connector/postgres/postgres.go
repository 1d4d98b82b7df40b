// Package postgres is the connector to a PostgreSQL server: it takes the login
// of a role away and ends the sessions the role holds, and proves it by trying
// to log in.
//
// It may import connector, remedy and finding. Invariants: a role is changed
// only from the attributes the plan was made from; NOLOGIN is committed before
// sessions are ended, so that none can begin between; every call is one
// connection of its own, whose application_name and statements carry the case
// id; PG* variables and password files of the environment are not read.
//
// ALTER ROLE knows no condition: a change by somebody else in the milliseconds
// between our read and our write, within one transaction, is overwritten.
package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one connector. Secrets are values, resolved by the caller.
type Config struct {
	// Name is the connector's name, "postgres" if empty.
	Name string
	// Address is host:port, Database the database to connect to ("postgres" if
	// empty).
	Address, Database string
	// User and Password are the connector's own login.
	User, Password string
	// Logins are passwords of roles by role name: the probe tries them.
	Logins map[string]string
	// Keep are roles of Logins that must go on logging in.
	Keep []string
	// Plaintext connects without TLS; else the server's certificate is
	// verified against RootCAs, or the system's where that is nil.
	Plaintext bool
	RootCAs   *x509.CertPool
	// Place names where the probe looks from, "casement" if empty.
	Place   string
	Network connector.Network
	// Timeout bounds connecting; 10 s if zero.
	Timeout time.Duration
}

// The verbs.
const (
	VerbRevoke = "revoke-login"
	VerbLogin  = "login"
	VerbOthers = "others-login"
)

// Connector is the PostgreSQL connector. It is safe for concurrent use.
type Connector struct {
	cfg  Config
	host string
	port uint16
}

// New checks the configuration and returns the connector. Nothing is dialled.
func New(cfg Config) (*Connector, error) {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&cfg.Name, "postgres")
	def(&cfg.Place, "casement")
	def(&cfg.Database, "postgres")
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	c := &Connector{cfg: cfg}
	host, port, err := net.SplitHostPort(cfg.Address)
	n, nerr := strconv.ParseUint(port, 10, 16)
	if err != nil || nerr != nil || host == "" || n == 0 {
		say("address: want host:port, like db.internal:5432")
	}
	c.host, c.port = host, uint16(n)
	if cfg.User == "" || cfg.Password == "" {
		say("user and secret password: both must be given")
	}
	for _, role := range slices.Sorted(maps.Keys(cfg.Logins)) {
		if cfg.Logins[role] == "" {
			say("logins.%s: the secret with its password is missing", role)
		}
	}
	for _, role := range cfg.Keep {
		if cfg.Logins[role] == "" {
			say("keep: the password of %s is not in logins, so nothing can be tried", role)
		}
	}
	return c, errors.Join(errs...)
}

// Secrets returns what must never be shown, for the redactor.
func (c *Connector) Secrets() []string {
	return append(slices.Collect(maps.Values(c.cfg.Logins)), c.cfg.Password)
}

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg.Name) }

// Describe is the Spec of a connector of that name, before there is one.
func Describe(name string) connector.Spec {
	role := []connector.Param{{Name: "role", Description: "name of the role; by default the asset's name, or the last part of its uid"}}
	return connector.Spec{
		Name: name, Title: "PostgreSQL roles",
		Actions: []connector.ActionSpec{
			{Verb: VerbRevoke, Description: "Take the login of a role away and end the sessions it holds; what the role owns and grants stays",
				Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Permissions: []string{"CREATEROLE (from PostgreSQL 16 on also ADMIN OPTION on the role)", "membership in pg_signal_backend", "LOGIN, CONNECT on one database"},
				Params:      role, Probe: VerbLogin, Continuity: VerbOthers,
				Example: "do: postgres/revoke-login"},
		},
		Probes: []connector.ProbeSpec{
			{Verb: VerbLogin, Description: "Log in as the role with its known password, and count the sessions the role holds", Grade: remedy.P3,
				Proves:      "whether somebody who knows the password gets in from this place, and whether somebody is in",
				Cannot:      "other databases that pg_hba.conf treats otherwise, sessions of other logins that took the role on by SET ROLE, and copies of the data",
				Permissions: []string{"the role's own password (logins)", "LOGIN, CONNECT on one database; pg_stat_activity shows the owner of a session to everybody"}, Params: role},
			{Verb: VerbOthers, Description: "Log in as the roles that are to go on", Grade: remedy.P3,
				Proves:      "each of them still logs in and gets an answer",
				Cannot:      "what applications do after logging in; without a role to keep it says only that the connector itself gets in",
				Permissions: []string{"the passwords of the roles in keep (logins)"},
				Params:      []connector.Param{{Name: "keep", Description: "roles with commas between; by default those of the configuration"}}},
		},
	}
}

// roleOf returns the role a request speaks of.
func roleOf(r connector.Request) (string, error) {
	role := r.Params["role"]
	if role == "" {
		role = r.Asset.Name
	}
	if role == "" {
		role = r.Asset.UID[strings.LastIndexAny(r.Asset.UID, "/:")+1:]
	}
	// 63 bytes: NAMEDATALEN - 1, longer names are cut by the server.
	if role == "" || len(role) > 63 || strings.ContainsFunc(role, func(x rune) bool { return x < ' ' }) {
		return "", connector.Errorf(connector.KindConfig, "no role: parameter \"role\" is %q and asset %q names none", r.Params["role"], r.Asset.UID)
	}
	return role, nil
}

// mark is the case as a comment in front of a statement.
func mark(r connector.Request) string {
	id := strings.Map(func(x rune) rune {
		if x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' || strings.ContainsRune("._-", x) {
			return x
		}
		return '_'
	}, r.CaseID)
	return "/* casement case " + id + " */ "
}

// connect opens one connection as a role.
func (c *Connector) connect(ctx context.Context, r connector.Request, user, password string) (*pgx.Conn, error) {
	// Only this form makes a config; every value that the environment could
	// set is replaced.
	cfg, err := pgx.ParseConfig("host=h port=1 user=u password=p dbname=d sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.Database, cfg.User, cfg.Password = c.host, c.port, c.cfg.Database, user, password
	cfg.Fallbacks, cfg.ConnectTimeout = nil, c.cfg.Timeout
	cfg.RuntimeParams = map[string]string{"application_name": "casement case/" + r.CaseID, "TimeZone": "UTC"}
	cfg.DialFunc = c.cfg.Network.DialContext
	cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil } // Network resolves
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	if !c.cfg.Plaintext {
		cfg.TLSConfig = &tls.Config{ServerName: c.host, RootCAs: c.cfg.RootCAs, MinVersion: tls.VersionTLS12}
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// as runs f on a connection of the connector's own login.
func (c *Connector) as(ctx context.Context, r connector.Request, f func(*pgx.Conn) error) error {
	conn, err := c.connect(ctx, r, c.cfg.User, c.cfg.Password)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the work is committed or lost by now
	return f(conn)
}
