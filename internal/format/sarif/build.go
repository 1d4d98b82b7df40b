package sarif

import (
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// context is what all results of a run share.
type context struct {
	run     *run
	opt     format.Options
	rules   map[string]*rule
	source  string
	repo    string
	branch  string
	image   string
	subject string // what was scanned, as far as the run says
	kind    toolKind
	first   time.Time
	none    *rule
}

func newContext(r *run, opt format.Options) *context {
	c := &context{run: r, opt: opt, rules: map[string]*rule{}, none: &rule{}}
	tool := string(r.Tool.Driver.Name)
	c.kind = kindOfTool(tool)
	c.source = Name
	if s := format.Slug(tool); s != "" {
		c.source += "." + s
	}
	for _, part := range append([]component{r.Tool.Driver}, r.Tool.Extensions...) {
		for _, x := range part.Rules {
			if x == nil {
				continue
			}
			if _, ok := c.rules[x.id()]; !ok && x.ID != "" {
				c.rules[x.id()] = x
			}
		}
	}
	if len(r.Provenance) > 0 {
		c.repo, c.branch = trimRepository(string(r.Provenance[0].Repository)), string(r.Provenance[0].Branch)
	}
	c.image = r.Properties.text("imageName")
	if tags := r.Properties.list("repoTags"); len(tags) > 0 {
		c.image = tags[0]
	}
	if len(r.Invocations) > 0 {
		c.first = format.FirstTime(string(r.Invocations[0].End), string(r.Invocations[0].Start))
	}
	if c.first.IsZero() {
		c.first = opt.Now
	}
	c.subject = format.First(c.image, c.repo, string(r.Automation.ID), opt.File, "unnamed scan of "+format.First(tool, "an unnamed tool"))
	return c
}

// trimRepository drops what does not identify a repository from its address.
func trimRepository(uri string) string {
	if u, err := url.Parse(uri); err == nil && u.Host != "" {
		uri = u.Host + u.Path
	}
	return strings.TrimSuffix(strings.TrimSuffix(uri, "/"), ".git")
}

func (c *context) driverRule(i int) *rule {
	if rules := c.run.Tool.Driver.Rules; i >= 0 && i < len(rules) {
		return rules[i]
	}
	return nil
}

// ruleOf finds a result's rule: by reference into a tool component, by index,
// by id, and by the id's leading parts ("CA2101/1" is a case of "CA2101").
func (c *context) ruleOf(x *result) *rule {
	id := format.First(string(x.RuleID), string(x.Rule.ID))
	index := x.RuleIndex
	if x.Rule.Index != nil {
		index = x.Rule.Index
	}
	if ext := x.Rule.Component.Index; ext != nil && index != nil && *ext >= 0 && *ext < len(c.run.Tool.Extensions) {
		if rules := c.run.Tool.Extensions[*ext].Rules; *index >= 0 && *index < len(rules) && rules[*index] != nil {
			return rules[*index]
		}
	}
	if index != nil && x.Rule.Component.Index == nil {
		if r := c.driverRule(*index); r != nil && (id == "" || r.id() == id || strings.HasPrefix(id, r.id()+"/")) {
			return r
		}
	}
	for s := id; s != ""; {
		if r, ok := c.rules[s]; ok {
			return r
		}
		i := strings.LastIndexByte(s, '/')
		if i < 0 {
			break
		}
		s = s[:i]
	}
	return c.none
}

func (c *context) ruleID(x *result, r *rule) string {
	return format.First(string(x.RuleID), string(x.Rule.ID), r.id(), string(r.Name))
}

// finding builds the finding of one result.
func (c *context) finding(x *result, r *rule, id string) finding.Finding {
	template := ""
	if x.Message.ID != "" {
		m := r.Messages[string(x.Message.ID)]
		template = m.text("")
	}
	text := x.Message.text(template)
	f := finding.Finding{Tenant: c.opt.Tenant, Source: c.source, Product: string(c.run.Tool.Driver.Name), Rule: id}
	f.Severity, f.SourceSeverity = c.severity(x, r)
	c.locate(&f, x)
	f.Weakness.CWE = cwesOf(x, r)
	c.classify(&f, x, r, text)
	secret := f.Class == finding.SecretInCode
	snippet := c.fingerprint(&f, x, text, secret)
	if secret {
		text = redact(text, snippet)
	}
	f.Title = format.First(firstLine(text), string(r.Short.Text), string(r.Name), id)
	if c.kind == kindMixed || f.Class == finding.VulnerablePackage { // their messages are lists of labelled values
		f.Title = format.First(string(r.Short.Text), firstLine(text), id)
	}
	f.Description = description(text, f.Title, r)
	f.Recommended = recommended(x, r)
	f.Confidence = confidence(x, r)
	f.FirstSeen = format.FirstTime(string(x.Provenance.First))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = c.first
	}
	f.LastSeen = format.FirstTime(string(x.Provenance.Last))
	if f.LastSeen.IsZero() && !c.first.Before(f.FirstSeen) {
		f.LastSeen = c.first
	}
	if x.BaselineState == "absent" {
		f.Status = finding.StatusFixed
	}
	f.Location.URL = format.First(string(x.HostedViewer), string(r.HelpURI))
	format.AddEvidence(&f, "baseline", string(x.BaselineState))
	format.AddEvidence(&f, "branch", c.branch)
	for _, l := range x.Locations {
		for _, g := range l.Logical {
			format.AddEvidence(&f, "logical location", format.First(string(g.Full), string(g.Name)))
		}
	}
	for _, w := range x.WorkItems {
		format.AddEvidence(&f, "work item", w)
	}
	return f
}

// locate sets asset and location from the first location.
func (c *context) locate(f *finding.Finding, x *result) {
	f.Location.Repository = c.repo
	if len(x.Locations) > 0 {
		p := x.Locations[0].Physical
		uri := string(p.Artifact.URI)
		if i := p.Artifact.Index; uri == "" && i != nil && *i >= 0 && *i < len(c.run.Artifacts) {
			uri = string(c.run.Artifacts[*i].Location.URI)
		}
		f.Location.File = filePath(uri)
		f.Location.Line = p.Region.StartLine.Int()
	}
	switch {
	case c.image != "":
		f.Asset = finding.Asset{UID: c.image, Type: "image"}
	case c.repo != "":
		f.Asset = finding.Asset{UID: c.repo, Type: "repository"}
		if strings.HasPrefix(c.repo, "github.com/") {
			f.Asset.Provider = "github"
		}
	case c.opt.Asset.UID != "":
		f.Asset = c.opt.Asset
		if f.Asset.Type == "repository" {
			f.Location.Repository = f.Asset.UID
		}
	case f.Location.File == "":
		// Scanners of images and hosts often name no place: the scan itself is
		// the best name there is.
		f.Asset = finding.Asset{UID: c.subject, Type: "scan"}
	}
}

// filePath undoes the percent-encoding of relative references; absolute URIs
// are kept as they are, they name a place on the machine that scanned.
func filePath(uri string) string {
	if strings.Contains(uri, "://") || strings.HasPrefix(uri, "file:") {
		return uri
	}
	if p, err := url.PathUnescape(uri); err == nil {
		return p
	}
	return uri
}

// fingerprint sets SnippetHash and NativeID and returns the snippet, for
// redaction. The stable name of a result is, in this order, the snippet's
// hash, the tool's fingerprints, the message without its numbers.
func (c *context) fingerprint(f *finding.Finding, x *result, text string, secret bool) string {
	snippet := ""
	if len(x.Locations) > 0 {
		snippet = strings.TrimSpace(string(x.Locations[0].Physical.Region.Snippet.Text))
	}
	prints := sortedPrints(x.Fingerprints)
	if len(prints) == 0 {
		prints = sortedPrints(x.Partial)
	}
	if len(prints) > 0 {
		if secret { // fingerprints of secret scanners may quote the secret
			for i, p := range prints {
				prints[i] = c.opt.Secret(p)
			}
		}
		// Fingerprints are unique within a rule and file at most, and vendored
		// copies share them: rule, place and repository belong to the identity.
		f.NativeID = strings.Join(append(prints, f.Rule, format.First(c.repo, c.opt.Asset.UID), c.image, f.Location.File), "|")
	}
	switch {
	case secret && snippet != "":
		f.Location.SnippetHash = c.opt.Secret(snippet)
		if bareSecret(snippet) {
			f.Weakness.SecretHash = f.Location.SnippetHash
		}
	case snippet != "":
		f.Location.SnippetHash = format.Hash(snippet)
	case len(prints) > 0:
		f.Location.SnippetHash = format.Hash(prints...)
	default:
		f.Location.SnippetHash = format.Hash(withoutNumbers(text))
	}
	return snippet
}

func sortedPrints(m format.StringMap) []string {
	out := make([]string, 0, len(m))
	for k, v := range m {
		if v != "" {
			out = append(out, k+":"+v)
		}
	}
	sort.Strings(out)
	return out
}

// bareSecret reports whether a snippet is the secret itself and not a line of
// code around it.
func bareSecret(s string) bool { return len(s) >= 8 && !strings.ContainsAny(s, " \t\n=\"'(){};*") }

// redact takes a quoted secret out of a text: the snippet as a whole and its
// parts long enough to be one.
func redact(text, snippet string) string {
	if snippet == "" {
		return text
	}
	text = strings.ReplaceAll(text, snippet, "[redacted]")
	for _, w := range strings.FieldsFunc(snippet, func(r rune) bool { return strings.ContainsRune(" \t\r\n=:\"'`,;(){}[]<>", r) }) {
		if len(w) >= 8 {
			text = strings.ReplaceAll(text, w, "[redacted]")
		}
	}
	return text
}

func withoutNumbers(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}

func description(text, title string, r *rule) string {
	d := text
	if full := r.Full.text(""); full != "" && full != text {
		if d != "" {
			d += "\n\n"
		}
		d += full
	}
	if d == title {
		return ""
	}
	return d
}

func recommended(x *result, r *rule) string {
	for _, fix := range x.Fixes {
		if t := fix.Description.text(""); t != "" {
			return t
		}
	}
	if v := fixedVersion(r); v != "" {
		return "Update to " + v
	}
	return string(r.Help.Text)
}

// confidence maps CodeQL's precision words and the words other tools put in
// their property bags.
func confidence(x *result, r *rule) int {
	for _, p := range []properties{x.Properties, r.Properties} {
		for _, k := range []string{"issue_confidence", "confidence", "DevSkimConfidence", "precision"} {
			switch strings.ToLower(p.text(k)) {
			case "very-high", "certain", "confirmed":
				return 95
			case "high":
				return 80
			case "medium", "moderate":
				return 50
			case "low":
				return 20
			}
		}
	}
	return 0
}

func parseScore(s string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return v, err == nil && v >= 0 && v <= 10
}
