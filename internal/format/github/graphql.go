package github

import (
	"encoding/json"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// graphRepository is a repository of a GraphQL answer.
type graphRepository struct {
	Name          format.String `json:"name"`
	NameWithOwner format.String `json:"nameWithOwner"`
	URL           format.String `json:"url"`
	Alerts        *struct {
		Nodes []json.RawMessage `json:"nodes"`
	} `json:"vulnerabilityAlerts"`
}

// graphAlert is a RepositoryVulnerabilityAlert of the GraphQL API.
type graphAlert struct {
	ID            format.String `json:"id"`
	Number        format.String `json:"number"`
	State         format.String `json:"state"`
	Created       format.String `json:"createdAt"`
	Dismissed     format.String `json:"dismissedAt"`
	DismissReason format.String `json:"dismissReason"`
	Fixed         format.String `json:"fixedAt"`
	Manifest      format.String `json:"vulnerableManifestPath"`
	Requirements  format.String `json:"vulnerableRequirements"`
	Vulnerability *struct {
		Severity format.String `json:"severity"`
		Package  pkg           `json:"package"`
		Range    format.String `json:"vulnerableVersionRange"`
		Patched  struct {
			Identifier format.String `json:"identifier"`
		} `json:"firstPatchedVersion"`
		Advisory struct {
			Summary     format.String `json:"summary"`
			Description format.String `json:"description"`
			Identifiers []struct {
				Value format.String `json:"value"`
			} `json:"identifiers"`
			CVSS struct {
				Score format.Number `json:"score"`
			} `json:"cvss"`
			CWEs struct {
				Nodes []struct {
					ID format.String `json:"cweId"`
				} `json:"nodes"`
			} `json:"cwes"`
		} `json:"advisory"`
	} `json:"securityVulnerability"`
}

// readGraphQL reads data.repository or the repositories of data.search.
func readGraphQL(res *format.Result, raw json.RawMessage, opt format.Options, where string) {
	var d struct {
		Repository *graphRepository `json:"repository"`
		Search     struct {
			Nodes []json.RawMessage `json:"nodes"`
		} `json:"search"`
	}
	if err := format.Unmarshal(raw, &d); err != nil {
		res.Refuse(where, "", format.Reason(err))
		return
	}
	if d.Repository != nil {
		readRepository(res, *d.Repository, opt, format.Pointer(opt, where, "repository"))
	}
	for i, raw := range d.Search.Nodes {
		at := format.Pointer(opt, where, "search", "nodes", i)
		var r graphRepository
		if err := format.Unmarshal(raw, &r); err != nil {
			res.Refuse(at, "", "repository: "+format.Reason(err))
			continue
		}
		readRepository(res, r, opt, at)
	}
	if d.Repository == nil && d.Search.Nodes == nil {
		res.Refuse(where, "", "data: neither repository nor search is there; query repository { vulnerabilityAlerts { nodes { … } } }")
	}
}

func readRepository(res *format.Result, r graphRepository, opt format.Options, where string) {
	if r.Alerts == nil {
		return
	}
	name := format.First(string(r.NameWithOwner), ownerAndName(string(r.URL)), string(r.Name))
	for i, raw := range r.Alerts.Nodes {
		readGraphAlert(res, raw, name, opt, format.Pointer(opt, where, "vulnerabilityAlerts", "nodes", i))
	}
}

func ownerAndName(u string) string {
	_, path, ok := strings.Cut(u, "://")
	if !ok {
		return ""
	}
	_, path, _ = strings.Cut(path, "/")
	return path
}

func readGraphAlert(res *format.Result, raw json.RawMessage, repo string, opt format.Options, where string) {
	var a graphAlert
	if err := format.Unmarshal(raw, &a); err != nil {
		res.Refuse(where, "", "alert: "+format.Reason(err))
		return
	}
	if a.Vulnerability == nil {
		res.Refuse(where, string(a.ID), "securityVulnerability: missing; ask for it in the query")
		return
	}
	if a.Number == "" && a.ID == "" {
		res.Refuse(where, repo, "number: missing, and so is id; nothing names the alert, ask for them in the query")
		return
	}
	v := a.Vulnerability
	f := finding.Finding{Tenant: opt.Tenant, Source: "github." + kindDependabot, Product: "GitHub", Class: finding.VulnerablePackage, NativeID: string(a.ID)}
	if repo != "" && a.Number != "" { // the same alert by webhook has this name
		f.NativeID = repo + "/" + kindDependabot + "/" + string(a.Number)
	}
	setRepository(&f, repo, repository{})
	f.Location.File = string(a.Manifest)
	f.FirstSeen = format.Time(string(a.Created))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	var ids []string
	for _, i := range v.Advisory.Identifiers {
		ids = append(ids, string(i.Value))
	}
	f.Weakness.CVE, f.Weakness.Advisory = format.CVEs(ids...), format.Advisories(ids...)
	for _, c := range v.Advisory.CWEs.Nodes {
		f.Weakness.CWE = append(f.Weakness.CWE, string(c.ID))
	}
	f.Weakness.CVSS = format.CVSS(float64(v.Advisory.CVSS.Score))
	f.SourceSeverity = string(v.Severity)
	f.Severity, _ = finding.ParseSeverity(f.SourceSeverity)
	f.Rule = format.First(append(append([]string{}, f.Weakness.Advisory...), append(f.Weakness.CVE, ids...)...)...)
	f.Title, f.Description = format.First(string(v.Advisory.Summary), f.Rule), string(v.Advisory.Description)
	f.Component = finding.Component{Name: string(v.Package.Name), Ecosystem: strings.ToLower(string(v.Package.Ecosystem)), Path: string(a.Manifest),
		FixedVersion: string(v.Patched.Identifier), Version: strings.TrimPrefix(string(a.Requirements), "= ")}
	f.Component.PURL = format.PURL(f.Component.Ecosystem, f.Component.Name, "")
	switch {
	case a.State == "FIXED" || a.Fixed != "":
		f.Status = finding.StatusFixed
	case a.State == "DISMISSED" || a.State == "AUTO_DISMISSED" || a.Dismissed != "":
		f.Status = finding.StatusDismissed
	}
	format.AddEvidence(&f, "dismiss reason", string(a.DismissReason))
	format.AddEvidence(&f, "vulnerable versions", string(v.Range))
	format.SetParam(&f, "package", f.Component.Name)
	format.SetParam(&f, "fixed_version", f.Component.FixedVersion)
	if repo == "" {
		f.Asset = finding.Asset{Type: "repository", Provider: "github"}
		if f.Location.File == "" {
			f.Asset.UID = "unnamed repository"
		}
		f.Params = nil
		format.SetParam(&f, "package", f.Component.Name)
	}
	res.Keep(f, where)
}
