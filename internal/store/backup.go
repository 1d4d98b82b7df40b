package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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

// RoomError says that a copy of the database does not fit on a disk; it is
// record.ErrFull.
type RoomError struct {
	// Folder is where the copy was to be, Need what it may take at most, Free the
	// room before it was begun; bytes.
	Folder     string
	Need, Free int64
	// Begun is true when others took the room while it was written.
	Begun bool
}

// Error says how many bytes are missing where.
func (e *RoomError) Error() string {
	if e.Begun {
		return fmt.Sprintf("%s ran full while the copy was written: it had room for %d bytes before, and the copy takes up to %d", e.Folder, e.Free, e.Need)
	}
	return fmt.Sprintf("%s has room for %d bytes, and the copy takes up to %d", e.Folder, e.Free, e.Need)
}

// Unwrap returns record.ErrFull.
func (e *RoomError) Unwrap() error { return record.ErrFull }

// ErrOutgrown: a backup was given up because the write-ahead log had grown to its
// bound meanwhile.
var ErrOutgrown = errors.New("so much was written while the copy was made that the write-ahead log reached its bound")

const (
	// copySlack is the room that a copy takes beside the pages of the database: its
	// journal while it is marked, and the install key.
	copySlack = 256 << 10
	// leastGrowth is how far the WAL may grow during a backup of a small database, in
	// bytes.
	leastGrowth = 256 << 20
)

// walBound ends a backup when the WAL outgrows it: the WAL can't begin anew while
// a copy of the database is read.
type walBound struct {
	path  string
	limit int64
	end   context.CancelCauseFunc
}

// look is called after each commit.
func (b *walBound) look() {
	if b != nil && fileSize(b.path) > b.limit {
		b.end(ErrOutgrown)
	}
}

// Backup writes a complete, consistent copy of the database to path, which
// must not exist, while the store goes on working; one at a time. The copy is
// marked as one. begun is called before the first byte is read, nil for nobody.
//
// It is a *RoomError when the copy does not fit, and ErrOutgrown when the WAL grew
// too far: by the size of the database, at least leastGrowth, at most half of
// the room that is left. Nothing is left at path then.
func (s *SQLite) Backup(ctx context.Context, path string, mark BackupMark, begun func()) (err error) {
	s.backing.Lock()
	defer s.backing.Unlock()
	if err := s.Checkpoint(ctx); err != nil { // most of the WAL need not be kept for it
		return fmt.Errorf("backup: %w", err)
	}
	var pages, size int64
	if err := s.one(ctx, []any{&pages, &size}, "SELECT page_count - freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	room := &RoomError{Folder: filepath.Dir(path), Need: pages*size + copySlack}
	growth := max(leastGrowth, pages*size)
	if free, ok := Room(room.Folder); ok {
		if room.Free = free; free < room.Need {
			return fmt.Errorf("backup: %w", room)
		}
	}
	if free, ok := Room(filepath.Dir(s.path)); ok {
		if sameDisk(room.Folder, filepath.Dir(s.path)) {
			free -= room.Need
		}
		growth = min(growth, free/2)
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	wal := s.path + "-wal"
	s.group.bound.Store(&walBound{wal, fileSize(wal) + growth, end})
	defer s.group.bound.Store(nil)
	if begun != nil {
		begun()
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err = f.Close(); err == nil {
		err = s.copyTo(ctx, path, mark)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), ErrOutgrown):
		err = fmt.Errorf("%w (%d bytes)", ErrOutgrown, fileSize(wal))
	case errors.Is(storageError(err), record.ErrFull), errors.Is(err, syscall.ENOSPC):
		room.Begun, err = true, room
	}
	return errors.Join(fmt.Errorf("backup: %w", err), removeCopy(path))
}

// removeCopy removes a database that nobody has opened.
func removeCopy(path string) error {
	var errs []error
	for _, end := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// copyTo makes the copy in an empty file and puts it on the disk.
func (s *SQLite) copyTo(ctx context.Context, path string, mark BackupMark) error {
	// A connection of its own: those for checkpoints and reads are needed meanwhile.
	db, err := s.connect("ro", 1, cacheSize(readerCache), "temp_store(memory)")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", path)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := markCopy(ctx, path, mark); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
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
// result with the case as it is stored and remembered, byte for byte. It returns
// how many it compared and the first case that differs.
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
	row := storedCase{id: id}
	var events []StoredEvent
	err := s.db.snapshot(ctx, func(q querier) error {
		err := q.each(func(r scanner) error { return r.Scan(row.dest()...) }, "SELECT "+storedCaseColumns+" FROM case_state WHERE id = ?", id)
		if err == nil {
			events, err = s.stream(q.each, tenant, CaseStream(id), 0, -1)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("case %s: %w", id, err)
	}
	snap, err := row.snapshot()
	if err != nil {
		return err
	}
	var c remedy.Case
	for i, e := range events {
		c = remedy.Apply(c, remedy.Event{At: e.At, By: e.By, Body: e.Decoded})
		if c.Version == snap.Version {
			err = sameCase(c, snap, i+1)
		}
		if err != nil {
			return err
		}
	}
	if c.Version != row.version || snap.Version > c.Version {
		return fmt.Errorf("case %s is at version %d, its state at %d, and it has %d events", id, row.version, snap.Version, len(events))
	}
	if s.memory == nil {
		return nil
	}
	if held, ok := ofLate(s.memory, &s.memory.cases, id); ok && held.Version == c.Version {
		return sameCase(c, held, len(events))
	}
	return nil
}

// sameCase compares what n events make of a case with the case as it is held.
func sameCase(made, held remedy.Case, n int) error {
	a, err1 := json.Marshal(made)
	b, err2 := json.Marshal(held)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("case %s is not what its %d events make of it", made.ID, n)
	}
	return nil
}
