package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// A case is what its events make of it, so its state need not be written with each
// step. Where a store is alone on its database it is written when the version
// passes a multiple of stateEvery and while the case is closed; between, it is
// behind the row, or empty, and a reader applies the events that came since.
const stateEvery = 16

// wantsState reports whether the state is written with a unit in any case.
func wantsState(u record.Unit) bool {
	return u.Before/stateEvery != u.Case.Version/stateEvery || !u.Case.Open()
}

// orNone is the column of a state that may not be written.
func orNone(state []byte) []byte {
	if state == nil {
		return []byte{}
	}
	return state
}

// storedCase is a case as it was read.
type storedCase struct {
	id, tenant string
	version    uint64
	state      []byte
	since      []StoredEvent // what came since, or more; not decoded
}

const storedCaseColumns = "id, tenant, version, state"

func (s *storedCase) dest() []any { return []any{&s.id, &s.tenant, &s.version, &s.state} }

// snapshot decodes the state that is stored, the zero case if none is.
func (s *storedCase) snapshot() (c remedy.Case, err error) {
	if len(s.state) > 0 {
		if err = json.Unmarshal(s.state, &c); err != nil {
			err = fmt.Errorf("stored state of case %s: %w", s.id, err)
		}
	}
	return c, err
}

// after is the number of the last event that the stored state certainly holds.
func (s *storedCase) after() uint64 { return s.version / stateEvery * stateEvery }

// readSince reads what may have come since the state.
func (s *storedCase) readSince(each eachFunc) (err error) {
	s.since, err = streamRows(each, eventsText("-1", "event"), s.tenant, CaseStream(s.id), s.after(), -1)
	return err
}

// whole returns the case; the events that are missing are read with each.
func (s *storedCase) whole(each eachFunc) (remedy.Case, error) {
	c, err := s.snapshot()
	if err != nil || c.Version >= s.version {
		return c, err
	}
	if s.since == nil {
		if err := s.readSince(each); err != nil {
			return c, err
		}
	}
	return applied(c, s.since)
}

// applied applies those of the events that the case does not hold yet.
func applied(c remedy.Case, events []StoredEvent) (remedy.Case, error) {
	for i := range events {
		e := &events[i]
		if e.Seq <= c.Version {
			continue
		}
		if err := e.decode(); err != nil {
			return c, err
		}
		c = remedy.Apply(c, remedy.Event{At: e.At, By: e.By, Body: e.Decoded})
	}
	return c, nil
}

// byID compares the tenant so that no index that begins with it fits: a page is
// read in the order of ids, and not sorted out of all cases of the tenant.
const byID = "tenant || '' = ? AND "

// States returns up to n cases of a tenant after an id ("" for the beginning), in
// the order of their ids: those that are open, and those that closed at or after
// since, or all with a zero since.
func (s *tables) States(ctx context.Context, tenant string, since time.Time, after string, n int) ([]remedy.Case, error) {
	var rows []storedCase
	each := s.eachOf(ctx)
	err := each(func(row scanner) error {
		var c storedCase
		err := row.Scan(c.dest()...)
		rows = append(rows, c)
		return err
	}, "SELECT "+storedCaseColumns+" FROM case_state WHERE "+byID+"id > ? AND (open = ? OR closed_at >= ?) ORDER BY id LIMIT ?", tenant, after, true, nanos(since), n)
	list := make([]remedy.Case, len(rows))
	for i := 0; i < len(rows) && err == nil; i++ {
		list[i], err = rows[i].whole(each)
	}
	if err != nil {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	return list, nil
}
