//go:build !unix

package store

import (
	"errors"
	"fmt"
	"os"
)

// lockFolder takes the lock of a data folder for this process. Where flock is
// missing the lock file itself is the lock, held open without sharing; it is
// removed first, which fails while another process has it open.
func lockFolder(path string) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: another process holds %s; stop it, or talk to the running server", ErrLocked, path)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}
