package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// modelRaw is a raw record and the findings it speaks of, the first one in raw.
type modelRaw struct {
	raw    record.Raw
	cursor RawCursor
	uids   map[string]bool
}

func (m *Model) applyRaws(u *unit, now int64) {
	for _, r := range u.Raws {
		k := findingKey{u.Case.Tenant, r.Hash}
		old := m.raws[k]
		if old == nil {
			m.rawSeq++
			r.Body = bytes.Clone(r.Body)
			old = &modelRaw{raw: r, cursor: RawCursor{now, m.rawSeq}, uids: map[string]bool{}}
			m.raws[k] = old
		}
		old.cursor.at = max(old.cursor.at, now)
		old.uids[r.UID] = true
	}
}

// Raw returns a raw record; see SQLite.Raw.
func (m *Model) Raw(ctx context.Context, tenant, hash string) (record.Raw, error) {
	if err := ctx.Err(); err != nil {
		return record.Raw{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.raws[findingKey{tenant, hash}]
	if r == nil {
		return record.Raw{}, fmt.Errorf("raw record %s: %w", hash, record.ErrNotFound)
	}
	return r.raw, nil
}

// RawStats counts the raw records; see SQLite.RawStats.
func (m *Model) RawStats(ctx context.Context) (RawStats, error) {
	if err := ctx.Err(); err != nil {
		return RawStats{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var s RawStats
	for _, r := range m.raws {
		s.Records++
		s.Size += int64(r.raw.Size)
		s.Stored += int64(len(r.raw.Body))
		if at := instant(r.cursor.at); s.Oldest.IsZero() || at.Before(s.Oldest) {
			s.Oldest = at
		}
	}
	return s, nil
}

// PruneRaw removes raw records that no case needs; see SQLite.PruneRaw.
func (m *Model) PruneRaw(ctx context.Context, p RawPrune) (RawPruned, error) {
	out := RawPruned{Next: p.After}
	if err := ctx.Err(); err != nil {
		return out, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(m.raws), func(a, b findingKey) int { return m.raws[a].cursor.compare(m.raws[b].cursor) })
	for n, k := range keys {
		r := m.raws[k]
		if r.cursor.compare(p.After) <= 0 {
			continue
		}
		if r.cursor.at >= nanos(p.Before) {
			break
		}
		if p.Look == 0 || p.Stored > 0 && out.Stored >= p.Stored {
			return out, nil
		}
		p.Look--
		out.Next = r.cursor
		if m.rawKept(k.tenant, r, nanos(p.Before)) {
			continue
		}
		out.Records++
		out.Stored += int64(len(r.raw.Body))
		if !p.Dry {
			delete(m.raws, keys[n])
		}
	}
	out.Done = p.Look > 0
	return out, nil
}

func (c RawCursor) compare(o RawCursor) int {
	return cmp.Or(cmp.Compare(c.at, o.at), cmp.Compare(c.id, o.id))
}

// rawKept is the model's form of the constant of the same name.
func (m *Model) rawKept(tenant string, r *modelRaw, before int64) bool {
	for uid := range r.uids {
		f := m.findings[findingKey{tenant, uid}]
		if f == nil {
			continue
		}
		c := m.cases[f.caseID]
		if c.row.State != string(remedy.StateSettled) || nanos(c.row.ClosedAt) >= before {
			return true
		}
		for _, e := range m.streams[streamKey{tenant, CaseStream(f.caseID)}] {
			if e.Type == (remedy.Intended{}).Type() || e.Type == (remedy.Absorbed{}).Type() {
				return true
			}
		}
	}
	return false
}
