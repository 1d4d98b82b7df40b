package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/oauth"
)

func integrationSettings() []Setting {
	return []Setting{
		{Name: "token_from", Type: Text, Doc: "name of the secret that holds an access token the integration uses; its own name if not set"},
		{Name: "grant", Type: Text, Doc: "id of its grant at grants_url; its own name if not set"},
		{Name: "keep", Type: List, Doc: "scopes it needs"},
		{Name: "resource_url", Type: Text, Doc: "address that answers 2xx to the token while the kept scopes work"},
	}
}

func oauthKind() Kind {
	return Kind{
		Name: "oauth", Title: oauth.Describe("oauth").Title,
		Params: []Setting{
			{Name: "introspect_url", Type: Text, Doc: "address of token introspection (RFC 7662)", Required: true},
			{Name: "revoke_url", Type: Text, Doc: "address of token revocation (RFC 7009), for revoke"},
			{Name: "grants_url", Type: Text, Doc: "address of the grants, for reduce-scope: GET and PATCH {grants_url}/{grant} with {\"scope\": \"…\"}"},
			{Name: "client_id", Type: Text, Doc: "client that may introspect and revoke", Required: true},
			{Name: "integrations", Type: Table, Doc: "applications by the uid that alerts name them by, each with keep, grant, token_from, resource_url", Required: true, Fields: integrationSettings(), Each: true},
		},
		Secrets: []Setting{
			{Name: "client_secret", Doc: "secret of client_id", Required: true},
			{Name: "admin_token", Doc: "bearer token for grants_url"},
			authority(),
		},
		MoreSecrets: true,
		Example: `connectors:
  oauth:
    params:
      introspect_url: https://login.example.com/token/introspection
      revoke_url: https://login.example.com/token/revocation
      grants_url: https://login.example.com/admin/grants
      client_id: casement
      integrations:
        report-bot: {keep: [reports.read], token_from: report_bot}
    secrets:
      client_secret: env:CASEMENT_OAUTH_SECRET
      admin_token: env:CASEMENT_OAUTH_ADMIN
      report_bot: env:CASEMENT_REPORT_BOT_TOKEN
`,
		Spec: oauth.Describe,
		check: func(r *reader) {
			r.checkEach("integrations", "token_from", "integration", "token", "client_secret", "admin_token", caName)
		},
		build: buildOAuth,
	}
}

func buildOAuth(r *reader) (connector.Connector, error) {
	cfg := oauth.Config{Name: r.entry.Name, IntrospectURL: r.text("introspect_url"), RevokeURL: r.text("revoke_url"), GrantsURL: r.text("grants_url"),
		ClientID: r.text("client_id"), ClientSecret: r.secret("client_secret"), AdminToken: r.secret("admin_token"),
		Integrations: map[string]oauth.Integration{}, Place: r.text("place"), HTTP: r.http}
	r.each("integrations", "token_from", func(name, from string, one *reader) {
		cfg.Integrations[name] = oauth.Integration{Grant: one.text("grant"), Token: r.secret(from), Keep: one.list("keep"), ResourceURL: one.text("resource_url")}
	})
	return oauth.New(cfg)
}
