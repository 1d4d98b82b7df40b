package store

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/remedy"
)

// Commits of several processes that meet on rows must not wait for each other in
// a circle: the database sees that only after deadlock_timeout, a second, and
// then ends one of them. So every commit of units takes its locks in one order:
//
//  1. lockGroups, shared, or alone where the rows are not written in this order:
//     with savepoints, where each part is written whole, and where findings
//     move or a case has other keys than its own;
//  2. lockClaims, lockPauses, the budgets and the outside objects by their names;
//  3. the effects whose outcomes it brings by id, then the cases by id;
//  4. what only belongs to these cases, in any order;
//  5. rows that cases share, by table and key (see sharedTable).
//
// What else writes holds one of these rows at a time, passes over those that are
// locked, or goes by the same order.
const lockGroups = "groups"

// sharedTable is the rank of a table whose rows cases share.
type sharedTable int

const (
	sharedKey      sharedTable = iota
	sharedKeyAgain             // rows of sharedKey that the transaction wrote
	sharedFinding
	sharedRaw
	sharedRawUse
	sharedFact
	sharedNote
	sharedTicket
)

// sharedWrite is a write of rows that cases share.
type sharedWrite struct {
	table       sharedTable
	tenant, row string
	text        string // "" for a row of a kind
	kind        rowKind
	args        []any
	read        func(pgx.Row) error // nil for a text that answers nothing
}

func (s sharedWrite) sameRow(o sharedWrite) bool {
	return s.table == o.table && s.tenant == o.tenant && s.row == o.row
}

// share is send for a row that cases share: it may run as late as the next
// call of pgLink.sorted.
func (w *writer) share(table sharedTable, tenant, row, text string, args ...any) error {
	l, ok := w.link.(*pgLink)
	if !ok || !l.lazy || !l.sorts {
		return w.send(text, args...)
	}
	w.changed++
	l.shared = append(l.shared, sharedWrite{table: table, tenant: tenant, row: row, text: text, args: laterArgs(args)})
	return nil
}

// shareGet is share for a text that answers with one row or none; found says which,
// at the latest once the transaction is committed.
func (w *writer) shareGet(table sharedTable, tenant, row string, dest []any, found *bool, text string, args ...any) error {
	take := func(err error) error {
		*found = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	}
	l, ok := w.link.(*pgLink)
	if !ok || !l.lazy {
		return take(w.get(dest, text, args...))
	}
	w.changed++
	s := sharedWrite{table: table, tenant: tenant, row: row, text: text, args: laterArgs(args), read: func(row pgx.Row) error { return take(pgRow{row}.Scan(dest...)) }}
	if l.sorts {
		l.shared = append(l.shared, s)
		return nil
	}
	l.drain()
	s.queue(&l.queue)
	return nil
}

// queue queues a text.
func (s sharedWrite) queue(b *pgx.Batch) {
	q := b.Queue(dialect(s.text), s.args...)
	if s.read != nil {
		q.QueryRow(s.read)
	}
}

// sorted queues what was shared, in the order of all processes. Writes of one
// row keep theirs: rows of a kind go together, but none twice.
func (l *pgLink) sorted() {
	l.drain()
	slices.SortStableFunc(l.shared, func(a, b sharedWrite) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.row, b.row))
	})
	var rows [][]any
	for i, s := range l.shared {
		if s.text != "" {
			s.queue(&l.queue)
			continue
		}
		rows = append(rows, s.args)
		if i+1 == len(l.shared) || l.shared[i+1].text != "" || l.shared[i+1].kind != s.kind || l.shared[i+1].sameRow(s) {
			l.queueRows(s.kind, rows...)
			rows = nil
		}
	}
	l.shared = nil
}

// inOrder queues the locks that a group needs beside those of rows.
func (l *pgLink) inOrder(batch []*request, savepoints bool, ride *riding) {
	alone, claims, pauses := savepoints, ride != nil, false
	var budgets, objects []string
	for _, r := range batch {
		for _, part := range r.units {
			for _, u := range part {
				alone = alone || len(u.MoveFindings) > 0 || len(u.DropKey) > 0 || !oneKey(u.Case)
				if u.Done != nil && u.Hold {
					claims = true
					if u.Done.Row.Object != "" {
						objects = append(objects, pgText(u.Done.Row.Object))
					}
				}
				pauses = pauses || len(u.PauseScopes) > 0
				budgets = append(budgets, budgetKeys(u.Reserve)...)
			}
		}
	}
	l.lazy, l.sorts, l.held = !savepoints, !alone, map[string]bool{}
	l.queueLock(lockGroups, !alone)
	if claims {
		l.queueLock(lockClaims, true)
	}
	if ride != nil {
		objects = append(objects, ride.objects...)
	}
	if pauses {
		l.queueLock(lockPauses, true)
	}
	for _, key := range distinct(budgets) {
		l.queueLock("budget/"+key, false)
	}
	for _, object := range distinct(objects) {
		l.queueLock(objectLock(object), false)
	}
}

// oneKey reports whether a case is bound to the key that it was opened with, and
// to no other.
func oneKey(c remedy.Case) bool {
	keys := c.KeysBound()
	return len(keys) == 1 && keys[0] == c.Key
}

func (l *pgLink) queueLock(name string, shared bool) {
	l.queue.Queue(lockText(shared), lockSpace, name)
	l.held[name] = true
}

func lockText(shared bool) string {
	if shared {
		return "SELECT pg_advisory_xact_lock_shared($1, hashtext($2))"
	}
	return "SELECT pg_advisory_xact_lock($1, hashtext($2))"
}

// lock takes a lock unless the transaction began with it.
func (l *pgLink) lock(name string, shared bool) error {
	if l.held[name] {
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	_, err := l.tx.Exec(l.context(), lockText(shared), lockSpace, name)
	return err
}
