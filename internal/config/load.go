package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"
)

// DefaultFile is read when no file is named and it exists.
const DefaultFile = "casement.yaml"

// Options say where a configuration comes from.
type Options struct {
	// Path is a file or a directory; "" is DefaultFile if it exists.
	Path string
	// Env is the environment as os.Environ gives it.
	Env []string
	// Flags are the flags that were given.
	Flags []Flag
}

// Flag is a setting given on the command line: its key (server.listen), the
// name of the flag without dashes (listen), and the value.
type Flag struct{ Key, Name, Value string }

// Loaded is a configuration with the origin of each value.
type Loaded struct {
	Config
	// Files are the files read, in order.
	Files   []string
	origins map[string]place
}

// Where returns the origin of a key: file:line:column, "env NAME", "flag
// --name" or "default".
func (l *Loaded) Where(key string) string { return l.origins[key].String() }

// Issue words a fault of a key that shows only to what stands behind the
// configuration, at the place of the key or of the nearest part around it.
func (l *Loaded) Issue(key, mend, message string) Issue {
	at := place{origin: "configuration"}
	for part := key; part != ""; {
		if p, ok := l.origins[part]; ok {
			at = p
			break
		}
		i := strings.LastIndexAny(part, ".[")
		part = part[:max(i, 0)]
	}
	return at.issue(key, mend, strings.Contains(key, "secret"), "%s", message)
}

// Load reads, merges, overlays and checks a configuration. It returns either
// the value and no issues, or every issue found. The last result is a failure
// to read a file at all.
func Load(o Options) (*Loaded, Issues, error) {
	files, err := readFiles(o.Path)
	if err != nil {
		return nil, nil, err
	}
	l, issues := Parse(files, o)
	return l, issues, nil
}

// readFiles reads a file, or all *.yaml and *.yml of a directory in name order.
func readFiles(path string) ([]File, error) {
	named := path != ""
	if !named {
		path = DefaultFile
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil, nil
	case err != nil:
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err // not which call it was that failed
		}
		return nil, fmt.Errorf("configuration: %s: %w", path, err)
	}
	names := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		names = nil
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
		if len(names) == 0 || len(names) > maxFiles {
			return nil, fmt.Errorf("configuration: directory %s has %d YAML files; want 1 to %d", path, len(names), maxFiles)
		}
	}
	var out []File
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
		err = errors.Join(err, f.Close())
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		out = append(out, File{Name: n, Data: b})
	}
	return out, nil
}

// Parse is Load for files that were already read.
func Parse(files []File, o Options) (*Loaded, Issues) {
	p := &parser{}
	root := &node{kind: yaml.MappingNode, tag: "!!map", fields: map[string]*node{}, keyAt: map[string]place{}}
	l := &Loaded{}
	for i, f := range files {
		l.Files = append(l.Files, f.Name)
		for _, n := range p.file(i, f) {
			p.merge(root, n, "")
		}
	}
	p.overlay(root, o)
	d := &decoder{issues: p.issues, origins: map[string]place{}}
	d.into("", root, reflect.ValueOf(&l.Config).Elem(), reflect.StructField{})
	delete(d.origins, "")
	l.origins = d.origins
	l.check(d)
	if len(d.issues) > 0 {
		return nil, d.issues.Sorted()
	}
	return l, nil
}

// Key is one setting that environment and flags can set.
type Key struct {
	Name    string `json:"key"`
	Env     string `json:"env"`
	Default string `json:"default,omitempty"`
	Doc     string `json:"doc"`
	// Bool marks a switch, List a list (comma-separated in flags and variables).
	Bool bool `json:"-"`
	List bool `json:"-"`
}

// Keys lists the settings outside named sections, in the order of the file.
func Keys() []Key {
	var out []Key
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			name := join(prefix, f.Tag.Get("yaml"))
			switch {
			case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]():
				walk(name, f.Type)
			case f.Type.Kind() == reflect.Map:
			default:
				out = append(out, Key{Name: name, Env: envPrefix + strings.ToUpper(strings.ReplaceAll(name, ".", "_")),
					Default: f.Tag.Get("default"), Doc: f.Tag.Get("doc"), Bool: f.Type.Kind() == reflect.Bool, List: f.Type.Kind() == reflect.Slice})
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
	return out
}

// How variables of settings begin, and the origin of values given by flags.
const (
	envPrefix  = "CASEMENT_"
	flagOrigin = "flag --"
)

// overlay puts environment and flags over the files. A variable that begins
// like a section but names no key is an error: a typing mistake must not
// silently leave a setting at its default.
func (p *parser) overlay(root *node, o Options) {
	byEnv, byName, sections := map[string]Key{}, map[string]Key{}, map[string]bool{}
	var envs []string
	for _, k := range Keys() {
		byEnv[k.Env], byName[k.Name] = k, k
		envs = append(envs, strings.ToLower(k.Env))
		first, _, _ := strings.Cut(k.Name, ".")
		sections[envPrefix+strings.ToUpper(first)+"_"] = true
	}
	env := append([]string(nil), o.Env...)
	sort.Strings(env)
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		k, ok := byEnv[name]
		if ok {
			p.set(root, k, value, place{origin: "env " + name})
			continue
		}
		for s := range sections {
			if strings.HasPrefix(name, s) {
				mend := ""
				if c := nearest(strings.ToLower(name), envs); c != "" {
					mend = "did you mean " + strings.ToUpper(c) + "?"
				}
				p.add(place{origin: "env " + name}.issue("", mend, true, "this variable names no setting"))
			}
		}
	}
	for _, f := range o.Flags {
		if k, ok := byName[f.Key]; ok {
			p.set(root, k, f.Value, place{origin: flagOrigin + f.Name})
		}
	}
}

// set puts one value into the tree.
func (p *parser) set(root *node, k Key, value string, at place) {
	n := root
	parts := strings.Split(k.Name, ".")
	for _, part := range parts[:len(parts)-1] {
		child := n.fields[part]
		if child == nil || child.null() {
			child = &node{kind: yaml.MappingNode, tag: "!!map", fields: map[string]*node{}, keyAt: map[string]place{}, at: at}
			put(n, part, child, at)
		}
		if child.kind != yaml.MappingNode {
			return // the decoder reports the section
		}
		n = child
	}
	leaf := &node{kind: yaml.ScalarNode, tag: "!!str", value: value, at: at}
	if k.List {
		leaf = &node{kind: yaml.SequenceNode, tag: "!!seq", at: at}
		for _, w := range strings.Split(value, ",") {
			if w = strings.TrimSpace(w); w != "" {
				leaf.items = append(leaf.items, &node{kind: yaml.ScalarNode, tag: "!!str", value: w, at: at})
			}
		}
	}
	put(n, parts[len(parts)-1], leaf, at)
}

func put(n *node, key string, child *node, at place) {
	if _, ok := n.fields[key]; !ok {
		n.keys = append(n.keys, key)
	}
	n.fields[key], n.keyAt[key] = child, at
}
