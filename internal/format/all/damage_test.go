package all_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/format/mapping"
)

// harm says where one kind of report is damaged.
type harm struct {
	// kind is what tools send: a format, or one of its forms.
	kind string
	// file is the fixture, record the pointer of the record that is damaged, within
	// its line when line (from 1) is set.
	file, record string
	line         int
	// text is the pointer within the record of a text that is cut, holds a byte of
	// Latin-1, and is replaced by lists in lists.
	text string
	// typed is the pointer within the record of a value that as takes the place of;
	// says is what the message must say, as a rule the name and what is wanted.
	typed, as, says string
	// ids are the pointers of the keys that are taken away, missing what the
	// message must say.
	ids     []string
	missing string
}

// harms has a row for every form of every format in JSON.
func harms() []harm {
	return []harm{
		{kind: "sarif", file: "../sarif/testdata/code.sarif", record: "/runs/0/results/0", text: "/message/text", typed: "/locations/0/physicalLocation/region/startLine", as: "{}", says: "startLine: want a number, got an object",
			ids: []string{"/ruleId", "/ruleIndex", "/message"}, missing: "ruleId and message.text are both missing"},
		{kind: "sarif of secrets", file: "../sarif/testdata/secrets.sarif", record: "/runs/0/results/0", text: "/message/text", typed: "/ruleId", as: "[1]", says: "ruleId: want text, got an array",
			ids: []string{"/ruleId", "/message"}, missing: "ruleId and message.text are both missing"},
		{kind: "sarif of packages", file: "../sarif/testdata/dependencies.sarif", record: "/runs/0/results/1", text: "/message/text", typed: "/locations", as: `"Dockerfile"`, says: "locations: want an array, got string",
			ids: []string{"/ruleId", "/ruleIndex", "/message"}, missing: "ruleId and message.text are both missing"},
		{kind: "asff single", file: "../asff/testdata/single.json", record: "", text: "/Title", typed: "/Severity/Label", as: "{}", says: "Severity.Label: want text, got an object", ids: []string{"/Id"}, missing: "Id is missing"},
		{kind: "asff batch", file: "../asff/testdata/batch.json", record: "/Findings/1", text: "/Title", typed: "/Resources", as: `"sg-0a1b"`, says: "Resources: want an array, got string", ids: []string{"/Id"}, missing: "Id is missing"},
		{kind: "asff event", file: "../asff/testdata/event.json", record: "/detail/findings/0", text: "/Title", typed: "/Resources/0/Id", as: "[7]", says: "Resources.0.Id: want text, got an array", ids: []string{"/Id"}, missing: "Id is missing"},
		{kind: "github code scanning", file: "../github/testdata/code_scanning_list.json", record: "/0", text: "/rule/description", typed: "/most_recent_instance/location/start_line", as: "{}", says: "start_line: want a number, got an object", ids: []string{"/number"}, missing: "number: missing"},
		{kind: "github dependabot", file: "../github/testdata/dependabot_alert.json", record: "/alert", text: "/security_advisory/summary", typed: "/security_advisory/cve_id", as: "{}", says: "security_advisory.cve_id: want text, got an object", ids: []string{"/number"}, missing: "number: missing"},
		{kind: "github secret scanning", file: "../github/testdata/secret_scanning_alert.json", record: "/alert", text: "/secret_type_display_name", typed: "/secret_type", as: "[]", says: "secret_type: want text, got an array", ids: []string{"/number"}, missing: "number: missing"},
		{kind: "github graphql", file: "../github/testdata/graphql.json", record: "/data/repository/vulnerabilityAlerts/nodes/0", text: "/securityVulnerability/advisory/summary", typed: "/number", as: "{}", says: "number: want text, got an object", ids: []string{"/number", "/id"}, missing: "number: missing"},
		{kind: "trivy image", file: "../trivy/testdata/image.json", record: "/Results/0/Vulnerabilities/0", text: "/Title", typed: "/CVSS", as: "7.5", says: "CVSS: want an object, got number", ids: []string{"/VulnerabilityID"}, missing: "VulnerabilityID is missing"},
		{kind: "trivy secret", file: "../trivy/testdata/image.json", record: "/Results/2/Secrets/0", text: "/Title", typed: "/Match", as: "{}", says: "Match: want text, got an object", ids: []string{"/RuleID"}, missing: "RuleID is missing"},
		{kind: "trivy licence", file: "../trivy/testdata/image.json", record: "/Results/3/Licenses/0", text: "/Category", typed: "/PkgName", as: "[]", says: "PkgName: want text, got an array", ids: []string{"/Name"}, missing: "Name is missing"},
		{kind: "trivy configuration", file: "../trivy/testdata/config.json", record: "/Results/0/Misconfigurations/0", text: "/Message", typed: "/CauseMetadata", as: "[]", says: "CauseMetadata: want an object, got array", ids: []string{"/ID", "/AVDID"}, missing: "ID is missing"},
		{kind: "trivy cluster", file: "../trivy/testdata/cluster.json", record: "/Resources/0/Results/1/Misconfigurations/0", text: "/Message", typed: "/Severity", as: "{}", says: "Severity: want text, got an object", ids: []string{"/ID", "/AVDID"}, missing: "ID is missing"},
		{kind: "trivy operator", file: "../trivy/testdata/operator.json", record: "/items/1/report/vulnerabilities/0", text: "/title", typed: "/severity", as: "[]", says: "severity: want text, got an array", ids: []string{"/vulnerabilityID"}, missing: "vulnerabilityID is missing"},
		{kind: "trivy operator audit", file: "../trivy/testdata/operator.json", record: "/items/0/report/checks/0", text: "/title", typed: "/severity", as: "{}", says: "severity: want text, got an object", ids: []string{"/checkID"}, missing: "checkID is missing"},
		{kind: "trivy operator secret", file: "../trivy/testdata/operator.json", record: "/items/2/report/secrets/0", text: "/title", typed: "/target", as: "{}", says: "target: want text, got an object", ids: []string{"/ruleID"}, missing: "RuleID is missing"},
		{kind: "ocsf 2002", file: "../ocsf/testdata/securityhub.json", record: "/detail/findings/1", text: "/finding_info/title", typed: "/vulnerabilities", as: `"CVE-2025-1234"`, says: "vulnerabilities: want an array, got string", ids: []string{"/finding_info/uid"}, missing: "finding_info.uid: missing"},
		{kind: "ocsf 2003", file: "../ocsf/testdata/securityhub.json", record: "/detail/findings/0", text: "/finding_info/title", typed: "/compliance/control", as: "{}", says: "compliance.control: want text, got an object", ids: []string{"/finding_info/uid"}, missing: "finding_info.uid: missing"},
		{kind: "ocsf 2004 of Prowler", file: "../ocsf/testdata/detections.json", record: "/0", text: "/finding_info/title", typed: "/resources/0/uid", as: "[]", says: "resources.0.uid: want text, got an array", ids: []string{"/finding_info/uid"}, missing: "finding_info.uid: missing"},
		{kind: "ocsf 2005", file: "../ocsf/testdata/incident_posture.json", record: "/0", text: "/message", typed: "/severity_id", as: "{}", says: "severity_id: want a number, got an object", ids: []string{"/finding_info_list/0/uid"}, missing: "finding_info.uid: missing"},
		{kind: "ocsf 2006", file: "../ocsf/testdata/detections.json", record: "/4", text: "/finding_info/title", typed: "/databucket", as: `"invoices"`, says: "databucket: want an object, got string", ids: []string{"/finding_info/uid"}, missing: "finding_info.uid: missing"},
		{kind: "ocsf 2007", file: "../ocsf/testdata/incident_posture.json", record: "/1", text: "/finding_info/title", typed: "/application", as: "[]", says: "application: want an object, got array", ids: []string{"/finding_info/uid"}, missing: "finding_info.uid: missing"},
		{kind: "gitleaks 7", file: "../gitleaks/testdata/v7.json", record: "/0", text: "/commitMessage", typed: "/file", as: "{}", says: "file: want text, got an object", ids: []string{"/rule"}, missing: "RuleID: missing"},
		{kind: "gitleaks 8", file: "../gitleaks/testdata/v8.json", record: "/0", text: "/Description", typed: "/StartLine", as: "[3]", says: "StartLine: want a number, got an array", ids: []string{"/RuleID"}, missing: "RuleID: missing"},
		{kind: "falco", file: "../falco/testdata/one.json", record: "", text: "/output", typed: "/output_fields", as: "[]", says: "output_fields: want an object, got an array", ids: []string{"/rule"}, missing: "rule: missing"},
		{kind: "falco lines", file: "../falco/testdata/events.jsonl", line: 2, text: "/output", typed: "/priority", as: "{}", says: "priority: want text, got an object", ids: []string{"/rule"}, missing: "rule: missing"},
		{kind: "alertmanager webhook", file: "../alertmanager/testdata/webhook.json", record: "/alerts/0", text: "/annotations/description", typed: "/labels", as: `["BucketPublic"]`, says: "labels: want an object, got an array", ids: []string{"/labels/alertname", "/annotations/summary"}, missing: "labels.alertname: missing"},
		{kind: "alertmanager api", file: "../alertmanager/testdata/api.json", record: "/0", text: "/annotations/summary", typed: "/fingerprint", as: "{}", says: "fingerprint: want text, got an object", ids: []string{"/labels/alertname", "/annotations/summary"}, missing: "labels.alertname: missing"},
		{kind: "jsonl", file: "../jsonl/testdata/findings.jsonl", line: 1, text: "/title", typed: "/asset", as: `"arn:aws:s3:::invoices"`, says: "asset: want an object, got string", ids: []string{"/title", "/rule"}, missing: "title: missing, and so is rule"},
		{kind: "jsonl seen", file: "../jsonl/testdata/seen.jsonl", line: 1, text: "/title", typed: "/asset", as: `"arn:aws:s3:::seen"`, says: "asset: want an object, got string", ids: []string{"/title", "/rule"}, missing: "title: missing, and so is rule"},
		{kind: "grype", file: "../shipped/testdata/grype.json", record: "/matches/0", text: "/vulnerability/description", typed: "/artifact/name", as: "{}", says: "artifact.name: want text, got an object", ids: []string{"/vulnerability/id"}, missing: "rule: missing; vulnerability.id is empty"},
		{kind: "semgrep", file: "../shipped/testdata/semgrep.json", record: "/results/0", text: "/extra/message", typed: "/start/line", as: `"two"`, says: "location.line: want a number", ids: []string{"/check_id"}, missing: "rule: missing; check_id is empty"},
		{kind: "semgrep-platform", file: "../shipped/testdata/semgrep-platform.json", record: "/findings/0", text: "/rule_message", typed: "/location", as: "7", says: "location.file_path: want an object, got a number", ids: []string{"/rule_name", "/rule"}, missing: "rule: missing; rule_name"},
		{kind: "checkov", file: "../shipped/testdata/checkov.json", record: "/0/results/failed_checks/0", text: "/check_name", typed: "/file_line_range", as: `"4-9"`, says: "file_line_range[0]: want a list, got text", ids: []string{"/check_id"}, missing: "rule: missing; check_id is empty"},
		{kind: "kube-bench", file: "../shipped/testdata/kube-bench.json", record: "/Controls/0/tests/0/results/0", text: "/test_desc", typed: "/remediation", as: "{}", says: "remediation: want text, got an object", ids: []string{"/test_number"}, missing: "rule: missing; test_number is empty"},
		{kind: "kube-bench before 0.3", file: "../shipped/testdata/kube-bench_old.json", record: "/0/tests/0/results/0", text: "/test_desc", typed: "/test_desc", as: "[{}]", says: "test_desc: want text, got a list of other things", ids: []string{"/test_number"}, missing: "rule: missing; test_number is empty"},
		{kind: "prowler", file: "../shipped/testdata/prowler.json", record: "/1", text: "/StatusExtended", typed: "/CheckID", as: "{}", says: "CheckID: want text, got an object", ids: []string{"/FindingUniqueId"}, missing: "native_id: missing; FindingUniqueId is empty"},
		{kind: "a user's mapping", file: "acme.json", record: "/targets/0/checks/0", text: "/what", typed: "/what", as: "{}", says: "what: want text, got an object", ids: []string{"/id", "/what"}, missing: "title: the mapped paths hold nothing"},
	}
}

// worked returns the mapping and the report of docs/mapping.md.
func worked(t *testing.T) (format.Reader, []byte) {
	t.Helper()
	doc := string(load(t, "../../../docs/mapping.md"))
	block := func(language string) []byte {
		_, rest, ok := strings.Cut(doc, "```"+language+"\n")
		code, _, end := strings.Cut(rest, "```")
		if !ok || !end {
			t.Fatalf("docs/mapping.md has no %s", language)
		}
		return []byte(code)
	}
	r, err := mapping.Load("acme.yaml", block("yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return r, block("json")
}

// TestDamage: every form of every format, cut, with a value of the wrong type,
// without its id, wrongly encoded and nested too deep, is refused with file,
// line, column, place in the document and field; the other records are read,
// and so is the undamaged report.
func TestDamage(t *testing.T) {
	acme, report := worked(t)
	var kinds, files []string
	for _, h := range harms() {
		kinds, files = append(kinds, h.kind), append(files, h.file)
		t.Run(h.kind, func(t *testing.T) {
			body := report
			if h.file != "acme.json" {
				body = load(t, h.file)
			}
			d := damaged{T: t, harm: h, name: filepath.Base(h.file), body: body, extra: acme}
			d.locate()
			d.cut()
			d.encoding()
			d.deep()
			d.record()
		})
	}
	for _, r := range all.Readers() {
		if !slices.ContainsFunc(kinds, func(k string) bool { return k == r.Name() || strings.HasPrefix(k, r.Name()+" ") }) && !tables(r.Name()) {
			t.Errorf("%s is not damaged", r.Name())
		}
	}
	for _, file := range fixtures(t) {
		if !slices.Contains(files, file) && filepath.Ext(file) != ".csv" { // TestDamageOfTables
			t.Errorf("%s is not damaged", file)
		}
	}
}

func tables(name string) bool { return name == "prowler-csv" || name == "prowler-v2" }

// damaged is one report and the places in it.
type damaged struct {
	*testing.T
	harm
	name  string
	body  []byte
	extra format.Reader
	// from and to are the line of the record, or all.
	from, to int
	whole    format.Result
}

func (d *damaged) read(body []byte) (format.Result, error) {
	return all.Read(body, testOptions(d.name), d.extra)
}

// locate finds the line and reads the undamaged report: the record is kept.
func (d *damaged) locate() {
	d.Helper()
	d.to = len(d.body)
	for i := 1; d.line > 0 && i <= d.line; i++ {
		if i > 1 {
			d.from = d.to + 1
		}
		d.to = d.from + bytes.IndexByte(d.body[d.from:], '\n')
	}
	var err error
	if d.whole, err = d.read(d.body); err != nil {
		d.Fatal(err)
	}
	at := d.place(d.at(d.harm.record).from, d.harm.record)
	if d.whole.Kept == 0 || slices.ContainsFunc(d.whole.Refusals, func(n format.Note) bool { return n.Where == at }) {
		d.Fatalf("the record at %s is refused undamaged: %+v", at, d.whole.Refusals)
	}
}

// span is a value of the body, and its key if it has one.
type span struct{ key, from, to int }

// at finds the value at a pointer, with a decoder of its own.
func (d *damaged) at(pointer string) span {
	d.Helper()
	s := span{from: d.from, to: d.to}
	for s.from < s.to && strings.IndexByte(" \t\r\n", d.body[s.from]) >= 0 {
		s.from++
	}
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		dec := json.NewDecoder(bytes.NewReader(d.body[s.from:s.to]))
		open, err := dec.Token()
		found := false
		for i := 0; err == nil && !found && dec.More(); i++ {
			name, key := strconv.Itoa(i), 0
			if open == json.Delim('{') {
				var k json.Token
				if k, err = dec.Token(); err != nil {
					break
				}
				name = k.(string)
				key = int(dec.InputOffset()) - len(name) - 1
			}
			var raw json.RawMessage
			if err = dec.Decode(&raw); err == nil && name == step {
				found = true
				end := s.from + int(dec.InputOffset())
				s = span{s.from + key, end - len(raw), end}
			}
		}
		if !found {
			d.Fatalf("%s: there is no %s (%s): %v", d.file, pointer, step, err)
		}
	}
	return s
}

// place is how messages name an offset.
func (d *damaged) place(offset int, pointer string) string {
	return place(d.name, d.body, offset, pointer)
}

func place(name string, body []byte, offset int, pointer string) string {
	line := bytes.Count(body[:offset], []byte("\n")) + 1
	column := utf8.RuneCount(body[bytes.LastIndexByte(body[:offset], '\n')+1:offset]) + 1
	s := fmt.Sprintf("%s:%d:%d", name, line, column)
	if pointer != "" {
		s += " (" + pointer + ")"
	}
	return s
}

// middle is the middle of the text, which must be long enough to have one.
func (d *damaged) middle() int {
	d.Helper()
	s := d.at(d.harm.record + d.text)
	m := (s.from + s.to) / 2
	if d.body[s.from] != '"' || s.to-s.from < 6 || d.body[m] >= utf8.RuneSelf || d.body[m-1] == '\\' {
		d.Fatalf("%s is no text that can be damaged: %s", d.text, d.body[s.from:s.to])
	}
	return m
}

func (d *damaged) cut() {
	d.Helper()
	m := d.middle()
	where := d.place(m, d.harm.record+d.text)
	res, err := d.read(d.body[:m])
	if d.line > 1 { // the lines before it are read
		if err != nil || !slices.ContainsFunc(res.Refusals, func(n format.Note) bool { return n.Where == where && strings.Contains(n.Reason, "it is cut") }) {
			d.Errorf("cut: %v, %+v; want %s", err, res.Refusals, where)
		}
		return
	}
	d.refused("cut", err, where, "the file is cut")
}

func (d *damaged) refused(damage string, err error, where, reason string) {
	d.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), where+": ") || !strings.Contains(err.Error(), reason) {
		d.Errorf("%s: %v\nwant %s: …%s", damage, err, where, reason)
	}
}

func (d *damaged) encoding() {
	d.Helper()
	m := d.middle()
	body := bytes.Clone(d.body)
	body[m] = 0xE9
	_, err := d.read(body)
	d.refused("Latin-1", err, d.place(m, d.harm.record+d.text), "byte 0xE9 is not valid UTF-8")
	body[m] = 0
	_, err = d.read(body)
	d.refused("NUL", err, d.place(m, d.harm.record+d.text), "a NUL byte")
	_, err = d.read(utf16Of(string(d.body)))
	d.refused("UTF-16", err, d.name+":1:1", "UTF-16") // all of the file: no field
}

func (d *damaged) deep() {
	d.Helper()
	pointer := d.harm.record + d.text
	s := d.at(pointer)
	body := slices.Concat(d.body[:s.from], bytes.Repeat([]byte("["), 100_000), bytes.Repeat([]byte("]"), 100_000), d.body[s.to:])
	around := strings.Count(pointer, "/")
	shown := min(200-around, 12-around)
	where := place(d.name, body, s.from+200-around, pointer+strings.Repeat("/0", shown)+"/…")
	_, err := d.read(body)
	d.refused("deep nesting", err, where, "nested more than 200 deep")
}

// record is refused alone: the others are read as before.
func (d *damaged) record() {
	d.Helper()
	s := d.at(d.harm.record + d.typed)
	d.alone("wrong type", slices.Concat(d.body[:s.from], []byte(d.as), d.body[s.to:]), d.says)
	body := bytes.Clone(d.body)
	for _, id := range d.ids {
		body[d.at(d.harm.record+id).key]++ // the key is another word
	}
	d.alone("missing id", body, d.missing)
}

func (d *damaged) alone(damage string, body []byte, reason string) {
	d.Helper()
	where := d.place(d.at(d.harm.record).from, d.harm.record)
	res, err := d.read(body)
	if err != nil {
		if d.whole.Kept+d.whole.Suppressed > 1 {
			d.Errorf("%s: %v; want only the record refused", damage, err)
		}
		d.refused(damage, err, where, reason)
		return
	}
	if !slices.ContainsFunc(res.Refusals, func(n format.Note) bool { return n.Where == where && strings.Contains(n.Reason, reason) }) {
		d.Errorf("%s: %+v\nwant %s: …%s", damage, res.Refusals, where, reason)
	}
	if res.Read != d.whole.Read || res.Refused != d.whole.Refused+1 || res.Kept+res.Suppressed != d.whole.Kept+d.whole.Suppressed-1 {
		d.Errorf("%s: read %d kept %d suppressed %d refused %d, before %d %d %d %d", damage, res.Read, res.Kept, res.Suppressed, res.Refused, d.whole.Read, d.whole.Kept, d.whole.Suppressed, d.whole.Refused)
	}
	got, want := identities(d.T, res), identities(d.T, d.whole)
	for _, id := range got {
		if !slices.Contains(want, id) {
			d.Errorf("%s: another record became %s", damage, id)
		}
	}
}

// TestDamageOfTables: the same for CSV, whose rows are records and whose
// columns are fields. It has no types but the number of cells and what a
// mapping says of a column, and does not nest: a cell that never ends is what
// breaks its structure.
func TestDamageOfTables(t *testing.T) {
	for _, c := range []struct{ file, text, id, missing, wrong string }{
		{"../shipped/testdata/prowler-csv.csv", "STATUS_EXTENDED", "FINDING_UID", "native_id: missing; FINDING_UID is empty", "first_seen: want a time such as 2026-01-31T09:00:00Z, got \"yesterday\""},
		{"../shipped/testdata/prowler-v2.csv", "CHECK_RESULT_EXTENDED", "TITLE_ID", "rule: missing; TITLE_ID is empty", "cells behind CHECK_CAF_EPIC"},
	} {
		t.Run(reader(c.file), func(t *testing.T) { damageTable(t, c.file, c.text, c.id, c.missing, c.wrong) })
	}
	for _, file := range fixtures(t) {
		if filepath.Ext(file) == ".csv" && !tables(reader(file)) {
			t.Errorf("%s is not damaged", file)
		}
	}
}

func damageTable(t *testing.T, file, text, id, missing, wrong string) {
	body := load(t, file)
	rows, comma := table(t, body)
	column := func(name string) int {
		i := slices.Index(rows[0], name)
		if i < 0 || rows[1][i] == "" {
			t.Fatalf("%s has no %s in its first row", file, name)
		}
		return i
	}
	whole, err := all.Read(body, testOptions("x.csv"))
	if err != nil || whole.Refused > 0 || whole.Kept == 0 {
		t.Fatalf("undamaged: %v, %+v", err, whole.Refusals)
	}
	change := func(do func(row []string) []string) []byte {
		out := slices.Clone(rows)
		out[1] = do(slices.Clone(rows[1]))
		return written(t, out, comma)
	}
	last := rows[0][len(rows[0])-1]
	at := bytes.Index(body, []byte(rows[1][column(text)])) + 3
	changed := func(b ...byte) []byte { return slices.Concat(body[:at], b, body[at+1:]) }
	for damage, x := range map[string]struct {
		body          []byte
		where, reason string
	}{
		"cut in a row":           {body[:at], place("x.csv", body, bytes.IndexByte(body, '\n')+1, ""), rows[0][column(text)+1] + ": missing"},
		"cut in a quoted cell":   {append(bytes.TrimSpace(bytes.Clone(body)), []byte("\n\"the file ends he")...), "x.csv:" + strconv.Itoa(bytes.Count(bytes.TrimSpace(body), []byte("\n"))+2) + ":", "the file may be cut"},
		"wrong number of cells":  {change(func(r []string) []string { return append([]string{"x"}, r...) }), "x.csv:2:1", "cells behind " + last},
		"missing id":             {change(func(r []string) []string { r[column(id)] = ""; return r }), "x.csv:2:1", missing},
		"Latin-1":                {changed(0xE9), place("x.csv", body, at, text), "byte 0xE9 is not valid UTF-8"},
		"NUL":                    {changed(0), place("x.csv", body, at, text), "a NUL byte"},
		"UTF-16":                 {utf16Of(string(body)), "x.csv:1:1", "UTF-16"},
		"a cell that never ends": {slices.Concat(body[:at-3], []byte(`"`), body[at-3:]), "x.csv:", "not valid CSV"},
	} {
		res, err := all.Read(x.body, testOptions("x.csv"))
		var said []string
		if err != nil {
			said = append(said, err.Error())
		}
		for _, n := range res.Refusals {
			said = append(said, n.Where+": "+n.Reason)
		}
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, x.where) && strings.Contains(s, x.reason) }) {
			t.Errorf("%s: %q; want %s: …%s", damage, said, x.where, x.reason)
		}
	}
}

// A mapping without conditions reads what no reader knows, and nothing else.
func TestBlindMapping(t *testing.T) {
	r, err := mapping.Load("m.yaml", []byte("format: hosts\nrecords: list[*]\nfields: {rule: r, title: t, severity: s, asset.uid: h}\n"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := all.Read([]byte(`{"list":[{"r":"R1","t":"open","s":"high","h":"web-1"}]}`), testOptions("f"), r)
	if err != nil || res.Format != "hosts" || res.Kept != 1 {
		t.Errorf("%v %+v", err, res)
	}
	if res, err = all.Read(load(t, "../trivy/testdata/image.json"), testOptions("f"), r); err != nil || res.Format != "trivy" {
		t.Errorf("a known report with a mapping named: %v %s", err, res.Format)
	}
	if _, err = all.Read([]byte(`{"list":[`), testOptions("f"), r); err == nil || !strings.Contains(err.Error(), "f:1:10 (/list/0)") {
		t.Errorf("a cut one: %v", err)
	}
}
