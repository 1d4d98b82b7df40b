// Package falco reads the alerts of Falco as it writes them with json_output
// and as falcosidekick forwards them: one object, a list, or one per line.
//
// It is pure: it may import format, finding and the standard library (no os,
// net, context, sync, log, rand, goroutines or time.Now). Invariants: what a
// rule says of one pod, container or host is one finding however often it
// fires (the uuid of an event is not its identity); the command line it quotes
// is evidence, without the passwords in it, and never part of a key.
package falco

import (
	"strings"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
)

// Name is the reader's name.
const Name = "falco"

// Reader reads the JSON of Falco and falcosidekick.
type Reader struct{}

// Name returns "falco".
func (Reader) Name() string { return Name }

// Records are the elements of a list.
func (Reader) Records() []string { return []string{"[]"} }

// Detect looks for rule, priority and output together.
func (Reader) Detect(p format.Probe) int {
	for _, at := range []string{"", "[]."} {
		switch {
		case p.Has(at+"severity") || !p.Has(at+"output"):
		case p.HasAll(at+"rule", at+"priority") && (p.Has(at+"output_fields") || p.Has(at+"time")):
			return 97
		case p.HasAll(at+"rule", at+"output_fields"):
			return 80
		case p.HasAll(at+"priority", at+"output_fields", at+"time"): // Read says that the rule is missing
			return 70
		}
	}
	return 0
}

type alert struct {
	Rule     format.String    `json:"rule"`
	Priority format.String    `json:"priority"`
	Output   format.String    `json:"output"`
	Time     format.String    `json:"time"`
	Hostname format.String    `json:"hostname"`
	Source   format.String    `json:"source"`
	UUID     format.String    `json:"uuid"`
	Tags     format.Strings   `json:"tags"`
	Fields   format.StringMap `json:"output_fields"`
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
		var a alert
		if err := format.Unmarshal(v.Raw, &a); err != nil {
			res.Refuse(v.Where, "", "alert: "+format.Reason(err))
			continue
		}
		severity, known := severityOf(string(a.Priority))
		switch {
		case a.Rule == "":
			res.Refuse(v.Where, string(a.UUID), "rule: missing; it names what Falco saw")
		case !known:
			res.Refuse(v.Where, string(a.Rule), "priority: "+string(a.Priority)+" is none of Falco's (Emergency, Alert, Critical, Error, Warning, Notice, Informational, Debug)")
		case a.Rule == "Test rule" && strings.HasPrefix(string(a.Output), "This is a test from falcosidekick"):
			res.Suppress(v.Where, string(a.Rule), "a test of falcosidekick, nothing was seen")
		default:
			res.Keep(a.finding(severity, opt), v.Where)
		}
	}
	return format.Finish(res, body, opt)
}

// severityOf maps Falco's priorities, which are syslog's.
func severityOf(priority string) (finding.Severity, bool) {
	switch strings.ToLower(priority) {
	case "emergency", "alert", "critical":
		return finding.SeverityCritical, true
	case "error":
		return finding.SeverityHigh, true
	case "warning":
		return finding.SeverityMedium, true
	case "notice":
		return finding.SeverityLow, true
	case "informational", "info", "debug":
		return finding.SeverityInfo, true
	}
	return finding.SeverityUnknown, false
}

// field returns the first output field that holds something.
func (a *alert) field(names ...string) string {
	for _, n := range names {
		if v := a.Fields[n]; v != "" && v != "<NA>" {
			return v
		}
	}
	return ""
}

func (a *alert) finding(severity finding.Severity, opt format.Options) finding.Finding {
	f := finding.Finding{Tenant: opt.Tenant, Source: Name, Product: "Falco", Rule: string(a.Rule), Title: string(a.Rule), Description: format.ScrubArguments(string(a.Output)),
		Severity: severity, SourceSeverity: string(a.Priority), Class: classOf(string(a.Rule))}
	f.FirstSeen = format.FirstTime(string(a.Time), a.Fields["evt.time.iso8601"], a.Fields["evt.time"])
	if f.FirstSeen.IsZero() {
		f.FirstSeen = opt.Now
	}
	a.asset(&f, opt)
	if user := a.field("ka.user.name"); user != "" {
		f.Identity = finding.Identity{Principal: user, Kind: "user"}
		if strings.HasPrefix(user, "system:serviceaccount:") {
			f.Identity.Kind = "service_account"
		}
	}
	if id := a.field("container.id"); id != "host" {
		format.SetParam(&f, "container", id)
	}
	format.SetParam(&f, "image", image(a.field("container.image.repository"), a.field("container.image.tag")))
	format.AddEvidence(&f, "output", f.Description)
	for _, name := range []string{"user.name", "proc.cmdline", "fd.name", "container.name", "k8s.deployment.name"} {
		format.AddEvidence(&f, name, format.ScrubArguments(a.field(name)))
	}
	format.AddEvidence(&f, "tags", strings.Join(a.Tags, ", "))
	format.AddEvidence(&f, "event", string(a.UUID))
	return f
}

// asset is the pod, the object of an audit event, the container or the host.
func (a *alert) asset(f *finding.Finding, opt format.Options) {
	cluster := a.field("k8s.cluster.name", "cluster", "cluster_name")
	host := string(a.Hostname)
	switch {
	case a.field("k8s.pod.name", "k8smeta.pod.name") != "":
		format.SetWorkload(f, cluster, a.field("k8s.ns.name", "k8smeta.ns.name"), "Pod", a.field("k8s.pod.name", "k8smeta.pod.name"))
	case a.field("ka.target.name") != "":
		format.SetWorkload(f, cluster, a.field("ka.target.namespace"), a.field("ka.target.resource"), a.field("ka.target.name"))
	case a.field("container.id") != "" && a.field("container.id") != "host":
		f.Asset = finding.Asset{UID: strings.TrimPrefix(host+"/"+a.field("container.id"), "/"), Type: "container", Name: a.field("container.name")}
	case host != "":
		f.Asset = finding.Asset{UID: host, Type: "host"}
	default:
		f.Asset = format.Scanned(opt, "host")
	}
	format.SetParam(f, "host", host)
}

func image(repository, tag string) string {
	if repository == "" || tag == "" {
		return repository
	}
	return repository + ":" + tag
}

// classOf names the state behind a rule of Falco's own rule set: most say that
// somebody acts inside a workload, some that the workload or a role is too
// strong, some that Falco itself goes blind.
func classOf(rule string) finding.Class {
	name := strings.ToLower(rule)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(name, w) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.HasPrefix(name, "falco internal"):
		return "logging.disabled"
	case has("privileged container", "privileged pod", "sensitive mount", "hostnetwork pod", "hostpid pod", "hostipc pod"):
		return "workload.privileged"
	case has("cluster-admin role", "clusterrole with", "system clusterrole"):
		return finding.Overprivilege
	}
	return finding.WorkloadCompromise
}
