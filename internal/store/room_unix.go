//go:build linux || darwin

package store

import "golang.org/x/sys/unix"

// Room is the number of bytes an ordinary user can still write in a folder; ok
// is false where that is not known.
func Room(folder string) (bytes int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:gosec,unconvert // a disk is smaller; the types differ by system
}

// sameDisk reports whether two folders share their room; where it can't be told
// they do.
func sameDisk(a, b string) bool {
	var x, y unix.Stat_t
	if unix.Stat(a, &x) != nil || unix.Stat(b, &y) != nil {
		return true
	}
	return x.Dev == y.Dev
}
