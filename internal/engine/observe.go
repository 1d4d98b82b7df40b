package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
)

// maxMerged bounds how many members are read to judge a case as one.
const maxMerged = 8

// Placed is the result for one finding: what it is to which case.
type Placed struct {
	UID       string         `json:"uid"`
	Placement correlate.Kind `json:"placement"`
	CaseID    string         `json:"case,omitempty"`
	Why       string         `json:"why"`
	// Err says why this one alone was not stored, nil on success.
	Err error `json:"-"`
}

// Raws makes the raw record of the finding at an index ready to be kept; one
// without a hash is not kept.
type Raws func(i int) (Raw, error)

// Observe takes in findings that Normalize made, all of one tenant, at one
// instant. raws is asked for those that change what a case knows, in the same
// commit; nil keeps none. It returns only after everything that has no error in
// its result is on disk. The error is of the whole call: then nothing is stored.
func (e *Engine) Observe(ctx context.Context, tenant string, fs []finding.Finding, raws Raws, at time.Time) ([]Placed, error) {
	out := make([]Placed, len(fs))
	todo := make([]int, len(fs))
	for i := range fs {
		todo[i] = i
	}
	for try := 1; len(todo) > 0; try++ {
		again, err := e.observeOnce(ctx, tenant, fs, raws, todo, out, at)
		if err != nil {
			return nil, err
		}
		if try == maxTries {
			for _, i := range again {
				out[i].Err = ErrConflict
			}
			break
		}
		if len(again) < len(todo) {
			try-- // some were stored: it comes to an end
		}
		todo = again
	}
	return out, nil
}

// group is the findings of one call that speak of one case, or of one new key.
type group struct {
	refs []CaseRef
	at   []int
}

// observeOnce places, judges and commits the findings todo points at. It
// returns those whose case moved on meanwhile.
func (e *Engine) observeOnce(ctx context.Context, tenant string, fs []finding.Finding, raws Raws, todo []int, out []Placed, at time.Time) ([]int, error) {
	b := newBatch(e, tenant, fs, todo, at)
	b.raws = raws
	if err := b.read(ctx); err != nil {
		return nil, err
	}
	groups, err := b.groups(ctx)
	if err != nil {
		return nil, err
	}
	var units []Unit
	var unitOfGroup []*group // nil where another unit of the group stands
	var seen []Sighting
	var again []int
	stepped := map[string]bool{}
	for _, g := range groups {
		if slices.ContainsFunc(g.refs, func(r CaseRef) bool { return stepped[r.ID] }) { // a finding left it in this round
			again = append(again, g.at...)
			continue
		}
		u, sightings, err := e.place(ctx, b, g, out, at)
		var left []Unit
		if err == nil && u != nil {
			left, err = b.leave(u, stepped)
		}
		if errors.Is(err, ErrConflict) {
			again = append(again, g.at...)
			continue
		}
		if err != nil {
			return nil, err
		}
		seen = append(seen, sightings...)
		if u != nil {
			units, unitOfGroup = append(units, *u), append(unitOfGroup, g)
		}
		for _, l := range left {
			units, unitOfGroup = append(units, l), append(unitOfGroup, nil)
		}
	}
	if len(units) == 0 && len(seen) == 0 {
		return again, nil
	}
	e.Failpoint("before observe commit")
	errs, err := e.Store.Commit(ctx, units, seen)
	e.Failpoint("after observe commit")
	if err != nil {
		return nil, err
	}
	for i, err := range errs {
		switch {
		case unitOfGroup[i] == nil:
		case errors.Is(err, ErrConflict):
			again = append(again, unitOfGroup[i].at...)
		case err != nil:
			for _, k := range unitOfGroup[i].at {
				out[k].Err = err
			}
		}
	}
	return again, nil
}

// place works out what one group does to its case: one unit at most, and
// sightings. The case is stepped in memory from finding to finding.
func (e *Engine) place(ctx context.Context, b *batch, g *group, out []Placed, at time.Time) (*Unit, []Sighting, error) {
	cands := make([]correlate.Candidate, len(g.refs))
	for i, r := range g.refs {
		cands[i] = correlate.Candidate{ID: r.ID, Open: r.Open, ClosedAt: r.ClosedAt, How: r.How}
	}
	var seen []Sighting
	w := work{e: e, at: at}
	local := map[string]string{} // digests stepped in this call
	for _, i := range g.at {
		f := b.fs[i]
		digest := finding.DecisionDigest(f)
		k := b.known[f.UID]
		ck := correlate.Known{CaseID: k.CaseID, Digest: k.Digest, Quiet: k.Quiet}
		if d, ok := local[f.UID]; ok {
			ck = correlate.Known{CaseID: w.c.ID, Digest: d, Quiet: w.c.Quiet()}
		}
		if w.loaded {
			cands = []correlate.Candidate{{ID: w.c.ID, Open: w.c.Open(), ClosedAt: w.c.Episode().ClosedAt, How: w.c.Closed}}
		}
		p := correlate.Place(f, digest, ck, cands, at)
		out[i] = Placed{UID: f.UID, Placement: p.Kind, CaseID: p.CaseID, Why: p.Why}
		switch p.Kind {
		case correlate.Sighting:
			seen = append(seen, Sighting{Tenant: b.tenant, UID: f.UID, At: at, Count: 1})
			continue
		case correlate.Nothing:
			continue
		}
		if err := w.observe(ctx, b, i, p, digest); err != nil {
			return nil, nil, err
		}
		local[f.UID] = digest
		out[i].CaseID = w.c.ID
	}
	if !w.loaded || len(w.events) == 0 && len(w.findings) == 0 {
		return nil, fold(seen), nil
	}
	u := unitTo(w.before, w.c, w.events)
	u.Findings, u.Was, u.Facts, u.AddKey, u.Raws = w.findings, w.was, w.facts, w.keys, w.raws
	if len(u.AddKey) > 0 {
		n := len(b.refs[u.AddKey[0]])
		u.Beside = &n
	}
	return &u, fold(seen), nil
}

// fold adds up the sightings of one uid.
func fold(in []Sighting) []Sighting {
	at := map[string]int{}
	out := in[:0]
	for _, s := range in {
		if i, ok := at[s.UID]; ok {
			out[i].Count += s.Count
			continue
		}
		at[s.UID] = len(out)
		out = append(out, s)
	}
	return out
}

// work steps one case in memory.
type work struct {
	e        *Engine
	at       time.Time
	loaded   bool
	before   remedy.Case
	c        remedy.Case
	events   []remedy.Event
	findings []finding.Finding
	was      []string // the cases that had them
	keys     []CaseKey
	raws     []Raw
	facts    map[string][]byte
}

func (w *work) observe(ctx context.Context, b *batch, i int, p correlate.Placement, digest string) error {
	key, f := b.keys[i], b.fs[i]
	cmd := remedy.Observe{Tenant: key.Tenant, Key: key.Key, Finding: f, Digest: digest, Why: p.Why, DetectedAt: f.FirstSeen}
	facts := CaseFacts{}
	judged := f
	switch {
	case w.loaded:
	case p.Kind == correlate.Join:
		c, err := w.e.Store.Load(ctx, p.CaseID)
		if err != nil {
			return fmt.Errorf("case %s of key %s: %w", p.CaseID, key.Key, err)
		}
		w.before, w.c = c, c
	default:
		id, err := w.e.newID("cas_", w.at)
		if err != nil {
			return err
		}
		cmd.ID = id
		if p.Kind == correlate.Recurrence {
			cmd.RecurrenceOf = p.CaseID
			facts.Recurrence = true
		}
		w.keys = append(w.keys, key)
	}
	w.loaded = true
	if w.before.Version > 0 && !leads(w.before, key, f.UID) { // merged, split or undone a moment ago
		return fmt.Errorf("case %s: %w", w.before.ID, ErrConflict)
	}
	if w.c.Version > 0 {
		var err error
		if judged, err = w.merged(ctx, f); err != nil {
			return err
		}
		facts = factsOf(w.c)
	}
	j, snapshot := w.e.Judge().Judge(judged, facts, w.at)
	cmd.Judgement = j
	w.note(j.Facts, snapshot)
	if b.raws != nil && w.c.Keeps(f, digest) {
		raw, err := b.raws(i)
		if err != nil {
			return fmt.Errorf("raw record of finding %s: %w", f.UID, err)
		}
		if cmd.Raw = raw.Hash; raw.Hash != "" {
			raw.UID = f.UID
			w.raws = append(w.raws, raw)
		}
	}
	events, after, err := remedy.Step(w.c, remedy.Command{At: w.at, By: remedy.Actor{Kind: remedy.Source, ID: f.Source}, Do: cmd})
	if err != nil {
		return fmt.Errorf("finding %s: %w", f.UID, err)
	}
	w.c = after
	w.events = append(w.events, events...)
	w.findings, w.was = append(w.findings, f), append(w.was, b.known[f.UID].CaseID)
	return nil
}

// leads says whether a key, or the finding itself, still leads to a case that
// was placed by what the tables said before it was loaded.
func leads(c remedy.Case, key CaseKey, uid string) bool {
	_, member := c.Member(uid)
	return c.MergedInto == "" && (member || slices.Contains(c.KeysBound(), key.Key))
}

func (w *work) note(address string, snapshot []byte) {
	if w.facts == nil {
		w.facts = map[string][]byte{}
	}
	w.facts[address] = snapshot
}

// merged is f with what the other members of the case know. What by now speaks
// of another exposure does not count: it is of another asset, perhaps.
func (w *work) merged(ctx context.Context, f finding.Finding) (finding.Finding, error) {
	var base *finding.Finding
	for i, m := range w.c.Members {
		if i == maxMerged {
			break
		}
		g := f
		if m.UID != f.UID {
			var err error
			if g, err = w.finding(ctx, m.UID); err != nil {
				return f, err
			}
			if !speaksOf(w.c, m, g) {
				continue
			}
		}
		if base == nil {
			base = &g
		} else {
			*base = finding.Merge(*base, g)
		}
	}
	if base == nil {
		return f, nil
	}
	return finding.Merge(*base, f), nil
}

func (w *work) finding(ctx context.Context, uid string) (finding.Finding, error) {
	for i := len(w.findings) - 1; i >= 0; i-- {
		if w.findings[i].UID == uid {
			return w.findings[i], nil
		}
	}
	f, err := w.e.Store.Finding(ctx, w.c.Tenant, uid)
	if err != nil {
		return f, fmt.Errorf("finding %s of case %s: %w", uid, w.c.ID, err)
	}
	return f, nil
}

// speaksOf says whether f, as it was stored last, is of the exposure for which
// it is a member of the case.
func speaksOf(c remedy.Case, m remedy.Member, f finding.Finding) bool {
	was, is := c.KeyOf(m), finding.ExposureKey(f)
	return finding.VersionOf(was) != is.Version || was == is.String()
}

// face is the finding that stands for the case: its first that speaks of its
// exposure, or else what the case itself says.
func (e *Engine) face(ctx context.Context, c remedy.Case) (finding.Finding, error) {
	for i, m := range c.Members {
		if i == maxMerged {
			break
		}
		f, err := e.Store.Finding(ctx, c.Tenant, m.UID)
		if err != nil {
			return f, fmt.Errorf("finding %s of case %s: %w", m.UID, c.ID, err)
		}
		if speaksOf(c, m, f) {
			return f, nil
		}
	}
	return finding.Finding{Tenant: c.Tenant, Title: c.Title, Class: c.Class, Domain: c.Domain, Severity: c.Severity,
		Asset: c.Asset, Params: c.Params, Status: finding.StatusOpen, FirstSeen: c.Episode().DetectedAt}, nil
}

func factsOf(c remedy.Case) CaseFacts {
	return CaseFacts{Recurrence: c.RecurrenceOf != "" || len(c.Episodes) > 1, Opened: c.Episode().OpenedAt}
}

// rejudge judges a case anew on what its members say.
func (e *Engine) rejudge(ctx context.Context, c remedy.Case, at time.Time) (remedy.Judgement, map[string][]byte, error) {
	w := work{e: e, at: at, c: c}
	f, err := e.face(ctx, c)
	if err != nil {
		return remedy.Judgement{}, nil, err
	}
	if f, err = w.merged(ctx, f); err != nil {
		return remedy.Judgement{}, nil, err
	}
	j, snapshot := e.Judge().Judge(f, factsOf(c), at)
	return j, map[string][]byte{j.Facts: snapshot}, nil
}

// Rejudge judges an open case anew because trigger changed (policy promoted,
// owner left, exposure learned).
func (e *Engine) Rejudge(ctx context.Context, id, trigger string, at time.Time) (remedy.Case, error) {
	var facts map[string][]byte
	return e.tell(ctx, id, func(c remedy.Case) (remedy.Command, error) {
		j, f, err := e.rejudge(ctx, c, at)
		facts = f
		return remedy.Command{At: at, By: remedy.Actor{Kind: remedy.Policy, ID: j.Versions.Policy},
			Do: remedy.Rejudge{Judgement: j, Trigger: trigger}}, err
	}, func(u *Unit) { u.Facts = facts })
}
