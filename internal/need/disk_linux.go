package need

import (
	"syscall"
	"testing"
)

// Mount makes a folder a file system of its own until the test ends, of a size
// like 64m. It needs root.
func Mount(t testing.TB, folder, size string) error {
	t.Helper()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size+",mode=0700"); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return nil
}
