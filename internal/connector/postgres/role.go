package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// role is what can be set of a role, without its password.
type role struct {
	OID      uint32   `json:"oid"`
	Name     string   `json:"name"`
	Login    bool     `json:"login"`
	Super    bool     `json:"super"`
	Flags    string   `json:"flags"`
	Limit    int      `json:"limit"`
	Until    string   `json:"until"`
	MemberOf []string `json:"member_of"`
	// Own: it is the connector's own login.
	Own bool `json:"own,omitempty"`
}

const roleQuery = `SELECT r.oid, r.rolcanlogin, r.rolsuper, concat(r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls),
 r.rolconnlimit, coalesce(r.rolvaliduntil::text, ''), r.rolname = session_user,
 ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid ORDER BY 1)
 FROM pg_roles r WHERE r.rolname = $1`

// errNoRole: the server says that there is no such role.
var errNoRole = errors.New("no such role")

func readRole(ctx context.Context, q interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, name string) (role, error) {
	x := role{Name: name}
	err := q.QueryRow(ctx, roleQuery, name).Scan(&x.OID, &x.Login, &x.Super, &x.Flags, &x.Limit, &x.Until, &x.Own, &x.MemberOf)
	if errors.Is(err, pgx.ErrNoRows) {
		return x, errNoRole
	}
	return x, err
}

func (x role) with(login bool) role { x.Login = login; return x }

func (x role) digest() string {
	b, err := json.Marshal(x)
	if err != nil { // plain fields: cannot fail
		return err.Error()
	}
	return connector.Digest(string(b))
}

// sessions counts what the role holds open.
func sessions(ctx context.Context, conn *pgx.Conn, x role) (n int, err error) {
	err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1 AND pid <> pg_backend_pid()`, x.OID).Scan(&n)
	return n, err
}

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "postgres has no verb %q", verb)
}

// Plan implements connector.Planner. How many sessions live is left out of the
// plan: they come and go.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	if verb != VerbRevoke {
		return remedy.Plan{}, noVerb(verb)
	}
	name, err := roleOf(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	var x role
	err = c.as(ctx, r, func(conn *pgx.Conn) (err error) { x, err = readRole(ctx, conn, name); return err })
	switch {
	case errors.Is(err, errNoRole):
		return remedy.Plan{}, connector.Errorf(connector.KindRefused, "there is no role %s", name)
	case err != nil:
		return remedy.Plan{}, connector.ReadOnly(fail("reading role "+name, err))
	case x.Own:
		return remedy.Plan{}, connector.Errorf(connector.KindRefused, "role %s is the connector's own login: it would lock itself out", name)
	}
	data, err := json.Marshal(x)
	if err != nil {
		return remedy.Plan{}, err
	}
	pad := ""
	if len(x.MemberOf) > 0 {
		pad = ", member of " + strings.Join(x.MemberOf, ", ")
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: x.digest(),
		Text:  fmt.Sprintf("Take the login of role %s away (it has one now%s):\n- ALTER ROLE %s NOLOGIN\n- end every session it holds", name, pad, pgx.Identifier{name}.Sanitize()),
		Blast: "whatever connects as " + name + " stops at once, in all databases of the server",
		Undo:  "gives role " + name + " its login back; ended sessions have to connect again"}
	if x.Super {
		p.Blast += "; it is a superuser"
	}
	if !x.Login {
		p.Text = fmt.Sprintf("End every session of role %s; it has no login already", name)
		p.Undo = "none needed: no attribute of the role changes"
	}
	return p, nil
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	if verb != VerbRevoke {
		return connector.Outcome{}, noVerb(verb)
	}
	before, err := parseRole(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	o := connector.Outcome{UndoHandle: r.Plan.Data}
	err = c.as(ctx, r, func(conn *pgx.Conn) error {
		altered, err := move(ctx, conn, r, before, before.with(false))
		if err != nil {
			return err
		}
		ended, left, err := end(ctx, conn, r, before)
		if err != nil && altered {
			return &connector.Error{Kind: connector.KindUnsure, Msg: "role " + before.Name + " has no login any more, but its sessions could not be ended: " + fail("ending them", err).Msg, Err: err}
		}
		o.Nothing = !altered && ended == 0
		o.Detail = fmt.Sprintf("role %s: NOLOGIN, %d session(s) told to end, %d left", before.Name, ended, left)
		return err
	})
	if err != nil {
		return connector.Outcome{}, fail("taking the login of role "+before.Name, err)
	}
	return o, nil
}

// Undo implements connector.Actor.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	if verb != VerbRevoke {
		return connector.Outcome{}, noVerb(verb)
	}
	before, err := parseRole(r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	o := connector.Outcome{Detail: "role " + before.Name + " has its login as before"}
	err = c.as(ctx, r, func(conn *pgx.Conn) error {
		altered, err := move(ctx, conn, r, before.with(false), before)
		o.Nothing = !altered
		return err
	})
	if err != nil {
		return connector.Outcome{}, fail("giving role "+before.Name+" its login back", err)
	}
	return o, nil
}

// Look implements connector.Looker: it happened when the role is as planned
// and holds no session.
func (c *Connector) Look(ctx context.Context, verb string, r connector.Request) (connector.Outcome, bool, error) {
	if verb != VerbRevoke {
		return connector.Outcome{}, false, noVerb(verb)
	}
	before, err := parseRole(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	found := false
	err = c.as(ctx, r, func(conn *pgx.Conn) error {
		x, err := readRole(ctx, conn, before.Name)
		if err != nil {
			return err
		}
		n, err := sessions(ctx, conn, x)
		found = x.digest() == before.with(false).digest() && n == 0
		return err
	})
	if err != nil {
		return connector.Outcome{}, false, connector.ReadOnly(fail("looking at role "+before.Name, err))
	}
	return connector.Outcome{UndoHandle: r.Plan.Data, Detail: "role " + before.Name + " has no login and no session"}, found, nil
}

func parseRole(text, what string) (role, error) {
	var x role
	if err := json.Unmarshal([]byte(text), &x); err != nil || x.Name == "" {
		return x, connector.Errorf(connector.KindRefused, "the %s is not one of this connector", what)
	}
	return x, nil
}

// move sets the login of a role in one transaction, if the role is as from; it
// does nothing if it is as to already.
func move(ctx context.Context, conn *pgx.Conn, r connector.Request, from, to role) (altered bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing to roll back after a commit
	live, err := readRole(ctx, tx, from.Name)
	if err != nil {
		return false, err
	}
	if live.digest() == to.digest() {
		return false, tx.Commit(ctx)
	}
	if live.digest() != from.digest() {
		return false, connector.Errorf(connector.KindRefused, "role %s was changed by somebody else meanwhile", from.Name)
	}
	word := " NOLOGIN"
	if to.Login {
		word = " LOGIN"
	}
	if _, err := tx.Exec(ctx, mark(r)+"ALTER ROLE "+pgx.Identifier{from.Name}.Sanitize()+word); err != nil {
		return false, err
	}
	return true, tx.Commit(ctx)
}

// rounds: a login that was under way when NOLOGIN was committed may still
// become a session; it is met in the next round.
const rounds = 3

// end ends the sessions of a role, waiting up to 2 s for each.
func end(ctx context.Context, conn *pgx.Conn, r connector.Request, x role) (ended, left int, err error) {
	for range rounds {
		var n int
		err := conn.QueryRow(ctx, mark(r)+`SELECT count(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity WHERE usesysid = $1 AND pid <> pg_backend_pid()`, x.OID).Scan(&n)
		if err != nil {
			return ended, 0, err
		}
		ended += n
		if left, err = sessions(ctx, conn, x); err != nil || left == 0 {
			return ended, left, err
		}
	}
	return ended, left, nil
}
