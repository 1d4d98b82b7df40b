package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/intake/stream"
	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// LedgerReport is what a verification of the ledger looked at.
type LedgerReport struct {
	store.AuditReport
	// OK is false when a fault was found; Fault says which.
	OK    bool   `json:"ok"`
	Fault string `json:"fault,omitempty"`
	// Checkpoints is the number of signed checkpoints whose signatures hold.
	Checkpoints int `json:"checkpoints"`
	// Newest is the time of the newest of them.
	Newest time.Time `json:"newest_checkpoint,omitzero"`
	// Verifier is the public key they were checked with.
	Verifier string `json:"verifier"`
}

// maxCheckpoints is how many checkpoints a verification compares, newest first.
const maxCheckpoints = 1000

// verifiable is a ledger that can be verified.
type verifiable interface {
	Checkpoints(ctx context.Context, n int) ([]store.StoredCheckpoint, error)
	VerifyLedger(ctx context.Context, checkpoints ...ledger.Checkpoint) (store.AuditReport, error)
}

// VerifyLedger checks every chain, the tree and the signed checkpoints.
func (a *App) VerifyLedger(ctx context.Context) (LedgerReport, error) {
	return verifyLedger(ctx, a.keys.Verifier, a.Store)
}

func verifyLedger(ctx context.Context, verifier string, s verifiable) (LedgerReport, error) {
	rep := LedgerReport{Verifier: verifier}
	checks, fault, err := signed(ctx, verifier, s)
	if rep.Fault = fault; err != nil || fault != "" {
		return rep, err
	}
	for _, c := range checks {
		if c.At.After(rep.Newest) {
			rep.Newest = c.At
		}
	}
	rep.Checkpoints = len(checks)
	rep.AuditReport, err = s.VerifyLedger(ctx, checks...)
	if _, ok := errors.AsType[*ledger.Fault](err); ok {
		rep.Fault = err.Error()
		return rep, nil
	}
	rep.OK = err == nil
	return rep, err
}

// signed returns the checkpoints of a store, newest first; fault names the first
// one that this install did not sign.
func signed(ctx context.Context, verifier string, s verifiable) (checks []ledger.Checkpoint, fault string, err error) {
	known, err := note.NewVerifier(verifier)
	if err != nil {
		return nil, "", err
	}
	stored, err := s.Checkpoints(ctx, maxCheckpoints)
	if err != nil {
		return nil, "", err
	}
	for _, x := range stored {
		c, err := ledger.Open(x.Note, note.VerifierList(known))
		if err != nil {
			return nil, fmt.Sprintf("the checkpoint of %s at size %d is not signed by this install: %v", x.At.Format(time.RFC3339), x.Size, err), nil
		}
		checks = append(checks, c)
	}
	return checks, "", nil
}

func (a *App) verifyLedger(ctx context.Context, _ auth.Principal, _ *struct{}) (LedgerReport, error) {
	return a.VerifyLedger(ctx)
}

func (a *App) exportLedger(ctx context.Context, _ auth.Principal, w io.Writer) {
	if err := a.Store.ExportLedger(ctx, w); err != nil {
		// The answer has begun: a last line says that it is not whole.
		a.cfg.Log.Error("ledger export ended early", "err", err)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "the export ended early: " + err.Error()})
	}
}

// Health is what the doctor asks a running install.
type Health struct {
	Policy string `json:"policy"`
	Rules  int    `json:"rules"`
	Owners string `json:"owners"`
	// People is the number of people in the directory of owners.
	People int            `json:"people"`
	Users  int            `json:"users"`
	Cases  map[string]int `json:"cases"`
	// Connectors that are set up, and routes for messages.
	Connectors []string `json:"connectors"`
	Routes     []string `json:"routes"`
	Paused     []string `json:"paused"`
	// Scopes are the words a kill switch can name.
	Scopes []string `json:"scopes"`
	// Waiting bodies were answered with 202; quarantined ones wait for a person.
	Waiting     int `json:"waiting_bodies"`
	Quarantined int `json:"quarantined_bodies"`
	// Dead counts what failed too often.
	Dead record.DeadSummary `json:"dead_letters"`
	// Unsequenced events are not in the ledger's tree yet; TailAge is the age of
	// the oldest, in seconds.
	Unsequenced int         `json:"unsequenced_events"`
	TailAge     int         `json:"tail_age_seconds"`
	Store       store.Stats `json:"store"`
	// Now is the store's clock, SkewMillis how far it is ahead of this machine's.
	Now        time.Time `json:"now"`
	SkewMillis int64     `json:"skew_ms"`
	// Schema is the version of the database's schema.
	Schema int64 `json:"schema"`
	// Effects wait or run, by connector; Inbox is what intake keeps.
	Effects []store.EffectQueue `json:"effects"`
	Inbox   store.InboxQueue    `json:"inbox"`
	// Streams are what this node reads, by name.
	Streams []stream.State `json:"streams" nullable:"false"`
	// Raw are the raw records that are kept as evidence, RawSize their room in
	// bytes, 0 for no bound.
	Raw     store.RawStats `json:"raw_records"`
	RawSize int64          `json:"raw_size"`
}

func (a *App) health(ctx context.Context, p auth.Principal, _ *struct{}) (Health, error) {
	l := a.live.Load()
	h := Health{Policy: l.judge.Pack.Version(), Rules: len(l.judge.Pack.RuleNames()), Owners: l.judge.Directory.Version(),
		People: len(l.judge.Directory.Data().People), Connectors: sortedNames(a.cfg.Connectors), Routes: sortedNames(a.cfg.Notifiers), Paused: []string{}, Scopes: l.judge.Pack.Scopes()}
	for _, name := range h.Connectors {
		if s := "connector/" + name; !slices.Contains(h.Scopes, s) {
			h.Scopes = append(h.Scopes, s)
		}
	}
	us, err := a.Store.Users(ctx, p.Tenant)
	if err != nil {
		return Health{}, err
	}
	h.Users = len(us)
	if h.Cases, err = a.Store.Counts(ctx, p.Tenant); err != nil {
		return Health{}, err
	}
	ps, err := a.Store.Pauses(ctx)
	if err != nil {
		return Health{}, err
	}
	for _, x := range ps {
		h.Paused = append(h.Paused, x.Scope)
	}
	if h.Waiting, h.Quarantined, err = a.Store.InboxCount(ctx, p.Tenant); err != nil {
		return Health{}, err
	}
	if h.Dead, err = a.Store.DeadSummary(ctx, p.Tenant); err != nil {
		return Health{}, err
	}
	tail, err := a.Store.Tail(ctx)
	if err != nil {
		return Health{}, err
	}
	h.Unsequenced, h.TailAge = tail.Events, int(tail.Age(a.Store.Now()).Seconds())
	if h.Store, err = a.Store.Stats(ctx); err != nil {
		return Health{}, err
	}
	h.Now = a.Store.Now()
	h.SkewMillis = time.Until(h.Now).Milliseconds()
	if h.Schema, err = a.Store.Schema(ctx); err != nil {
		return Health{}, err
	}
	if h.Effects, err = a.Store.EffectQueues(ctx, h.Now); err != nil {
		return Health{}, err
	}
	h.Streams = []stream.State{}
	for _, s := range a.streams {
		h.Streams = append(h.Streams, s.State())
	}
	if h.Inbox, err = a.Store.InboxQueue(ctx); err != nil {
		return Health{}, err
	}
	h.RawSize = a.cfg.Retention.RawBytes
	h.Raw, err = a.rawStats(ctx)
	return h, err
}

func sortedNames[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
