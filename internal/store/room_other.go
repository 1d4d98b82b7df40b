//go:build !linux && !darwin

package store

// Room is not known here.
func Room(string) (bytes int64, ok bool) { return 0, false }

func sameDisk(string, string) bool { return true }
