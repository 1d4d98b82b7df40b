// Package storetest is the conformance suite of stores: what the engine and
// the pages may rely on, as tests that every store passes. It imports store
// for its types and is imported by tests only.
package storetest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Backend is what every store offers.
type Backend interface {
	engine.Store
	engine.Effects
	History
	Pages
	Switches
	DeadLetters
	Guardrails
	Raws
}

// Raws are the raw records that are kept as evidence.
type Raws interface {
	Raw(ctx context.Context, tenant, hash string) (record.Raw, error)
	RawStats(ctx context.Context) (store.RawStats, error)
	PruneRaw(ctx context.Context, p store.RawPrune) (store.RawPruned, error)
}

// Guardrails are counts that guardrails go by.
type Guardrails interface {
	Drawn(ctx context.Context, key string, since time.Time) (int, error)
	Fleet(ctx context.Context, tenant, class string) (int, error)
}

// DeadLetters is what failed too often.
type DeadLetters interface {
	DeadLetters(ctx context.Context, tenant, caseID string, n int) ([]record.DeadLetter, error)
	DeadSummary(ctx context.Context, tenant string) (record.DeadSummary, error)
	RetryDeadLetter(ctx context.Context, tenant, id string, at time.Time, e store.StreamEvent) error
}

// History is the ledger of a store.
type History interface {
	AppendEvent(ctx context.Context, e store.StreamEvent) (uint64, error)
	Events(ctx context.Context, tenant, caseID string) ([]store.StoredEvent, error)
	Stream(ctx context.Context, tenant, stream string, seq uint64, n int) ([]store.StoredEvent, error)
	EventsSince(ctx context.Context, pos int64, n int) ([]store.StoredEvent, int64, error)
}

// Pages is what lists and pages read.
type Pages interface {
	ListCases(ctx context.Context, f store.CaseFilter, cursor string, limit int) (store.CasePage, error)
	Counts(ctx context.Context, tenant string) (map[string]int, error)
	Findings(ctx context.Context, caseID string) ([]store.FindingRow, error)
	EffectsOf(ctx context.Context, caseID string, n int) ([]store.EffectStatus, error)
	Fact(ctx context.Context, tenant, hash string) ([]byte, error)
	Notes(ctx context.Context, tenant string, hashes []remedy.Note) (map[remedy.Note]record.NoteText, error)
	EraseNote(ctx context.Context, tenant string, hash remedy.Note) error
}

// Switches are the kill switches.
type Switches interface {
	SetPause(ctx context.Context, p store.Pause) error
	ClearPause(ctx context.Context, p store.Pause) error
	Pauses(ctx context.Context) ([]store.Pause, error)
}

// Epoch is the instant the tests begin at.
func Epoch() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 123456789, time.UTC) }

// tenant of the tests.
const tenant = finding.DefaultTenant

// NewCase returns a unit that opens a case with one finding, one key and one
// effect that is due at once.
func NewCase(id, key string) record.Unit {
	f := Finding(id)
	events := []remedy.Event{
		{At: Epoch(), By: remedy.Actor{Kind: remedy.Source, ID: "test"}, Body: remedy.Opened{
			ID: id, Tenant: tenant, Key: key, Title: "Bucket " + id + " is public", Class: "storage.public",
			Severity: finding.SeverityHigh, Asset: f.Asset, DetectedAt: Epoch().Add(-time.Hour),
		}},
		{At: Epoch(), By: remedy.Actor{Kind: remedy.Source, ID: "test"}, Body: remedy.Joined{Member: remedy.Member{
			UID: f.UID, Source: f.Source, Digest: finding.DecisionDigest(f), Severity: f.Severity, Status: finding.StatusOpen, Why: "opened the case", JoinedAt: Epoch(),
		}}},
		{At: Epoch(), By: remedy.Actor{Kind: remedy.Policy, ID: "test"}, Body: remedy.Judged{Judgement: remedy.Judgement{
			Decision: remedy.Decision{Class: deadline.K2, Rule: "test", Ticket: true, Mode: remedy.ModeTicket},
			Routing:  remedy.Routing{Owner: "team-" + id[len(id)-1:], Known: true},
			Clocks:   deadline.Clocks{Fix: Epoch().Add(72 * time.Hour)},
		}, Trigger: "opened"}},
	}
	c := remedy.Replay(events)
	return record.Unit{
		Case: c, Events: events, Findings: []finding.Finding{f},
		AddKey:     []record.CaseKey{{Tenant: tenant, Version: 1, Key: key}},
		AddEffects: []record.EffectRow{Effect(id, "message/1", "")},
		WakeAt:     Epoch().Add(24 * time.Hour),
	}
}

// Finding returns a finding named after a case.
func Finding(name string) finding.Finding {
	return finding.Finding{
		UID: "uid-" + name, Tenant: tenant, Source: "test.scanner", Title: "Bucket is public", Class: "storage.public", Severity: finding.SeverityHigh,
		Asset: finding.Asset{UID: "arn:aws:s3:::" + name, Name: name, Environment: "production"}, Status: finding.StatusOpen, FirstSeen: Epoch().Add(-time.Hour),
	}
}

// Effect returns an effect of a case on an outside object.
func Effect(caseID, name, object string) record.EffectRow {
	return record.EffectRow{
		ID: caseID + "/" + name, CaseID: caseID, Tenant: tenant, Object: object,
		Effect: remedy.Effect{ID: name, Kind: remedy.EffectMessage, N: 1},
	}
}

// Step returns a unit that adds one event of a person to a case as loaded.
func Step(c remedy.Case, body remedy.Body, at time.Time) record.Unit {
	e := remedy.Event{At: at, By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, Body: body}
	return record.Unit{Before: c.Version, Case: remedy.Apply(c, e), Events: []remedy.Event{e}, WakeAt: at.Add(time.Hour)}
}

// must commits units and fails the test on any error.
func must(t testing.TB, b Backend, units ...record.Unit) {
	t.Helper()
	errs, err := b.Commit(context.Background(), units, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range errs {
		if err != nil {
			t.Fatalf("unit %d: %v", i, err)
		}
	}
}

// load reads a case and fails the test on any error.
func load(t testing.TB, b Backend, id string) remedy.Case {
	t.Helper()
	c, err := b.Load(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func name(prefix string, n int) string { return prefix + strconv.Itoa(n) }
