// Package intake is where alerts come in: it verifies the sender, reads the
// bounded body, finds the format, decodes and hands the findings on in groups.
//
// It may import the lower floors and engine; it starts no goroutine. Invariants
// (law 1): 200 means that every item is committed, with a result per item; 202
// that the raw body is on disk and will be worked on; 422 that all of it waits
// for a person; 401, 413, 415, 507 and 503 with stored=false that nothing was
// stored. The tenant comes from the authenticated source, never from a body. Raw
// bodies are kept sealed with the install key.
package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// Limits of one request.
const (
	// DefaultMaxBody bounds a body, in bytes.
	DefaultMaxBody = 32 << 20
	// DefaultQuota bounds a tenant's quarantine, in bytes.
	DefaultQuota = 256 << 20
	// groupSize is how many findings go into one commit call.
	groupSize = 256
	// atWork is how many findings are placed, judged and committed at a time. Each
	// takes some 32 kB meanwhile; those beyond wait in the order they came.
	atWork = groupSize
	// maxAttempts of a stored body before it is quarantined.
	maxAttempts = 10
	// retryAfter is when a sender whose body could not be stored is to try again.
	retryAfter = 10 * time.Second
	// The owner of a source is told an hour after a body went to quarantine, and
	// every day as long as one is there.
	remindFirst = time.Hour
	remindEvery = 24 * time.Hour
)

// Source is one authenticated sender.
type Source struct {
	Name   string
	Tenant string
	// Kind says how the sender proves itself: "github" (X-Hub-Signature-256),
	// "standard-webhooks", "token" (a bearer token of ours), or "nats" or "kafka"
	// (only the stream's connection brings its messages).
	Kind string
	// Secrets are the signing secrets, newest first; all are tried, so that
	// they can be rotated.
	Secrets []string
	// Owner is who a body that can't be read waits for.
	Owner string
	// Mapping is a reader made of a mapping file, nil for detection alone.
	Mapping format.Reader
}

// Inbox keeps raw bodies: what was answered with 202, and the quarantine.
type Inbox interface {
	Quarantine
	InboxPut(ctx context.Context, it store.InboxItem) (int64, error)
	InboxNext(ctx context.Context, now time.Time, lease time.Duration, n int) ([]store.InboxItem, error)
	InboxDone(ctx context.Context, it store.InboxItem) error
	InboxRetry(ctx context.Context, it store.InboxItem, at time.Time, reason string) error
	InboxQuarantine(ctx context.Context, it store.InboxItem, body []byte, at time.Time, owner, reason string) error
}

// Quarantine keeps bodies that wait for a person.
type Quarantine interface {
	QuarantinePut(ctx context.Context, it store.InboxItem, quota int64) (int64, error)
	QuarantineDue(ctx context.Context, now time.Time, n int) ([]store.InboxItem, error)
	// QuarantineRemind calls for one reminder by each route of all bodies of the
	// source, if one is due at now; the next is at next.
	QuarantineRemind(ctx context.Context, tenant, source string, routes []string, now, next time.Time) error
	// QuarantineRelease gives a body back to those that are worked on,
	// QuarantineDrop ends it; e says who wanted it.
	QuarantineRelease(ctx context.Context, tenant string, id int64, body []byte, at time.Time, e store.StreamEvent) error
	QuarantineDrop(ctx context.Context, tenant string, id int64, e store.StreamEvent, notes ...record.NoteText) error
}

// Observer takes findings in; *engine.Engine is one.
type Observer interface {
	Observe(ctx context.Context, tenant string, fs []finding.Finding, raws engine.Raws, at time.Time) ([]engine.Placed, error)
	Repeats(ctx context.Context, tenant string, rs []engine.Repeat, at time.Time) (out []engine.Placed, rest []int, err error)
}

// Sealer encrypts raw bodies with the install key.
type Sealer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// Config wires an intake; all fields but Routes, MaxBody, Quota, Inflight and Log are
// required.
type Config struct {
	Engine Observer
	Inbox  Inbox
	Seal   Sealer
	// Pack makes the raw records ready that are kept as evidence.
	Pack *Packer
	// HashSecret is the keyed hash that takes the place of secrets in findings.
	HashSecret func(string) string
	Now        func() time.Time
	// Source returns the source by name.
	Source func(name string) (Source, bool)
	// Token checks a bearer token and returns the source it speaks for; its error
	// is an ErrDenied where the token is at fault, any other means: ask again.
	Token func(ctx context.Context, token string) (Source, error)
	// Routes are the channels by which the owner of a source is told, nil for the
	// log alone.
	Routes   func(owner string) []string
	MaxBody  int64
	Quota    int64
	Inflight int
	// Watch is told of every body that came in: how its sender proves itself, the
	// answer, and how long it took; 0 for one that was not read. nil: nobody.
	Watch func(kind string, a Answer, took time.Duration)
	Log   *slog.Logger
}

// Intake takes in alerts.
type Intake struct {
	Config
	slots    chan struct{}
	held     atomic.Int64 // bytes of bodies in memory
	working  *semaphore.Weighted
	readings *readings
}

// New returns an intake; it starts nothing.
func New(c Config) *Intake {
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.Quota == 0 {
		c.Quota = DefaultQuota
	}
	if c.Inflight == 0 {
		c.Inflight = 512
	}
	if c.Routes == nil {
		c.Routes = func(string) []string { return nil }
	}
	if c.Watch == nil {
		c.Watch = func(string, Answer, time.Duration) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Intake{Config: c, slots: make(chan struct{}, c.Inflight), working: semaphore.NewWeighted(atWork), readings: newReadings()}
}

// Answer is what a sender is told.
type Answer struct {
	Format     string `json:"format,omitempty"`
	Read       int    `json:"read"`
	Kept       int    `json:"kept"`
	Suppressed int    `json:"suppressed"`
	Refused    int    `json:"refused"`
	// Stored says that something of the body is on disk.
	Stored  bool          `json:"stored"`
	Results []ItemResult  `json:"results,omitempty"`
	Refusal []format.Note `json:"refusals,omitempty"`
	// Later is the id of the stored body that will be worked on (202).
	Later int64 `json:"later,omitempty"`
	// Quarantine is the id of the body that waits for a person.
	Quarantine int64  `json:"quarantine,omitempty"`
	Error      string `json:"error,omitempty"`
	// Status is the HTTP status that says the same.
	Status int `json:"-"`
	// retryAfter is when to send it again, 0 if that would not help.
	retryAfter time.Duration
}

// ItemResult is the result of one finding.
type ItemResult struct {
	engine.Placed
	Error string `json:"error,omitempty"`
}

// Take reads one body of an authenticated source and commits what is in it.
// event is the sender's event name, "" if its format has none. It returns only
// after what the answer says is on disk.
func (in *Intake) Take(ctx context.Context, src Source, event string, body []byte) Answer {
	begun := time.Now()
	a := in.take(ctx, src, event, body)
	in.Watch(src.Kind, a, time.Since(begun))
	return a
}

func (in *Intake) take(ctx context.Context, src Source, event string, body []byte) Answer {
	now := in.Now().UTC()
	if a, ok := in.takeQuick(ctx, src, event, body, now); ok {
		return a
	}
	var rec received
	res, err := in.read(&rec, src, event, body, now)
	if err != nil {
		return in.quarantine(ctx, src, event, body, now, Answer{Error: err.Error()}, err.Error())
	}
	in.readings.expect(src.Name, res.Format)
	a := Answer{Format: res.Format, Read: res.Read, Kept: res.Kept, Suppressed: res.Suppressed, Refused: res.Refused, Refusal: res.Refusals}
	if res.Refused > 0 { // kept first: if there is no room for it, nothing is stored
		if a = in.quarantine(ctx, src, event, body, now, a, refusal(res)); !a.Stored {
			return a
		}
	}
	a.Status = http.StatusOK // what can be read is committed
	if err := in.observe(ctx, src.Tenant, &rec, now, func(_ int, r ItemResult) { a.Results = append(a.Results, r) }); err != nil {
		return in.keep(ctx, src, event, body, now, a, err)
	}
	a.Stored = true
	return a
}

// refusal is why a body of which only a part could be read waits for a person.
func refusal(res format.Result) string {
	return fmt.Sprintf("%d of %d records refused; first: %s: %s", res.Refused, res.Read, res.Refusals[0].Where, res.Refusals[0].Reason)
}

// Refuse keeps a body of an authenticated source for a person without reading
// it, because of why. It is for messages nobody waits for an answer of: a sender
// that does is told 413 and the like.
func (in *Intake) Refuse(ctx context.Context, src Source, event string, body []byte, why string) Answer {
	begun := time.Now()
	a := in.quarantine(ctx, src, event, body, in.Now().UTC(), Answer{Error: why}, why)
	in.Watch(src.Kind, a, time.Since(begun))
	return a
}

// read decodes the body and adds its findings to rec.
func (in *Intake) read(rec *received, src Source, event string, body []byte, now time.Time) (format.Result, error) {
	opt := format.Options{Tenant: src.Tenant, Now: now, HashSecret: in.HashSecret, File: src.Name, Event: event}
	var extra []format.Reader
	if src.Mapping != nil {
		extra = append(extra, src.Mapping)
	}
	r, err := all.Detect(body, opt, extra...)
	if err != nil {
		return format.Result{}, err
	}
	res, err := r.Read(body, opt)
	if err == nil {
		rec.add(src, body, opt, res)
	}
	return res, err
}

// keep stores the raw body after a failure of ours, to be worked on later.
func (in *Intake) keep(ctx context.Context, src Source, event string, body []byte, now time.Time, a Answer, cause error) Answer {
	if errors.Is(cause, engine.ErrUnavailable) { // there is nowhere to keep it
		return notStored(a, cause)
	}
	a.Error = "not all of it could be committed now: " + cause.Error()
	headers := map[string]string{"event": event}
	if a.Quarantine != 0 {
		headers[quarantinedAs] = strconv.FormatInt(a.Quarantine, 10)
	}
	sealed, err := in.Seal.Seal(body)
	if err == nil {
		a.Later, err = in.Inbox.InboxPut(ctx, store.InboxItem{Tenant: src.Tenant, Source: src.Name, ReceivedAt: now,
			Headers: headers, Body: sealed, Error: cause.Error(), NextAt: now.Add(time.Second)})
	}
	if err != nil {
		return notStored(a, err)
	}
	a.Stored, a.Status = true, http.StatusAccepted
	return a
}

// quarantinedAs heads a kept body that lies in quarantine as well, because a
// part of it can't be read: with the id it has there.
const quarantinedAs = "quarantined"

// notStored turns a failure to store into the status that says so. What was
// committed before the failure is a sighting when the sender tries again.
func notStored(a Answer, err error) Answer {
	why := err.Error()
	if errors.Is(err, engine.ErrUnavailable) {
		why = engine.ErrUnavailable.Error() // where the database is, is not for senders
	}
	a.Status, a.retryAfter, a.Error = http.StatusServiceUnavailable, retryAfter, "nothing was stored: "+why
	if errors.Is(err, engine.ErrFull) {
		a.Status, a.retryAfter = http.StatusInsufficientStorage, 0
	}
	a.Stored = a.Quarantine != 0 || slices.ContainsFunc(a.Results, func(r ItemResult) bool { return r.Error == "" })
	switch {
	case errors.Is(err, engine.ErrUnsure):
		a.Error = "it is not known whether all of it was stored, send it again: " + why
	case a.Stored:
		a.Error = "not all of it was stored, send it again: " + why
	}
	return a
}

// quarantine keeps a body that can't be read, or not wholly, for a person.
func (in *Intake) quarantine(ctx context.Context, src Source, event string, body []byte, now time.Time, a Answer, why string) Answer {
	sealed, err := in.Seal.Seal(body)
	if err == nil {
		a.Quarantine, err = in.Inbox.QuarantinePut(ctx, store.InboxItem{Tenant: src.Tenant, Source: src.Name, ReceivedAt: now,
			Headers: map[string]string{"event": event}, Body: sealed, Owner: src.Owner, Error: why, NextAt: now.Add(remindFirst)}, in.Quota)
	}
	if err != nil {
		return notStored(a, err)
	}
	a.Stored, a.Status = true, http.StatusUnprocessableEntity
	return a
}

// Work takes up to n stored bodies that are due and reminds of quarantined
// ones; it returns how many it looked at.
func (in *Intake) Work(ctx context.Context, n int) (int, error) {
	now := in.Now().UTC()
	items, err := in.Inbox.InboxNext(ctx, now, 5*time.Minute, n)
	if err != nil {
		return 0, err
	}
	for _, it := range items {
		if err := in.workOne(ctx, it, now); err != nil {
			return 0, err
		}
	}
	due, err := in.remind(ctx, now, n)
	return len(items) + due, err
}

// remind has the owners of sources told of what lies in quarantine.
func (in *Intake) remind(ctx context.Context, now time.Time, n int) (int, error) {
	due, err := in.Inbox.QuarantineDue(ctx, now, n)
	if err != nil {
		return 0, err
	}
	said := map[[2]string]bool{}
	for _, it := range due {
		key := [2]string{it.Tenant, it.Source}
		if said[key] {
			continue
		}
		said[key] = true
		in.Log.WarnContext(ctx, "quarantined bodies wait for a person", "source", it.Source, "owner", it.Owner, "why", it.Error, "since", it.ReceivedAt)
		if err := in.Inbox.QuarantineRemind(ctx, it.Tenant, it.Source, in.Routes(it.Owner), now, now.Add(remindEvery)); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

func (in *Intake) workOne(ctx context.Context, it store.InboxItem, now time.Time) error {
	src, ok := in.Source(it.Source)
	if !ok {
		src = Source{Name: it.Source}
	}
	src.Tenant = it.Tenant // as authenticated when it arrived
	var rec received
	var res format.Result
	body, err := in.Seal.Open(it.Body)
	if err == nil {
		res, err = in.read(&rec, src, it.Headers["event"], body, it.ReceivedAt)
	}
	if err == nil {
		err = in.observe(ctx, it.Tenant, &rec, now, func(int, ItemResult) {})
	}
	switch {
	case err == nil && (res.Refused == 0 || it.Headers[quarantinedAs] != ""):
		return in.Inbox.InboxDone(ctx, it)
	case err == nil:
		err = errors.New(refusal(res))
	case it.Attempts < maxAttempts:
		return in.Inbox.InboxRetry(ctx, it, now.Add(time.Second<<min(it.Attempts, 12)), err.Error())
	}
	// It was accepted, so that the quarantine takes it whatever its quota.
	return in.Inbox.InboxQuarantine(ctx, it, it.Body, now.Add(remindFirst), src.Owner, err.Error())
}

// observe takes findings in, in groups. each gets the result of every finding
// that was looked at; the error is the last one of them, or of a whole group.
func (in *Intake) observe(ctx context.Context, tenant string, rec *received, now time.Time, each func(i int, r ItemResult)) error {
	fs := rec.findings
	for lo := 0; lo < len(fs); lo += groupSize {
		placed, err := in.observeGroup(ctx, tenant, fs[lo:min(lo+groupSize, len(fs))], in.raws(rec, lo), now)
		if err != nil {
			return err
		}
		for k, p := range placed {
			r := ItemResult{Placed: p}
			if p.Err != nil {
				err = p.Err
				r.Error = p.Err.Error()
			}
			each(lo+k, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// observeGroup takes in findings when there is room for them.
func (in *Intake) observeGroup(ctx context.Context, tenant string, fs []finding.Finding, raws engine.Raws, now time.Time) ([]engine.Placed, error) {
	n := int64(len(fs))
	if err := in.working.Acquire(ctx, n); err != nil {
		return nil, err
	}
	defer in.working.Release(n)
	return in.Engine.Observe(ctx, tenant, fs, raws, now)
}

// bearer returns the token of an Authorization header.
func bearer(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
