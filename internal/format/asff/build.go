package asff

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// finding builds the finding of one record.
func (a *record) finding(opt format.Options) finding.Finding {
	product := a.product()
	f := finding.Finding{Tenant: opt.Tenant, Source: a.source(), Product: product,
		NativeID: string(a.ID), Title: format.First(string(a.Title), string(a.GeneratorID)), Description: string(a.Description)}
	severity(&f, a)
	f.Confidence = min(100, a.Confidence.Int())
	f.FirstSeen = format.FirstTime(string(a.First), string(a.Created))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	f.LastSeen = format.FirstTime(string(a.Last), string(a.Updated))
	if f.LastSeen.Before(f.FirstSeen) || (!opt.Now.IsZero() && f.LastSeen.After(opt.Now)) {
		// Some products write a far future as "still going on".
		f.LastSeen = format.FirstTime(string(a.Updated))
		if f.LastSeen.Before(f.FirstSeen) {
			f.LastSeen = f.FirstSeen
		}
	}
	if strings.EqualFold(string(a.Workflow.Status), "RESOLVED") || a.RecordState == "ARCHIVED" {
		f.Status = finding.StatusFixed
	}
	f.Recommended = strings.TrimSpace(string(a.Remediation.Recommendation.Text) + " " + string(a.Remediation.Recommendation.URL))
	f.Location.URL = format.First(string(a.SourceURL), string(a.Remediation.Recommendation.URL))
	a.asset(&f)
	a.vulnerability(&f)
	a.rule(&f)
	f.Class = a.class(&f)
	a.params(&f)
	a.exposure(&f)
	format.OwnerTags(&f)
	for _, t := range a.Types {
		format.AddEvidence(&f, "type", t)
	}
	for _, r := range a.Compliance.Reasons {
		format.AddEvidence(&f, "status reason", string(r.Code))
	}
	for _, r := range a.Resources[1:] {
		format.AddEvidence(&f, "also concerns", string(r.ID))
	}
	return f
}

// source names the feed by the product's ARN, which every finding has and
// which stays when names change.
func (a *record) source() string {
	if arn, ok := format.ParseARN(string(a.ProductArn)); ok && !strings.HasSuffix(arn.Resource, "/default") {
		return "aws." + format.Slug(arn.Name())
	}
	return "aws." + format.First(format.Slug(a.product()), "securityhub")
}

// product names the tool: the stated name, else the last part of ProductArn.
func (a *record) product() string {
	if p := string(a.ProductName); p != "" && !strings.EqualFold(p, "default") {
		return p
	}
	for _, k := range []string{"ProviderName", "Product Name", "aws/securityhub/ProductName"} {
		if p := a.Fields[k]; p != "" && !strings.EqualFold(p, "default") {
			return p
		}
	}
	if arn, ok := format.ParseARN(string(a.ProductArn)); ok && !strings.HasSuffix(arn.Resource, "/default") {
		return arn.Name()
	}
	return "Security Hub"
}

// asset takes the first resource. AWS::::Account:1234 and arn:aws:::1234: are
// Security Hub's ways to say "the account".
func (a *record) asset(f *finding.Finding) {
	r := a.Resources[0]
	id := string(r.ID)
	arn, isARN := format.ParseARN(id)
	account := format.First(string(a.Account), accountOf(a))
	f.Asset = finding.Asset{UID: id, Type: format.AWSAssetType(string(r.Type)), Name: id, Provider: "aws", Account: account,
		Region: format.First(string(r.Region), string(a.Region)), App: string(r.Application)}
	if isARN {
		f.Asset.Name = arn.Name()
		f.Asset.Account = format.First(arn.Account, account)
		f.Asset.Region = format.First(arn.Region, f.Asset.Region)
		if arn.Service == "" && f.Asset.Type == "bucket" { // arn:aws:::name
			f.Asset.UID = "arn:aws:s3:::" + arn.Name()
		}
	} else if f.Asset.Type == "bucket" {
		f.Asset.UID = "arn:aws:s3:::" + strings.TrimPrefix(id, "s3://")
	}
	if n, ok := strings.CutPrefix(id, "AWS::::Account:"); ok {
		f.Asset.Name, f.Asset.Account = n, n
	}
	if n, ok := strings.CutPrefix(id, "AWS::IAM::AccessKey:"); ok {
		f.Asset.Name, f.Asset.Type = n, "access_key"
		format.SetParam(f, "access_key_id", n)
	}
	if f.Asset.Region == "" {
		product, _ := format.ParseARN(string(a.ProductArn))
		f.Asset.Region = product.Region
	}
	if len(r.Tags) > 0 {
		f.Asset.Tags = r.Tags
		f.Asset.App = format.First(f.Asset.App, f.Asset.Tags["app"], f.Asset.Tags["application"], f.Asset.Tags["Application"], f.Asset.Tags["service"])
		f.Asset.Environment = format.First(f.Asset.Tags["envtype"], f.Asset.Tags["environment"], f.Asset.Tags["Environment"], f.Asset.Tags["env"], f.Asset.Tags["Env"], f.Asset.Tags["stage"], f.Asset.Tags["Stage"])
	}
	switch c := a.Criticality.Int(); {
	case c >= 90:
		f.Asset.Criticality = "critical"
	case c >= 70:
		f.Asset.Criticality = "high"
	case c >= 40:
		f.Asset.Criticality = "medium"
	case c > 0:
		f.Asset.Criticality = "low"
	}
}

// vulnerability takes ids, package and score.
func (a *record) vulnerability(f *finding.Finding) {
	var ids []string
	for _, v := range a.Vulnerabilities {
		ids = append(ids, string(v.ID))
		for _, c := range v.Cvss {
			f.Weakness.CVSS = max(f.Weakness.CVSS, format.CVSS(float64(c.BaseScore)))
		}
		if v.Exploit == "YES" {
			format.AddEvidence(f, "exploit available", "yes")
		}
		if v.Known != "" {
			f.Exposure.Exploited = finding.Yes
			format.AddEvidence(f, "last known exploit", string(v.Known))
		}
		if v.Epss > 0 {
			format.AddEvidence(f, "epss", strconv.FormatFloat(float64(v.Epss), 'f', -1, 64))
		}
		for _, p := range v.Packages {
			if f.Component.Name != "" {
				format.AddEvidence(f, "also affected", string(p.Name)+" "+string(p.Version))
				continue
			}
			f.Component = finding.Component{Name: string(p.Name), Version: string(p.Version), Ecosystem: strings.ToLower(string(p.Manager)), Path: string(p.FilePath)}
			if p.Release != "" {
				f.Component.Version += "-" + string(p.Release)
			}
			if p.Fixed != "NotAvailable" {
				f.Component.FixedVersion = string(p.Fixed)
			}
			f.Component.PURL = format.PURL(f.Component.Ecosystem, f.Component.Name, f.Component.Version)
		}
	}
	f.Weakness.CVE = format.CVEs(append(ids, string(a.GeneratorID), string(a.ID), string(a.Title))...)
	f.Weakness.Advisory = format.Advisories(ids...)
	if len(a.Vulnerabilities) == 0 && len(f.Weakness.CVE) > 0 {
		a.otherDetails(f)
	}
}

// otherDetails reads the package that importers such as Trivy put under
// Resources[].Details.Other. They give one Id to a CVE in several packages of
// an image, so the package becomes part of the native id.
func (a *record) otherDetails(f *finding.Finding) {
	var other format.StringMap
	if json.Unmarshal(a.Resources[0].Details["Other"], &other) != nil {
		return
	}
	f.Component = finding.Component{Name: other["PkgName"], Version: other["Installed Package"], FixedVersion: other["Patched Package"]}
	if f.Component.Name != "" {
		f.NativeID += "/" + f.Component.Name
	}
	if v, err := strconv.ParseFloat(other["NvdCvssScoreV3"], 64); err == nil {
		f.Weakness.CVSS = format.CVSS(v)
	}
}

// rule finds the control or check id.
func (a *record) rule(f *finding.Finding) {
	generator := string(a.GeneratorID)
	control := format.First(string(a.Compliance.Control), a.Fields["ControlId"], a.Fields["RuleId"])
	if control == "" {
		if _, tail, ok := strings.Cut(generator, "security-control/"); ok {
			control = tail
		} else if strings.Contains(generator, "/v/") {
			control = generator[strings.LastIndexByte(generator, '/')+1:]
		}
	}
	switch {
	case control != "":
		f.Rule = control
		f.Weakness.Control = control
		if v, ok := a.cisVersion(); ok {
			f.Weakness.Control = "CIS-" + v + "/" + control
		}
	case len(f.Weakness.CVE) > 0:
		f.Rule = f.Weakness.CVE[0]
	case a.guardDutyType() != "":
		f.Rule = a.guardDutyType()
	default:
		if i := strings.LastIndex(generator, "/rule/"); i >= 0 {
			generator = generator[i+len("/rule/"):]
		}
		f.Rule = format.First(strings.TrimPrefix(generator, "prowler-"), string(a.Title))
	}
}

// cisVersion returns the version of the CIS benchmark a control belongs to.
func (a *record) cisVersion() (string, bool) {
	_, tail, ok := strings.Cut(string(a.GeneratorID), "cis-aws-foundations-benchmark/v/")
	if !ok {
		return "", false
	}
	v, _, _ := strings.Cut(tail, "/")
	return v, true
}

// guardDutyType returns GuardDuty's own type ("Recon:EC2/Portscan"): Types
// holds it as "TTPs/Discovery/Recon:EC2-Portscan".
func (a *record) guardDutyType() string {
	if !strings.Contains(string(a.ProductArn), "product/aws/guardduty") && !strings.Contains(string(a.GeneratorID), ":guardduty:") {
		return ""
	}
	for _, t := range a.Types {
		last := t[strings.LastIndexByte(t, '/')+1:]
		if purpose, threat, ok := strings.Cut(last, ":"); ok {
			return purpose + ":" + strings.Replace(threat, "-", "/", 1)
		}
	}
	return ""
}
