package engine

import (
	"context"
	"slices"
	"time"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// batch is what one call observes, and what is known of it.
type batch struct {
	e      *Engine
	tenant string
	fs     []finding.Finding
	todo   []int
	raws   Raws
	at     time.Time
	keys   []CaseKey // by index of the finding
	known  map[string]Known
	refs   map[CaseKey][]CaseRef
	// cases were loaded to see whether a finding stays with them.
	cases map[string]remedy.Case
}

func newBatch(e *Engine, tenant string, fs []finding.Finding, todo []int, at time.Time) *batch {
	b := &batch{e: e, tenant: tenant, fs: fs, todo: todo, at: at, keys: make([]CaseKey, len(fs))}
	for _, i := range todo {
		k := finding.ExposureKey(fs[i])
		b.keys[i] = CaseKey{Tenant: tenant, Version: k.Version, Key: k.String()}
	}
	return b
}

// read asks the store what it knows of the findings and of their keys.
func (b *batch) read(ctx context.Context) (err error) {
	uids := make([]string, len(b.todo))
	seen := make(map[CaseKey]bool, len(b.todo))
	keys := make([]CaseKey, 0, len(b.todo))
	for n, i := range b.todo {
		uids[n] = b.fs[i].UID
		if k := b.keys[i]; !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	if b.known, err = b.e.Store.Known(ctx, b.tenant, uids); err != nil {
		return err
	}
	b.refs, err = b.e.Store.Keys(ctx, keys)
	return err
}

// groups puts together what one unit will hold: the findings of one open case,
// to which many keys may lead, or else those of one key.
func (b *batch) groups(ctx context.Context) ([]*group, error) {
	var out []*group
	byCase := map[string]*group{}
	byKey := make(map[CaseKey]*group, len(b.todo))
	for _, i := range b.todo {
		refs, apart, err := b.leads(ctx, i)
		if err != nil {
			return nil, err
		}
		id := ""
		if n := slices.IndexFunc(refs, func(r CaseRef) bool { return r.Open }); n >= 0 {
			id = refs[n].ID
		} else if apart {
			id = refs[0].ID
		}
		g := byKey[b.keys[i]]
		if id != "" {
			g = byCase[id]
		}
		if g == nil {
			g = &group{refs: refs}
			out = append(out, g)
			if id != "" {
				byCase[id] = g
			} else {
				byKey[b.keys[i]] = g
			}
		}
		g.at = append(g.at, i)
	}
	return out, nil
}

// leads returns the cases that finding i may belong to: those of its key; or,
// apart from them, the one it was split off to with its key left behind.
func (b *batch) leads(ctx context.Context, i int) (refs []CaseRef, apart bool, err error) {
	refs = b.refs[b.keys[i]]
	id := b.known[b.fs[i].UID].CaseID
	if id == "" || slices.ContainsFunc(refs, func(r CaseRef) bool { return r.ID == id }) {
		return refs, false, nil
	}
	c, ok := b.cases[id]
	if !ok {
		if c, err = b.e.Store.Load(ctx, id); err != nil {
			return nil, false, err
		}
		if b.cases == nil {
			b.cases = map[string]remedy.Case{}
		}
		b.cases[id] = c
	}
	m, member := c.Member(b.fs[i].UID)
	ends := c.Episode().ClosedAt
	if !member || c.MergedInto != "" || c.KeyOf(m) != b.keys[i].Key || !c.Open() && c.Closed != remedy.ClosedSuppressed && b.at.Sub(ends) > correlate.ReopenWithin {
		return refs, false, nil
	}
	return []CaseRef{{ID: c.ID, Open: c.Open(), ClosedAt: ends, How: c.Closed}}, true, nil
}

// leave takes the findings of u off the open cases that they were members of
// until their sources named another exposure, in the commit of u. ErrConflict
// says that such a case was stepped in this round: u has to wait for the next
// one.
func (b *batch) leave(u *Unit, stepped map[string]bool) ([]Unit, error) {
	var out []Unit
	at := map[string]int{}
	for i, f := range u.Findings {
		c, ok := b.cases[u.Was[i]]
		if !ok || c.ID == u.Case.ID {
			continue
		}
		n, begun := at[c.ID]
		if begun {
			c = out[n].Case
		} else if stepped[c.ID] {
			return nil, ErrConflict
		}
		if _, member := c.Member(f.UID); !member || !c.Open() {
			continue
		}
		events, after, err := remedy.Step(c, remedy.Command{At: b.at, By: remedy.Actor{Kind: remedy.Source, ID: f.Source},
			Do: remedy.Leave{UID: f.UID, To: u.Case.ID}})
		if err != nil {
			return nil, err
		}
		if begun {
			events = append(out[n].Events, events...)
		} else {
			n = len(out)
			at[c.ID], out = n, append(out, Unit{})
		}
		out[n] = unitTo(b.cases[c.ID], after, events)
		out[n].Together, u.Together = u.Case.ID, u.Case.ID
	}
	stepped[u.Case.ID] = true
	for id := range at {
		stepped[id] = true
	}
	return out, nil
}
