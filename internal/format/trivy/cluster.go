package trivy

import (
	"encoding/json"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// readCluster reads the report of `trivy k8s`.
func readCluster(res *format.Result, r *report, opt format.Options) {
	for _, list := range []struct {
		name  string
		items []json.RawMessage
	}{{"Resources", r.Resources}, {"Vulnerabilities", r.Vulnerabilities}, {"Misconfigurations", r.Misconfigurations}} {
		for i, raw := range list.items {
			at := format.Pointer(opt, "", list.name, i)
			var w workload
			if err := format.Unmarshal(raw, &w); err != nil {
				res.Refuse(at, "", "workload: "+format.Reason(err))
				continue
			}
			if w.Error != "" {
				res.Refuse(at, string(w.Name), "Trivy could not scan it: "+string(w.Error))
				continue
			}
			base := finding.Finding{Tenant: opt.Tenant, Source: Name, Product: "Trivy", FirstSeen: when(string(r.CreatedAt), opt)}
			format.SetWorkload(&base, string(r.ClusterName), string(w.Namespace), string(w.Kind), string(w.Name))
			readResults(res, w.Results, base, opt, format.Pointer(opt, at, "Results"))
		}
	}
}

// operatorReport is a custom resource of the Trivy operator.
type operatorReport struct {
	APIVersion format.String `json:"apiVersion"`
	Kind       format.String `json:"kind"`
	Metadata   struct {
		Name              format.String    `json:"name"`
		Namespace         format.String    `json:"namespace"`
		CreationTimestamp format.String    `json:"creationTimestamp"`
		Labels            format.StringMap `json:"labels"`
	} `json:"metadata"`
	Report *struct {
		Artifact struct {
			Repository format.String `json:"repository"`
			Tag        format.String `json:"tag"`
			Digest     format.String `json:"digest"`
		} `json:"artifact"`
		Registry struct {
			Server format.String `json:"server"`
		} `json:"registry"`
		UpdateTimestamp format.String     `json:"updateTimestamp"`
		Vulnerabilities []json.RawMessage `json:"vulnerabilities"`
		Checks          []json.RawMessage `json:"checks"`
		Secrets         []json.RawMessage `json:"secrets"`
	} `json:"report"`
}

// readOperator reads one custom resource.
func readOperator(res *format.Result, raw json.RawMessage, opt format.Options, where string) {
	var o operatorReport
	if err := format.Unmarshal(raw, &o); err != nil {
		res.Refuse(where, "", "report: "+format.Reason(err))
		return
	}
	if o.Report == nil {
		res.Refuse(where, string(o.Kind), `report: missing; a report of the Trivy operator has "report"`)
		return
	}
	m := o.Metadata
	f := finding.Finding{Tenant: opt.Tenant, Source: "trivy.operator", Product: "Trivy Operator"}
	label := func(k string) string { return m.Labels["trivy-operator."+k] }
	format.SetWorkload(&f, "", format.First(label("resource.namespace"), string(m.Namespace)), format.First(label("resource.kind"), string(o.Kind)),
		format.First(label("resource.name"), string(m.Name)))
	f.FirstSeen = format.FirstTime(string(m.CreationTimestamp), string(o.Report.UpdateTimestamp))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	f.LastSeen = format.Time(string(o.Report.UpdateTimestamp))
	if f.LastSeen.Before(f.FirstSeen) {
		f.LastSeen = f.FirstSeen
	}
	format.AddEvidence(&f, "container", label("container.name"))
	if a := o.Report.Artifact; a.Repository != "" {
		image := string(a.Repository)
		if s := string(o.Report.Registry.Server); s != "" && s != "index.docker.io" {
			image = s + "/" + image
		}
		if a.Tag != "" {
			image += ":" + string(a.Tag)
		}
		format.SetParam(&f, "image", image)
	}
	at := format.Pointer(opt, where, "report")
	for i, raw := range o.Report.Vulnerabilities {
		readOperatorVulnerability(res, raw, clone(f), format.Pointer(opt, at, "vulnerabilities", i))
	}
	for i, raw := range o.Report.Checks {
		readCheck(res, raw, clone(f), format.Pointer(opt, at, "checks", i))
	}
	for i, raw := range o.Report.Secrets {
		readSecret(res, raw, &result{}, clone(f), opt, format.Pointer(opt, at, "secrets", i))
	}
}

func readOperatorVulnerability(res *format.Result, raw json.RawMessage, f finding.Finding, where string) {
	var v struct {
		ID          format.String `json:"vulnerabilityID"`
		Resource    format.String `json:"resource"`
		PURL        format.String `json:"packagePURL"`
		PkgPath     format.String `json:"packagePath"`
		PackageType format.String `json:"packageType"`
		Installed   format.String `json:"installedVersion"`
		Fixed       format.String `json:"fixedVersion"`
		Severity    format.String `json:"severity"`
		Title       format.String `json:"title"`
		Description format.String `json:"description"`
		Score       format.Number `json:"score"`
		Link        format.String `json:"primaryLink"`
	}
	if err := format.Unmarshal(raw, &v); err != nil {
		res.Refuse(where, "", "vulnerability: "+format.Reason(err))
		return
	}
	if v.ID == "" {
		res.Refuse(where, string(v.Resource), "vulnerability: vulnerabilityID is missing")
		return
	}
	f.Class, f.Rule = finding.VulnerablePackage, string(v.ID)
	severity(&f, string(v.Severity))
	f.Title = format.First(string(v.Title), string(v.ID)+" in "+string(v.Resource))
	f.Description = string(v.Description)
	f.Weakness.CVE = format.CVEs(string(v.ID))
	if len(f.Weakness.CVE) == 0 {
		f.Weakness.Advisory = []string{string(v.ID)}
	}
	f.Weakness.CVSS = format.CVSS(float64(v.Score))
	f.Component = finding.Component{Name: string(v.Resource), Version: string(v.Installed), FixedVersion: string(v.Fixed), Path: string(v.PkgPath),
		PURL: string(v.PURL), Ecosystem: string(v.PackageType)}
	if v.Fixed != "" {
		f.Recommended = "Update " + string(v.Resource) + " to " + string(v.Fixed)
	}
	f.Location.URL = string(v.Link)
	res.Keep(f, where)
}

func readCheck(res *format.Result, raw json.RawMessage, f finding.Finding, where string) {
	var c struct {
		ID          format.String  `json:"checkID"`
		Title       format.String  `json:"title"`
		Description format.String  `json:"description"`
		Severity    format.String  `json:"severity"`
		Remediation format.String  `json:"remediation"`
		Messages    format.Strings `json:"messages"`
		Success     bool           `json:"success"`
	}
	if err := format.Unmarshal(raw, &c); err != nil {
		res.Refuse(where, "", "check: "+format.Reason(err))
		return
	}
	if c.ID == "" {
		res.Refuse(where, string(c.Title), "check: checkID is missing")
		return
	}
	if c.Success {
		res.Suppress(where, string(c.ID), "the check passed (success true)")
		return
	}
	f.Rule, f.Title, f.Description = string(c.ID), format.First(string(c.Title), string(c.ID)), string(c.Description)
	severity(&f, string(c.Severity))
	f.Weakness.Control = format.AVDControl(string(c.ID))
	f.Class = classOfCheck(f.Weakness.Control, true)
	f.Recommended = string(c.Remediation)
	f.Location.SnippetHash = format.Hash(c.Messages...)
	for _, m := range c.Messages {
		format.AddEvidence(&f, "message", m)
	}
	res.Keep(f, where)
}
