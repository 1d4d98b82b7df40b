package format

import (
	"strings"

	"github.com/casement/casement/internal/finding"
)

// ARN is an Amazon resource name taken apart.
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// ParseARN takes an Amazon resource name apart; ok is false when it is none.
func ParseARN(s string) (ARN, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return ARN{}, false
	}
	return ARN{p[1], p[2], p[3], p[4], p[5]}, true
}

// Name is the last part of the resource: bucket, key, function or instance.
func (a ARN) Name() string {
	r := a.Resource
	if i := strings.LastIndexAny(r, "/:"); i >= 0 && i+1 < len(r) {
		return r[i+1:]
	}
	return r
}

// AWSControlClass maps a Security Hub control id ("S3.8", "PCI.S3.2", "EC2.19")
// to a class; controls without a class of their own are cloud.misconfigured.
// Source: the control titles of the AWS Foundational Security Best Practices.
func AWSControlClass(control string) finding.Class {
	c := strings.TrimPrefix(strings.ToUpper(control), "PCI.")
	if strings.HasPrefix(strings.ToUpper(control), "PCI.") {
		return pciClass(c)
	}
	for _, row := range awsControls() {
		for _, id := range strings.Fields(row.ids) {
			if id == c {
				return row.class
			}
		}
	}
	return finding.Misconfigured
}

type controlRow struct {
	class finding.Class
	ids   string
}

// awsControls maps a control to a class only where all controls of the class
// on one asset are one exposure, mended by one action: a class is a part of
// the exposure key. So encryption in transit, log quality and account-wide
// services stay cloud.misconfigured, which is told apart by control.
func awsControls() []controlRow {
	return []controlRow{
		{finding.StoragePublic, "S3.1 S3.2 S3.3 S3.8 S3.19 S3.24 EC2.1 RDS.1 NEPTUNE.3 DOCUMENTDB.3 SSM.4"},
		{"storage.shared-outside", "S3.6 SNS.4 SQS.3"},
		{"storage.unencrypted", "S3.4 EC2.3 EC2.7 RDS.3 RDS.4 RDS.27 DYNAMODB.3 SNS.1 SQS.1 EFS.1 EFS.7 ES.1 OPENSEARCH.1 KINESIS.1 CLOUDTRAIL.2 REDSHIFT.10 ELASTICACHE.4 NEPTUNE.1 NEPTUNE.6 DOCUMENTDB.1 BACKUP.1 ATHENA.1 CODEBUILD.3"},
		{finding.WorldOpen, "EC2.13 EC2.14 EC2.18 EC2.19 EC2.21 EC2.53 EC2.54 EMR.1 EMR.2 EKS.1 LAMBDA.1 MSK.4"},
		{"database.public", "RDS.2 RDS.46 REDSHIFT.1 REDSHIFTSERVERLESS.3 DMS.1 ES.2 OPENSEARCH.2"},
		{"logging.disabled", "CLOUDTRAIL.1 CLOUDTRAIL.3 EC2.6 S3.9 RDS.9 RDS.34 REDSHIFT.4 ELB.5 APIGATEWAY.1 CLOUDFRONT.5 WAF.1 WAF.11 ES.5 OPENSEARCH.5 EKS.8 ROUTE53.2 NEPTUNE.2 DOCUMENTDB.4 CODEBUILD.4 ECS.9 STEPFUNCTIONS.1"},
		{finding.Overprivilege, "IAM.1 IAM.21 KMS.1 KMS.2"},
		{"identity.key-stale", "IAM.3 IAM.8 IAM.22 IAM.26 SECRETSMANAGER.1 SECRETSMANAGER.2 SECRETSMANAGER.3 SECRETSMANAGER.4"},
		{"identity.no-mfa", "IAM.5 IAM.6 IAM.9 IAM.19"},
		{"identity.root-use", "IAM.4 IAM.20"},
		{finding.SecretInCode, "CODEBUILD.1 CODEBUILD.2 ECS.8"},
		{"workload.metadata-v1", "EC2.8 EC2.170 AUTOSCALING.3"},
		{"workload.privileged", "ECS.3 ECS.4"},
	}
}

// pciClass holds the PCI DSS v3.2.1 numbering, which differs from FSBP's.
func pciClass(c string) finding.Class {
	switch c {
	case "S3.1", "S3.2", "S3.6", "EC2.1", "RDS.1", "SSM.3":
		return finding.StoragePublic
	case "RDS.2", "REDSHIFT.1", "DMS.1", "OPENSEARCH.1", "ES.1":
		return "database.public"
	case "S3.4", "CLOUDTRAIL.1", "ES.2", "OPENSEARCH.2":
		return "storage.unencrypted"
	case "LAMBDA.1", "EC2.5":
		return finding.WorldOpen
	case "CLOUDTRAIL.2", "EC2.6":
		return "logging.disabled"
	case "IAM.1":
		return "identity.root-use"
	case "IAM.3":
		return finding.Overprivilege
	case "IAM.4", "IAM.5", "IAM.6":
		return "identity.no-mfa"
	case "IAM.7":
		return "identity.key-stale"
	case "CODEBUILD.1", "CODEBUILD.2":
		return finding.SecretInCode
	}
	return finding.Misconfigured
}

// CISAWSClass maps a rule of the CIS AWS Foundations Benchmark to a class;
// the numbering changed with version 1.4.
func CISAWSClass(version, rule string) finding.Class {
	if strings.HasPrefix(version, "1.2") {
		switch rule {
		case "1.1", "1.12":
			return "identity.root-use"
		case "1.2", "1.13", "1.14":
			return "identity.no-mfa"
		case "1.3", "1.4":
			return "identity.key-stale"
		case "1.22":
			return finding.Overprivilege
		case "2.3":
			return finding.StoragePublic
		case "2.7":
			return "storage.unencrypted"
		case "2.1", "2.6", "2.9":
			return "logging.disabled"
		case "4.1", "4.2":
			return finding.WorldOpen
		}
	} else {
		switch rule {
		case "1.4", "1.7":
			return "identity.root-use"
		case "1.5", "1.6", "1.10":
			return "identity.no-mfa"
		case "1.12", "1.14":
			return "identity.key-stale"
		case "1.16":
			return finding.Overprivilege
		case "2.1.5", "2.1.5.1", "2.1.5.2", "2.1.4", "3.3":
			return finding.StoragePublic
		case "2.1.1", "2.2.1", "2.3.1", "3.7":
			return "storage.unencrypted"
		case "3.1", "3.6", "3.9":
			return "logging.disabled"
		case "5.1", "5.2", "5.3":
			return finding.WorldOpen
		}
	}
	return finding.Misconfigured
}

// AWSAssetType maps the resource types of ASFF ("AwsS3Bucket") and
// CloudFormation ("AWS::S3::Bucket") to short words; others keep their name.
func AWSAssetType(t string) string {
	if strings.HasPrefix(t, "AWS::") {
		t = "Aws" + strings.ReplaceAll(strings.TrimPrefix(t, "AWS::"), "::", "")
	}
	switch strings.ToLower(t) {
	case "awss3bucket":
		return "bucket"
	case "awsaccount":
		return "account"
	case "awsec2instance":
		return "instance"
	case "awsec2securitygroup":
		return "security_group"
	case "awsiamuser":
		return "user"
	case "awsiamaccesskey":
		return "access_key"
	case "awsiamrole":
		return "role"
	case "awsiampolicy":
		return "policy"
	case "awsrdsdbinstance", "awsrdsdbcluster", "awsredshiftcluster", "awsdynamodbtable":
		return "database"
	case "awslambdafunction":
		return "function"
	case "awsecrcontainerimage", "container":
		return "image"
	case "awsekscluster":
		return "cluster"
	}
	return t
}

// AWSParams sets the parameters connectors need to act on an AWS asset: account
// and region, and the name under the asset type's own word.
func AWSParams(f *finding.Finding) {
	SetParam(f, "account", f.Asset.Account)
	SetParam(f, "region", f.Asset.Region)
	switch f.Asset.Type {
	case "bucket":
		SetParam(f, "bucket", f.Asset.Name)
	case "security_group":
		SetParam(f, "group_id", f.Asset.Name)
	case "instance":
		SetParam(f, "instance_id", f.Asset.Name)
	case "database":
		SetParam(f, "db", f.Asset.Name)
	case "function":
		SetParam(f, "function", f.Asset.Name)
	case "image":
		SetParam(f, "image", f.Asset.UID)
	case "user", "role":
		f.Identity.Principal, f.Identity.Kind = f.Asset.Name, f.Asset.Type
	}
}
