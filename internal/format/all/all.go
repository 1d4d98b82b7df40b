// Package all is the hand-written list of all readers, and detection over it.
//
// It is pure: it may import format, its sub-packages, finding and the standard
// library (no os, net, context, sync, log, rand, goroutines or time.Now).
// Invariants: the format is found by content alone, never by a file's name;
// the surest reader wins and ties go to the one listed first; a body nobody
// knows is refused with what was tried and what to do.
package all

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/alertmanager"
	"github.com/casement/casement/internal/format/asff"
	"github.com/casement/casement/internal/format/falco"
	"github.com/casement/casement/internal/format/github"
	"github.com/casement/casement/internal/format/gitleaks"
	"github.com/casement/casement/internal/format/jsonl"
	"github.com/casement/casement/internal/format/ocsf"
	"github.com/casement/casement/internal/format/sarif"
	"github.com/casement/casement/internal/format/shipped"
	"github.com/casement/casement/internal/format/trivy"
)

// threshold is the least sureness at which a body counts as in a format.
const threshold = 20

// Readers returns the built-in readers: those in Go, then those of the mapping
// files that come with the program.
func Readers() []format.Reader {
	return append([]format.Reader{sarif.Reader{}, asff.Reader{}, github.Reader{}, trivy.Reader{}, ocsf.Reader{},
		gitleaks.Reader{}, falco.Reader{}, alertmanager.Reader{}, jsonl.Reader{}}, shipped.Readers()...)
}

// Detect finds the reader of a body among extra (readers made of mapping
// files, asked first, or last if they say nothing of detection) and the built-in ones. The error is an *format.Error.
func Detect(body []byte, opt format.Options, extra ...format.Reader) (format.Reader, error) {
	readers := append(append([]format.Reader{}, extra...), Readers()...)
	p := format.NewProbe(body, opt)
	var best format.Reader
	sure := threshold - 1
	for _, r := range readers {
		if s := r.Detect(p); s > sure {
			best, sure = r, s
		}
	}
	if best != nil {
		return best, nil
	}
	if _, err := format.Text("", body, opt); err != nil {
		return nil, err
	}
	for _, r := range extra {
		if b, ok := r.(interface{ Blind() bool }); ok && b.Blind() && (p.Kind != 0 || p.Table) {
			return r, nil
		}
	}
	return nil, unknown(body, opt, p, readers)
}

// unknown words the refusal of a body nobody knows.
func unknown(body []byte, opt format.Options, p format.Probe, readers []format.Reader) error {
	e := &format.Error{Where: format.Position(opt.File, body, 0)}
	if p.Kind == 0 {
		e.Reason = "this is not JSON" + looksLike(body)
		e.Mend = "let the tool write JSON, best SARIF 2.1.0"
		return e
	}
	// Broken JSON of no known format is better told where it breaks.
	if !p.Lines {
		var whole any
		if err := format.Decode("", body, opt, &whole); err != nil {
			return err
		}
	}
	names := make([]string, len(readers))
	for i, r := range readers {
		names[i] = r.Name()
	}
	e.Reason = fmt.Sprintf("no reader knows this JSON (tried %s)", strings.Join(names, ", "))
	if empty(body) {
		e.Reason = "the JSON is empty, so nothing says which tool wrote it (tried " + strings.Join(names, ", ") + ")"
	}
	e.Mend = "write a mapping file for it, see docs/mapping.md, or let the tool write SARIF 2.1.0"
	return e
}

func looksLike(body []byte) string {
	head := bytes.TrimSpace(body[:min(len(body), 400)])
	switch {
	case bytes.HasPrefix(head, []byte("<!DOCTYPE html")), bytes.HasPrefix(head, []byte("<html")):
		return ", it looks like a web page"
	case bytes.HasPrefix(head, []byte("<")):
		return ", it looks like XML"
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return ", it looks like a zip file"
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return ", it looks like gzip"
	case bytes.Contains(head, []byte(",")) && bytes.Contains(head, []byte("\n")):
		return ", it may be CSV"
	}
	return ""
}

func empty(body []byte) bool {
	s := strings.Join(strings.Fields(string(body[:min(len(body), 100)])), "")
	return s == "{}"
}

// Read detects the format of a body and reads it.
func Read(body []byte, opt format.Options, extra ...format.Reader) (format.Result, error) {
	r, err := Detect(body, opt, extra...)
	if err != nil {
		return format.Result{}, err
	}
	return r.Read(body, opt)
}

// SecretPaths returns the places where a format holds secrets in clear, for
// format.Redact; nil when the reader has none or name is not known.
func SecretPaths(name string) []string {
	for _, r := range Readers() {
		if s, ok := r.(interface{ SecretPaths() []string }); ok && r.Name() == name {
			return s.SecretPaths()
		}
	}
	return nil
}
