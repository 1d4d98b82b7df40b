// Package ocsf maps findings to the Open Cybersecurity Schema Framework and
// back, and reads OCSF finding events (versions 1.1 to 1.8, classes 2001 to
// 2007) as Prowler, Security Hub and Security Lake write them.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants:
// From(To(f)) equals f in every field but tenant, UID and origins; facts OCSF
// has a place for are written there, and only the others (environment,
// deadline, exposure, owner hints, parameters …) into the extension object
// "casement"; a tenant is never read from a record.
package ocsf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "ocsf"

// Version is the OCSF version To writes: the one AWS Security Hub emits. All
// attributes used are in 1.5 to 1.8 as well.
const Version = "1.6.0"

// The classes of the Findings category that are read and written.
const (
	classSecurity      = 2001 // deprecated in 1.1, read only
	classVulnerability = 2002
	classCompliance    = 2003
	classDetection     = 2004
	classIncident      = 2005 // read only
	classDataSecurity  = 2006 // read only
	classPosture       = 2007
)

// Reader reads OCSF findings: one, a list, or one per line.
type Reader struct{}

// Name returns "ocsf".
func (Reader) Name() string { return Name }

// Records are the events of the envelopes and of a list.
func (Reader) Records() []string { return []string{"Findings[]", "detail.findings[]", "[]"} }

// Detect looks for a class of the Findings category with its required fields.
func (Reader) Detect(p format.Probe) int {
	for _, at := range []string{"", "[].", "Findings[].", "findings[].", "detail.findings[]."} {
		class := p.Value(at + "class_uid")
		switch {
		case class == "":
		case strings.HasPrefix(class, "200") && (p.Has(at+"finding_info") || p.Has(at+"finding_info_list") || p.Has(at+"finding")):
			return 98
		case p.Has(at+"metadata.version") && p.Has(at+"category_uid"):
			return 85
		}
	}
	return 0
}

// Read reads all events of a body.
func (Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: Name}
	values, err := format.Values(Name, body, opt)
	if err != nil {
		return res, err
	}
	for _, v := range values {
		if v.Err != "" {
			res.Refuse(v.Where, "", v.Err)
			continue
		}
		// Security Hub sends an EventBridge event with detail.findings, and
		// answers GetFindingsV2 with Findings.
		var w struct {
			ClassUID format.Number     `json:"class_uid"`
			Findings []json.RawMessage `json:"Findings"` // "findings" as well: keys match in any case
			Detail   struct {
				Findings []json.RawMessage `json:"findings"`
			} `json:"detail"`
		}
		if wrapped(v.Raw) {
			if err := format.Unmarshal(v.Raw, &w); err != nil {
				res.Refuse(v.Where, "", "envelope: "+format.Reason(err))
				continue
			}
		}
		if w.ClassUID != 0 || len(w.Findings)+len(w.Detail.Findings) == 0 {
			read(&res, v.Raw, v.Where, opt)
			continue
		}
		for i, raw := range w.Findings {
			read(&res, raw, format.Pointer(opt, v.Where, "Findings", i), opt)
		}
		for i, raw := range w.Detail.Findings {
			read(&res, raw, format.Pointer(opt, v.Where, "detail", "findings", i), opt)
		}
	}
	return format.Finish(res, body, opt)
}

// wrapped reports whether a value may be an envelope; most are events, which
// are decoded only once.
func wrapped(raw []byte) bool {
	return bytes.Contains(raw, []byte(`"Findings"`)) || bytes.Contains(raw, []byte(`"findings"`))
}

// read reads one event.
func read(res *format.Result, raw []byte, where string, opt format.Options) {
	var e event
	if err := format.Unmarshal(raw, &e); err != nil {
		res.Refuse(where, "", "event: "+format.Reason(err))
		return
	}
	if err := e.check(); err != nil {
		res.Refuse(where, e.id(), err.Error())
		return
	}
	if why := e.notAFinding(); why != "" {
		res.Suppress(where, e.id(), why)
		return
	}
	f := e.finding()
	f.Tenant = opt.Tenant
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	res.Keep(f, where)
}

// From reads one OCSF event as a finding (not yet normalized). It returns an
// error that names the field when the event is of another category or lacks
// its id. An event whose source says "not a finding" (a passed check) comes
// with the status it states; Reader suppresses those.
func From(record []byte) (finding.Finding, error) {
	var e event
	if err := format.Unmarshal(record, &e); err != nil {
		return finding.Finding{}, fmt.Errorf("OCSF event: %s", format.Reason(err))
	}
	if err := e.check(); err != nil {
		return finding.Finding{}, err
	}
	return e.finding(), nil
}

// check refuses what is no finding.
func (e *event) check() error {
	class := e.ClassUID.Int()
	switch {
	case class == 0:
		return fmt.Errorf("class_uid: missing; it says what kind of OCSF event this is")
	case class < classSecurity || class > classPosture:
		return fmt.Errorf("class_uid: %d is no finding that is read (2001 to 2007 are)", class)
	case e.info().UID == "" && e.Extension == nil: // required by all classes of the Findings category
		return fmt.Errorf("finding_info.uid: missing; it names the finding")
	}
	return nil
}

func (e *event) id() string {
	return format.First(string(e.info().UID), string(e.Metadata.EventCode), string(e.info().Title))
}

// notAFinding returns why the source says that an event is no finding, or "".
func (e *event) notAFinding() string {
	if e.Extension != nil || e.status() == finding.StatusFixed {
		return ""
	}
	code := strings.ToUpper(string(e.StatusCode))
	switch {
	case code == "PASS" || code == "PASSED":
		return "the check passed (status_code " + code + ")"
	case code == "MUTED":
		return "muted at the source (status_code MUTED)"
	case code == "NOT_AVAILABLE":
		return "the check could not be evaluated (status_code NOT_AVAILABLE)"
	case e.Compliance.StatusID == 1 || strings.EqualFold(string(e.Compliance.Status), "pass") || strings.EqualFold(string(e.Compliance.Status), "passed"):
		return "the check passed (compliance.status Pass)"
	case e.status() == finding.StatusDismissed:
		return "suppressed at the source (status Suppressed)"
	}
	return ""
}

// status maps status and activity; the word outranks the number, which some
// producers fill in wrongly.
func (e *event) status() finding.Status {
	if e.Extension != nil && e.Extension.Status != "" {
		return e.Extension.Status
	}
	switch word := strings.ToLower(string(e.Status)); {
	case word == "new" || word == "in progress" || word == "inprogress" || word == "notified":
	case word == "resolved" || word == "archived" || word == "deleted" || word == "closed":
		return finding.StatusFixed
	case word == "suppressed":
		return finding.StatusDismissed
	case e.StatusID == 3 && e.ClassUID != classIncident:
		return finding.StatusDismissed
	case e.StatusID == 4 || e.StatusID == 5 || e.StatusID == 6 && e.ClassUID != classIncident:
		return finding.StatusFixed
	}
	if e.ActivityID == 3 && e.ClassUID != classIncident {
		return finding.StatusFixed
	}
	return ""
}

// severities in the order of severity_id 0..5.
func severities() []finding.Severity {
	return []finding.Severity{finding.SeverityUnknown, finding.SeverityInfo, finding.SeverityLow, finding.SeverityMedium, finding.SeverityHigh, finding.SeverityCritical}
}
