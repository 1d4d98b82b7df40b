package web

import (
	"context"
	"time"

	"github.com/casement/casement/internal/connector/tracker"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

func s3Probe() remedy.ProbeSpec {
	return remedy.ProbeSpec{Connector: "s3", Verb: "anonymous-get", Grade: remedy.P3}
}

// blockPublic is the action of the public buckets.
func blockPublic(auth remedy.Authorization) remedy.ActionSpec {
	return remedy.ActionSpec{Name: "Block public access", Phase: remedy.Contain, Connector: "s3", Verb: "remove-public-access", Auth: auth,
		Reversibility: 2, Once: remedy.OnceLookup, Tries: 1, ApproveWithin: 2 * 3600, UnknownModifierOK: true, Undoable: true,
		Continuity: remedy.ProbeSpec{Connector: "s3", Verb: "signed-get", Grade: remedy.P2}, Watch: 600, WatchEvery: 300}
}

func dropStatement(auth remedy.Authorization) remedy.ActionSpec {
	a := blockPublic(auth)
	a.Name, a.Phase, a.Verb = "Remove the public statement from the bucket policy", remedy.Fix, "remove-statement"
	return a
}

// judged is a judgement with the usual people.
func judged(k deadline.RiskClass, rule, why string, mode remedy.Mode, owner string, probe remedy.ProbeSpec, actions ...remedy.ActionSpec) remedy.Judgement {
	grade := remedy.P2
	if k >= deadline.K3 {
		grade = remedy.P1
	}
	return remedy.Judgement{
		Decision: remedy.Decision{Class: k, Rule: rule, Why: why, Playbook: "close-exposure", Mode: mode, Ticket: true,
			Actions: actions, Probe: probe, Grade: grade, ProbeEvery: 300},
		Routing: remedy.Routing{Owner: owner, Approvers: []string{"u-dana"}, Backup: "u-omar", Manager: "team-payments-leads", OpsLead: "u-mara",
			Source: "tag owner", Confidence: 95, Known: owner != ""},
		Ladder: []remedy.LadderStep{{After: 0, Who: "owner"}, {After: 3600, Who: "backup"}},
	}
}

func bucket(name, env, data string) finding.Asset {
	return finding.Asset{UID: "arn:aws:s3:::" + name, Type: "bucket", Name: name, Provider: "aws", Account: "4410 8812 0937", Region: "eu-central-1",
		Environment: env, App: "billing", DataClass: data, Criticality: "high", CustomerFacing: finding.Yes, Regulated: finding.Yes}
}

func publicBucket(source, rule string, a finding.Asset) finding.Finding {
	return finding.Finding{Source: source, Rule: rule, Title: "Anyone can read objects in " + a.Name, Class: finding.StoragePublic, Domain: finding.DomainCloud,
		Severity: finding.SeverityHigh, Confidence: 95, Asset: a, Exposure: finding.Exposure{InternetFacing: finding.Yes}}
}

func planFor(name string, modifier string) remedy.Plan {
	return remedy.Plan{Text: "Block public access of bucket " + name + " (production, eu-central-1)\n\n" +
		"  public access block of s3://" + name + "\n" +
		"- BlockPublicAcls       false\n+ BlockPublicAcls       true\n" +
		"- IgnorePublicAcls      false\n+ IgnorePublicAcls      true\n" +
		"- BlockPublicPolicy     false\n+ BlockPublicPolicy     true\n" +
		"- RestrictPublicBuckets false\n+ RestrictPublicBuckets true",
		BeforeDigest: "b7d2", LastModifier: modifier,
		Blast: "1 bucket, 18,204 objects. Anonymous readers lose access; the 3 roles that read with credentials keep it.",
		Undo:  "Restores the former public access block exactly; takes about 2 seconds."}
}

// seed fills a world with the cases of the screenshots.
func (w *world) seed() {
	w.storyApproval()
	w.storyProven()
	w.storyLiar()
	w.storyOAuth()
	w.storyKey()
	w.storyHeld()
	w.storyPackage()
	w.storyOthers()
}

// storyApproval: a public bucket with customers' invoices waits for dana's yes.
func (w *world) storyApproval() remedy.Case {
	a := bucket("acme-invoices-archive", "production", "restricted")
	j := judged(deadline.K1, "public-storage-restricted", "restricted data readable by anyone on the internet", remedy.ModeApprove, "team-payments", s3Probe(), blockPublic(remedy.AuthApprove))
	j.Decision.Tickets = []remedy.TicketSpec{{System: "tracker", Template: "exposure"}}
	l := w.open("c-invoices", 52*minute, publicBucket("aws.securityhub", "S3.2", a), j)
	l.planned(51*minute, "e1.1", 1, planFor(a.Name, "u-lee"), "GET without credentials answered 200 with 48 kB of 2026/10/inv-88213.pdf")
	tk, _, err := w.tickets.CreateTicket(context.Background(), "c-invoices/1", store.Ticket{Tenant: finding.DefaultTenant, Project: "payments", CaseID: "c-invoices",
		Title: "[K1] Bucket acme-invoices-archive can be read by anyone", Status: tracker.StatusOpen, Assignee: "team-payments", CreatedAt: epoch().Add(-50 * minute),
		Body:   "restricted data readable by anyone on the internet\n\nAsset: acme-invoices-archive (bucket) in production\nSource: aws.securityhub, rule S3.2\n\nMarking this ticket as done starts a check, it does not close the case.",
		Fields: map[string]string{"asset": "arn:aws:s3:::acme-invoices-archive", "class": "storage.public", "risk": "K1", "environment": "production"}})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.tickets.AddTicketComment(context.Background(), finding.DefaultTenant, "1", store.TicketComment{TicketID: tk.ID, By: "casement", At: epoch().Add(-20 * minute),
		Text: "Not fixed: the probe still sees the exposure. GET without credentials answered 200"}); err != nil {
		w.t.Fatal(err)
	}
	l.at(50*minute, system(), remedy.TicketOpened{N: 1, Ref: "T-1", URL: "/tickets/1"})
	l.see("c-invoices", 47*minute, publicBucket("prowler", "s3_bucket_public_access", a), j, "same exposure: public storage of arn:aws:s3:::acme-invoices-archive")
	l.at(34*minute, person("u-lee"), remedy.Ack{})
	l.at(33*minute, person("u-lee"), remedy.Comment{Note: l.note("The monthly export was switched to this bucket on Friday. Nobody outside reads it, blocking is fine for us.")})
	return l.keep()
}

// storyProven: approved, done, proven, nothing broke.
func (w *world) storyProven() remedy.Case {
	a := bucket("acme-media-uploads", "production", "confidential")
	a.App = "storefront"
	j := judged(deadline.K2, "public-storage", "confidential data readable by anyone on the internet", remedy.ModeApprove, "team-storefront", s3Probe(), blockPublic(remedy.AuthApprove))
	l := w.open("c-media", 26*hour, publicBucket("aws.securityhub", "S3.2", a), j)
	p := planFor(a.Name, "u-lee")
	l.see("c-media", 26*hour-30*time.Second, publicBucket("prowler", "s3_bucket_public_access", a), j, "same exposure: public storage of arn:aws:s3:::acme-media-uploads")
	l.planned(26*hour-minute, "e1.1", 1, p, "GET without credentials answered 200 with 512 kB of uploads/7f21.jpg")
	l.at(25*hour+20*minute, person("u-omar"), remedy.Comment{Note: l.note("Do the product pages read these with signed addresses?")})
	l.at(25*hour+5*minute, person("u-lee"), remedy.Comment{Note: l.note("Yes, since March. The old public links are gone.")})
	act, _ := l.c.Action("e1.1")
	l.at(25*hour, person("u-dana"), remedy.Approve{Action: "e1.1", PlanHash: act.Plan.Hash, As: "approver"})
	l.at(25*hour-10*time.Second, system(), remedy.Intend{Action: "e1.1", Gen: 1, PlanHash: act.Plan.Hash, Entitled: true})
	l.at(25*hour-13*time.Second, system(), remedy.Done{Action: "e1.1", Gen: 1, UndoHandle: "{}", Ref: "7YB3Q9WKX2", Detail: "public access block of acme-media-uploads set"})
	l.probed(25*hour-20*time.Second, remedy.NotExposed, "GET without credentials answered 403 AccessDenied")
	for i := 0; i < 8 && l.c.Open(); i++ {
		if l.c.Probe.N == 0 {
			l.at(25*hour-time.Duration(i+1)*5*minute-time.Second, system(), remedy.Tick{})
		}
		if l.c.Probe.N != 0 {
			seen := "GET without credentials answered 403 AccessDenied"
			if l.c.Probe.Purpose == remedy.ProbeContinuity {
				seen = "GET with a signed address answered 200"
			}
			l.probed(25*hour-time.Duration(i+1)*5*minute-2*time.Second, remedy.NotExposed, seen)
		}
	}
	return l.keep()
}

// storyLiar: the control plane says fixed, the probe says open.
func (w *world) storyLiar() remedy.Case {
	a := bucket("acme-build-cache", "production", "internal")
	a.App = "ci"
	j := judged(deadline.K2, "public-storage", "data readable by anyone on the internet", remedy.ModeEnforce, "team-storage", s3Probe(),
		blockPublic(remedy.AuthEnforce), dropStatement(remedy.AuthApprove))
	l := w.open("c-cache", 3*hour, publicBucket("aws.securityhub", "S3.2", a), j)
	p := planFor(a.Name, "u-lee")
	l.planned(3*hour-minute, "e1.1", 1, p, "GET without credentials answered 200")
	act, _ := l.c.Action("e1.1")
	l.at(3*hour-2*minute, system(), remedy.Intend{Action: "e1.1", Gen: 1, PlanHash: act.Plan.Hash, Entitled: true})
	l.at(3*hour-3*minute, system(), remedy.Done{Action: "e1.1", Gen: 1, UndoHandle: "{}", Ref: "RQ81K0", Detail: "the API says: public access blocked"})
	l.probed(3*hour-4*minute, remedy.Exposed, "GET without credentials still answered 200: the answer comes from the cache in front")
	l.planned(28*minute, "e1.2", 1, remedy.Plan{Text: "Remove statement AllowCdnRead from the policy of acme-build-cache\n\n- { \"Sid\": \"AllowCdnRead\", \"Effect\": \"Allow\", \"Principal\": \"*\",\n-   \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::acme-build-cache/*\" }",
		BeforeDigest: "c1", LastModifier: "u-lee", Blast: "1 bucket, build agents read with credentials", Undo: "Puts the statement back."}, "GET without credentials answered 200")
	return l.keep()
}

// storyOAuth: a chat integration holds more scopes than it needs.
func (w *world) storyOAuth() remedy.Case {
	spec := remedy.ActionSpec{Name: "Lower the scope of the integration", Phase: remedy.Fix, Connector: "oauth", Verb: "lower-scope", Auth: remedy.AuthApprove,
		Reversibility: 1, Once: remedy.OnceKey, ApproveWithin: 4 * 3600, UnknownModifierOK: true, Undoable: true}
	j := judged(deadline.K2, "oauth-overscoped", "an integration may read all mail and needs only the calendar", remedy.ModeApprove, "team-collab",
		remedy.ProbeSpec{Connector: "oauth", Verb: "introspect", Grade: remedy.P2}, spec)
	f := finding.Finding{Source: "saas.posture", Rule: "oauth-scope-excess", Title: "MeetNotes may read every mailbox", Class: finding.OAuthOverscoped, Domain: finding.DomainSaaS,
		Severity: finding.SeverityHigh, Confidence: 80, Asset: finding.Asset{UID: "oauth:meetnotes", Type: "oauth_app", Name: "MeetNotes", Provider: "google", Environment: "production", App: "workplace"}}
	l := w.open("c-meetnotes", 5*hour, f, j)
	l.planned(95*minute, "e1.1", 1, remedy.Plan{Text: "Lower the scopes of MeetNotes\n\n  calendar.events.readonly\n- mail.read\n- mail.send\n- files.read.all",
		BeforeDigest: "o2", Blast: "1 integration, 214 people; its mail features stop", Undo: "Grants the former scopes again.", LastModifier: "u-vic"}, "introspection shows 4 scopes")
	return l.keep()
}

// storyKey: a leaked access key; the incident's action runs by itself.
func (w *world) storyKey() remedy.Case {
	spec := remedy.ActionSpec{Name: "Deactivate the access key", Phase: remedy.Contain, Connector: "iam", Verb: "deactivate-key", Auth: remedy.AuthEnforce,
		Reversibility: 2, Once: remedy.OnceLookup, Tries: 3, Interval: 120, UnknownModifierOK: true, Undoable: true}
	j := judged(deadline.K1, "leaked-key-live", "a live key of a privileged role stands in a public repository", remedy.ModeEnforce, "team-platform",
		remedy.ProbeSpec{Connector: "iam", Verb: "key-works", Grade: remedy.P3}, spec)
	j.Decision.Incident = true
	f := finding.Finding{Source: "github.secret_scanning", Rule: "aws_access_key_id", Title: "AWS access key of ci-deployer in a public repository", Class: finding.KeyExposed,
		Domain: finding.DomainIdentity, Severity: finding.SeverityCritical, Confidence: 99, Asset: finding.Asset{UID: "arn:aws:iam::441088120937:user/ci-deployer", Type: "user", Name: "ci-deployer", Provider: "aws", Environment: "production"},
		Identity: finding.Identity{Principal: "ci-deployer", Kind: "access_key", Privileged: finding.Yes}}
	l := w.open("c-key", 9*minute, f, j)
	l.planned(8*minute, "e1.1", 1, remedy.Plan{Text: "Deactivate key AKIA…7QX4 of ci-deployer\n\n- Status Active\n+ Status Inactive", BeforeDigest: "k", LastModifier: "u-lee", Blast: "2 pipelines", Undo: "Activates the key."}, "sts:GetCallerIdentity answered 200")
	act, _ := l.c.Action("e1.1")
	l.at(7*minute, system(), remedy.Intend{Action: "e1.1", Gen: 1, PlanHash: act.Plan.Hash, Entitled: true})
	l.at(6*minute, system(), remedy.Done{Action: "e1.1", Gen: 1, UndoHandle: "{}", Ref: "c0ffee", Detail: "key is Inactive"})
	return l.keep()
}

// storyHeld: a freeze holds the action.
func (w *world) storyHeld() remedy.Case {
	spec := remedy.ActionSpec{Name: "Close port 22 to the world", Phase: remedy.Contain, Connector: "ec2", Verb: "revoke-ingress", Auth: remedy.AuthEnforce, Reversibility: 2, Once: remedy.OnceLookup, UnknownModifierOK: true, Undoable: true}
	j := judged(deadline.K2, "ssh-world-open", "SSH of a production host is reachable from anywhere", remedy.ModeEnforce, "team-platform", remedy.ProbeSpec{Connector: "net", Verb: "tcp-open", Grade: remedy.P3}, spec)
	f := finding.Finding{Source: "aws.securityhub", Rule: "EC2.13", Title: "SSH open to 0.0.0.0/0 on bastion-02", Class: finding.WorldOpen, Domain: finding.DomainCloud, Severity: finding.SeverityHigh,
		Asset: finding.Asset{UID: "arn:aws:ec2:eu-central-1:441088120937:security-group/sg-0a71", Type: "security_group", Name: "bastion-02", Provider: "aws", Environment: "production"}}
	l := w.open("c-ssh", 7*hour, f, j)
	p := remedy.Plan{Text: "Revoke ingress tcp/22 from 0.0.0.0/0 of sg-0a71", BeforeDigest: "s", LastModifier: "u-lee", Blast: "1 host", Undo: "Authorizes the rule again."}
	p.At, p.Hash = epoch().Add(-7*hour+minute), hash(p.Text)
	l.at(7*hour-minute, system(), remedy.PlanMade{Action: "e1.1", Gen: 1, Plan: p, Before: remedy.Observation{Probe: "net/tcp-open", Result: remedy.Exposed, Grade: remedy.P3, Place: "outside", Detail: "SSH banner from 203.0.113.9"},
		Guard: remedy.Guard{Deny: "change freeze “Black Friday” until 30 November", RetryAt: epoch().Add(6 * day)}})
	return l.keep()
}

// storyPackage: a vulnerable package goes by ticket.
func (w *world) storyPackage() remedy.Case {
	j := judged(deadline.K3, "vulnerable-package", "a dependency in a build has a fix; no known exploitation", remedy.ModeTicket, "team-checkout", remedy.ProbeSpec{})
	j.Decision.Tickets = []remedy.TicketSpec{{System: "tracker", Template: "package"}}
	f := finding.Finding{Source: "trivy", Rule: "CVE-2026-31337", Title: "CVE-2026-31337 in undici 6.19.2 (checkout-web)", Class: finding.VulnerablePackage, Domain: finding.DomainPipeline, Severity: finding.SeverityHigh,
		Asset: finding.Asset{UID: "acme/checkout-web", Type: "repository", Name: "acme/checkout-web", Provider: "github", Environment: "production"}}
	l := w.open("c-undici", 11*day, f, j)
	l.at(11*day-hour, system(), remedy.TicketOpened{N: 1, Ref: "SEC-1012", URL: "/tickets/SEC-1012"})
	l.at(10*day, person("u-lee"), remedy.Ack{})
	return l.keep()
}

// storyOthers: cases that fill the list.
func (w *world) storyOthers() {
	asset := func(uid, typ, name, env string) finding.Asset {
		return finding.Asset{UID: uid, Type: typ, Name: name, Environment: env}
	}
	simple := func(id string, before time.Duration, k deadline.RiskClass, rule, owner, source, title string, class finding.Class, sev finding.Severity, a finding.Asset) *life {
		j := judged(k, rule, rule, remedy.ModeTicket, owner, remedy.ProbeSpec{})
		return w.open(id, before, finding.Finding{Source: source, Rule: rule, Title: title, Class: class, Severity: sev, Asset: a}, j)
	}
	simple("c-grants", 3*day, deadline.K3, "overprivilege", "team-data", "prowler", "Role etl-runner may administer everything", finding.Overprivilege, finding.SeverityMedium,
		asset("arn:aws:iam::441088120937:role/etl-runner", "role", "etl-runner", "production")).
		at(2*day, person("u-mara"), remedy.GrantException{Exception: remedy.Exception{ID: "x-1", Kind: "migration", By: "u-mara", Asked: "u-lee", Until: epoch().Add(20 * day)}}).keep()
	simple("c-mfa", 5*day, deadline.K4, "no-mfa", "team-people", "entra.posture", "3 administrators sign in without a second factor", "identity.no-mfa", finding.SeverityMedium,
		asset("entra:acme/admins", "group", "Directory administrators", "production")).keep()
	simple("c-secret", 8*day, deadline.K3, "secret-in-code", "team-checkout", "gitleaks", "Payment test key in integration tests", finding.SecretInCode, finding.SeverityMedium,
		asset("acme/checkout-api", "repository", "acme/checkout-api", "development")).keep()
	simple("c-unowned", 30*hour, deadline.K2, "database-public", "", "azure.defender", "Database port 5432 reachable from anywhere", "database.public", finding.SeverityHigh,
		asset("/subscriptions/7c/pg-legacy-07", "database", "pg-legacy-07", "")).at(29*hour, system(), remedy.Tick{}).keep()
	simple("c-xss", 2*day, deadline.K4, "code-weakness", "team-storefront", "codeql", "Reflected input in search results", finding.CodeWeakness, finding.SeverityMedium,
		asset("acme/storefront", "repository", "acme/storefront", "production")).keep()
	simple("c-imds", 16*day, deadline.K5, "metadata-v1", "team-platform", "aws.inspector", "Instance metadata v1 is on for batch-11", "workload.metadata-v1", finding.SeverityLow,
		asset("i-09b1", "host", "batch-11", "staging")).at(12*day, person("u-dana"), remedy.Ack{}).keep()
}
