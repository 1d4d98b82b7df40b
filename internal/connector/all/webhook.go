package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/webhook"
)

func stateSettings() []Setting {
	return []Setting{
		{Name: "url", Type: Text, Doc: "address that is asked by GET; {asset} and {parameter} are filled in", Required: true},
		{Name: "path", Type: Text, Doc: "where the value is in the JSON answer, status or rules.0.open; nothing: the HTTP status tells"},
		{Name: "exposed", Type: List, Doc: "values that mean exposed", Required: true},
		{Name: "not_exposed", Type: List, Doc: "values that mean not exposed; all others are inconclusive", Required: true},
	}
}

func webhookKind() Kind {
	return Kind{
		Name: "webhook", Title: webhook.Describe(webhook.Config{Name: "webhook"}).Title,
		Params: []Setting{
			{Name: "url", Type: Text, Doc: "address that receives actions"},
			{Name: "undo_url", Type: Text, Doc: "address that receives their undo; without it an action has no way back"},
			{Name: "state", Type: Table, Doc: "where the probe looks: url, path, exposed, not_exposed", Fields: stateSettings()},
			{Name: "notify_url", Type: Text, Doc: "address that receives messages; as a secret where the address is one"},
			{Name: "notify_format", Type: Text, Doc: "standard (signed JSON) or slack (text for an incoming webhook)"},
		},
		Secrets: []Setting{
			{Name: "signing", Doc: "whsec_ secret that signs"},
			{Name: "signing_old", Doc: "the secret before, while it is being changed"},
			{Name: "state_token", Doc: "bearer token for state.url"},
			{Name: "notify_url", Doc: "address that receives messages, where it is a secret (Slack)"},
			authority(),
		},
		Example: `connectors:
  chat:
    kind: webhook
    params: {notify_format: slack}
    secrets: {notify_url: env:CASEMENT_CHAT_URL}
routes:
  security: {connector: chat}
`,
		Spec: func(name string) connector.Spec {
			return webhook.Describe(webhook.Config{Name: name, URL: "set", UndoURL: "set", State: webhook.State{URL: "set"}})
		},
		check: func(r *reader) {
			if _, secret := r.entry.Secrets["notify_url"]; secret && r.text("notify_url") != "" {
				r.fault("secrets.notify_url", "remove one of them", "notify_url is set twice: under params and under secrets")
			}
		},
		specOf: func(r *reader) connector.Spec { return webhook.Describe(webhookConfig(r)) },
		build:  func(r *reader) (connector.Connector, error) { return webhook.New(webhookConfig(r)) },
	}
}

func webhookConfig(r *reader) webhook.Config {
	cfg := webhook.Config{Name: r.entry.Name, URL: r.text("url"), UndoURL: r.text("undo_url"), NotifyURL: r.text("notify_url"),
		NotifyFormat: r.text("notify_format"), Place: r.text("place"), HTTP: r.http}
	if s := r.secret("notify_url"); s != "" {
		cfg.NotifyURL = s
	}
	for _, name := range []string{"signing", "signing_old"} {
		if s := r.secret(name); s != "" {
			cfg.Secrets = append(cfg.Secrets, s)
		}
	}
	r.in("state", func(s *reader) {
		cfg.State = webhook.State{URL: s.text("url"), Token: s.secret("state_token"), Path: s.text("path"), Exposed: s.list("exposed"), NotExposed: s.list("not_exposed")}
	})
	return cfg
}
