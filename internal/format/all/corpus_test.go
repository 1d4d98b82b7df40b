package all_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/need"
)

// corpusOf is the folder of real reports with expected results; it lies beside
// the repository and is not part of it.
func corpusOf(t *testing.T) string {
	t.Helper()
	dir, _ := need.Find(t, "corpus")
	return dir
}

type entry struct {
	File, Tool, Format string
	Bytes              int
	Kind               string `json:"expected_kind"`
	Specific           bool   `json:"parser_specific"`
	Raw                *struct {
		Path       string
		Count      int
		Confidence string
	} `json:"raw_records"`
	Expected struct {
		Count      *int
		Error      any
		Severities map[string]int
		Basis      string         `json:"severities_basis"`
		Levels     map[string]int `json:"levels"`
		Findings   []struct {
			Equals   map[string]any
			Contains map[string][]string
			Composed []string // fields put together by the reference; judged by their parts
		}
	}
}

// ours says whether a file is in a format that has a reader.
func (e entry) ours() bool {
	switch e.Format {
	case "sarif", "asff", "asff-event", "ocsf":
		return true
	case "json":
		switch e.Tool {
		case "trivy":
			return !strings.Contains(e.File, "gitlab")
		case "gitleaks", "falco", "prometheus", "anchore_grype", "semgrep", "semgrep_pro", "checkov", "kubebench", "prowler", "aws_prowler_v3plus",
			"awssecurityhub", "trivy_operator", "github_sast", "github_vulnerability", "github_secrets_detection_report", "github_webhook":
			return true
		}
	case "csv":
		return e.Tool == "prowler" || e.Tool == "aws_prowler"
	case "jsonl":
		return e.Tool == "asff"
	}
	return false
}

func loadCorpus(t *testing.T) []entry {
	t.Helper()
	if _, ok := need.Find(t, "corpus"); !ok {
		need.Missing(t, "../shared/corpus is not beside the checkout; only the readers' own fixtures were read")
	}
	b, err := os.ReadFile(filepath.Join(corpusOf(t), "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Entries []entry }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m.Entries
}

type score struct{ right, all int }

func (s score) share() float64 {
	if s.all == 0 {
		return 1
	}
	return float64(s.right) / float64(s.all)
}

// tally is what the corpus test counts.
type tally struct {
	files              int
	counts, severities score
	specific, raw      score // counts of parser_specific files; read against raw_records
	reasons            map[string]reason
	used               map[string]bool
	perField           map[string]score
}

func TestCorpus(t *testing.T) {
	sum := tally{perField: map[string]score{}, reasons: loadReasons(t), used: map[string]bool{}}
	for _, e := range loadCorpus(t) {
		if e.ours() || e.Expected.Error != nil {
			sum.file(t, e)
		}
	}
	var fields score
	names := make([]string, 0, len(sum.perField))
	for k := range sum.perField {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		s := sum.perField[k]
		t.Logf("   field %-28s %4d of %4d", k, s.right, s.all)
		fields.right, fields.all = fields.right+s.right, fields.all+s.all
	}
	t.Logf("files %d · counts %d of %d · severities %d of %d (%.1f %%) · fields %d of %d (%.1f %%)", sum.files, sum.counts.right, sum.counts.all,
		sum.severities.right, sum.severities.all, 100*sum.severities.share(), fields.right, fields.all, 100*fields.share())
	t.Logf("counts of parser_specific files %d of %d, each other one with its reason · read equals raw_records %d of %d", sum.specific.right, sum.specific.all, sum.raw.right, sum.raw.all)
	for file := range sum.reasons {
		if !sum.used[file] {
			t.Errorf("testdata/corpus/reasons.json: %s needs no reason", file)
		}
	}
	if sum.counts.share() < 1 {
		t.Errorf("counts: %d of %d files, want all", sum.counts.right, sum.counts.all)
	}
	if sum.severities.share() < 0.95 {
		t.Errorf("severities: %.3f, want 0.95", sum.severities.share())
	}
	if fields.share() < 0.98 {
		t.Errorf("fields: %.3f, want 0.98", fields.share())
	}
}

// file reads one file and compares.
func (sum *tally) file(t *testing.T, e entry) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(corpusOf(t), "files", e.File))
	if err != nil {
		t.Fatal(err)
	}
	event := ""
	if len(e.Expected.Findings) > 0 {
		event, _ = e.Expected.Findings[0].Equals["event"].(string)
	}
	opt := format.Options{Now: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), File: filepath.Base(e.File), Event: event,
		HashSecret: func(s string) string { return "h" + format.Hash(s) }}
	res, err := all.Read(body, opt)
	if e.Expected.Error != nil { // of any tool: never read as zero findings
		if err == nil && res.Refused == 0 {
			t.Errorf("%s: read without a word, want an error", e.File)
		}
		return
	}
	sum.files++
	if e.Kind == "event" { // a webhook that is no alert: said so, or a finding
		if err == nil && res.Kept+res.Suppressed != 1 {
			t.Errorf("%s: %+v", e.File, res)
		}
		t.Logf("%-90s event: %v", e.File, err)
		return
	}
	if err != nil {
		sum.count(t, e, -1, err.Error())
		t.Logf("%-90s ERROR %v", e.File, err)
		return
	}
	checkCounters(t, res)
	n := res.Kept + res.Suppressed
	if sum.reasons[e.File].Counts == "kept" {
		n = res.Kept
	}
	note := sum.count(t, e, n, "")
	if e.Raw != nil {
		sum.raw.all++
		if res.Read == e.Raw.Count {
			sum.raw.right++
		} else {
			note += fmt.Sprintf(" RAW %d at %s (%s)", e.Raw.Count, e.Raw.Path, e.Raw.Confidence)
			sum.needReason(t, e, fmt.Sprintf("read %d, raw_records %d", res.Read, e.Raw.Count))
		}
	}
	if !e.Specific || res.Kept+res.Suppressed == deref(e.Expected.Count) {
		r, a := compareSeverities(e, res)
		sum.severities.right, sum.severities.all = sum.severities.right+r, sum.severities.all+a
		if r != a {
			note += fmt.Sprintf(" SEVERITIES want %v got %v", e.Expected.Severities, histogram(res.Findings))
		}
	}
	for _, miss := range compareFields(e, res, sum.perField) {
		note += "\n      " + miss
	}
	t.Logf("%-90s read %d kept %d suppressed %d refused %d%s", e.File, res.Read, res.Kept, res.Suppressed, res.Refused, note)
}

// reason says why our number differs from the reference's.
type reason struct {
	// Counts is "kept" when the reference counts only failed checks.
	Counts string `json:"counts"`
	Why    string `json:"why"`
}

func loadReasons(t *testing.T) map[string]reason {
	t.Helper()
	var out map[string]reason
	if err := json.Unmarshal(load(t, "testdata/corpus/reasons.json"), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// count compares a count; a parser_specific file may differ with a reason.
func (sum *tally) count(t *testing.T, e entry, n int, failure string) string {
	t.Helper()
	if sum.reasons[e.File].Counts != "" {
		sum.used[e.File] = true
	}
	if e.Expected.Count == nil {
		if failure != "" {
			sum.needReason(t, e, failure)
		}
		return ""
	}
	s := &sum.counts
	if e.Specific {
		s = &sum.specific
	}
	s.all++
	if n == *e.Expected.Count {
		s.right++
		return ""
	}
	if e.Specific {
		sum.needReason(t, e, fmt.Sprintf("count %d, reference %d %s", n, *e.Expected.Count, failure))
	}
	return fmt.Sprintf(" COUNT want %d", *e.Expected.Count)
}

func (sum *tally) needReason(t *testing.T, e entry, difference string) {
	t.Helper()
	sum.used[e.File] = true
	if sum.reasons[e.File].Why == "" {
		t.Errorf("%s: %s: differs without a reason in testdata/corpus/reasons.json", e.File, difference)
	}
}

func deref(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

func histogram(fs []finding.Finding) map[string]int {
	h := map[string]int{}
	for _, f := range fs {
		h[f.Severity.String()]++
	}
	return h
}

// compareSeverities compares histograms of kept findings; records that the
// source calls no finding have no severity to compare.
func compareSeverities(e entry, res format.Result) (right, total int) {
	want := map[string]int{}
	for k, n := range e.Expected.Severities {
		s, ok := finding.ParseSeverity(k)
		if !ok || k == "none" { // a scale of the test's own
			return 0, 0
		}
		want[s.String()] += n
	}
	if len(want) == 0 {
		return 0, 0
	}
	got := histogram(res.Findings)
	spare := res.Suppressed
	for k, n := range want {
		total += n
		if got[k] < n {
			use := min(spare, n-got[k])
			spare -= use
			total -= use
			right += got[k]
			continue
		}
		right += n
	}
	return right, total
}

// compareFields matches each expected finding with the finding that has most
// of its fields and counts the fields.
func compareFields(e entry, res format.Result, per map[string]score) []string {
	var misses []string
	used := map[int]bool{}
	for _, x := range e.Expected.Findings {
		if x.Equals["status"] == "PASS" && res.Suppressed > 0 {
			continue
		}
		best, bestMiss, bestN := -1, []string(nil), -1
		checked := 0
		for i, f := range res.Findings {
			if used[i] {
				continue
			}
			n, miss, c := match(f, x.Equals, x.Contains)
			miss = tolerate(miss, x.Composed, e.Specific)
			if n > bestN {
				best, bestN, bestMiss, checked = i, n, miss, c
			}
		}
		if best < 0 || checked == 0 {
			continue // suppressed records are compared by count
		}
		if res.Suppressed > 0 && bestN*2 < checked {
			continue // the expected one is among the suppressed
		}
		used[best] = true
		for k := range x.Equals {
			if _, ok := has(res.Findings[best], k, x.Equals[k]); ok {
				s := per[k]
				s.all++
				s.right++
				for _, m := range bestMiss {
					if strings.HasPrefix(m, k+":") {
						s.right--
					}
				}
				per[k] = s
			}
		}
		misses = append(misses, bestMiss...)
	}
	return misses
}

// tolerate drops misses of fields that the reference composes of several, and
// of the rule names that a reference with its own rules uses.
func tolerate(misses, composed []string, specific bool) []string {
	var out []string
	for _, m := range misses {
		field, _, _ := strings.Cut(m, ":")
		drop := specific && (field == "rule_id" || field == "title")
		for _, c := range composed {
			drop = drop || c == field
		}
		if !drop {
			out = append(out, m)
		}
	}
	return out
}

func match(f finding.Finding, equals map[string]any, contains map[string][]string) (n int, miss []string, checked int) {
	for k, want := range equals {
		right, ok := has(f, k, want)
		if !ok {
			continue
		}
		checked++
		if right {
			n++
		} else {
			miss = append(miss, fmt.Sprintf("%s: want %v, have rule %q title %q file %q line %d component %q %q native %q", k, want, f.Rule, f.Title, f.Location.File, f.Location.Line, f.Component.Name, f.Component.Version, f.NativeID))
		}
	}
	for _, parts := range contains {
		for _, p := range parts {
			if strings.Contains(strings.ToLower(f.Title+f.Description), strings.ToLower(p)) {
				n++
			}
		}
	}
	return n, miss, checked
}

// has reports whether a finding has the value expected of a field; ok is false
// for fields that have no counterpart or say nothing.
func has(f finding.Finding, field string, want any) (right, ok bool) {
	text := fmt.Sprint(want)
	if n, isNumber := want.(float64); isNumber {
		text = strconv.FormatFloat(n, 'f', -1, 64)
	}
	eq := func(s string) (bool, bool) { return strings.EqualFold(s, text), true }
	in := func(list []string) (bool, bool) {
		for _, s := range list {
			if strings.EqualFold(s, text) {
				return true, true
			}
		}
		return false, true
	}
	if want == nil || text == "" {
		return false, false
	}
	switch field {
	case "rule_id":
		return eq(f.Rule)
	case "file_path":
		if f.Location.File == "" { // an image's layer: the target stands in the evidence
			return evidence(f, text), true
		}
		return strings.EqualFold(f.Location.File, text) || evidence(f, text), true // Checkov's path in the scanned folder
	case "line":
		return eq(strconv.Itoa(f.Location.Line))
	case "severity":
		if text == "note" || text == "none" {
			text = "info"
		}
		s, _ := finding.ParseSeverity(text)
		return f.Severity == s, true
	case "cve":
		return in(append(append([]string{f.Rule}, f.Weakness.CVE...), f.Weakness.Advisory...))
	case "ghsa_id":
		return in(f.Weakness.Advisory)
	case "vulnerability_ids_includes":
		list, _ := want.([]any)
		for _, id := range list {
			found := strings.EqualFold(f.Weakness.Control, id.(string)) || strings.EqualFold(f.Rule, id.(string))
			for _, have := range append(f.Weakness.CVE, f.Weakness.Advisory...) {
				found = found || strings.EqualFold(have, id.(string))
			}
			if !found {
				return false, true
			}
		}
		return true, true
	case "cwe":
		if text == "0" {
			return false, false
		}
		text = "CWE-" + text
		return in(f.Weakness.CWE)
	case "cvssv3_score":
		if f.Weakness.CVSS == 0 {
			return false, true
		}
		return eq(strconv.FormatFloat(float64(f.Weakness.CVSS)/10, 'f', -1, 64))
	case "component_name":
		return f.Component.Name == text || f.Asset.UID == text || evidence(f, text), true
	case "component_version":
		return eq(f.Component.Version)
	case "fix_version":
		return eq(f.Component.FixedVersion)
	case "target":
		return f.Location.File == text || evidence(f, text), true
	case "id":
		return strings.HasPrefix(f.NativeID, text), true
	case "unique_id_from_tool":
		for _, part := range strings.Split(text, "|") {
			if !strings.Contains(f.NativeID, part) {
				return false, true
			}
		}
		return true, true
	case "vuln_id_from_tool":
		return f.Rule == text || strings.HasSuffix(f.NativeID, "/"+text), true
	case "title", "message":
		flat := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
		hay := flat(f.Title + " " + f.Description + " " + f.Rule + " " + f.Component.Name + " " + f.Component.Version + " " + f.Asset.UID)
		for _, part := range strings.FieldsFunc(flat(text), func(r rune) bool { return r == '-' }) {
			for _, w := range strings.Fields(part) {
				if len(w) > 3 && !strings.Contains(hay, strings.Trim(w, "'.,:")) {
					return false, true
				}
			}
		}
		return true, true
	case "account":
		return eq(f.Asset.Account)
	case "region":
		return eq(f.Asset.Region)
	case "resource_id":
		return eq(f.Asset.UID)
	case "resource_ids":
		list, _ := want.([]any)
		if len(list) == 0 {
			return false, false
		}
		first := list[0].(string)
		return f.Asset.UID == first || f.Asset.Name == first[strings.LastIndexByte(first, ':')+1:], true
	case "alert_number":
		return strings.HasSuffix(f.NativeID, "/"+text), true
	case "repository":
		return eq(f.Location.Repository)
	case "url":
		return eq(f.Location.URL)
	case "created":
		return f.FirstSeen.Equal(format.Time(text)), true
	case "date":
		return f.FirstSeen.Format("2006-01-02") == text[:10], true
	case "state":
		return (text == "open") == (f.Status == finding.StatusOpen), true
	case "license":
		return strings.HasSuffix(f.Rule, text), true
	case "active":
		return want.(bool) == (f.Status == finding.StatusOpen), true
	}
	return false, false
}

func evidence(f finding.Finding, text string) bool {
	for _, e := range f.Evidence {
		if e.Value == text {
			return true
		}
	}
	return false
}

// One scan written in several formats is the same set of exposures: Trivy's own
// JSON, its SARIF and its ASFF name the same ids, and JSON and SARIF the same keys.
func TestCorpusCrossFormat(t *testing.T) {
	loadCorpus(t)
	sets, keys := map[string]string{}, map[string]string{}
	for _, file := range []string{"golden_alpine-310.json", "golden_alpine-310.sarif.json", "golden_alpine-310.asff.json"} {
		body, err := os.ReadFile(filepath.Join(corpusOf(t), "files/trivy", file))
		if err != nil {
			t.Fatal(err)
		}
		res, err := all.Read(body, format.Options{File: file})
		if err != nil {
			t.Fatal(err)
		}
		var ids, ks []string
		for _, f := range res.Findings {
			ids = append(ids, strings.Join(f.Weakness.CVE, "+")+"@"+f.Component.Name)
			ks = append(ks, finding.ExposureKey(f).String())
		}
		sort.Strings(ids)
		sort.Strings(ks)
		sets[file], keys[file] = strings.Join(ids, " "), strings.Join(ks, " ")
	}
	if a := sets["golden_alpine-310.json"]; a != sets["golden_alpine-310.sarif.json"] || a != sets["golden_alpine-310.asff.json"] {
		t.Errorf("ids differ: %v", sets)
	}
	if keys["golden_alpine-310.json"] != keys["golden_alpine-310.sarif.json"] {
		t.Errorf("keys differ: %v", keys)
	}
}
