package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Retention says how long what is not the ledger is kept. The zero value keeps
// everything.
type Retention struct {
	// Raw is how long a raw record stays after it was news and after every case
	// it is evidence of was settled; 0 is for ever.
	Raw time.Duration
	// RawBytes is the room of raw records as stored; beyond it those of settled
	// cases go early, oldest first. 0 is no bound.
	RawBytes int64
	// Quarantine is how long a body waits for a person; 0 is until one decides.
	Quarantine time.Duration
}

const (
	pruneEvery = time.Hour
	// pruneFirst is the wait for the first walk after a start.
	pruneFirst = time.Minute
	// prunePause lies between two batches, each bounded by its records and bytes,
	// so that the log of writes is folded meanwhile.
	prunePause  = 2 * time.Second
	pruneLook   = 500
	pruneStored = 4 << 20
	// statsEvery bounds how often the raw records are counted.
	statsEvery = time.Minute

	eventRawRead        = "raw_record_read"
	eventRawPruned      = "raw_records_pruned"
	eventQuarantineGone = "quarantined_body_expired"
)

// rawCount remembers the count of raw records for a while.
type rawCount struct {
	mu    sync.Mutex
	at    time.Time
	stats store.RawStats
}

// rawStats counts the raw records, or says what it counted less than a minute ago.
func (a *App) rawStats(ctx context.Context) (store.RawStats, error) {
	c := &a.rawCount
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := a.Store.Now(); c.at.IsZero() || now.Sub(c.at) > statsEvery || now.Before(c.at) {
		s, err := a.Store.RawStats(ctx)
		if err != nil {
			return s, err
		}
		c.at, c.stats = now, s
	}
	return c.stats, nil
}

// forgetStats has the next question count anew.
func (a *App) forgetStats() {
	a.rawCount.mu.Lock()
	defer a.rawCount.mu.Unlock()
	a.rawCount.at = time.Time{}
}

// pruning is one walk over the raw records: first by age, then, if they still
// take too much room, over those of settled cases whatever their age.
type pruning struct {
	a      *App
	dry    bool
	after  store.RawCursor
	bySize bool
	excess int64
	got    Pruned
}

// Pruned is what a walk removed, or would remove.
type Pruned struct {
	Records int   `json:"records"`
	Stored  int64 `json:"stored_bytes"`
	Dry     bool  `json:"dry_run"`
}

// batch does one batch and reports whether the walk goes on.
func (p *pruning) batch(ctx context.Context) (more bool, err error) {
	r, now := p.a.cfg.Retention, p.a.Store.Now()
	ask := store.RawPrune{After: p.after, Look: pruneLook, Stored: pruneStored, Dry: p.dry}
	switch {
	case p.bySize:
		ask.Before, ask.Stored = now, min(pruneStored, p.excess)
	case r.Raw > 0:
		ask.Before = now.Add(-r.Raw)
	default:
		return p.turnToSize(ctx)
	}
	out, err := p.a.Store.PruneRaw(ctx, ask)
	p.after = out.Next
	p.got.Records, p.got.Stored, p.excess = p.got.Records+out.Records, p.got.Stored+out.Stored, p.excess-out.Stored
	switch {
	case err != nil:
		return false, err
	case p.bySize:
		return !out.Done && p.excess > 0, nil
	case !out.Done:
		return true, nil
	}
	return p.turnToSize(ctx)
}

// turnToSize ends the walk by age.
func (p *pruning) turnToSize(ctx context.Context) (more bool, err error) {
	if p.a.cfg.Retention.RawBytes == 0 {
		return false, nil
	}
	s, err := p.a.Store.RawStats(ctx)
	if p.excess = s.Stored - p.a.cfg.Retention.RawBytes; p.dry {
		p.excess -= p.got.Stored
	}
	p.bySize, p.after = true, store.RawCursor{}
	return err == nil && p.excess > 0, err
}

// tell records in the ledger what was removed, and by whom.
func (p *pruning) tell(ctx context.Context, by remedy.Actor) error {
	if p.dry || p.got.Records == 0 {
		return nil
	}
	p.a.forgetStats()
	return p.a.remember(ctx, by, eventRawPruned, map[string]int64{"records": int64(p.got.Records), "stored_bytes": p.got.Stored})
}

// remember appends an event about evidence to the ledger.
func (a *App) remember(ctx context.Context, by remedy.Actor, what string, content any) error {
	body, err := json.Marshal(content)
	if err == nil {
		_, err = a.Store.AppendEvent(ctx, store.StreamEvent{Tenant: a.Tenant(), Stream: store.StreamEvidence, Type: what, Schema: 1, At: a.Store.Now(), By: by, Body: body})
	}
	return err
}

// retention returns the loop's step: one batch of a walk on one node at a time,
// every hour a new walk.
func (a *App) retention() func(context.Context) (time.Duration, error) {
	var walk *pruning
	begun := false
	system := remedy.Actor{Kind: remedy.System, ID: "retention"}
	return func(ctx context.Context) (wait time.Duration, err error) {
		if !begun { // a start has enough to do
			begun = true
			return pruneFirst, nil
		}
		wait = pruneEvery
		err = a.Store.Alone(ctx, "retention", func(ctx context.Context) error {
			if walk == nil {
				walk = &pruning{a: a}
				if err := a.expireQuarantine(ctx, system); err != nil {
					return err
				}
			}
			more, err := walk.batch(ctx)
			if err == nil && more {
				wait = prunePause
				return nil
			}
			err = errors.Join(err, walk.tell(ctx, system))
			walk = nil
			return err
		})
		return wait, err
	}
}

// expireQuarantine removes bodies nobody looked at for as long as the
// configuration says; each is told in the ledger.
func (a *App) expireQuarantine(ctx context.Context, by remedy.Actor) error {
	if a.cfg.Retention.Quarantine == 0 {
		return nil
	}
	now := a.Store.Now()
	list, err := a.Store.QuarantineOlder(ctx, now.Add(-a.cfg.Retention.Quarantine), pruneLook)
	for _, it := range list {
		if err != nil {
			break
		}
		var body []byte
		if body, err = json.Marshal(map[string]any{"id": it.ID, "source": it.Source, "received_at": it.ReceivedAt, "why": it.Error}); err != nil {
			break
		}
		err = a.Store.QuarantineDrop(ctx, it.Tenant, it.ID, store.StreamEvent{Tenant: it.Tenant, Stream: store.StreamEvidence, Type: eventQuarantineGone, Schema: 1, At: now, By: by, Body: body})
		if errors.Is(err, record.ErrNotFound) {
			err = nil // a person was faster
		}
	}
	return err
}

// RetentionReport is what is kept beside the ledger, and for how long.
type RetentionReport struct {
	Raw store.RawStats `json:"raw_records"`
	// RawDays, RawSize (bytes) and QuarantineDays are as configured; 0 is for ever.
	RawDays        int   `json:"raw_days"`
	RawSize        int64 `json:"raw_size"`
	QuarantineDays int   `json:"quarantine_days"`
	// Quarantine is what waits for a person.
	Quarantine store.InboxQueue `json:"quarantine"`
}

func (a *App) showRetention(ctx context.Context, _ auth.Principal, _ *struct{}) (r RetentionReport, err error) {
	const day = 24 * time.Hour
	c := a.cfg.Retention
	r = RetentionReport{RawDays: int(c.Raw / day), RawSize: c.RawBytes, QuarantineDays: int(c.Quarantine / day)}
	if r.Raw, err = a.Store.RawStats(ctx); err != nil {
		return r, err
	}
	r.Quarantine, err = a.Store.InboxQueue(ctx)
	return r, err
}

// pruneIn asks for a walk.
type pruneIn struct {
	Body struct {
		DryRun bool `json:"dry_run,omitempty" doc:"Only count what would go."`
	}
}

func (a *App) pruneNow(ctx context.Context, p auth.Principal, in *pruneIn) (Pruned, error) {
	w := pruning{a: a, dry: in.Body.DryRun}
	w.got.Dry = w.dry
	for more := true; more; {
		err := a.Store.Alone(ctx, "retention", func(ctx context.Context) (err error) {
			more, err = w.batch(ctx)
			return err
		})
		if err == nil && !w.dry {
			err = a.Store.Checkpoint(ctx)
		}
		if err != nil {
			return w.got, errors.Join(err, w.tell(ctx, p.Actor()))
		}
	}
	return w.got, w.tell(ctx, p.Actor())
}

// rawIn names a raw record of a case.
type rawIn struct {
	ID   string `path:"id" doc:"The case."`
	Hash string `path:"hash" doc:"SHA-256 of the record, as the case names it."`
}

// RawRecord is a raw record of a case.
type RawRecord struct {
	Hash string `json:"hash"`
	// Size in bytes of Record; Events are the numbers of the case's events that
	// name it: the ledger proves that it belongs to the case.
	Size   int    `json:"bytes"`
	Events []int  `json:"events" nullable:"false"`
	Record string `json:"record"`
}

func (a *App) rawRecord(ctx context.Context, p auth.Principal, in *rawIn) (RawRecord, error) {
	return a.ReadRaw(ctx, p, in.ID, in.Hash)
}

// ReadRaw returns a raw record that an event of the case names, secrets
// redacted, and records who read it. ErrNotFound if no event does, ErrPruned if
// it went.
func (a *App) ReadRaw(ctx context.Context, p auth.Principal, caseID, hash string) (RawRecord, error) {
	out := RawRecord{Hash: strings.ToLower(hash), Events: []int{}}
	events, err := a.Store.Events(ctx, p.Tenant, caseID)
	if err != nil {
		return out, err
	}
	for _, e := range events {
		if out.Hash != "" && slices.Contains(rawOf(e.Decoded), out.Hash) {
			out.Events = append(out.Events, int(e.Seq))
		}
	}
	if len(out.Events) == 0 {
		return out, fmt.Errorf("no event of case %s names a raw record %s: %w", caseID, hash, record.ErrNotFound)
	}
	r, err := a.Store.Raw(ctx, p.Tenant, out.Hash)
	if errors.Is(err, record.ErrNotFound) {
		return out, fmt.Errorf("raw record %s: %w", out.Hash, record.ErrPruned)
	}
	if err != nil {
		return out, err
	}
	b, err := a.packer.Unpack(r)
	if err != nil {
		return out, err
	}
	out.Size, out.Record = len(b), string(b)
	return out, a.remember(ctx, p.Actor(), eventRawRead, map[string]string{"case": caseID, "hash": out.Hash})
}

// rawOf returns the raw records an event names.
func rawOf(b remedy.Body) []string {
	switch e := b.(type) {
	case remedy.Joined:
		return []string{e.Member.Raw}
	case remedy.MemberChanged:
		return []string{e.Raw}
	}
	return nil
}
