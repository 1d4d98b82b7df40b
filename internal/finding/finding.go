// Package finding is the shared schema: one alert normalized to what policy,
// ownership and remediation need to know, whatever tool sent it.
//
// It is pure and on the lowest floor: it may import only the standard library
// (no os, net, context, sync, log, rand, goroutines or time.Now) and nothing
// of this project. Invariants: identity (UID) and exposure (ExposureKey) are
// functions of the value alone; an unknown fact is the zero value and never
// means "no"; every fact carries an origin, which is the alert itself unless
// Origins says otherwise.
package finding

import "time"

// DefaultTenant is the tenant of an install that has only one organisation.
const DefaultTenant = "default"

// Finding is one alert in the shared schema. Times are UTC. Unknown strings
// are empty, unknown yes/no facts are Unknown.
type Finding struct {
	// UID identifies the finding at its source; see IdentityOf.
	UID string `json:"uid"`
	// Tenant is the organisation the authenticated source belongs to. It is
	// never read from a body.
	Tenant string `json:"tenant"`
	// Source is the stable dotted name of the feed, e.g. "github.dependabot".
	Source string `json:"source"`
	// Product is the tool as it names itself, e.g. "Trivy".
	Product string `json:"product,omitempty"`
	// NativeID is the source's own identifier of this finding, if it has one.
	NativeID string `json:"native_id,omitempty"`
	// Rule is the source's rule, check or detector id.
	Rule  string `json:"rule,omitempty"`
	Title string `json:"title"`
	// Description is free text of the source; it may name people and is kept
	// out of events.
	Description string `json:"description,omitempty"`
	// Class is the risky state (see Classes); "" when no class fits.
	Class Class `json:"class,omitempty"`
	// Domain is the policy domain the finding belongs to.
	Domain Domain `json:"domain,omitempty"`

	Severity Severity `json:"severity"`
	// SourceSeverity is the source's own word or number, kept as it was.
	SourceSeverity string `json:"source_severity,omitempty"`
	// Confidence is 1..100; 0 means the source did not say.
	Confidence int `json:"confidence,omitempty"`

	Weakness  Weakness  `json:"weakness,omitzero"`
	Asset     Asset     `json:"asset"`
	Location  Location  `json:"location,omitzero"`
	Component Component `json:"component,omitzero"`
	Identity  Identity  `json:"identity,omitzero"`
	Exposure  Exposure  `json:"exposure,omitzero"`

	// OwnerHints are what the alert says about who is responsible.
	OwnerHints []Hint `json:"owner_hints,omitempty"`
	// Evidence is what the source shows for its claim; secrets are redacted
	// before a finding is built.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Recommended is the source's recommended action, as text.
	Recommended string `json:"recommended,omitempty"`
	// Deadline is a due instant stated by the source, zero if none.
	Deadline time.Time `json:"deadline,omitzero"`

	FirstSeen time.Time `json:"first_seen,omitzero"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
	// Status is what the source says of the finding now. Anything but open is
	// a claim that starts verification, never proof.
	Status Status `json:"status,omitempty"`

	// Params are facts a connector needs to act, by the connector's own
	// parameter names (e.g. "bucket", "client_id"). Part of the decision digest.
	Params map[string]string `json:"params,omitempty"`

	// Origins holds the origin of facts that do not come from this alert, by
	// the flat field name policy uses (e.g. "exposure.internet_facing").
	Origins map[string]Origin `json:"origins,omitempty"`
}

// Weakness says what is wrong, in the ids of the field.
type Weakness struct {
	// CVE ids, upper case, sorted, without duplicates.
	CVE []string `json:"cve,omitempty"`
	// CWE ids in the form CWE-79, sorted, without duplicates.
	CWE []string `json:"cwe,omitempty"`
	// Advisory ids (GHSA-…, RUSTSEC-…), sorted, without duplicates.
	Advisory []string `json:"advisory,omitempty"`
	// Control is a control id of a benchmark or standard, e.g. "S3.2".
	Control string `json:"control,omitempty"`
	// SecretHash is a keyed hash of a leaked secret; never the secret.
	SecretHash string `json:"secret_hash,omitempty"`
	// KEV: in CISA's Known Exploited Vulnerabilities list.
	KEV Tri `json:"kev,omitzero"`
	// CVSS is the base score times ten (0..100); 0 is unknown.
	CVSS int `json:"cvss,omitempty"`
}

// Asset is the thing that is exposed. An action targets the asset of the
// finding it names, never an alias of it.
type Asset struct {
	// UID is the asset's own identifier: ARN, resource id, host, repository,
	// image repository. It is compared after canonicalization (CanonicalAsset).
	UID  string `json:"uid"`
	Type string `json:"type,omitempty"`
	Name string `json:"name,omitempty"`
	// Provider is aws, gcp, azure, github, kubernetes, okta, …
	Provider string `json:"provider,omitempty"`
	Account  string `json:"account,omitempty"`
	Region   string `json:"region,omitempty"`
	// Environment is production, staging, development, test or "" if unknown.
	Environment string `json:"environment,omitempty"`
	// App is the owning application or service.
	App  string            `json:"app,omitempty"`
	Tags map[string]string `json:"tags,omitempty"`
	// Criticality is low, medium, high, critical or "" if unknown.
	Criticality    string `json:"criticality,omitempty"`
	CustomerFacing Tri    `json:"customer_facing,omitzero"`
	// DataClass is public, internal, confidential, restricted or "".
	DataClass string `json:"data_class,omitempty"`
	Regulated Tri    `json:"regulated,omitzero"`
}

// Location is where in code or in a file the finding is.
type Location struct {
	// Repository as host/owner/name or owner/name.
	Repository string `json:"repository,omitempty"`
	File       string `json:"file,omitempty"`
	// Line is 1-based; 0 is unknown. Never part of a key: lines move.
	Line int `json:"line,omitempty"`
	// SnippetHash is a hash of the offending text or the tool's stable
	// fingerprint; part of the key where present.
	SnippetHash string `json:"snippet_hash,omitempty"`
	URL         string `json:"url,omitempty"`
}

// Component is the vulnerable part of the asset.
type Component struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	// PURL is the package URL, with version if known.
	PURL string `json:"purl,omitempty"`
	// FixedVersion is the lowest version that mends it, if one is known.
	FixedVersion string `json:"fixed_version,omitempty"`
	Ecosystem    string `json:"ecosystem,omitempty"`
	Path         string `json:"path,omitempty"`
}

// Identity is the principal the finding speaks of.
type Identity struct {
	// Principal is the user, role, service account or client id.
	Principal string `json:"principal,omitempty"`
	// Kind is user, role, service_account, access_key, oauth_app or "".
	Kind       string `json:"kind,omitempty"`
	Privileged Tri    `json:"privileged,omitzero"`
	// Scopes granted, for OAuth applications and tokens.
	Scopes []string `json:"scopes,omitempty"`
}

// Exposure is the context that outranks severity.
type Exposure struct {
	InternetFacing   Tri `json:"internet_facing,omitzero"`
	PipelineAdjacent Tri `json:"pipeline_adjacent,omitzero"`
	// Blast is the number of things that break or fall with this asset;
	// BlastUnknown (0) is to be read as large.
	Blast int `json:"blast,omitempty"`
	// Exploited: the source saw it used.
	Exploited Tri `json:"exploited,omitzero"`
	// CompensatingControl names a control that stands before the risky state.
	CompensatingControl string `json:"compensating_control,omitempty"`
}

// BlastUnknown is the blast radius of an asset nobody computed one for. Rules
// must treat it as large (law 5).
const BlastUnknown = 0

// Hint is one statement about ownership.
type Hint struct {
	// Kind is tag, team, user, email, codeowners, catalog, namespace.
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// Evidence is one named piece of what the source shows.
type Evidence struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Origin tells where a fact comes from and how old it is.
type Origin struct {
	// Observed is true when one of our own probes or look-ups saw the fact,
	// false when a source asserted it.
	Observed bool      `json:"observed"`
	Source   string    `json:"source"`
	At       time.Time `json:"at"`
}

// OriginOf returns the origin of a fact by its flat field name. A fact without
// an entry is asserted by the finding's own source at LastSeen.
func (f Finding) OriginOf(field string) Origin {
	if o, ok := f.Origins[field]; ok {
		return o
	}
	at := f.LastSeen
	if at.IsZero() {
		at = f.FirstSeen
	}
	return Origin{Source: f.Source, At: at}
}
