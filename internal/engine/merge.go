package engine

import (
	"context"
	"errors"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// Word is who asks for a merge or a split, when and why.
type Word struct {
	By  remedy.Actor
	At  time.Time
	Why string
	// Version of the case spoken to, as the person has seen it; 0 for any.
	Version uint64
}

// Merge closes the case loser in favour of winner, which takes over its keys
// and findings in the same commit. alias is the evidence that their assets are
// one under two names, "" where they have the same. It returns both cases after
// it. A *remedy.Refusal means that nothing happened.
func (e *Engine) Merge(ctx context.Context, loser, winner, alias string, w Word) (from, into remedy.Case, err error) {
	why, texts, err := e.Note(w.Why)
	if err != nil {
		return from, into, err
	}
	evidence, more, err := e.Note(alias)
	if err != nil {
		return from, into, err
	}
	err = e.pair(ctx, func() ([]Unit, error) {
		if from, err = e.loadAt(ctx, loser, w.Version); err != nil {
			return nil, err
		}
		if into, err = e.Store.Load(ctx, winner); err != nil {
			return nil, err
		}
		away, err := w.step(from, remedy.Merge{Into: into, Note: why, Alias: evidence})
		if err != nil {
			return nil, err
		}
		here, err := w.step(into, remedy.Absorb{From: from, Note: why, Alias: evidence})
		if err != nil {
			return nil, err
		}
		away.DropKey = caseKeys(from.Tenant, from.KeysBound())
		here.AddKey = away.DropKey
		for _, m := range from.Members {
			here.MoveFindings = append(here.MoveFindings, m.UID)
		}
		away.Notes = append(texts, more...)
		from, into = away.Case, here.Case
		return []Unit{away, here}, nil
	})
	return from, into, err
}

// Unmerge undoes the merge of loser into the case id: keys and findings go back
// to it, and both are judged anew. It returns both cases after it, loser last.
func (e *Engine) Unmerge(ctx context.Context, id, loser string, w Word) (from, back remedy.Case, err error) {
	why, texts, err := e.Note(w.Why)
	if err != nil {
		return from, back, err
	}
	err = e.pair(ctx, func() ([]Unit, error) {
		if from, err = e.loadAt(ctx, id, w.Version); err != nil {
			return nil, err
		}
		if back, err = e.Store.Load(ctx, loser); err != nil {
			return nil, err
		}
		gives, err := w.step(from, remedy.Split{To: loser, Undo: true, Note: why})
		if err != nil {
			return nil, err
		}
		takes, err := w.step(back, remedy.Unmerge{From: from, Note: why})
		if err != nil {
			return nil, err
		}
		gone := splitOf(gives.Events)
		gives.DropKey = caseKeys(from.Tenant, gone.Keys)
		if err := e.free(ctx, gives.DropKey, id); err != nil {
			return nil, err
		}
		takes.AddKey, takes.MoveFindings = gives.DropKey, gone.UIDs
		gives.Notes = texts
		from, back = gives.Case, takes.Case
		return []Unit{gives, takes}, nil
	})
	return from, back, err
}

// Split takes findings off the case id, to a new one, with the keys that lead to
// them alone. It returns both cases after it, the new one last.
func (e *Engine) Split(ctx context.Context, id string, uids []string, w Word) (from, to remedy.Case, err error) {
	why, texts, err := e.Note(w.Why)
	if err != nil {
		return from, to, err
	}
	newID, err := e.newID("cas_", w.At)
	if err != nil {
		return from, to, err
	}
	err = e.pair(ctx, func() ([]Unit, error) {
		if from, err = e.loadAt(ctx, id, w.Version); err != nil {
			return nil, err
		}
		gives, err := w.step(from, remedy.Split{UIDs: uids, To: newID, Note: why})
		if err != nil {
			return nil, err
		}
		takes, err := e.openSplit(ctx, from, newID, splitOf(gives.Events), w)
		if err != nil {
			return nil, err
		}
		gives.DropKey, gives.Notes = takes.AddKey, texts
		from, to = gives.Case, takes.Case
		return []Unit{gives, takes}, nil
	})
	return from, to, err
}

// openSplit opens the case that takes what was split off. Its deadlines count
// from the instant at which the findings came to us, not from the split.
func (e *Engine) openSplit(ctx context.Context, from remedy.Case, id string, gone remedy.MembersSplit, by Word) (Unit, error) {
	w := work{e: e, at: by.At}
	opened, detected := by.At, by.At
	for _, uid := range gone.UIDs {
		m, _ := from.Member(uid)
		f, err := e.Store.Finding(ctx, from.Tenant, uid)
		if err != nil {
			return Unit{}, err
		}
		if m.JoinedAt.Before(opened) {
			opened = m.JoinedAt
		}
		if f.FirstSeen.IsZero() {
			f.FirstSeen = from.Episode().DetectedAt // at the latest
		}
		if f.FirstSeen.Before(detected) {
			detected = f.FirstSeen
		}
		w.findings = append(w.findings, f)
	}
	if ep := from.Episode().OpenedAt; opened.Before(ep) {
		opened = ep
	}
	for i, uid := range gone.UIDs {
		m, _ := from.Member(uid)
		judged, err := w.merged(ctx, w.findings[i])
		if err != nil {
			return Unit{}, err
		}
		j, snapshot := e.Judge().Judge(judged, CaseFacts{Opened: opened}, by.At)
		w.note(j.Facts, snapshot)
		events, after, err := remedy.Step(w.c, remedy.Command{At: by.At, By: by.By, Do: remedy.Observe{ID: id, Tenant: from.Tenant, Key: from.KeyOf(m),
			Finding: w.findings[i], Digest: m.Digest, Why: "split from " + from.ID, Judgement: j, DetectedAt: detected, SplitFrom: from.ID, Keys: gone.Keys}})
		if err != nil {
			return Unit{}, err
		}
		w.c, w.events = after, append(w.events, events...)
	}
	u := unitTo(remedy.Case{}, w.c, w.events)
	u.AddKey, u.MoveFindings, u.Facts = caseKeys(from.Tenant, gone.Keys), gone.UIDs, w.facts
	return u, nil
}

// pair commits two units that make builds, both or none, and builds them anew
// when one of the cases moved on.
func (e *Engine) pair(ctx context.Context, make func() ([]Unit, error)) error {
	for try := 1; ; try++ {
		units, err := make()
		if err != nil {
			return err
		}
		for i := range units {
			units[i].Together = units[0].Case.ID
		}
		e.Failpoint("before pair commit")
		errs, err := e.Store.Commit(ctx, units, nil)
		e.Failpoint("after pair commit")
		if err != nil {
			return err
		}
		if !errors.Is(errs[0], ErrConflict) || try == maxTries {
			return errs[0]
		}
	}
}

// loadAt loads a case; ErrConflict if it is not at the version, 0 for any.
func (e *Engine) loadAt(ctx context.Context, id string, version uint64) (remedy.Case, error) {
	c, err := e.Store.Load(ctx, id)
	if err == nil && version != 0 && c.Version != version {
		err = atOther(c, version)
	}
	return c, err
}

// step gives a command to a case and makes a unit of what comes of it.
func (w Word) step(c remedy.Case, do remedy.Do) (Unit, error) {
	events, after, err := remedy.Step(c, remedy.Command{At: w.At, By: w.By, Do: do})
	if err != nil {
		return Unit{}, err
	}
	return unitTo(c, after, events), nil
}

// splitOf is what a split took off.
func splitOf(events []remedy.Event) remedy.MembersSplit {
	for _, ev := range events {
		if b, ok := ev.Body.(remedy.MembersSplit); ok {
			return b
		}
	}
	return remedy.MembersSplit{}
}

func caseKeys(tenant string, keys []string) []CaseKey {
	out := make([]CaseKey, len(keys))
	for i, k := range keys {
		out[i] = CaseKey{Tenant: tenant, Version: finding.VersionOf(k), Key: k}
	}
	return out
}

// free refuses keys that lead to an open case other than id: a closed case that
// has them may have been followed by a new one.
func (e *Engine) free(ctx context.Context, keys []CaseKey, id string) error {
	refs, err := e.Store.Keys(ctx, keys)
	if err != nil {
		return err
	}
	for _, k := range keys {
		for _, r := range refs[k] {
			if r.Open && r.ID != id {
				return &remedy.Refusal{Code: remedy.NotNow, Msg: "the exposure came back meanwhile as case " + r.ID + ", which has the key now: nothing is left to undo"}
			}
		}
	}
	return nil
}
