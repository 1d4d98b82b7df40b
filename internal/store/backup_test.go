package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// TestBackupBound: the write-ahead log can't begin anew while a backup is read. A
// backup is given up when the log has grown to its bound; the store goes on, and
// the next backup is made.
func TestBackupBound(t *testing.T) {
	disk := need.SmallDisk(t, "48m")
	data, copies := filepath.Join(disk, "data"), filepath.Join(disk, "copies")
	for _, dir := range []string{data, copies} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, data)
	fill(t, s, 0, 20)
	wal := func() int64 {
		st, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.WALBytes
	}
	file := filepath.Join(copies, "casement.db")
	n, before := 20, wal()
	room, _ := store.Room(data)
	err := s.Backup(t.Context(), file, store.BackupMark{At: "2026-01-02T03:04:05Z"}, func() {
		for wal() < before+room/2 {
			fill(t, s, n, 10)
			n += 10
		}
	})
	if !errors.Is(err, store.ErrOutgrown) {
		t.Fatalf("the log grew from %d to %d bytes: %v", before, wal(), err)
	}
	if list, err := os.ReadDir(copies); err != nil || len(list) > 0 {
		t.Errorf("it left %v, %v", list, err)
	}
	for range 2 { // the first may be the one that lets the log begin anew
		if err := s.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		fill(t, s, n, 1)
		n++
	}
	if err := s.Backup(t.Context(), file, store.BackupMark{At: "2026-01-02T03:04:05Z"}, nil); !errors.Is(err, record.ErrFull) && err != nil {
		t.Fatal(err)
	}
	rep, err := s.VerifyLedger(t.Context())
	if err != nil || rep.Cases != n {
		t.Errorf("%d cases of %d, %v", rep.Cases, n, err)
	}
}
