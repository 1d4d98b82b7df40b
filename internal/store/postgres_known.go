package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/casement/casement/internal/record"
)

// pgKnownText reads what is known of findings, by their place in the lists. A
// LATERAL with a limit is looked up row by row: a join might be planned while
// the tables are empty, as scans of all of them.
const pgKnownText = `SELECT q.n, f.case_id, f.digest, f.quiet FROM unnest(CAST(? AS text[]), CAST(? AS text[])) WITH ORDINALITY AS q (tenant, uid, n),
	LATERAL (SELECT f.case_id, f.digest, c.quiet FROM finding f JOIN case_state c ON c.id = f.case_id WHERE f.tenant = q.tenant AND f.uid = q.uid LIMIT 1) f`

// columns are the tenants and uids of findings, as pgKnownText takes them.
func columns(keys []uidKey) (tenants, uids []string) {
	tenants, uids = make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		tenants[i], uids[i] = pgText(k.tenant), pgText(k.uid)
	}
	return tenants, uids
}

// scanKnown reads a row of pgKnownText.
func scanKnown(row scanner) (place int, k record.Known, err error) {
	err = row.Scan(&place, &k.CaseID, &k.Digest, &k.Quiet)
	return place - 1, k, err
}

// Known returns what is known of finding uids (engine.Store).
func (s *Postgres) Known(ctx context.Context, tenant string, uids []string) (map[string]record.Known, error) {
	out := make(map[string]record.Known, len(uids))
	if len(uids) == 0 {
		return out, nil
	}
	keys := make([]uidKey, len(uids))
	for i, uid := range uids {
		keys[i] = uidKey{tenant, uid}
	}
	tenants, texts := columns(keys)
	err := s.reads(ctx, func(q querier) error {
		return q.each(func(row scanner) error {
			i, k, err := scanKnown(row)
			if err == nil {
				out[uids[i]] = k
			}
			return err
		}, pgKnownText, tenants, texts)
	})
	if err != nil {
		return nil, fmt.Errorf("read known findings: %w", err)
	}
	return out, nil
}

// Keys returns the cases bound to keys (engine.Store); see tables.Keys.
func (s *Postgres) Keys(ctx context.Context, keys []record.CaseKey) (map[record.CaseKey][]record.CaseRef, error) {
	out := make(map[record.CaseKey][]record.CaseRef, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	var list []record.CaseKey
	var tenants, texts []string
	var versions []int64
	for _, k := range keys {
		if _, ok := out[k]; ok {
			continue
		}
		out[k] = nil
		list, tenants, texts, versions = append(list, k), append(tenants, pgText(k.Tenant)), append(texts, pgText(k.Key)), append(versions, int64(k.Version))
	}
	clear(out)
	err := s.reads(ctx, func(q querier) error {
		return q.each(func(row scanner) error {
			var place int
			r, err := scanRef(row, &place)
			if err == nil {
				k := list[place-1]
				out[k] = append(out[k], r)
			}
			return err
		}, `SELECT q.n, c.id, c.open, c.closed_at, c.how FROM unnest(CAST(? AS text[]), CAST(? AS bigint[]), CAST(? AS text[])) WITH ORDINALITY AS q (tenant, version, key, n),
			LATERAL (SELECT c.id, c.open, c.closed_at, c.how, c.created_at FROM case_key k JOIN case_state c ON c.id = k.case_id
			WHERE k.tenant = q.tenant AND k.key_version = q.version AND k.key = q.key OFFSET 0) c ORDER BY q.n, c.created_at DESC, c.id DESC`, tenants, versions, texts)
	})
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return out, nil
}

// knownTo is what the transaction sees of findings: as read ahead, or anew if
// it has written them or their case since.
func (w *writer) knownTo(l *pgLink, keys []uidKey) ([]record.Known, error) {
	out := make([]record.Known, len(keys))
	var missing []int
	for i, key := range keys {
		k, ok := w.ahead.known[key]
		if out[i] = k; !ok || w.txn.finds[key] || w.txn.cases[k.CaseID] {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	again := make([]uidKey, len(missing))
	for n, i := range missing {
		again[n], out[i] = keys[i], record.Known{}
	}
	tenants, uids := columns(again)
	err := l.each(func(row scanner) error {
		n, k, err := scanKnown(row)
		if err == nil {
			out[missing[n]] = k
		}
		return err
	}, pgKnownText, tenants, uids)
	return out, err
}

// countNow adds the repeats of the transaction to their counters, in the order
// of all processes.
func (w *writer) countNow(l *pgLink) error {
	if len(w.txn.seen) == 0 {
		return nil
	}
	sum := map[uidKey]repeats{}
	for _, x := range w.txn.seen {
		k := uidKey{x.Tenant, x.UID}
		sum[k] = sum[k].plus(repeats{max(x.Count, 1), nanos(x.At)})
	}
	keys := slices.SortedFunc(maps.Keys(sum), func(a, b uidKey) int { return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.uid, b.uid)) })
	tenants, uids := columns(keys)
	counts, last := make([]int64, len(keys)), make([]int64, len(keys))
	for i, k := range keys {
		counts[i], last[i] = int64(sum[k].n), sum[k].last
	}
	return l.send(`INSERT INTO sighting (tenant, uid, n, last_seen) SELECT q.tenant, q.uid, q.n, q.last FROM unnest(CAST(? AS text[]), CAST(? AS text[]), CAST(? AS bigint[]), CAST(? AS bigint[])) AS q (tenant, uid, n, last)
		ON CONFLICT (tenant, uid) DO UPDATE SET n = sighting.n + excluded.n, last_seen = greatest(sighting.last_seen, excluded.last_seen)`, tenants, uids, counts, last)
}
