package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// backupIn names the folder of a backup.
type backupIn struct {
	Body struct {
		Folder string `json:"folder" doc:"Full path of a folder that is not there yet."`
	}
}

// backupDone is a backup that was made.
type backupDone struct {
	Folder string `json:"folder"`
	Bytes  int64  `json:"bytes"`
}

// backupBegun is the failpoint at which there is room and nothing was read yet.
const backupBegun = "backup begun"

// backup copies database and install key into a new folder of this machine. It
// is for the machine's own operator: only the local token may name a path.
func (a *App) backup(ctx context.Context, p auth.Principal, in *backupIn) (backupDone, error) {
	folder := filepath.Clean(in.Body.Folder)
	if p.ID != auth.LocalID {
		return backupDone{}, &remedy.Refusal{Code: remedy.Forbidden, Msg: "a backup is made by casement backup on the server's own machine"}
	}
	db, ok := a.Store.(backups)
	if !ok {
		return backupDone{}, badInput("the cases are in PostgreSQL: back it up by its own means (base backups and archived WAL, so that any point in time can be restored), and keep install.key of this node beside it")
	}
	if !filepath.IsAbs(folder) {
		return backupDone{}, badInput("name the folder by its full path")
	}
	if _, err := os.Lstat(folder); err == nil {
		return backupDone{}, badInput("%s exists already", folder)
	}
	if !a.backing.TryLock() {
		return backupDone{}, &remedy.Refusal{Code: remedy.NotNow, Msg: "another backup is being made"}
	}
	defer a.backing.Unlock()
	size, err := a.backupTo(ctx, db, folder)
	if errors.Is(err, store.ErrOutgrown) {
		return backupDone{}, &remedy.Refusal{Code: remedy.NotNow, Msg: "the backup was given up, and nothing of it is left: " + store.ErrOutgrown.Error() + "; try again when less comes in, or make room on the disk of the data folder"}
	}
	return backupDone{folder, size}, err
}

// backupTo makes the backup under another name, so that a folder of its own name
// is whole whatever happens.
func (a *App) backupTo(ctx context.Context, db backups, folder string) (size int64, err error) {
	part := folder + ".part"
	if err := removeBackup(part); err != nil { // of a server that died
		return 0, badInput("%v", err)
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return 0, badInput("%v", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeBackup(part))
		}
	}()
	mark, err := a.mark(ctx)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(part, store.DatabaseFile)
	if err := db.Backup(ctx, file, mark, func() { a.reach(backupBegun) }); err != nil {
		return 0, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	key, err := os.ReadFile(filepath.Join(a.cfg.DataDir, keyFile))
	if err != nil {
		return 0, err
	}
	if err := writeNew(filepath.Join(part, keyFile), key); errors.Is(err, syscall.ENOSPC) {
		return 0, &store.RoomError{Folder: part, Need: info.Size() + int64(len(key)), Begun: true}
	} else if err != nil {
		return 0, err
	}
	if err := syncFolder(part); err != nil {
		return 0, err
	}
	if err := os.Rename(part, folder); err != nil {
		return 0, err
	}
	return info.Size(), syncFolder(filepath.Dir(folder))
}

// reach calls the failpoint of a test.
func (a *App) reach(at string) {
	if a.cfg.Failpoint != nil {
		a.cfg.Failpoint(at)
	}
}

// installFiles are the files that a backup, or a data folder that was just made of
// one, consists of.
func installFiles() []string {
	return []string{store.DatabaseFile, store.DatabaseFile + "-wal", store.DatabaseFile + "-shm", store.DatabaseFile + "-journal", keyFile}
}

// removeInstall removes the files of an install, as far as they are there.
func removeInstall(folder string) error {
	var errs []error
	for _, name := range installFiles() {
		if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// removeBackup removes a backup, and nothing else that lies in its folder.
func removeBackup(folder string) error {
	if err := removeInstall(folder); err != nil {
		return err
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder puts the names in a folder on the disk.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
