package finding

import "slices"

// Merge returns a with what b knows besides: unknown facts are filled in, of
// two known facts the riskier one holds, ids are united. It is how several
// views of one exposure are judged as one; identity and asset stay a's.
func Merge(a, b Finding) Finding {
	a.Severity = max(a.Severity, b.Severity)
	a.Confidence = max(a.Confidence, b.Confidence)
	a.Weakness.CVE = union(a.Weakness.CVE, b.Weakness.CVE)
	a.Weakness.CWE = union(a.Weakness.CWE, b.Weakness.CWE)
	a.Weakness.Advisory = union(a.Weakness.Advisory, b.Weakness.Advisory)
	a.Weakness.CVSS = max(a.Weakness.CVSS, b.Weakness.CVSS)
	a.Weakness.KEV = max(a.Weakness.KEV, b.Weakness.KEV)
	fill(&a.Weakness.Control, b.Weakness.Control)
	a.Exposure.InternetFacing = max(a.Exposure.InternetFacing, b.Exposure.InternetFacing)
	a.Exposure.PipelineAdjacent = max(a.Exposure.PipelineAdjacent, b.Exposure.PipelineAdjacent)
	a.Exposure.Exploited = max(a.Exposure.Exploited, b.Exposure.Exploited)
	a.Exposure.Blast = max(a.Exposure.Blast, b.Exposure.Blast)
	a.Identity.Privileged = max(a.Identity.Privileged, b.Identity.Privileged)
	a.Identity.Scopes = union(a.Identity.Scopes, b.Identity.Scopes)
	fill(&a.Identity.Principal, b.Identity.Principal)
	fill(&a.Identity.Kind, b.Identity.Kind)
	a.Asset.CustomerFacing = max(a.Asset.CustomerFacing, b.Asset.CustomerFacing)
	a.Asset.Regulated = max(a.Asset.Regulated, b.Asset.Regulated)
	fill(&a.Asset.App, b.Asset.App)
	fill(&a.Asset.Account, b.Asset.Account)
	fill(&a.Asset.Region, b.Asset.Region)
	fill(&a.Asset.Provider, b.Asset.Provider)
	fill(&a.Asset.Environment, b.Asset.Environment)
	fill(&a.Asset.Criticality, b.Asset.Criticality)
	fill(&a.Asset.DataClass, b.Asset.DataClass)
	fill(&a.Component.FixedVersion, b.Component.FixedVersion)
	fill(&a.Recommended, b.Recommended)
	a.Asset.Tags = fillMap(a.Asset.Tags, b.Asset.Tags)
	a.Params = fillMap(a.Params, b.Params)
	for _, h := range b.OwnerHints {
		if !slices.Contains(a.OwnerHints, h) {
			a.OwnerHints = append(slices.Clip(a.OwnerHints), h)
		}
	}
	if a.Class == "" {
		a.Class, a.Domain = b.Class, b.Domain
	}
	if a.Deadline.IsZero() || !b.Deadline.IsZero() && b.Deadline.Before(a.Deadline) {
		a.Deadline = b.Deadline
	}
	if b.Status == StatusOpen {
		a.Status = StatusOpen
	}
	return a
}

func fill(to *string, from string) {
	if *to == "" {
		*to = from
	}
}

func union(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

func fillMap(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	out := make(map[string]string, len(a)+len(b))
	for k, v := range b {
		out[k] = v
	}
	for k, v := range a {
		out[k] = v
	}
	return out
}
