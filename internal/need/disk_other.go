//go:build !linux

package need

import (
	"errors"
	"testing"
)

// Mount makes a folder a file system of its own; only Linux can.
func Mount(testing.TB, string, string) error { return errors.ErrUnsupported }
