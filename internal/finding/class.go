package finding

// Class is the stable dotted name of a risky state, e.g. "storage.public". A
// class names what is wrong with an asset, not which tool said so; playbooks
// and most policy rules select by it.
type Class string

// ClassInfo describes one class.
type ClassInfo struct {
	Class       Class
	Domain      Domain
	Description string
}

// The classes that code refers to by name. Classes holds them all.
const (
	StoragePublic      Class = "storage.public"
	KeyExposed         Class = "identity.key-exposed"
	Overprivilege      Class = "identity.overprivilege"
	VulnerablePackage  Class = "pipeline.vulnerable-package"
	SecretInCode       Class = "pipeline.secret-in-code"
	CodeWeakness       Class = "pipeline.code-weakness"
	OAuthOverscoped    Class = "saas.oauth-overscoped"
	WorldOpen          Class = "network.world-open"
	WorkloadCompromise Class = "workload.compromised"
	VulnerableWorkload Class = "workload.vulnerable"
	Misconfigured      Class = "cloud.misconfigured"
)

// Classes returns the list of known classes, in a fixed order. Readers must
// set only these; policy refuses rules on others (did-you-mean).
func Classes() []ClassInfo {
	return []ClassInfo{
		{KeyExposed, DomainIdentity, "a live credential of a person or workload is known to outsiders"},
		{"identity.key-stale", DomainIdentity, "a credential is unused or was not rotated for longer than allowed"},
		{"identity.no-mfa", DomainIdentity, "an interactive login has no second factor"},
		{Overprivilege, DomainIdentity, "an identity holds permissions it does not need"},
		{"identity.escalation-path", DomainIdentity, "an identity can make itself more powerful"},
		{"identity.trust-open", DomainIdentity, "a role can be assumed by anyone or by an unknown account"},
		{"identity.session-hijack", DomainIdentity, "a login session is used by somebody else"},
		{"identity.root-use", DomainIdentity, "the root or break-glass account has keys or was used"},
		{StoragePublic, DomainCloud, "stored objects can be read or written by anyone"},
		{"storage.unencrypted", DomainCloud, "data at rest or in transit is not encrypted"},
		{"storage.shared-outside", DomainCloud, "stored data is shared with an unknown account"},
		{WorldOpen, DomainCloud, "a port or endpoint that should be private is reachable from anywhere"},
		{"network.dangling-dns", DomainCloud, "a name points at a resource somebody else may claim"},
		{"database.public", DomainCloud, "a database accepts connections from anywhere"},
		{"logging.disabled", DomainCloud, "audit or detection records are not being written"},
		{Misconfigured, DomainCloud, "a cloud resource departs from a benchmark control that has no class of its own"},
		{VulnerablePackage, DomainPipeline, "a dependency or image in a pipeline has a known vulnerability"},
		{"pipeline.malicious-package", DomainPipeline, "a dependency is known to be hostile"},
		{SecretInCode, DomainPipeline, "a secret is stored in a repository, an image or a build log"},
		{CodeWeakness, DomainPipeline, "source code has a weakness that can be exploited"},
		{"pipeline.iac-misconfigured", DomainPipeline, "infrastructure code would create a risky resource"},
		{"pipeline.protection-weakened", DomainPipeline, "branch protection, review or build isolation was weakened"},
		{"pipeline.repo-public", DomainPipeline, "a private repository became public"},
		{OAuthOverscoped, DomainSaaS, "an integration holds broader scopes than it needs"},
		{"saas.oauth-unverified", DomainSaaS, "an unverified application was granted access"},
		{"saas.link-public", DomainSaaS, "a document is shared with anyone who has the link"},
		{"saas.forwarding-external", DomainSaaS, "mail is forwarded out of the organisation by rule"},
		{WorkloadCompromise, DomainRuntime, "a host or workload is under somebody else's control"},
		{VulnerableWorkload, DomainRuntime, "running software has a known vulnerability"},
		{"workload.privileged", DomainRuntime, "a workload runs with more rights over its host than it needs"},
		{"workload.metadata-v1", DomainRuntime, "an instance serves credentials to anyone who can make it fetch a URL"},
		{"endpoint.malware", DomainEndpoint, "malware was found on an endpoint"},
		{"endpoint.agent-missing", DomainEndpoint, "an endpoint has no working protection agent"},
		{"endpoint.config-weak", DomainEndpoint, "an endpoint departs from its hardening baseline"},
	}
}

// KnownClass reports whether c is in Classes.
func KnownClass(c Class) bool {
	_, ok := InfoOf(c)
	return ok
}

// InfoOf returns the description of a class.
func InfoOf(c Class) (ClassInfo, bool) {
	for _, i := range Classes() {
		if i.Class == c {
			return i, true
		}
	}
	return ClassInfo{}, false
}
