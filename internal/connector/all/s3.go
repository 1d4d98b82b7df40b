package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/s3"
)

func s3Kind() Kind {
	return Kind{
		Name: "s3", Title: s3.Describe("s3").Title,
		Params: []Setting{
			{Name: "region", Type: Text, Doc: "region, us-east-1 if not set; an asset's own region goes before it"},
			{Name: "endpoint", Type: Text, Doc: "address of an S3 server, https://s3.example.com; nothing for Amazon's own"},
			{Name: "public_endpoint", Type: Text, Doc: "where outsiders reach the buckets, if not at endpoint"},
			{Name: "path_style", Type: Flag, Doc: "put the bucket into the path; always so with endpoint"},
		},
		Secrets: []Setting{
			{Name: "access_key", Doc: "id of the access key", Required: true},
			{Name: "secret_key", Doc: "secret of the access key", Required: true},
			{Name: "session_token", Doc: "token of a temporary credential"},
			authority(),
		},
		Example: `connectors:
  s3:
    params: {region: eu-central-1}
    secrets: {access_key: env:CASEMENT_S3_KEY, secret_key: env:CASEMENT_S3_SECRET}
`,
		Spec: s3.Describe,
		build: func(r *reader) (connector.Connector, error) {
			return s3.New(s3.Config{Name: r.entry.Name, Region: r.text("region"), Endpoint: r.text("endpoint"), PublicEndpoint: r.text("public_endpoint"),
				PathStyle: r.flag("path_style"), AccessKey: r.secret("access_key"), SecretKey: r.secret("secret_key"),
				SessionToken: r.secret("session_token"), Place: r.text("place"), HTTP: r.http})
		},
	}
}
