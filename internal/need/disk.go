package need

import (
	"os"
	"path/filepath"
	"testing"
)

// SmallDisk is a folder that is a file system of its own until the test ends, of a
// size like 64m.
func SmallDisk(t testing.TB, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := Mount(t, dir, size); err != nil {
		Missing(t, "a small disk needs the right to mount: %v", err)
	}
	return dir
}

// Fill takes the room of a small disk but for some bytes. The function it returns
// gives it back.
func Fill(t testing.TB, disk string, left int64) (free func()) {
	t.Helper()
	path := filepath.Join(disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for block := make([]byte, 64<<10); err == nil; {
		var n int
		n, err = f.Write(block)
		size += int64(n)
	}
	if err := f.Truncate(max(size-left, 0)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
