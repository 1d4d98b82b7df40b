package store

import (
	"github.com/casement/casement/internal/ledger"
)

// chained is the record as number seq of its stream, linked to prev. The
// ledger's body is the actor and the event's body, one line each, exactly as
// they are stored: who did it cannot be changed unseen either.
func (r row) chained(prev ledger.Hash, tenant, stream string, seq uint64) ledger.Record {
	return ledger.Link(prev, ledger.Record{Tenant: tenant, Stream: stream, Seq: seq, Type: r.typ, Schema: r.schema, At: r.at, Body: ledgerBody(r.by, r.body)})
}

func ledgerBody(by string, body []byte) []byte {
	b := make([]byte, 0, len(by)+1+len(body))
	b = append(b, by...)
	b = append(b, '\n')
	return append(b, body...)
}

// scanRecord reads an event as the ledger sees it, with its place in the tree, without
// decoding anything.
func scanRecord(row scanner) (int64, ledger.Record, error) {
	var r ledger.Record
	var pos, at int64
	var by string
	var body, prev, hash []byte
	err := row.Scan(&pos, &r.Tenant, &r.Stream, &r.Seq, &r.Type, &r.Schema, &at, &by, &body, &prev, &hash)
	r.At, r.Body = instant(at), ledgerBody(by, body)
	copy(r.Prev[:], prev)
	copy(r.Hash[:], hash)
	return pos, r, err
}

// recordsText reads records with their places in the tree, those of a condition
// or all.
func (s *tables) recordsText(where string) string {
	place, from, order := s.db.ledgerText()
	return "SELECT " + place + ", tenant, stream, seq, type, schema, at, by, body, prev, hash FROM " + from + where + " ORDER BY " + order
}
