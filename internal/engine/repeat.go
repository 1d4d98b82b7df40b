package engine

import (
	"context"
	"errors"
	"time"

	"github.com/casement/casement/internal/correlate"
)

// Repeat is what tells a repeat: the identity of a finding that its source calls
// open, and its decision digest.
type Repeat struct{ UID, Digest string }

// Repeats counts those of rs that are repeats: sightings of findings whose case
// is quiet, with nothing new in them. Of the others it stores nothing; they are
// in rest, by their index, and have to be observed whole. It returns only after
// the sightings are on disk. The error is of the whole call: nothing is stored.
func (e *Engine) Repeats(ctx context.Context, tenant string, rs []Repeat, at time.Time) (out []Placed, rest []int, err error) {
	uids := make([]string, len(rs))
	for i, r := range rs {
		uids[i] = r.UID
	}
	known, err := e.Store.Known(ctx, tenant, uids)
	if err != nil {
		return nil, nil, err
	}
	out = make([]Placed, len(rs))
	seen := make([]Sighting, 0, len(rs))
	for i, r := range rs {
		k := known[r.UID]
		p, ok := correlate.Repeat(r.Digest, correlate.Known{CaseID: k.CaseID, Digest: k.Digest, Quiet: k.Quiet})
		if !ok {
			rest = append(rest, i)
			continue
		}
		out[i] = Placed{UID: r.UID, Placement: p.Kind, CaseID: p.CaseID, Why: p.Why}
		seen = append(seen, Sighting{Tenant: tenant, UID: r.UID, At: at, Count: 1})
	}
	if len(seen) == 0 {
		return out, rest, nil
	}
	e.Failpoint("before observe commit")
	_, err = e.Store.Commit(ctx, nil, fold(seen))
	e.Failpoint("after observe commit")
	if errors.Is(err, ErrConflict) { // a case moved on: look at all of them
		rest = rest[:0]
		for i := range rs {
			out[i], rest = Placed{}, append(rest, i)
		}
		return out, rest, nil
	}
	return out, rest, err
}
