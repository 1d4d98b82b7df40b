package store

import (
	"context"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
)

// StuckAfter is the number of failed attempts after which an effect counts as
// stuck: by its back-off it has been failing for more than a minute.
const StuckAfter = 6

// EffectQueue is what waits for one system.
type EffectQueue struct {
	// Door is the connector, route or system of tickets, "" for none.
	Door string `json:"door"`
	// Due could start now, and Oldest is since when the first of them could.
	Due    int       `json:"due"`
	Oldest time.Time `json:"oldest,omitzero"`
	// Running are leased, Later start by themselves at a later instant.
	Running int `json:"running"`
	Later   int `json:"later"`
	// Failing were tried without success, Stuck of them StuckAfter times.
	Failing int `json:"failing"`
	Stuck   int `json:"stuck"`
}

// InboxQueue is what lies in the inbox.
type InboxQueue struct {
	// Waiting bodies were answered with 202; Oldest is when the first arrived.
	Waiting int       `json:"waiting"`
	Oldest  time.Time `json:"oldest,omitzero"`
	// Quarantined bodies wait for a person; Bytes is their size, sealed.
	Quarantined  int       `json:"quarantined"`
	Bytes        int64     `json:"quarantined_bytes"`
	OldestUnread time.Time `json:"oldest_quarantined,omitzero"`
}

// EffectQueues returns the effects that wait or run at now, by door. It reads
// all rows of the outbox: ask it seldom.
func (s *tables) EffectQueues(ctx context.Context, now time.Time) ([]EffectQueue, error) {
	var list []EffectQueue
	at := nanos(now)
	err := s.db.each(ctx, func(row scanner) error {
		var q EffectQueue
		var oldest int64
		err := row.Scan(&q.Door, &q.Due, &oldest, &q.Running, &q.Later, &q.Failing, &q.Stuck)
		q.Oldest = instant(oldest)
		list = append(list, q)
		return err
	}, `SELECT door, count(*) FILTER (WHERE next_at <= ?),
		coalesce(min(CASE WHEN next_at < since THEN since ELSE next_at END) FILTER (WHERE next_at <= ?), 0),
		count(*) FILTER (WHERE lease_until > ?), count(*) FILTER (WHERE lease_until <= ? AND next_at > ?),
		count(*) FILTER (WHERE last_error <> ''), count(*) FILTER (WHERE last_error <> '' AND attempt >= ?)
		FROM effect WHERE dropped = 0 GROUP BY door ORDER BY door`, at, at, at, at, at, StuckAfter)
	if err != nil {
		return nil, fmt.Errorf("count effects: %w", err)
	}
	return list, nil
}

// InboxQueue returns what lies in the inbox, of all tenants.
func (s *tables) InboxQueue(ctx context.Context) (InboxQueue, error) {
	var q InboxQueue
	var oldest, unread int64
	err := s.db.one(ctx, []any{&q.Waiting, &oldest, &q.Quarantined, &q.Bytes, &unread}, `SELECT
		count(*) FILTER (WHERE quarantined = 0), coalesce(min(received_at) FILTER (WHERE quarantined = 0), 0),
		count(*) FILTER (WHERE quarantined = 1), coalesce(sum(length(body)) FILTER (WHERE quarantined = 1), 0),
		coalesce(min(received_at) FILTER (WHERE quarantined = 1), 0) FROM inbox`)
	if err != nil {
		return q, fmt.Errorf("count inbox: %w", err)
	}
	q.Oldest, q.OldestUnread = instant(oldest), instant(unread)
	return q, nil
}

// Schema returns the version of the database's schema.
func (s *SQLite) Schema(ctx context.Context) (int64, error) {
	return schemaVersion(ctx, s, goose.DefaultTablename)
}

// Schema returns the version of the database's schema.
func (s *Postgres) Schema(ctx context.Context) (int64, error) {
	return schemaVersion(ctx, s, pgSchemaTable)
}

func schemaVersion(ctx context.Context, db database, table string) (v int64, err error) {
	if err = db.one(ctx, []any{&v}, "SELECT max(version_id) FROM "+table); err != nil {
		err = fmt.Errorf("read the schema version: %w", err)
	}
	return v, err
}
