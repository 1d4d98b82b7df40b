//go:build !unix || solaris || aix

package main

import (
	"errors"
	"os"
)

// windowWidth is not known here; COLUMNS sets it.
func windowWidth(*os.File) int { return 0 }

// hideInput is not known here; give the password as a reference.
func hideInput(*os.File) (restore func() error, err error) {
	return nil, errors.New("echo can't be turned off here: give the password as env:NAME or file:PATH")
}
