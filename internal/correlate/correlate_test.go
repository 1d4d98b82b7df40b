package correlate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

const day = 24 * time.Hour

func now() time.Time { return time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC) }

// TestPlace is each rule of the package by itself.
func TestPlace(t *testing.T) {
	closed := func(id string, how remedy.How, ago time.Duration) correlate.Candidate {
		return correlate.Candidate{ID: id, ClosedAt: now().Add(-ago), How: how}
	}
	open := correlate.Candidate{ID: "open", Open: true}
	merged := closed("merged", remedy.ClosedMerged, day)
	known := func(id string) correlate.Known { return correlate.Known{CaseID: id, Digest: "d", Quiet: true} }
	type cands = []correlate.Candidate
	for _, x := range []struct {
		name   string
		status finding.Status
		digest string
		known  correlate.Known
		cands  cands
		want   correlate.Kind
		id     string
		why    string
	}{
		{"nothing is known", finding.StatusOpen, "d", correlate.Known{}, nil, correlate.Open, "", "first"},
		{"nothing new in it", finding.StatusOpen, "d", known("open"), cands{open}, correlate.Sighting, "open", "again"},
		{"known, and its key leads elsewhere", finding.StatusOpen, "d", known("split"), cands{open}, correlate.Sighting, "split", "again"},
		{"another digest", finding.StatusOpen, "e", known("open"), cands{open}, correlate.Join, "open", "news"},
		{"its case is under way", finding.StatusOpen, "d", correlate.Known{CaseID: "open", Digest: "d"}, cands{open}, correlate.Join, "open", "news"},
		{"the source says fixed, as before", finding.StatusFixed, "d", known("open"), cands{open}, correlate.Join, "open", "news"},
		{"the source says dismissed", finding.StatusDismissed, "e", known("open"), cands{open}, correlate.Join, "open", "news"},
		{"another tool's view", finding.StatusOpen, "d", correlate.Known{}, cands{open}, correlate.Join, "open", "same exposure"},
		{"an equal digest of nobody", finding.StatusOpen, "", correlate.Known{Quiet: true}, cands{open}, correlate.Join, "open", "same exposure"},
		{"open behind closed", finding.StatusOpen, "d", correlate.Known{}, cands{closed("new", remedy.ClosedProven, day), open}, correlate.Join, "open", "same exposure"},
		{"open behind set aside", finding.StatusOpen, "d", correlate.Known{}, cands{closed("new", remedy.ClosedSuppressed, day), open}, correlate.Join, "open", "same exposure"},
		{"fixed, never seen", finding.StatusFixed, "d", correlate.Known{}, nil, correlate.Nothing, "", "never saw open"},
		{"dismissed, never seen", finding.StatusDismissed, "d", correlate.Known{}, nil, correlate.Nothing, "", "dismissed"},
		{"fixed, only merged away", finding.StatusFixed, "d", correlate.Known{}, cands{merged}, correlate.Nothing, "", "never saw open"},
		{"only merged away", finding.StatusOpen, "d", correlate.Known{}, cands{merged}, correlate.Open, "", "first"},
		{"merged away before closed", finding.StatusOpen, "d", correlate.Known{}, cands{merged, closed("old", remedy.ClosedProven, day)}, correlate.Join, "old", "closed 2026-11-01"},
		{"closed just now", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedProven, 0)}, correlate.Join, "old", "closed 2026-11-02"},
		{"closed by a clock ahead of ours", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedGone, -day)}, correlate.Join, "old", "closed"},
		{"closed 30 days ago", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedProven, 30*day)}, correlate.Join, "old", "closed 2026-10-03"},
		{"closed longer ago", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedProven, 30*day+1)}, correlate.Recurrence, "old", "30 days"},
		{"gone longer ago", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedGone, 40*day)}, correlate.Recurrence, "old", "30 days"},
		{"fixed, closed longer ago", finding.StatusFixed, "d", correlate.Known{}, cands{closed("old", remedy.ClosedProven, 40*day)}, correlate.Join, "old", "closed"},
		{"the newest of two closed", finding.StatusOpen, "d", correlate.Known{}, cands{closed("new", remedy.ClosedProven, day), closed("old", remedy.ClosedProven, 2*day)}, correlate.Join, "new", "closed"},
		{"the newest of two closed long ago", finding.StatusOpen, "d", correlate.Known{}, cands{closed("new", remedy.ClosedProven, 40*day), closed("old", remedy.ClosedProven, 50*day)}, correlate.Recurrence, "new", "30 days"},
		{"suppressed long ago", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedSuppressed, 400*day)}, correlate.Join, "old", "closed"},
		{"attested long ago", finding.StatusOpen, "d", correlate.Known{}, cands{closed("old", remedy.ClosedAttested, 400*day)}, correlate.Join, "old", "closed"},
		{"set aside behind closed", finding.StatusOpen, "d", correlate.Known{}, cands{closed("new", remedy.ClosedProven, day), closed("aside", remedy.ClosedSuppressed, 40*day)}, correlate.Join, "aside", "closed"},
		{"the newest of two set aside", finding.StatusOpen, "d", correlate.Known{}, cands{closed("new", remedy.ClosedAttested, day), closed("aside", remedy.ClosedSuppressed, 40*day)}, correlate.Join, "new", "closed"},
		{"set aside, and once known", finding.StatusOpen, "d", correlate.Known{CaseID: "aside", Digest: "d"}, cands{closed("aside", remedy.ClosedSuppressed, day)}, correlate.Join, "aside", "closed"},
	} {
		got := correlate.Place(finding.Finding{Status: x.status}, x.digest, x.known, x.cands, now())
		if got.Kind != x.want || got.CaseID != x.id || !strings.Contains(got.Why, x.why) {
			t.Errorf("%s: %+v, want %s %q because of %q", x.name, got, x.want, x.id, x.why)
		}
	}
}

// TestLawsOfPlacement holds for whatever is known: the same input gives the
// same answer, with a reason and a case that exists.
func TestLawsOfPlacement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var cands []correlate.Candidate
		hasOpen := false
		for i := range rapid.IntRange(0, 4).Draw(t, "candidates") {
			c := correlate.Candidate{ID: fmt.Sprint("c", i), ClosedAt: now().Add(-time.Duration(rapid.IntRange(-10, 2000).Draw(t, "closed hours ago")) * time.Hour),
				How: rapid.SampledFrom([]remedy.How{remedy.ClosedProven, remedy.ClosedGone, remedy.ClosedAttested, remedy.ClosedSuppressed, remedy.ClosedMerged}).Draw(t, "how")}
			if !hasOpen && rapid.IntRange(0, 3).Draw(t, "open") == 0 { // a key leads to one open case at most
				hasOpen, c = true, correlate.Candidate{ID: c.ID, Open: true}
			}
			cands = append(cands, c)
		}
		k := correlate.Known{CaseID: rapid.SampledFrom([]string{"", "c0", "elsewhere"}).Draw(t, "known"), Digest: rapid.SampledFrom([]string{"d", "e"}).Draw(t, "digest"),
			Quiet: rapid.Bool().Draw(t, "quiet")}
		f := finding.Finding{Status: rapid.SampledFrom([]finding.Status{finding.StatusOpen, finding.StatusFixed, finding.StatusDismissed}).Draw(t, "status")}
		before := slices.Clone(cands)
		p := correlate.Place(f, "d", k, cands, now())
		if q := correlate.Place(f, "d", k, cands, now()); q != p || !slices.Equal(before, cands) {
			t.Fatalf("asked twice: %+v, then %+v; candidates %+v", p, q, cands)
		}
		if p.Why == "" {
			t.Fatal("no reason")
		}
		i := slices.IndexFunc(cands, func(c correlate.Candidate) bool { return c.ID == p.CaseID })
		switch p.Kind {
		case correlate.Open, correlate.Nothing:
			if p.CaseID != "" || (p.Kind == correlate.Open) != (f.Status == finding.StatusOpen) || hasOpen {
				t.Fatalf("%+v of status %s beside %+v", p, f.Status, cands)
			}
		case correlate.Sighting:
			if p.CaseID != k.CaseID || p.CaseID == "" || !k.Quiet || k.Digest != "d" || f.Status != finding.StatusOpen {
				t.Fatalf("%+v of status %s, known %+v", p, f.Status, k)
			}
		case correlate.Join, correlate.Recurrence:
			if i < 0 || cands[i].How == remedy.ClosedMerged || hasOpen && !cands[i].Open {
				t.Fatalf("%+v of %+v", p, cands)
			}
			if aside := cands[i].How == remedy.ClosedSuppressed || cands[i].How == remedy.ClosedAttested; p.Kind == correlate.Recurrence &&
				(aside || f.Status != finding.StatusOpen || now().Sub(cands[i].ClosedAt) <= correlate.ReopenWithin) {
				t.Fatalf("%+v of %+v", p, cands[i])
			}
		default:
			t.Fatalf("what is %q?", p.Kind)
		}
		// An open case is found wherever it stands.
		if hasOpen {
			moved := rapid.Permutation(cands).Draw(t, "moved")
			if q := correlate.Place(f, "d", k, moved, now()); q != p {
				t.Fatalf("in another order: %+v, then %+v", p, q)
			}
		}
		if repeat, ok := correlate.Repeat("d", k); ok && (repeat.Kind != correlate.Sighting || f.Status == finding.StatusOpen && repeat != p) {
			t.Fatalf("by digest alone %+v, whole %+v", repeat, p)
		}
	})
}

// desk keeps cases as the store does, as far as placing needs it: keys lead to
// cases, newest first, and findings to theirs.
type desk struct {
	t     *rapid.T
	at    time.Time
	cases map[string]*kept
	keys  map[string][]string
	known map[string]correlate.Known
	seen  map[string]int // sightings by finding
}

type kept struct {
	correlate.Candidate
	keys   []string
	assets map[string]bool
	uids   []string
	acted  bool
}

func newDesk(t *rapid.T) *desk {
	return &desk{t: t, at: now(), cases: map[string]*kept{}, keys: map[string][]string{}, known: map[string]correlate.Known{}, seen: map[string]int{}}
}

func (d *desk) observe(f finding.Finding) correlate.Placement {
	f, err := finding.Normalize(f)
	if err != nil {
		d.t.Fatal(err)
	}
	key, digest := finding.ExposureKey(f).String(), finding.DecisionDigest(f)
	var cands []correlate.Candidate
	for _, id := range d.keys[key] {
		cands = append(cands, d.cases[id].Candidate)
	}
	known := d.known[f.UID]
	if c := d.cases[known.CaseID]; c != nil {
		known.Quiet = c.Open && !c.acted
	}
	p := correlate.Place(f, digest, known, cands, d.at)
	switch p.Kind {
	case correlate.Nothing:
		return p
	case correlate.Sighting:
		d.seen[f.UID]++
		return p
	case correlate.Open, correlate.Recurrence:
		id := fmt.Sprintf("case %02d", len(d.cases))
		d.cases[id] = &kept{Candidate: correlate.Candidate{ID: id, Open: true}, keys: []string{key}, assets: map[string]bool{}}
		d.keys[key] = append([]string{id}, d.keys[key]...)
		p.CaseID = id
	}
	c := d.cases[p.CaseID]
	if f.Status == finding.StatusOpen {
		c.Open = true // a new episode
	}
	c.assets[finding.CanonicalAsset(f.Asset)] = true
	if !slices.Contains(c.uids, f.UID) {
		c.uids = append(c.uids, f.UID)
	}
	d.known[f.UID] = correlate.Known{CaseID: c.ID, Digest: digest}
	return p
}

// check: one open case a key, one asset a case.
func (d *desk) check() {
	for key, ids := range d.keys {
		open := 0
		for _, id := range ids {
			if d.cases[id].Open {
				open++
			}
		}
		if open > 1 {
			d.t.Fatalf("%d open cases of key %s: %v", open, key, ids)
		}
	}
	for id, c := range d.cases {
		if len(c.assets) > 1 {
			d.t.Fatalf("case %s has findings of %v", id, c.assets)
		}
	}
}

// drawn is a finding of few assets, tools, classes and places, so that they
// meet often.
func drawn(t *rapid.T) finding.Finding {
	pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "pick") }
	f := finding.Finding{Source: pick("tool", "other tool"), Title: pick("it is open", "open it is"), Class: finding.StoragePublic,
		Severity: rapid.SampledFrom([]finding.Severity{finding.SeverityHigh, finding.SeverityHigh, finding.SeverityLow}).Draw(t, "severity"),
		Status:   rapid.SampledFrom([]finding.Status{finding.StatusOpen, finding.StatusOpen, finding.StatusOpen, finding.StatusFixed}).Draw(t, "status"),
		Asset:    finding.Asset{UID: pick("logs", "data"), Type: "bucket", Provider: "aws"}, LastSeen: now().Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "seen")) * time.Hour)}
	if pick("bucket", "code") == "code" {
		f.Class, f.Rule, f.Asset = finding.CodeWeakness, "xss", finding.Asset{UID: "acme/shop", Type: "repository"}
		f.Location = finding.Location{File: pick("a.go", "b.go"), Line: rapid.IntRange(1, 3).Draw(t, "line"), SnippetHash: pick("s1", "s2")}
	}
	f.NativeID = pick("1", "2") + f.Asset.UID + f.Location.File + f.Location.SnippetHash // one native id is one place
	return f
}

// TestLawTwo lives random lives: findings come in any order, cases are acted
// on, closed in every way, and time goes on.
func TestLawTwo(t *testing.T) {
	reached := map[correlate.Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(t)
		t.Repeat(map[string]func(*rapid.T){
			"observe": func(t *rapid.T) { reached[d.observe(drawn(t)).Kind]++ },
			"act": func(t *rapid.T) {
				for _, c := range d.cases {
					c.acted = c.acted || rapid.Bool().Draw(t, "act")
				}
			},
			"close": func(t *rapid.T) {
				for i := range len(d.cases) {
					c := d.cases[fmt.Sprintf("case %02d", i)]
					if c.Open && rapid.Bool().Draw(t, "close") {
						c.Open, c.acted, c.ClosedAt = false, false, d.at
						c.How = rapid.SampledFrom([]remedy.How{remedy.ClosedProven, remedy.ClosedGone, remedy.ClosedAttested, remedy.ClosedSuppressed}).Draw(t, "how")
					}
				}
			},
			"wait": func(t *rapid.T) { d.at = d.at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "days")) * day) },
			"":     func(*rapid.T) { d.check() },
		})
	})
	for _, k := range []correlate.Kind{correlate.Open, correlate.Join, correlate.Sighting, correlate.Recurrence, correlate.Nothing} {
		if reached[k] == 0 {
			t.Errorf("no life came to %s", k)
		}
	}
}

// TestOrderDoesNotMatter: findings that come at one time are in the same cases
// in whatever order they come, and each repeat is one sighting.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) finding.Finding {
			f := drawn(t)
			f.Status, f.Severity = finding.StatusOpen, finding.SeverityHigh
			return f
		}), 1, 8).Draw(t, "findings")
		groups := func(fs []finding.Finding) (out []string, sightings int) {
			d := newDesk(t)
			for _, f := range fs {
				d.observe(f)
			}
			d.check()
			for _, c := range d.cases {
				slices.Sort(c.uids)
				out = append(out, strings.Join(c.uids, " "))
			}
			slices.Sort(out)
			for _, n := range d.seen {
				sightings += n
			}
			return out, sightings
		}
		one, n := groups(fs)
		two, m := groups(rapid.Permutation(fs).Draw(t, "in another order"))
		if !slices.Equal(one, two) {
			t.Fatalf("cases hold\n%q, in another order\n%q", one, two)
		}
		twice, k := groups(slices.Concat(fs, fs))
		if !slices.Equal(one, twice) || n != m || k != n+len(fs) {
			t.Fatalf("sent twice: cases hold\n%q, then\n%q; %d and %d sightings", one, twice, n, k)
		}
	})
}

// TestSameExposure: what does not belong to an exposure does not change its
// key; another asset, weakness or place does.
func TestSameExposure(t *testing.T) {
	bucket := finding.Finding{Source: "tool", NativeID: "1", Title: "public", Class: finding.StoragePublic, Severity: finding.SeverityHigh,
		Asset: finding.Asset{UID: "logs", Type: "bucket", Provider: "aws"}}
	code := finding.Finding{Source: "tool", NativeID: "2", Title: "injection", Rule: "sqli", Class: finding.CodeWeakness,
		Asset: finding.Asset{UID: "acme/shop", Type: "repository"}, Location: finding.Location{File: "main.go", Line: 7, SnippetHash: "s"}}
	image := finding.Finding{Source: "tool", NativeID: "3", Title: "CVE-2026-1 in zlib", Weakness: finding.Weakness{CVE: []string{"CVE-2026-1"}},
		Asset: finding.Asset{UID: "registry.acme.com/shop:1.2", Type: "image"}, Component: finding.Component{Name: "zlib", Version: "1.0"}}
	for _, x := range []struct {
		name   string
		f      finding.Finding
		change func(*finding.Finding)
		same   bool
	}{
		{"another tool", bucket, func(f *finding.Finding) { f.Source, f.NativeID, f.Rule = "other", "9", "S3.2" }, true},
		{"other words, severity and time", bucket, func(f *finding.Finding) { f.Title, f.Severity, f.FirstSeen = "x", finding.SeverityLow, now() }, true},
		{"the same bucket by ARN", bucket, func(f *finding.Finding) { f.Asset.UID = "arn:aws:s3:::logs" }, true},
		{"tags and environment", bucket, func(f *finding.Finding) { f.Asset.Tags, f.Asset.Environment = map[string]string{"a": "b"}, "staging" }, true},
		{"another bucket", bucket, func(f *finding.Finding) { f.Asset.UID = "logs2" }, false},
		{"another kind of thing", bucket, func(f *finding.Finding) { f.Asset.Type = "queue" }, false},
		{"another provider's", bucket, func(f *finding.Finding) { f.Asset.Provider = "minio" }, false},
		{"another weakness", bucket, func(f *finding.Finding) { f.Class = finding.WorldOpen }, false},
		{"moved some lines down", code, func(f *finding.Finding) { f.Location.Line = 90 }, true},
		{"path with a dot", code, func(f *finding.Finding) { f.Location.File = "./main.go" }, true},
		{"the repository by its address", code, func(f *finding.Finding) { f.Asset.UID = "https://github.com/Acme/shop.git" }, true},
		{"another file", code, func(f *finding.Finding) { f.Location.File = "other.go" }, false},
		{"another text", code, func(f *finding.Finding) { f.Location.SnippetHash = "t" }, false},
		{"another rule", code, func(f *finding.Finding) { f.Rule = "xss" }, false},
		{"another repository", code, func(f *finding.Finding) { f.Asset.UID = "acme/site" }, false},
		{"another tag", image, func(f *finding.Finding) { f.Asset.UID = "registry.acme.com/shop:1.3" }, true},
		{"by digest", image, func(f *finding.Finding) { f.Asset.UID = "registry.acme.com/shop@sha256:" + strings.Repeat("a", 64) }, true},
		{"another version of the package", image, func(f *finding.Finding) { f.Component.Version = "1.1" }, true},
		{"another package", image, func(f *finding.Finding) { f.Component.Name = "zlib-ng" }, false},
		{"another CVE", image, func(f *finding.Finding) { f.Weakness.CVE = []string{"CVE-2026-2"} }, false},
		{"another image", image, func(f *finding.Finding) { f.Asset.UID = "registry.acme.com/site:1.2" }, false},
		{"another registry", image, func(f *finding.Finding) { f.Asset.UID = "registry.other.com/shop:1.2" }, false},
	} {
		a, err := finding.Normalize(x.f)
		if err != nil {
			t.Fatal(err)
		}
		g := x.f
		x.change(&g)
		g.UID = ""
		b, err := finding.Normalize(g)
		if err != nil {
			t.Fatal(err)
		}
		if same := finding.ExposureKey(a) == finding.ExposureKey(b); same != x.same || same != (finding.ExposureKey(a).String() == finding.ExposureKey(b).String()) {
			t.Errorf("%s: same exposure %v, want %v: %+v and %+v", x.name, same, x.same, finding.ExposureKey(a), finding.ExposureKey(b))
		}
	}
}

// TestNoise: what is a repeat and what is news, of one finding.
func TestNoise(t *testing.T) {
	f := finding.Finding{Source: "tool", NativeID: "1", Title: "public", Class: finding.StoragePublic, Severity: finding.SeverityLow, Confidence: 50,
		Asset: finding.Asset{UID: "logs", Type: "bucket", Provider: "aws"}, FirstSeen: now(), LastSeen: now()}
	for _, x := range []struct {
		name   string
		change func(*finding.Finding)
		want   correlate.Kind
	}{
		{"the same", func(*finding.Finding) {}, correlate.Sighting},
		{"seen later", func(f *finding.Finding) { f.LastSeen = now().Add(day) }, correlate.Sighting},
		{"other words", func(f *finding.Finding) { f.Title, f.Description = "Public!", "very" }, correlate.Sighting},
		{"more severe", func(f *finding.Finding) { f.Severity = finding.SeverityHigh }, correlate.Join},
		{"less severe", func(f *finding.Finding) { f.Severity = finding.SeverityInfo }, correlate.Join},
		{"surer", func(f *finding.Finding) { f.Confidence = 90 }, correlate.Join},
		{"its environment is known", func(f *finding.Finding) { f.Asset.Environment = "production" }, correlate.Join},
		{"fixed", func(f *finding.Finding) { f.Status = finding.StatusFixed }, correlate.Join},
		{"a deadline", func(f *finding.Finding) { f.Deadline = now().Add(day) }, correlate.Join},
	} {
		rapid.Check(t, func(rt *rapid.T) {
			d := newDesk(rt)
			first := d.observe(f)
			g := f
			x.change(&g)
			for range rapid.IntRange(0, 3).Draw(rt, "repeats before") {
				if p := d.observe(f); p.Kind != correlate.Sighting {
					rt.Fatalf("a repeat is %+v", p)
				}
			}
			if p := d.observe(g); p.Kind != x.want || p.CaseID != first.CaseID {
				rt.Fatalf("%s: %+v, want %s of %s", x.name, p, x.want, first.CaseID)
			}
			d.cases[first.CaseID].acted = true
			if p := d.observe(f); p.Kind != correlate.Join {
				rt.Fatalf("after an action a repeat is %+v", p)
			}
		})
	}
}
