package store

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/record"
)

// ahead is what a transaction read for all of its units at once, instead of
// waiting for an answer in each of them. A case is read again when a second
// unit writes it.
type ahead struct {
	cases  map[string]*stored // nil for a case that is not there
	leases map[string]uint64  // the epoch in force; 0 for none
	known  map[uidKey]record.Known
	// sent are the couriers that went off for its effects.
	sent sent
}

// takeCase returns the case as read ahead, nil if it is not there, and whether
// it was read. It can be taken once.
func (a *ahead) takeCase(id string) (*stored, bool) {
	s, ok := a.cases[id]
	delete(a.cases, id)
	return s, ok
}

// lease returns the epoch in force of the effect whose outcome u is.
func (a *ahead) lease(u *unit) (uint64, bool) {
	if _, untouched := a.cases[u.Case.ID]; !untouched {
		return 0, false
	}
	epoch, ok := a.leases[u.Done.Row.ID]
	return epoch, ok
}

// readAhead reads and locks, in one order for all processes, what the units of
// a group will change.
func (l *pgLink) readAhead(batch []*request) (ahead, error) {
	var out ahead
	var cases, leases []string
	var asks []uidKey
	for _, r := range batch {
		asks = append(asks, r.asks...)
		for _, u := range slices.Concat(r.units...) {
			cases = append(cases, pgText(u.Case.ID))
			if u.Done != nil && !u.Hold {
				leases = append(leases, pgText(u.Done.Row.ID))
			}
		}
	}
	if len(cases) < 2 && len(asks) == 0 { // one waits for one answer anyway
		return out, nil
	}
	out = ahead{cases: make(map[string]*stored, len(cases)), leases: make(map[string]uint64, len(leases)), known: make(map[uidKey]record.Known, len(asks))}
	for _, id := range cases {
		out.cases[id] = nil // missing, unless it is found
	}
	for _, id := range leases {
		out.leases[id] = 0
	}
	b := l.queue
	l.queue = pgx.Batch{}
	if len(leases) > 0 {
		b.Queue("SELECT id, epoch FROM effect WHERE id = ANY($1) AND lease_until > 0 AND dropped = 0 ORDER BY id FOR UPDATE", distinct(leases)).Query(func(rows pgx.Rows) error {
			return l.collect(rows, func(row scanner) error {
				var id string
				var epoch uint64
				err := row.Scan(&id, &epoch)
				out.leases[id] = epoch
				return err
			})
		})
	}
	if len(asks) > 0 {
		for _, key := range asks {
			out.known[key] = record.Known{}
		}
		tenants, uids := columns(asks)
		b.Queue(dialect(pgKnownText), tenants, uids).Query(func(rows pgx.Rows) error {
			return l.collect(rows, func(row scanner) error {
				i, k, err := scanKnown(row)
				if err == nil {
					out.known[asks[i]] = k
				}
				return err
			})
		})
	}
	if len(cases) == 0 {
		return out, l.tx.SendBatch(l.context(), &b).Close()
	}
	b.Queue("SELECT id, "+storedColumns+" FROM case_state WHERE id = ANY($1) ORDER BY id FOR UPDATE", distinct(cases)).Query(func(rows pgx.Rows) error {
		return l.collect(rows, func(row scanner) error {
			var id string
			var head []byte
			s := &stored{}
			err := row.Scan(append([]any{&id}, s.dest(&head)...)...)
			copy(s.head[:], head)
			out.cases[id] = s
			return err
		})
	})
	err := l.tx.SendBatch(l.context(), &b).Close()
	return out, err
}

func (l *pgLink) collect(rows pgx.Rows, f func(scanner) error) error {
	for rows.Next() {
		if err := f(pgRow{rows}); err != nil {
			return err
		}
	}
	return rows.Err()
}

// distinct sorts and drops doubles.
func distinct(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
