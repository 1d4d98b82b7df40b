//go:build unix

package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lockFolder takes the lock of a data folder for this process. The kernel
// frees it when the process ends, however it ends.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, lockedBy(f, path)
		}
		return nil, fmt.Errorf("lock the data folder %s: %w (a network file system without locks?)", path, err)
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the data folder: %w", err), f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// lockedBy names the process that holds the lock, as far as it is known.
func lockedBy(f *os.File, path string) error {
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	holder := "another process"
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
		holder = fmt.Sprintf("process %d", pid)
	}
	return fmt.Errorf("%w: %s holds %s; stop it, or talk to the running server", ErrLocked, holder, path)
}
