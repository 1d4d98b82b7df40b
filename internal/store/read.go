package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// notFound turns "no row" into record.ErrNotFound and names what was looked for.
func notFound(err error, what, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		err = record.ErrNotFound
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, id, err)
}

// Load returns the case (engine.Store).
func (s *tables) Load(ctx context.Context, id string) (remedy.Case, error) {
	var row *storedCase
	err := s.db.reads(ctx, func(q querier) error {
		err := q.each(func(r scanner) error {
			row = &storedCase{}
			return r.Scan(row.dest()...)
		}, "SELECT "+storedCaseColumns+" FROM case_state WHERE id = ?", id)
		if err == nil && row != nil && s.memory != nil {
			err = row.readSince(q.each)
		}
		return err
	})
	if err == nil && row == nil {
		err = sql.ErrNoRows
	}
	if err != nil {
		return remedy.Case{}, notFound(err, "case", id)
	}
	return row.whole(s.eachOf(ctx))
}

// Keys returns the cases bound to keys (engine.Store). A key without a case is
// not in the map.
func (s *tables) Keys(ctx context.Context, keys []record.CaseKey) (map[record.CaseKey][]record.CaseRef, error) {
	out := make(map[record.CaseKey][]record.CaseRef, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	err := s.db.reads(ctx, func(q querier) error {
		for _, k := range keys {
			if _, done := out[k]; done {
				continue
			}
			var refs []record.CaseRef
			err := q.each(func(row scanner) error {
				r, err := scanRef(row)
				refs = append(refs, r)
				return err
			}, `SELECT c.id, c.open, c.closed_at, c.how FROM case_key k CROSS JOIN case_state c ON c.id = k.case_id
				WHERE k.tenant = ? AND k.key_version = ? AND k.key = ? ORDER BY c.created_at DESC, c.id DESC`, k.Tenant, k.Version, k.Key)
			if err != nil {
				return err
			}
			if refs != nil {
				out[k] = refs
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return out, nil
}

// scanRef reads a case of a key, after other columns.
func scanRef(row scanner, before ...any) (record.CaseRef, error) {
	var r record.CaseRef
	var closed int64
	var how string
	err := row.Scan(append(before, &r.ID, &r.Open, &closed, &how)...)
	r.ClosedAt, r.How = instant(closed), remedy.How(how)
	return r, err
}

// Keys returns the cases bound to keys (engine.Store); see tables.Keys.
func (s *SQLite) Keys(ctx context.Context, keys []record.CaseKey) (map[record.CaseKey][]record.CaseRef, error) {
	return s.tables.Keys(ctx, mayBe(s.memory, keys, func(k record.CaseKey) any { return k }))
}

// Known returns what is known of finding uids (engine.Store). An unknown uid
// is not in the map.
func (s *SQLite) Known(ctx context.Context, tenant string, uids []string) (map[string]record.Known, error) {
	out := make(map[string]record.Known, len(uids))
	var missing []string
	for _, uid := range uids {
		if k, ok := s.memory.known(uidKey{tenant, uid}); ok {
			out[uid] = k
		} else {
			missing = append(missing, uid)
		}
	}
	missing = mayBe(s.memory, missing, func(uid string) any { return uidKey{tenant, uid} })
	if len(missing) == 0 {
		return out, nil
	}
	err := s.db.reads(ctx, func(q querier) error {
		for _, uid := range missing {
			err := q.each(func(row scanner) error {
				var k record.Known
				err := row.Scan(&k.CaseID, &k.Digest, &k.Quiet)
				out[uid] = k
				return err
			}, knownText, tenant, uid)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read known findings: %w", err)
	}
	return out, nil
}

// knownText reads what is known of a finding.
const knownText = "SELECT f.case_id, f.digest, c.quiet FROM finding f CROSS JOIN case_state c ON c.id = f.case_id WHERE f.tenant = ? AND f.uid = ?"

// quick reads one row with the reads of all who ask now; sql.ErrNoRows if there
// is none.
func quick(ctx context.Context, db database, dest []any, text string, args ...any) error {
	found := false
	err := db.reads(ctx, func(q querier) error {
		return q.each(func(row scanner) error {
			found = true
			return row.Scan(dest...)
		}, text, args...)
	})
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

// Due returns cases whose wake-up has come, earliest first (engine.Store).
func (s *tables) Due(ctx context.Context, now time.Time, n int) ([]string, error) {
	var ids []string
	err := s.db.each(ctx, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM case_state WHERE wake_at > 0 AND wake_at <= ? ORDER BY wake_at, id LIMIT ?", nanos(now), n)
	if err != nil {
		return nil, fmt.Errorf("read due cases: %w", err)
	}
	return ids, nil
}

// NextDue returns the next instant at which something is due (engine.Store).
func (s *tables) NextDue(ctx context.Context, now time.Time) (time.Time, error) {
	var wake, effect sql.NullInt64
	err := s.db.one(ctx, []any{&wake, &effect}, `SELECT (SELECT min(wake_at) FROM case_state WHERE wake_at > 0 AND wake_at > ?),
		(SELECT min(next_at) FROM effect WHERE next_at > ?)`, nanos(now), nanos(now))
	if err != nil {
		return time.Time{}, fmt.Errorf("read the next due instant: %w", err)
	}
	if effect.Valid && (!wake.Valid || effect.Int64 < wake.Int64) {
		return instant(effect.Int64), nil
	}
	return instant(wake.Int64), nil
}

// Finding returns the stored finding (engine.Store).
func (s *tables) Finding(ctx context.Context, tenant, uid string) (finding.Finding, error) {
	var f finding.Finding
	var body []byte
	if err := quick(ctx, s.db, []any{&body}, "SELECT body FROM finding WHERE tenant = ? AND uid = ?", tenant, uid); err != nil {
		return f, notFound(err, "finding", uid)
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return f, fmt.Errorf("stored finding %s: %w", uid, err)
	}
	return f, nil
}

// Findings returns the findings of a case with their counters, by uid.
func (s *SQLite) Findings(ctx context.Context, caseID string) ([]FindingRow, error) {
	s.memory.counting.Lock()
	defer s.memory.counting.Unlock()
	return s.findings(ctx, caseID, s.memory.repeatsOf)
}

// findings reads those of a case; more are the repeats that are not in the
// database.
func (s *tables) findings(ctx context.Context, caseID string, uncounted func(uidKey) repeats) ([]FindingRow, error) {
	var list []FindingRow
	err := s.db.each(ctx, func(row scanner) error {
		var r FindingRow
		var k uidKey
		var body []byte
		var first, last int64
		if err := row.Scan(&k.tenant, &k.uid, &body, &r.CaseID, &r.Digest, &first, &last, &r.Sightings); err != nil {
			return err
		}
		more := uncounted(k)
		r.Sightings += more.n
		r.FirstSeen, r.LastSeen = instant(first), instant(max(last, more.last))
		list = append(list, r)
		return json.Unmarshal(body, &list[len(list)-1].Finding)
	}, `SELECT f.tenant, f.uid, f.body, f.case_id, f.digest, f.first_seen, CASE WHEN f.last_seen < coalesce(s.last_seen, 0) THEN s.last_seen ELSE f.last_seen END, f.sightings + coalesce(s.n, 0)
		FROM finding f LEFT JOIN sighting s ON s.tenant = f.tenant AND s.uid = f.uid WHERE f.case_id = ? ORDER BY f.uid`, caseID)
	if err != nil {
		return nil, fmt.Errorf("read findings of case %s: %w", caseID, err)
	}
	return list, nil
}

// Fact returns a snapshot of facts by its content address.
func (s *tables) Fact(ctx context.Context, tenant, hash string) ([]byte, error) {
	var b []byte
	err := quick(ctx, s.db, []any{&b}, "SELECT body FROM fact WHERE tenant = ? AND hash = ?", tenant, hash)
	return b, notFound(err, "facts", hash)
}

// Notes returns the free text behind note hashes; an erased note is not in the
// map.
func (s *tables) Notes(ctx context.Context, tenant string, hashes []remedy.Note) (map[remedy.Note]record.NoteText, error) {
	out := map[remedy.Note]record.NoteText{}
	list := make([]string, len(hashes))
	for i, h := range hashes {
		list[i] = string(h)
	}
	err := s.db.each(ctx, func(row scanner) error {
		var n record.NoteText
		err := row.Scan(&n.Hash, &n.Salt, &n.Text)
		out[n.Hash] = n
		return err
	}, "SELECT n.hash, n.salt, n.text FROM json_each(?) q CROSS JOIN note n ON n.tenant = ? AND n.hash = q.value", jsonText(list), tenant)
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	return out, nil
}

// EraseNote removes the text and salt of a note for ever; the ledger, which
// holds only the hash, stays whole.
func (s *tables) EraseNote(ctx context.Context, tenant string, hash remedy.Note) error {
	return s.db.put(ctx, func(w *writer) error {
		n, err := w.exec("DELETE FROM note WHERE tenant = ? AND hash = ?", tenant, string(hash))
		if err == nil && n == 0 {
			err = fmt.Errorf("note %s: %w", hash, record.ErrNotFound)
		}
		return err
	})
}

// Counts returns how many cases of a tenant are in which state.
func (s *tables) Counts(ctx context.Context, tenant string) (map[string]int, error) {
	out := map[string]int{}
	err := s.db.each(ctx, func(row scanner) error {
		var word string
		var n int
		err := row.Scan(&word, &n)
		out[word] = n
		return err
	}, "SELECT word, sum(n) FROM case_count WHERE tenant = ? GROUP BY word HAVING sum(n) > 0", tenant)
	if err != nil {
		return nil, fmt.Errorf("count cases: %w", err)
	}
	return out, nil
}

// ListCases returns up to limit cases that pass the filter, the most urgent
// first: open before closed, by risk class and next duty. cursor is "" or the
// Next of the page before.
func (s *tables) ListCases(ctx context.Context, f CaseFilter, cursor string, limit int) (CasePage, error) {
	urgency, id, err := parseCursor(cursor)
	if err != nil {
		return CasePage{}, err
	}
	text, args := listQuery(f, urgency, id, limit+1)
	var page CasePage
	var keys []string
	err = s.db.each(ctx, func(row scanner) error {
		r, urgency, err := scanCase(row)
		page.Cases = append(page.Cases, r)
		keys = append(keys, cursorOf(urgency, r.ID))
		return err
	}, text, args...)
	if err != nil {
		return CasePage{}, fmt.Errorf("list cases: %w", err)
	}
	if len(page.Cases) > limit {
		page.Cases, page.Next = page.Cases[:limit], keys[limit-1]
	}
	return page, nil
}

// listQuery builds the statement of a filter; there are at most as many texts
// as there are combinations of conditions.
func listQuery(f CaseFilter, urgency int64, id string, limit int) (string, []any) {
	q := `SELECT id, tenant, version, word, open, title, class, domain, path, risk, severity, owner, asset, environment, waits_for, waits_who,
		waits_since, next_due, fix_due, opened_at, closed_at, how, updated_at, wake_at, urgency FROM case_state WHERE tenant = ? AND (urgency, id) > (?, ?)`
	args := []any{f.Tenant, urgency, id}
	for _, c := range []struct{ column, value string }{
		{"word", f.State}, {"class", string(f.Class)}, {"path", string(f.Path)}, {"owner", f.Owner},
	} {
		if c.value != "" {
			q += " AND " + c.column + " = ?"
			args = append(args, c.value)
		}
	}
	if f.Risk != "" {
		q += " AND risk = ?"
		args = append(args, riskNumber(f.Risk))
	}
	if f.Open != finding.Unknown {
		q += " AND open = ?"
		args = append(args, f.Open == finding.Yes)
	}
	if f.Text != "" {
		q += " AND (instr(lower(id), ?) > 0 OR instr(lower(title), ?) > 0 OR instr(lower(asset), ?) > 0)"
		t := asciiLower(f.Text)
		args = append(args, t, t, t)
	}
	return q + " ORDER BY urgency, id LIMIT ?", append(args, limit)
}

func scanCase(row scanner) (CaseRow, int64, error) {
	var r CaseRow
	var risk int
	var severity uint8
	var since, due, fix, opened, closed, updated, wake, urgency int64
	err := row.Scan(&r.ID, &r.Tenant, &r.Version, &r.State, &r.Open, &r.Title, &r.Class, &r.Domain, &r.Path, &risk, &severity, &r.Owner, &r.Asset, &r.Environment,
		&r.Bottleneck.Kind, &r.Bottleneck.Who, &since, &due, &fix, &opened, &closed, &r.How, &updated, &wake, &urgency)
	r.Risk, r.Severity = riskText(risk), finding.Severity(severity)
	r.Bottleneck.Since, r.NextDue, r.FixDue = instant(since), instant(due), instant(fix)
	r.OpenedAt, r.ClosedAt, r.UpdatedAt, r.WakeAt = instant(opened), instant(closed), instant(updated), instant(wake)
	return r, urgency, err
}

// cursorOf names a place in a list.
func cursorOf(urgency int64, id string) string { return strconv.FormatInt(urgency, 36) + "." + id }

// parseCursor reads cursorOf; "" is the beginning.
func parseCursor(s string) (int64, string, error) {
	if s == "" {
		return -1, "", nil
	}
	head, id, ok := strings.Cut(s, ".")
	n, err := strconv.ParseInt(head, 36, 64)
	if !ok || err != nil {
		return 0, "", fmt.Errorf("%w cursor %q: take it from the page before", ErrInvalid, s)
	}
	return n, id, nil
}
