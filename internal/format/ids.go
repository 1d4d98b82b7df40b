package format

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/casement/casement/internal/finding"
)

// CVEs returns the CVE ids in the texts, upper case, in order, each once.
func CVEs(texts ...string) []string {
	return idsIn(texts, "CVE-", func(s string) string {
		if len(s) < 6 || digits(s) != 4 || s[4] != '-' {
			return ""
		}
		n := digits(s[5:])
		if n < 4 || n > 12 {
			return ""
		}
		return s[:5+n]
	})
}

// CWEs returns the CWE ids in the texts in the form CWE-79: "CWE-079",
// "cwe79", "cwe/79" and definitions/79 of cwe.mitre.org are read as well.
func CWEs(texts ...string) []string {
	id := func(s string) string {
		s = strings.TrimLeft(s, "-_: 0")
		n := digits(s)
		if n == 0 || n > 5 {
			return ""
		}
		return s[:n]
	}
	out := idsIn(texts, "CWE", id)
	for _, s := range idsIn(texts, "CWE.MITRE.ORG/DATA/DEFINITIONS/", id) {
		out = appendNew(out, "CWE-"+strings.TrimPrefix(s, "CWE.MITRE.ORG/DATA/DEFINITIONS/"))
	}
	for i, s := range out {
		if !strings.HasPrefix(s, "CWE-") {
			out[i] = "CWE-" + strings.TrimPrefix(s, "CWE")
		}
	}
	return out
}

// Advisories returns advisory ids that are no CVE: GHSA, RUSTSEC, PYSEC, GO,
// SNYK, OSV, DSA, USN, RHSA and alike, upper case, in order, each once.
func Advisories(texts ...string) []string {
	var out []string
	for _, t := range texts {
		for _, word := range strings.FieldsFunc(t, func(r rune) bool {
			return strings.ContainsRune(" \t\r\n,;()[]{}<>\"'`/|#?&=", r)
		}) {
			w := strings.ToUpper(strings.TrimRight(word, ".:"))
			prefix, rest, ok := strings.Cut(w, "-")
			if !ok || rest == "" {
				continue
			}
			switch prefix {
			case "GHSA":
				if strings.Count(rest, "-") != 2 {
					continue
				}
			case "RUSTSEC", "PYSEC", "SNYK", "OSV", "DSA", "DLA", "USN", "RHSA", "RHBA", "ELSA", "ALSA", "ALAS", "ALAS2", "NSWG", "MAL", "GMS", "OPENSUSE", "SUSE", "AVD":
				if digits(strings.TrimLeft(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-:@")) == 0 {
					continue
				}
			case "GO":
				if digits(rest) != 4 {
					continue
				}
			default:
				continue
			}
			out = appendNew(out, w)
		}
	}
	return out
}

// idsIn finds prefix in the upper-cased texts and appends what rest makes of
// the text behind it.
func idsIn(texts []string, prefix string, rest func(string) string) []string {
	var out []string
	for _, t := range texts {
		if len(t) < len(prefix) {
			continue
		}
		up := strings.ToUpper(t)
		for {
			i := strings.Index(up, prefix)
			if i < 0 {
				break
			}
			boundary := i == 0 || !alnum(up[i-1])
			up = up[i+len(prefix):]
			if id := rest(up); id != "" && boundary {
				out = appendNew(out, prefix+id)
			}
		}
	}
	return out
}

func alnum(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func appendNew(list []string, s string) []string {
	for _, x := range list {
		if x == s {
			return list
		}
	}
	return append(list, s)
}

// Hash is a short unkeyed hash of text that is no secret (32 hex digits), with
// runs of white space taken as one, so that re-indented code keeps its hash.
func Hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strings.Join(strings.Fields(p), " ")))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Secret returns the keyed hash of a secret, "" when there is no key: a reader
// then drops the secret.
func (o Options) Secret(secret string) string {
	if o.HashSecret == nil || secret == "" {
		return ""
	}
	return o.HashSecret(secret)
}

// Slug makes a tool's name usable in a source name: lower case, words joined by "-".
func Slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 60 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}

// PURL builds a package URL from an ecosystem word of GitHub, Trivy or OSV;
// "" when the ecosystem is not known.
func PURL(ecosystem, name, version string) string {
	typ := ""
	switch strings.ToLower(ecosystem) {
	case "npm", "yarn", "pnpm", "bun", "node-pkg", "nodejs":
		typ = "npm"
	case "pip", "pypi", "pipenv", "poetry", "python-pkg", "python", "uv":
		typ = "pypi"
	case "maven", "pom", "jar", "gradle", "java-archive":
		typ, name = "maven", strings.Replace(name, ":", "/", 1)
	case "go", "gomod", "gobinary":
		typ = "golang"
	case "rubygems", "bundler", "gemspec", "gem":
		typ = "gem"
	case "rust", "cargo", "rust-binary", "crates.io":
		typ = "cargo"
	case "nuget", "dotnet-core":
		typ = "nuget"
	case "composer", "packagist":
		typ = "composer"
	case "pub", "erlang", "hex", "swift", "cocoapods", "conan":
		typ = strings.ToLower(ecosystem)
	}
	if typ == "" || name == "" {
		return ""
	}
	if typ == "npm" {
		name = strings.Replace(name, "@", "%40", 1)
	}
	if version == "" {
		return "pkg:" + typ + "/" + name
	}
	return "pkg:" + typ + "/" + name + "@" + version
}

// AVDControl brings the spellings of one check ("KSV014", "KSV-0014",
// "AVD-KSV-0014") to one form, so that all formats Trivy writes agree.
func AVDControl(id string) string {
	s := strings.TrimPrefix(strings.ToUpper(id), "AVD-")
	i := strings.IndexAny(s, "0123456789")
	if i <= 0 {
		return strings.ToUpper(id)
	}
	prefix, num := strings.TrimRight(s[:i], "-"), s[i:]
	for len(num) < 4 {
		num = "0" + num
	}
	return "AVD-" + prefix + "-" + num
}

// CVSS turns a base score 0.0..10.0 into the tenths Weakness.CVSS holds; a
// score outside the scale is 0 (unknown).
func CVSS(score float64) int {
	if !(score > 0 && score <= 10) {
		return 0
	}
	return int(score*10 + 0.5)
}

// AddHint appends an owner hint unless it is empty or there already.
func AddHint(f *finding.Finding, kind, value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	h := finding.Hint{Kind: kind, Value: value}
	for _, x := range f.OwnerHints {
		if x == h {
			return
		}
	}
	f.OwnerHints = append(f.OwnerHints, h)
}

// AddEvidence appends a named piece of evidence unless it is empty. Callers
// redact secrets first.
func AddEvidence(f *finding.Finding, name, value string) {
	if value = strings.TrimSpace(value); value == "" {
		return
	}
	if len(value) > finding.MaxValue {
		value = strings.ToValidUTF8(value[:finding.MaxValue], "") + "…"
	}
	f.Evidence = append(f.Evidence, finding.Evidence{Name: name, Value: value})
}

// SetParam sets a connector parameter unless the value is empty.
func SetParam(f *finding.Finding, name, value string) {
	if value == "" {
		return
	}
	if f.Params == nil {
		f.Params = map[string]string{}
	}
	f.Params[name] = value
}

// OwnerTags turns tags that name people or teams into owner hints: the value
// of owner, team, squad, contact, maintainer and alike. Keys are matched in
// any case, in sorted order.
func OwnerTags(f *finding.Finding) {
	for _, k := range sortedKeys(f.Asset.Tags) {
		switch strings.ToLower(k) {
		case "owner", "team", "squad", "contact", "maintainer", "service-owner", "owner-team", "owneremail", "owner_email", "technical-owner":
			AddHint(f, "tag", f.Asset.Tags[k])
		}
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
