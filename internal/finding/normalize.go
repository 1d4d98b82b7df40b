package finding

import (
	"errors"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of what a finding may hold; longer text is cut, never refused.
const (
	MaxTitle       = 500
	MaxDescription = 8000
	MaxValue       = 4096
)

// ErrNoAsset is returned by Normalize for a finding that names nothing.
var ErrNoAsset = errors.New("finding names no asset: asset uid, repository and file are all empty")

// Normalize brings a finding into the canonical form every later stage relies
// on: tenant set, ids sorted and upper case, times in UTC, class domain filled
// in, text valid UTF-8 and bounded, UID computed. It returns ErrNoAsset when
// nothing is named that could be exposed.
func Normalize(f Finding) (Finding, error) {
	if f.Tenant == "" {
		f.Tenant = DefaultTenant
	}
	nativeID := f.NativeID
	f.Title = clip(f.Title, MaxTitle)
	if f.Title == "" {
		f.Title = clip(f.Rule, MaxTitle)
	}
	f.Description = clip(f.Description, MaxDescription)
	f.Recommended = clip(f.Recommended, MaxDescription)
	for _, p := range []*string{&f.Rule, &f.NativeID, &f.Asset.UID, &f.Asset.Name, &f.Asset.Type, &f.Component.Name,
		&f.Component.Version, &f.Location.File, &f.Location.Repository, &f.Identity.Principal, &f.SourceSeverity} {
		*p = clip(*p, MaxValue)
	}
	f.Weakness.CVE = idList(f.Weakness.CVE)
	f.Weakness.CWE = idList(f.Weakness.CWE)
	f.Weakness.Advisory = idList(f.Weakness.Advisory)
	if f.Asset.UID == "" {
		switch {
		case f.Location.Repository != "":
			f.Asset.UID, f.Asset.Type = f.Location.Repository, "repository"
		case f.Location.File != "":
			f.Asset.UID, f.Asset.Type = f.Location.File, "file"
		default:
			return f, ErrNoAsset
		}
	}
	if f.Asset.Name == "" {
		f.Asset.Name = f.Asset.UID
	}
	if f.Domain == "" {
		if i, ok := InfoOf(f.Class); ok {
			f.Domain = i.Domain
		}
	}
	if f.Status == "" {
		f.Status = StatusOpen
	}
	f.Asset.Environment = environment(f.Asset)
	f.FirstSeen, f.LastSeen, f.Deadline = utc(f.FirstSeen), utc(f.LastSeen), utc(f.Deadline)
	if f.LastSeen.IsZero() {
		f.LastSeen = f.FirstSeen
	}
	f.UID = IdentityOf(f)
	if nativeID != f.NativeID { // two long ids may differ only after the cut
		f.UID = IdentityOf(Finding{Tenant: f.Tenant, Source: f.Source, NativeID: nativeID})
	}
	return f, nil
}

// environment maps the words people use in tags to four names.
func environment(a Asset) string {
	v := a.Environment
	for _, k := range []string{"environment", "Environment", "env", "Env", "stage"} {
		if v == "" {
			v = a.Tags[k]
		}
	}
	switch strings.ToLower(v) {
	case "prod", "production", "prd", "live":
		return "production"
	case "stage", "staging", "stg", "preprod", "uat":
		return "staging"
	case "dev", "development", "sandbox":
		return "development"
	case "test", "testing", "qa", "ci":
		return "test"
	}
	return strings.ToLower(v)
}

func idList(in []string) []string {
	if len(in) == 0 {
		return nil
	}
	out := make([]string, 0, len(in))
	for _, s := range in {
		if s = strings.ToUpper(strings.TrimSpace(s)); s != "" {
			out = append(out, clip(s, 200))
		}
	}
	sort.Strings(out)
	n := 0
	for i, s := range out {
		if i == 0 || s != out[n-1] {
			out[n] = s
			n++
		}
	}
	return out[:n]
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// clip makes text valid UTF-8 without control characters, at most max runes.
func clip(s string, max int) string {
	plain := len(s) <= max && utf8.ValidString(s)
	if plain {
		for i := 0; i < len(s); i++ {
			if s[i] < 0x20 || s[i] == 0x7f {
				plain = false
				break
			}
		}
		if plain {
			return strings.TrimSpace(s)
		}
	}
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if n == max {
			b.WriteRune('…')
			break
		}
		if (r < 0x20 && r != '\n' && r != '\t') || r == 0x7f {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}
