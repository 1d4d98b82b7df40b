package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/casement/casement/internal/record"
)

// Commit stores units and sightings (engine.Store). A sighting of a finding
// that is unknown, or whose case is no longer quiet, is ErrConflict of the
// whole commit: what was thought to be a repeat has to be looked at anew.
func (s *SQLite) Commit(ctx context.Context, units []record.Unit, seen []record.Sighting) ([]error, error) {
	return commitTo(ctx, &s.group, units, seen, false)
}

// Commit stores units and sightings (engine.Store); see SQLite.Commit.
func (s *Postgres) Commit(ctx context.Context, units []record.Unit, seen []record.Sighting) ([]error, error) {
	return commitTo(ctx, &s.group, units, seen, true)
}

// commitTo stores through g, with the whole state of each case or when it is due.
func commitTo(ctx context.Context, g *group, units []record.Unit, seen []record.Sighting, whole bool) ([]error, error) {
	errs := make([]error, len(units))
	r := request{}
	at := make([][]int, 0, len(units)) // part i is the units at[i]
	for _, which := range together(units) {
		ready, err := prepareAll(units, which, whole)
		if err != nil {
			for _, i := range which {
				errs[i] = err
			}
			continue
		}
		at = append(at, which)
		r.units = append(r.units, ready)
		r.parts = append(r.parts, func(w *writer) error {
			for _, u := range ready {
				if err := w.unit(u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if len(seen) > 0 {
		r.asks = uidsOf(seen)
		r.tail = func(w *writer) error { return w.sightings(seen) }
	}
	if r.size() == 0 {
		return errs, nil
	}
	if err := g.do(ctx, &r); err != nil {
		return errs, err
	}
	for i, err := range r.errs {
		for _, k := range at[i] {
			errs[k] = err
		}
	}
	return errs, nil
}

// together returns the indexes of units that are stored all or none, in the
// order of the first of each.
func together(units []record.Unit) [][]int {
	out := make([][]int, 0, len(units))
	var named map[string]int
	for i := range units {
		name := units[i].Together
		k, ok := named[name]
		switch {
		case name == "":
			out = append(out, []int{i})
		case ok:
			out[k] = append(out[k], i)
		default:
			if named == nil {
				named = map[string]int{}
			}
			named[name] = len(out)
			out = append(out, []int{i})
		}
	}
	return out
}

// prepareAll prepares the units at which, or fails with the first fault.
func prepareAll(units []record.Unit, which []int, whole bool) ([]*unit, error) {
	out := make([]*unit, len(which))
	for n, i := range which {
		u, err := prepare(units[i], whole)
		if err != nil {
			return nil, err
		}
		out[n] = &u
	}
	return out, nil
}

// unit writes one unit. Order matters: whether the unit may be stored at all is
// settled first (lease, version, kill switch, budget), then it is written.
func (w *writer) unit(u *unit) error {
	w.txn.wrote(u)
	if u.Done != nil {
		if err := w.settleLease(u); err != nil {
			return err
		}
	}
	head, before, err := w.head(u)
	if err != nil {
		return err
	}
	if err := w.paused(u); err != nil {
		return err
	}
	if err := w.reserve(u); err != nil {
		return err
	}
	if head, err = w.append(u.Case.Tenant, CaseStream(u.Case.ID), u.Before, head, u.records); err != nil {
		return err
	}
	if err := w.caseState(u, before, head); err != nil {
		return err
	}
	if err := w.keys(u, before); err != nil {
		return err
	}
	if err := w.findings(u); err != nil {
		return err
	}
	if err := w.moves(u); err != nil {
		return err
	}
	if err := w.raws(u); err != nil {
		return err
	}
	if err := w.effects(u); err != nil {
		return err
	}
	w.riding.stepped(u)
	return w.attachments(u)
}

// projection is what of a stored case decides how it is updated.
type projection struct {
	open               bool
	word, owner, class string
	urgency, wake      int64
}

// stored is a case as a transaction finds it.
type stored struct {
	tenant  string
	version uint64
	head    [32]byte
	projection
}

const storedColumns = "tenant, version, head, open, word, owner, class, urgency, wake_at"

func (s *stored) dest(head *[]byte) []any {
	return []any{&s.tenant, &s.version, head, &s.open, &s.word, &s.owner, &s.class, &s.urgency, &s.wake}
}

// head returns the newest hash of the case's stream and its projection, or
// ErrConflict if the case is not at the version the unit was made for.
func (w *writer) head(u *unit) ([32]byte, *projection, error) {
	s, known := w.ahead.takeCase(u.Case.ID)
	if !known && u.Before == 0 && w.memory != nil && len(u.PauseScopes)+len(u.Reserve) == 0 {
		// Nothing of the unit is refused for another reason before the indexes
		// refuse it for this one.
		return [32]byte{}, nil, nil
	}
	if !known {
		var head []byte
		s = &stored{}
		err := w.get(s.dest(&head), "SELECT "+storedColumns+" FROM case_state WHERE id = ?"+w.rowLock(), u.Case.ID)
		if errors.Is(err, sql.ErrNoRows) {
			s, err = nil, nil
		}
		if err != nil {
			return [32]byte{}, nil, err
		}
		if s != nil {
			copy(s.head[:], head)
		}
	}
	if s != nil && s.tenant != u.Case.Tenant {
		s = nil
	}
	switch {
	case s == nil && u.Before == 0:
		return [32]byte{}, nil, nil
	case s == nil:
		return [32]byte{}, nil, fmt.Errorf("case %s: %w", u.Case.ID, record.ErrConflict)
	case s.version != u.Before:
		return [32]byte{}, nil, fmt.Errorf("case %s is at version %d, not %d: %w", u.Case.ID, s.version, u.Before, record.ErrConflict)
	}
	return s.head, &s.projection, nil
}

// caseState writes the case and counts it.
func (w *writer) caseState(u *unit, before *projection, head [32]byte) error {
	r := u.row
	if before == nil {
		err := w.rows(rowCase, "INSERT INTO case_state ("+caseColumns+", tenant, created_at) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
			append(u.columns(head[:]), r.Tenant, nanos(u.created))...)
		if isUnique(err) {
			return fmt.Errorf("case %s exists in another tenant: %w", r.ID, record.ErrConflict)
		}
		if err != nil {
			return err
		}
		return w.count(r.Tenant, r.State, 1)
	}
	if _, ok := w.link.(*pgLink); ok { // it sees by itself which columns change
		if err := w.rows(rowStep, "", u.columns(head[:])...); err != nil {
			return err
		}
		return w.countMove(r.Tenant, before.word, r.State)
	}
	// Columns of indexes are written only when they change: SQLite would move
	// the index entries even for equal values.
	set, args := "", []any{u.Case.Version, head[:], r.Open, u.quiet, r.Title, string(r.Domain), string(r.Path),
		int(u.risk), int(r.Severity), r.Asset, r.Environment, r.Bottleneck.Kind, r.Bottleneck.Who, nanos(r.Bottleneck.Since), nanos(r.NextDue), nanos(r.FixDue),
		nanos(r.OpenedAt), nanos(r.ClosedAt), string(r.How), nanos(r.UpdatedAt)}
	if u.state != nil {
		set, args = ", state = ?", append(args, u.state)
	}
	err := w.send(`UPDATE case_state SET version = ?, head = ?, open = ?, quiet = ?, title = ?, domain = ?, path = ?,
		risk = ?, severity = ?, asset = ?, environment = ?, waits_for = ?, waits_who = ?, waits_since = ?, next_due = ?, fix_due = ?,
		opened_at = ?, closed_at = ?, how = ?, updated_at = ?`+set+` WHERE id = ?`, append(args, r.ID)...)
	if err != nil {
		return err
	}
	if wake := nanos(r.WakeAt); wake != before.wake {
		if err := w.send("UPDATE case_state SET wake_at = ? WHERE id = ?", wake, r.ID); err != nil {
			return err
		}
	}
	if r.State != before.word || r.Owner != before.owner || string(r.Class) != before.class || u.urgency != before.urgency {
		if err := w.send("UPDATE case_state SET word = ?, owner = ?, class = ?, urgency = ? WHERE id = ?", r.State, r.Owner, string(r.Class), u.urgency, r.ID); err != nil {
			return err
		}
	}
	return w.countMove(r.Tenant, before.word, r.State)
}

// columns are the values of caseColumns.
func (u *unit) columns(head []byte) []any {
	r := &u.row
	return []any{r.ID, u.Case.Version, head, orNone(u.state), r.Open, u.quiet, r.State, r.Title, string(r.Class), string(r.Domain), string(r.Path),
		int(u.risk), int(r.Severity), r.Owner, r.Asset, r.Environment, r.Bottleneck.Kind, r.Bottleneck.Who, nanos(r.Bottleneck.Since),
		nanos(r.NextDue), nanos(r.FixDue), nanos(r.OpenedAt), nanos(r.ClosedAt), string(r.How), nanos(r.UpdatedAt), nanos(r.WakeAt), u.urgency}
}

// countMove counts a case that goes from one state to another.
func (w *writer) countMove(tenant, from, to string) error {
	if from == to {
		return nil
	}
	if err := w.count(tenant, from, -1); err != nil {
		return err
	}
	return w.count(tenant, to, 1)
}

// stateWord is a state that cases are counted in.
type stateWord struct{ tenant, word string }

func (w *writer) count(tenant, word string, by int) error {
	if l, ok := w.link.(*pgLink); ok { // summed up by Checkpoint: writers must not wait for a row
		if l.lazy {
			l.counts[stateWord{pgText(tenant), pgText(word)}] += by
			return nil
		}
		return w.rows(rowCount, "", tenant, word, by)
	}
	return w.send("INSERT INTO case_count (tenant, word, n) VALUES (?, ?, ?) ON CONFLICT (tenant, word) DO UPDATE SET n = case_count.n + excluded.n", tenant, word, by)
}

// keys binds and unbinds keys; a key of two open cases is ErrConflict.
func (w *writer) keys(u *unit, before *projection) error {
	c := &u.Case
	for _, k := range u.DropKey {
		if err := w.share(sharedKey, k.Tenant, k.Key, "DELETE FROM case_key WHERE tenant = ? AND key_version = ? AND key = ? AND case_id = ?", k.Tenant, k.Version, k.Key, c.ID); err != nil {
			return err
		}
	}
	if before != nil && before.open != u.row.Open {
		if err := w.share(sharedKey, c.Tenant, c.Key, "UPDATE case_key SET open = ? WHERE case_id = ?", u.row.Open, c.ID); err != nil {
			return keyConflict(c.ID, err)
		}
	}
	for _, k := range u.AddKey {
		if u.Beside != nil {
			if err := w.keyBeside(u, k); err != nil {
				return err
			}
			continue
		}
		err := w.shareRows(sharedKey, k.Tenant, k.Key, rowKey, "INSERT INTO case_key (tenant, key_version, key, case_id, open) VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, key_version, key, case_id) DO NOTHING",
			k.Tenant, k.Version, k.Key, c.ID, u.row.Open)
		if err != nil {
			return keyConflict(c.ID, err)
		}
	}
	return nil
}

// keyBeside binds a key of a new case if it leads to as many others as when the
// case was placed; a NULL that the column does not take says that it does not.
// Where others write at the same time the key is first taken as open: whoever
// else opens it waits, and then counts this one.
func (w *writer) keyBeside(u *unit, k record.CaseKey) error {
	id, n := u.Case.ID, *u.Beside
	var err error
	if w.memory != nil {
		err = w.send(`INSERT INTO case_key (tenant, key_version, key, case_id, open) VALUES (?, ?, ?, ?, CASE WHEN
			(SELECT count(*) FROM case_key WHERE tenant = ? AND key_version = ? AND key = ?) = CAST(? AS BIGINT) THEN CAST(? AS BIGINT) END)`,
			k.Tenant, k.Version, k.Key, id, k.Tenant, k.Version, k.Key, n, u.row.Open)
	} else if err = w.shareRows(sharedKey, k.Tenant, k.Key, rowKeyBeside, "", k.Tenant, k.Version, k.Key, id, true, n); err == nil {
		err = w.shareRows(sharedKeyAgain, k.Tenant, k.Key, rowKeyAgain, "", k.Tenant, k.Version, k.Key, id, u.row.Open, n+1)
	}
	if isNull(err) {
		return besideError(id)
	}
	return keyConflict(id, err)
}

func besideError(id string) error {
	return fmt.Errorf("another case was opened for a key of case %s: %w", id, record.ErrConflict)
}

func keyConflict(id string, err error) error {
	if isUnique(err) || isTrigger(err) {
		return fmt.Errorf("a key of case %s belongs to another open case: %w", id, record.ErrConflict)
	}
	return err
}

const (
	findingNew   = "INSERT INTO finding (tenant, uid, case_id, digest, body, first_seen, last_seen, sightings) VALUES (?, ?, ?, ?, ?, ?, ?, 1)"
	findingAgain = ` ON CONFLICT (tenant, uid) DO UPDATE SET sightings = CASE WHEN finding.case_id = excluded.case_id THEN finding.sightings + 1 ELSE finding.sightings END,
		digest = excluded.digest, body = excluded.body, last_seen = CASE WHEN finding.last_seen < excluded.last_seen THEN excluded.last_seen ELSE finding.last_seen END, case_id = `
	findingHere  = findingAgain + "CASE WHEN finding.case_id = excluded.case_id THEN excluded.case_id END"
	findingMoves = findingAgain + "CASE WHEN finding.case_id IN (excluded.case_id, ?) THEN excluded.case_id END"
)

// findings stores findings whole; a replacement in the same case counts as one
// more sighting. A NULL that the column does not take says that the finding is
// neither here nor where it was when it was placed.
func (w *writer) findings(u *unit) error {
	now := nanos(u.Case.At)
	for _, f := range u.findings {
		var err error
		if f.was == "" || f.was == u.Case.ID {
			err = w.shareRows(sharedFinding, u.Case.Tenant, f.uid, rowFinding, findingNew+findingHere, u.Case.Tenant, f.uid, u.Case.ID, f.digest, f.body, now, now)
		} else {
			err = w.share(sharedFinding, u.Case.Tenant, f.uid, findingNew+findingMoves, u.Case.Tenant, f.uid, u.Case.ID, f.digest, f.body, now, now, f.was)
		}
		if isNull(err) {
			return elsewhereError(u.Case.ID, f.uid)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func elsewhereError(id, uid string) error {
	return fmt.Errorf("finding %s went to another case than %s meanwhile: %w", uid, id, record.ErrConflict)
}

// moves binds findings to the case that another one had.
func (w *writer) moves(u *unit) error {
	u.moved = u.moved[:0] // the transaction may be done again
	if l, ok := w.link.(*pgLink); ok && len(u.MoveFindings) > 0 {
		l.sorted() // they may have come with the same group
	}
	for _, uid := range u.MoveFindings {
		f := preparedFinding{uid: uid}
		err := w.get([]any{&f.digest}, "UPDATE finding SET case_id = ? WHERE tenant = ? AND uid = ? RETURNING digest", u.Case.ID, u.Case.Tenant, uid)
		if errors.Is(err, sql.ErrNoRows) {
			return unknownFinding(u.Case.ID, uid)
		}
		if err != nil {
			return err
		}
		u.moved = append(u.moved, f)
	}
	return nil
}

func unknownFinding(id, uid string) error {
	return fmt.Errorf("finding %s, to be moved to case %s, is unknown: %w", uid, id, record.ErrConflict)
}

// paused checks the kill switch.
func (w *writer) paused(u *unit) error {
	if len(u.PauseScopes) == 0 {
		return nil
	}
	// Who throws the switch waits for this transaction, or this one sees it.
	if err := w.lock(lockPauses, true); err != nil {
		return err
	}
	var scope string
	err := w.get([]any{&scope}, "SELECT scope FROM pause WHERE tenant IN ('', ?) AND scope IN (SELECT q.value FROM json_each(?) q) LIMIT 1", u.Case.Tenant, jsonText(u.PauseScopes))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%q: %w", scope, record.ErrPaused)
}

// reserve takes from budgets if there is room.
func (w *writer) reserve(u *unit) error {
	for _, key := range budgetKeys(u.Reserve) {
		if err := w.lock("budget/"+key, false); err != nil {
			return err
		}
	}
	for _, b := range u.Reserve {
		n, err := w.exec(`INSERT INTO budget (tenant, key, at, n) SELECT ?, ?, CAST(? AS BIGINT), CAST(? AS BIGINT) WHERE
			(SELECT coalesce(sum(n), 0) FROM budget WHERE key = ? AND at >= ?) + CAST(? AS BIGINT) <= CAST(? AS BIGINT)`,
			u.Case.Tenant, b.Key, nanos(b.At), b.N, b.Key, nanos(b.From), b.N, b.Limit)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%s: at most %d since %s: %w", b.Key, b.Limit, b.From.UTC().Format(time.RFC3339), record.ErrBudget)
		}
	}
	return nil
}

// budgetKeys are the keys of reservations in one order, so that two who need
// the same ones never wait for each other.
func budgetKeys(list []record.Reservation) []string {
	keys := make([]string, len(list))
	for i, b := range list {
		keys[i] = b.Key
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// attachments stores facts and notes.
func (w *writer) attachments(u *unit) error {
	for hash, body := range u.Facts {
		if err := w.shareRows(sharedFact, u.Case.Tenant, hash, rowFact, "INSERT INTO fact (tenant, hash, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", u.Case.Tenant, hash, body); err != nil {
			return err
		}
	}
	for _, n := range u.Notes {
		if err := w.note(u.Case.Tenant, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) note(tenant string, n record.NoteText) error {
	return w.shareRows(sharedNote, tenant, string(n.Hash), rowNote, "INSERT INTO note (tenant, hash, salt, text) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", tenant, string(n.Hash), n.Salt, n.Text)
}

// jsonText is a list of strings as JSON, for json_each.
func jsonText(list []string) string {
	b, _ := json.Marshal(list) // strings cannot fail
	return string(b)
}
