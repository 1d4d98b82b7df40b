// Package github reads GitHub's security alerts into findings: the webhooks
// secret_scanning_alert, dependabot_alert and code_scanning_alert, lists of
// such alerts as the REST API returns them, the GraphQL vulnerabilityAlerts
// connection, and the webhooks public and branch_protection_rule.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: one alert
// is one record, named owner/name/<kind>/<number>; a closed alert is kept with
// the status fixed or dismissed, because it is a claim; a secret is kept as a
// keyed hash only.
package github

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "github"

// The alert kinds, by the word their URLs use.
const (
	kindSecret     = "secret-scanning"
	kindDependabot = "dependabot"
	kindCode       = "code-scanning"
)

// Reader reads GitHub alerts.
type Reader struct{}

// Name returns "github".
func (Reader) Name() string { return Name }

// Records are the elements of a list.
func (Reader) Records() []string { return []string{"[]"} }

// Detect looks for the alert shapes and trusts the event header where it is
// one of ours.
func (Reader) Detect(p format.Probe) int {
	switch p.Event {
	case "secret_scanning_alert", "dependabot_alert", "code_scanning_alert", "public", "branch_protection_rule":
		if p.Has("repository") {
			return 100
		}
	}
	for _, at := range []string{"alert.", "[].", "", "[].alert."} {
		switch {
		case p.Has(at+"secret_type") && p.Has(at+"number"),
			p.Has(at+"security_advisory") && (p.Has(at+"dependency") || p.Has(at+"security_vulnerability")),
			p.Has(at+"rule") && p.Has(at+"tool") && p.Has(at+"number") && (p.Has(at+"most_recent_instance") || p.Has(at+"instances") || p.Has(at+"html_url")):
			return 97
		}
	}
	switch {
	case p.Has("data.repository.vulnerabilityAlerts") || p.Has("data.search.nodes[].vulnerabilityAlerts"):
		return 97
	case p.Has("zen") && p.Has("hook_id"), p.Has("security_advisory.ghsa_id") && p.Has("action"):
		return 90
	case p.Has("action") && p.Has("alert") && p.Has("repository.full_name"):
		return 80
	case p.Has("repository.full_name") && p.Has("sender.login") && (p.Has("action") || p.Has("repository.private")):
		return 60 // some other webhook of GitHub: Read says which ones it takes
	}
	return 0
}

// SecretPaths names the places that hold secrets in clear.
func (Reader) SecretPaths() []string {
	return []string{"alert.secret", "[].secret", "secret", "[].alert.secret"}
}

// event is what all webhooks share.
type event struct {
	Action     format.String   `json:"action"`
	Alert      json.RawMessage `json:"alert"`
	Repository repository      `json:"repository"`
	Rule       json.RawMessage `json:"rule"`
	Data       json.RawMessage `json:"data"`
	Number     json.RawMessage `json:"number"`
	Zen        format.String   `json:"zen"`
	Advisory   json.RawMessage `json:"security_advisory"`
	Sender     struct {
		Login format.String `json:"login"`
	} `json:"sender"`

	// What only an alert by itself has.
	SecretType json.RawMessage `json:"secret_type"`
	Dependency json.RawMessage `json:"dependency"`
	Tool       json.RawMessage `json:"tool"`
}

// bare reports whether the body is an alert without its webhook, whatever it lacks.
func (e *event) bare() bool { return len(e.SecretType)+len(e.Dependency)+len(e.Tool) > 0 }

type repository struct {
	FullName   format.String  `json:"full_name"`
	Private    *bool          `json:"private"`
	Visibility format.String  `json:"visibility"`
	HTMLURL    format.String  `json:"html_url"`
	Archived   bool           `json:"archived"`
	Branch     format.String  `json:"default_branch"`
	UpdatedAt  format.String  `json:"updated_at"`
	Topics     format.Strings `json:"topics"`
	Owner      struct {
		Login format.String `json:"login"`
		Type  format.String `json:"type"`
	} `json:"owner"`
}

// public reports whether anybody can read the repository.
func (r repository) public() finding.Tri {
	switch {
	case r.Visibility == "public":
		return finding.Yes
	case r.Visibility != "":
		return finding.No
	case r.Private != nil:
		return finding.TriOf(!*r.Private)
	}
	return finding.Unknown
}

// Read reads a webhook body, a list of alerts, one alert, or a GraphQL answer.
func (Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: Name}
	values, err := format.Values(Name, body, opt)
	if err != nil {
		return res, err
	}
	for _, v := range values {
		if v.Err != "" {
			res.Refuse(v.Where, "", v.Err)
			continue
		}
		var e event
		if err := format.Unmarshal(v.Raw, &e); err != nil {
			res.Refuse(v.Where, "", format.Reason(err))
			continue
		}
		switch {
		case len(e.Data) > 0:
			readGraphQL(&res, e.Data, opt, format.Pointer(opt, v.Where, "data"))
		case len(e.Alert) > 0 && e.Alert[0] == '{':
			readAlert(&res, e.Alert, e, opt, format.Pointer(opt, v.Where, "alert"))
		case len(e.Number) > 0 && len(e.Zen) == 0, e.bare():
			var own struct {
				Repository repository `json:"repository"`
			}
			_ = json.Unmarshal(v.Raw, &own) // decoded once above
			readAlert(&res, v.Raw, event{Repository: own.Repository}, opt, v.Where)
		default:
			readOther(&res, e, opt, v.Where)
		}
	}
	return format.Finish(res, body, opt)
}

// readAlert tells the kinds apart by their fields.
func readAlert(res *format.Result, raw json.RawMessage, e event, opt format.Options, where string) {
	var a alert
	if err := format.Unmarshal(raw, &a); err != nil {
		res.Refuse(where, "", "alert: "+format.Reason(err))
		return
	}
	kind := kindOf(&a, opt.Event)
	if kind == "" {
		res.Refuse(where, string(a.Number), "alert: none of secret_type, security_advisory and rule is there; which kind of alert this is can't be told")
		return
	}
	repo := format.First(string(e.Repository.FullName), repositoryOf(string(a.URL)), repositoryOf(string(a.HTMLURL)))
	if repo == "" {
		res.Refuse(where, string(a.Number), "repository.full_name: missing, and url names no repository; send the webhook body, or alerts with their url")
		return
	}
	if a.Number == "" {
		res.Refuse(where, repo, "number: missing; it names the alert")
		return
	}
	f := finding.Finding{Tenant: opt.Tenant, Source: "github." + kind, Product: "GitHub", NativeID: fmt.Sprintf("%s/%s/%s", repo, kind, a.Number)}
	setRepository(&f, repo, e.Repository)
	f.Location.URL = string(a.HTMLURL)
	f.FirstSeen = format.Time(string(a.Created))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	f.LastSeen = format.FirstTime(string(a.Updated), string(a.Fixed), string(a.Dismissed), string(a.Resolved))
	if f.LastSeen.Before(f.FirstSeen) {
		f.LastSeen = f.FirstSeen
	}
	a.status(&f)
	format.AddEvidence(&f, "action", string(e.Action))
	for _, u := range a.Assignees {
		format.AddHint(&f, "user", string(u.Login))
	}
	switch kind {
	case kindSecret:
		a.secret(&f, e.Repository, opt)
	case kindDependabot:
		a.dependabot(&f)
	case kindCode:
		a.code(&f)
	}
	res.Keep(f, where)
}

func kindOf(a *alert, event string) string {
	switch {
	case a.SecretType != "":
		return kindSecret
	case a.Advisory != nil || a.Vulnerability != nil:
		return kindDependabot
	case a.Rule.ID != "" || a.Rule.Name != "" || a.Rule.Description != "":
		return kindCode
	}
	switch event {
	case "secret_scanning_alert":
		return kindSecret
	case "dependabot_alert":
		return kindDependabot
	}
	return ""
}

// repositoryOf takes owner/name out of an API or web address of an alert.
func repositoryOf(u string) string {
	_, path, ok := strings.Cut(u, "://")
	if !ok {
		return ""
	}
	parts := strings.Split(path, "/")[1:]
	for i, p := range parts {
		if p == "repos" && i+2 < len(parts) {
			return parts[i+1] + "/" + parts[i+2]
		}
	}
	if len(parts) > 2 && parts[2] == "security" {
		return parts[0] + "/" + parts[1]
	}
	return ""
}

func setRepository(f *finding.Finding, full string, r repository) {
	f.Location.Repository = full
	f.Asset = finding.Asset{UID: full, Type: "repository", Name: full, Provider: "github", Account: string(r.Owner.Login)}
	if owner, _, ok := strings.Cut(full, "/"); ok && f.Asset.Account == "" {
		f.Asset.Account = owner
	}
	f.Exposure.PipelineAdjacent = finding.Yes
	format.SetParam(f, "repository", full)
	if r.Owner.Type == "User" {
		format.AddHint(f, "user", string(r.Owner.Login))
	}
	if len(r.Topics) > 0 {
		format.AddEvidence(f, "topics", strings.Join(r.Topics, ", "))
	}
}

// readOther reads webhooks that are no alerts but speak of a risky state, and
// says of all others that they are none.
func readOther(res *format.Result, e event, opt format.Options, where string) {
	full := string(e.Repository.FullName)
	f := finding.Finding{Tenant: opt.Tenant, Source: "github.audit", Product: "GitHub", FirstSeen: opt.Now}
	if full != "" {
		setRepository(&f, full, e.Repository)
		f.Location.URL = string(e.Repository.HTMLURL)
		if t := format.Time(string(e.Repository.UpdatedAt)); !t.IsZero() {
			f.FirstSeen = t
		}
	}
	format.AddEvidence(&f, "sender", string(e.Sender.Login))
	switch {
	case e.Zen != "":
		res.Suppress(where, "ping", "GitHub's ping: the webhook works")
	case len(e.Advisory) > 0:
		res.Suppress(where, "security_advisory", "an advisory about a package in general; repositories that use it get a dependabot_alert")
	case full != "" && (opt.Event == "public" || opt.Event == "" && e.Action == "" && e.Rule == nil && e.Repository.public() == finding.Yes):
		f.Class, f.Rule, f.Severity = "pipeline.repo-public", "public", finding.SeverityHigh
		f.Title = "Repository " + full + " became public"
		f.Exposure.InternetFacing = finding.Yes
		res.Keep(f, where)
	case full != "" && len(e.Rule) > 0 && (opt.Event == "branch_protection_rule" || opt.Event == ""):
		readProtection(res, f, e, where)
	default:
		name := format.First(opt.Event, "an unnamed event")
		if e.Action != "" {
			name += " (action " + string(e.Action) + ")"
		}
		res.Refuse(where, full, "this webhook is "+name+", no security alert; subscribe to secret_scanning_alert, dependabot_alert and code_scanning_alert")
	}
}

// readProtection reads branch_protection_rule: created strengthens a branch,
// deleted and edited may weaken it.
func readProtection(res *format.Result, f finding.Finding, e event, where string) {
	var rule struct {
		Name format.String `json:"name"`
		ID   format.String `json:"id"`
	}
	if err := format.Unmarshal(e.Rule, &rule); err != nil {
		res.Refuse(where, "", "rule: "+format.Reason(err))
		return
	}
	f.Class, f.Rule = "pipeline.protection-weakened", "branch_protection_rule."+string(e.Action)
	f.Location.SnippetHash = format.Hash(string(rule.Name))
	format.AddEvidence(&f, "branch pattern", string(rule.Name))
	switch e.Action {
	case "created":
		res.Suppress(where, string(rule.Name), "a protection rule was added; nothing became weaker")
	case "deleted":
		f.Severity, f.Title = finding.SeverityHigh, "Protection of branch "+string(rule.Name)+" was removed"
		res.Keep(f, where)
	default:
		f.Severity, f.Title = finding.SeverityMedium, "Protection of branch "+string(rule.Name)+" was changed"
		res.Keep(f, where)
	}
}
