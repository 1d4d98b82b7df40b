package store

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pgSocket prepares a socket to the database; unheard is how long what is sent
// may stay unconfirmed.
func pgSocket(network string, c syscall.RawConn, unheard time.Duration) error {
	if network == "unix" {
		return nil
	}
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard.Milliseconds()))
	})
	return errors.Join(err, set)
}
