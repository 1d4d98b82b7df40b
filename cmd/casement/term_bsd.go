//go:build unix && !linux && !solaris && !aix

package main

import "golang.org/x/sys/unix"

// The requests that read and set a terminal's modes.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)
