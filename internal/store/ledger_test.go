package store_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// fill commits n cases with two steps each.
func fill(t *testing.T, s *store.SQLite, from, n int) {
	t.Helper()
	for i := range n {
		id := "c" + strconv.Itoa(from+i)
		u := storetest.NewCase(id, "key of "+id)
		for range 3 {
			errs, err := s.Commit(t.Context(), []record.Unit{u}, nil)
			if err = errors.Join(err, errs[0]); err != nil {
				t.Fatal(err)
			}
			u = storetest.Step(u.Case, remedy.Acked{}, storetest.Epoch())
		}
	}
}

func sequence(t *testing.T, s *store.SQLite, n int) ledger.Checkpoint {
	t.Helper()
	size, root, err := s.Sequence(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Checkpoint{Origin: "test", Size: size, Root: root, At: storetest.Epoch()}
}

func TestSequenceAndVerify(t *testing.T) {
	s := open(t, t.TempDir())
	if c := sequence(t, s, 10); c.Size != 0 {
		t.Fatalf("the empty tree has size %d", c.Size)
	}
	fill(t, s, 0, 4)
	first := sequence(t, s, 7)
	if tail, err := s.Tail(t.Context()); err != nil || tail.Events != 13 || tail.Age(storetest.Epoch().Add(time.Minute)) != time.Minute {
		t.Fatalf("tail %+v, %v; want 13 events", tail, err)
	}
	second := sequence(t, s, 100)
	fill(t, s, 4, 1)
	rep, err := s.VerifyLedger(t.Context(), second, first)
	if err != nil {
		t.Fatal(err)
	}
	if want := (store.AuditReport{Sequenced: 20, Unsequenced: 5, Streams: 5, Cases: 5, Root: second.Root}); rep != want {
		t.Errorf("report %+v, want %+v", rep, want)
	}
	events, _, err := s.EventsSince(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if want := int64(i); (i < 20 && e.TreeIndex != want) || (i >= 20 && e.TreeIndex != -1) {
			t.Errorf("event %d has tree index %d", i, e.TreeIndex)
		}
	}
	p, err := s.Inclusion(t.Context(), second.Size, 12)
	if err == nil {
		err = ledger.VerifyInclusion(second, 12, events[12].Hash, p)
	}
	if err != nil {
		t.Errorf("inclusion: %v", err)
	}
	p, err = s.Consistency(t.Context(), first.Size, second.Size)
	if err == nil {
		err = ledger.VerifyConsistency(first, second, p)
	}
	if err != nil {
		t.Errorf("consistency: %v", err)
	}
	for _, c := range []ledger.Checkpoint{first, second} {
		if err := s.SaveCheckpoint(t.Context(), store.StoredCheckpoint{Checkpoint: c, Note: []byte("signed " + strconv.FormatInt(c.Size, 10))}); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := s.Checkpoints(t.Context(), 1)
	if err != nil || len(kept) != 1 || kept[0].Checkpoint != second || string(kept[0].Note) != "signed 20" {
		t.Errorf("checkpoints %+v, %v", kept, err)
	}
}

func TestExportIsVerifiedWithoutAStore(t *testing.T) {
	s := open(t, t.TempDir())
	fill(t, s, 0, 3)
	c := sequence(t, s, 9)
	if err := s.SaveCheckpoint(t.Context(), store.StoredCheckpoint{Checkpoint: c, Note: []byte("signed")}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.ExportLedger(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	rep, err := store.VerifyExport(bytes.NewReader(out.Bytes()), c)
	if err != nil || rep.Sequenced != 9 || rep.Unsequenced != 6 || rep.Streams != 3 {
		t.Fatalf("report %+v, %v", rep, err)
	}
	lines := strings.SplitAfter(out.String(), "\n")
	for name, bad := range map[string]string{
		"a line less":   strings.Join(append(append([]string{}, lines[:4]...), lines[5:]...), ""),
		"cut off":       strings.Join(lines[:5], ""),
		"swapped":       strings.Join(append([]string{lines[1], lines[0]}, lines[2:]...), ""),
		"not JSON":      lines[0] + "{",
		"nothing in it": "{}\n",
		"other time":    strings.Replace(out.String(), "2026-03-01T09", "2026-03-01T08", 1),
	} {
		if _, err := store.VerifyExport(strings.NewReader(bad), c); err == nil {
			t.Errorf("%s: no fault was found", name)
		}
	}
}

// TestTamperedDatabase changes the file behind the store's back; each change
// has to be named.
func TestTamperedDatabase(t *testing.T) {
	for name, change := range map[string]string{
		"body":          "UPDATE event SET body = CAST('{}' AS BLOB) WHERE pos = 3",
		"actor":         "UPDATE event SET by = '{\"kind\":\"person\",\"id\":\"u-eve\"}' WHERE pos = 3",
		"time":          "UPDATE event SET at = at + 1 WHERE pos = 3",
		"type":          "UPDATE event SET type = 'acked' WHERE pos = 3",
		"deleted":       "DELETE FROM event WHERE pos = 3",
		"end of stream": "DELETE FROM event WHERE pos = (SELECT max(pos) FROM event)",
		"whole stream":  "DELETE FROM event WHERE stream = 'case/c3'",
		"swapped":       "UPDATE event SET pos = -pos WHERE pos IN (3, 4); UPDATE event SET pos = 7 + pos WHERE pos < 0",
		"tree":          "UPDATE tree_node SET hash = zeroblob(32) WHERE idx = (SELECT max(idx) FROM tree_node)",
		"tree size":     "UPDATE counter SET n = n - 1 WHERE name = 'tree-size'",
		"case forward":  "UPDATE case_state SET version = version + 1 WHERE id = 'c1'",
		"case back":     "UPDATE case_state SET version = version - 1 WHERE id = 'c1'",
		"case head":     "UPDATE case_state SET head = zeroblob(32) WHERE id = 'c1'",
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			s := open(t, folder)
			fill(t, s, 0, 4)
			c := sequence(t, s, 100)
			if _, err := s.VerifyLedger(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			db := behind(t, folder)
			for _, guard := range []string{"DELETE FROM event", "UPDATE event SET body = x''"} {
				if _, err := db.Exec(guard); err == nil || !strings.Contains(err.Error(), "append-only") {
					t.Errorf("%s: %v, want a refusal", guard, err)
				}
			}
			if _, err := db.Exec("DROP TRIGGER event_keep; DROP TRIGGER event_fixed; " + change); err != nil {
				t.Fatal(err)
			}
			_, err := s.VerifyLedger(t.Context(), c)
			if _, ok := errors.AsType[*ledger.Fault](err); !ok {
				t.Errorf("got %v, want a fault", err)
			}
		})
	}
}

// behind opens the database file beside the store.
func behind(t *testing.T, folder string) *sql.DB {
	t.Helper()
	dsn := url.URL{Scheme: "file", Path: filepath.Join(folder, "casement.db")}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func FuzzVerifyExport(f *testing.F) {
	r := ledger.Link(ledger.Hash{}, ledger.Record{Tenant: "default", Stream: "policy", Seq: 1, Type: "x", Schema: 1, At: storetest.Epoch(), Body: []byte("b")})
	line, err := json.Marshal(map[string]any{"index": 0, "record": r})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add([]byte(`{"index":-1,"checkpoint":"x"}`))
	f.Add([]byte(`{"index":9223372036854775807,"record":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rep, err := store.VerifyExport(bytes.NewReader(b))
		if err == nil && rep.Sequenced+rep.Unsequenced > int64(len(b)) {
			t.Errorf("%d bytes hold %d records", len(b), rep.Sequenced+rep.Unsequenced)
		}
	})
}
