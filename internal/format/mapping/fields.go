package mapping

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/format"
)

func (l *loader) fields(n *yaml.Node) []field {
	var out []field
	for _, p := range l.object(n, "fields", nil) {
		t, ok := l.target(p.key)
		v := l.value(p.value, p.key.Value, t)
		if ok {
			out = append(out, field{t, v})
		}
	}
	return out
}

// value reads a path as text, a list of paths (the first that holds something),
// or an object.
func (l *loader) value(n *yaml.Node, what string, t target) value {
	var v value
	switch n.Kind {
	case yaml.ScalarNode:
		v.paths = []path{l.path(n, what)}
		return v
	case yaml.SequenceNode:
		for _, x := range n.Content {
			v.paths = append(v.paths, l.path(x, what))
		}
		if len(v.paths) == 0 {
			l.fail(n, "%s: the list of paths is empty", what)
		}
		return v
	}
	sources := 0
	for _, p := range l.object(n, what, []string{"path", "paths", "all", "const", "template", "table", "extract", "convert", "split", "ignore", "default"}) {
		at := what + "." + p.key.Value
		switch p.key.Value {
		case "path":
			v.paths = []path{l.path(p.value, at)}
			sources++
		case "paths", "all":
			if p.value.Kind != yaml.SequenceNode || len(p.value.Content) == 0 {
				l.fail(p.value, "%s: want a list of paths", at)
				continue
			}
			for _, x := range p.value.Content {
				v.paths = append(v.paths, l.path(x, at))
			}
			v.merge = p.key.Value == "all"
			sources++
		case "const":
			v.constant = l.scalar(p.value, at)
			l.checkWord(p.value, t, v.constant)
			sources++
		case "template":
			v.template = l.template(p.value, at)
			sources++
		case "table":
			v.table, v.hasTable = l.valueTable(p.value, at, t), true
		case "extract":
			v.extract = l.scalar(p.value, at)
			if !slices.Contains([]string{"cve", "cwe", "advisory"}, v.extract) {
				l.fail(p.value, "%s: %q: want cve, cwe or advisory", at, v.extract)
			}
		case "convert":
			v.convert = l.scalar(p.value, at)
			if names := conversions(); !slices.Contains(names, v.convert) {
				l.fail(p.value, "%s: %q is no conversion%s; want %s", at, v.convert, format.DidYouMean(v.convert, names), strings.Join(names, ", "))
			}
		case "ignore":
			for _, s := range l.list(p.value, at) {
				v.ignore = append(v.ignore, strings.ToLower(s))
			}
		case "split":
			v.split = l.scalar(p.value, at)
		case "default":
			v.fallback = l.scalar(p.value, at)
			l.checkWord(p.value, t, v.fallback)
		}
	}
	if sources != 1 && n.Kind == yaml.MappingNode {
		l.fail(n, "%s: want exactly one of path, paths, all, const and template", what)
	}
	return v
}

// valueTable is a table by name or written in place.
func (l *loader) valueTable(n *yaml.Node, what string, t target) map[string]string {
	if n.Kind != yaml.ScalarNode {
		return l.table(n, what, t)
	}
	node, ok := l.tables[l.scalar(n, what)]
	if !ok {
		names := slices.Sorted(maps.Keys(l.tables))
		l.fail(n, "%s: there is no table %q under tables%s", what, n.Value, format.DidYouMean(n.Value, names))
		return nil
	}
	return l.table(node, "tables."+n.Value, t)
}

// template reads "text {path} text".
func (l *loader) template(n *yaml.Node, what string) []part {
	var out []part
	s := l.scalar(n, what)
	for s != "" {
		literal, rest, ok := strings.Cut(s, "{")
		if literal != "" {
			out = append(out, part{literal: literal})
		}
		if !ok {
			break
		}
		inner, after, ok := strings.Cut(rest, "}")
		if !ok {
			l.fail(n, "%s: { without }", what)
			return out
		}
		p, err := parsePath(inner)
		if err != nil {
			l.fail(n, "%s: %v", what, err)
		}
		out = append(out, part{path: &p})
		s = after
	}
	return out
}

func (l *loader) suppressions(n *yaml.Node) []suppression {
	if n.Kind != yaml.SequenceNode {
		l.fail(n, "suppress: want a list of {when, reason}")
		return nil
	}
	var out []suppression
	for _, x := range n.Content {
		var s suppression
		for _, p := range l.object(x, "suppress", []string{"when", "reason"}) {
			if p.key.Value == "when" {
				s.when = l.conditions(p.value, "suppress.when")
			} else {
				s.reason = l.scalar(p.value, "suppress.reason")
			}
		}
		if x.Kind == yaml.MappingNode && (len(s.when) == 0 || s.reason == "") {
			l.fail(x, "suppress: when and reason are both needed; the reason is shown for every suppressed record")
		}
		out = append(out, s)
	}
	return out
}

// conditions reads one condition or a list of them, all of which must hold.
func (l *loader) conditions(n *yaml.Node, what string) []condition {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
		if len(nodes) == 0 {
			l.fail(n, "%s: the list is empty", what)
		}
	}
	var out []condition
	for _, x := range nodes {
		var c condition
		tests := 0
		for _, p := range l.object(x, what, []string{"path", "paths", "equals", "in", "contains", "exists"}) {
			at := what + "." + p.key.Value
			switch p.key.Value {
			case "path":
				c.paths = append(c.paths, l.path(p.value, at))
			case "paths":
				for _, text := range p.value.Content {
					c.paths = append(c.paths, l.path(text, at))
				}
			case "equals":
				c.in = []string{strings.ToLower(l.scalar(p.value, at))}
				tests++
			case "in":
				for _, s := range l.list(p.value, at) {
					c.in = append(c.in, strings.ToLower(s))
				}
				tests++
			case "contains":
				c.contains = strings.ToLower(l.scalar(p.value, at))
				tests++
			case "exists":
				yes := l.scalar(p.value, at) == "true"
				if p.value.Value != "true" && p.value.Value != "false" {
					l.fail(p.value, "%s: want true or false", at)
				}
				c.exists = &yes
				tests++
			}
		}
		if x.Kind == yaml.MappingNode && (len(c.paths) == 0 || tests != 1) {
			l.fail(x, "%s: want path and exactly one of equals, in, contains and exists", what)
		}
		out = append(out, c)
	}
	return out
}
