package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/recent"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Bounds of what is kept in memory beside the database.
const (
	// remembered is the number of findings and cases whose placement is kept.
	remembered = 32 << 10
	// maxPending is the number of findings with repeats not yet counted, above
	// which commits count some of them.
	maxPending = 16 << 10
	// lately is the number of cases, findings and snapshots of facts that are kept
	// whole, for the effects that follow; latelyParts bounds a case, latelyBytes each
	// of the others, as JSON.
	lately, latelyParts, latelyBytes = 512, 16, 16 << 10
	// foldWithCommit is how many a commit counts then, foldAtOnce how many a
	// commit of their own.
	foldWithCommit, foldAtOnce = 256, 2048
)

// uidKey names a finding.
type uidKey struct{ tenant, uid string }

// placed is where a finding is.
type placed struct{ caseID, digest string }

// repeats is what a number of sightings adds to a finding.
type repeats struct {
	n    int
	last int64
}

func (r repeats) plus(x repeats) repeats { return repeats{r.n + x.n, max(r.last, x.last)} }

// memory holds what would be read again and again: where findings are and
// whether their case is quiet, exactly as committed, because this process is
// the only one that writes; and the repeats that are logged but not counted.
type memory struct {
	mu    sync.Mutex
	finds recent.Values[uidKey, placed]
	quiet recent.Values[string, bool]
	// cases, bodies and facts are what was committed lately, nil for what is too
	// large. They are shared: nobody changes a case or a finding in place.
	cases  recent.Values[string, *remedy.Case]
	bodies recent.Values[uidKey, *finding.Finding]
	facts  recent.Values[uidKey, []byte]
	unseen unseen

	// counting guards the repeats; it is held over a commit that counts, so
	// that a reader sees them either in the database or here.
	counting sync.Mutex
	// sealed is being counted, up to position upto of the log; open came later.
	sealed, open map[uidKey]repeats
	upto         int64
	logged       int64
}

func newMemory() *memory {
	return &memory{finds: recent.New[uidKey, placed](remembered), quiet: recent.New[string, bool](remembered),
		cases: recent.New[string, *remedy.Case](lately), bodies: recent.New[uidKey, *finding.Finding](lately), facts: recent.New[uidKey, []byte](lately), unseen: unseen{seed: maphash.MakeSeed()},
		sealed: map[uidKey]repeats{}, open: map[uidKey]repeats{}}
}

// known returns what is remembered of a finding.
func (m *memory) known(k uidKey) (record.Known, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.finds.Get(k)
	if !ok {
		return record.Known{}, false
	}
	quiet, ok := m.quiet.Get(p.caseID)
	return record.Known{CaseID: p.caseID, Digest: p.digest, Quiet: quiet}, ok
}

// learn remembers what was committed.
func (m *memory) learn(t *txn, batch []*request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, x := range t.learned {
		m.finds.Set(k, placed{x.CaseID, x.Digest})
		m.quiet.Set(x.CaseID, x.Quiet)
	}
	for _, r := range batch {
		for i, part := range r.units {
			if r.err != nil || r.errs[i] != nil {
				continue
			}
			for _, u := range part {
				m.quiet.Set(u.Case.ID, u.quiet)
				m.keep(u)
				for _, f := range slices.Concat(u.findings, u.moved) {
					m.finds.Set(uidKey{u.Case.Tenant, f.uid}, placed{u.Case.ID, f.digest})
				}
			}
		}
	}
}

// count adds what was logged at pos. counting is held.
func (m *memory) count(seen []record.Sighting, pos int64) {
	for _, x := range seen {
		k := uidKey{x.Tenant, x.UID}
		m.open[k] = m.open[k].plus(repeats{max(x.Count, 1), nanos(x.At)})
	}
	m.logged = pos
}

// txn is what the transaction under way did.
type txn struct {
	// cases and finds were written in it: what is remembered of them is old.
	cases map[string]bool
	finds map[uidKey]bool
	// learned was read in it and not written.
	learned map[uidKey]record.Known
	seen    []record.Sighting
	// counted are the repeats it counts.
	counted []uidKey
	// due: it called for an effect that can be done at once, or ended one that
	// others of its case may have waited for; ended counts those.
	due   bool
	ended int
}

func (t *txn) wrote(u *unit) {
	if t.cases == nil {
		t.cases, t.finds = map[string]bool{}, map[uidKey]bool{}
	}
	t.cases[u.Case.ID] = true
	for _, f := range u.findings {
		t.finds[uidKey{u.Case.Tenant, f.uid}] = true
	}
	for _, uid := range u.MoveFindings {
		t.finds[uidKey{u.Case.Tenant, uid}] = true
	}
}

// sightings takes repeats into the transaction, or refuses all of them.
func (w *writer) sightings(seen []record.Sighting) error {
	known, err := w.knownOf(uidsOf(seen))
	if err != nil {
		return err
	}
	for i, k := range known {
		if !k.Quiet {
			return fmt.Errorf("finding %s is unknown or its case is no longer quiet: %w", seen[i].UID, record.ErrConflict)
		}
	}
	w.txn.seen = append(w.txn.seen, seen...)
	return nil
}

// knownOf is known for several findings.
func (w *writer) knownOf(keys []uidKey) ([]record.Known, error) {
	if l, ok := w.link.(*pgLink); ok {
		return w.knownTo(l, keys)
	}
	out := make([]record.Known, len(keys))
	for i, key := range keys {
		var err error
		if out[i], err = w.known(key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// known is what the transaction sees of a finding; the zero value if nothing.
func (w *writer) known(key uidKey) (record.Known, error) {
	k, ok := record.Known{}, false
	if w.memory != nil {
		k, ok = w.memory.known(key)
	}
	if ok && !w.txn.finds[key] && !w.txn.cases[k.CaseID] {
		return k, nil
	}
	k = record.Known{}
	err := w.get([]any{&k.CaseID, &k.Digest, &k.Quiet}, knownText, key.tenant, key.uid)
	if errors.Is(err, sql.ErrNoRows) {
		return record.Known{}, nil
	}
	if err == nil && !w.txn.finds[key] && !w.txn.cases[k.CaseID] {
		if w.txn.learned == nil {
			w.txn.learned = map[uidKey]record.Known{}
		}
		w.txn.learned[key] = k
	}
	return k, err
}

// endSightings writes the repeats of the transaction and returns their
// position, 0 if there are none. It counts some when too many wait.
func (w *writer) endSightings() (int64, error) {
	if l, ok := w.link.(*pgLink); ok {
		return 0, w.countNow(l)
	}
	if w.memory.uncounted() > maxPending {
		if err := w.fold(foldWithCommit); err != nil {
			return 0, err
		}
	}
	if len(w.txn.seen) == 0 {
		return 0, nil
	}
	var pos int64
	err := w.get([]any{&pos}, "INSERT INTO sighting_log (body) VALUES (?) RETURNING pos", encodeSightings(w.txn.seen))
	return pos, err
}

// fold counts up to n findings' repeats in the transaction.
func (w *writer) fold(n int) error {
	m := w.memory
	m.counting.Lock()
	if len(m.sealed) == 0 {
		m.sealed, m.open, m.upto = m.open, map[uidKey]repeats{}, m.logged
	}
	upto, last := m.upto, len(m.sealed) <= n
	part := make(map[uidKey]repeats, min(n, len(m.sealed)))
	for k, r := range m.sealed {
		if len(part) == n {
			break
		}
		part[k] = r
	}
	m.counting.Unlock()
	for k, r := range part {
		// A position is counted once, however often a crash makes us begin anew.
		_, err := w.exec(`INSERT INTO sighting (tenant, uid, n, last_seen, upto) VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant, uid) DO UPDATE
			SET n = n + excluded.n, last_seen = max(last_seen, excluded.last_seen), upto = excluded.upto WHERE upto < excluded.upto`,
			k.tenant, k.uid, r.n, r.last, upto)
		if err != nil {
			return err
		}
		w.txn.counted = append(w.txn.counted, k)
	}
	if last && len(part) > 0 {
		if _, err := w.exec("DELETE FROM sighting_log WHERE pos <= ?", upto); err != nil {
			return err
		}
	}
	return nil
}

// uncounted returns how many findings have repeats that are not counted yet.
func (m *memory) uncounted() int {
	m.counting.Lock()
	defer m.counting.Unlock()
	return len(m.sealed) + len(m.open)
}

// CountSightings counts the repeats that are logged so far. Call it every few
// seconds; commits do some of it when it is not called.
func (s *SQLite) CountSightings(ctx context.Context) error {
	for left := s.memory.uncounted(); left > 0; left -= foldAtOnce {
		if err := s.put(ctx, func(w *writer) error { return w.fold(foldAtOnce) }); err != nil {
			return fmt.Errorf("count sightings: %w", err)
		}
	}
	return nil
}

// loadSightings reads the repeats that were logged and not counted before the
// process ended.
func (s *SQLite) loadSightings(ctx context.Context) error {
	m := s.memory
	return s.each(ctx, func(row scanner) error {
		var pos int64
		var body []byte
		if err := row.Scan(&pos, &body); err != nil {
			return err
		}
		seen, err := decodeSightings(body)
		if err != nil {
			return fmt.Errorf("sightings at %d: %w", pos, err)
		}
		left := seen[:0]
		for _, x := range seen {
			upto := int64(0)
			err := s.one(ctx, []any{&upto}, "SELECT upto FROM sighting WHERE tenant = ? AND uid = ?", x.Tenant, x.UID)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if upto < pos {
				left = append(left, x)
			}
		}
		m.count(left, pos)
		return nil
	}, "SELECT pos, body FROM sighting_log ORDER BY pos")
}

// repeatsOf returns the repeats of a finding that are not in the database.
// counting is held.
func (m *memory) repeatsOf(k uidKey) repeats { return m.sealed[k].plus(m.open[k]) }

// encodeSightings: for each, tenant and uid with their lengths, the count, and
// the instant in nanoseconds.
func encodeSightings(seen []record.Sighting) []byte {
	b := make([]byte, 0, 64*len(seen))
	for _, x := range seen {
		b = binary.AppendUvarint(b, uint64(len(x.Tenant)))
		b = append(b, x.Tenant...)
		b = binary.AppendUvarint(b, uint64(len(x.UID)))
		b = append(b, x.UID...)
		b = binary.AppendUvarint(b, uint64(max(x.Count, 1)))
		b = binary.AppendVarint(b, nanos(x.At))
	}
	return b
}

var errSightings = errors.New("the row is damaged")

func decodeSightings(b []byte) ([]record.Sighting, error) {
	text := func() (string, bool) {
		n, size := binary.Uvarint(b)
		if size <= 0 || uint64(len(b)-size) < n {
			return "", false
		}
		s := string(b[size : size+int(n)])
		b = b[size+int(n):]
		return s, true
	}
	var out []record.Sighting
	for len(b) > 0 {
		var x record.Sighting
		var ok1, ok2 bool
		x.Tenant, ok1 = text()
		x.UID, ok2 = text()
		n, size := binary.Uvarint(b)
		if !ok1 || !ok2 || size <= 0 {
			return nil, errSightings
		}
		at, more := binary.Varint(b[size:])
		if more <= 0 {
			return nil, errSightings
		}
		b = b[size+more:]
		x.Count, x.At = int(n), time.Unix(0, at).UTC()
		out = append(out, x)
	}
	return out, nil
}
