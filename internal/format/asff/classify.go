package asff

import (
	"encoding/json"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// class names the risky state from control, detector type or vulnerability.
func (a *record) class(f *finding.Finding) finding.Class {
	if t := a.guardDutyType(); t != "" {
		return guardDutyClass(t)
	}
	if len(f.Weakness.CVE) > 0 || len(a.Vulnerabilities) > 0 {
		if f.Asset.Type == "image" {
			return finding.VulnerablePackage
		}
		return finding.VulnerableWorkload
	}
	if v, ok := a.cisVersion(); ok {
		return format.CISAWSClass(v, f.Rule)
	}
	if f.Weakness.Control != "" && !strings.Contains(f.Rule, "-") {
		return format.AWSControlClass(f.Rule)
	}
	types := strings.Join(append(a.Types, a.Provider.Types...), " ")
	text := strings.ToLower(f.Title)
	public := strings.Contains(text, "public") || strings.Contains(text, "anonymous")
	switch {
	case strings.Contains(string(a.ProductArn), "product/aws/macie") && strings.HasPrefix(f.Rule, "SensitiveData"):
		return ""
	case f.Asset.Type == "bucket" && public, strings.Contains(types, "S3BucketPublic"), strings.Contains(types, "BucketPublicAccessGranted"):
		return finding.StoragePublic
	case f.Asset.Type == "database" && public:
		return "database.public"
	case strings.Contains(text, "0.0.0.0/0"), strings.Contains(types, "Network Reachability") && f.Asset.Type != "bucket":
		return finding.WorldOpen
	case strings.Contains(text, "multi-factor") || strings.Contains(text, "mfa"):
		return "identity.no-mfa"
	case strings.Contains(text, "root account") || strings.Contains(text, "root user"):
		return "identity.root-use"
	case strings.Contains(types, "TTPs/") || strings.Contains(types, "Unusual Behaviors/"):
		return finding.WorkloadCompromise
	case strings.Contains(types, "Software and Configuration Checks"):
		return finding.Misconfigured
	}
	return ""
}

// guardDutyClass maps ThreatPurpose:ResourceType/Family by the list of finding
// types in the GuardDuty user guide.
func guardDutyClass(t string) finding.Class {
	purpose, threat, _ := strings.Cut(t, ":")
	resource, family, _ := strings.Cut(threat, "/")
	switch {
	case purpose == "Policy" && (resource == "S3" || strings.Contains(family, "S3Bucket")):
		if strings.Contains(family, "AccessLoggingDisabled") {
			return "logging.disabled"
		}
		return finding.StoragePublic
	case strings.Contains(family, "RootCredentialUsage"):
		return "identity.root-use"
	case strings.Contains(family, "LoggingDisabled"), strings.Contains(family, "LoggingConfigurationModified"):
		return "logging.disabled"
	case strings.Contains(family, "PasswordPolicyChange"):
		return finding.Misconfigured
	case strings.Contains(family, "CredentialExfiltration"), strings.Contains(family, "CompromisedCredentials"):
		return finding.KeyExposed
	case strings.Contains(family, "MaliciousFile"):
		return "endpoint.malware"
	case resource == "IAMUser", resource == "S3":
		return "identity.session-hijack"
	case purpose == "Policy" && resource == "Kubernetes":
		if strings.Contains(family, "Anonymous") || strings.Contains(family, "Exposed") {
			return finding.WorldOpen
		}
		return finding.Overprivilege
	}
	return finding.WorkloadCompromise
}

// params are what connectors need to act on the asset.
func (a *record) params(f *finding.Finding) {
	format.AWSParams(f)
	var key struct {
		Principal format.String `json:"PrincipalName"`
		User      format.String `json:"UserName"`
		ID        format.String `json:"AccessKeyId"`
		Type      format.String `json:"PrincipalType"`
	}
	if json.Unmarshal(a.Resources[0].Details["AwsIamAccessKey"], &key) == nil {
		f.Identity.Kind = "access_key"
		f.Identity.Principal = format.First(string(key.Principal), string(key.User), f.Identity.Principal)
		format.SetParam(f, "access_key_id", string(key.ID))
		format.SetParam(f, "user", format.First(string(key.User), string(key.Principal)))
		if key.Type == "Root" {
			f.Identity.Privileged = finding.Yes
		}
	}
	if p := a.Fields["aws/guardduty/service/action/actionType"]; p != "" {
		format.AddEvidence(f, "action", p)
	}
	format.AddEvidence(f, "remote ip", firstField(a, "remoteIpDetails/ipAddressV4"))
}

func firstField(a *record, suffix string) string {
	for _, kind := range []string{"networkConnectionAction", "awsApiCallAction", "portProbeAction", "kubernetesApiCallAction"} {
		if v := a.Fields["aws/guardduty/service/action/"+kind+"/"+suffix]; v != "" {
			return v
		}
	}
	return ""
}

// exposure is what the source states about reach: public states are reachable
// by definition; GuardDuty findings are seen use.
func (a *record) exposure(f *finding.Finding) {
	switch f.Class {
	case finding.StoragePublic, finding.WorldOpen, "database.public":
		f.Exposure.InternetFacing = finding.Yes
		// Block Public Access at the account or bucket is a guard that is off;
		// it does not say that anything is public.
		if c := strings.TrimPrefix(f.Rule, "PCI."); c == "S3.1" || c == "S3.8" || c == "EC2.182" || c == "S3.6" && c != f.Rule {
			f.Exposure.InternetFacing = finding.Unknown
		}
	}
	if a.guardDutyType() != "" && !strings.HasPrefix(f.Rule, "Policy:") {
		f.Exposure.Exploited = finding.Yes
	}
	if f.Asset.Type == "instance" && f.Exposure.InternetFacing == finding.Unknown {
		var d struct {
			Public format.String `json:"PublicIpAddress"`
		}
		if json.Unmarshal(a.Resources[0].Details["AwsEc2Instance"], &d) == nil && d.Public != "" {
			format.AddEvidence(f, "public address", string(d.Public))
		}
	}
}
