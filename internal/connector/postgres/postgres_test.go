package postgres_test

import (
	"strings"
	"testing"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
	"github.com/casement/casement/internal/connector/postgres"
	"github.com/casement/casement/internal/remedy"
)

func TestPostgreSQL(t *testing.T) {
	s := targets.StartPostgreSQL(t)
	connectortest.Run(t, func(t testing.TB) connectortest.Bench { return s.Bench(t) })
	t.Run("NOLOGIN alone leaves the session", func(t *testing.T) { testSessionLives(t, s.Bench(t)) })
	t.Run("what the probe can't tell", func(t *testing.T) { testUnclear(t, s.Bench(t)) })
	t.Run("the connector does not lock itself out", func(t *testing.T) {
		d, r := door(s.Bench(t))
		r.Params = map[string]string{"role": "casement"}
		if _, err := d.Plan(t.Context(), postgres.VerbRevoke, r); connector.KindOf(err) != connector.KindRefused || err == nil {
			t.Errorf("plan for its own login: %v", err)
		}
	})
}

func door(b *targets.PostgreSQLBench) (*connector.Door, connector.Request) {
	r := b.Request("")
	r.CaseID, r.Key, r.Now = connectortest.CaseID, "k", connectortest.Now()
	return connector.Stack(b.Connector(), connector.Options{Attempts: 1}), r
}

func probe(t *testing.T, d *connector.Door, r connector.Request) remedy.Observation {
	t.Helper()
	o, err := d.Probe(t.Context(), postgres.VerbLogin, r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func testSessionLives(t *testing.T, b *targets.PostgreSQLBench) {
	d, r := door(b)
	session := b.Session()
	p, err := d.Plan(t.Context(), postgres.VerbRevoke, r)
	if err != nil {
		t.Fatal(err)
	}
	b.SQL(`ALTER ROLE "` + b.Role + `" NOLOGIN`)
	if o := probe(t, d, r); o.Result != remedy.Exposed || !strings.Contains(o.Detail, "2 session(s)") {
		t.Errorf("after NOLOGIN alone the probe says %+v, want the live sessions", o)
	}
	if _, err := session.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("the session should live: %v", err)
	}
	r.Plan = connector.Seal(p, "postgres", postgres.VerbRevoke, r, r.Now)
	if _, found, err := d.Look(t.Context(), postgres.VerbRevoke, r); err != nil || found {
		t.Errorf("half an act was taken for done: found %v, error %v", found, err)
	}
	o, err := d.Act(t.Context(), postgres.VerbRevoke, r)
	if err != nil || o.Nothing {
		t.Errorf("act on a role without login that holds sessions: %+v %v", o, err)
	}
	if _, err := session.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the session was not ended")
	}
	if o := probe(t, d, r); o.Result != remedy.NotExposed {
		t.Errorf("after the act the probe says %+v", o)
	}
}

func testUnclear(t *testing.T, b *targets.PostgreSQLBench) {
	d, r := door(b)
	b.SQL(`ALTER ROLE "`+b.Role+`" PASSWORD 'another'`, `SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = '`+b.Role+`'`)
	if o := probe(t, d, r); o.Result != remedy.Inconclusive {
		t.Errorf("with a wrong password the probe says %+v", o)
	}
	b.SQL(`DROP ROLE "` + b.Role + `"`)
	if o := probe(t, d, r); o.Result != remedy.Gone {
		t.Errorf("of a dropped role the probe says %+v", o)
	}
	r.Params = map[string]string{"role": "nobody-named-this"}
	if _, err := d.Probe(t.Context(), postgres.VerbLogin, r); connector.KindOf(err) != connector.KindConfig || err == nil {
		t.Errorf("a role without a known password: %v", err)
	}
}
