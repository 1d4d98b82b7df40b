package store

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// A commit on PostgreSQL leases effects of the cases that it writes, whose rows and
// objects it has locked as a claim does. Where anything of the case or on the object
// has a lease, even one that ran out, the commit takes none: that is for a claim.

// riding is what one transaction leases.
type riding struct {
	now, until int64
	// n is how many more it may lease.
	n int
	// first are the effects of new cases that are stored leased, by case.
	first map[string]string
	// cases are those that were there before; objects the outside objects of
	// what is added to them, which the transaction locks.
	cases, objects []string
	// after are the cases as the transaction leaves them.
	after  map[string]*remedy.Case
	leases []record.Lease
}

// stepped tells how a unit that was written leaves its case.
func (r *riding) stepped(u *unit) {
	if r != nil {
		r.after[u.Case.ID] = &u.Case
	}
}

// covers reports whether an effect of the case is likely to be leased along.
func (r *riding) covers(caseID string) bool {
	if r == nil {
		return false
	}
	return r.first[caseID] != "" || slices.Contains(r.cases, caseID)
}

// board decides what the transaction that begins may lease. told must be called
// with the outcome of the commit.
func (g *group) board(batch []*request, savepoints bool) (told func(stored bool)) {
	told = func(bool) {}
	if g.rider.want == nil || savepoints {
		return told
	}
	r := &riding{first: map[string]string{}, after: map[string]*remedy.Case{}}
	ending := 0
	var opened []*unit
	for _, q := range batch {
		for _, u := range slices.Concat(q.units...) {
			if u.Hold {
				continue // its lease goes on
			}
			ended := u.Done != nil
			if ended {
				ending++
			}
			switch {
			case u.Before == 0 && len(u.AddEffects) > 0:
				opened = append(opened, u)
			case u.Before > 0 && (len(u.AddEffects) > 0 || ended && len(remedy.Pending(u.Case)) > 0):
				r.cases = append(r.cases, pgText(u.Case.ID))
				for _, e := range u.AddEffects {
					if e.Object != "" {
						r.objects = append(r.objects, pgText(e.Object))
					}
				}
			}
		}
	}
	if len(opened)+len(r.cases) == 0 {
		return told
	}
	now, until, n := g.rider.want(ending)
	if n <= 0 {
		return told
	}
	r.now, r.until, r.n = nanos(now), nanos(until), n
	r.cases = distinct(r.cases) // what has begun goes on first
	r.cases = r.cases[:min(len(r.cases), r.n)]
	r.n -= len(r.cases)
	for _, u := range opened {
		r.open(u)
	}
	g.w.riding = r
	got := g.rider.got
	return func(stored bool) {
		if !stored {
			r.leases = nil
		}
		for i := range r.leases {
			r.leases[i].Case = r.after[r.leases[i].Row.CaseID]
		}
		got(r.leases)
	}
}

// open picks the effect of a new case that a claim would take first. One on an
// outside object is left to claims.
func (r *riding) open(u *unit) {
	var first *record.EffectRow
	for i, e := range u.AddEffects {
		if nanos(e.NotBefore) > r.now {
			continue
		}
		if first == nil || e.NotBefore.Before(first.NotBefore) || e.NotBefore.Equal(first.NotBefore) && e.ID < first.ID {
			first = &u.AddEffects[i]
		}
	}
	if first != nil && first.Object == "" && r.n > 0 {
		r.first[u.Case.ID] = first.ID
		r.n--
	}
}

// aboard stores an effect of a new case leased, if it is to be.
func (w *writer) aboard(u *unit, e record.EffectRow) bool {
	l, ok := w.link.(*pgLink)
	if !ok || w.riding == nil || u.Before > 0 || w.riding.first[u.Case.ID] != e.ID {
		return false
	}
	r := w.riding
	w.changed++
	l.queue.Queue(`INSERT INTO effect (id, tenant, case_id, effect_id, kind, action, n, object, not_before, next_at, epoch, lease_until, attempt, dropped, last_error, door, trace, since)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9, nextval('effect_epoch'), $9, 1, 0, '', $10, $11, $12) RETURNING epoch`,
		pgArgs([]any{e.ID, e.Tenant, e.CaseID, e.Effect.ID, string(e.Effect.Kind), e.Effect.Action, e.Effect.N, nanos(e.NotBefore), r.until, e.Door, e.Trace, nanos(u.Case.At)})...).
		QueryRow(func(row pgx.Row) error {
			l := record.Lease{Row: e, Attempt: 1, Until: instant(r.until)}
			l.Row.NotBefore = utc(e.NotBefore)
			err := row.Scan(&l.Epoch)
			r.leases = append(r.leases, l)
			return err
		})
	return true
}

// rideColumns are effectColumns of e.
const rideColumns = "e.id, e.tenant, e.case_id, e.effect_id, e.kind, e.action, e.n, e.object, e.not_before, e.epoch, e.lease_until, e.next_at, e.attempt, e.last_error, e.door, e.trace, e.dead_since"

// rideAlong queues the lease of effects of cases that were there before.
func (w *writer) rideAlong(l *pgLink) {
	r := w.riding
	if r == nil || len(r.cases) == 0 {
		return
	}
	l.drain()
	l.queue.Queue(`WITH first AS (
			SELECT DISTINCT ON (e.case_id) e.id, e.object, e.next_at FROM effect e WHERE e.case_id = ANY($1) AND e.dropped = 0 AND e.next_at <= $2
			AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.case_id = e.case_id AND o.lease_until > 0)
			ORDER BY e.case_id, e.next_at, e.id),
		free AS (
			SELECT DISTINCT ON (CASE f.object WHEN '' THEN f.id ELSE f.object END) f.id FROM first f WHERE f.object = '' OR f.object = ANY($3)
			AND NOT EXISTS (SELECT 1 FROM effect o WHERE o.object = f.object AND o.object <> '' AND o.lease_until > 0)
			ORDER BY CASE f.object WHEN '' THEN f.id ELSE f.object END, f.next_at, f.id)
		UPDATE effect AS e SET epoch = nextval('effect_epoch'), attempt = e.attempt + 1, lease_until = $4, next_at = $4
			FROM free WHERE e.id = free.id AND e.dropped = 0 AND e.lease_until = 0 RETURNING `+rideColumns,
		r.cases, r.now, r.objects, r.until).
		Query(func(rows pgx.Rows) error {
			return l.collect(rows, func(row scanner) error {
				e, err := scanEffect(row)
				r.leases = append(r.leases, record.Lease{Row: e.EffectRow, Epoch: e.Epoch, Attempt: e.Attempt, Until: e.LeaseUntil})
				return err
			})
		})
}
