package targets

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/postgres"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/need"
)

// PostgreSQL is a real server of Debian's package.
type PostgreSQL struct {
	// Addr is host:port, CA the authority of its certificate (PEM).
	Addr, CA string

	log string
	n   int
}

const pgSuper, pgRolePassword = "super-9f27c1", "role-41c8a7d0"

// nobody is the user servers run as that refuse root.
const nobody = 65534

// StartPostgreSQL makes a cluster in a folder of its own and serves it until
// the test ends.
func StartPostgreSQL(t testing.TB) *PostgreSQL {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(bins) == 0 {
		need.Missing(t, "PostgreSQL is not here: scripts/setup.sh installs it")
	}
	slices.Sort(bins)
	bin := filepath.Dir(bins[len(bins)-1])
	// Not t.TempDir: its parent is closed to other users.
	dir, err := os.MkdirTemp("", "casement-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, pw := filepath.Join(dir, "data"), filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte(pgSuper), 0o600); err != nil {
		t.Fatal(err)
	}
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		for _, f := range []string{dir, pw} {
			if err := os.Chown(f, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	init := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "super", "--pwfile", pw, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--no-locale")
	init.SysProcAttr, init.Dir = attr, dir
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	ca := connectortest.NewAuthority(t)
	cert, key := ca.Issue(t, "127.0.0.1")
	for name, text := range map[string][]byte{"server.crt": cert, "server.key": key} {
		f := filepath.Join(data, name)
		if err := os.WriteFile(f, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if attr.Credential != nil {
			if err := os.Chown(f, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := &PostgreSQL{CA: ca.PEM, log: filepath.Join(dir, "server.log")}
	s.Addr = connectortest.Start(t, connectortest.Server{Binary: filepath.Join(bin, "postgres"), UID: nobody, Stop: syscall.SIGINT,
		Args: func(addr string) []string {
			_, port, _ := strings.Cut(addr, ":")
			set := []string{"-D", data, "-h", "127.0.0.1", "-p", port}
			for _, x := range []string{"unix_socket_directories=", "fsync=off", "log_statement=ddl", "log_line_prefix=%a ", "logging_collector=on",
				"log_directory=" + dir, "log_filename=server.log", "max_connections=40", "ssl=on"} {
				set = append(set, "-c", x)
			}
			return set
		},
		Ready: func(addr string) bool {
			c, err := pgx.Connect(context.Background(), pgURL(addr, "super", pgSuper))
			if err == nil {
				_ = c.Close(context.Background())
			}
			return err == nil
		}})
	s.sql(t, "CREATE ROLE casement LOGIN CREATEROLE PASSWORD '"+connectortest.Canary+"'", "GRANT pg_signal_backend TO casement",
		"CREATE ROLE reports LOGIN PASSWORD '"+pgRolePassword+"'")
	return s
}

func pgURL(addr, user, password string) string {
	return "postgres://" + user + ":" + password + "@" + addr + "/postgres?sslmode=disable"
}

func (s *PostgreSQL) sql(t testing.TB, statements ...string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, pgURL(s.Addr, "super", pgSuper))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for _, x := range statements {
		if _, err := c.Exec(ctx, x); err != nil {
			t.Fatalf("%s: %v", x, err)
		}
	}
}

// PostgreSQLBench is a fresh role with a login and one session.
type PostgreSQLBench struct {
	t       testing.TB
	s       *PostgreSQL
	Role    string
	proxy   *pgProxy
	conn    *postgres.Connector
	logFrom int
}

// Bench makes a fresh risky role.
func (s *PostgreSQL) Bench(t testing.TB) *PostgreSQLBench {
	t.Helper()
	s.n++
	b := &PostgreSQLBench{t: t, s: s, Role: fmt.Sprintf("Shop App %d", s.n), proxy: newPGProxy(t, s.Addr)}
	s.sql(t, `CREATE ROLE "`+b.Role+`" LOGIN PASSWORD '`+pgRolePassword+`'`)
	network, err := connector.ParseNetwork([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	b.conn, err = postgres.New(postgres.Config{Address: b.proxy.addr, User: "casement", Password: connectortest.Canary, Plaintext: true,
		Logins: map[string]string{b.Role: pgRolePassword, "reports": pgRolePassword}, Keep: []string{"reports"}, Network: network})
	if err != nil {
		t.Fatal(err)
	}
	b.Session()
	b.logFrom = len(b.all())
	return b
}

// Session opens one as the role, past the proxy; it ends with the test.
func (b *PostgreSQLBench) Session() *pgx.Conn {
	b.t.Helper()
	c, err := pgx.Connect(context.Background(), pgURL(b.s.Addr, strings.ReplaceAll(b.Role, " ", "%20"), pgRolePassword))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// SQL runs statements behind the connector's back.
func (b *PostgreSQLBench) SQL(statements ...string) { b.t.Helper(); b.s.sql(b.t, statements...) }

// Connector implements connectortest.Bench.
func (b *PostgreSQLBench) Connector() connector.Connector { return b.conn }

// Config implements connectortest.Configured.
func (b *PostgreSQLBench) Config() (params map[string]any, secrets map[string]string) {
	return map[string]any{"address": b.proxy.addr, "user": "casement", "plaintext": true, "keep": []string{"reports"},
			"logins": map[string]any{b.Role: map[string]any{"password_from": "role"}, "reports": map[string]any{"password_from": "role"}}},
		map[string]string{"password": connectortest.Canary, "role": pgRolePassword}
}

// Request implements connectortest.Bench.
func (b *PostgreSQLBench) Request(string) connector.Request {
	return connector.Request{Asset: finding.Asset{UID: "postgres://shop-db/" + b.Role, Name: b.Role, Type: "database-role"}, Params: map[string]string{}}
}

// State implements connectortest.Bench.
func (b *PostgreSQLBench) State() string {
	b.t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, pgURL(b.s.Addr, "super", pgSuper))
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close(ctx)
	var text string
	if err := c.QueryRow(ctx, "SELECT r::text FROM pg_authid r WHERE rolname = $1", b.Role).Scan(&text); err != nil {
		b.t.Fatal(err)
	}
	return text
}

func (b *PostgreSQLBench) all() string {
	b.t.Helper()
	text, err := os.ReadFile(b.s.log)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// Log implements connectortest.Bench.
func (b *PostgreSQLBench) Log() string { return b.all()[b.logFrom:] }

// Changes implements connectortest.Bench.
func (b *PostgreSQLBench) Changes() int {
	n := 0
	for line := range strings.Lines(b.Log()) {
		if strings.Contains(line, "casement case") && strings.Contains(line, "ALTER ROLE") {
			n++
		}
	}
	return n
}

// Drift implements connectortest.Bench: a colleague limits connections.
func (b *PostgreSQLBench) Drift() {
	b.t.Helper()
	b.SQL(`ALTER ROLE "` + b.Role + `" CONNECTION LIMIT 7`)
}

// Fault implements connectortest.Bench.
func (b *PostgreSQLBench) Fault(f connectortest.Fault) <-chan struct{} { return b.proxy.Set(f) }
