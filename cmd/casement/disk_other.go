//go:build !linux && !darwin

package main

// diskRoom is not known here.
func diskRoom(string) (bytes uint64, ok bool) { return 0, false }
