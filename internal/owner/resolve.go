package owner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/casement/casement/internal/finding"
)

// tagKeys are the tags that name an owner, best first; compared without case,
// and with "_" and "-" alike.
const tagKeys = "owner owner-email owning-team ownerteam team squad service-owner product-owner contact a8r.io/owner costcenter cost-center"

// answer is what a source has to say: names to try in order, or why it has none.
type answer struct {
	names []string
	why   string
}

// Resolve returns whose the finding is. It always answers: the last source is
// the fallback team.
func Resolve(d *Directory, q Question) Assignment {
	var a Assignment
	for _, s := range []struct {
		source     Source
		confidence int
		ask        func(finding.Finding) answer
	}{
		{FromOverride, 100, func(f finding.Finding) answer { return d.byOverride(f, q) }},
		{FromTag, 90, byTag},
		{FromCodeowners, 80, d.byCodeowners},
		{FromCatalog, 75, d.byCatalog},
		{FromHint, 60, byHint},
		{FromAccount, 50, d.byAccount},
		{FromFallback, 0, func(finding.Finding) answer {
			return answer{names: []string{d.data.Fallback}, why: "no other source answers"}
		}},
	} {
		says := s.ask(q.Finding)
		if len(says.names) == 0 {
			a.Chain = append(a.Chain, Step{Source: s.source, Why: says.why})
			continue
		}
		for _, name := range says.names {
			step := Step{Source: s.source, Value: name, Why: says.why}
			named, known := d.lookup(name)
			if !known {
				step.Why = fmt.Sprintf("%s, but no person or team here is called %q", says.why, name)
				a.Chain, a.Gaps = append(a.Chain, step), append(a.Gaps, fmt.Sprintf("%s names %q, who is not in the directory", s.source, name))
				continue
			}
			owner, why := d.standIn(named, q)
			if owner == "" && s.source == FromFallback {
				owner, why = named, "nobody of the fallback team is there"
			}
			if why != "" {
				step.Why += "; " + why
			}
			if owner == "" {
				a.Chain, a.Gaps = append(a.Chain, step), append(a.Gaps, fmt.Sprintf("%s names %s: %s", s.source, named, why))
				continue
			}
			step.Answered = true
			a.Chain = append(a.Chain, step)
			a.Owner, a.Source, a.Confidence = owner, s.source, s.confidence
			if owner != named {
				a.Named = named
				if p, ok := d.people[named]; !ok || p.Left {
					a.Gaps = append(a.Gaps, fmt.Sprintf("%s names %s: %s", s.source, named, why))
				}
			}
			if s.source == FromFallback {
				a.Gaps = append(a.Gaps, "no source names an owner: tag the asset, or add it to CODEOWNERS, the catalog or accounts")
			}
			d.fillPeople(&a, q)
			return a
		}
	}
	return a // not reached: the fallback answers
}

// byOverride finds the first override in force that matches.
func (d *Directory) byOverride(f finding.Finding, q Question) answer {
	for i, o := range d.data.Overrides {
		if !o.Until.IsZero() && !q.At.Before(o.Until) {
			continue
		}
		matches := true
		for _, m := range [][2]string{{o.Asset, f.Asset.UID}, {o.App, f.Asset.App}, {o.Account, f.Asset.Account},
			{o.Environment, f.Asset.Environment}, {o.Class, string(f.Class)}} {
			matches = matches && (m[0] == "" || glob(m[0], m[1]))
		}
		if o.Repository != "" {
			matches = matches && glob(canonicalRepository(o.Repository), canonicalRepository(repository(f)))
		}
		if matches {
			why := fmt.Sprintf("overrides[%d] matches", i)
			if o.Reason != "" {
				why += " (" + o.Reason + ")"
			}
			return answer{names: []string{o.Owner}, why: why}
		}
	}
	return answer{why: "no override matches"}
}

// byTag reads the asset's own tags.
func byTag(f finding.Finding) answer {
	norm := func(s string) string { return strings.ReplaceAll(fold(s), "_", "-") }
	keys := slices.Sorted(maps.Keys(f.Asset.Tags)) // two spellings of one key: the first by order
	var names []string
	why := ""
	for _, want := range strings.Fields(tagKeys) {
		for _, k := range keys {
			if v := strings.TrimSpace(f.Asset.Tags[k]); norm(k) == want && v != "" {
				names = append(names, v)
				if why == "" {
					why = "the asset is tagged " + k
				}
			}
		}
	}
	if quoted := hints(f, "tag"); len(quoted) > 0 {
		names = append(names, quoted...)
		if why == "" {
			why = "the alert quotes a tag of the asset"
		}
	}
	if len(names) == 0 {
		return answer{why: "the asset has no tag that names an owner"}
	}
	return answer{names, why}
}

// byHint reads what the alert says of people and teams.
func byHint(f finding.Finding) answer {
	names := hints(f, "team", "user", "email")
	if len(names) == 0 {
		return answer{why: "the alert names no owner"}
	}
	return answer{names, "the alert names an owner"}
}

// byCodeowners asks the CODEOWNERS file of the repository.
func (d *Directory) byCodeowners(f finding.Finding) answer {
	if names := hints(f, "codeowners"); len(names) > 0 {
		return answer{names, "the alert quotes CODEOWNERS"}
	}
	repo := canonicalRepository(repository(f))
	rules, ok := d.rules[repo]
	switch {
	case repo == "":
		return answer{why: "the finding names no repository"}
	case !ok:
		return answer{why: fmt.Sprintf("no CODEOWNERS of %s is known", repo)}
	case f.Location.File == "":
		return answer{why: "the finding names no file"}
	}
	owners, line := rules.Of(f.Location.File)
	switch {
	case line == 0:
		return answer{why: fmt.Sprintf("no line of CODEOWNERS matches %s", f.Location.File)}
	case len(owners) == 0:
		return answer{why: fmt.Sprintf("CODEOWNERS line %d leaves %s without owner on purpose", line, f.Location.File)}
	}
	return answer{owners, fmt.Sprintf("CODEOWNERS line %d owns %s", line, f.Location.File)}
}

// byCatalog finds the component of the finding: by name, repository or asset.
func (d *Directory) byCatalog(f finding.Finding) answer {
	for _, name := range append([]string{f.Asset.App}, hints(f, "catalog")...) {
		if c, ok := d.components[entityKey(name, "component")]; ok && name != "" {
			return d.ofComponent(c, "by name")
		}
	}
	best, how := len(d.data.Components), ""
	if i, ok := d.byRepository[canonicalRepository(repository(f))]; ok && repository(f) != "" {
		best, how = i, "by repository"
	}
	if i, ok := d.byAsset[fold(f.Asset.UID)]; ok && f.Asset.UID != "" && i < best {
		best, how = i, "by asset"
	}
	for _, p := range d.patterns {
		if p.component >= best {
			break // in the order of components: none before best follows
		}
		if glob(p.pattern, f.Asset.UID) {
			best, how = p.component, "by asset "+p.pattern
		}
	}
	if how != "" {
		return d.ofComponent(d.data.Components[best], how)
	}
	return answer{why: "no component of the catalog matches"}
}

// ofComponent is the owner of a component, else of its system.
func (d *Directory) ofComponent(c Component, how string) answer {
	if c.Owner != "" {
		return answer{[]string{c.Owner}, fmt.Sprintf("component %s (%s)", c.Name, how)}
	}
	if s, ok := d.systems[entityKey(c.System, "system")]; ok && s.Owner != "" {
		return answer{[]string{s.Owner}, fmt.Sprintf("system %s of component %s (%s)", s.Name, c.Name, how)}
	}
	return answer{why: fmt.Sprintf("component %s (%s) names no owner", c.Name, how)}
}

// byAccount asks for the account and namespace, most exact first.
func (d *Directory) byAccount(f finding.Finding) answer {
	account := f.Asset.Account
	namespaces := hints(f, "namespace")
	if ns := f.Asset.Tags["namespace"]; ns != "" {
		namespaces = append(namespaces, ns)
	}
	var keys []string
	for _, ns := range namespaces {
		keys = append(keys, account+"/"+ns)
	}
	for _, key := range append(append(keys, namespaces...), account) {
		if to := d.accounts[fold(key)]; to != "" {
			return answer{[]string{to}, "account or namespace " + key}
		}
	}
	if account == "" && len(namespaces) == 0 {
		return answer{why: "the finding names no account or namespace"}
	}
	return answer{why: "no owner is known for its account or namespace"}
}

// hints returns the values of the finding's hints of some kinds, in order.
func hints(f finding.Finding, kinds ...string) []string {
	var values []string
	for _, h := range f.OwnerHints {
		if slices.Contains(kinds, h.Kind) && strings.TrimSpace(h.Value) != "" {
			values = append(values, h.Value)
		}
	}
	return values
}

// repository is where the finding's code is.
func repository(f finding.Finding) string {
	if f.Location.Repository == "" && f.Asset.Type == "repository" {
		return f.Asset.UID
	}
	return f.Location.Repository
}
