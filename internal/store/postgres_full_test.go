package store_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store/storetest"
)

// TestFullDiskOfPostgres: the disk with a database's tables is full. What does not
// fit is refused as that, nothing of it is there, and it is stored when there is room.
func TestFullDiskOfPostgres(t *testing.T) {
	disk, err := os.MkdirTemp("", "casement-small") // not t.TempDir: its parent is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	if err := need.Mount(t, disk, "64m"); err != nil {
		need.Missing(t, "a small disk needs the right to mount: %v", err)
	}
	srv := pgtest.Start(t) // ends before the disk does
	const nobody = 65534
	if err := os.Chown(disk, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	url := srv.Database(t)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	for _, text := range []string{"CREATE TABLESPACE small LOCATION '" + disk + "'", "ALTER DATABASE " + name + " SET TABLESPACE small"} {
		if err := srv.Admin(text); err != nil {
			t.Fatal(err)
		}
	}
	s := openPG(t, url)
	free := need.Fill(t, disk, 0)
	stored := 0
	for i := range 1000 {
		u := storetest.NewCase("d"+strconv.Itoa(i), "kd"+strconv.Itoa(i))
		u.Case.Title = strings.Repeat("long ", 100) // what is longer is kept compressed
		commit := func() error {
			errs, err := s.Commit(t.Context(), []record.Unit{u}, nil)
			return errors.Join(err, errs[0])
		}
		err := commit()
		if err == nil {
			stored++
			continue
		}
		if !errors.Is(err, record.ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
		if _, err := s.Load(t.Context(), u.Case.ID); !errors.Is(err, record.ErrNotFound) {
			t.Errorf("something of the refused unit is there: %v", err)
		}
		free()
		if err := commit(); err != nil {
			t.Errorf("with room again: %v", err)
		}
		if rep, err := s.VerifyLedger(t.Context()); err != nil || rep.Cases != stored+1 {
			t.Errorf("%d cases, want %d: %v", rep.Cases, stored+1, err)
		}
		return
	}
	t.Fatal("the disk never got full")
}
