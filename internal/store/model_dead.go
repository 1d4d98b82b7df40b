package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/casement/casement/internal/record"
)

// modelFault is a case that could not be woken.
type modelFault struct {
	failures        int
	reason          string
	next, deadSince time.Time
}

// Postpone gives an effect back without counting the try; see tables.Postpone.
func (m *Model) Postpone(ctx context.Context, l record.Lease, at time.Time, reason string) error {
	return m.giveBack(ctx, l, at, reason, func(e *modelEffect) { e.Attempt = max(0, e.Attempt-1) })
}

// Bury gives an effect back as a dead letter; see tables.Bury.
func (m *Model) Bury(ctx context.Context, l record.Lease, now, at time.Time, reason string) error {
	return m.giveBack(ctx, l, at, reason, func(e *modelEffect) {
		if e.DeadSince.IsZero() {
			e.DeadSince = utc(now)
		}
	})
}

// Stumbled puts the wake-up of a damaged case off; see tables.Stumbled.
func (m *Model) Stumbled(ctx context.Context, caseID string, now time.Time, reason string) (at time.Time, dead bool, err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cases[caseID]
	if c == nil {
		return time.Time{}, false, fmt.Errorf("case %s: %w", caseID, record.ErrNotFound)
	}
	f := m.faults[caseID]
	if f == nil || !f.next.Equal(c.row.WakeAt) {
		f = &modelFault{}
		m.faults[caseID] = f
	}
	f.failures++
	f.reason = record.Reason(reason)
	wait, dead := record.NextTry(clockPrefix+caseID, f.failures)
	f.next = utc(now.Add(wait))
	if dead && f.deadSince.IsZero() {
		f.deadSince = utc(now)
	}
	c.row.WakeAt = f.next
	return f.next, dead, nil
}

// DeadLetters returns dead letters, oldest first; see tables.DeadLetters.
func (m *Model) DeadLetters(_ context.Context, tenant, caseID string, n int) ([]record.DeadLetter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead(tenant, caseID, n), nil
}

func (m *Model) dead(tenant, caseID string, n int) []record.DeadLetter {
	var list []record.DeadLetter
	for _, e := range m.effects {
		if e.Tenant == tenant && !e.DeadSince.IsZero() && !e.dropped && (caseID == "" || e.CaseID == caseID) {
			list = append(list, record.DeadLetter{ID: e.ID, Tenant: tenant, CaseID: e.CaseID, Kind: string(e.Effect.Kind), Action: e.Effect.Action, Reason: e.LastError,
				Tries: e.Attempt, Since: e.DeadSince, NextAt: e.NextAt, Owner: m.cases[e.CaseID].row.Owner, Bottleneck: deadBottleneck(e.DeadSince)})
		}
	}
	for id, f := range m.faults {
		if c := m.cases[id]; c.row.Tenant == tenant && !f.deadSince.IsZero() && f.next.Equal(c.row.WakeAt) && (caseID == "" || id == caseID) {
			list = append(list, record.DeadLetter{ID: clockPrefix + id, Tenant: tenant, CaseID: id, Kind: record.KindClock, Reason: f.reason,
				Tries: f.failures, Since: f.deadSince, NextAt: f.next, Owner: c.row.Owner, Bottleneck: deadBottleneck(f.deadSince)})
		}
	}
	return sortDead(list, n)
}

// DeadSummary counts dead letters; see tables.DeadSummary.
func (m *Model) DeadSummary(_ context.Context, tenant string) (record.DeadSummary, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.dead(tenant, "", len(m.effects)+len(m.faults))
	out := record.DeadSummary{N: len(list)}
	if len(list) > 0 {
		out.Oldest = list[0].Since
	}
	return out, nil
}

// RetryDeadLetter has a dead letter tried again; see tables.RetryDeadLetter.
func (m *Model) RetryDeadLetter(_ context.Context, tenant, id string, at time.Time, ev StreamEvent) error {
	if err := checkStream(ev); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found := false
	if caseID, clock := strings.CutPrefix(id, clockPrefix); clock {
		c, f := m.cases[caseID], m.faults[caseID]
		if found = c != nil && f != nil && c.row.Tenant == tenant && !f.deadSince.IsZero() && f.next.Equal(c.row.WakeAt); found {
			f.next, c.row.WakeAt = utc(at), utc(at)
		}
	} else if e := m.effects[id]; e != nil && e.Tenant == tenant && !e.DeadSince.IsZero() && e.LeaseUntil.IsZero() && !e.dropped {
		found = true
		e.NextAt = utc(at)
	}
	if !found {
		return fmt.Errorf("no dead letter %s waits: %w", id, record.ErrNotFound)
	}
	m.append(ev.Tenant, ev.Stream, row{ev.Type, ev.Schema, ev.At, actorText(ev.By), ev.Body})
	return nil
}
