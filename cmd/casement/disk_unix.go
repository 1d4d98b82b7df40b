//go:build linux || darwin

package main

import "syscall"

// diskRoom is the number of bytes an ordinary user can still write in a folder.
func diskRoom(dir string) (bytes uint64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true //nolint:gosec // a block size is positive
}
