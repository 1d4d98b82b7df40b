package ocsf

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// info returns the finding's own description wherever its class keeps it.
func (e *event) info() findingInfo {
	switch {
	case len(e.InfoList) > 0:
		return e.InfoList[0]
	case e.InfoOld.UID != "":
		return e.InfoOld
	}
	return e.Info
}

// finding builds the finding of an event.
func (e *event) finding() finding.Finding {
	i := e.info()
	x := e.Extension
	own := x != nil
	if !own {
		x = &extension{}
	}
	product := string(e.Metadata.Product.Name)
	f := finding.Finding{Source: x.Source, Product: product, NativeID: x.NativeID, Rule: x.Rule, Title: string(i.Title), Description: string(i.Desc),
		Class: x.Class, Domain: x.Domain, Status: e.status(), Confidence: e.confidence(), SourceSeverity: string(e.Vendor.Severity),
		Recommended: string(e.Remediation.Desc), Deadline: x.Deadline, Exposure: x.Exposure, OwnerHints: x.OwnerHints, Identity: x.Identity,
		Location: x.Location, Params: x.Params}
	e.times(&f)
	e.asset(&f, x)
	e.weakness(&f, x)
	for _, ev := range e.Evidences {
		if ev.Data.Value != nil {
			f.Evidence = append(f.Evidence, finding.Evidence{Name: string(ev.Name), Value: *ev.Data.Value})
		}
	}
	f.Severity = e.severity()
	if own {
		return f
	}
	e.foreign(&f)
	return f
}

// foreign fills in what another producer's event says in its own places.
func (e *event) foreign(f *finding.Finding) {
	i := e.info()
	f.Source = "ocsf." + format.First(format.Slug(format.First(string(e.Metadata.Product.UID), f.Product)), "unknown")
	if strings.HasPrefix(string(e.Metadata.Product.UID), "arn:") {
		f.Source = "ocsf." + format.First(format.Slug(f.Product), "aws")
	}
	f.NativeID = string(i.UID)
	f.Rule = format.First(string(e.Metadata.EventCode), string(i.Analytic.UID), string(i.Analytic.Name), string(e.Compliance.Control))
	if f.Rule == "" && len(f.Weakness.CVE) > 0 {
		f.Rule = f.Weakness.CVE[0]
	}
	f.SourceSeverity = format.First(f.SourceSeverity, string(e.Severity))
	f.Location.URL = string(i.URL)
	detail := format.First(string(e.Detail), string(e.Message))
	if f.Title == "" {
		f.Title = format.First(detail, f.Rule)
	} else if detail != "" && detail != f.Title {
		f.Description = strings.TrimSpace(detail + "\n\n" + f.Description)
	}
	if len(e.Vulnerabilities) > 0 {
		v := e.Vulnerabilities[0]
		f.Recommended = format.First(f.Recommended, string(v.Remediation.Desc))
		if len(v.Code) > 0 && f.Location.File == "" {
			f.Location.File, f.Location.Line = format.First(string(v.Code[0].File.Path), string(v.Code[0].File.Name)), v.Code[0].Start.Int()
		}
		if v.Exploit != nil && *v.Exploit {
			format.AddEvidence(f, "exploit available", "yes")
		}
	}
	for _, ev := range e.Evidences {
		if f.Identity.Principal == "" {
			f.Identity.Principal = format.First(string(ev.Actor.User.Name), string(ev.Actor.User.UID))
		}
	}
	f.Identity.Principal = format.First(f.Identity.Principal, string(e.User.Name), string(e.User.UID))
	f.Class = e.class(f)
	if e.Databucket.Public != nil {
		f.Exposure.InternetFacing = finding.TriOf(*e.Databucket.Public)
	} else if publicState(f) {
		f.Exposure.InternetFacing = finding.Yes
	}
	format.AddHint(f, "user", format.First(string(e.Assignee.Name), string(e.Assignee.UID)))
	format.AddHint(f, "team", string(e.Group.Name))
	for _, r := range e.Resources {
		format.AddHint(f, "email", string(r.Owner.Email))
		format.AddHint(f, "user", format.First(string(r.Owner.Name), string(r.Owner.UID)))
		format.AddHint(f, "namespace", string(r.Namespace))
	}
	format.OwnerTags(f)
	if f.Asset.Provider == "aws" || f.Asset.Type == "bucket" {
		format.AWSParams(f)
	}
	format.AddEvidence(f, "risk", string(e.Risk))
}

func (e *event) times(f *finding.Finding) {
	i := e.info()
	f.FirstSeen = format.FirstTime(string(i.FirstDT), string(i.First))
	f.LastSeen = format.FirstTime(string(i.LastDT), string(i.Last))
	if e.Extension == nil && f.FirstSeen.IsZero() {
		f.FirstSeen = format.FirstTime(string(i.CreatedDT), string(i.Created), string(e.TimeDT), string(e.EventTime), string(e.Time))
	}
	if f.LastSeen.Before(f.FirstSeen) {
		f.LastSeen = f.FirstSeen
	}
}

func (e *event) severity() finding.Severity {
	id := e.SeverityID.Int()
	switch {
	case id >= 1 && id <= 5:
		return severities()[id]
	case id == 6: // Fatal
		return finding.SeverityCritical
	}
	s, _ := finding.ParseSeverity(string(e.Severity))
	return s
}

// confidence prefers the score; the three steps stand for 30, 60 and 90.
func (e *event) confidence() int {
	if n := e.Confidence.Int(); n > 0 {
		return min(n, 100)
	}
	if id := e.ConfID.Int(); id >= 1 && id <= 3 {
		return 30 * id
	}
	return 0
}

func (e *event) asset(f *finding.Finding, x *extension) {
	a := finding.Asset{Provider: strings.ToLower(string(e.Cloud.Provider)), Account: string(e.Cloud.Account.UID), Region: string(e.Cloud.Region),
		Environment: x.Environment, App: x.App, CustomerFacing: x.CustomerFacing, DataClass: x.DataClass, Regulated: x.Regulated}
	if e.Extension != nil {
		a.Provider = string(e.Cloud.Provider)
	}
	list := e.Resources
	if len(list) == 0 && e.ResourceOld != nil {
		list = []resource{*e.ResourceOld}
	}
	switch {
	case len(list) > 0:
		r := list[0]
		a.UID, a.Name, a.Type, a.Criticality = string(r.UID), string(r.Name), string(r.Type), string(r.Criticality)
		a.Region = format.First(a.Region, string(r.Region))
		for _, t := range r.Tags {
			if a.Tags == nil {
				a.Tags = map[string]string{}
			}
			a.Tags[string(t.Name)] = string(t.Value)
		}
		if e.Extension == nil {
			foreignResource(&a, r)
			for _, other := range list[1:] {
				format.AddEvidence(f, "also concerns", format.First(string(other.UID), string(other.Name)))
			}
		}
	case e.Databucket.UID != "" || e.Databucket.Name != "":
		a.UID, a.Name, a.Type = format.First(string(e.Databucket.UID), string(e.Databucket.Name)), string(e.Databucket.Name), "bucket"
	case e.Device.UID != "" || e.Device.Hostname != "":
		a.UID, a.Name, a.Type = format.First(string(e.Device.Hostname), string(e.Device.UID)), string(e.Device.Name), "host"
	case e.Application.UID != "" || e.Application.Name != "":
		a.UID, a.Name, a.Type = format.First(string(e.Application.UID), string(e.Application.Name)), string(e.Application.Name), "application"
	case a.Account != "":
		a.UID, a.Type = a.Account, "account"
	}
	f.Asset = a
}

// foreignResource completes an asset from another producer's resource.
func foreignResource(a *finding.Asset, r resource) {
	a.UID = format.First(a.UID, a.Name)
	if arn, ok := format.ParseARN(a.UID); ok {
		a.Provider = "aws"
		a.Account = format.First(a.Account, arn.Account)
		a.Region = format.First(a.Region, arn.Region)
		if a.Name == "" || a.Name == a.UID {
			a.Name = arn.Name()
		}
		if a.Type == "" && arn.Service == "ec2" && strings.HasPrefix(arn.Resource, "security-group/") {
			a.Type = "security_group"
		}
	}
	a.Type = format.AWSAssetType(a.Type)
	if strings.EqualFold(string(r.Group.Name), "s3") && strings.HasPrefix(a.UID, "arn:aws:s3:::") {
		a.Type = "bucket"
	}
	if a.Type == "bucket" && (a.Name == "" || a.Name == a.UID) {
		a.Name = strings.TrimPrefix(a.UID, "arn:aws:s3:::")
	}
	for _, l := range r.Labels {
		k, v, ok := strings.Cut(l, ":")
		if !ok {
			k, v, ok = strings.Cut(l, "=")
		}
		if ok {
			if a.Tags == nil {
				a.Tags = map[string]string{}
			}
			if _, there := a.Tags[k]; !there {
				a.Tags[k] = v
			}
		}
	}
}

func (e *event) weakness(f *finding.Finding, x *extension) {
	w := &f.Weakness
	w.CWE, w.Control, w.SecretHash, w.KEV, w.CVSS = x.CWE, format.First(x.Control, string(e.Compliance.Control)), x.SecretHash, x.KEV, x.CVSS
	for _, v := range e.Vulnerabilities {
		add(&w.CVE, string(v.CVE.UID))
		add(&w.Advisory, string(v.Advisory.UID))
		add(&w.CWE, string(v.CWE.UID))
		add(&w.CWE, string(v.CVE.CWEUID))
		for _, c := range v.CVE.Related {
			add(&w.CWE, string(c.UID))
		}
		if e.Extension == nil {
			for _, c := range v.CVE.CVSS {
				w.CVSS = max(w.CVSS, format.CVSS(float64(c.Score)))
			}
		}
		if len(v.Packages) > 0 && f.Component.Name == "" {
			p := v.Packages[0]
			f.Component = finding.Component{Name: string(p.Name), Version: string(p.Version), FixedVersion: string(p.Fixed), PURL: string(p.PURL),
				Ecosystem: string(p.Manager), Path: string(p.Path)}
		}
	}
	if x.Component != nil {
		f.Component = *x.Component
	}
}

// add appends an id once.
func add(list *[]string, id string) {
	for _, x := range *list {
		if x == id {
			return
		}
	}
	if id != "" {
		*list = append(*list, id)
	}
}
