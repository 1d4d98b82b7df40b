package store

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
)

// treeSize is the counter of the events in the ledger's tree.
const treeSize = "tree-size"

// StoredCheckpoint is a checkpoint as it was signed.
type StoredCheckpoint struct {
	ledger.Checkpoint
	// Note is the signed text.
	Note []byte
}

// AuditReport is what VerifyLedger looked at.
type AuditReport struct {
	// Sequenced events are in the tree, Unsequenced are chained only.
	Sequenced   int64       `json:"sequenced"`
	Unsequenced int64       `json:"unsequenced"`
	Streams     int         `json:"streams"`
	Cases       int         `json:"cases"`
	Root        ledger.Hash `json:"root"`
}

// Sequence appends up to n events to the ledger's tree in the order of their
// commit, and returns size and root of the tree after it. It fails with
// record.ErrConflict if the tree was grown by somebody else meanwhile.
func (s *SQLite) Sequence(ctx context.Context, n int) (int64, ledger.Hash, error) {
	var size int64
	var root ledger.Hash
	if err := s.one(ctx, []any{&size}, "SELECT coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '"+treeSize+"'), 0)"); err != nil {
		return 0, root, fmt.Errorf("read the tree: %w", err)
	}
	// The hashes are read and computed outside the writer.
	var hashes []ledger.Hash
	err := s.each(ctx, func(row scanner) error {
		var b []byte
		if err := row.Scan(&b); err != nil {
			return err
		}
		if len(b) != len(ledger.Hash{}) {
			return fmt.Errorf("event %d has a hash of %d bytes", size+int64(len(hashes))+1, len(b))
		}
		hashes = append(hashes, ledger.Hash(b))
		return nil
	}, "SELECT hash FROM event WHERE pos > ? ORDER BY pos LIMIT ?", size, n)
	if err != nil {
		return 0, root, fmt.Errorf("read the tail: %w", err)
	}
	stored, root, err := ledger.Grow(size, hashes, s.nodes(ctx))
	if err != nil || len(hashes) == 0 {
		return size, root, err
	}
	grown := size + int64(len(hashes))
	err = s.put(ctx, func(w *writer) error {
		swapped, err := w.exec("INSERT INTO counter (tenant, name, n) SELECT '', '"+treeSize+"', ? WHERE ? = 0 OR EXISTS (SELECT 1 FROM counter WHERE tenant = '' AND name = '"+treeSize+"') ON CONFLICT DO UPDATE SET n = excluded.n WHERE n = ?", grown, size, size)
		if err != nil {
			return err
		}
		if swapped == 0 {
			return fmt.Errorf("the tree is no longer of size %d: %w", size, record.ErrConflict)
		}
		// The transaction may be done again: what is left is its own.
		base, left := ledger.StoredCount(size), stored
		for len(left) > 0 {
			part := left[:min(len(left), nodesAtOnce)]
			if len(part) < nodesAtOnce {
				part = part[:1] // one statement each for the rest
			}
			args := make([]any, 0, 2*len(part))
			for i, h := range part {
				args = append(args, base+int64(i), h[:])
			}
			if _, err := w.exec("INSERT INTO tree_node (tenant, idx, hash) VALUES ('', ?, ?)"+strings.Repeat(", ('', ?, ?)", len(part)-1), args...); err != nil {
				return err
			}
			base, left = base+int64(len(part)), left[len(part):]
		}
		return nil
	})
	if err != nil {
		return 0, ledger.Hash{}, fmt.Errorf("grow the tree: %w", err)
	}
	return grown, root, nil
}

// nodesAtOnce is how many hashes of the tree one statement stores.
const nodesAtOnce = 64

// nodes reads stored hashes of the tree.
func (s *tables) nodes(ctx context.Context) ledger.Reader {
	return ledger.ReaderFunc(func(indexes []int64) ([]ledger.Hash, error) {
		out := make([]ledger.Hash, len(indexes))
		for i, x := range indexes {
			var b []byte
			if err := s.db.one(ctx, []any{&b}, "SELECT hash FROM tree_node WHERE tenant = '' AND idx = ?", x); err != nil {
				return nil, fmt.Errorf("tree hash %d: %w", x, err)
			}
			if len(b) != len(out[i]) {
				return nil, fmt.Errorf("tree hash %d has %d bytes", x, len(b))
			}
			copy(out[i][:], b)
		}
		return out, nil
	})
}

// Inclusion returns the proof that the tree of a size holds the event at an
// index.
func (s *tables) Inclusion(ctx context.Context, size, index int64) (ledger.Proof, error) {
	return ledger.ProveInclusion(size, index, s.nodes(ctx))
}

// Consistency returns the proof that a newer tree begins with an older one.
func (s *tables) Consistency(ctx context.Context, older, newer int64) (ledger.Proof, error) {
	return ledger.ProveConsistency(older, newer, s.nodes(ctx))
}

// Tail returns what is not yet in the tree.
func (s *SQLite) Tail(ctx context.Context) (Tail, error) {
	var t Tail
	var oldest sql.NullInt64
	// Positions have no gaps and events come in order: nothing needs counting.
	err := s.one(ctx, []any{&t.Events, &oldest}, `SELECT coalesce((SELECT max(pos) FROM event), 0) - size, (SELECT at FROM event WHERE pos = size + 1)
		FROM (SELECT coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '`+treeSize+`'), 0) AS size)`)
	if err != nil {
		return t, fmt.Errorf("read the tail: %w", err)
	}
	t.Oldest = instant(oldest.Int64)
	return t, nil
}

// SaveCheckpoint keeps a signed checkpoint.
func (s *tables) SaveCheckpoint(ctx context.Context, c StoredCheckpoint) error {
	return s.db.put(ctx, func(w *writer) error {
		_, err := w.exec("INSERT INTO checkpoint (tenant, origin, size, root, at, follows, note) VALUES ('', ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			c.Origin, c.Size, c.Root[:], nanos(c.At), c.Follows[:], c.Note)
		return err
	})
}

// Checkpoints returns the newest n checkpoints, newest first.
func (s *tables) Checkpoints(ctx context.Context, n int) ([]StoredCheckpoint, error) {
	var list []StoredCheckpoint
	err := s.db.each(ctx, func(row scanner) error {
		var c StoredCheckpoint
		var root, follows []byte
		var at int64
		err := row.Scan(&c.Origin, &c.Size, &root, &at, &follows, &c.Note)
		c.At = instant(at)
		copy(c.Root[:], root)
		copy(c.Follows[:], follows)
		list = append(list, c)
		return err
	}, "SELECT origin, size, root, at, follows, note FROM checkpoint WHERE tenant = '' ORDER BY id DESC LIMIT ?", n)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	return list, nil
}

// VerifyLedger reads the whole ledger in one pass and one snapshot: every
// chain, the tree, the checkpoints given (of one origin), the stored tree
// hashes, and that every case stands exactly where its stream ends. It returns
// what it looked at and the first fault.
func (s *tables) VerifyLedger(ctx context.Context, checkpoints ...ledger.Checkpoint) (AuditReport, error) {
	a, err := ledger.NewAuditor(checkpoints...)
	if err != nil {
		return AuditReport{}, fmt.Errorf("verify: %w", err)
	}
	return s.audit(ctx, a, s.recordsText(""))
}

// audit hands the records that text reads to an auditor and finishes it.
func (s *tables) audit(ctx context.Context, a *ledger.Auditor, text string, args ...any) (AuditReport, error) {
	var rep AuditReport
	err := s.db.snapshot(ctx, func(q querier) error {
		size := int64(0)
		err := q.each(func(row scanner) error { return row.Scan(&size) }, "SELECT n FROM counter WHERE tenant = '' AND name = '"+treeSize+"'")
		if err == nil {
			err = q.each(func(row scanner) error {
				place, r, err := scanRecord(row)
				if err != nil {
					return err
				}
				if place >= 0 {
					return a.Add(place, r)
				}
				rep.Unsequenced++
				return a.AddUnsequenced(r)
			}, text, args...)
		}
		rep.Sequenced, rep.Streams, rep.Root = a.Size(), a.Streams(), a.Root()
		if err == nil {
			err = a.Finish()
		}
		if err == nil && a.Size() != size {
			err = &ledger.Fault{Kind: ledger.Truncated, Index: a.Size(), Detail: fmt.Sprintf("the tree has %d records, only %d are here", size, a.Size())}
		}
		if err == nil {
			err = s.verifyNodes(ctx, size, rep.Root)
		}
		if err == nil {
			rep.Cases, err = verifyCases(q, a)
		}
		return err
	})
	return rep, err
}

// verifyNodes compares the root of the stored tree hashes with the computed one.
func (s *tables) verifyNodes(ctx context.Context, size int64, want ledger.Hash) error {
	if size == 0 {
		return nil
	}
	root, err := ledger.Root(size, s.nodes(ctx))
	if err != nil {
		return err
	}
	if root != want {
		return &ledger.Fault{Kind: ledger.Edited, Index: size - 1, Detail: "the stored hashes of the tree do not belong to the records"}
	}
	return nil
}

// verifyCases compares every case with the end of its stream.
func verifyCases(q querier, a *ledger.Auditor) (int, error) {
	n := 0
	err := q.each(func(row scanner) error {
		var f ledger.Fault
		var id string
		var version uint64
		var head []byte
		if err := row.Scan(&f.Tenant, &id, &version, &head); err != nil {
			return err
		}
		n++
		f.Stream, f.Index = CaseStream(id), -1
		last, hash := a.End(f.Tenant, f.Stream)
		f.Seq = last
		switch {
		case last < version:
			f.Kind, f.Detail = ledger.Truncated, fmt.Sprintf("the case is at version %d", version)
		case last > version:
			f.Kind, f.Detail = ledger.Inserted, fmt.Sprintf("the case is at version %d", version)
		case !bytes.Equal(head, hash[:]):
			f.Kind, f.Detail = ledger.Edited, "the case was made from another event"
		default:
			return nil
		}
		return &f
	}, "SELECT tenant, id, version, head FROM case_state")
	return n, err
}

// exportLine is one line of an export: a record with its place in the tree
// (-1: not yet), or a signed checkpoint.
type exportLine struct {
	Index      int64          `json:"index"`
	Record     *ledger.Record `json:"record,omitempty"`
	Checkpoint string         `json:"checkpoint,omitempty"`
}

// ExportLedger writes all records in the order of their commit and then the
// checkpoints, one JSON object per line. It holds no free text of people.
func (s *tables) ExportLedger(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	err := s.db.snapshot(ctx, func(q querier) error {
		err := q.each(func(row scanner) error {
			place, r, err := scanRecord(row)
			if err != nil {
				return err
			}
			return enc.Encode(exportLine{Index: place, Record: &r})
		}, s.recordsText(""))
		if err != nil {
			return err
		}
		return q.each(func(row scanner) error {
			line := exportLine{Index: -1}
			if err := row.Scan(&line.Checkpoint); err != nil {
				return err
			}
			return enc.Encode(line)
		}, "SELECT note FROM checkpoint ORDER BY id")
	})
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return out.Flush()
}

// VerifyExport checks what ExportLedger wrote, against checkpoints the caller
// trusts, without a store. Lines with checkpoints are skipped: a checkpoint
// proves something only when its signature was checked.
func VerifyExport(r io.Reader, checkpoints ...ledger.Checkpoint) (AuditReport, error) {
	var rep AuditReport
	a, err := ledger.NewAuditor(checkpoints...)
	if err != nil {
		return rep, fmt.Errorf("verify: %w", err)
	}
	dec := json.NewDecoder(r)
	for n := 1; ; n++ {
		var line exportLine
		if err = dec.Decode(&line); errors.Is(err, io.EOF) {
			err = a.Finish()
			break
		}
		switch {
		case err != nil:
			err = fmt.Errorf("export entry %d: %w", n, err)
		case line.Record == nil && line.Checkpoint == "":
			err = fmt.Errorf("export entry %d is neither a record nor a checkpoint", n)
		case line.Record == nil:
		case line.Index >= 0:
			err = a.Add(line.Index, *line.Record)
		default:
			rep.Unsequenced++
			err = a.AddUnsequenced(*line.Record)
		}
		if err != nil {
			break
		}
	}
	rep.Sequenced, rep.Streams, rep.Root = a.Size(), a.Streams(), a.Root()
	return rep, err
}

// Age tells how old the tail is at an instant; zero if empty.
func (t Tail) Age(now time.Time) time.Duration {
	if t.Oldest.IsZero() {
		return 0
	}
	return now.Sub(t.Oldest)
}
