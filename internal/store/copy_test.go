package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// beginCopy begins a copy to an empty database.
func beginCopy(t testing.TB, to *store.Postgres) *store.Copy {
	t.Helper()
	c, _, came, err := to.BeginCopy(context.Background())
	if err != nil || came {
		t.Fatal(came, err)
	}
	return c
}

// bulk copies beside whoever holds the folder.
func bulk(t testing.TB, c *store.Copy, folder string) {
	t.Helper()
	r, err := store.OpenReader(context.Background(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Bulk(context.Background(), r), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestCopyOfAnyRows: whatever rows the tables hold, and whatever is added,
// changed and removed between two passes, what arrives is what is there.
func TestCopyOfAnyRows(t *testing.T) {
	_, url := emptyPG(t)
	to := openPG(t, url)
	empty, folder, n := t.TempDir(), t.TempDir(), 0
	first := open(t, empty)
	c := beginCopy(t, to)
	want(t, c.Rest(t.Context(), first), nil)
	tables := c.Tables()
	c.Rollback()
	if len(tables) < 20 || len(tables["event"]) != 12 || slices.Contains(tables["sighting"], "upto") {
		t.Fatalf("tables of a copy: %v", tables)
	}
	want(t, first.Close(), nil)
	rapid.Check(t, func(r *rapid.T) {
		n++
		ctx, sub := context.Background(), filepath.Join(folder, fmt.Sprint(n))
		if err := os.CopyFS(sub, os.DirFS(empty)); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(s.Close(), os.RemoveAll(sub)); err != nil {
				t.Error(err)
			}
		}()
		c := beginCopy(t, to)
		defer c.Rollback()
		w := &rowWriter{r: r, s: s, tables: tables, names: slices.Sorted(maps.Keys(tables)), rows: map[string][]int{}}
		for range rapid.IntRange(0, 2).Draw(r, "passes beside") {
			w.write(rapid.IntRange(0, 20).Draw(r, "writes"))
			bulk(t, c, sub)
		}
		w.write(rapid.IntRange(0, 20).Draw(r, "writes at the end"))
		if err := c.Rest(ctx, s); err != nil {
			r.Fatal(err)
		}
		if _, err := c.Verify(ctx, s); err != nil && !strings.Contains(err.Error(), "tree hash") { // these nodes are no tree
			r.Fatal(err)
		}
		for name, columns := range tables {
			columns = slices.DeleteFunc(slices.Clone(columns), func(s string) bool { return s == "tree_index" })
			a, err1 := s.Dump(ctx, name, columns)
			b, err2 := c.Dump(ctx, name, columns)
			if err := errors.Join(err1, err2); err != nil || !slices.Equal(a, b) {
				r.Fatalf("%s: %v\nthere %q\nhere  %q", name, err, a, b)
			}
		}
		placed, err := c.Dump(ctx, "event", []string{"pos", "tree_index"})
		if err != nil {
			r.Fatal(err)
		}
		for i := range w.events {
			index := "<nil>"
			if i < w.size {
				index = fmt.Sprint(i)
			}
			if line := fmt.Sprintf("[%d %s]", i+1, index); !slices.Contains(placed, line) {
				r.Fatalf("events %v, want %s (tree of %d)", placed, line, w.size)
			}
		}
	})
}

// rowWriter writes rows of any table. Row n belongs to tenant tn.
type rowWriter struct {
	r      *rapid.T
	s      *store.SQLite
	tables map[string][]string
	names  []string
	rows   map[string][]int
	n      int
	events int
	size   int
}

func (w *rowWriter) write(times int) {
	for range times {
		name := rapid.SampledFrom(w.names).Draw(w.r, "table")
		what := rapid.SampledFrom([]string{"add", "add", "change", "remove"}).Draw(w.r, "what")
		if len(w.rows[name]) == 0 || name == "event" || name == "tree_node" {
			what = "add"
		}
		var err error
		switch columns := w.tables[name]; what {
		case "add":
			err = w.add(name, columns)
		case "change":
			k := rapid.SampledFrom(w.rows[name]).Draw(w.r, "row")
			col := columns[len(columns)-1]
			w.n++
			err = w.exec(fmt.Sprintf("UPDATE %q SET %q = ? WHERE tenant = ?", name, col), w.value(name, col), fmt.Sprint("t", k))
		case "remove":
			i := rapid.IntRange(0, len(w.rows[name])-1).Draw(w.r, "row")
			err = w.exec(fmt.Sprintf("DELETE FROM %q WHERE tenant = ?", name), fmt.Sprint("t", w.rows[name][i]))
			w.rows[name] = slices.Delete(w.rows[name], i, i+1)
		}
		if err == nil && name == "event" && w.size < w.events && rapid.Bool().Draw(w.r, "sequence") {
			w.size = rapid.IntRange(w.size+1, w.events).Draw(w.r, "size")
			err = w.exec("INSERT INTO counter (tenant, name, n) VALUES ('', 'tree-size', ?) ON CONFLICT DO UPDATE SET n = excluded.n", w.size)
		}
		if err != nil {
			w.r.Fatalf("%s %s: %v", what, name, err)
		}
	}
}

func (w *rowWriter) add(name string, columns []string) error {
	w.n++
	w.rows[name] = append(w.rows[name], w.n)
	var args []any
	var cols []string
	for _, col := range columns {
		switch {
		case col == "tree_index":
			continue
		case name == "event" && col == "pos":
			w.events++
			args = append(args, w.events)
		default:
			args = append(args, w.value(name, col))
		}
		cols = append(cols, fmt.Sprintf("%q", col))
	}
	if name == "sighting" {
		cols, args = append(cols, "upto"), append(args, 0)
	}
	return w.exec(fmt.Sprintf("INSERT INTO %q (%s) VALUES (?%s)", name, strings.Join(cols, ", "), strings.Repeat(", ?", len(cols)-1)), args...)
}

// value is one of the column's type. Numbers and texts are new ones.
func (w *rowWriter) value(table, col string) any {
	if col == "tenant" {
		return fmt.Sprint("t", w.n)
	}
	switch w.kinds(table)[col] {
	case "INTEGER":
		return w.n
	case "BLOB":
		return rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(w.r, "bytes")
	}
	return fmt.Sprint(rapid.SampledFrom([]string{"", "a", "ü\U0001F512", "'", `\N`, "\t\n"}).Draw(w.r, "text"), w.n)
}

func (w *rowWriter) kinds(table string) map[string]string {
	out := map[string]string{}
	list, err := w.s.Columns(context.Background(), table)
	if err != nil {
		w.r.Fatal(err)
	}
	for _, c := range list {
		name, kind, _ := strings.Cut(c, " ")
		out[name] = kind
	}
	return out
}

func (w *rowWriter) exec(text string, args ...any) error {
	return w.s.Write(context.Background(), func(exec func(string, ...any) error) error { return exec(text, args...) })
}

// filled is an install with some of everything, its tree grown half way.
func filled(t *testing.T, folder string) *store.SQLite {
	t.Helper()
	s, ctx, at := open(t, folder), t.Context(), storetest.Epoch()
	for i := range 5 {
		id := fmt.Sprint("c", i)
		u := storetest.NewCase(id, "key-"+id)
		u.Facts = map[string][]byte{fmt.Sprint("f", i): []byte("{}")}
		commit(t, s, u)
	}
	_, _, err := s.Sequence(ctx, 9)
	want(t, err, nil)
	_, err = s.Commit(ctx, nil, []record.Sighting{{Tenant: "default", UID: "uid-c1", At: at.Add(time.Hour), Count: 3}})
	want(t, err, nil)
	want(t, s.SetPause(ctx, store.Pause{Scope: "all", By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, At: at, Reason: record.NoteText{Hash: "n1", Salt: "s", Text: "why\x00"}}), nil)
	want(t, s.PutUser(ctx, store.User{ID: "u-ann", Tenant: "default", Name: "ann", Roles: []string{"admin"}, CreatedAt: at}), nil)
	want(t, s.SetSetting(ctx, "", "ledger-epoch", []byte(`{"n":3}`)), nil)
	_, err = s.InboxPut(ctx, body("github", "one"))
	want(t, err, nil)
	for i := range 3 {
		_, _, err = s.CreateTicket(ctx, fmt.Sprint("once", i), store.Ticket{Tenant: "default", Project: "p", CaseID: "c1", Title: "t", Status: "open", CreatedAt: at})
		want(t, err, nil)
	}
	return s
}

func commit(t *testing.T, s interface {
	Commit(context.Context, []record.Unit, []record.Sighting) ([]error, error)
}, units ...record.Unit) {
	t.Helper()
	errs, err := s.Commit(t.Context(), units, nil)
	want(t, errors.Join(append(errs, err)...), nil)
}

// TestCopy: an install is copied beside its server and then whole. The copy
// holds, and goes on where the original ended.
func TestCopy(t *testing.T) {
	_, url := emptyPG(t)
	to, folder, ctx := openPG(t, url), t.TempDir(), t.Context()
	s, at := filled(t, folder), storetest.Epoch().Add(time.Hour)
	c := beginCopy(t, to)
	defer c.Rollback()
	want(t, c.Empty(ctx), nil)
	bulk(t, c, folder)

	leases, err := s.Claim(ctx, at, time.Minute, 2)
	if err != nil || len(leases) != 2 {
		t.Fatalf("claimed %v %v", leases, err)
	}
	one, err := s.Load(ctx, "c1")
	want(t, err, nil)
	commit(t, s, storetest.Step(one, remedy.Acked{}, at), storetest.NewCase("late", "key-late"))
	_, _, err = s.Sequence(ctx, 100)
	want(t, err, nil)
	commit(t, s, storetest.NewCase("last", "key-last")) // not in the tree yet
	want(t, s.Close(), nil)
	if s, err = store.OpenToMove(ctx, folder); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want(t, c.Rest(ctx, s), nil)
	list, err := c.Verify(ctx, s)
	want(t, err, nil)
	for _, x := range list {
		if x.Replaced != 0 != (x.Name == "note") {
			t.Errorf("replaced texts: %+v", x)
		}
	}
	was, err := s.VerifyLedger(ctx)
	want(t, err, nil)
	is, err := c.VerifyLedger(ctx)
	want(t, err, nil)
	if is != was || is.Cases != 7 || is.Unsequenced == 0 || is.Sequenced == 0 {
		t.Errorf("ledger there %+v, here %+v", was, is)
	}
	if n, err := c.VerifySample(ctx, 3); n != 3 || err != nil {
		t.Errorf("replayed %d, %v", n, err)
	}
	want(t, c.Analyze(ctx), nil)
	m := store.Move{ID: "copy1", Target: to.Name(), State: store.Arrived, At: at}
	want(t, c.Prepare(ctx, m), nil)
	if known, err := c.Commit(ctx); !known || err != nil {
		t.Fatal(known, err)
	}
	goesOn(t, to, s, m)
}

// goesOn uses the copy.
func goesOn(t *testing.T, to *store.Postgres, s *store.SQLite, m store.Move) {
	ctx, at := t.Context(), m.At
	for _, id := range []string{"c0", "c1", "late", "last"} { // their states are behind
		was, err := s.Load(ctx, id)
		want(t, err, nil)
		is, err := to.Load(ctx, id)
		want(t, err, nil)
		same(t, is, was)
	}
	if got, ok, err := to.Move(ctx); !ok || err != nil || got != m {
		t.Errorf("the mark is %+v %v %v", got, ok, err)
	}
	c, got, came, err := to.BeginCopy(ctx)
	if err != nil || !came || got != m {
		t.Errorf("a second copy: %+v %v %v", got, came, err)
	}
	want(t, c.Empty(ctx), store.ErrNotEmpty)
	c.Rollback()
	rows, err := to.Findings(ctx, "c1")
	if err != nil || len(rows) != 1 || rows[0].Sightings != 4 {
		t.Errorf("findings %+v %v", rows, err)
	}
	ticket, _, err := to.CreateTicket(ctx, "new", store.Ticket{Tenant: "default", Project: "p", Title: "t", Status: "open", CreatedAt: at})
	if err != nil || ticket.ID != 4 {
		t.Errorf("the next ticket is %d, %v", ticket.ID, err)
	}
	commit(t, to, storetest.NewCase("after", "key-after"))
	if _, _, err := to.Sequence(ctx, 1000); err != nil {
		t.Error(err)
	}
	rep, err := to.VerifyLedger(ctx)
	if err != nil || rep.Cases != 8 || rep.Unsequenced != 0 {
		t.Errorf("after going on: %+v, %v", rep, err)
	}
	mine, err := s.EffectsOf(ctx, "", 100)
	want(t, err, nil)
	theirs, err := to.EffectsOf(ctx, "", 100)
	if err != nil || len(theirs) != len(mine)+1 {
		t.Errorf("%d effects there, %d here, %v", len(mine), len(theirs), err)
	}
	leases, err := to.Claim(ctx, at.Add(time.Hour), time.Minute, 100)
	if err != nil || len(leases) == 0 || leases[0].Epoch <= 2 {
		t.Errorf("the next claims are %+v, %v", leases, err)
	}
}

// TestCopyRefuses: what PostgreSQL can't hold of the ledger, a database that
// holds something, and an arrival that differs by a byte.
func TestCopyRefuses(t *testing.T) {
	srv, url := emptyPG(t)
	ctx, folder := t.Context(), t.TempDir()
	to, s := openPG(t, srv.Copy(t, url)), filled(t, folder)
	for _, x := range []struct{ table, text string }{
		{"case_state", "UPDATE case_state SET title = title || '!' WHERE id = 'c3'"},
		{"finding", "DELETE FROM finding WHERE uid = 'uid-c2'"},
		{"event", "ALTER TABLE event DISABLE TRIGGER event_keep; UPDATE event SET body = body || '\\x20' WHERE pos = 5"},
		{"event", "ALTER TABLE event DISABLE TRIGGER event_keep; UPDATE event SET tree_index = NULL WHERE pos = 9"},
	} {
		c := beginCopy(t, to)
		want(t, c.Rest(ctx, s), nil)
		want(t, c.Exec(ctx, x.text), nil)
		_, err := c.Verify(ctx, s)
		want(t, err, store.ErrDiffers)
		if !strings.Contains(err.Error(), x.table+" has") {
			t.Error(err)
		}
		c.Rollback()
	}
	want(t, to.SetSetting(ctx, "", "a", []byte("b")), nil)
	c := beginCopy(t, to)
	err := c.Empty(ctx)
	c.Rollback()
	want(t, err, store.ErrNotEmpty)
	if !strings.Contains(err.Error(), `"setting" has 1 rows`) {
		t.Error(err)
	}
	_, err = s.AppendEvent(ctx, store.StreamEvent{Tenant: "default", Stream: "source/a\x00b", Type: "x", Schema: 1, At: storetest.Epoch(), By: remedy.Actor{Kind: remedy.System, ID: "s"}})
	want(t, err, nil)
	c = beginCopy(t, openPG(t, url))
	defer c.Rollback()
	err = c.Rest(ctx, s)
	want(t, err, store.ErrUncopyable)
	if !strings.Contains(err.Error(), `stream="source/a\x00b" seq=1`) {
		t.Error(err)
	}
}

// TestMovedFolder: a folder whose install moved is opened by nobody but a move,
// and by a release before this one not at all.
func TestMovedFolder(t *testing.T) {
	ctx, folder := t.Context(), t.TempDir()
	s := open(t, folder)
	m := store.Move{ID: "copy1", Target: "db:5432/casement", State: store.Moving, At: storetest.Epoch()}
	want(t, s.SetMove(ctx, m), nil)
	m.State = store.Moved
	want(t, s.SetMove(ctx, m), nil)
	want(t, s.Close(), nil)
	_, err := store.Open(ctx, folder)
	if e, ok := errors.AsType[*store.MovedError](err); !ok || e.Move != m || !strings.Contains(e.Error(), "moved to PostgreSQL at db:5432/casement") {
		t.Fatalf("opened a folder that moved: %v", err)
	}
	want(t, store.Unmove(ctx, folder), nil)
	s = open(t, folder)
	if _, ok, err := s.Move(ctx); ok || err != nil {
		t.Error(ok, err)
	}
	// A release that knows fewer migrations refuses a newer schema.
	v, err := s.Schema(ctx)
	want(t, err, nil)
	want(t, s.Write(ctx, func(exec func(string, ...any) error) error {
		return exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)", v+1)
	}), nil)
	want(t, s.Close(), nil)
	if _, err := store.Open(ctx, folder); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Error(err)
	}
	if _, err := store.OpenReader(ctx, folder); !errors.Is(err, store.ErrOtherRelease) {
		t.Error(err)
	}
}
