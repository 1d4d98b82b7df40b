package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	o := remedy.Observation{Grade: remedy.P3, Place: c.cfg.Place, At: r.Now}
	switch verb {
	case VerbLogin:
		name, err := roleOf(r)
		if err != nil {
			return o, err
		}
		if c.cfg.Logins[name] == "" {
			return o, connector.Errorf(connector.KindConfig, "the password of role %s is not in the configuration of connector %s: put it under logins, or the login can't be tried", name, c.cfg.Name)
		}
		o.Result, o.Detail = c.tryLogin(ctx, r, name)
		return o, nil
	case VerbOthers:
		keep := c.cfg.Keep
		if v := r.Params["keep"]; v != "" {
			keep = strings.Split(v, ",")
		}
		o.Result, o.Detail = c.tryOthers(ctx, r, keep)
		return o, nil
	}
	return o, noVerb(verb)
}

// tryLogin: one login that works, or one session that lives, is exposed.
func (c *Connector) tryLogin(ctx context.Context, r connector.Request, name string) (remedy.Result, string) {
	conn, err := c.connect(ctx, r, name, c.cfg.Logins[name])
	if err == nil {
		_ = conn.Close(ctx) // it was let in: that is the answer
		return remedy.Exposed, "role " + name + " logs in"
	}
	loginErr := err
	var x role
	live := 0
	err = c.as(ctx, r, func(conn *pgx.Conn) (err error) {
		if x, err = readRole(ctx, conn, name); err != nil {
			return err
		}
		live, err = sessions(ctx, conn, x)
		return err
	})
	switch {
	case errors.Is(err, errNoRole):
		return remedy.Gone, "there is no role " + name + " any more"
	case err != nil:
		return remedy.Inconclusive, fail("counting the sessions of role "+name, err).Msg
	case live > 0:
		return remedy.Exposed, fmt.Sprintf("%d session(s) of role %s live", live, name)
	case notPermitted(loginErr) && !x.Login:
		return remedy.NotExposed, "the server refuses a login as " + name + " (not permitted to log in), and no session of it lives"
	}
	// A wrong password, a rule of pg_hba.conf, a broken connection: none of
	// them says that somebody else would be refused.
	return remedy.Inconclusive, fail("logging in as "+name, loginErr).Msg
}

// notPermitted: the password was right and the role may not log in. 28000 is
// also the code of a refusal by pg_hba.conf; the routine tells them apart
// (src/backend/utils/init/miscinit.c).
func notPermitted(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "28000" && pe.Routine == "InitializeSessionUserId"
}

// tryOthers is the continuity probe: NotExposed means that they work.
func (c *Connector) tryOthers(ctx context.Context, r connector.Request, keep []string) (remedy.Result, string) {
	logins := map[string]string{c.cfg.User: c.cfg.Password}
	if len(keep) > 0 {
		clear(logins)
	}
	for _, name := range keep {
		name = strings.TrimSpace(name)
		if c.cfg.Logins[name] == "" {
			return remedy.Inconclusive, "the password of role " + name + " is not under logins: nothing can be tried"
		}
		logins[name] = c.cfg.Logins[name]
	}
	var names []string
	for name, password := range logins {
		conn, err := c.connect(ctx, r, name, password)
		if err == nil {
			_, err = conn.Exec(ctx, "SELECT 1")
			_ = conn.Close(ctx) // its answer is here
		}
		var pe *pgconn.PgError
		switch {
		case err == nil:
			names = append(names, name)
		case errors.As(err, &pe) && strings.HasPrefix(pe.Code, "28"):
			return remedy.Exposed, fail("logging in as "+name, err).Msg
		default:
			return remedy.Inconclusive, fail("logging in as "+name, err).Msg
		}
	}
	return remedy.NotExposed, fmt.Sprintf("%d role(s) still log in, among them %s", len(names), names[0])
}

// fail classifies an error of a call that changes something. Only the server's
// code and message are shown.
func fail(what string, err error) *connector.Error {
	var own *connector.Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(err, errNoRole) {
		return connector.Errorf(connector.KindRefused, "%s: the role does not exist any more", what)
	}
	var pe *pgconn.PgError
	var ce *pgconn.ConnectError
	connecting := errors.As(err, &ce)
	if errors.As(err, &pe) {
		return &connector.Error{Kind: pgKind(pe, connecting), Msg: fmt.Sprintf("%s: the server answered %s: %s", what, pe.Code, pe.Message), Err: err}
	}
	switch {
	case errors.Is(err, connector.ErrBlocked):
		return &connector.Error{Kind: connector.KindConfig, Msg: what + ": its address is not public and not in the connector's allow list", Err: err}
	case connector.CertificateFault(err) != "":
		return &connector.Error{Kind: connector.KindConfig, Msg: what + ": " + connector.CertificateFault(err), Err: err}
	case connecting:
		return &connector.Error{Kind: connector.KindRetry, Msg: what + ": no connection to the server", Err: err}
	}
	return &connector.Error{Kind: connector.KindUnsure, Msg: what + ": the connection broke before the answer", Err: err}
}

// pgKind: an error of the server undid its transaction; classes are those of
// appendix A of PostgreSQL's manual.
func pgKind(pe *pgconn.PgError, connecting bool) connector.Kind {
	switch class := pe.Code[:min(2, len(pe.Code))]; {
	case class == "28", pe.Code == "42501", pe.Code == "3D000":
		return connector.KindConfig
	case class == "53", class == "57", class == "40", class == "55", connecting:
		return connector.KindRetry
	case class == "XX", class == "58", class == "08":
		return connector.KindUnsure
	}
	return connector.KindRefused
}
