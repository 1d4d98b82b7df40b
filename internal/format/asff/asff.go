// Package asff reads the AWS Security Finding Format (ASFF, schema 2018-10-08)
// into findings: one finding, a batch {"Findings": […]}, an EventBridge event
// with detail.findings, a list, or one finding per line.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: one ASFF
// finding is one record; its asset is the first resource; Workflow RESOLVED and
// RecordState ARCHIVED are claims (status fixed) and are kept, because they
// start verification; Workflow SUPPRESSED, and Compliance PASSED or
// NOT_AVAILABLE that no RESOLVED accompanies, say "not a finding".
package asff

import (
	"encoding/json"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "asff"

// Reader reads ASFF.
type Reader struct{}

// Name returns "asff".
func (Reader) Name() string { return Name }

// Records are the findings of the envelopes and of a list.
func (Reader) Records() []string {
	return []string{"Findings[]", "detail.findings[]", "[].Findings[]", "[].detail.findings[]"}
}

// Detect looks for the ids every ASFF finding has, wherever the shape puts them.
func (Reader) Detect(p format.Probe) int {
	best := 0
	for _, at := range []string{"", "[].", "Findings[].", "findings[].", "detail.findings[].", "[].detail.findings[].", "detail.Findings[]."} {
		n := 0
		for _, k := range []string{"ProductArn", "AwsAccountId", "GeneratorId", "SchemaVersion", "Resources", "Severity", "Types"} {
			if p.Has(at + k) {
				n++
			}
		}
		switch {
		case p.Has(at+"ProductArn") && n >= 3, p.Value(at+"SchemaVersion") == "2018-10-08" && n >= 2:
			return 98
		case n >= 4:
			best = max(best, 80)
		}
	}
	if p.Value("findings") == "[" && !p.Has("findings[]") && best == 0 {
		best = 25 // an empty list: nothing found, whoever looked
	}
	if p.Has("detail.findings") && strings.HasPrefix(p.Value("detail-type"), "Security Hub Findings") {
		return 98
	}
	if p.Kind == '{' && (p.Value("Findings") == "[") && !p.Has("Findings[]") {
		best = max(best, 30)
	}
	return best
}

// SecretPaths names the places where a finding may quote secrets.
func (Reader) SecretPaths() []string {
	return []string{"**.Resources[].Details.AwsLambdaFunction.Environment", "**.UserData", "**.Process.Arguments[]",
		"**.Resources[].Details.AwsCodeBuildProject.Environment.EnvironmentVariables[].Value", "**.MasterUserPassword"}
}

// envelope is the shapes a body can have.
type envelope struct {
	Findings *[]json.RawMessage `json:"Findings"` // "findings" as well: keys match in any case
	Detail   *struct {
		Findings *[]json.RawMessage `json:"findings"`
	} `json:"detail"`
	ID         format.String `json:"Id"`
	ProductArn format.String `json:"ProductArn"`
	Generator  format.String `json:"GeneratorId"`
	DetailType format.String `json:"detail-type"`
}

// Read reads a body in any of the shapes.
func (Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: Name}
	values, err := format.Values(Name, body, opt)
	if err != nil {
		return res, err
	}
	list := strings.HasPrefix(strings.TrimLeft(string(body[:min(64, len(body))]), "\uFEFF \t\r\n"), "[")
	whole := len(values) == 1 && !list && opt.Line == 0
	for _, v := range values {
		if v.Err != "" {
			res.Refuse(v.Where, "", v.Err)
			continue
		}
		if a, ok := bare(v.Raw); ok {
			keepOne(&res, a, opt, v.Where)
			continue
		}
		var e envelope
		if err := format.Unmarshal(v.Raw, &e); err != nil {
			if whole {
				return res, &format.Error{Format: Name, Where: v.Where, Reason: format.Reason(err), Mend: "want a finding, {\"Findings\": […]} or an EventBridge event"}
			}
			res.Refuse(v.Where, "", format.Reason(err))
			continue
		}
		switch {
		case e.Detail != nil && e.Detail.Findings != nil:
			readAll(&res, *e.Detail.Findings, opt, v.Where+"/detail/findings")
		case e.Findings != nil:
			readAll(&res, *e.Findings, opt, v.Where+"/Findings")
		case e.ID != "" || e.ProductArn != "" || e.Generator != "":
			readOne(&res, v.Raw, opt, v.Where)
		case whole:
			return res, &format.Error{Format: Name, Where: v.Where, Reason: "no Findings, no detail.findings, and no Id: this is no ASFF",
				Mend: "send a finding, {\"Findings\": […]} as BatchImportFindings takes it, or an EventBridge event"}
		default:
			res.Refuse(v.Where, "", "Id: missing; this is no ASFF finding")
		}
	}
	return format.Finish(res, body, opt)
}

func readAll(res *format.Result, raws []json.RawMessage, opt format.Options, where string) {
	for i, raw := range raws {
		readOne(res, raw, opt, format.Pointer(opt, where, i))
	}
}

func readOne(res *format.Result, raw json.RawMessage, opt format.Options, where string) {
	var a record
	if err := format.Unmarshal(raw, &a); err != nil {
		res.Refuse(where, "", "finding: "+format.Reason(err))
		return
	}
	keepOne(res, &a, opt, where)
}

// bare reads a finding that nothing is around, as a sender of one alert writes
// it, without looking for an envelope first. It returns false for what it can't
// tell or read: then the envelope says what it is, or what is wrong.
func bare(raw json.RawMessage) (*record, bool) {
	for key := range format.Keys(raw) {
		if key == "" || strings.EqualFold(key, "Findings") || strings.EqualFold(key, "detail") || strings.EqualFold(key, "detail-type") {
			return nil, false
		}
	}
	var a record
	if json.Unmarshal(raw, &a) != nil || a.ID == "" && a.ProductArn == "" && a.GeneratorID == "" {
		return nil, false
	}
	return &a, true
}

// keepOne takes a finding over unless it says too little or that it is none.
func keepOne(res *format.Result, a *record, opt format.Options, where string) {
	for _, need := range []struct{ name, value string }{
		{"Id", string(a.ID)}, {"Title", format.First(string(a.Title), string(a.GeneratorID))}, {"AwsAccountId", format.First(string(a.Account), accountOf(a))},
	} {
		if need.value == "" {
			res.Refuse(where, string(a.ID), "finding: "+need.name+" is missing")
			return
		}
	}
	if len(a.Resources) == 0 {
		res.Refuse(where, string(a.ID), "finding: Resources is missing or empty; nothing says what is exposed")
		return
	}
	if why := notAFinding(a); why != "" {
		res.Suppress(where, string(a.ID), why)
		return
	}
	res.Keep(a.finding(opt), where)
}

func accountOf(a *record) string {
	arn, _ := format.ParseARN(string(a.ProductArn))
	return arn.Account
}

// notAFinding returns why the source says that a record is no finding, or "".
func notAFinding(a *record) string {
	workflow, compliance := strings.ToUpper(string(a.Workflow.Status)), strings.ToUpper(string(a.Compliance.Status))
	switch {
	case workflow == "SUPPRESSED":
		why := "suppressed in Security Hub (Workflow.Status SUPPRESSED)"
		if a.Note.Text != "" {
			why += ": " + string(a.Note.Text)
		}
		return why
	case workflow == "RESOLVED" || a.RecordState == "ARCHIVED":
		return "" // it was a finding: a claim of repair
	case compliance == "PASSED":
		return "the control passed (Compliance.Status PASSED)"
	case compliance == "NOT_AVAILABLE":
		return "the control could not be evaluated (Compliance.Status NOT_AVAILABLE)"
	}
	return ""
}

// severity follows the ASFF rules: Label, else Normalized (0 informational,
// 1-39 low, 40-69 medium, 70-89 high, 90-100 critical), else Original.
func severity(f *finding.Finding, a *record) {
	s := a.Severity
	if s.Label == "" && s.Normalized == nil && (a.Provider.Severity.Label != "" || a.Provider.Severity.Normalized != nil) {
		s = a.Provider.Severity
	}
	if v, ok := finding.ParseSeverity(string(s.Label)); ok {
		f.Severity, f.SourceSeverity = v, string(s.Label)
		return
	}
	if s.Normalized != nil {
		n := s.Normalized.Int()
		f.SourceSeverity = format.First(string(s.Original), itoa(n))
		switch {
		case n >= 90:
			f.Severity = finding.SeverityCritical
		case n >= 70:
			f.Severity = finding.SeverityHigh
		case n >= 40:
			f.Severity = finding.SeverityMedium
		case n >= 1:
			f.Severity = finding.SeverityLow
		default:
			f.Severity = finding.SeverityInfo
		}
		return
	}
	f.SourceSeverity = string(s.Original)
	f.Severity, _ = finding.ParseSeverity(f.SourceSeverity)
}
