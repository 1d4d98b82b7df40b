package store

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/casement/casement/internal/record"
)

const (
	// unseenFirst is how many things the first layer of a filter is made for; each
	// further layer is made for four times as many.
	unseenFirst = 64 << 10
	// Ten bits and seven probes each: about one of a hundred that were never added
	// is taken for one that was.
	unseenBits, unseenProbes = 10, 7
	// unseenPiece is how many rows are read at a time to fill it.
	unseenPiece = 10_000
)

// unseen tells what was certainly never stored, so that it need not be looked for:
// a Bloom filter over the findings and keys of all commits. What was stored before
// the process began is read piece by piece; until then it tells nothing. The
// memory's mu guards it.
type unseen struct {
	seed   maphash.Seed
	layers []layer
	whole  bool
	// filled is up to where the tables have been read.
	finding uidKey
	key     struct {
		of record.CaseKey
		id string
	}
	findingsRead bool
	// filling is held while a piece is read.
	filling sync.Mutex
}

type layer struct {
	bits []uint64
	room int
}

// add remembers that something is stored.
func (u *unseen) add(what any) {
	h := maphash.Comparable(u.seed, what)
	if u.has(h) {
		return
	}
	last := len(u.layers) - 1
	if last < 0 || u.layers[last].room == 0 {
		room := unseenFirst << (2 * len(u.layers))
		u.layers = append(u.layers, layer{make([]uint64, room*unseenBits/64), room})
		last++
	}
	l := &u.layers[last]
	l.room--
	l.probe(h, func(word *uint64, bit uint64) bool {
		*word |= bit
		return true
	})
}

// has reports whether a hash was added, or looks as if it were.
func (u *unseen) has(h uint64) bool {
	for _, l := range u.layers {
		if l.probe(h, func(word *uint64, bit uint64) bool { return *word&bit != 0 }) {
			return true
		}
	}
	return false
}

// never reports whether something was certainly never added.
func (u *unseen) never(what any) bool {
	return u.whole && !u.has(maphash.Comparable(u.seed, what))
}

// probe calls f for the bits of a hash while it returns true, and returns whether
// it always did.
func (l *layer) probe(h uint64, f func(word *uint64, bit uint64) bool) bool {
	n := uint64(len(l.bits)) * 64
	step := h>>32 | 1
	for range unseenProbes {
		at := h % n
		if !f(&l.bits[at/64], 1<<(at%64)) {
			return false
		}
		h += step
	}
	return true
}

// mayBe returns those of the list that may be stored.
func mayBe[K any](m *memory, list []K, as func(K) any) []K {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]K, 0, len(list))
	for _, k := range list {
		if !m.unseen.never(as(k)) {
			out = append(out, k)
		}
	}
	return out
}

// Learn reads the next piece of what was stored before the process began, findings
// first, and reports whether there is more. What is not stored need not be looked
// for once there is no more.
func (s *SQLite) Learn(ctx context.Context) (more bool, err error) { return s.learn(ctx, unseenPiece) }

// learn is Learn with pieces of so many rows.
func (s *SQLite) learn(ctx context.Context, piece int) (more bool, err error) {
	u := &s.memory.unseen
	u.filling.Lock()
	defer u.filling.Unlock()
	if u.whole { // only written here
		return false, nil
	}
	n := 0
	if !u.findingsRead {
		err = s.each(ctx, func(row scanner) error {
			n++
			if err := row.Scan(&u.finding.tenant, &u.finding.uid); err != nil {
				return err
			}
			s.memory.saw(u.finding)
			return nil
		}, "SELECT tenant, uid FROM finding WHERE (tenant, uid) > (?, ?) ORDER BY tenant, uid LIMIT ?", u.finding.tenant, u.finding.uid, piece)
		u.findingsRead = err == nil && n < piece
	}
	if u.findingsRead {
		n = 0
		k := &u.key.of
		err = s.each(ctx, func(row scanner) error {
			n++
			if err := row.Scan(&k.Tenant, &k.Version, &k.Key, &u.key.id); err != nil {
				return err
			}
			s.memory.saw(*k)
			return nil
		}, "SELECT tenant, key_version, key, case_id FROM case_key WHERE (tenant, key_version, key, case_id) > (?, ?, ?, ?) ORDER BY tenant, key_version, key, case_id LIMIT ?",
			k.Tenant, k.Version, k.Key, u.key.id, piece)
		if err == nil && n < piece {
			s.memory.mu.Lock()
			u.whole = true
			s.memory.mu.Unlock()
		}
	}
	if err != nil {
		return false, fmt.Errorf("read what is stored: %w", err)
	}
	return !u.whole, nil
}

// saw adds something that is stored.
func (m *memory) saw(what any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unseen.add(what)
}
