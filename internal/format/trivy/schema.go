package trivy

import (
	"encoding/json"

	"github.com/casement/casement/internal/format"
)

// The parts of Trivy's report (schema version 2) that are read. A cluster
// report has ClusterName and either Resources (now) or Vulnerabilities and
// Misconfigurations (before v0.45), each a list of workloads with Results.
type report struct {
	SchemaVersion format.Number `json:"SchemaVersion"`
	CreatedAt     format.String `json:"CreatedAt"`
	ArtifactName  format.String `json:"ArtifactName"`
	ArtifactType  format.String `json:"ArtifactType"`
	Metadata      struct {
		ImageID     format.String  `json:"ImageID"`
		RepoTags    format.Strings `json:"RepoTags"`
		RepoDigests format.Strings `json:"RepoDigests"`
		RepoURL     format.String  `json:"RepoURL"`
	} `json:"Metadata"`
	Results []json.RawMessage `json:"Results"`

	ClusterName       format.String     `json:"ClusterName"`
	Resources         []json.RawMessage `json:"Resources"`
	Vulnerabilities   []json.RawMessage `json:"Vulnerabilities"`
	Misconfigurations []json.RawMessage `json:"Misconfigurations"`
}

type workload struct {
	Namespace format.String     `json:"Namespace"`
	Kind      format.String     `json:"Kind"`
	Name      format.String     `json:"Name"`
	Error     format.String     `json:"Error"`
	Metadata  json.RawMessage   `json:"Metadata"`
	Results   []json.RawMessage `json:"Results"`
}

type result struct {
	Target            format.String     `json:"Target"`
	Class             format.String     `json:"Class"`
	Type              format.String     `json:"Type"`
	Vulnerabilities   []json.RawMessage `json:"Vulnerabilities"`
	Misconfigurations []json.RawMessage `json:"Misconfigurations"`
	Secrets           []json.RawMessage `json:"Secrets"`
	Licenses          []json.RawMessage `json:"Licenses"`
	Modified          []json.RawMessage `json:"ExperimentalModifiedFindings"`
}

type vulnerability struct {
	ID         format.String  `json:"VulnerabilityID"`
	VendorIDs  format.Strings `json:"VendorIDs"`
	PkgName    format.String  `json:"PkgName"`
	PkgPath    format.String  `json:"PkgPath"`
	Identifier struct {
		PURL format.String `json:"PURL"`
	} `json:"PkgIdentifier"`
	Ref            format.String  `json:"Ref"`
	Installed      format.String  `json:"InstalledVersion"`
	Fixed          format.String  `json:"FixedVersion"`
	Status         format.String  `json:"Status"`
	SeveritySource format.String  `json:"SeveritySource"`
	PrimaryURL     format.String  `json:"PrimaryURL"`
	Fingerprint    format.String  `json:"Fingerprint"`
	Title          format.String  `json:"Title"`
	Description    format.String  `json:"Description"`
	Severity       format.String  `json:"Severity"`
	CWEs           format.Strings `json:"CweIDs"`
	CVSS           map[string]struct {
		V3  format.Number `json:"V3Score"`
		V40 format.Number `json:"V40Score"`
		V2  format.Number `json:"V2Score"`
	} `json:"CVSS"`
}

type misconfiguration struct {
	Type        format.String `json:"Type"`
	ID          format.String `json:"ID"`
	AVDID       format.String `json:"AVDID"`
	Title       format.String `json:"Title"`
	Description format.String `json:"Description"`
	Message     format.String `json:"Message"`
	Resolution  format.String `json:"Resolution"`
	Severity    format.String `json:"Severity"`
	PrimaryURL  format.String `json:"PrimaryURL"`
	Status      format.String `json:"Status"`
	Cause       struct {
		Resource format.String `json:"Resource"`
		Provider format.String `json:"Provider"`
		Service  format.String `json:"Service"`
		Start    format.Number `json:"StartLine"`
	} `json:"CauseMetadata"`
}

type secret struct {
	RuleID   format.String `json:"RuleID"`
	Category format.String `json:"Category"`
	Severity format.String `json:"Severity"`
	Title    format.String `json:"Title"`
	Start    format.Number `json:"StartLine"`
	Match    format.String `json:"Match"`
	Target   format.String `json:"Target"` // the operator's reports only
}

type license struct {
	Severity format.String `json:"Severity"`
	Category format.String `json:"Category"`
	PkgName  format.String `json:"PkgName"`
	FilePath format.String `json:"FilePath"`
	Name     format.String `json:"Name"`
	Link     format.String `json:"Link"`
}
