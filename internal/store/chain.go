package store

import (
	"crypto/sha256"
	"encoding/binary"
)

// hashed is what of an event goes into the hash beside its place: the actor
// and the body, one line each, exactly as they are stored.
func (r record) hashed() []byte {
	b := make([]byte, 0, len(r.by)+1+len(r.body))
	b = append(b, r.by...)
	b = append(b, '\n')
	return append(b, r.body...)
}

// link returns the hash of the record as number seq of its stream.
func link(prev [32]byte, tenant, stream string, seq uint64, r record) [32]byte {
	h := sha256.New()
	h.Write([]byte("casement/event/v1\x00"))
	h.Write(prev[:])
	field := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	field([]byte(tenant))
	field([]byte(stream))
	h.Write(binary.BigEndian.AppendUint64(nil, seq))
	field([]byte(r.typ))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.schema)))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(nanos(r.at))))
	field(r.hashed())
	var out [32]byte
	h.Sum(out[:0])
	return out
}
