//go:build !unix

package main

import "os"

// windowWidth is not known here; COLUMNS sets it.
func windowWidth(*os.File) int { return 0 }
