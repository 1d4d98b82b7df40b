package all

import (
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/jira"
)

func jiraKind() Kind {
	return Kind{
		Name: "jira", Title: jira.Describe("jira").Title,
		Params: []Setting{
			{Name: "url", Type: Text, Doc: "address of the site, https://example.atlassian.net", Required: true},
			{Name: "project", Type: Text, Doc: "key of the project for tickets whose route names none, e.g. SEC", Required: true},
			{Name: "email", Type: Text, Doc: "account of the API token (Jira Cloud); without it the token is sent as bearer token (Data Center)"},
			{Name: "type", Type: Text, Doc: "issue type; Task if not set"},
			{Name: "reopen", Type: Text, Doc: "status an issue is set back to when the exposure is still there; the first that is not done if not set"},
			{Name: "done", Type: Text, Doc: "status an issue is set to when its case is proven closed; Done, Resolved, Fixed or Closed if not set; leave: people do it"},
			{Name: "due_field", Type: Text, Doc: "field that receives the end of the fix clock, duedate where the project has it; else it stands in the description"},
			{Name: "fields", Type: Table, Doc: "Jira field ids by the names of the ticket template, e.g. {severity: customfield_10010}"},
			{Name: "accounts", Type: Table, Doc: "Jira account ids by our names of people and teams, for assignment"},
		},
		Secrets: []Setting{{Name: "token", Doc: "API token or personal access token", Required: true}, authority()},
		Example: `connectors:
  jira:
    params: {url: "https://example.atlassian.net", project: SEC, email: bot@example.com}
    secrets: {token: env:CASEMENT_JIRA_TOKEN}
`,
		Spec: jira.Describe,
		check: func(r *reader) {
			noDryRun(r)
			if r.entry.Name == "tracker" {
				r.fault("", "give it another name", "tracker is the built-in system of tickets")
			}
		},
		build: func(r *reader) (connector.Connector, error) {
			return jira.New(jira.Config{Name: r.entry.Name, URL: r.text("url"), Email: r.text("email"), Token: r.secret("token"), Project: r.text("project"),
				Type: r.text("type"), Reopen: r.text("reopen"), Done: r.text("done"), DueField: r.text("due_field"), Fields: r.words("fields"), Accounts: r.words("accounts"), HTTP: r.http})
		},
	}
}

// noDryRun: what only opens tickets or posts messages changes no target.
func noDryRun(r *reader) {
	if r.flag("dry_run") {
		r.fault("params.dry_run", "leave it out, or leave the system out of the policy's routes", "%s connectors have no dry run: they change no target", r.entry.Kind)
	}
}
