// Package shipped holds the mapping files that come with the program, so that
// the tools they read need no flag. They are the same language users write;
// examples/mappings links to them.
//
// It is pure: it may import format, format/mapping and the standard library
// (no os, net, context, sync, log, rand, goroutines or time.Now). Invariants:
// every file loads (a test), is named like its format, and is found by content.
package shipped

import (
	"embed"
	"strings"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/mapping"
)

//go:embed mappings/*.yaml
var files embed.FS

// readers is loaded once: a body is offered to every reader.
var readers = mapping.MustLoadAll(files, "mappings")

// Readers returns the readers of the shipped mapping files, in name order. The
// list is the caller's.
func Readers() []format.Reader { return append([]format.Reader(nil), readers...) }

// File returns the mapping file of a shipped format, to start one's own from;
// ok is false when there is none of that name.
func File(name string) (data []byte, ok bool) {
	if strings.ContainsAny(name, "/\\") {
		return nil, false
	}
	data, err := files.ReadFile("mappings/" + name + ".yaml")
	return data, err == nil
}
