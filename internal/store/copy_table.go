package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A copy knows the tables from both schemas: one that only one of them has, or a
// column, is a fault that a test finds.

// copyColumn is a column that is copied. Its value is read as an integer, a text
// or bytes; none is NULL.
type copyColumn struct {
	name string
	kind byte // 'i', 't' or 'b'
	// lite and pg are how it is read; ? is the size of the ledger's tree.
	lite, pg string
	// counts: PostgreSQL numbers new rows by it.
	counts bool
}

// copyTable is a table that is copied, and how far that came.
type copyTable struct {
	name string
	cols []copyColumn
	// key are the columns that tell rows apart; without any the table is copied
	// once, at the end.
	key []int
	// grows is the column by which rows are only ever added, -1: rows change.
	grows int
	// high is how far a growing table was copied; seen are the rows of others
	// that were copied, by the hash of their key.
	high int64
	seen map[rowHash]rowHash
	// rows and sum are those of the source, as they went out.
	rows int64
	sum  rowSum
	// backRows and backSum are those that were read back from PostgreSQL: of a
	// growing table up to back, of others those of commands up to it.
	backRows int64
	backSum  rowSum
	back     int64
	// replaced counts texts of which PostgreSQL holds not every byte.
	replaced int64
}

// rowHash stands for a row or its key.
type rowHash [16]byte

// rowSum stands for rows in any order.
type rowSum [4]uint64

func (s *rowSum) add(hash [32]byte) {
	for i := range s {
		s[i] += binary.LittleEndian.Uint64(hash[8*i:])
	}
}

// sub takes a row away.
func (s *rowSum) sub(hash [32]byte) {
	for i := range s {
		s[i] -= binary.LittleEndian.Uint64(hash[8*i:])
	}
}

// fixed are tables whose texts are the ledger's: they are copied byte for byte
// or not at all.
func (t *copyTable) fixed() bool {
	return t.name == "event" || t.name == "tree_node" || t.name == "checkpoint"
}

// only are the tables and columns that one database has and the other needs not.
func only() (lite, pg []string) {
	return []string{"goose_db_version", "sighting_log", "move", "sighting.upto"}, []string{pgSchemaTable, "move", "event.tree_index", "event.batch", "event_batch", "effect.sent_at", "effect.courier"}
}

// copyTables reads both schemas and joins them.
func copyTables(ctx context.Context, lite *sql.DB, pg pgx.Tx) ([]*copyTable, error) {
	onlyLite, _ := only()
	names, err := texts(lite.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	var out []*copyTable
	for _, name := range names {
		if slices.Contains(onlyLite, name) {
			continue
		}
		cols, err := texts(lite.QueryContext(ctx, "SELECT name FROM pragma_table_info(?)", name))
		if err != nil {
			return nil, fmt.Errorf("read the schema: %w", err)
		}
		t := &copyTable{name: name, grows: -1, back: -1, seen: map[rowHash]rowHash{}}
		if err := t.join(ctx, cols, pg); err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// texts returns the only column of a read.
func texts(rows *sql.Rows, err error) ([]string, error) {
	var list []string
	err = eachRow(rows, err, func(row scanner) error {
		var s string
		err := row.Scan(&s)
		list = append(list, s)
		return err
	})
	return list, err
}

// join fills in what PostgreSQL knows of the table.
func (t *copyTable) join(ctx context.Context, lite []string, pg pgx.Tx) error {
	onlyLite, onlyPG := only()
	rows, err := pg.Query(ctx, `SELECT column_name, data_type, is_identity = 'YES' FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position`, t.name)
	if err != nil {
		return err
	}
	var name, kind string
	var counts bool
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &counts}, func() error {
		c := copyColumn{name: name, counts: counts, lite: quoted(name), pg: quoted(name)}
		switch kind {
		case "bigint":
			c.kind = 'i'
		case "text":
			c.kind = 't'
		case "bytea":
			c.kind = 'b'
		default:
			return fmt.Errorf("column %s is a %s", name, kind)
		}
		switch {
		case t.name == "event" && name == "tree_index":
			c.lite, c.pg = "CASE WHEN pos <= ?1 THEN pos - 1 ELSE -1 END", "coalesce(tree_index, -1)"
		case slices.Contains(onlyPG, t.name+"."+name):
			return nil // begins with its default
		case !slices.Contains(lite, name):
			return fmt.Errorf("PostgreSQL has a column %s, SQLite has not", name)
		}
		t.cols = append(t.cols, c)
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range lite {
		if t.column(name) < 0 && !slices.Contains(onlyLite, t.name+"."+name) {
			return fmt.Errorf("SQLite has a column %s, PostgreSQL has not", name)
		}
	}
	switch t.name {
	case "event":
		t.grows = t.column("pos")
	case "tree_node":
		t.grows = t.column("idx")
	}
	return t.readKey(ctx, pg)
}

// readKey reads the columns of the primary key, or else of a unique index.
func (t *copyTable) readKey(ctx context.Context, pg pgx.Tx) error {
	rows, err := pg.Query(ctx, `SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
		WHERE i.indexrelid = (SELECT indexrelid FROM pg_index WHERE indrelid = to_regclass($1) AND indisunique AND indpred IS NULL
			ORDER BY indisprimary DESC, indexrelid LIMIT 1) ORDER BY a.attnum`, quoted(t.name))
	if err != nil {
		return err
	}
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error {
		t.key = append(t.key, t.column(name))
		return nil
	})
	return err
}

// names are the columns' names.
func (t *copyTable) names() []string {
	out := make([]string, len(t.cols))
	for i, c := range t.cols {
		out[i] = c.name
	}
	return out
}

// column returns the index of a column, -1 if there is none.
func (t *copyTable) column(name string) int {
	return slices.IndexFunc(t.cols, func(c copyColumn) bool { return c.name == name })
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// list joins what f makes of each column.
func (t *copyTable) list(f func(copyColumn) string) string {
	words := make([]string, len(t.cols))
	for i, c := range t.cols {
		words[i] = f(c)
	}
	return strings.Join(words, ", ")
}

// liteText reads the table from SQLite; ?1 is the size of the ledger's tree.
func (t *copyTable) liteText() string {
	return "SELECT " + t.list(func(c copyColumn) string { return c.lite }) + " FROM " + quoted(t.name)
}

// places are variables for a row.
func (t *copyTable) places() []any {
	out := make([]any, len(t.cols))
	for i, c := range t.cols {
		switch c.kind {
		case 'i':
			out[i] = new(int64)
		case 't':
			out[i] = new(string)
		default:
			out[i] = new([]byte)
		}
	}
	return out
}

// mend makes the texts of a row such as PostgreSQL holds, or refuses them.
func (t *copyTable) mend(row []any) error {
	for i, p := range row {
		s, ok := p.(*string)
		if !ok {
			continue
		}
		good := pgText(*s)
		if good == *s {
			continue
		}
		if t.fixed() {
			return fmt.Errorf("%s: %w: %s holds NUL or is no UTF-8, which PostgreSQL's texts can't hold, and the ledger may not change by a byte: %q", t.describe(row), ErrUncopyable, t.cols[i].name, *s)
		}
		*s = good
		t.replaced++
	}
	return nil
}

// describe names a row.
func (t *copyTable) describe(row []any) string {
	words := []string{t.name}
	for _, name := range []string{"pos", "idx", "id", "tenant", "stream", "seq"} {
		if i := t.column(name); i >= 0 {
			words = append(words, fmt.Sprintf("%s=%v", name, shown(row[i])))
		}
	}
	return strings.Join(words, " ")
}

func shown(p any) string {
	switch x := p.(type) {
	case *int64:
		return fmt.Sprint(*x)
	case *string:
		return fmt.Sprintf("%q", *x)
	}
	return "…"
}

// hash stands for the given columns of a row.
func (t *copyTable) hash(row []any, buf *[]byte, columns []int) [32]byte {
	b := (*buf)[:0]
	for _, i := range columns {
		switch x := row[i].(type) {
		case *int64:
			b = binary.LittleEndian.AppendUint64(append(b, 'i'), uint64(*x))
		case *string:
			b = append(binary.LittleEndian.AppendUint64(append(b, 't'), uint64(len(*x))), *x...)
		case *[]byte:
			b = append(binary.LittleEndian.AppendUint64(append(b, 'b'), uint64(len(*x))), *x...)
		}
	}
	*buf = b
	return sha256.Sum256(b)
}

// all are the indexes of all columns.
func (t *copyTable) all() []int {
	out := make([]int, len(t.cols))
	for i := range out {
		out[i] = i
	}
	return out
}

// values are a row as COPY takes it.
func (t *copyTable) values(row, out []any) []any {
	for i, p := range row {
		switch x := p.(type) {
		case *int64:
			out[i] = *x
			if t.cols[i].name == "tree_index" && *x < 0 {
				out[i] = nil
			}
		case *string:
			out[i] = *x
		case *[]byte:
			if *x == nil {
				*x = []byte{}
			}
			out[i] = *x
		}
	}
	return out
}
