package engine

import (
	"context"
	"time"

	"github.com/casement/casement/internal/correlate"
)

// Repeats counts those of rs that are repeats: sightings of findings whose case
// is quiet, with nothing new in them. Of the others it stores nothing; they are
// in rest, by their index, and have to be observed whole. It returns only after
// the sightings are on disk. The error is of the whole call: nothing is stored.
func (e *Engine) Repeats(ctx context.Context, tenant string, rs []Repeat, at time.Time) (out []Placed, rest []int, err error) {
	e.Failpoint("before observe commit")
	known, err := e.Store.Sight(ctx, tenant, rs, at)
	e.Failpoint("after observe commit")
	if err != nil {
		return nil, nil, err
	}
	out = make([]Placed, len(rs))
	for i, r := range rs {
		k := known[i]
		p, ok := correlate.Repeat(r.Digest, correlate.Known{CaseID: k.CaseID, Digest: k.Digest, Quiet: k.Quiet})
		if !ok {
			rest = append(rest, i)
			continue
		}
		out[i] = Placed{UID: r.UID, Placement: p.Kind, CaseID: p.CaseID, Why: p.Why}
	}
	return out, rest, nil
}
