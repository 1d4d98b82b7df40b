package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
)

// Sequence appends up to n events to the ledger's tree and returns its size and
// root after it. An event has its place from then on. It fails with
// record.ErrConflict if another node grew the tree meanwhile.
func (s *Postgres) Sequence(ctx context.Context, n int) (int64, ledger.Hash, error) {
	var size int64
	var root ledger.Hash
	if err := s.one(ctx, []any{&size}, "SELECT coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '"+treeSize+"'), 0)"); err != nil {
		return 0, root, fmt.Errorf("read the tree: %w", err)
	}
	var hashes []ledger.Hash
	var places []int64
	// An event of a stream is visible only after those before it: their order
	// by pos is the stream's own.
	err := s.each(ctx, func(row scanner) error {
		var pos int64
		var b []byte
		if err := row.Scan(&pos, &b); err != nil {
			return err
		}
		if len(b) != len(ledger.Hash{}) {
			return fmt.Errorf("event %d has a hash of %d bytes", pos, len(b))
		}
		hashes, places = append(hashes, ledger.Hash(b)), append(places, pos)
		return nil
	}, "SELECT pos, hash FROM event WHERE tree_index IS NULL ORDER BY pos LIMIT ?", n)
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
		indexes := make([]int64, len(places))
		for i := range indexes {
			indexes[i] = size + int64(i)
		}
		placed, err := w.exec(`UPDATE event SET tree_index = q.idx FROM unnest(CAST(? AS bigint[]), CAST(? AS bigint[])) AS q (pos, idx)
			WHERE event.pos = q.pos AND event.tree_index IS NULL`, places, indexes)
		if err != nil {
			return err
		}
		if placed != int64(len(places)) {
			return fmt.Errorf("%d of %d events were placed: %w", placed, len(places), record.ErrConflict)
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
	if err := s.one(ctx, []any{&t.Events, &oldest}, "SELECT count(*), min(at) FROM event WHERE tree_index IS NULL"); err != nil {
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
	err := s.each(ctx, func(row scanner) error {
		e, err := scanEvent(row)
		if err != nil {
			return err
		}
		list = append(list, e)
		return list[len(list)-1].decode()
	}, s.eventsText()+"ORDER BY tree_index NULLS LAST, pos OFFSET ? LIMIT ?", pos, n)
	if err != nil {
		return nil, pos, fmt.Errorf("read events: %w", err)
	}
	return list, pos + int64(len(list)), nil
}
