package finding

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"
)

// KeyVersion is the version of the canonicalization behind ExposureKey. It is
// stored with every key so that a later canon can live beside this one.
const KeyVersion = 1

// Key is an exposure key with the parts it was made of, for `casement parse`
// and for the reason of a merge.
type Key struct {
	Version  int    `json:"version"`
	Weakness string `json:"weakness"`
	Asset    string `json:"asset"`
	Location string `json:"location,omitempty"`
}

// String is the key as stored and compared: "v1:" and 32 hex digits.
func (k Key) String() string {
	return "v" + strconv.Itoa(k.Version) + ":" + hash128("key", k.Weakness, k.Asset, k.Location)
}

// VersionOf is the version of a key as stored; KeyVersion if it names none.
func VersionOf(key string) int {
	head, _, ok := strings.Cut(strings.TrimPrefix(key, "v"), ":")
	if n, err := strconv.Atoi(head); ok && err == nil && strings.HasPrefix(key, "v") {
		return n
	}
	return KeyVersion
}

// IdentityOf returns the finding_uid: a hash of tenant, source and the native
// id; without a native id the declared fallback parts take its place
// (rule, asset, weakness, location, component). 32 hex digits.
func IdentityOf(f Finding) string {
	if f.NativeID != "" {
		return hash128("uid", f.Tenant, f.Source, "native", f.NativeID)
	}
	return hash128("uid", f.Tenant, f.Source, "fallback", f.Rule, canonicalWeakness(f), CanonicalAsset(f.Asset),
		f.Location.Repository, f.Location.File, strconv.Itoa(f.Location.Line), f.Location.SnippetHash,
		f.Component.Name, f.Component.Version, f.Component.Path, f.Title)
}

// ExposureKey returns the key of the exposure the finding speaks of: canonical
// weakness, canonical asset and location (canon v1). Two tools that see the
// same exposure get equal keys; different assets never do (law 2). Tenant is
// not part of it: it is a column beside the key.
func ExposureKey(f Finding) Key {
	return Key{Version: KeyVersion, Weakness: canonicalWeakness(f), Asset: CanonicalAsset(f.Asset), Location: canonicalLocation(f)}
}

// canonicalWeakness: CVE or advisory > secret hash > class (for controls mapped
// to one) > tool rule. The vulnerable package belongs to the weakness: one CVE
// in two packages of one image is mended twice.
func canonicalWeakness(f Finding) string {
	w := f.Weakness
	id := ""
	switch {
	case w.SecretHash != "":
		return "secret:" + w.SecretHash
	case len(w.CVE) > 0:
		id = strings.Join(w.CVE, "+")
	case len(w.Advisory) > 0:
		id = strings.Join(w.Advisory, "+")
	}
	if id != "" {
		if p := canonicalPackage(f.Component); p != "" {
			return id + "@" + p
		}
		return id
	}
	// A code weakness is as specific as its rule; for a misconfiguration
	// "other" class the control tells states apart.
	switch f.Class {
	case "", CodeWeakness, Misconfigured, "pipeline.iac-misconfigured", "endpoint.config-weak", WorkloadCompromise, "endpoint.malware":
	default:
		return "class:" + string(f.Class)
	}
	if w.Control != "" {
		return "control:" + strings.ToLower(w.Control)
	}
	if f.Rule != "" {
		return "rule:" + f.Source + ":" + f.Rule
	}
	return "title:" + f.Source + ":" + strings.ToLower(strings.Join(strings.Fields(f.Title), " "))
}

// canonicalPackage is the purl without version and qualifiers, or the
// lower-cased name. Ecosystem names differ between tools, so a bare name is
// what both sides have; the type and namespace of the purl are dropped.
func canonicalPackage(c Component) string {
	name := c.Name
	if name == "" && strings.HasPrefix(c.PURL, "pkg:") {
		name = strings.TrimPrefix(c.PURL, "pkg:")
		if i := strings.IndexAny(name, "?#"); i >= 0 {
			name = name[:i]
		}
		if i := strings.LastIndexByte(name, '@'); i > 0 {
			name = name[:i]
		}
		if i := strings.IndexByte(name, '/'); i >= 0 {
			name = name[i+1:]
		}
	}
	return strings.ToLower(name)
}

// CanonicalAsset returns the form of an asset's id in which it is compared:
// type class and id, lower case where the id's world ignores case, images
// without tag or digest, S3 buckets by ARN whatever form they came in.
func CanonicalAsset(a Asset) string {
	uid := strings.TrimSpace(a.UID)
	typ := strings.ToLower(a.Type)
	switch {
	case strings.HasPrefix(uid, "arn:"):
		return uid
	case typ == "image" || typ == "container_image":
		return "image:" + imageRepository(uid)
	case typ == "repository":
		u := strings.TrimSuffix(strings.ToLower(uid), ".git")
		u = strings.TrimPrefix(strings.TrimPrefix(u, "https://"), "github.com/")
		return "repository:" + u
	case typ == "host":
		return "host:" + strings.ToLower(uid)
	case typ == "bucket" && (a.Provider == "aws" || a.Provider == "s3"):
		return "arn:aws:s3:::" + uid
	}
	return typ + ":" + uid
}

// imageRepository cuts tag and digest off an image reference.
func imageRepository(ref string) string {
	if i := strings.IndexByte(ref, '@'); i >= 0 {
		ref = ref[:i]
	}
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	ref = strings.TrimPrefix(strings.ToLower(ref), "docker.io/")
	return strings.TrimPrefix(ref, "library/")
}

// canonicalLocation: file and snippet hash for code, never the line. A
// weakness of a package is located by its package, a secret by its hash.
func canonicalLocation(f Finding) string {
	if f.Weakness.SecretHash != "" || f.Component.Name != "" {
		return ""
	}
	l := f.Location
	if l.File == "" && l.SnippetHash == "" {
		return ""
	}
	return strings.TrimPrefix(l.File, "./") + "#" + l.SnippetHash
}

// DecisionDigest hashes every field that policy, owner, correlate, deadline or
// a playbook can read. A repeat with an equal digest can change no decision;
// one with another digest is a command. Times of sight, evidence, title and
// description are left out: nothing may decide by them.
func DecisionDigest(f Finding) string {
	d := f
	d.UID, d.NativeID, d.Title, d.Description, d.SourceSeverity = "", "", "", "", ""
	d.Evidence, d.Origins = nil, nil
	d.FirstSeen, d.LastSeen = time.Time{}, time.Time{}
	d.Location.Line, d.Location.URL = 0, ""
	if d.Status == "" {
		d.Status = StatusOpen
	}
	observed := make([]string, 0, len(f.Origins))
	for k, o := range f.Origins {
		if o.Observed {
			observed = append(observed, k)
		}
	}
	sort.Strings(observed)
	b, err := json.Marshal(d)
	if err != nil { // only strings, ints and times: cannot fail
		return hash128("undigestible", err.Error())
	}
	return hash128("digest", string(b), strings.Join(observed, ","))
}

// hash128 is SHA-256 over length-prefixed parts, cut to 128 bits: collision
// safe against senders who choose their ids, and short enough to index.
func hash128(parts ...string) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		l := len(p)
		for i := range n {
			n[i] = byte(l >> (8 * i))
		}
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
