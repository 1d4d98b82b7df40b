package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/casement/casement/internal/record"
)

const inboxEpoch = "inbox-epoch"

const inboxColumns = "id, tenant, source, received_at, headers, body, owner, error, attempts, epoch, next_at, length(body)"

func checkInbox(it InboxItem) error {
	if it.Tenant == "" || it.Source == "" || it.ReceivedAt.IsZero() {
		return fmt.Errorf("%w inbox item: tenant, source and time are needed", ErrInvalid)
	}
	return nil
}

// InboxPut keeps a raw body that will be worked on from it.NextAt, and returns
// its id when it is on disk.
func (s *tables) InboxPut(ctx context.Context, it InboxItem) (int64, error) {
	return s.inboxInsert(ctx, it, false, -1)
}

// QuarantinePut keeps a body that could not be read, with the reason in
// it.Error and the person or team it waits for in it.Owner. quota bounds the
// bytes in quarantine of the tenant; beyond it nothing is stored and the error
// is record.ErrFull. A quarantined body is never removed to make room. Its first
// reminder is at it.NextAt, or with that of the bodies of its source that wait
// already.
func (s *tables) QuarantinePut(ctx context.Context, it InboxItem, quota int64) (int64, error) {
	return s.inboxInsert(ctx, it, true, quota)
}

func (s *tables) inboxInsert(ctx context.Context, it InboxItem, quarantined bool, quota int64) (int64, error) {
	if err := checkInbox(it); err != nil {
		return 0, err
	}
	headers, err := json.Marshal(it.Headers)
	if err != nil {
		return 0, fmt.Errorf("inbox: %w", err)
	}
	if it.Body == nil {
		it.Body = []byte{}
	}
	var id int64
	err = s.db.put(ctx, func(w *writer) error {
		if quota >= 0 {
			if err := w.quota(it.Tenant, int64(len(it.Body)), quota); err != nil {
				return err
			}
			var others sql.NullInt64 // one reminder speaks for all bodies of a source
			if err := w.get([]any{&others}, "SELECT min(next_at) FROM inbox WHERE tenant = ? AND source = ? AND quarantined = 1", it.Tenant, it.Source); err != nil {
				return err
			}
			if others.Valid {
				it.NextAt = instant(others.Int64)
			}
		}
		return w.get([]any{&id}, `INSERT INTO inbox (tenant, source, received_at, headers, body, quarantined, owner, error, attempts, epoch, next_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?) RETURNING id`, it.Tenant, it.Source, nanos(it.ReceivedAt), string(headers), it.Body, quarantined, it.Owner, it.Error, nanos(it.NextAt))
	})
	return id, err
}

func (w *writer) quota(tenant string, add, quota int64) error {
	if err := w.lock("quarantine/"+tenant, false); err != nil {
		return err
	}
	var used int64
	if err := w.get([]any{&used}, "SELECT coalesce(sum(length(body)), 0) FROM inbox WHERE tenant = ? AND quarantined = 1", tenant); err != nil {
		return err
	}
	if used+add > quota {
		return fmt.Errorf("quarantine holds %d of %d bytes, %d more do not fit; look through it to make room: %w", used, quota, add, record.ErrFull)
	}
	return nil
}

// InboxNext claims up to n bodies that are due, oldest first, until now+lease;
// a claim that ends without InboxDone or InboxRetry is given out again.
func (s *tables) InboxNext(ctx context.Context, now time.Time, lease time.Duration, n int) ([]InboxItem, error) {
	var due int
	if err := s.db.one(ctx, []any{&due}, "SELECT count(*) FROM (SELECT 1 FROM inbox WHERE quarantined = 0 AND next_at <= ? LIMIT 1) q", nanos(now)); err != nil {
		return nil, fmt.Errorf("read inbox: %w", err)
	}
	if due == 0 || n <= 0 {
		return nil, nil
	}
	var list []InboxItem
	err := s.db.put(ctx, func(w *writer) error {
		list = nil
		err := w.each(func(row scanner) error { return scanInbox(row, &list) }, "SELECT "+inboxColumns+" FROM inbox WHERE quarantined = 0 AND next_at <= ? ORDER BY next_at, id LIMIT ?"+w.skipLocked(), nanos(now), n)
		if err != nil {
			return err
		}
		for i := range list {
			epoch, err := w.next(inboxEpoch)
			if err != nil {
				return err
			}
			it := &list[i]
			it.Epoch, it.Attempts, it.NextAt = epoch, it.Attempts+1, utc(now.Add(lease))
			if _, err := w.exec("UPDATE inbox SET epoch = ?, attempts = ?, next_at = ? WHERE id = ?", epoch, it.Attempts, nanos(it.NextAt), it.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim inbox: %w", err)
	}
	return list, nil
}

func scanInbox(row scanner, list *[]InboxItem) error {
	var it InboxItem
	var received, next int64
	var headers string
	if err := row.Scan(&it.ID, &it.Tenant, &it.Source, &received, &headers, &it.Body, &it.Owner, &it.Error, &it.Attempts, &it.Epoch, &next, &it.Size); err != nil {
		return err
	}
	it.ReceivedAt, it.NextAt = instant(received), instant(next)
	*list = append(*list, it)
	return json.Unmarshal([]byte(headers), &(*list)[len(*list)-1].Headers)
}

// inboxChange runs a statement on the row of a claim; ErrStale if the claim
// was lost.
func (s *tables) inboxChange(ctx context.Context, it InboxItem, text string, args ...any) error {
	return s.db.put(ctx, func(w *writer) error {
		n, err := w.exec(text+" WHERE id = ? AND epoch = ? AND quarantined = 0", append(args, it.ID, it.Epoch)...)
		if err == nil && n == 0 {
			err = fmt.Errorf("inbox item %d: %w", it.ID, record.ErrStale)
		}
		return err
	})
}

// InboxDone removes a claimed body after its findings were committed.
func (s *tables) InboxDone(ctx context.Context, it InboxItem) error {
	return s.inboxChange(ctx, it, "DELETE FROM inbox")
}

// InboxRetry gives a claimed body back until at, with the reason.
func (s *tables) InboxRetry(ctx context.Context, it InboxItem, at time.Time, reason string) error {
	return s.inboxChange(ctx, it, "UPDATE inbox SET epoch = 0, next_at = ?, error = ?", nanos(at), reason)
}

// InboxQuarantine moves a claimed body to quarantine: it waits for owner, and
// speaks up again at at. body replaces the stored one (encrypted).
func (s *tables) InboxQuarantine(ctx context.Context, it InboxItem, body []byte, at time.Time, owner, reason string) error {
	return s.inboxChange(ctx, it, "UPDATE inbox SET quarantined = 1, epoch = 0, body = ?, next_at = ?, owner = ?, error = ?", body, nanos(at), owner, reason)
}

// InboxCount returns how many bodies of a tenant wait, and how many lie in
// quarantine.
func (s *tables) InboxCount(ctx context.Context, tenant string) (waiting, quarantined int, err error) {
	err = s.db.one(ctx, []any{&waiting, &quarantined}, "SELECT count(*) FILTER (WHERE quarantined = 0), count(*) FILTER (WHERE quarantined = 1) FROM inbox WHERE tenant = ?", tenant)
	if err != nil {
		return 0, 0, fmt.Errorf("count inbox: %w", err)
	}
	return waiting, quarantined, nil
}

// withoutBody are the columns of an item whose content nobody asked for.
func withoutBody() string { return strings.Replace(inboxColumns, "body", "''", 1) }

// Quarantine lists quarantined bodies of a tenant, of one source or of all with
// "", after an id (0 for the beginning), oldest first and without their content.
func (s *tables) Quarantine(ctx context.Context, tenant, source string, after int64, n int) ([]InboxItem, error) {
	var list []InboxItem
	err := s.db.each(ctx, func(row scanner) error { return scanInbox(row, &list) },
		"SELECT "+withoutBody()+" FROM inbox WHERE tenant = ? AND quarantined = 1 AND (source = ? OR ? = '') AND id > ? ORDER BY id LIMIT ?",
		tenant, source, source, after, n)
	if err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	return list, nil
}

// Quarantined returns one quarantined body with its content; record.ErrNotFound
// if it does not lie there.
func (s *tables) Quarantined(ctx context.Context, tenant string, id int64) (InboxItem, error) {
	var list []InboxItem
	err := s.db.each(ctx, func(row scanner) error { return scanInbox(row, &list) },
		"SELECT "+inboxColumns+" FROM inbox WHERE tenant = ? AND quarantined = 1 AND id = ?", tenant, id)
	if err == nil && len(list) == 0 {
		err = record.ErrNotFound
	}
	if err != nil {
		return InboxItem{}, fmt.Errorf("quarantined body %d: %w", id, err)
	}
	return list[0], nil
}

// QuarantineRelease gives a quarantined body back to the inbox with body as
// its (sealed) content, due at at; e says who wanted it.
func (s *tables) QuarantineRelease(ctx context.Context, tenant string, id int64, body []byte, at time.Time, e StreamEvent) error {
	return s.quarantineChange(ctx, tenant, id, e, nil, "UPDATE inbox SET quarantined = 0, attempts = 0, body = ?, next_at = ?", body, nanos(at))
}

// QuarantineDrop removes a quarantined body by the decision of a person, who
// is recorded in the source's stream; notes are the words that e names.
func (s *tables) QuarantineDrop(ctx context.Context, tenant string, id int64, e StreamEvent, notes ...record.NoteText) error {
	return s.quarantineChange(ctx, tenant, id, e, notes, "DELETE FROM inbox")
}

func (s *tables) quarantineChange(ctx context.Context, tenant string, id int64, e StreamEvent, notes []record.NoteText, text string, args ...any) error {
	if err := checkStream(e); err != nil {
		return err
	}
	return s.db.put(ctx, func(w *writer) error {
		if err := w.quarantined(tenant, id, text, args...); err != nil {
			return err
		}
		for _, n := range notes {
			if err := w.note(tenant, n); err != nil {
				return err
			}
		}
		_, err := w.appendEvent(e)
		return err
	})
}

func (w *writer) quarantined(tenant string, id int64, text string, args ...any) error {
	n, err := w.exec(text+" WHERE tenant = ? AND id = ? AND quarantined = 1", append(args, tenant, id)...)
	if err == nil && n == 0 {
		err = fmt.Errorf("quarantined body %d: %w", id, record.ErrNotFound)
	}
	return err
}

// QuarantineOlder returns up to n quarantined bodies that were received before an
// instant, without their content.
func (s *tables) QuarantineOlder(ctx context.Context, before time.Time, n int) ([]InboxItem, error) {
	var list []InboxItem
	err := s.db.each(ctx, func(row scanner) error { return scanInbox(row, &list) },
		"SELECT "+withoutBody()+" FROM inbox WHERE quarantined = 1 AND received_at < ? ORDER BY id LIMIT ?", nanos(before), n)
	if err != nil {
		return nil, fmt.Errorf("read old quarantine: %w", err)
	}
	return list, nil
}

// QuarantineDue returns quarantined bodies whose reminder has come.
func (s *tables) QuarantineDue(ctx context.Context, now time.Time, n int) ([]InboxItem, error) {
	var list []InboxItem
	err := s.db.each(ctx, func(row scanner) error { return scanInbox(row, &list) },
		"SELECT "+inboxColumns+" FROM inbox WHERE quarantined = 1 AND next_at <= ? ORDER BY next_at, id LIMIT ?", nanos(now), n)
	if err != nil {
		return nil, fmt.Errorf("read due quarantine: %w", err)
	}
	return list, nil
}

// InboxNextDue returns when the next waiting body is due; zero for none.
func (s *tables) InboxNextDue(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	err := s.db.one(ctx, []any{&at}, "SELECT min(next_at) FROM inbox WHERE quarantined = 0")
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("read inbox: %w", err)
	}
	return instant(at.Int64), nil
}
