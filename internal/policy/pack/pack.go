// Package pack is the policy that ships with the program: the default pack,
// whose rules on connectors start in shadow, and the pack of the demo, which
// approves and enforces.
//
// It may import policy. Invariant: both packs load without issues, every rule
// in them is covered by a policy test in them, and all these tests pass.
package pack

import (
	"embed"
	"io/fs"
	"sort"
	"strings"

	"github.com/casement/casement/internal/policy"
)

//go:embed *.yaml demo/*.yaml
var files embed.FS

// Default returns the files of the default pack.
func Default() []policy.File { return read(".") }

// Demo returns the files of the demo's pack: its own files with the ticket
// templates of the default pack.
func Demo() []policy.File {
	out := read("demo")
	for _, f := range Default() {
		if f.Name == "40-templates.yaml" {
			out = append(out, f)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// read returns the YAML files of an embedded folder, by name.
func read(dir string) []policy.File {
	entries, err := fs.ReadDir(files, dir)
	if err != nil { // embedded at build time
		return nil
	}
	var out []policy.File
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".yaml") {
			continue
		}
		b, err := fs.ReadFile(files, strings.TrimPrefix(dir+"/"+e.Name(), "./"))
		if err != nil {
			continue
		}
		out = append(out, policy.File{Name: e.Name(), Data: b})
	}
	return out
}
