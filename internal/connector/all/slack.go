package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/slack"
)

func slackKind() Kind {
	return Kind{
		Name: "slack", Title: slack.Describe("slack").Title,
		Secrets: []Setting{{Name: "url", Doc: "address of the incoming webhook; whoever has it can post", Required: true}, authority()},
		Example: `connectors:
  slack:
    secrets: {url: env:CASEMENT_SLACK_URL}
routes:
  security: {connector: slack}
`,
		Spec:  slack.Describe,
		check: noDryRun,
		build: func(r *reader) (connector.Connector, error) {
			return slack.New(slack.Config{Name: r.entry.Name, URL: r.secret("url"), HTTP: r.http})
		},
	}
}
