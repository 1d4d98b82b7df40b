// Package ledger is the hash chain and the proofs: what makes the history of
// every stream tamper-evident, and how anybody can check it.
//
// It is pure: bytes and hashes in, bytes and hashes out. It may import the lower
// floors and golang.org/x/mod/sumdb (no os, net, context, sync, log, rand,
// goroutines or time.Now); storage and keys are handed in. Invariants: a record's
// hash covers every field of it and the record before; the leaf of the tree is
// that hash; bytes are hashed as stored, never decoded and encoded again.
//
// The chain alone shows an edit, a deletion or a swap inside a stream. A tail
// that was cut off, and a history written anew from some point on, show against
// a signed checkpoint kept elsewhere: Auditor compares both.
package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// Hash is a SHA-256 value.
type Hash [sha256.Size]byte

// String returns 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes 64 hex digits.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads 64 hex digits.
func (h *Hash) UnmarshalText(b []byte) error {
	var v Hash
	if len(b) != hex.EncodedLen(len(v)) {
		return fmt.Errorf("hash of %d characters: want %d hex digits", len(b), hex.EncodedLen(len(v)))
	}
	if _, err := hex.Decode(v[:], b); err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	*h = v
	return nil
}

// Record is one event of one stream, as the ledger sees it.
type Record struct {
	Tenant string `json:"tenant"`
	// Stream is what the event belongs to, e.g. "case/01J…" or "policy".
	Stream string `json:"stream"`
	// Seq is the position in the stream, from 1 without gaps.
	Seq uint64 `json:"seq"`
	// Type and Schema say how to read Body.
	Type   string `json:"type"`
	Schema int    `json:"schema"`
	// At is the time of the command, UTC, to the nanosecond; years 1678 to 2261.
	At time.Time `json:"at"`
	// Body is what was recorded, byte for byte as stored. Whatever else must not
	// be changed unseen (who did it) is part of it.
	Body []byte `json:"body"`
	// Prev is the hash of the record before in the stream, zero for the first.
	Prev Hash `json:"prev"`
	Hash Hash `json:"hash"`
}

// recordDomain keeps these hashes apart from those of any other use of SHA-256.
const recordDomain = "casement/event/v1\x00"

// Link returns the record chained to prev: At in UTC, Prev and Hash set.
func Link(prev [32]byte, r Record) Record {
	r.At = r.At.UTC().Round(0)
	r.Prev = prev
	r.Hash = r.compute()
	return r
}

// LinkAll chains records to each other, the first one to prev. The slice is
// changed in place.
func LinkAll(prev [32]byte, records []Record) {
	for i := range records {
		records[i] = Link(prev, records[i])
		prev = records[i].Hash
	}
}

// compute hashes domain, previous hash and every field; fields of variable
// length carry their length, so that no byte can move from one to the next.
func (r Record) compute() Hash {
	b := make([]byte, 0, len(recordDomain)+len(r.Tenant)+len(r.Stream)+len(r.Type)+len(r.Body)+128)
	b = append(b, recordDomain...)
	b = append(b, r.Prev[:]...)
	b = appendField(b, r.Tenant)
	b = appendField(b, r.Stream)
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = appendField(b, r.Type)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Schema))
	var at int64 // Unix nanoseconds, 0 for no time at all
	if !r.At.IsZero() {
		at = r.At.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = appendField(b, r.Body)
	return sha256.Sum256(b)
}

func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
	return append(b, field...)
}

// Kind says what happened to a history.
type Kind string

// The kinds of damage.
const (
	// Edited: a record is not the one that was written.
	Edited Kind = "edited"
	// Deleted: a record is missing in the middle.
	Deleted Kind = "deleted"
	// Reordered: records are there, but not in their places.
	Reordered Kind = "reordered"
	// Inserted: a record does not belong here or is there twice.
	Inserted Kind = "inserted"
	// Truncated: the end that a checkpoint vouches for is missing.
	Truncated Kind = "truncated"
	// Forked: the records agree among themselves, but not with what was signed.
	Forked Kind = "forked"
)

// Fault names the first bad record and what is wrong with it.
type Fault struct {
	Kind   Kind   `json:"kind"`
	Tenant string `json:"tenant,omitempty"`
	Stream string `json:"stream,omitempty"`
	// Seq is the place in the stream, 0 when the fault is not of one stream.
	Seq uint64 `json:"seq,omitempty"`
	// Index is the place in the tree, -1 when the fault is not of the tree.
	Index  int64  `json:"index"`
	Detail string `json:"detail"`
}

// Error names the place, the kind and the detail.
func (f *Fault) Error() string {
	where := "ledger"
	if f.Stream != "" {
		where += fmt.Sprintf(" stream %s/%s record %d", f.Tenant, f.Stream, f.Seq)
	}
	if f.Index >= 0 {
		where += fmt.Sprintf(" tree index %d", f.Index)
	}
	return fmt.Sprintf("%s: %s: %s", where, f.Kind, f.Detail)
}

// link is the state of a chain while it is checked.
type link struct {
	seq  uint64
	hash Hash
}

// step checks that r follows the chain so far. It returns a *Fault or nil.
func (l link) step(r Record) *Fault {
	bad := func(kind Kind, seq uint64, format string, a ...any) *Fault {
		return &Fault{Kind: kind, Tenant: r.Tenant, Stream: r.Stream, Seq: seq, Index: -1, Detail: fmt.Sprintf(format, a...)}
	}
	switch want := l.seq + 1; {
	case r.compute() != r.Hash:
		return bad(Edited, r.Seq, "its content does not have the hash stored with it")
	case r.Seq > want:
		return bad(Deleted, want, "it is missing: record %d comes next", r.Seq)
	case r.Seq < want:
		return bad(Inserted, r.Seq, "this position was already taken")
	case r.Prev != l.hash && r.Seq == 1:
		return bad(Edited, r.Seq, "the first record of a stream is chained to something before it")
	case r.Prev != l.hash:
		return bad(Edited, r.Seq-1, "it is not the record that record %d was chained to", r.Seq)
	}
	return nil
}

// VerifyStream checks all records of one stream, from the first. It returns nil
// or a *Fault. A tail that was cut off cannot show here: see Auditor.
func VerifyStream(records []Record) error {
	var l link
	for i, r := range records {
		if first := records[0]; r.Tenant != first.Tenant || r.Stream != first.Stream {
			return &Fault{Kind: Inserted, Tenant: first.Tenant, Stream: first.Stream, Seq: l.seq + 1, Index: -1,
				Detail: fmt.Sprintf("it belongs to stream %s/%s", r.Tenant, r.Stream)}
		}
		if f := l.step(r); f != nil {
			if f.Kind == Deleted && holds(records[i:], l.seq+1) {
				f.Kind, f.Detail = Reordered, fmt.Sprintf("record %d stands in its place", r.Seq)
			}
			return f
		}
		l = link{r.Seq, r.Hash}
	}
	return nil
}

func holds(records []Record, seq uint64) bool {
	for _, r := range records {
		if r.Seq == seq {
			return true
		}
	}
	return false
}
