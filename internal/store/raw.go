package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// RawStats says how much the raw records that are kept as evidence take.
type RawStats struct {
	Records int `json:"records"`
	// Size of the redacted records in bytes, Stored what they take compressed and
	// sealed.
	Size   int64 `json:"bytes"`
	Stored int64 `json:"stored_bytes"`
	// Oldest is when the record that was news longest ago was, zero for none.
	Oldest time.Time `json:"oldest,omitzero"`
}

// RawPrune asks for one batch of raw records to be removed.
type RawPrune struct {
	// Before bounds the age: of the record, and of the end of every case that it
	// is evidence of.
	Before time.Time
	// After is the cursor of the batch before, zero for the beginning.
	After RawCursor
	// Look is the number of records that are looked at, at most.
	Look int
	// Stored ends the batch once it has freed as many bytes; 0 is no bound.
	Stored int64
	// Dry only counts.
	Dry bool
}

// RawCursor is a place in the order of raw records, oldest first.
type RawCursor struct{ at, id int64 }

// RawPruned is what became of a batch.
type RawPruned struct {
	Records int
	Stored  int64
	// Next is the cursor for the next batch; Done says that there is none.
	Next RawCursor
	Done bool
}

// prepareRaws checks and decodes the hashes of the raw records.
func (p *unit) prepareRaws() error {
	for _, r := range p.Raws {
		h, err := hex.DecodeString(r.Hash)
		if err != nil || len(h) != sha256.Size || r.UID == "" || len(r.Body) == 0 {
			return fmt.Errorf("%w unit of case %s: raw record %q of finding %q", ErrInvalid, p.Case.ID, r.Hash, r.UID)
		}
		p.rawHashes = append(p.rawHashes, h)
	}
	return nil
}

const rawAgain = " ON CONFLICT (hash, tenant) DO UPDATE SET at = CASE WHEN raw.at < excluded.at THEN excluded.at ELSE raw.at END"

// raws stores raw records that are not stored yet, and whose they are. One that
// is there is touched: who prunes it at the same time looks again.
func (w *writer) raws(u *unit) error {
	at := nanos(u.Case.At)
	for i, r := range u.Raws {
		tenant, hash := u.Case.Tenant, u.rawHashes[i]
		err := w.shareRows(sharedRaw, tenant, r.Hash, rowRaw, "INSERT INTO raw (tenant, hash, uid, at, size, stored, body) VALUES (?, ?, ?, ?, ?, ?, ?)"+rawAgain, tenant, hash, r.UID, at, r.Size, len(r.Body), r.Body)
		if err != nil {
			return err
		}
		if _, ok := w.link.(*pgLink); ok {
			err = w.shareRows(sharedRawUse, tenant, r.Hash, rowRawUse, "", tenant, hash, r.UID)
		} else {
			err = w.send("INSERT INTO raw_use (tenant, raw, uid) SELECT r.tenant, r.id, CAST(? AS TEXT) FROM raw r WHERE r.hash = ? AND r.tenant = ? AND r.uid <> ? ON CONFLICT DO NOTHING", r.UID, hash, tenant, r.UID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Raw returns a raw record by its hash, as it was committed; UID is the first
// finding it spoke of. ErrNotFound if it was never kept, or pruned.
func (s *tables) Raw(ctx context.Context, tenant, hash string) (record.Raw, error) {
	r := record.Raw{Hash: hash}
	h, err := hex.DecodeString(hash)
	if err == nil {
		err = quick(ctx, s.db, []any{&r.UID, &r.Size, &r.Body}, "SELECT uid, size, body FROM raw WHERE hash = ? AND tenant = ?", h, tenant)
	} else {
		err = sql.ErrNoRows
	}
	if err != nil {
		return record.Raw{}, notFound(err, "raw record", hash)
	}
	return r, nil
}

// RawStats counts the raw records of all tenants. It reads an index of all of
// them: ask it seldom.
func (s *tables) RawStats(ctx context.Context) (RawStats, error) {
	var r RawStats
	var oldest int64
	err := s.db.one(ctx, []any{&r.Records, &r.Size, &r.Stored, &oldest}, "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(stored), 0), coalesce(min(at), 0) FROM raw")
	if err != nil {
		return r, fmt.Errorf("count raw records: %w", err)
	}
	r.Oldest = instant(oldest)
	return r, nil
}

// rawKept holds for a raw record r that stays, at the given bound: a finding of
// it is in a case that is not settled, or was not before the bound, or in which
// something was intended; what justified a change is kept like the ledger. A
// case that took in others counts as one of these.
const rawKept = `EXISTS (SELECT 1 FROM (SELECT r.uid AS uid UNION ALL SELECT o.uid FROM raw_use o WHERE o.raw = r.id) q
	JOIN finding f ON f.tenant = r.tenant AND f.uid = q.uid JOIN case_state c ON c.id = f.case_id
	WHERE c.word <> ? OR c.closed_at >= ? OR EXISTS (SELECT 1 FROM event e WHERE e.tenant = c.tenant AND e.stream = 'case/' || c.id AND e.type IN (?, ?)))`

func rawKeptArgs(before time.Time) []any {
	return []any{string(remedy.StateSettled), nanos(before), remedy.Intended{}.Type(), remedy.Absorbed{}.Type()}
}

// PruneRaw removes one batch of raw records that are older than p.Before and
// that no case needs; the events that name their hashes stay.
func (s *tables) PruneRaw(ctx context.Context, p RawPrune) (RawPruned, error) {
	out := RawPruned{Next: p.After}
	type candidate struct {
		id, stored int64
		hash       []byte
	}
	var list []candidate
	n, full := 0, false
	args := append([]any{nanos(p.Before), p.After.at, p.After.at, p.After.id, p.Look}, rawKeptArgs(p.Before)...)
	err := s.db.each(ctx, func(row scanner) error {
		var c candidate
		var at, kept int64
		if err := row.Scan(&c.id, &c.hash, &at, &c.stored, &kept); err != nil {
			return err
		}
		n++
		if full = full || p.Stored > 0 && out.Stored >= p.Stored; full {
			return nil
		}
		out.Next = RawCursor{at, c.id}
		if kept == 0 {
			list = append(list, c)
			out.Records++
			out.Stored += c.stored
		}
		return nil
	}, `WITH r AS (SELECT id, hash, tenant, uid, at, stored FROM raw WHERE at < ? AND (at > ? OR at = ? AND id > ?) ORDER BY at, id LIMIT ?)
		SELECT r.id, r.hash, r.at, r.stored, CASE WHEN `+rawKept+` THEN 1 ELSE 0 END FROM r ORDER BY r.at, r.id`, args...)
	if err != nil {
		return out, fmt.Errorf("look for raw records to prune: %w", err)
	}
	out.Done = n < p.Look && !full
	if p.Dry || len(list) == 0 {
		return out, nil
	}
	out.Records, out.Stored = 0, 0
	slices.SortFunc(list, func(a, b candidate) int { return bytes.Compare(a.hash, b.hash) }) // as commits lock them
	err = s.db.put(ctx, func(w *writer) error {
		out.Records, out.Stored = 0, 0 // the transaction may be done again
		for _, c := range list {
			gone, err := w.exec("DELETE FROM raw AS r WHERE r.id = ? AND r.at < ? AND NOT "+rawKept, append([]any{c.id, nanos(p.Before)}, rawKeptArgs(p.Before)...)...)
			if err != nil {
				return err
			}
			if gone == 0 {
				continue // it is news again
			}
			if _, err := w.exec("DELETE FROM raw_use WHERE raw = ?", c.id); err != nil {
				return err
			}
			out.Records++
			out.Stored += c.stored
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("prune raw records: %w", err)
	}
	return out, nil
}
