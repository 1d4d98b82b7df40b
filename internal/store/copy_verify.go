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

// readBack reads what is in PostgreSQL and was not read yet: nobody else can
// change it.
func (c *Copy) readBack(ctx context.Context, t *copyTable) error {
	// The command of this transaction that wrote a row.
	place := "cmin::text::bigint"
	if t.grows >= 0 {
		place = t.cols[t.grows].pg
	}
	rows, err := c.tx.Query(ctx, "SELECT "+place+", "+t.list(func(col copyColumn) string { return col.pg })+" FROM "+quoted(t.name)+" WHERE "+place+" > $1", t.back)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	row, all := t.places(), t.all()
	var at int64
	_, err = pgx.ForEachRow(rows, append([]any{&at}, row...), func() error {
		t.backSum.add(t.hash(row, &c.buf, all))
		t.backRows++
		t.back = max(t.back, at)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	return nil
}

// Audit looks at the records of the ledger's tree that were copied beside the
// server, so that no server has to wait for it later. The checkpoints are those
// that are known so far.
func (c *Copy) Audit(ctx context.Context, checkpoints ...ledger.Checkpoint) (err error) {
	if c.auditor, err = c.auditor.Continue(checkpoints...); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return c.db.each(ctx, func(row scanner) error {
		place, r, err := scanRecord(row)
		if err != nil {
			return err
		}
		return c.auditor.Add(place, r)
	}, c.recordsText(" WHERE tree_index >= ?"), c.auditor.Size())
}

// VerifyLedger goes on from Audit and verifies as that of any store does.
func (c *Copy) VerifyLedger(ctx context.Context, checkpoints ...ledger.Checkpoint) (AuditReport, error) {
	a, err := c.auditor.Continue(checkpoints...)
	if err != nil {
		return AuditReport{}, fmt.Errorf("verify: %w", err)
	}
	c.auditor = nil
	return c.audit(ctx, a, c.recordsText(" WHERE tree_index >= ? OR tree_index IS NULL"), a.Size())
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

func (d copied) join(ctx context.Context, p part) error { return d.put(ctx, p) }

func (d copied) one(ctx context.Context, dest []any, text string, args ...any) error {
	return pgRow{d.tx.QueryRow(ctx, dialect(text), pgArgs(args)...)}.Scan(dest...)
}

func (d copied) each(ctx context.Context, f func(scanner) error, text string, args ...any) error {
	return pgEach(ctx, d.tx, f, text, args)
}

func (d copied) reads(ctx context.Context, f func(q querier) error) error {
	return f(pgReads{ctx: ctx, q: d.tx})
}

func (d copied) snapshot(ctx context.Context, f func(q querier) error) error {
	return f(pgReads{ctx: ctx, q: d.tx})
}

func (d copied) ledgerText() (place, from, order string) { return (&Postgres{}).ledgerText() }
