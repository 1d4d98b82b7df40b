package app_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/need"
)

// TestBackupWithoutRoom: a backup that does not fit is refused before it begins,
// one that finds its room taken meanwhile ends, and neither leaves anything. The
// server goes on.
func TestBackupWithoutRoom(t *testing.T) {
	disk := need.SmallDisk(t, "16m")
	begun := func() {}
	srv := httptest.NewServer(newKillTarget())
	defer srv.Close()
	cfg, err := killConfig(filepath.Join(t.TempDir(), "data"), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Failpoint = func(at string) {
		if at == "backup begun" {
			begun()
		}
	}
	i := startInstall(t, cfg)
	defer i.stop()
	sent := 0
	send := func() {
		t.Helper()
		sent++
		i.send(killAlert(sent))
	}
	backup := func(want int, text string) {
		t.Helper()
		folder := filepath.Join(disk, "copy")
		r := httptest.NewRequest(http.MethodPost, "/api/v1/backup", bytes.NewReader([]byte(`{"folder":"`+folder+`"}`)))
		r.Header.Set("Authorization", "Bearer "+i.LocalToken())
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		i.Handler.ServeHTTP(w, r)
		if w.Code != want || !strings.Contains(w.Body.String(), text) {
			t.Fatalf("the backup is answered %d %s, want %d %s", w.Code, w.Body, want, text)
		}
		if want == http.StatusOK {
			return
		}
		list, err := os.ReadDir(disk)
		if err != nil || len(list) != 1 || list[0].Name() != "ballast" {
			t.Fatalf("it left %v, %v", list, err)
		}
		send()
		if rep, err := i.VerifyLedger(t.Context()); err != nil || !rep.OK {
			t.Fatalf("after it: %+v, %v", rep, err)
		}
	}
	send()

	free := need.Fill(t, disk, 64<<10)
	backup(http.StatusInsufficientStorage, disk+"/copy.part has room for ")
	free()
	begun = func() { free = need.Fill(t, disk, 64<<10) }
	backup(http.StatusInsufficientStorage, disk+"/copy.part ran full while the copy was written")
	free()

	// What a server that died left is in nobody's way.
	begun = func() {}
	part := filepath.Join(disk, "copy.part")
	if err := os.Mkdir(part, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(part, "casement.db"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	backup(http.StatusOK, "copy")
	if _, err := os.Lstat(part); !os.IsNotExist(err) {
		t.Errorf("the half of a backup is there: %v", err)
	}
	cfg.DataDir, cfg.Failpoint = filepath.Join(t.TempDir(), "restored"), nil
	rep, err := app.Restore(context.Background(), filepath.Join(disk, "copy"), cfg, false)
	if err != nil || !rep.Ledger.OK || rep.Replayed != sent {
		t.Errorf("%+v, %v", rep, err)
	}
}
