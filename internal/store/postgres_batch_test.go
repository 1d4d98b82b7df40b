package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// oldEvents is how a node of the release before writes the records from number i on.
const oldEvents = `INSERT INTO event (tenant, stream, seq, type, schema, at, by, body, prev, hash) SELECT q.* FROM
	unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bytea[], $9::bytea[], $10::bytea[]) AS q`

func insertOld(t *testing.T, c *pgx.Conn, records []ledger.Record) {
	t.Helper()
	var tenant, stream, kind, by []string
	var seq, schema, at []int64
	var body, prev, hash [][]byte
	for _, r := range records {
		who, what, _ := strings.Cut(string(r.Body), "\n")
		tenant, stream, kind, by = append(tenant, r.Tenant), append(stream, r.Stream), append(kind, r.Type), append(by, who)
		seq, schema, at = append(seq, int64(r.Seq)), append(schema, int64(r.Schema)), append(at, r.At.UnixNano())
		body, prev, hash = append(body, []byte(what)), append(prev, r.Prev[:]), append(hash, r.Hash[:])
	}
	if _, err := c.Exec(t.Context(), oldEvents, tenant, stream, seq, kind, schema, at, by, body, prev, hash); err != nil {
		t.Fatal(err)
	}
}

// TestBatches: events that the release before placed in the tree keep their
// places, those that it left or still writes get theirs with the new ones, and
// neither events nor their places can be changed.
func TestBatches(t *testing.T) {
	url, ctx := pgtest.Start(t).Database(t), t.Context()
	if err := store.MigratePostgres(ctx, url, 9); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	records := make([]ledger.Record, 9)
	for i := range records {
		records[i] = ledger.Record{Tenant: "default", Stream: "policy", Seq: uint64(i + 1), Type: "x", Schema: 1, At: storetest.Epoch(), Body: []byte("{\"kind\":\"system\",\"id\":\"s\"}\n{}")}
	}
	ledger.LinkAll(ledger.Hash{}, records)
	insertOld(t, c, records[:5])
	stored, _, err := ledger.Grow(0, []ledger.Hash{records[0].Hash, records[1].Hash, records[2].Hash}, ledger.ReaderFunc(func([]int64) ([]ledger.Hash, error) { return nil, errors.New("none") }))
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range stored {
		if _, err := c.Exec(ctx, "INSERT INTO tree_node (tenant, idx, hash) VALUES ('', $1, $2)", i, h[:]); err != nil {
			t.Fatal(err)
		}
	}
	const placeOld = "UPDATE event SET tree_index = pos - 1 WHERE pos <= $1 AND tree_index IS NULL"
	if _, err := c.Exec(ctx, placeOld, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(ctx, "INSERT INTO counter (tenant, name, n) VALUES ('', 'tree-size', 3)"); err != nil {
		t.Fatal(err)
	}

	s := openPG(t, url)
	holds := func(sequenced, left int64) {
		t.Helper()
		rep, err := s.VerifyLedger(ctx)
		if err != nil || rep.Sequenced != sequenced || rep.Unsequenced != left {
			t.Errorf("ledger %+v, %v; want %d placed and %d not", rep, err, sequenced, left)
		}
		if tail, err := s.Tail(ctx); err != nil || int64(tail.Events) != left || left > 0 && !tail.Oldest.Equal(storetest.Epoch()) {
			t.Errorf("tail %+v, %v; want %d", tail, err, left)
		}
	}
	holds(3, 2)
	insertOld(t, c, records[5:8])
	holds(3, 5)
	if _, err := s.AppendEvent(ctx, store.StreamEvent{Tenant: "default", Stream: "policy", Type: "x", Schema: 1, At: storetest.Epoch(), By: remedy.Actor{Kind: remedy.System, ID: "s"}, Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if size, _, err := s.Sequence(ctx, 4); err != nil || size != 7 {
		t.Errorf("size %d, %v; want 7", size, err)
	}
	holds(7, 2)
	if size, _, err := s.Sequence(ctx, 100); err != nil || size != 9 {
		t.Errorf("size %d, %v; want 9", size, err)
	}
	holds(9, 0)
	events, err := s.Stream(ctx, "default", "policy", 0, -1)
	if err != nil || len(events) != 9 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for i, e := range events {
		if e.TreeIndex != int64(i) || e.Hash != records[i].Hash {
			t.Errorf("event %d has place %d and hash %x, want %x", i, e.TreeIndex, e.Hash, records[i].Hash)
		}
	}

	for _, text := range []string{"UPDATE event SET tree_index = pos + 100 WHERE tree_index IS NULL", "UPDATE event SET body = ''", "DELETE FROM event", "TRUNCATE event",
		"UPDATE event_batch SET tree_first = tree_first + 1", "UPDATE event_batch SET events = '{1}'", "DELETE FROM event_batch", "TRUNCATE event_batch"} {
		if _, err := c.Exec(ctx, text); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v, want a refusal", text, err)
		}
	}
	exec := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if tag, err := c.Exec(ctx, text); err != nil || tag.RowsAffected() == 0 && !strings.HasPrefix(text, "ALTER") && !strings.HasPrefix(text, "DROP") {
				t.Fatalf("%s: %s, %v", text, tag, err)
			}
		}
	}
	exec("ALTER TABLE event_batch DISABLE TRIGGER event_batch_keep", "DROP INDEX event_batch_tree", "CREATE TABLE was AS TABLE event_batch")
	for _, text := range []string{"DELETE FROM event_batch WHERE tree_first = 6", "UPDATE event_batch SET events = '{1}' WHERE tree_first = 6",
		"UPDATE event_batch SET tree_first = 13 - tree_first WHERE tree_first IN (6, 7)", "UPDATE event_batch SET tree_first = NULL WHERE tree_first = 8"} {
		exec(text)
		_, err = s.VerifyLedger(ctx)
		if _, ok := errors.AsType[*ledger.Fault](err); !ok {
			t.Errorf("%s: %v, want a fault", text, err)
		}
		exec("DELETE FROM event_batch", "INSERT INTO event_batch TABLE was")
	}
	holds(9, 0)

	// What a batch names and nobody finds is not passed over.
	exec("INSERT INTO event_batch (batch, events) VALUES (1000, '{1000}')")
	if size, _, err := s.Sequence(ctx, 10); err == nil || !strings.Contains(err.Error(), "event 1000") {
		t.Errorf("placed an event that is not there: size %d, %v", size, err)
	}
}
