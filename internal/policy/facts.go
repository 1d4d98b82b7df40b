package policy

import (
	"encoding/json"
	"time"

	"github.com/casement/casement/internal/finding"
)

// CaseFacts are the facts that do not come from the finding but from the case
// and the people around it.
type CaseFacts struct {
	// OwnerKnown is false when only the fallback of ownership answered.
	OwnerKnown bool
	// Team is the owning team, "" if unknown.
	Team string
	// Recurrence: the exposure was closed before and is back.
	Recurrence bool
	// Members is the number of findings that speak of the exposure; 0 is 1.
	Members int
	// Opened is when the episode began and its clocks started, UTC; zero for a
	// new case. Conditions cannot read it.
	Opened time.Time
	// KEV is what our own copy of CISA's list says of the CVEs; Unknown leaves
	// the word of the finding.
	KEV finding.Tri
}

// Facts is everything a condition can read, flat. Field by field it is one
// variable of the CEL environment (see Variables). Unknown is the zero value.
type Facts struct {
	Class               string            `json:"class,omitempty"`
	Domain              string            `json:"domain,omitempty"`
	Source              string            `json:"source,omitempty"`
	Product             string            `json:"product,omitempty"`
	Rule                string            `json:"rule,omitempty"`
	Severity            finding.Severity  `json:"severity"`
	Confidence          int               `json:"confidence,omitempty"`
	Status              string            `json:"status,omitempty"`
	CVE                 []string          `json:"cve,omitempty"`
	CWE                 []string          `json:"cwe,omitempty"`
	Advisory            []string          `json:"advisory,omitempty"`
	Control             string            `json:"control,omitempty"`
	KEV                 finding.Tri       `json:"kev,omitzero"`
	CVSS                int               `json:"cvss,omitempty"` // times ten
	AssetUID            string            `json:"asset_uid,omitempty"`
	AssetName           string            `json:"asset_name,omitempty"`
	AssetType           string            `json:"asset_type,omitempty"`
	Provider            string            `json:"provider,omitempty"`
	Account             string            `json:"account,omitempty"`
	Region              string            `json:"region,omitempty"`
	Environment         string            `json:"environment,omitempty"`
	App                 string            `json:"app,omitempty"`
	Tags                map[string]string `json:"tags,omitempty"`
	Criticality         string            `json:"criticality,omitempty"`
	DataClass           string            `json:"data_class,omitempty"`
	CustomerFacing      finding.Tri       `json:"customer_facing,omitzero"`
	Regulated           finding.Tri       `json:"regulated,omitzero"`
	InternetFacing      finding.Tri       `json:"internet_facing,omitzero"`
	PipelineAdjacent    finding.Tri       `json:"pipeline_adjacent,omitzero"`
	Exploited           finding.Tri       `json:"exploited,omitzero"`
	Blast               int               `json:"blast,omitempty"`
	CompensatingControl string            `json:"compensating_control,omitempty"`
	Repository          string            `json:"repository,omitempty"`
	File                string            `json:"file,omitempty"`
	Component           string            `json:"component,omitempty"`
	ComponentVersion    string            `json:"component_version,omitempty"`
	Ecosystem           string            `json:"ecosystem,omitempty"`
	FixedVersion        string            `json:"fixed_version,omitempty"`
	Principal           string            `json:"principal,omitempty"`
	IdentityKind        string            `json:"identity_kind,omitempty"`
	Privileged          finding.Tri       `json:"privileged,omitzero"`
	Scopes              []string          `json:"scopes,omitempty"`
	Params              map[string]string `json:"params,omitempty"`
	// Facts of the case.
	OwnerKnown bool   `json:"owner_known"`
	Team       string `json:"team,omitempty"`
	Recurrence bool   `json:"recurrence,omitempty"`
	Members    int    `json:"members,omitempty"`
	// At is the instant of the judgement, UTC. Conditions cannot read it: only
	// the dates of suppressions, exceptions and freezes are compared with it.
	At time.Time `json:"at,omitzero"`
}

// FactsOf flattens a finding and the facts of its case.
func FactsOf(f finding.Finding, c CaseFacts) Facts {
	kev := f.Weakness.KEV
	if c.KEV != finding.Unknown && kev != finding.Yes {
		kev = c.KEV
	}
	return Facts{
		Class: string(f.Class), Domain: string(f.Domain), Source: f.Source, Product: f.Product, Rule: f.Rule,
		Severity: f.Severity, Confidence: f.Confidence, Status: string(f.Status),
		CVE: f.Weakness.CVE, CWE: f.Weakness.CWE, Advisory: f.Weakness.Advisory, Control: f.Weakness.Control,
		KEV: kev, CVSS: f.Weakness.CVSS,
		AssetUID: f.Asset.UID, AssetName: f.Asset.Name, AssetType: f.Asset.Type, Provider: f.Asset.Provider,
		Account: f.Asset.Account, Region: f.Asset.Region, Environment: f.Asset.Environment, App: f.Asset.App,
		Tags: f.Asset.Tags, Criticality: f.Asset.Criticality, DataClass: f.Asset.DataClass,
		CustomerFacing: f.Asset.CustomerFacing, Regulated: f.Asset.Regulated,
		InternetFacing: f.Exposure.InternetFacing, PipelineAdjacent: f.Exposure.PipelineAdjacent,
		Exploited: f.Exposure.Exploited, Blast: f.Exposure.Blast, CompensatingControl: f.Exposure.CompensatingControl,
		Repository: f.Location.Repository, File: f.Location.File,
		Component: f.Component.Name, ComponentVersion: f.Component.Version, Ecosystem: f.Component.Ecosystem,
		FixedVersion: f.Component.FixedVersion,
		Principal:    f.Identity.Principal, IdentityKind: f.Identity.Kind, Privileged: f.Identity.Privileged,
		Scopes: f.Identity.Scopes, Params: f.Params,
		OwnerKnown: c.OwnerKnown, Team: c.Team, Recurrence: c.Recurrence, Members: max(c.Members, 1),
	}
}

// Snapshot returns the canonical JSON of the facts: equal facts give equal
// bytes (struct order is fixed, maps are sorted by key).
func (f Facts) Snapshot() []byte {
	b, err := json.Marshal(f)
	if err != nil { // strings, ints and times of years 0..9999: cannot fail
		return []byte(`{"error":"facts cannot be written"}`)
	}
	return b
}
