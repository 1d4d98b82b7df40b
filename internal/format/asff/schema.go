package asff

import (
	"encoding/json"
	"strconv"

	"github.com/casement/casement/internal/format"
)

// record is the part of an ASFF finding that is read.
type record struct {
	ID          format.String    `json:"Id"`
	ProductArn  format.String    `json:"ProductArn"`
	ProductName format.String    `json:"ProductName"`
	GeneratorID format.String    `json:"GeneratorId"`
	Account     format.String    `json:"AwsAccountId"`
	AccountName format.String    `json:"AwsAccountName"`
	Region      format.String    `json:"Region"`
	Types       format.Strings   `json:"Types"`
	First       format.String    `json:"FirstObservedAt"`
	Last        format.String    `json:"LastObservedAt"`
	Created     format.String    `json:"CreatedAt"`
	Updated     format.String    `json:"UpdatedAt"`
	Severity    severityFields   `json:"Severity"`
	Confidence  format.Number    `json:"Confidence"`
	Criticality format.Number    `json:"Criticality"`
	Title       format.String    `json:"Title"`
	Description format.String    `json:"Description"`
	SourceURL   format.String    `json:"SourceUrl"`
	Fields      format.StringMap `json:"ProductFields"`
	Remediation struct {
		Recommendation struct {
			Text format.String `json:"Text"`
			URL  format.String `json:"Url"`
		} `json:"Recommendation"`
	} `json:"Remediation"`
	Compliance struct {
		Status  format.String `json:"Status"`
		Control format.String `json:"SecurityControlId"`
		Reasons []struct {
			Code format.String `json:"ReasonCode"`
		} `json:"StatusReasons"`
	} `json:"Compliance"`
	Workflow struct {
		Status format.String `json:"Status"`
	} `json:"Workflow"`
	RecordState     format.String   `json:"RecordState"`
	Resources       []resource      `json:"Resources"`
	Vulnerabilities []vulnerability `json:"Vulnerabilities"`
	Provider        struct {
		Severity severityFields `json:"Severity"`
		Types    format.Strings `json:"Types"`
	} `json:"FindingProviderFields"`
	Note struct {
		Text format.String `json:"Text"`
	} `json:"Note"`
}

type severityFields struct {
	Label      format.String  `json:"Label"`
	Normalized *format.Number `json:"Normalized"`
	Original   format.String  `json:"Original"`
}

type resource struct {
	Type        format.String              `json:"Type"`
	ID          format.String              `json:"Id"`
	Region      format.String              `json:"Region"`
	Tags        format.StringMap           `json:"Tags"`
	Application format.String              `json:"ApplicationName"`
	Details     map[string]json.RawMessage `json:"Details"`
}

type vulnerability struct {
	ID       format.String `json:"Id"`
	Packages []struct {
		Name     format.String `json:"Name"`
		Version  format.String `json:"Version"`
		Release  format.String `json:"Release"`
		Manager  format.String `json:"PackageManager"`
		FilePath format.String `json:"FilePath"`
		Fixed    format.String `json:"FixedInVersion"`
	} `json:"VulnerablePackages"`
	Cvss []struct {
		Version   format.String `json:"Version"`
		BaseScore format.Number `json:"BaseScore"`
	} `json:"Cvss"`
	Related format.Strings `json:"RelatedVulnerabilities"`
	Exploit format.String  `json:"ExploitAvailable"`
	Known   format.String  `json:"LastKnownExploitAt"`
	Epss    format.Number  `json:"EpssScore"`
}

func itoa(n int) string { return strconv.Itoa(n) }
