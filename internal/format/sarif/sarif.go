// Package sarif reads SARIF 2.1.0, the exchange format of static analysis
// tools, into findings.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: one
// result is one record; severity is the rule's security-severity, else the
// level as SARIF 3.27.10 defines it; results their tool marks as pass, not
// applicable or suppressed are suppressed with the reason; no code snippet is
// kept, only its hash, keyed where the rule looks for secrets.
package sarif

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "sarif"

// Reader reads SARIF 2.1.0 logs.
type Reader struct{}

// Name returns "sarif".
func (Reader) Name() string { return Name }

// Records are the results of each run.
func (Reader) Records() []string { return []string{"runs[].results[]"} }

// Detect looks for runs with a tool, a SARIF version or the schema's address.
func (Reader) Detect(p format.Probe) int {
	switch {
	case p.Lines || !p.Has("runs"):
		return 0
	case strings.Contains(strings.ToLower(p.Value("$schema")), "sarif"):
		return 100
	case p.Has("runs[].tool.driver") || p.Has("runs[].tool"):
		return 95
	case strings.HasPrefix(p.Value("version"), "2.1."):
		return 90
	case p.Value("runs") == "[" && p.Has("runs[].results"):
		return 60
	}
	return 0
}

// SecretPaths names the places where a result may quote a secret.
func (Reader) SecretPaths() []string {
	return []string{"**.snippet.text", "**.snippet.rendered", "**.snippet.markdown", "**.contents.text", "**.contents.binary",
		"**.insertedContent.text", "**.body.text", "**.environmentVariables", "**.commandLine", "**.webRequest", "**.webResponse"}
}

// Read reads all runs of a log.
func (Reader) Read(body []byte, opt format.Options) (format.Result, error) {
	res := format.Result{Format: Name}
	var log struct {
		Version format.String      `json:"version"`
		Runs    *[]json.RawMessage `json:"runs"`
	}
	if err := format.Open(Name, body, opt, &log); err != nil {
		return res, err
	}
	where := format.Position(opt.File, body, 0)
	if v := string(log.Version); v != "" && !strings.HasPrefix(v, "2.1.") {
		return res, &format.Error{Format: Name, Where: where, Reason: fmt.Sprintf("version: SARIF %q can't be read, want 2.1.0", v),
			Mend: "let the tool write SARIF 2.1.0, or convert the file with the SARIF multitool (sarif transform)"}
	}
	if log.Runs == nil {
		return res, &format.Error{Format: Name, Where: where, Reason: `runs: missing; a SARIF log has a list "runs"`,
			Mend: "check that the whole report was sent; a scan without findings has runs with empty results"}
	}
	for i, raw := range *log.Runs {
		readRun(&res, raw, opt, format.Pointer(opt, "", "runs", i))
	}
	return format.Finish(res, body, opt)
}

func readRun(res *format.Result, raw json.RawMessage, opt format.Options, where string) {
	var r run
	if err := format.Unmarshal(raw, &r); err != nil {
		res.Refuse(where, "", "run: "+format.Reason(err))
		return
	}
	if len(raw) > 0 && raw[0] == 'n' {
		res.Refuse(where, "", "run: want an object, got null")
		return
	}
	if len(r.External.Results) > 0 {
		res.Refuse(where+"/externalPropertyFileReferences/results", "", "the results are in another file; send the log with its results inline")
	}
	c := newContext(&r, opt)
	for i, raw := range r.Results {
		at := format.Pointer(opt, where, "results", i)
		var x result
		if err := format.Unmarshal(raw, &x); err != nil {
			res.Refuse(at, "", "result: "+format.Reason(err))
			continue
		}
		rule := c.ruleOf(&x)
		id := c.ruleID(&x, rule)
		if id == "" && x.Message.text("") == "" {
			res.Refuse(at, "", "result: ruleId and message.text are both missing; nothing says what was found")
			continue
		}
		if why := notAFinding(&x); why != "" {
			res.Suppress(at, id, why)
			continue
		}
		res.Keep(c.finding(&x, rule, id), at)
	}
}

// notAFinding returns why the source says that a result is none, or "".
func notAFinding(x *result) string {
	switch x.Kind {
	case "pass", "notApplicable":
		return "kind is " + string(x.Kind)
	}
	// SARIF 3.27.23: suppressed only when every suppression is accepted; an
	// absent state counts as accepted.
	why := ""
	for _, s := range x.Suppressions {
		if s.State == "underReview" || s.State == "rejected" {
			return ""
		}
		why = "suppressed " + format.First(map[string]string{"inSource": "in the source code", "external": "outside the source code"}[string(s.Kind)], "by the tool")
		if s.Justification != "" {
			why += ": " + string(s.Justification)
		}
	}
	return why
}

// severity returns the severity and the source's own word for it.
func (c *context) severity(x *result, r *rule) (finding.Severity, string) {
	for _, p := range []properties{x.Properties, r.Properties} {
		if s := p.text("security-severity"); s != "" {
			if v, ok := parseScore(s); ok {
				return finding.SeverityOfCVSS(v), s
			}
			if v, ok := finding.ParseSeverity(s); ok {
				return v, s
			}
		}
	}
	level := c.level(x, r)
	switch level {
	case "error":
		return finding.SeverityHigh, level
	case "warning":
		return finding.SeverityMedium, level
	}
	// A note is "a minor problem or an opportunity to improve" and none is no
	// problem at all (SARIF 3.27.10): neither is a risk somebody must mend.
	return finding.SeverityInfo, level
}

// level follows SARIF 3.27.10: the result's own, none when it is no failure,
// the invocation's override, the rule's default, warning.
func (c *context) level(x *result, r *rule) string {
	if x.Level != "" {
		return strings.ToLower(string(x.Level))
	}
	if x.Kind != "" && x.Kind != "fail" {
		return "none"
	}
	inv := 0
	if x.Provenance.InvocationIndex != nil {
		inv = *x.Provenance.InvocationIndex
	}
	if inv >= 0 && inv < len(c.run.Invocations) {
		for _, o := range c.run.Invocations[inv].Overrides {
			same := o.Descriptor.ID != "" && string(o.Descriptor.ID) == r.id()
			if o.Descriptor.Index != nil && o.Descriptor.ID == "" {
				same = r == c.driverRule(*o.Descriptor.Index)
			}
			if same && o.Configuration.Level != "" {
				return strings.ToLower(string(o.Configuration.Level))
			}
		}
	}
	return strings.ToLower(format.First(string(r.Default.Level), "warning"))
}
