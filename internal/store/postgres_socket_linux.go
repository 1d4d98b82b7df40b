package store

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// pgUnheard is how long what we sent may stay unconfirmed, in milliseconds: a
// server that was cut off is given up then, not after a quarter of an hour.
const pgUnheard = 10_000

// pgSocket prepares a socket to the database.
func pgSocket(network, _ string, c syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, pgUnheard)
	})
	return errors.Join(err, set)
}
