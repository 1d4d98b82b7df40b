package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/minio"
)

func minioKind() Kind {
	return Kind{
		Name: "minio", Title: minio.Describe("minio").Title,
		Params: []Setting{
			{Name: "endpoint", Type: Text, Doc: "address of the server, https://minio.example.com", Required: true},
			{Name: "region", Type: Text, Doc: "region of the server, us-east-1 if not set"},
			{Name: "keep", Type: Table, Doc: "keys that must go on working, by id, each with secret_from", Each: true,
				Fields: []Setting{{Name: "secret_from", Type: Text, Doc: "name of the secret with its secret key; the key's own id if not set"}}},
		},
		Secrets: []Setting{
			{Name: "access_key", Doc: "id of the connector's own key", Required: true},
			{Name: "secret_key", Doc: "its secret", Required: true},
			authority(),
		},
		MoreSecrets: true,
		Example: `connectors:
  minio:
    params:
      endpoint: https://minio.example.com
      keep: {reports-key: {secret_from: reports}}
    secrets: {access_key: env:CASEMENT_MINIO_KEY, secret_key: env:CASEMENT_MINIO_SECRET, reports: env:REPORTS_MINIO_SECRET}
`,
		Spec: minio.Describe,
		check: func(r *reader) {
			r.checkEach("keep", "secret_from", "key", "secret", "access_key", "secret_key", caName)
		},
		build: func(r *reader) (connector.Connector, error) {
			cfg := minio.Config{Name: r.entry.Name, Endpoint: r.text("endpoint"), Region: r.text("region"), AccessKey: r.secret("access_key"),
				SecretKey: r.secret("secret_key"), Keep: map[string]string{}, Place: r.text("place"), HTTP: r.http}
			r.each("keep", "secret_from", func(key, from string, _ *reader) { cfg.Keep[key] = r.secret(from) })
			return minio.New(cfg)
		},
	}
}
