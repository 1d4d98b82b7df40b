package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"

	"github.com/casement/casement/internal/recent"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// Write runs f as one part of a commit.
func (s *SQLite) Write(ctx context.Context, f func(exec func(text string, args ...any) error) error) error {
	return s.put(ctx, func(w *writer) error {
		return f(func(text string, args ...any) error {
			_, err := w.exec(text, args...)
			return err
		})
	})
}

// Queued returns how many requests wait for the next group.
func (s *SQLite) Queued() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return len(s.group.queue)
}

// Queued returns how many requests wait for the next group.
func (s *Postgres) Queued() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return len(s.group.queue)
}

// LearnSome is Learn with pieces of n rows.
func (s *SQLite) LearnSome(ctx context.Context, n int) (more bool, err error) { return s.learn(ctx, n) }

// CountSome counts the repeats of up to n findings.
func (s *SQLite) CountSome(ctx context.Context, n int) error {
	return s.put(ctx, func(w *writer) error { return w.fold(n) })
}

// Plan says how SQLite would run a statement.
func (s *SQLite) Plan(ctx context.Context, text string) (string, error) {
	var plan string
	rows, err := s.check.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text)
	err = eachRow(rows, err, func(row scanner) error {
		var a, b, c int
		var step string
		err := row.Scan(&a, &b, &c, &step)
		plan += step + "; "
		return err
	})
	return plan, err
}

// ShortPlans returns, by text, the plan of each statement that the idle short
// sessions have prepared, as EXPLAIN says it in JSON.
func (s *Postgres) ShortPlans(ctx context.Context) (map[string][]byte, error) {
	out := map[string][]byte{}
	idle := s.short.AcquireAllIdle(ctx)
	for _, c := range idle {
		defer c.Release()
	}
	for _, c := range idle {
		rows, err := c.Query(ctx, "SELECT name, statement, coalesce(array_length(parameter_types, 1), 0) FROM pg_prepared_statements", pgx.QueryExecModeExec)
		if err != nil {
			return nil, err
		}
		type prepared struct {
			Name, Text string
			N          int
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			args := ""
			if p.N > 0 {
				args = "(" + strings.Repeat("NULL, ", p.N-1) + "NULL)"
			}
			var plan []byte
			err := c.QueryRow(ctx, "EXPLAIN (FORMAT JSON) EXECUTE "+pgx.Identifier{p.Name}.Sanitize()+args, pgx.QueryExecModeExec).Scan(&plan)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Text, err)
			}
			out[p.Text] = plan
		}
	}
	return out, nil
}

// MigratePostgres brings the schema of an empty database to a version.
func MigratePostgres(ctx context.Context, url string, version int64) error {
	dir, err := fs.Sub(pgMigrations, "migrations/postgres")
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, dir, goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true), goose.WithTableName(pgSchemaTable))
	if err == nil {
		_, err = p.UpTo(ctx, version)
	}
	return errors.Join(err, db.Close())
}

// Exec changes what a copy sent.
func (c *Copy) Exec(ctx context.Context, text string) error {
	_, err := c.tx.Exec(ctx, text)
	return err
}

// Tables names what a copy copies, and the columns of each.
func (c *Copy) Tables() map[string][]string {
	out := map[string][]string{}
	for _, t := range c.list {
		for _, col := range t.cols {
			out[t.name] = append(out[t.name], col.name)
		}
	}
	return out
}

// Dump returns the rows of a table as texts, sorted.
func (c *Copy) Dump(ctx context.Context, table string, columns []string) ([]string, error) {
	rows, err := c.tx.Query(ctx, dumpText(table, columns))
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		v, err := row.Values()
		return fmt.Sprintf("%v", v), err
	})
	slices.Sort(list)
	return list, err
}

// Dump is Copy.Dump.
func (s *SQLite) Dump(ctx context.Context, table string, columns []string) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, dumpText(table, columns))
	var list []string
	err = eachRow(rows, err, func(r scanner) error {
		v, p := make([]any, len(columns)), make([]any, len(columns))
		for i := range v {
			p[i] = &v[i]
		}
		err := r.Scan(p...)
		list = append(list, fmt.Sprintf("%v", v))
		return err
	})
	slices.Sort(list)
	return list, err
}

func dumpText(table string, columns []string) string {
	words := make([]string, len(columns))
	for i, c := range columns {
		words[i] = quoted(c)
	}
	return "SELECT " + strings.Join(words, ", ") + " FROM " + quoted(table)
}

// Columns returns name and type of each column of a table.
func (s *SQLite) Columns(ctx context.Context, table string) ([]string, error) {
	return texts(s.read.QueryContext(ctx, "SELECT name || ' ' || type FROM pragma_table_info(?)", table))
}

// Never reports whether it is known without looking that a finding was never
// stored, and whether a key was.
func (s *SQLite) Never(tenant, uid string, k record.CaseKey) (finding, key bool) {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return s.memory.unseen.never(uidKey{tenant, uid}), s.memory.unseen.never(k)
}

// Unseen adds n numbers from first on to a filter and returns how many of as many
// others it takes for one of them, and whether it forgot one.
func Unseen(first, n int) (mistaken int, forgot bool) {
	u := unseen{seed: maphash.MakeSeed(), whole: true}
	for i := range n {
		u.add(first + i)
	}
	for i := range n {
		forgot = forgot || u.never(first+i)
		if !u.never(first + n + i) {
			mistaken++
		}
	}
	return mistaken, forgot
}

// Forget empties the memory of whole cases.
func (s *SQLite) Forget() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.memory.cases = recent.New[string, *remedy.Case](lately)
}

// State returns the state of a case as it is stored.
func (s *SQLite) State(ctx context.Context, id string) (string, error) {
	var state string
	err := s.one(ctx, []any{&state}, "SELECT state FROM case_state WHERE id = ?", id)
	return state, err
}

// Short makes a read that goes out together with others, and calls f with each
// number that it finds.
func (s *Postgres) Short(ctx context.Context, f func(n int), text string, args ...any) error {
	return s.reads(ctx, func(q querier) error {
		return q.each(func(row scanner) error {
			var n int
			if err := row.Scan(&n); err != nil {
				return err
			}
			f(n)
			return nil
		}, text, args...)
	})
}
