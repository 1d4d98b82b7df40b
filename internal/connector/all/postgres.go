package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/postgres"
)

func postgresKind() Kind {
	return Kind{
		Name: "postgres", Title: postgres.Describe("postgres").Title,
		Params: []Setting{
			{Name: "address", Type: Text, Doc: "host:port of the server", Required: true},
			{Name: "database", Type: Text, Doc: "database to connect to, postgres if not set"},
			{Name: "user", Type: Text, Doc: "the connector's own login", Required: true},
			{Name: "logins", Type: Table, Doc: "roles whose login the probes may try, by name, each with password_from", Each: true,
				Fields: []Setting{{Name: "password_from", Type: Text, Doc: "name of the secret with its password; the role's own name if not set"}}},
			{Name: "keep", Type: List, Doc: "roles of logins that must go on logging in"},
			{Name: "plaintext", Type: Flag, Doc: "connect without TLS: for a server on this machine only"},
		},
		Secrets: []Setting{
			{Name: "password", Doc: "password of user", Required: true},
			authority(),
		},
		MoreSecrets: true,
		Example: `connectors:
  postgres:
    params:
      address: db.example.com:5432
      user: casement
      logins: {shop_app: {password_from: shop}, reports: {}}
      keep: [reports]
    secrets: {password: env:CASEMENT_PG_PASSWORD, shop: env:SHOP_PG_PASSWORD, reports: env:REPORTS_PG_PASSWORD}
`,
		Spec:  postgres.Describe,
		check: func(r *reader) { r.checkEach("logins", "password_from", "login", "password", "password", caName) },
		build: buildPostgres,
	}
}

func buildPostgres(r *reader) (connector.Connector, error) {
	cfg := postgres.Config{Name: r.entry.Name, Address: r.text("address"), Database: r.text("database"), User: r.text("user"), Password: r.secret("password"),
		Logins: map[string]string{}, Keep: r.list("keep"), Plaintext: r.flag("plaintext"), RootCAs: r.http.RootCAs, Place: r.text("place"), Network: r.http.Network}
	r.each("logins", "password_from", func(role, from string, _ *reader) { cfg.Logins[role] = r.secret(from) })
	return postgres.New(cfg)
}
