package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Model is the store as plain maps: the same contracts in the simplest form,
// deterministic, nothing on disk. It is what the conformance suite compares
// SQLite with, and what a simulation runs on. Cases and findings pass through
// their stored form, so that nothing is shared with the caller.
type Model struct {
	mu       sync.Mutex
	cases    map[string]*modelCase
	streams  map[streamKey][]StoredEvent
	order    []streamSeq // all events in the order of commits
	keys     map[record.CaseKey]map[string]bool
	findings map[findingKey]*modelFinding
	effects  map[string]*modelEffect
	faults   map[string]*modelFault
	epoch    uint64
	budgets  map[string][]taken
	pauses   map[pauseKey]Pause
	facts    map[findingKey][]byte // by tenant and hash
	notes    map[findingKey]record.NoteText
	raws     map[findingKey]*modelRaw // by tenant and hash
	rawSeq   int64
}

type (
	streamKey  struct{ tenant, stream string }
	findingKey struct{ tenant, uid string }
	pauseKey   struct{ tenant, scope string }
	streamSeq  struct {
		streamKey
		seq uint64
	}
	taken struct {
		at int64
		n  int
	}
	modelCase struct {
		state   []byte
		row     CaseRow
		urgency int64
		quiet   bool
		created int64
		keys    map[record.CaseKey]bool
	}
	modelFinding struct {
		body           []byte
		caseID, digest string
		first, last    int64
		sightings      int
	}
	modelEffect struct {
		EffectStatus
		dropped bool
	}
)

// NewModel returns an empty model.
func NewModel() *Model {
	return &Model{
		cases: map[string]*modelCase{}, streams: map[streamKey][]StoredEvent{}, keys: map[record.CaseKey]map[string]bool{},
		findings: map[findingKey]*modelFinding{}, effects: map[string]*modelEffect{}, faults: map[string]*modelFault{}, budgets: map[string][]taken{},
		pauses: map[pauseKey]Pause{}, facts: map[findingKey][]byte{}, notes: map[findingKey]record.NoteText{}, raws: map[findingKey]*modelRaw{},
	}
}

// Close does nothing; the model lives on for whoever holds it.
func (m *Model) Close() error { return nil }

// Commit stores units and sightings (engine.Store); see SQLite.Commit.
func (m *Model) Commit(ctx context.Context, units []record.Unit, seen []record.Sighting) ([]error, error) {
	errs := make([]error, len(units))
	if err := ctx.Err(); err != nil {
		return errs, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkSightings(units, seen); err != nil {
		return errs, err
	}
	for _, which := range together(units) {
		err := m.units(units, which)
		for _, i := range which {
			errs[i] = err
		}
	}
	for _, s := range seen {
		if f := m.findings[findingKey{s.Tenant, s.UID}]; f != nil {
			f.sightings += max(s.Count, 1)
			f.last = max(f.last, nanos(s.At))
		}
	}
	return errs, nil
}

// units stores the units at which, or none of them.
func (m *Model) units(all []record.Unit, which []int) error {
	list, err := prepareAll(all, which, true)
	if err != nil {
		return err
	}
	if len(list) > 1 {
		trial := m.clone()
		for _, u := range list {
			if err := trial.check(u); err != nil {
				return err
			}
			trial.apply(u)
		}
	}
	for _, u := range list {
		if err := m.check(u); err != nil {
			return err
		}
		m.apply(u)
	}
	return nil
}

// checkSightings tells beforehand whether the sightings would hold after the
// units: it tries the units on a copy.
func (m *Model) checkSightings(units []record.Unit, seen []record.Sighting) error {
	if len(seen) == 0 {
		return nil
	}
	trial := m.clone()
	for _, which := range together(units) {
		_ = trial.units(units, which) // one that is refused changes nothing
	}
	for _, s := range seen {
		f := trial.findings[findingKey{s.Tenant, s.UID}]
		if f == nil || !trial.cases[f.caseID].quiet {
			return fmt.Errorf("finding %s is unknown or its case is no longer quiet: %w", s.UID, record.ErrConflict)
		}
	}
	return nil
}

// clone copies what check and apply touch.
func (m *Model) clone() *Model {
	c := NewModel()
	c.epoch = m.epoch
	for k, v := range m.cases {
		w := *v
		w.keys = maps.Clone(v.keys)
		c.cases[k] = &w
	}
	for k, v := range m.streams {
		c.streams[k] = slices.Clone(v)
	}
	for k, v := range m.keys {
		c.keys[k] = maps.Clone(v)
	}
	for k, v := range m.findings {
		w := *v
		c.findings[k] = &w
	}
	for k, v := range m.effects {
		w := *v
		c.effects[k] = &w
	}
	for k, v := range m.budgets {
		c.budgets[k] = slices.Clone(v)
	}
	maps.Copy(c.pauses, m.pauses)
	return c
}

// check says whether a unit may be stored; the order of the questions is that
// of SQLite.
func (m *Model) check(u *unit) error {
	id := u.Case.ID
	if u.Done != nil {
		e := m.effects[u.Done.Row.ID]
		if e == nil || e.Epoch != u.Done.Epoch || e.LeaseUntil.IsZero() || e.dropped || (u.Hold && !m.newest(e)) {
			return staleError(*u.Done)
		}
	}
	before := m.cases[id]
	var version uint64
	if before != nil {
		version = before.row.Version
	}
	if version != u.Before || (before != nil && before.row.Tenant != u.Case.Tenant) {
		return fmt.Errorf("case %s is at version %d, not %d: %w", id, version, u.Before, record.ErrConflict)
	}
	for _, tenant := range []string{"", u.Case.Tenant} {
		for _, scope := range u.PauseScopes {
			if _, ok := m.pauses[pauseKey{tenant, scope}]; ok {
				return fmt.Errorf("%q: %w", scope, record.ErrPaused)
			}
		}
	}
	wanted := map[string][]taken{}
	for _, b := range u.Reserve {
		sum := b.N
		for _, t := range slices.Concat(m.budgets[b.Key], wanted[b.Key]) {
			if t.at >= nanos(b.From) {
				sum += t.n
			}
		}
		if sum > b.Limit {
			return fmt.Errorf("%s: at most %d since %s: %w", b.Key, b.Limit, b.From.UTC().Format(time.RFC3339), record.ErrBudget)
		}
		wanted[b.Key] = append(wanted[b.Key], taken{nanos(b.At), b.N})
	}
	here := map[string]bool{}
	for _, f := range u.findings {
		if old := m.findings[findingKey{u.Case.Tenant, f.uid}]; old != nil && !here[f.uid] && old.caseID != id && old.caseID != f.was {
			return elsewhereError(id, f.uid)
		}
		here[f.uid] = true
	}
	for _, uid := range u.MoveFindings {
		if m.findings[findingKey{u.Case.Tenant, uid}] == nil && !slices.ContainsFunc(u.findings, func(f preparedFinding) bool { return f.uid == uid }) {
			return unknownFinding(id, uid)
		}
	}
	if u.Beside != nil {
		for _, k := range u.AddKey {
			if n := len(m.keys[k]); n != *u.Beside {
				return besideError(id)
			}
		}
	}
	if !u.row.Open {
		return nil
	}
	for k := range m.keysAfter(u) {
		for other := range m.keys[k] {
			if other != id && m.cases[other].row.Open {
				return fmt.Errorf("a key of case %s belongs to another open case: %w", id, record.ErrConflict)
			}
		}
	}
	return nil
}

// keysAfter are the keys the case of a unit will have.
func (m *Model) keysAfter(u *unit) map[record.CaseKey]bool {
	keys := map[record.CaseKey]bool{}
	if c := m.cases[u.Case.ID]; c != nil {
		maps.Copy(keys, c.keys)
	}
	for _, k := range u.DropKey {
		delete(keys, k)
	}
	for _, k := range u.AddKey {
		keys[k] = true
	}
	return keys
}

// newest reports whether no other claim of the effect's case or object is
// younger.
func (m *Model) newest(e *modelEffect) bool {
	for _, o := range m.effects {
		if o.Epoch > e.Epoch && !o.LeaseUntil.IsZero() && (o.CaseID == e.CaseID || (e.Object != "" && o.Object == e.Object)) {
			return false
		}
	}
	return true
}

// apply stores a unit that was checked.
func (m *Model) apply(u *unit) {
	id, tenant := u.Case.ID, u.Case.Tenant
	if u.Done != nil && !u.Hold {
		delete(m.effects, u.Done.Row.ID)
	}
	for _, b := range u.Reserve {
		m.budgets[b.Key] = append(m.budgets[b.Key], taken{nanos(b.At), b.N})
	}
	for _, r := range u.records {
		m.append(tenant, CaseStream(id), r)
	}
	keys := m.keysAfter(u)
	if c := m.cases[id]; c != nil {
		for k := range c.keys {
			delete(m.keys[k], id)
		}
	}
	for k := range keys {
		if m.keys[k] == nil {
			m.keys[k] = map[string]bool{}
		}
		m.keys[k][id] = true
	}
	created := nanos(u.created)
	if c := m.cases[id]; c != nil {
		created = c.created
	}
	m.cases[id] = &modelCase{state: u.state, row: u.row, urgency: u.urgency, quiet: u.quiet, created: created, keys: keys}
	now := nanos(u.Case.At)
	for _, f := range u.findings {
		k := findingKey{tenant, f.uid}
		old := m.findings[k]
		if old == nil {
			m.findings[k] = &modelFinding{f.body, id, f.digest, now, now, 1}
			continue
		}
		if old.caseID == id {
			old.sightings++
		}
		old.body, old.caseID, old.digest, old.last = f.body, id, f.digest, max(old.last, now)
	}
	for _, uid := range u.MoveFindings {
		m.findings[findingKey{tenant, uid}].caseID = id
	}
	m.applyEffects(u, now)
	m.applyRaws(u, now)
	for hash, body := range u.Facts {
		if k := (findingKey{tenant, hash}); m.facts[k] == nil {
			m.facts[k] = bytes.Clone(body)
		}
	}
	for _, n := range u.Notes {
		m.note(tenant, n)
	}
}

func (m *Model) applyEffects(u *unit, now int64) {
	for _, id := range u.DropEffects {
		e := m.effects[id]
		switch {
		case e == nil:
		case nanos(e.LeaseUntil) > now:
			e.dropped, e.NextAt = true, e.LeaseUntil
		case !e.dropped:
			delete(m.effects, id)
		}
	}
	for _, row := range u.AddEffects {
		row.NotBefore = utc(row.NotBefore)
		e := m.effects[row.ID]
		if e == nil {
			m.effects[row.ID] = &modelEffect{EffectStatus: EffectStatus{EffectRow: row, NextAt: row.NotBefore}}
			continue
		}
		row.Tenant, row.CaseID, row.Effect.ID = e.Tenant, e.CaseID, e.Effect.ID
		e.EffectRow, e.NextAt = row, later(row.NotBefore, e.LeaseUntil)
		if e.dropped {
			e.Epoch, e.Attempt, e.DeadSince, e.dropped = 0, 0, time.Time{}, false
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (m *Model) note(tenant string, n record.NoteText) {
	if k := (findingKey{tenant, string(n.Hash)}); m.notes[k].Hash == "" {
		m.notes[k] = n
	}
}

// append chains a record to its stream and returns its number.
func (m *Model) append(tenant, stream string, r row) uint64 {
	k := streamKey{tenant, stream}
	var head [32]byte
	if n := len(m.streams[k]); n > 0 {
		head = m.streams[k][n-1].Hash
	}
	seq := uint64(len(m.streams[k]) + 1)
	by, err := parseActor(r.by)
	if err != nil {
		panic(err) // written by actorText
	}
	m.streams[k] = append(m.streams[k], StoredEvent{
		StreamEvent: StreamEvent{Tenant: tenant, Stream: stream, Type: r.typ, Schema: r.schema, At: utc(r.at), By: by, Body: bytes.Clone(r.body)},
		Seq:         seq, Prev: head, Hash: r.chained(head, tenant, stream, seq).Hash, TreeIndex: -1,
	})
	m.order = append(m.order, streamSeq{k, seq})
	return seq
}

// Load returns the case (engine.Store).
func (m *Model) Load(_ context.Context, id string) (remedy.Case, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var c remedy.Case
	stored := m.cases[id]
	if stored == nil {
		return c, fmt.Errorf("case %s: %w", id, record.ErrNotFound)
	}
	return c, json.Unmarshal(stored.state, &c)
}

// Keys returns the cases bound to keys (engine.Store).
func (m *Model) Keys(_ context.Context, keys []record.CaseKey) (map[record.CaseKey][]record.CaseRef, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[record.CaseKey][]record.CaseRef{}
	for _, k := range keys {
		ids := slices.Collect(maps.Keys(m.keys[k]))
		slices.SortFunc(ids, func(a, b string) int {
			return cmp.Or(cmp.Compare(m.cases[b].created, m.cases[a].created), cmp.Compare(b, a))
		})
		var refs []record.CaseRef
		for _, id := range ids {
			r := m.cases[id].row
			refs = append(refs, record.CaseRef{ID: id, Open: r.Open, ClosedAt: r.ClosedAt, How: r.How})
		}
		if refs != nil {
			out[k] = refs
		}
	}
	return out, nil
}

// Known returns what is known of finding uids (engine.Store).
func (m *Model) Known(_ context.Context, tenant string, uids []string) (map[string]record.Known, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]record.Known{}
	for _, uid := range uids {
		if f := m.findings[findingKey{tenant, uid}]; f != nil {
			out[uid] = record.Known{CaseID: f.caseID, Digest: f.digest, Quiet: m.cases[f.caseID].quiet}
		}
	}
	return out, nil
}

// Due returns cases whose wake-up has come (engine.Store).
func (m *Model) Due(_ context.Context, now time.Time, n int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, c := range m.cases {
		if w := c.row.WakeAt; !w.IsZero() && !w.After(now) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(m.cases[a].row.WakeAt.Compare(m.cases[b].row.WakeAt), cmp.Compare(a, b))
	})
	return ids[:min(n, len(ids))], nil
}

// NextDue returns the next instant at which something is due (engine.Store).
func (m *Model) NextDue(_ context.Context, now time.Time) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, c := range m.cases {
		sooner(c.row.WakeAt)
	}
	for _, e := range m.effects {
		sooner(e.NextAt)
	}
	return next, nil
}

// Finding returns the stored finding (engine.Store).
func (m *Model) Finding(_ context.Context, tenant, uid string) (finding.Finding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var f finding.Finding
	stored := m.findings[findingKey{tenant, uid}]
	if stored == nil {
		return f, fmt.Errorf("finding %s: %w", uid, record.ErrNotFound)
	}
	return f, json.Unmarshal(stored.body, &f)
}
