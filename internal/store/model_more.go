package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Claim leases due effects (engine.Effects).
func (m *Model) Claim(ctx context.Context, now time.Time, lease time.Duration, n int) ([]record.Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now = utc(now)
	maps.DeleteFunc(m.effects, func(_ string, e *modelEffect) bool { return e.dropped && !e.NextAt.After(now) })
	busy := map[string]bool{}
	for _, e := range m.effects {
		if e.LeaseUntil.After(now) {
			busy["case "+e.CaseID], busy["object "+e.Object] = true, true
		}
	}
	var leases []record.Lease
	for _, e := range m.sortedEffects() {
		if len(leases) >= n || e.NextAt.After(now) {
			break
		}
		if busy["case "+e.CaseID] || (e.Object != "" && busy["object "+e.Object]) {
			continue
		}
		busy["case "+e.CaseID], busy["object "+e.Object] = true, true
		m.epoch++
		e.Epoch, e.Attempt = m.epoch, e.Attempt+1
		e.LeaseUntil = utc(now.Add(lease))
		e.NextAt = e.LeaseUntil
		leases = append(leases, record.Lease{Row: e.EffectRow, Epoch: e.Epoch, Attempt: e.Attempt, Until: e.LeaseUntil})
	}
	return leases, nil
}

// sortedEffects returns the effects by their next instant and id.
func (m *Model) sortedEffects() []*modelEffect {
	return slices.SortedFunc(maps.Values(m.effects), func(a, b *modelEffect) int {
		return cmp.Or(a.NextAt.Compare(b.NextAt), cmp.Compare(a.ID, b.ID))
	})
}

// Extend prolongs a lease (engine.Effects).
func (m *Model) Extend(ctx context.Context, l record.Lease, until time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.effects[l.Row.ID]
	if e == nil || e.Epoch != l.Epoch || e.LeaseUntil.IsZero() || e.dropped || !m.newest(e) {
		return staleError(l)
	}
	e.LeaseUntil, e.NextAt = utc(until), utc(until)
	return nil
}

// Release gives an effect back (engine.Effects).
func (m *Model) Release(ctx context.Context, l record.Lease, at time.Time, reason string) error {
	return m.giveBack(ctx, l, at, reason, func(*modelEffect) {})
}

// giveBack ends a lease and changes its row.
func (m *Model) giveBack(ctx context.Context, l record.Lease, at time.Time, reason string, change func(*modelEffect)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.effects[l.Row.ID]
	if e == nil || e.Epoch != l.Epoch || e.LeaseUntil.IsZero() {
		return staleError(l)
	}
	if e.dropped {
		delete(m.effects, l.Row.ID)
		return staleError(l)
	}
	e.LeaseUntil, e.NextAt, e.LastError = time.Time{}, utc(at), record.Reason(reason)
	change(e)
	return nil
}

// EffectsOf returns the effects that wait or run; see SQLite.EffectsOf.
func (m *Model) EffectsOf(_ context.Context, caseID string, n int) ([]EffectStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []EffectStatus
	for _, e := range m.sortedEffects() {
		if !e.dropped && (caseID == "" || e.CaseID == caseID) && len(list) < n {
			list = append(list, e.EffectStatus)
		}
	}
	return list, nil
}

// AppendEvent appends to a stream that is not a case; see SQLite.AppendEvent.
func (m *Model) AppendEvent(_ context.Context, e StreamEvent) (uint64, error) {
	if err := checkStream(e); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.append(e.Tenant, e.Stream, row{e.Type, e.Schema, e.At, actorText(e.By), e.Body}), nil
}

// Events returns the history of a case; see SQLite.Events.
func (m *Model) Events(ctx context.Context, tenant, caseID string) ([]StoredEvent, error) {
	return m.Stream(ctx, tenant, CaseStream(caseID), 0, -1)
}

// Stream returns events of a stream; see SQLite.Stream.
func (m *Model) Stream(_ context.Context, tenant, stream string, seq uint64, n int) ([]StoredEvent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.streams[streamKey{tenant, stream}]
	all = all[min(seq, uint64(len(all))):]
	if n >= 0 {
		all = all[:min(n, len(all))]
	}
	return copyEvents(all)
}

// EventsSince returns events of all streams; see SQLite.EventsSince.
func (m *Model) EventsSince(_ context.Context, pos int64, n int) ([]StoredEvent, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []StoredEvent
	for pos < int64(len(m.order)) && len(list) < n {
		at := m.order[pos]
		list = append(list, m.streams[at.streamKey][at.seq-1])
		pos++
	}
	out, err := copyEvents(list)
	return out, pos, err
}

// copyEvents decodes events and shares no bytes with the store.
func copyEvents(list []StoredEvent) ([]StoredEvent, error) {
	out := slices.Clone(list)
	for i := range out {
		out[i].Body = bytes.Clone(out[i].Body)
		if err := out[i].decode(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Findings returns the findings of a case; see SQLite.Findings.
func (m *Model) Findings(_ context.Context, caseID string) ([]FindingRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []FindingRow
	for _, f := range m.findings {
		if f.caseID != caseID {
			continue
		}
		r := FindingRow{CaseID: f.caseID, Digest: f.digest, FirstSeen: instant(f.first), LastSeen: instant(f.last), Sightings: f.sightings}
		if err := json.Unmarshal(f.body, &r.Finding); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b FindingRow) int { return cmp.Compare(a.Finding.UID, b.Finding.UID) })
	return list, nil
}

// Fact returns a snapshot of facts; see SQLite.Fact.
func (m *Model) Fact(_ context.Context, tenant, hash string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.facts[findingKey{tenant, hash}]
	if !ok {
		return nil, fmt.Errorf("facts %s: %w", hash, record.ErrNotFound)
	}
	return bytes.Clone(b), nil
}

// Notes returns free text; see SQLite.Notes.
func (m *Model) Notes(_ context.Context, tenant string, hashes []remedy.Note) (map[remedy.Note]record.NoteText, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[remedy.Note]record.NoteText{}
	for _, h := range hashes {
		if n, ok := m.notes[findingKey{tenant, string(h)}]; ok {
			out[h] = n
		}
	}
	return out, nil
}

// EraseNote removes a note; see SQLite.EraseNote.
func (m *Model) EraseNote(_ context.Context, tenant string, hash remedy.Note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := findingKey{tenant, string(hash)}
	if _, ok := m.notes[k]; !ok {
		return fmt.Errorf("note %s: %w", hash, record.ErrNotFound)
	}
	delete(m.notes, k)
	return nil
}

// Counts returns cases per state; see SQLite.Counts.
func (m *Model) Counts(_ context.Context, tenant string) (map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]int{}
	for _, c := range m.cases {
		if c.row.Tenant == tenant {
			out[c.row.State]++
		}
	}
	return out, nil
}

// ListCases returns a page of cases; see SQLite.ListCases.
func (m *Model) ListCases(_ context.Context, f CaseFilter, cursor string, limit int) (CasePage, error) {
	urgency, id, err := parseCursor(cursor)
	if err != nil {
		return CasePage{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var hits []*modelCase
	for _, c := range m.cases {
		if f.matches(c.row) && cmp.Or(cmp.Compare(c.urgency, urgency), cmp.Compare(c.row.ID, id)) > 0 {
			hits = append(hits, c)
		}
	}
	slices.SortFunc(hits, func(a, b *modelCase) int {
		return cmp.Or(cmp.Compare(a.urgency, b.urgency), cmp.Compare(a.row.ID, b.row.ID))
	})
	var page CasePage
	for _, c := range hits[:min(limit, len(hits))] {
		page.Cases = append(page.Cases, c.row)
	}
	if len(hits) > limit {
		page.Next = cursorOf(hits[limit-1].urgency, hits[limit-1].row.ID)
	}
	return page, nil
}

// SetPause throws the kill switch; see SQLite.SetPause.
func (m *Model) SetPause(_ context.Context, p Pause) error {
	if err := checkPause(p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := pauseKey{p.Tenant, p.Scope}
	if _, ok := m.pauses[k]; ok {
		return nil
	}
	p.At = utc(p.At)
	m.pauses[k] = p
	m.guardrail(p, EventPaused)
	return nil
}

// ClearPause ends a pause; see SQLite.ClearPause.
func (m *Model) ClearPause(_ context.Context, p Pause) error {
	if err := checkPause(p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := pauseKey{p.Tenant, p.Scope}
	if _, ok := m.pauses[k]; !ok {
		return fmt.Errorf("pause %q: %w", p.Scope, record.ErrNotFound)
	}
	delete(m.pauses, k)
	m.guardrail(p, EventResumed)
	return nil
}

func (m *Model) guardrail(p Pause, typ string) {
	e := pauseEvent(p, typ)
	m.append(e.Tenant, e.Stream, row{e.Type, e.Schema, e.At, actorText(e.By), e.Body})
	if p.Reason.Hash != "" {
		m.note(e.Tenant, p.Reason)
	}
}

// Pauses returns all thrown kill switches; see SQLite.Pauses.
func (m *Model) Pauses(context.Context) ([]Pause, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Collect(maps.Values(m.pauses))
	slices.SortFunc(list, func(a, b Pause) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Scope, b.Scope))
	})
	return list, nil
}
