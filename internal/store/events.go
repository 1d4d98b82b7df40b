package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// eventsText begins a read of events: the position, the place in the tree, the
// event.
func (s *tables) eventsText() string {
	place, from, _ := s.db.ledgerText()
	return eventsText(place, from)
}

func eventsText(place, from string) string {
	return "SELECT pos, " + place + ", tenant, stream, seq, type, schema, at, by, body, prev, hash FROM " + from + " "
}

// eventRows is how many events one statement writes at most: a new case begins
// with about five.
const eventRows = 8

// append writes records after number seq of a stream, whose hash is head, and
// returns the new head.
func (w *writer) append(tenant, stream string, seq uint64, head [32]byte, records []row) ([32]byte, error) {
	if _, ok := w.link.(*pgLink); ok {
		for _, r := range records {
			seq++
			prev, hash := head, r.chained(head, tenant, stream, seq).Hash
			err := w.rows(rowEvent, "", tenant, stream, seq, r.typ, r.schema, nanos(r.at), r.by, r.body, prev[:], hash[:])
			if err != nil {
				return head, eventConflict(stream, seq, err)
			}
			head = hash
		}
		return head, nil
	}
	for part := range slices.Chunk(records, eventRows) {
		args := make([]any, 0, 10*len(part))
		for _, r := range part {
			seq++
			prev, hash := head, r.chained(head, tenant, stream, seq).Hash
			args = append(args, tenant, stream, seq, r.typ, r.schema, nanos(r.at), r.by, r.body, prev[:], hash[:])
			head = hash
		}
		err := w.send("INSERT INTO event (tenant, stream, seq, type, schema, at, by, body, prev, hash) VALUES "+
			strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ", len(part)-1)+"(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", args...)
		if err != nil {
			return head, eventConflict(stream, seq, err)
		}
	}
	return head, nil
}

func eventConflict(stream string, seq uint64, err error) error {
	if isUnique(err) {
		return fmt.Errorf("%s has an event %d already: %w", stream, seq, record.ErrConflict)
	}
	return err
}

// checkStream refuses stream events that make no sense or would forge a case.
func checkStream(e StreamEvent) error {
	switch {
	case e.Tenant == "" || e.Stream == "" || e.Type == "" || e.Schema < 1 || e.At.IsZero():
		return fmt.Errorf("%w event: tenant, stream, type, schema and time are needed (%q, %q, %q, %d)", ErrInvalid, e.Tenant, e.Stream, e.Type, e.Schema)
	case strings.HasPrefix(e.Stream, CaseStream("")):
		return fmt.Errorf("%w event: stream %q belongs to a case and is written by Commit", ErrInvalid, e.Stream)
	}
	return nil
}

// AppendEvent appends an event to a stream that is not a case and returns its
// number in the stream.
func (s *tables) AppendEvent(ctx context.Context, e StreamEvent) (uint64, error) {
	if err := checkStream(e); err != nil {
		return 0, err
	}
	var seq uint64
	err := s.db.put(ctx, func(w *writer) (err error) {
		seq, err = w.appendEvent(e)
		return err
	})
	return seq, err
}

func (w *writer) appendEvent(e StreamEvent) (uint64, error) {
	if err := w.lock("stream/"+e.Tenant+"/"+e.Stream, false); err != nil {
		return 0, err
	}
	var seq uint64
	var raw []byte
	var head [32]byte
	err := w.get([]any{&seq, &raw}, "SELECT seq, hash FROM event WHERE tenant = ? AND stream = ? ORDER BY seq DESC LIMIT 1", e.Tenant, e.Stream)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	copy(head[:], raw)
	body := e.Body
	if body == nil {
		body = []byte{}
	}
	_, err = w.append(e.Tenant, e.Stream, seq, head, []row{{e.Type, e.Schema, e.At, actorText(e.By), body}})
	return seq + 1, err
}

func scanEvent(row scanner) (StoredEvent, error) {
	var e StoredEvent
	var pos, at int64
	var by string
	var prev, hash []byte
	if err := row.Scan(&pos, &e.TreeIndex, &e.Tenant, &e.Stream, &e.Seq, &e.Type, &e.Schema, &at, &by, &e.Body, &prev, &hash); err != nil {
		return e, err
	}
	e.At = instant(at)
	copy(e.Prev[:], prev)
	copy(e.Hash[:], hash)
	var err error
	e.By, err = parseActor(by)
	return e, err
}

// decode reads the body of a case event.
func (e *StoredEvent) decode() error {
	if !strings.HasPrefix(e.Stream, CaseStream("")) {
		return nil
	}
	var err error
	if e.Decoded, err = remedy.DecodeBody(e.Type, e.Schema, e.Body); err != nil {
		return fmt.Errorf("event %d of %s: %w", e.Seq, e.Stream, err)
	}
	return nil
}

// Events returns the history of a case, oldest first, with decoded bodies.
func (s *tables) Events(ctx context.Context, tenant, caseID string) ([]StoredEvent, error) {
	return s.Stream(ctx, tenant, CaseStream(caseID), 0, -1)
}

// limit is the LIMIT of a number that may be negative for "all".
func limit(n int) int64 {
	if n < 0 {
		return math.MaxInt64
	}
	return int64(n)
}

// Stream returns up to n events of a stream after number seq, oldest first; a
// negative n returns all.
func (s *tables) Stream(ctx context.Context, tenant, stream string, seq uint64, n int) ([]StoredEvent, error) {
	return s.stream(s.eachOf(ctx), tenant, stream, seq, n)
}

func (s *tables) stream(each eachFunc, tenant, stream string, seq uint64, n int) ([]StoredEvent, error) {
	list, err := streamRows(each, s.eventsText(), tenant, stream, seq, n)
	for i := 0; i < len(list) && err == nil; i++ {
		err = list[i].decode()
	}
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	return list, nil
}

// eachFunc calls f for every row of a read.
type eachFunc func(f func(scanner) error, text string, args ...any) error

func (s *tables) eachOf(ctx context.Context) eachFunc {
	return func(f func(scanner) error, text string, args ...any) error { return s.db.each(ctx, f, text, args...) }
}

// streamRows reads events of a stream after number seq and does not decode them;
// text is how a read of events begins.
func streamRows(each eachFunc, text, tenant, stream string, seq uint64, n int) ([]StoredEvent, error) {
	list := []StoredEvent{}
	err := each(func(row scanner) error {
		e, err := scanEvent(row)
		list = append(list, e)
		return err
	}, text+"WHERE tenant = ? AND stream = ? AND seq > ? ORDER BY seq LIMIT ?", tenant, stream, seq, limit(n))
	return list, err
}

// EventsSince returns up to n events of all streams in the order of their
// commit, after position pos (0 for the beginning), and the position reached:
// what pages, numbers and backtests follow.
func (s *SQLite) EventsSince(ctx context.Context, pos int64, n int) ([]StoredEvent, int64, error) {
	var list []StoredEvent
	err := s.db.each(ctx, func(row scanner) error {
		e, err := scanEvent(row)
		if err != nil {
			return err
		}
		list = append(list, e)
		return list[len(list)-1].decode()
	}, s.eventsText()+"WHERE pos > ? ORDER BY pos LIMIT ?", pos, n)
	if err != nil {
		return nil, pos, fmt.Errorf("read events: %w", err)
	}
	return list, pos + int64(len(list)), nil
}
