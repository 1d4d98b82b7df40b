// Package gitleaks reads the JSON reports of Gitleaks: version 8 (RuleID,
// Secret, Match) and the older form (rule, offender, line).
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: a secret
// is named by its keyed hash and is in no text of the finding; the tool's own
// fingerprint holds commit and line and changes when code moves, so it is not
// the finding's identity; text that can't tell two secrets apart (a redacted
// report, the header of a key) is never hashed as a secret.
package gitleaks

import (
	"net/url"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "gitleaks"

// Reader reads the JSON of Gitleaks.
type Reader struct{}

// Name returns "gitleaks".
func (Reader) Name() string { return Name }

// Records are the elements of a list.
func (Reader) Records() []string { return []string{"[]"} }

// Detect looks for the two forms of a leak.
func (Reader) Detect(p format.Probe) int {
	for _, at := range []string{"", "[]."} {
		if p.HasAll(at+"RuleID", at+"Secret") || p.HasAll(at+"rule", at+"offender") || p.HasAll(at+"RuleID", at+"Match", at+"StartLine") {
			return 97
		}
	}
	return 0
}

// SecretPaths names the places that hold secrets or quote them.
func (Reader) SecretPaths() []string {
	return []string{"**.Secret", "**.Match", "**.line", "**.offender", "**.Message", "**.commitMessage"}
}

// leak is one record. encoding/json matches keys in any case, so Commit, File,
// Date, Email and Tags are read from both forms.
type leak struct {
	RuleID      format.String  `json:"RuleID"`
	Description format.String  `json:"Description"`
	Match       format.String  `json:"Match"`
	Secret      format.String  `json:"Secret"`
	File        format.String  `json:"File"`
	Commit      format.String  `json:"Commit"`
	Email       format.String  `json:"Email"`
	Date        format.String  `json:"Date"`
	Tags        format.Strings `json:"Tags"`
	StartLine   format.Number  `json:"StartLine"`
	Link        format.String  `json:"Link"`

	Rule       format.String `json:"rule"`
	Offender   format.String `json:"offender"`
	Line       format.String `json:"line"`
	LineNumber format.Number `json:"lineNumber"`
	Repo       format.String `json:"repo"`
	RepoURL    format.String `json:"repoURL"`
	LeakURL    format.String `json:"leakURL"`
}

// Read reads all leaks of a report.
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
		var l leak
		if err := format.Unmarshal(v.Raw, &l); err != nil {
			res.Refuse(v.Where, "", "leak: "+format.Reason(err))
			continue
		}
		rule := format.First(string(l.RuleID), string(l.Rule))
		switch {
		case rule == "":
			res.Refuse(v.Where, string(l.File), "RuleID: missing; it says what kind of secret was found")
		case l.Secret == "" && l.Match == "" && l.Offender == "":
			res.Refuse(v.Where, rule, "Secret: missing, and so is Match; nothing says what was found")
		case l.File == "" && l.Commit == "":
			res.Refuse(v.Where, rule, "File: missing, and so is Commit; nothing says where the secret is")
		default:
			res.Keep(l.finding(rule, opt), v.Where)
		}
	}
	return format.Finish(res, body, opt)
}

// finding builds the finding of a leak. Gitleaks states no severity: a secret
// that works is high until somebody knows better.
func (l *leak) finding(rule string, opt format.Options) finding.Finding {
	secret := string(l.Secret)
	if l.RuleID == "" {
		secret = string(l.Offender)
	}
	f := finding.Finding{Tenant: opt.Tenant, Source: Name, Product: "Gitleaks", Rule: rule, Class: finding.SecretInCode, Severity: finding.SeverityHigh,
		Title: format.First(string(l.Description), rule), Recommended: "Revoke the secret at its issuer, then remove it from the file and from history"}
	f.Weakness.CWE = []string{"CWE-798"}
	f.Location.File = string(l.File)
	f.Location.Line = max(l.StartLine.Int(), l.LineNumber.Int())
	f.Location.URL = format.First(string(l.Link), string(l.LeakURL))
	l.asset(&f, opt)
	if distinct(secret) {
		f.Weakness.SecretHash = opt.Secret(secret)
	}
	format.AddEvidence(&f, "commit", string(l.Commit))
	format.AddEvidence(&f, "tags", strings.Join(l.Tags, ", "))
	clean(&f, secret, string(l.Match), string(l.Offender))
	if f.Weakness.SecretHash != "" {
		f.NativeID = strings.Join([]string{f.Rule, f.Asset.UID, f.Location.File, f.Weakness.SecretHash}, "|")
	} else {
		f.Location.SnippetHash = opt.Secret(rule + "|" + format.First(string(l.Match), string(l.Line), secret))
	}
	f.FirstSeen = format.FirstTime(string(l.Date))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	format.AddHint(&f, "email", string(l.Email))
	return f
}

// asset names the repository: the report knows it only from links.
func (l *leak) asset(f *finding.Finding, opt format.Options) {
	repo := repository(format.First(string(l.RepoURL), string(l.Link), string(l.LeakURL)))
	if repo == "" && strings.Trim(string(l.Repo), "./") != "" {
		repo = string(l.Repo)
	}
	if repo == "" {
		f.Asset = format.Scanned(opt, "repository")
		if f.Asset.Type == "repository" && opt.Asset.UID != "" {
			f.Location.Repository = f.Asset.UID
		}
		return
	}
	f.Location.Repository = repo
	f.Asset = finding.Asset{UID: repo, Type: "repository"}
	if strings.HasPrefix(repo, "github.com/") {
		f.Asset.Provider = "github"
	}
}

// repository returns host/owner/name of a link into a repository.
func repository(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return ""
	}
	path := strings.Trim(u.Path, "/")
	for _, mark := range []string{"/-/", "/blob/", "/src/", "/commit/", "/tree/"} {
		path, _, _ = strings.Cut(path, mark)
	}
	if !strings.Contains(path, "/") {
		return ""
	}
	return strings.ToLower(u.Host) + "/" + strings.TrimSuffix(path, ".git")
}

// distinct reports whether a text is a whole secret. A redacted one ends in
// REDACTED or "...", and old rules report a private key by its header alone.
func distinct(secret string) bool {
	switch s := strings.TrimSpace(secret); {
	case len(s) < 4, strings.HasSuffix(s, "REDACTED"), strings.HasSuffix(s, "..."):
		return false
	case strings.HasPrefix(s, "-----BEGIN"):
		_, material, ok := strings.Cut(strings.TrimPrefix(s, "-----"), "-----")
		return ok && len(strings.TrimSpace(material)) > 20
	}
	return true
}

// clean takes the secrets out of every text; a link that quotes one is dropped.
func clean(f *finding.Finding, secrets ...string) {
	for _, s := range secrets {
		if len(s) < 4 {
			continue
		}
		for _, p := range []*string{&f.Title, &f.Rule, &f.Location.File, &f.Asset.UID, &f.Location.Repository} {
			*p = strings.ReplaceAll(*p, s, "[redacted]")
		}
		for i := range f.Evidence {
			f.Evidence[i].Value = strings.ReplaceAll(f.Evidence[i].Value, s, "[redacted]")
		}
		if strings.Contains(f.Location.URL, s) || strings.Contains(f.Location.URL, url.QueryEscape(s)) {
			f.Location.URL = ""
		}
	}
}
