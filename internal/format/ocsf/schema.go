package ocsf

import (
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// event is the part of an OCSF finding event that is read.
type event struct {
	ClassUID   format.Number `json:"class_uid"`
	ActivityID format.Number `json:"activity_id"`
	SeverityID format.Number `json:"severity_id"`
	Severity   format.String `json:"severity"`
	StatusID   format.Number `json:"status_id"`
	Status     format.String `json:"status"`
	StatusCode format.String `json:"status_code"`
	Detail     format.String `json:"status_detail"`
	Message    format.String `json:"message"`
	Confidence format.Number `json:"confidence_score"`
	ConfID     format.Number `json:"confidence_id"`
	Time       format.String `json:"time"`
	TimeDT     format.String `json:"time_dt"`
	EventTime  format.String `json:"event_time"`
	Risk       format.String `json:"risk_details"`
	Metadata   struct {
		Version   format.String `json:"version"`
		EventCode format.String `json:"event_code"`
		Product   struct {
			Name   format.String `json:"name"`
			UID    format.String `json:"uid"`
			Vendor format.String `json:"vendor_name"`
		} `json:"product"`
	} `json:"metadata"`
	Info       findingInfo   `json:"finding_info"`
	InfoOld    findingInfo   `json:"finding"` // class 2001
	InfoList   []findingInfo `json:"finding_info_list"`
	Compliance struct {
		Control  format.String `json:"control"`
		Status   format.String `json:"status"`
		StatusID format.Number `json:"status_id"`
	} `json:"compliance"`
	Vulnerabilities []vulnerability `json:"vulnerabilities"`
	Resources       []resource      `json:"resources"`
	ResourceOld     *resource       `json:"resource"`
	Device          struct {
		UID      format.String `json:"uid"`
		Hostname format.String `json:"hostname"`
		Name     format.String `json:"name"`
	} `json:"device"`
	Databucket struct {
		UID    format.String `json:"uid"`
		Name   format.String `json:"name"`
		Public *bool         `json:"is_public"`
	} `json:"databucket"`
	Application struct {
		UID  format.String `json:"uid"`
		Name format.String `json:"name"`
	} `json:"application"`
	Cloud struct {
		Provider format.String `json:"provider"`
		Region   format.String `json:"region"`
		Account  struct {
			UID format.String `json:"uid"`
		} `json:"account"`
	} `json:"cloud"`
	Remediation struct {
		Desc       format.String  `json:"desc"`
		References format.Strings `json:"references"`
	} `json:"remediation"`
	Evidences []struct {
		Name  format.String `json:"name"`
		Actor struct {
			User user `json:"user"`
		} `json:"actor"`
		Data struct {
			Value *string `json:"value"`
		} `json:"data"`
	} `json:"evidences"`
	User   user `json:"user"`
	Vendor struct {
		Severity format.String `json:"severity"`
	} `json:"vendor_attributes"`
	Assignee user `json:"assignee"`
	Group    struct {
		Name format.String `json:"name"`
	} `json:"assignee_group"`
	Extension *extension `json:"casement"`
}

type user struct {
	UID   format.String `json:"uid"`
	Name  format.String `json:"name"`
	Email format.String `json:"email_addr"`
}

type findingInfo struct {
	UID       format.String `json:"uid"`
	Title     format.String `json:"title"`
	Desc      format.String `json:"desc"`
	URL       format.String `json:"src_url"`
	First     format.String `json:"first_seen_time"`
	FirstDT   format.String `json:"first_seen_time_dt"`
	Last      format.String `json:"last_seen_time"`
	LastDT    format.String `json:"last_seen_time_dt"`
	Created   format.String `json:"created_time"`
	CreatedDT format.String `json:"created_time_dt"`
	Analytic  struct {
		UID  format.String `json:"uid"`
		Name format.String `json:"name"`
	} `json:"analytic"`
}

type vulnerability struct {
	Title format.String `json:"title"`
	Desc  format.String `json:"desc"`
	CVE   struct {
		UID  format.String `json:"uid"`
		CVSS []struct {
			Score format.Number `json:"base_score"`
		} `json:"cvss"`
		CWEUID  format.String `json:"cwe_uid"`
		Related []cwe         `json:"related_cwes"`
	} `json:"cve"`
	CWE      cwe `json:"cwe"`
	Advisory struct {
		UID format.String `json:"uid"`
	} `json:"advisory"`
	Packages []struct {
		Name    format.String `json:"name"`
		Version format.String `json:"version"`
		Fixed   format.String `json:"fixed_in_version"`
		PURL    format.String `json:"purl"`
		Manager format.String `json:"package_manager"`
		Path    format.String `json:"path"`
	} `json:"affected_packages"`
	Code []struct {
		File struct {
			Path format.String `json:"path"`
			Name format.String `json:"name"`
		} `json:"file"`
		Start format.Number `json:"start_line"`
	} `json:"affected_code"`
	Remediation struct {
		Desc format.String `json:"desc"`
	} `json:"remediation"`
	Exploit *bool `json:"is_exploit_available"`
}

type cwe struct {
	UID format.String `json:"uid"`
}

type resource struct {
	UID         format.String `json:"uid"`
	Name        format.String `json:"name"`
	Type        format.String `json:"type"`
	Region      format.String `json:"region"`
	Namespace   format.String `json:"namespace"`
	Criticality format.String `json:"criticality"`
	Owner       user          `json:"owner"`
	Tags        []struct {
		Name  format.String `json:"name"`
		Value format.String `json:"value"`
	} `json:"tags"`
	Labels format.Strings `json:"labels"`
	Group  struct {
		Name format.String `json:"name"`
	} `json:"group"`
}

// extension holds what OCSF has no attribute for. Its name is registered in
// metadata.extensions.
type extension struct {
	Source         string             `json:"source,omitempty"`
	NativeID       string             `json:"native_id,omitempty"`
	Rule           string             `json:"rule,omitempty"`
	Class          finding.Class      `json:"class,omitempty"`
	Domain         finding.Domain     `json:"domain,omitempty"`
	Status         finding.Status     `json:"status,omitempty"`
	Environment    string             `json:"environment,omitempty"`
	App            string             `json:"app,omitempty"`
	CustomerFacing finding.Tri        `json:"customer_facing,omitzero"`
	DataClass      string             `json:"data_class,omitempty"`
	Regulated      finding.Tri        `json:"regulated,omitzero"`
	Deadline       time.Time          `json:"deadline,omitzero"`
	Exposure       finding.Exposure   `json:"exposure,omitzero"`
	OwnerHints     []finding.Hint     `json:"owner_hints,omitempty"`
	Identity       finding.Identity   `json:"identity,omitzero"`
	Location       finding.Location   `json:"location,omitzero"`
	Component      *finding.Component `json:"component,omitempty"`
	CWE            []string           `json:"cwe,omitempty"`
	Control        string             `json:"control,omitempty"`
	SecretHash     string             `json:"secret_hash,omitempty"`
	KEV            finding.Tri        `json:"kev,omitzero"`
	CVSS           int                `json:"cvss,omitempty"`
	Params         map[string]string  `json:"params,omitempty"`
}
