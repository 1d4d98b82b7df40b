package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
)

// Sequence appends up to n events to the ledger's tree and returns its size and
// root after it; those that one statement wrote all or none, more than n if n > 0
// and the first of them are. An event has its place from then on. It fails with
// record.ErrConflict if another node grew the tree meanwhile.
func (s *Postgres) Sequence(ctx context.Context, n int) (int64, ledger.Hash, error) {
	var size int64
	var root ledger.Hash
	if err := s.one(ctx, []any{&size}, "SELECT coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '"+treeSize+"'), 0)"); err != nil {
		return 0, root, fmt.Errorf("read the tree: %w", err)
	}
	var hashes []ledger.Hash
	var batches, firsts []int64
	// An event of a stream is visible only after those before it: the order of
	// batches is the stream's own.
	err := s.each(ctx, func(row scanner) error {
		var batch, pos int64
		var b []byte
		if err := row.Scan(&batch, &pos, &b); err != nil {
			return err
		}
		if len(b) != len(ledger.Hash{}) {
			return fmt.Errorf("event %d has a hash of %d bytes", pos, len(b))
		}
		if k := len(batches); k == 0 || batches[k-1] != batch {
			batches, firsts = append(batches, batch), append(firsts, size+int64(len(hashes)))
		}
		hashes = append(hashes, ledger.Hash(b))
		return nil
	}, `SELECT b.batch, u.pos, e.hash
		FROM (SELECT batch, events, sum(cardinality(events)) OVER w AS upto, row_number() OVER w AS nr FROM event_batch WHERE tree_first IS NULL WINDOW w AS (ORDER BY batch) ORDER BY batch LIMIT ?) b
		JOIN LATERAL unnest(b.events) WITH ORDINALITY AS u (pos, k) ON true LEFT JOIN event e ON e.pos = u.pos
		WHERE b.upto <= ? OR b.nr = 1 ORDER BY b.batch, u.k`, n, n)
	if err != nil {
		return 0, root, fmt.Errorf("read the tail: %w", err)
	}
	stored, root, err := ledger.Grow(size, hashes, s.nodes(ctx))
	if err != nil || len(hashes) == 0 {
		return size, root, err
	}
	grown := size + int64(len(hashes))
	err = s.put(ctx, func(w *writer) error {
		if _, err := w.exec("INSERT INTO counter (tenant, name, n) VALUES ('', ?, 0) ON CONFLICT (tenant, name) DO NOTHING", treeSize); err != nil {
			return err
		}
		swapped, err := w.exec("UPDATE counter SET n = ? WHERE tenant = '' AND name = ? AND n = ?", grown, treeSize, size)
		if err != nil {
			return err
		}
		if swapped == 0 {
			return fmt.Errorf("the tree is no longer of size %d: %w", size, record.ErrConflict)
		}
		placed, err := w.exec(`UPDATE event_batch SET tree_first = q.first FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS q (batch, first)
			WHERE event_batch.batch = q.batch AND event_batch.tree_first IS NULL`, batches, firsts)
		if err != nil {
			return err
		}
		if placed != int64(len(batches)) {
			return fmt.Errorf("%d of %d batches of events were placed: %w", placed, len(batches), record.ErrConflict)
		}
		nodes, hashes := make([]int64, len(stored)), make([][]byte, len(stored))
		for i, h := range stored {
			nodes[i], hashes[i] = ledger.StoredCount(size)+int64(i), h[:]
		}
		_, err = w.exec("INSERT INTO tree_node (tenant, idx, hash) SELECT '', q.idx, q.hash FROM unnest(CAST(? AS bigint[]), CAST(? AS bytea[])) AS q (idx, hash)", nodes, hashes)
		return err
	})
	if err != nil {
		return 0, ledger.Hash{}, fmt.Errorf("grow the tree: %w", err)
	}
	return grown, root, nil
}

// Tail returns what is not yet in the tree.
func (s *Postgres) Tail(ctx context.Context) (Tail, error) {
	var t Tail
	var oldest sql.NullInt64
	if err := s.one(ctx, []any{&t.Events, &oldest}, `SELECT coalesce(sum(cardinality(events)), 0),
		(SELECT at FROM event WHERE pos = (SELECT events[1] FROM event_batch WHERE tree_first IS NULL ORDER BY batch LIMIT 1))
		FROM event_batch WHERE tree_first IS NULL`); err != nil {
		return t, fmt.Errorf("read the tail: %w", err)
	}
	t.Oldest = instant(oldest.Int64)
	return t, nil
}

// EventsSince returns up to n events of all streams after number pos (0 for the
// beginning), and the number reached: first those in the tree in its order,
// then the tail. Only the former have their number for ever: whoever follows
// goes on from the last event with a TreeIndex.
func (s *Postgres) EventsSince(ctx context.Context, pos int64, n int) ([]StoredEvent, int64, error) {
	var list []StoredEvent
	_, _, order := s.ledgerText()
	err := s.each(ctx, func(row scanner) error {
		e, err := scanEvent(row)
		if err != nil {
			return err
		}
		list = append(list, e)
		return list[len(list)-1].decode()
	}, s.eventsText()+"ORDER BY "+order+" OFFSET ? LIMIT ?", pos, n)
	if err != nil {
		return nil, pos, fmt.Errorf("read events: %w", err)
	}
	return list, pos + int64(len(list)), nil
}
