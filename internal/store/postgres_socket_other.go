//go:build !linux

package store

import "syscall"

// pgSocket leaves a socket to the database as it is.
func pgSocket(string, string, syscall.RawConn) error { return nil }
