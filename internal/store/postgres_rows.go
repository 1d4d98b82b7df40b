package store

import "strings"

// rowKind is a statement that writes many rows at once on PostgreSQL: what each
// unit of a group writes goes out together. Own rows of cases are written in the
// order of the kinds; what a kind does may rely on those before it.
type rowKind int

const (
	rowDone   rowKind = iota // id: the effect is done
	rowDrop                  // id, instant: it keeps its row while its lease runs
	rowUndrop                // id: it goes if it has none
	rowEvent
	rowCase
	rowStep
	rowCount
	rowEffect
	rowKinds // the number of kinds of own rows

	// Rows that cases share go in the order of sharedTable.
	rowKey
	rowKeyBeside
	rowKeyAgain
	rowFinding
	rowRaw
	rowRawUse
	rowFact
	rowNote
	allRows // the number of kinds
)

// caseColumns are the columns of case_state in the order in which rowCase and
// rowStep take them, with their types.
const (
	caseColumns = `id, version, head, state, open, quiet, word, title, class, domain, path, risk, severity, owner, asset, environment,
		waits_for, waits_who, waits_since, next_due, fix_due, opened_at, closed_at, how, updated_at, wake_at, urgency`
	caseTypes = "tbyybbtttttbbttttt" + "bbbbbtbbb"
)

// text is the statement of a kind. It gets its columns as lists.
func (k rowKind) text() string {
	switch k {
	case rowDone:
		return "DELETE FROM effect WHERE id = ANY(?::text[])"
	case rowDrop:
		return "UPDATE effect SET dropped = 1, next_at = effect.lease_until FROM " + lists("tb", "id, now") + " WHERE effect.id = q.id AND effect.lease_until > q.now"
	case rowUndrop:
		return "DELETE FROM effect WHERE id = ANY(?::text[]) AND dropped = 0"
	case rowEvent:
		const columns = "tenant, stream, seq, type, schema, at, by, body, prev, hash"
		// The number is drawn when what the statement needs is locked: of a stream,
		// later events are in later batches.
		return "WITH e AS (INSERT INTO event (" + columns + ", batch) SELECT q.*, (SELECT nextval('event_batch_id')) FROM " + lists("ttbtbbtyyy", columns) + " RETURNING pos, batch) " +
			"INSERT INTO event_batch (batch, events) SELECT batch, array_agg(pos ORDER BY pos) FROM e GROUP BY batch"
	case rowCase:
		const columns = caseColumns + ", tenant, created_at"
		return "INSERT INTO case_state (" + columns + ") SELECT q.* FROM " + lists(caseTypes+"tb", columns)
	case rowStep:
		var set []string
		for _, c := range strings.Split(caseColumns, ",")[1:] {
			c = strings.TrimSpace(c)
			set = append(set, c+" = q."+c)
		}
		return "UPDATE case_state SET " + strings.Join(set, ", ") + " FROM " + lists(caseTypes, caseColumns) + " WHERE case_state.id = q.id"
	case rowCount:
		return "INSERT INTO case_count (tenant, word, n) SELECT q.* FROM " + lists("ttb", "tenant, word, n")
	case rowEffect:
		const columns = "id, tenant, case_id, effect_id, kind, action, n, object, not_before, next_at, door, trace, since, sent_at, courier"
		return "INSERT INTO effect (" + columns + ", epoch, lease_until, attempt, dropped, last_error) SELECT q.*, 0, 0, 0, 0, '' FROM " + lists("ttttttbtbbttbbb", columns) +
			effectAgain + ", sent_at = CASE WHEN excluded.courier > 0 THEN excluded.sent_at ELSE effect.sent_at END, courier = CASE WHEN excluded.courier > 0 THEN excluded.courier ELSE effect.courier END"
	default:
		return k.sharedText()
	}
}

func (k rowKind) sharedText() string {
	const (
		key   = "tenant, key_version, key, case_id, open"
		count = "(SELECT count(*) FROM case_key o WHERE o.tenant = q.tenant AND o.key_version = q.key_version AND o.key = q.key)"
	)
	switch k {
	case rowKey:
		return "INSERT INTO case_key (" + key + ") SELECT q.* FROM " + lists("tbttb", key) + " ON CONFLICT (tenant, key_version, key, case_id) DO NOTHING"
	case rowKeyBeside:
		return "INSERT INTO case_key (" + key + ") SELECT q.tenant, q.key_version, q.key, q.case_id, CASE WHEN " + count + " = q.beside THEN q.open END FROM " + lists("tbttbb", key+", beside")
	case rowKeyAgain:
		return "UPDATE case_key SET open = CASE WHEN " + count + " = q.beside THEN q.open END FROM " + lists("tbttbb", key+", beside") +
			" WHERE case_key.tenant = q.tenant AND case_key.key_version = q.key_version AND case_key.key = q.key AND case_key.case_id = q.case_id AND (case_key.open <> q.open OR " + count + " <> q.beside)"
	case rowFinding:
		const columns = "tenant, uid, case_id, digest, body, first_seen, last_seen"
		return "INSERT INTO finding (" + columns + ", sightings) SELECT q.*, 1 FROM " + lists("ttttybb", columns) + findingHere
	case rowRaw:
		const columns = "tenant, hash, uid, at, size, stored, body"
		return "INSERT INTO raw (" + columns + ") SELECT q.* FROM " + lists("tytbbby", columns) + rawAgain
	case rowRawUse:
		return "INSERT INTO raw_use (tenant, raw, uid) SELECT r.tenant, r.id, q.uid FROM " + lists("tyt", "tenant, hash, uid") +
			" JOIN raw r ON r.hash = q.hash AND r.tenant = q.tenant WHERE r.uid <> q.uid ON CONFLICT DO NOTHING"
	case rowFact:
		return "INSERT INTO fact (tenant, hash, body) SELECT q.* FROM " + lists("tty", "tenant, hash, body") + " ON CONFLICT DO NOTHING"
	case rowNote:
		return "INSERT INTO note (tenant, hash, salt, text) SELECT q.* FROM " + lists("tttt", "tenant, hash, salt, text") + " ON CONFLICT DO NOTHING"
	}
	panic("no such rows")
}

// lists is a table q of rows whose columns are arguments, from the first on:
// t is text, b bigint, y bytea.
func lists(types, columns string) string {
	var b strings.Builder
	b.WriteString("unnest(")
	for i, t := range types {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("?::")
		switch t {
		case 't':
			b.WriteString("text[]")
		case 'b':
			b.WriteString("bigint[]")
		case 'y':
			b.WriteString("bytea[]")
		}
	}
	b.WriteString(") AS q (" + columns + ")")
	return b.String()
}

// rowLists are rows of one kind, column by column.
type rowLists []any

// add appends a row.
func (r *rowLists) add(args []any) {
	if *r == nil {
		*r = make(rowLists, len(args))
	}
	for i, a := range args {
		switch x := a.(type) {
		case string:
			(*r)[i] = append(column[string]((*r)[i]), pgText(x))
		case []byte:
			(*r)[i] = append(column[[]byte]((*r)[i]), x)
		case int64:
			(*r)[i] = append(column[int64]((*r)[i]), x)
		case int:
			(*r)[i] = append(column[int64]((*r)[i]), int64(x))
		case uint64:
			(*r)[i] = append(column[int64]((*r)[i]), int64(x))
		case bool:
			n := int64(0)
			if x {
				n = 1
			}
			(*r)[i] = append(column[int64]((*r)[i]), n)
		default:
			panic("a row of a type that has no list")
		}
	}
}

func column[V any](list any) []V {
	l, _ := list.([]V) // nil for the first row
	return l
}

// rows writes a row of a unit's own: with lite on SQLite.
func (w *writer) rows(k rowKind, lite string, args ...any) error {
	l, ok := w.link.(*pgLink)
	if !ok {
		return w.send(lite, args...)
	}
	w.changed++
	if !l.lazy {
		return l.row(k, args)
	}
	l.own[k].add(args)
	return nil
}

// shareRows is rows for a row that cases share; see share.
func (w *writer) shareRows(table sharedTable, tenant, row string, k rowKind, lite string, args ...any) error {
	l, ok := w.link.(*pgLink)
	if !ok {
		return w.send(lite, args...)
	}
	w.changed++
	switch {
	case l.lazy && l.sorts:
		l.shared = append(l.shared, sharedWrite{table: table, tenant: tenant, row: row, kind: k, args: args})
	case l.lazy:
		l.drain()
		l.queueRows(k, args)
	default:
		return l.row(k, args)
	}
	return nil
}

// row writes one row now.
func (l *pgLink) row(k rowKind, args []any) error {
	var r rowLists
	r.add(args)
	_, err := l.exec(l.text(k), r...)
	return err
}

func (l *pgLink) queueRows(k rowKind, rows ...[]any) {
	var r rowLists
	for _, args := range rows {
		r.add(args)
	}
	l.queue.Queue(l.text(k), r...)
}

// drain queues the own rows of units.
func (l *pgLink) drain() {
	for k, n := range l.counts {
		if n != 0 {
			l.own[rowCount].add([]any{k.tenant, k.word, n})
		}
	}
	clear(l.counts)
	for k, r := range l.own {
		if r != nil {
			l.queue.Queue(l.text(rowKind(k)), r...)
		}
	}
	l.own = [rowKinds]rowLists{}
}

// text is the statement of a kind, built once.
func (l *pgLink) text(k rowKind) string {
	if l.texts[k] == "" {
		l.texts[k] = dialect(k.text())
	}
	return l.texts[k]
}
