package storetest

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// Agree drives two stores with the same random calls and demands the same
// observable results, and of the leases handed out the laws: no two in flight
// of one case or on one object, epochs that grow at every claim. Each function
// returns an empty store and what closes it.
func Agree(t *testing.T, one, other func() (Backend, func())) {
	rapid.Check(t, func(r *rapid.T) {
		a, closeA := one()
		r.Cleanup(closeA)
		b, closeB := other()
		r.Cleanup(closeB)
		w := &world{a: a, b: b, now: Epoch()}
		w.run(r)
	})
}

// world is two stores and what the test knows of them.
type world struct {
	a, b   Backend
	now    time.Time
	leases []granted
	epoch  uint64
}

// granted is a lease that was handed out; ended once it was given back.
type granted struct {
	record.Lease
	ended bool
}

const (
	caseCount = 4
	keyCount  = 4
)

func (w *world) run(r *rapid.T) {
	r.Repeat(map[string]func(*rapid.T){
		"commit":  w.commit,
		"commit2": w.commit, // twice as often
		"claim":   w.claim,
		"extend":  w.extend,
		"release": w.release,
		"pause":   w.pause,
		"prune":   w.prune,
		"time": func(r *rapid.T) {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(r, "seconds")) * time.Second)
		},
		"": w.compare,
	})
}

// class is what of an error the callers may rely on.
func class(err error) error {
	for _, e := range []error{record.ErrConflict, record.ErrBudget, record.ErrStale, record.ErrPaused, record.ErrNotFound, record.ErrFull, store.ErrInvalid} {
		if errors.Is(err, e) {
			return e
		}
	}
	return err
}

func same(r *rapid.T, what string, a, b any) {
	if !reflect.DeepEqual(a, b) {
		r.Fatalf("%s differs:\n one   %+v\n other %+v", what, a, b)
	}
}

func (w *world) commit(r *rapid.T) {
	var units []record.Unit
	for range rapid.IntRange(1, 3).Draw(r, "units") {
		units = append(units, w.unit(r))
	}
	var seen []record.Sighting
	if rapid.IntRange(0, 3).Draw(r, "sightings") == 0 {
		seen = append(seen, record.Sighting{Tenant: tenant, UID: name("uid-c", rapid.IntRange(0, caseCount).Draw(r, "uid")), At: w.now, Count: rapid.IntRange(0, 3).Draw(r, "count")})
	}
	if len(units) > 1 && rapid.IntRange(0, 1).Draw(r, "together") == 0 {
		units[0].Together, units[len(units)-1].Together = "both", "both"
	}
	errsA, errA := w.a.Commit(ctx, units, seen)
	errsB, errB := w.b.Commit(ctx, units, seen)
	same(r, "commit", class(errA), class(errB))
	if errA != nil {
		return
	}
	for i := range units {
		same(r, "unit", class(errsA[i]), class(errsB[i]))
		if errsA[i] == nil && units[i].Done != nil && !units[i].Hold {
			w.end(*units[i].Done)
		}
	}
}

// unit draws a unit, most of the time one that could be stored.
func (w *world) unit(r *rapid.T) record.Unit {
	n := rapid.IntRange(0, caseCount-1).Draw(r, "case")
	id := name("c", n)
	c, err := w.a.Load(ctx, id)
	var u record.Unit
	switch {
	case err != nil || rapid.IntRange(0, 15).Draw(r, "anew") == 0:
		u = NewCase(id, name("k", rapid.IntRange(0, keyCount-1).Draw(r, "key")))
	case !c.Open() && !c.Settled && c.MergedInto == "" && rapid.Bool().Draw(r, "settle"):
		u = Step(c, remedy.CaseSettled{}, w.now)
	case !c.Open():
		u = reopened(c, w.now)
	default:
		u = Step(c, rapid.SampledFrom([]remedy.Body{remedy.Acked{}, remedy.AssignedTo{To: "u-bob"}, remedy.EpisodeClosed{How: remedy.ClosedProven}, remedy.Intended{}, remedy.MergedInto{Into: "c9"}}).Draw(r, "body"), w.now)
	}
	w.decorate(r, id, &u)
	return u
}

// decorate draws the parts of a unit beside its events.
func (w *world) decorate(r *rapid.T, id string, u *record.Unit) {
	chance := func(what string) bool { return rapid.IntRange(0, 3).Draw(r, what) == 0 }
	keys := rapid.SampledFrom([]record.CaseKey{key("k0"), key("k1"), key("k2"), key("k3")})
	u.WakeAt = rapid.SampledFrom([]time.Time{{}, w.now, w.now.Add(time.Minute)}).Draw(r, "wake")
	if chance("add key") {
		u.AddKey = append(u.AddKey, keys.Draw(r, "key"))
	}
	if chance("drop key") {
		u.DropKey = append(u.DropKey, keys.Draw(r, "key"))
	}
	if len(u.AddKey)+len(u.DropKey) > 0 {
		bound := u.Case.KeysBound()
		for _, k := range u.AddKey {
			if !slices.Contains(bound, k.Key) {
				bound = append(slices.Clip(bound), k.Key)
			}
		}
		u.Case.Keys = slices.DeleteFunc(append([]string{}, bound...), func(b string) bool {
			return slices.ContainsFunc(u.DropKey, func(k record.CaseKey) bool { return k.Key == b }) &&
				!slices.ContainsFunc(u.AddKey, func(k record.CaseKey) bool { return k.Key == b })
		})
	}
	if chance("finding") {
		f := Finding(id)
		f.Severity = rapid.SampledFrom([]finding.Severity{finding.SeverityLow, finding.SeverityHigh}).Draw(r, "severity")
		u.Findings = append(u.Findings, f)
		u.Was = append(u.Was, name("c", rapid.IntRange(0, caseCount-1).Draw(r, "was")))
	}
	if chance("raw") {
		u.Raws = append(u.Raws, raw(id, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "text")))
		u.Findings = append(u.Findings, Finding(id))
	}
	if chance("move") {
		u.MoveFindings = append(u.MoveFindings, name("uid-c", rapid.IntRange(0, caseCount-1).Draw(r, "moved")))
	}
	if chance("add effect") {
		n := rapid.IntRange(0, 2).Draw(r, "effect")
		e := Effect(id, name("message/", n), rapid.SampledFrom([]string{"", "bucket", "role"}).Draw(r, "object"))
		e.ID += e.Object // an effect keeps its object
		e.NotBefore = rapid.SampledFrom([]time.Time{{}, w.now.Add(time.Minute)}).Draw(r, "start")
		u.AddEffects = append(u.AddEffects, e)
	}
	if chance("drop effect") {
		u.DropEffects = append(u.DropEffects, id+"/"+name("message/", rapid.IntRange(0, 2).Draw(r, "dropped"))+rapid.SampledFrom([]string{"", "bucket", "role"}).Draw(r, "object"))
	}
	if chance("reserve") {
		u.Reserve = append(u.Reserve, record.Reservation{Key: "budget", N: rapid.IntRange(1, 3).Draw(r, "n"), Limit: 6, From: w.now.Add(-2 * time.Minute), At: w.now})
	}
	if chance("scopes") {
		u.PauseScopes = []string{"connector/s3", rapid.SampledFrom([]string{"all", "rule"}).Draw(r, "scope")}
	}
	if chance("note") {
		u.Notes = append(u.Notes, record.NoteText{Hash: remedy.Note(name("n", rapid.IntRange(0, 2).Draw(r, "note"))), Salt: "s", Text: "t"})
		u.Facts = map[string][]byte{"f": []byte("x")}
	}
	if l, ok := w.pick(r, id); ok {
		u.Done, u.Hold = &l, rapid.Bool().Draw(r, "hold")
	}
}

// pick draws a lease that was handed out, of a case if caseID is not empty.
func (w *world) pick(r *rapid.T, caseID string) (record.Lease, bool) {
	var fit []record.Lease
	for _, l := range w.leases {
		if caseID == "" || l.Row.CaseID == caseID {
			fit = append(fit, l.Lease)
		}
	}
	if len(fit) == 0 || (caseID != "" && rapid.Bool().Draw(r, "no lease")) {
		return record.Lease{}, false
	}
	return rapid.SampledFrom(fit).Draw(r, "lease"), true
}

func (w *world) end(l record.Lease) {
	for i := range w.leases {
		if w.leases[i].Epoch == l.Epoch {
			w.leases[i].ended = true
		}
	}
}

func (w *world) claim(r *rapid.T) {
	n := rapid.IntRange(1, 5).Draw(r, "n")
	a, errA := w.a.Claim(ctx, w.now, lease, n)
	b, errB := w.b.Claim(ctx, w.now, lease, n)
	same(r, "claim error", class(errA), class(errB))
	same(r, "number of leases", len(a), len(b))
	for i, l := range a {
		same(r, "lease", l, b[i])
		if l.Epoch <= w.epoch {
			r.Fatalf("epoch %d after %d", l.Epoch, w.epoch)
		}
		w.epoch = l.Epoch
		for _, o := range w.leases {
			if o.ended || !o.Until.After(w.now) {
				continue
			}
			if o.Row.CaseID == l.Row.CaseID || (l.Row.Object != "" && o.Row.Object == l.Row.Object) {
				r.Fatalf("two in flight at %s:\n%+v\n%+v", w.now, o, l)
			}
		}
		w.leases = append(w.leases, granted{Lease: l})
	}
}

func (w *world) extend(r *rapid.T) {
	l, ok := w.pick(r, "")
	if !ok {
		r.Skip("no lease")
	}
	until := w.now.Add(lease)
	errA, errB := w.a.Extend(ctx, l, until), w.b.Extend(ctx, l, until)
	same(r, "extend", class(errA), class(errB))
	if errA == nil {
		for i := range w.leases {
			if w.leases[i].Epoch == l.Epoch {
				w.leases[i].Until = until
			}
		}
	}
}

func (w *world) release(r *rapid.T) {
	l, ok := w.pick(r, "")
	if !ok {
		r.Skip("no lease")
	}
	at := w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(r, "back-off")) * time.Second)
	errA, errB := w.a.Release(ctx, l, at, "test"), w.b.Release(ctx, l, at, "test")
	same(r, "release", class(errA), class(errB))
	w.end(l) // given back, also if it had been dropped
}

func (w *world) pause(r *rapid.T) {
	p := store.Pause{Tenant: rapid.SampledFrom([]string{"", tenant, "other"}).Draw(r, "tenant"), Scope: rapid.SampledFrom([]string{"all", "rule"}).Draw(r, "scope"), By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, At: w.now}
	if rapid.Bool().Draw(r, "throw") {
		same(r, "pause", class(w.a.SetPause(ctx, p)), class(w.b.SetPause(ctx, p)))
		return
	}
	same(r, "resume", class(w.a.ClearPause(ctx, p)), class(w.b.ClearPause(ctx, p)))
}

func (w *world) prune(r *rapid.T) {
	p := store.RawPrune{Before: w.now, Look: rapid.IntRange(1, 3).Draw(r, "look"), Dry: rapid.Bool().Draw(r, "dry"), Stored: rapid.Int64Range(0, 2).Draw(r, "stored")}
	q := p // a cursor is of one store
	for done := false; !done; {
		a, errA := w.a.PruneRaw(ctx, p)
		b, errB := w.b.PruneRaw(ctx, q)
		same(r, "prune error", class(errA), class(errB))
		same(r, "pruned", [3]any{a.Records, a.Stored, a.Done}, [3]any{b.Records, b.Stored, b.Done})
		done, p.After = a.Done || errA != nil || p.Stored > 0, a.Next
		q.After = b.Next
	}
}

// compare looks at everything both stores show.
func (w *world) compare(r *rapid.T) {
	both(r, "effects", w.a, w.b, func(b Backend) (any, error) { return b.EffectsOf(ctx, "", 100) })
	both(r, "next due", w.a, w.b, func(b Backend) (any, error) { return b.NextDue(ctx, w.now) })
	both(r, "due", w.a, w.b, func(b Backend) (any, error) { return b.Due(ctx, w.now, 3) })
	both(r, "counts", w.a, w.b, func(b Backend) (any, error) { return b.Counts(ctx, tenant) })
	both(r, "pauses", w.a, w.b, func(b Backend) (any, error) { return b.Pauses(ctx) })
	both(r, "list", w.a, w.b, func(b Backend) (any, error) { return b.ListCases(ctx, store.CaseFilter{Tenant: tenant}, "", 3) })
	both(r, "keys", w.a, w.b, func(b Backend) (any, error) {
		return b.Keys(ctx, []record.CaseKey{key("k0"), key("k1"), key("k2"), key("k3")})
	})
	both(r, "known", w.a, w.b, func(b Backend) (any, error) {
		return b.Known(ctx, tenant, []string{"uid-c0", "uid-c1", "uid-c2", "uid-c3"})
	})
	both(r, "raw records", w.a, w.b, func(b Backend) (any, error) { return b.RawStats(ctx) })
	both(r, "notes", w.a, w.b, func(b Backend) (any, error) { return b.Notes(ctx, tenant, []remedy.Note{"n0", "n1", "n2"}) })
	both(r, "events", w.a, w.b, func(b Backend) (any, error) {
		events, _, err := b.EventsSince(ctx, 0, 1000)
		return events, err
	})
	for n := range caseCount {
		both(r, "case", w.a, w.b, func(b Backend) (any, error) { return b.Load(ctx, name("c", n)) })
		both(r, "findings", w.a, w.b, func(b Backend) (any, error) { return b.Findings(ctx, name("c", n)) })
	}
}

func both(r *rapid.T, what string, a, b Backend, read func(Backend) (any, error)) {
	x, errX := read(a)
	y, errY := read(b)
	same(r, what+" error", class(errX), class(errY))
	same(r, what, x, y)
}
