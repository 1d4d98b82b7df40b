// Package alertmanager reads alerts of Prometheus Alertmanager: the body of
// its webhook (version 4, as Grafana's webhook contact point writes it too),
// the list of its API, and a single alert.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: an
// alert's label set is its identity, so firing and resolved are the same
// finding (the fingerprint is the hash of the labels); resolved is a claim of
// the source that starts verification, never proof; alerts that differ in a
// label other than name and severity never get one asset.
package alertmanager

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "alertmanager"

// Reader reads Alertmanager's and Grafana's JSON.
type Reader struct{}

// Name returns "alertmanager".
func (Reader) Name() string { return Name }

// Records are a message's alerts and the elements of a list.
func (Reader) Records() []string { return []string{"alerts[]", "[]"} }

// Detect looks for alerts with labels.
func (Reader) Detect(p format.Probe) int {
	switch {
	case p.Has("alerts[].labels") && (p.Has("groupKey") || p.Has("receiver") || p.Has("alerts[].startsAt")):
		return 97
	case p.Value("alerts") == "[" && p.HasAll("groupKey", "receiver", "status"):
		return 90
	}
	for _, at := range []string{"", "[]."} {
		switch {
		case p.Value(at+"labels") != "{" || p.Has(at+"metadata") || p.Has(at+"kind"):
		case p.Has(at+"labels.alertname") && (p.Has(at+"startsAt") || p.Has(at+"annotations")):
			return 95
		case p.Has(at+"labels.severity") && p.Has(at+"summary"):
			return 40
		}
	}
	return 0
}

type message struct {
	Receiver  format.String     `json:"receiver"`
	External  format.String     `json:"externalURL"`
	Truncated format.Number     `json:"truncatedAlerts"`
	Alerts    []json.RawMessage `json:"alerts"`
}

type alert struct {
	Status      status           `json:"status"`
	Labels      format.StringMap `json:"labels"`
	Annotations format.StringMap `json:"annotations"`
	StartsAt    format.String    `json:"startsAt"`
	EndsAt      format.String    `json:"endsAt"`
	Generator   format.String    `json:"generatorURL"`
	Fingerprint format.String    `json:"fingerprint"`
	Dashboard   format.String    `json:"dashboardURL"`
	Panel       format.String    `json:"panelURL"`
	Values      format.String    `json:"valueString"`
	Summary     format.String    `json:"summary"`
}

// status is "firing" or "resolved" in the webhook, an object in the API.
type status struct {
	Word      string
	Silenced  format.Strings
	Inhibited format.Strings
}

// UnmarshalJSON reads both forms.
func (s *status) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		var word format.String
		err := word.UnmarshalJSON(b)
		s.Word = string(word)
		return err
	}
	var object struct {
		State     format.String  `json:"state"`
		Silenced  format.Strings `json:"silencedBy"`
		Inhibited format.Strings `json:"inhibitedBy"`
	}
	if err := json.Unmarshal(b, &object); err != nil {
		return err
	}
	s.Word, s.Silenced, s.Inhibited = string(object.State), object.Silenced, object.Inhibited
	return nil
}

// Read reads all alerts of a body.
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
		var m message
		if err := format.Unmarshal(v.Raw, &m); err != nil {
			res.Refuse(v.Where, "", "message: "+format.Reason(err))
			continue
		}
		if m.Alerts == nil { // an alert by itself
			readAlert(&res, v.Raw, &m, opt, v.Where)
			continue
		}
		for i, raw := range m.Alerts {
			readAlert(&res, raw, &m, opt, format.Pointer(opt, v.Where, "alerts", i))
		}
		if n := m.Truncated.Int(); n > 0 {
			res.Refuse(format.Pointer(opt, v.Where, "truncatedAlerts"), "", fmt.Sprintf("truncatedAlerts: Alertmanager left out %d more alerts; set max_alerts: 0 in its webhook_config", n))
		}
	}
	return format.Finish(res, body, opt)
}

// readAlert reads one alert.
func readAlert(res *format.Result, raw json.RawMessage, m *message, opt format.Options, where string) {
	var a alert
	if err := format.Unmarshal(raw, &a); err != nil {
		res.Refuse(where, "", "alert: "+format.Reason(err))
		return
	}
	rule := format.First(a.Labels["alertname"], string(a.Summary), a.Annotations["summary"])
	class := finding.Class(a.Labels["casement_class"])
	switch {
	case rule == "":
		res.Refuse(where, string(a.Fingerprint), "labels.alertname: missing; it names the rule that fired")
	case class != "" && !finding.KnownClass(class):
		res.Refuse(where, rule, fmt.Sprintf("labels.casement_class: %q is no class%s", class, format.DidYouMean(string(class), classNames())))
	case !slices.Contains([]string{"", "firing", "resolved", "active", "suppressed", "unprocessed"}, a.Status.Word):
		res.Refuse(where, rule, fmt.Sprintf("status: %q: want firing or resolved", a.Status.Word))
	case rule == "Watchdog" || rule == "InfoInhibitor" || rule == "DeadMansSwitch":
		res.Suppress(where, rule, "fires always, to show that alerting works")
	case len(a.Status.Silenced) > 0:
		res.Suppress(where, rule, "silenced in Alertmanager by "+strings.Join(a.Status.Silenced, ", "))
	case len(a.Status.Inhibited) > 0:
		res.Suppress(where, rule, "inhibited in Alertmanager by another alert")
	default:
		res.Keep(a.finding(rule, m, opt), where)
	}
}

func (a *alert) finding(rule string, m *message, opt format.Options) finding.Finding {
	l, n := a.Labels, a.Annotations
	f := finding.Finding{Tenant: opt.Tenant, Source: Name, Product: "Prometheus Alertmanager", Rule: rule, Class: finding.Class(l["casement_class"]),
		Title:       format.First(n["summary"], n["title"], string(a.Summary), rule),
		Description: format.First(n["description"], n["message"]), SourceSeverity: l["severity"], Severity: severityOf(l["severity"])}
	f.NativeID = format.First(string(a.Fingerprint), labelSet(l, nil))
	if a.Status.Word == "resolved" {
		f.Status = finding.StatusFixed
	}
	f.FirstSeen = format.Time(string(a.StartsAt))
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	if end := format.Time(string(a.EndsAt)); f.Status == finding.StatusFixed && end.After(f.FirstSeen) {
		f.LastSeen = end
	}
	a.asset(&f, rule, opt)
	if f.Class == "" { // two disks of one host are two exposures; a class joins other tools' views
		f.Location.SnippetHash = format.Hash(labelSet(l, []string{"alertname", "severity"}))
	}
	for _, k := range []string{"namespace", "bucket", "database", "service", "container"} {
		format.SetParam(&f, k, l[k])
	}
	if url := n["runbook_url"]; url != "" {
		f.Recommended = "Runbook: " + url
	}
	f.Location.URL = format.First(string(a.Panel), string(a.Dashboard), string(a.Generator))
	format.AddHint(&f, "namespace", l["namespace"])
	format.AddEvidence(&f, "receiver", string(m.Receiver))
	format.AddEvidence(&f, "values", string(a.Values))
	format.AddEvidence(&f, "Alertmanager", string(m.External))
	format.OwnerTags(&f)
	return f
}

// severityOf maps the words people use in the severity label.
func severityOf(word string) finding.Severity {
	switch strings.ToLower(word) {
	case "page", "disaster":
		return finding.SeverityCritical
	case "ticket":
		return finding.SeverityMedium
	}
	s, _ := finding.ParseSeverity(word)
	return s
}

// asset finds what the labels name, the narrowest first. Labels that name
// nothing known are the asset as a whole, which then says that it has no name.
func (a *alert) asset(f *finding.Finding, rule string, opt format.Options) {
	l := a.Labels
	cluster := l["cluster"]
	scoped := func(uid string) string { return strings.TrimPrefix(cluster+"/"+uid, "/") }
	arn, isARN := format.ParseARN(format.First(l["arn"], l["resource"]))
	switch {
	case isARN:
		f.Asset = finding.Asset{UID: format.First(l["arn"], l["resource"]), Type: l["resource_type"], Name: arn.Name(), Provider: "aws", Account: arn.Account, Region: arn.Region}
		if arn.Service == "s3" {
			f.Asset.Type = "bucket"
		}
		format.AWSParams(f)
	case l["resource"] != "":
		f.Asset = finding.Asset{UID: scoped(l["resource"]), Type: format.First(l["resource_type"], "service"), Name: l["resource"]}
	case l["namespace"] != "" && workload(l) != "":
		kind := workload(l)
		format.SetWorkload(f, cluster, l["namespace"], kind, l[strings.ToLower(kind)])
	case l["bucket"] != "":
		f.Asset = finding.Asset{UID: l["bucket"], Type: "bucket", Provider: l["provider"]}
	case l["node"] != "" || l["host"] != "" || l["hostname"] != "":
		f.Asset = finding.Asset{UID: scoped(format.First(l["node"], l["host"], l["hostname"])), Type: "host"}
	case l["instance"] != "" && !strings.Contains(l["instance"], "/"):
		f.Asset = finding.Asset{UID: scoped(withoutPort(l["instance"])), Type: "host"}
	default:
		f.Asset = format.Scanned(format.Options{Asset: opt.Asset}, "")
		if f.Asset.UID == "" {
			f.Asset = finding.Asset{UID: format.First(labelSet(l, []string{"alertname", "severity", "casement_class"}), rule), Type: "service",
				Name: format.First(l["service"], l["app"], l["job"], l["instance"], format.NotNamed(rule))}
		}
	}
	f.Asset.Environment = format.First(l["environment"], l["env"])
	f.Asset.App = format.First(l["app_kubernetes_io_name"], l["app"], l["service"])
	f.Asset.Account = format.First(f.Asset.Account, l["account"], cluster)
	for k, v := range l {
		if k == "alertname" || k == "severity" || v == "" {
			continue
		}
		if f.Asset.Tags == nil {
			f.Asset.Tags = map[string]string{}
		}
		f.Asset.Tags[k] = v
	}
}

// workload returns the kind of the Kubernetes object the labels name.
func workload(l format.StringMap) string {
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Pod"} {
		if l[strings.ToLower(kind)] != "" {
			return kind
		}
	}
	return ""
}

// withoutPort cuts the port of a scraped instance: host:9100.
func withoutPort(instance string) string {
	i := strings.LastIndexByte(instance, ':')
	if i <= 0 || strings.Count(instance, ":") > 1 && instance[i-1] != ']' || strings.Trim(instance[i+1:], "0123456789") != "" {
		return instance
	}
	return instance[:i]
}

// labelSet writes labels as Prometheus does, without the given ones.
func labelSet(l format.StringMap, without []string) string {
	var parts []string
	for k, v := range l {
		if v != "" && !slices.Contains(without, k) {
			parts = append(parts, fmt.Sprintf("%s=%q", k, v))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, ", ") + "}"
}

func classNames() []string {
	var out []string
	for _, c := range finding.Classes() {
		out = append(out, string(c.Class))
	}
	return out
}
