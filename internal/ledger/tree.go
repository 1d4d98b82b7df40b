package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Reader reads stored hashes of the tree by their index; see Grow. A store
// implements it over its table of hashes.
type Reader interface {
	// ReadHashes returns the hashes at the indexes, in that order, or an error.
	ReadHashes(indexes []int64) ([]Hash, error)
}

// ReaderFunc is a function that implements Reader.
type ReaderFunc func(indexes []int64) ([]Hash, error)

// ReadHashes calls the function.
func (f ReaderFunc) ReadHashes(indexes []int64) ([]Hash, error) { return f(indexes) }

// StoredCount returns how many stored hashes a tree of size leaves has. The
// hashes Grow returns belong at the indexes from here on.
func StoredCount(size int64) int64 { return tlog.StoredHashCount(size) }

// Grow appends records, given by their hashes in tree order, to the tree of the
// given size (RFC 6962; the leaf is the record's hash). It returns the hashes to
// store, from index StoredCount(size) on, and the root of the grown tree. Nothing
// is written: the caller stores them, guarded by the size it started from.
func Grow(size int64, records []Hash, r Reader) (stored []Hash, root Hash, err error) {
	if size < 0 {
		return nil, Hash{}, fmt.Errorf("tree of size %d: want 0 or more", size)
	}
	base := StoredCount(size)
	// Hashes of this very call are read from memory, older ones from the store.
	both := tlogReader(ReaderFunc(func(indexes []int64) ([]Hash, error) {
		found := make([]Hash, len(indexes))
		var old []int64
		for i, x := range indexes {
			switch {
			case x < base:
				old = append(old, x)
			case x-base < int64(len(stored)):
				found[i] = stored[x-base]
			default:
				return nil, fmt.Errorf("tree of size %d has no stored hash %d yet", size, x)
			}
		}
		if len(old) == 0 {
			return found, nil
		}
		read, err := r.ReadHashes(old)
		if err != nil {
			return nil, err
		}
		if len(read) != len(old) {
			return nil, fmt.Errorf("asked for %d stored hashes, got %d", len(old), len(read))
		}
		n := 0
		for i, x := range indexes {
			if x < base {
				found[i] = read[n]
				n++
			}
		}
		return found, nil
	}))
	for i, h := range records {
		add, err := tlog.StoredHashesForRecordHash(size+int64(i), leaf(h), both)
		if err != nil {
			return nil, Hash{}, fmt.Errorf("grow the tree at %d: %w", size+int64(i), err)
		}
		for _, s := range add {
			stored = append(stored, Hash(s))
		}
	}
	top, err := tlog.TreeHash(size+int64(len(records)), both)
	if err != nil {
		return nil, Hash{}, fmt.Errorf("root of the tree: %w", err)
	}
	return stored, Hash(top), nil
}

// Root returns the root of the tree of the given size. That of the empty tree
// is the hash of nothing (RFC 6962, 2.1).
func Root(size int64, r Reader) (Hash, error) {
	h, err := tlog.TreeHash(size, tlogReader(r))
	if err != nil {
		return Hash{}, fmt.Errorf("root of the tree at %d: %w", size, err)
	}
	return Hash(h), nil
}

// Proof is a Merkle audit path or consistency proof (RFC 6962, 2.1.1, 2.1.2).
type Proof []Hash

// ProveInclusion returns the proof that the tree of the given size holds the
// record at an index (from 0).
func ProveInclusion(size, index int64, r Reader) (Proof, error) {
	p, err := tlog.ProveRecord(size, index, tlogReader(r))
	if err != nil {
		return nil, fmt.Errorf("prove record %d of %d: %w", index, size, err)
	}
	return proofOf(p), nil
}

// VerifyInclusion checks that the tree of a checkpoint holds the record with the
// given hash at an index.
func VerifyInclusion(c Checkpoint, index int64, record Hash, p Proof) error {
	if err := tlog.CheckRecord(tlog.RecordProof(p.tlog()), c.Size, tlog.Hash(c.Root), index, leaf(record)); err != nil {
		return &Fault{Kind: Forked, Index: index, Detail: fmt.Sprintf("the record is not proven to be in the tree of %d signed as %s: %v", c.Size, c.Origin, err)}
	}
	return nil
}

// ProveConsistency returns the proof that the tree of the newer size starts with
// the tree of the older one. An older size of 0 needs no proof.
func ProveConsistency(older, newer int64, r Reader) (Proof, error) {
	if older == 0 && newer >= 0 {
		return nil, nil
	}
	p, err := tlog.ProveTree(newer, older, tlogReader(r))
	if err != nil {
		return nil, fmt.Errorf("prove tree %d in tree %d: %w", older, newer, err)
	}
	return proofOf(p), nil
}

// VerifyConsistency checks that the history signed by newer begins with the one
// signed by older. Checkpoints of different origins are not comparable.
func VerifyConsistency(older, newer Checkpoint, p Proof) error {
	fault := func(kind Kind, format string, a ...any) error {
		return &Fault{Kind: kind, Index: older.Size - 1, Detail: fmt.Sprintf(format, a...)}
	}
	switch {
	case older.Origin != newer.Origin:
		return fmt.Errorf("checkpoints of %q and of %q belong to different trees", older.Origin, newer.Origin)
	case newer.Size < older.Size:
		return fault(Truncated, "%d records were signed on %s, only %d are left", older.Size, stamp(older.At), newer.Size)
	case older.Size == 0:
		return nil
	}
	if err := tlog.CheckTree(tlog.TreeProof(p.tlog()), newer.Size, tlog.Hash(newer.Root), older.Size, tlog.Hash(older.Root)); err != nil {
		return fault(Forked, "the tree of %d does not begin with the tree of %d that was signed on %s: %v", newer.Size, older.Size, stamp(older.At), err)
	}
	return nil
}

// leaf is the tree's hash of a record.
func leaf(record Hash) tlog.Hash { return tlog.RecordHash(record[:]) }

func (p Proof) tlog() []tlog.Hash {
	out := make([]tlog.Hash, len(p))
	for i, h := range p {
		out[i] = tlog.Hash(h)
	}
	return out
}

func proofOf[T ~[]tlog.Hash](p T) Proof {
	out := make(Proof, len(p))
	for i, h := range p {
		out[i] = Hash(h)
	}
	return out
}

// tlogReader lets tlog read from a Reader.
func tlogReader(r Reader) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		got, err := r.ReadHashes(indexes)
		if err != nil {
			return nil, err
		}
		return Proof(got).tlog(), nil
	})
}
