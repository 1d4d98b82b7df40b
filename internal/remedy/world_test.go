package remedy

import (
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/finding"
)

var update = flag.Bool("update", false, "record testdata and states.md anew")

// start is when the stories of the tests begin: a Monday morning.
func start() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }

const mainProbe = "s3/anonymous-get"

func blockSpec(auth Authorization) ActionSpec {
	return ActionSpec{Name: "block", Phase: Contain, Connector: "waf", Verb: "block", Auth: auth, Reversibility: 1,
		Once: OnceLookup, Undoable: true, UnknownModifierOK: true, Tries: 2}
}

func closeSpec(auth Authorization) ActionSpec {
	return ActionSpec{Name: "close", Phase: Fix, Connector: "s3", Verb: "remove-public-access", Auth: auth, Reversibility: 1,
		Once: OnceKey, Undoable: true, UnknownModifierOK: true}
}

func rotateSpec(auth Authorization) ActionSpec {
	return ActionSpec{Name: "rotate", Phase: Fix, Connector: "vault", Verb: "rotate", Auth: auth, Reversibility: 3,
		Once: OnceNone}
}

// judged returns a judgement of class K3 with everything known.
func judged(at time.Time, actions ...ActionSpec) Judgement {
	return Judgement{
		Decision: Decision{Class: deadline.K3, Rule: "public-bucket", Mode: ModeEnforce, Actions: actions, Grade: P2, ProbeEvery: 4 * 3600,
			Probe: ProbeSpec{Connector: "s3", Verb: "anonymous-get", Grade: P3}, Notify: []string{"chat"}},
		Routing:  Routing{Owner: "team-data", Approvers: []string{"ann", "bob"}, Backup: "ben", Manager: "mia", OpsLead: "olga", Known: true},
		Clocks:   deadline.Clocks{Ack: at.Add(4 * time.Hour), Contain: at.Add(24 * time.Hour), Fix: at.Add(14 * 24 * time.Hour), WarnPercent: 75},
		Ladder:   []LadderStep{{0, "owner"}, {4 * 3600, "backup"}, {24 * 3600, "manager"}, {48 * 3600, "ops_lead"}},
		Versions: Versions{Policy: "p1", Authors: []string{"pat", "quinn"}, Owners: "o1", TZ: "2026a"},
		Facts:    "f1",
	}
}

func public(uid string) finding.Finding {
	return finding.Finding{UID: uid, Tenant: "default", Source: "aws.securityhub", Rule: "S3.2", Title: "Bucket is public",
		Class: finding.StoragePublic, Domain: finding.DomainCloud, Severity: finding.SeverityHigh, Status: finding.StatusOpen,
		Asset: finding.Asset{UID: "arn:aws:s3:::reports", Type: "bucket", Name: "reports"}}
}

func observe(f finding.Finding, j Judgement) Observe {
	return Observe{ID: "c1", Tenant: "default", Key: "v1:k", Finding: f, Digest: finding.DecisionDigest(f), Why: "same exposure", Judgement: j}
}

func saw(r Result, at time.Time) Observation {
	return Observation{Probe: mainProbe, Result: r, Grade: P3, Place: "outside", Detail: "HTTP", At: at}
}

// asJSON is how cases and events are compared: by the bytes that are stored.
func asJSON(t interface{ Fatalf(string, ...any) }, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%T can't be stored: %v", v, err)
	}
	return string(b)
}

// stored takes an event through its stored form.
func stored(e Event) (Event, error) {
	b, err := EncodeBody(e.Body)
	if err != nil {
		return e, err
	}
	if e.Body, err = DecodeBody(e.Body.Type(), SchemaVersion, b); err != nil {
		return e, fmt.Errorf("stored as %s: %w", b, err)
	}
	return e, nil
}
