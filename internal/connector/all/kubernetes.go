package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/kubernetes"
)

func kubernetesKind() Kind {
	return Kind{
		Name: "kubernetes", Title: kubernetes.Describe("kubernetes").Title,
		Params: []Setting{
			{Name: "server", Type: Text, Doc: "address of the API server, https://10.0.0.1:6443", Required: true},
			{Name: "identities", Type: Table, Doc: "subjects whose own tokens the probes may use (ServiceAccount/namespace/name), each with token_from", Each: true,
				Fields: []Setting{{Name: "token_from", Type: Text, Doc: "name of the secret with its token; the subject itself if not set"}}},
		},
		Secrets: []Setting{
			{Name: "token", Doc: "the connector's own bearer token", Required: true},
			authority(),
		},
		MoreSecrets: true,
		Example: `connectors:
  kubernetes:
    params:
      server: https://10.0.0.1:6443
      identities: {ServiceAccount/build/bot: {token_from: bot}}
    secrets: {token: file:/etc/casement/kubernetes.token, bot: env:BUILD_BOT_TOKEN}
    allow: [10.0.0.1]
`,
		Spec:  kubernetes.Describe,
		check: func(r *reader) { r.checkEach("identities", "token_from", "identity", "token", "token", caName) },
		build: func(r *reader) (connector.Connector, error) {
			cfg := kubernetes.Config{Name: r.entry.Name, Server: r.text("server"), Token: r.secret("token"), Tokens: map[string]string{}, Place: r.text("place"), HTTP: r.http}
			r.each("identities", "token_from", func(subject, from string, _ *reader) { cfg.Tokens[subject] = r.secret(from) })
			return kubernetes.New(cfg)
		},
	}
}
