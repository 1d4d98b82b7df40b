package config

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Bounds of what is read; a configuration is written by people.
const (
	maxFile  = 1 << 20
	maxFiles = 200
	maxDepth = 32
	maxNodes = 50_000
)

// node is a YAML value with the place it came from.
type node struct {
	kind   yaml.Kind // MappingNode, SequenceNode or ScalarNode
	tag    string
	value  string
	keys   []string
	fields map[string]*node
	keyAt  map[string]place
	items  []*node
	at     place
}

func (n *node) null() bool { return n.kind == yaml.ScalarNode && n.tag == "!!null" }

// File is one configuration file as read.
type File struct {
	Name string
	Data []byte
}

// parser collects the trees of all files.
type parser struct {
	issues Issues
	nodes  int
}

func (p *parser) add(i Issue) { p.issues = append(p.issues, i) }

// file reads one file into its trees, one per document.
func (p *parser) file(index int, f File) []*node {
	src := &source{name: f.Name, dir: filepath.Dir(f.Name), index: index, lines: strings.Split(string(f.Data), "\n")}
	whole := place{src: src}
	switch {
	case len(f.Data) > maxFile:
		p.add(whole.issue("", "split it into several files of a directory", true, "file has %d bytes, more than %d", len(f.Data), maxFile))
		return nil
	case !utf8.Valid(f.Data) || bytes.IndexByte(f.Data, 0) >= 0:
		p.add(whole.issue("", "save it as UTF-8", true, "file is not UTF-8 text"))
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(f.Data))
	if err != nil {
		p.add(whole.issue("", "", true, "cannot be read as YAML"))
		return nil
	}
	var out []*node
	for {
		var doc yaml.Node
		err := loader.Load(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			p.syntax(src, err)
			return out
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
			continue
		}
		n := p.build(src, doc.Content[0], 0)
		switch {
		case n == nil:
			return out
		case n.null():
		case n.kind != yaml.MappingNode:
			p.add(n.at.issue("", "start with a section, e.g. server:", true, "the file is not a mapping of sections"))
		default:
			out = append(out, n)
		}
	}
}

// syntax records what the YAML reader could not read.
func (p *parser) syntax(src *source, err error) {
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &many) && len(many.Errors) > 0:
		for _, e := range many.Errors {
			p.syntax(src, e)
		}
	case errors.As(err, &one):
		msg := one.Message
		if one.ContextMsg != "" {
			msg = one.ContextMsg + ": " + msg
		}
		p.add(place{src: src, line: one.Mark.Line, col: one.Mark.Column}.issue("", "", true, "not valid YAML: %s", msg))
	default:
		p.add(place{src: src}.issue("", "", true, "not valid YAML"))
	}
}

// build turns a YAML node into a tree. Anchors and aliases are refused: what a
// reviewer reads must be what is loaded, and an alias can multiply a small file
// without bound. nil means that the rest of the file is not worth reading.
func (p *parser) build(src *source, y *yaml.Node, depth int) *node {
	p.nodes++
	at := place{src: src, line: y.Line, col: y.Column}
	switch {
	case y.Kind == yaml.AliasNode || y.Anchor != "":
		p.add(at.issue("", "write the value out", true, "anchors and aliases are not allowed in configuration"))
		return nil
	case p.nodes > maxNodes || depth > maxDepth:
		p.add(at.issue("", "", true, "the configuration has more than %d values or nests deeper than %d", maxNodes, maxDepth))
		return nil
	}
	n := &node{kind: y.Kind, tag: y.Tag, value: y.Value, at: at}
	switch y.Kind {
	case yaml.MappingNode:
		n.fields, n.keyAt = map[string]*node{}, map[string]place{}
		for i := 0; i+1 < len(y.Content); i += 2 {
			k := y.Content[i]
			kat := place{src: src, line: k.Line, col: k.Column}
			child := p.build(src, y.Content[i+1], depth+1)
			if child == nil {
				return nil
			}
			if k.Kind != yaml.ScalarNode {
				p.add(kat.issue("", "", true, "a key must be a word"))
				continue
			}
			if first, ok := n.keyAt[k.Value]; ok {
				p.add(kat.issue(k.Value, "remove one of them", true, "key %q is already at %s", k.Value, first))
				continue
			}
			n.keys = append(n.keys, k.Value)
			n.fields[k.Value], n.keyAt[k.Value] = child, kat
		}
	case yaml.SequenceNode:
		for _, c := range y.Content {
			child := p.build(src, c, depth+1)
			if child == nil {
				return nil
			}
			n.items = append(n.items, child)
		}
	}
	return n
}

// merge adds b to a: mappings are joined, lists appended, and a scalar may be
// set in one place only.
func (p *parser) merge(a, b *node, key string) {
	for _, k := range b.keys {
		sub := join(key, k)
		have, ok := a.fields[k]
		next := b.fields[k]
		switch {
		case !ok || have.null():
			if !ok {
				a.keys = append(a.keys, k)
			}
			a.fields[k], a.keyAt[k] = next, b.keyAt[k]
		case next.null():
		case have.kind == yaml.MappingNode && next.kind == yaml.MappingNode:
			p.merge(have, next, sub)
		case have.kind == yaml.SequenceNode && next.kind == yaml.SequenceNode:
			have.items = append(have.items, next.items...)
		default:
			p.add(b.keyAt[k].issue(sub, "set it in one file only", true, "%s is already set at %s", sub, a.keyAt[k]))
		}
	}
}

func join(key, k string) string {
	if key == "" {
		return k
	}
	return key + "." + k
}
