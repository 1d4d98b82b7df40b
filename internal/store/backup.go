package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// backupSetting marks a database as a copy; only copies have it.
const backupSetting = "backup-of"

// BackupMark says what a database is a copy of. It lies in the copy itself, so
// that a restored install knows that the world went on without it.
type BackupMark struct {
	// At is when the copy was made or named as one, UTC.
	At string `json:"at"`
	// Origin, Size and Checkpoint name the newest signed checkpoint in the copy;
	// empty if there was none.
	Origin     string      `json:"origin,omitempty"`
	Size       int64       `json:"size,omitempty"`
	Checkpoint ledger.Hash `json:"checkpoint,omitzero"`
}

// Backup writes a complete, consistent copy of the database to path, which
// must not exist, while the store goes on working. The copy is marked as one.
func (s *SQLite) Backup(ctx context.Context, path string, mark BackupMark) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if _, err := s.check.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return errors.Join(fmt.Errorf("backup: %w", storageError(err)), os.Remove(path))
	}
	if err := markCopy(ctx, path, mark); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

// markCopy writes the mark into a copy that nobody else has opened.
func markCopy(ctx context.Context, path string, mark BackupMark) error {
	b, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("mark the backup: %w", err)
	}
	c := SQLite{path: path}
	db, err := c.connect("rw", 1, "synchronous(full)")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO setting (tenant, key, value) VALUES ('', ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", backupSetting, b)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("mark the backup: %w", err)
	}
	return nil
}

// Mark names this database as a copy, for folders that were copied by other
// means than Backup.
func (s *tables) Mark(ctx context.Context, mark BackupMark) error {
	b, err := json.Marshal(mark)
	if err != nil {
		return fmt.Errorf("mark the copy: %w", err)
	}
	return s.SetSetting(ctx, "", backupSetting, b)
}

// Marked returns the mark of a copy; false if this is none, or no longer.
func (s *tables) Marked(ctx context.Context) (BackupMark, bool, error) {
	var m BackupMark
	b, err := s.Setting(ctx, "", backupSetting)
	if errors.Is(err, record.ErrNotFound) {
		return m, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err == nil, err
}

// Unmark ends the state of being a copy.
func (s *tables) Unmark(ctx context.Context) error {
	return s.db.put(ctx, func(w *writer) error {
		_, err := w.exec("DELETE FROM setting WHERE tenant = '' AND key = ?", backupSetting)
		return err
	})
}

// Touching returns the cases with an act or undo that waits or runs, by id.
func (s *tables) Touching(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.db.each(ctx, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT DISTINCT case_id FROM effect WHERE dropped = 0 AND kind IN (?, ?) ORDER BY case_id", string(remedy.EffectAct), string(remedy.EffectUndo))
	if err != nil {
		return nil, fmt.Errorf("read effects: %w", err)
	}
	return ids, nil
}

// takeOver frees what a process that is gone had leased: the folder is ours
// alone, so its leases hold nothing any more. Their epochs end with them; the
// next claim draws a new one, and an outcome with an old one is stale.
func (s *SQLite) takeOver(ctx context.Context) error {
	var held bool
	err := s.one(ctx, []any{&held}, `SELECT EXISTS (SELECT 1 FROM effect WHERE lease_until > 0 OR dropped = 1)
		OR EXISTS (SELECT 1 FROM inbox WHERE epoch > 0 AND quarantined = 0)`)
	if err != nil || !held {
		return err
	}
	return s.put(ctx, func(w *writer) error {
		for _, text := range []string{
			"DELETE FROM effect WHERE dropped = 1",
			"UPDATE effect SET lease_until = 0, next_at = not_before WHERE lease_until > 0",
			"UPDATE inbox SET epoch = 0, next_at = received_at WHERE epoch > 0 AND quarantined = 0",
		} {
			if _, err := w.exec(text); err != nil {
				return fmt.Errorf("take over the leases of the process before: %w", err)
			}
		}
		return nil
	})
}

// VerifyReplay applies the events of every case to nothing and compares the
// result with the stored case, byte for byte. It returns how many it compared
// and the first case that differs.
func (s *tables) VerifyReplay(ctx context.Context) (int, error) { return s.VerifySample(ctx, 1) }

// VerifySample is VerifyReplay for every n-th case.
func (s *tables) VerifySample(ctx context.Context, every int) (int, error) {
	n := 0
	var ids [][2]string
	err := s.db.each(ctx, func(row scanner) error {
		var id [2]string
		err := row.Scan(&id[0], &id[1])
		ids = append(ids, id)
		return err
	}, "SELECT tenant, id FROM case_state ORDER BY tenant, id")
	for i := 0; i < len(ids) && err == nil; i += max(every, 1) {
		err = s.replay(ctx, ids[i][0], ids[i][1])
		n++
	}
	if err != nil {
		return n, fmt.Errorf("replay: %w", err)
	}
	return n, nil
}

// replay compares a case with its events as they are at one instant: it may move
// meanwhile.
func (s *tables) replay(ctx context.Context, tenant, id string) error {
	var stored remedy.Case
	var events []StoredEvent
	err := s.db.snapshot(ctx, func(q querier) error {
		err := q.each(func(row scanner) error {
			var state []byte
			if err := row.Scan(&state); err != nil {
				return err
			}
			return json.Unmarshal(state, &stored)
		}, "SELECT state FROM case_state WHERE id = ?", id)
		if err == nil {
			events, err = s.stream(q.each, tenant, CaseStream(id), 0, -1)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("case %s: %w", id, err)
	}
	var c remedy.Case
	for _, e := range events {
		c = remedy.Apply(c, remedy.Event{At: e.At, By: e.By, Body: e.Decoded})
	}
	a, err1 := json.Marshal(c)
	b, err2 := json.Marshal(stored)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("case %s is not what its %d events make of it", id, len(events))
	}
	return nil
}
