package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/ledger"
)

// CopiedTable is a table of a copy.
type CopiedTable struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
	// Replaced counts texts that held NUL or bytes that are no UTF-8, which
	// became U+FFFD, as in everything that PostgreSQL stores.
	Replaced int64 `json:"replaced,omitempty"`
}

// Copied returns what was sent so far.
func (c *Copy) Copied() []CopiedTable {
	list := make([]CopiedTable, 0, len(c.list))
	for _, t := range c.list {
		list = append(list, CopiedTable{t.name, t.rows, t.replaced})
	}
	return list
}

// Verify reads everything back and compares it with what the source held: count
// and hash of every table, and the root of the ledger's tree. Whether chains,
// tree and checkpoints hold is told by VerifyLedger.
func (c *Copy) Verify(ctx context.Context, from *SQLite) ([]CopiedTable, error) {
	list := c.Copied()
	for _, t := range c.list {
		if err := c.readBack(ctx, t); err != nil {
			return list, err
		}
		if t.backRows != t.rows || t.backSum != t.sum {
			return list, fmt.Errorf("%w: %s has %d rows here and %d there, or their bytes differ", ErrDiffers, t.name, t.backRows, t.rows)
		}
	}
	was, err := from.root(ctx)
	if err != nil {
		return list, err
	}
	is, err := c.root(ctx)
	if err == nil && is != was {
		err = fmt.Errorf("%w: the root of the ledger's tree is %s here and %s there", ErrDiffers, is, was)
	}
	return list, err
}

// readBack reads what is in PostgreSQL, of a table that only grows what was not
// read yet: nobody else can change it.
func (c *Copy) readBack(ctx context.Context, t *copyTable) error {
	text := t.pgText()
	if t.grows < 0 {
		t.backRows, t.backSum = 0, rowSum{}
	} else if t.backRows > 0 {
		text += fmt.Sprintf(" WHERE %s > %d", t.cols[t.grows].pg, t.back)
	}
	rows, err := c.tx.Query(ctx, text)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	row, all := t.places(), t.all()
	_, err = pgx.ForEachRow(rows, row, func() error {
		t.backSum.add(t.hash(row, &c.buf, all))
		t.backRows++
		if t.grows >= 0 {
			t.back = max(t.back, *row[t.grows].(*int64))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	return nil
}

// root is the root of the ledger's tree, by its stored hashes.
func (s *tables) root(ctx context.Context) (ledger.Hash, error) {
	var size int64
	err := s.db.one(ctx, []any{&size}, "SELECT coalesce((SELECT n FROM counter WHERE tenant = '' AND name = '"+treeSize+"'), 0)")
	if err != nil || size == 0 {
		return ledger.Hash{}, err
	}
	return ledger.Root(size, s.nodes(ctx))
}

// Analyze tells PostgreSQL's planner what the tables hold now.
func (c *Copy) Analyze(ctx context.Context) error {
	names, err := c.names(ctx)
	if err == nil {
		_, err = c.tx.Exec(ctx, "ANALYZE "+strings.Join(names, ", "))
	}
	if err != nil {
		return fmt.Errorf("analyze: %w", err)
	}
	return nil
}

// copied is the database as the transaction of a copy sees it.
type copied struct{ tx pgx.Tx }

func (d copied) put(context.Context, part) error {
	return errors.New("a copy is written by Copy only")
}

func (d copied) one(ctx context.Context, dest []any, text string, args ...any) error {
	return pgRow{d.tx.QueryRow(ctx, dialect(text), pgArgs(args)...)}.Scan(dest...)
}

func (d copied) each(ctx context.Context, f func(scanner) error, text string, args ...any) error {
	return pgEach(ctx, d.tx, f, text, args)
}

func (d copied) reads(ctx context.Context, f func(q querier) error) error {
	return f(pgReads{ctx, d.tx})
}

func (d copied) snapshot(ctx context.Context, f func(q querier) error) error {
	return f(pgReads{ctx, d.tx})
}

func (d copied) ledgerText() (place, order string) { return (&Postgres{}).ledgerText() }
