package format

import (
	"strings"

	"github.com/casement/casement/internal/finding"
)

// CheckClass reads check names such as s3_bucket_public_access or
// compute_firewall_rdp_access_from_the_internet_allowed. Rows are tried in
// order; all words of one alternative must be in the name. As for controls, a
// class is given only where all its checks on one asset are one exposure.
func CheckClass(check string) finding.Class {
	name := strings.ToLower(check)
	if !strings.Contains(name, "_") {
		return ""
	}
	for _, row := range []struct {
		class finding.Class
		alt   string // alternatives by space, words of one by +
	}{
		{finding.StoragePublic, "s3+public s3+acl_prohibited cloudstorage+public storage_account+public blob+public snapshot+public ami+public ecr+public"},
		{"database.public", "rds+public redshift+public cloudsql+public sqlserver+unrestricted sql+public_access postgresql+public documentdb+public opensearch+public dms+public cosmosdb+public"},
		{finding.WorldOpen, "from_internet from_the_internet to_internet internet_facing exposed_to any_port all_ports public_ip+port internet_exposed publicly_accessible open_to"},
		{"identity.no-mfa", "mfa"},
		{"identity.root-use", "root+access_key avoid_root root_account"},
		{"identity.escalation-path", "privilege_escalation"},
		{"identity.trust-open", "trust_relationship cross_account confused_deputy assume_role+any oidc+trust"},
		{finding.Overprivilege, "administrator full_access admin_privileges policy_attached+admin wildcard overprivileged least_privilege rbac_minimize"},
		{"identity.key-stale", "unused rotate rotation 90_days older_than inactive"},
		{"workload.metadata-v1", "imdsv2 instance_metadata metadata_v1"},
		{"workload.privileged", "privileged_container core_minimize allowprivilegeescalation hostpid hostnetwork hostipc"},
		{finding.SecretInCode, "secrets+environment secrets+user_data no_secrets secrets_in"},
		{"storage.unencrypted", "bucket_default_encryption storage_encrypted ebs_volume_encryption ebs_encryption snapshots_encrypted volume_encryption table_encrypted instance_storage_encrypted encrypted_at_rest encryption_at_rest"},
		{"logging.disabled", "bucket_server_access_logging flow_logs_enabled cloudtrail_multi_region_enabled audit_log_path access_logging_enabled"},
	} {
		for alt := range strings.FieldsSeq(row.alt) {
			all := true
			for word := range strings.SplitSeq(alt, "+") {
				all = all && strings.Contains(name, word)
			}
			if all {
				return row.class
			}
		}
	}
	return ""
}

// CheckSaysPublic reports whether a check's name asserts that something is
// reachable by anyone, rather than that a guard against it is off.
func CheckSaysPublic(check string) bool {
	switch CheckClass(check) {
	case finding.StoragePublic, finding.WorldOpen, "database.public":
		return !strings.Contains(check, "block") && !strings.Contains(check, "prohibited")
	}
	return false
}
