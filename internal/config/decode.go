package config

import (
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// decoder fills the typed value from a tree and reports every fault on the
// way. Known keys come from the field tags: yaml name, default, req, enum, path.
type decoder struct {
	issues  Issues
	origins map[string]place
}

func (d *decoder) fail(i Issue) { d.issues = append(d.issues, i) }

// into fills v (settable) from n; n may be nil for a key that is not there.
func (d *decoder) into(key string, n *node, v reflect.Value, f reflect.StructField) {
	if n != nil {
		d.origins[key] = n.at
	}
	switch t := v.Addr().Interface().(type) {
	case *Secret:
		*t = d.secret(key, n)
		return
	case *Secrets:
		*t = d.secrets(key, n)
		return
	case *map[string]any:
		*t = d.raw(key, n)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(key, n, v)
	case reflect.Map:
		d.table(key, n, v)
	case reflect.Slice:
		d.list(key, n, v, f)
	default:
		d.scalar(key, n, v, f)
	}
}

func (d *decoder) wrong(key string, n *node, want string) {
	d.fail(n.at.issue(key, "", true, "%s is %s; want %s", key, kindWord(n), want))
}

func kindWord(n *node) string {
	switch n.kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

// structure fills a section; unknown keys are errors.
func (d *decoder) structure(key string, n *node, v reflect.Value) {
	if n != nil && n.null() {
		n = nil
	}
	if n != nil && n.kind != yaml.MappingNode {
		d.wrong(key, n, "a mapping of settings")
		return
	}
	known := map[string]bool{}
	var names []string
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		known[name] = true
		names = append(names, name)
		var child *node
		if n != nil {
			child = n.fields[name]
		}
		if child == nil && f.Tag.Get("req") != "" && n != nil {
			d.fail(n.at.issue(join(key, name), f.Tag.Get("doc"), true, "%s is missing", join(key, name)))
		}
		d.into(join(key, name), child, v.Field(i), f)
	}
	if n == nil {
		return
	}
	for _, k := range n.keys {
		if !known[k] {
			d.fail(n.keyAt[k].issue(join(key, k), didYouMean(k, names), true, "unknown key %q", k))
		}
	}
}

// table fills a map from names to values.
func (d *decoder) table(key string, n *node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	if n == nil || n.null() {
		return
	}
	if n.kind != yaml.MappingNode {
		d.wrong(key, n, "a mapping from names to values")
		return
	}
	for _, k := range n.keys {
		if !plainName(k) {
			d.fail(n.keyAt[k].issue(join(key, k), "use letters, digits, - and _", true, "%q is no name", k))
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		d.into(join(key, k), n.fields[k], e, reflect.StructField{})
		v.SetMapIndex(reflect.ValueOf(k), e)
	}
}

func plainName(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// list fills a slice of words.
func (d *decoder) list(key string, n *node, v reflect.Value, f reflect.StructField) {
	if n == nil || n.null() {
		return
	}
	items := n.items
	switch n.kind {
	case yaml.MappingNode:
		d.wrong(key, n, "a list")
		return
	case yaml.ScalarNode:
		items = []*node{n}
	}
	for i, item := range items {
		e := reflect.New(v.Type().Elem()).Elem()
		d.scalar(key+"["+strconv.Itoa(i)+"]", item, e, f)
		d.origins[key+"["+strconv.Itoa(i)+"]"] = item.at
		v.Set(reflect.Append(v, e))
	}
}

// scalar fills a string, bool or int.
func (d *decoder) scalar(key string, n *node, v reflect.Value, f reflect.StructField) {
	word := f.Tag.Get("default")
	if n != nil && !n.null() {
		if n.kind != yaml.ScalarNode {
			d.wrong(key, n, "a single value")
			return
		}
		word = n.value
	}
	if word == "" && v.Kind() != reflect.String {
		return
	}
	at := place{}
	if n != nil {
		at = n.at
	}
	if secretValue.MatchString(word) || userInfo.MatchString(word) {
		mend := "revoke it if the file was shared"
		if key == "database.url" {
			mend = "process lists and files show it: leave it out and name it by database.password (env:NAME, file:PATH), PGPASSWORD or ~/.pgpass, or put the whole URL behind a reference: env:NAME"
		}
		d.fail(at.secretIssue(key, mend, "%s holds a literal secret", key))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		switch word {
		case "true", "yes", "on":
			v.SetBool(true)
		case "false", "no", "off":
			v.SetBool(false)
		default:
			d.fail(at.issue(key, "want true or false", false, "%s is %q", key, word))
		}
	case reflect.Int:
		i, err := strconv.Atoi(word)
		if err != nil || i < 0 || i > 1<<40 {
			d.fail(at.issue(key, "want a whole number, 0 or more", false, "%s is %q", key, word))
			return
		}
		v.SetInt(int64(i))
	default:
		d.text(key, word, at, v, f)
	}
}

func (d *decoder) text(key, word string, at place, v reflect.Value, f reflect.StructField) {
	if enum := strings.Fields(f.Tag.Get("enum")); len(enum) > 0 && word != "" {
		found := false
		for _, e := range enum {
			found = found || e == word
		}
		if !found {
			d.fail(at.issue(key, didYouMean(word, enum), false, "%s is %q", key, word))
			return
		}
	}
	if f.Tag.Get("path") != "" && word != "" && at.src != nil {
		// A file named in a file is relative to it; "repo=path" names a repository.
		prefix, path, ok := strings.Cut(word, "=")
		if !ok || f.Tag.Get("path") != "named" {
			prefix, path = "", word
		} else {
			prefix += "="
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(at.src.dir, path)
		}
		word = prefix + path
	}
	v.SetString(word)
}

// secret reads one reference.
func (d *decoder) secret(key string, n *node) Secret {
	if n == nil || n.null() {
		return Secret{}
	}
	if n.kind != yaml.ScalarNode {
		d.wrong(key, n, "a reference such as env:NAME")
		return Secret{}
	}
	if why := notReference(n.value); why != "" {
		d.fail(n.at.secretIssue(key, "write a reference: env:NAME, file:PATH or cmd:PROGRAM ARGS", "%s is %s", key, why))
		return Secret{}
	}
	s := Secret{ref: n.value}
	if n.at.src != nil {
		s.dir = n.at.src.dir
	}
	return s
}

func (d *decoder) secrets(key string, n *node) Secrets {
	if n == nil || n.null() {
		return nil
	}
	if n.kind != yaml.SequenceNode {
		return Secrets{d.secret(key, n)}
	}
	var out Secrets
	for i, item := range n.items {
		out = append(out, d.secret(key+"["+strconv.Itoa(i)+"]", item))
	}
	return out
}

// raw keeps the settings of a connector as plain values; credentials do not
// belong there.
func (d *decoder) raw(key string, n *node) map[string]any {
	out := map[string]any{}
	if n == nil || n.null() {
		return out
	}
	if n.kind != yaml.MappingNode {
		d.wrong(key, n, "a mapping of settings")
		return out
	}
	for _, k := range n.keys {
		out[k] = d.rawValue(join(key, k), k, n.fields[k])
	}
	return out
}

func (d *decoder) rawValue(key, name string, n *node) any {
	d.origins[key] = n.at
	switch n.kind {
	case yaml.MappingNode:
		return d.raw(key, n)
	case yaml.SequenceNode:
		var out []any
		for i, item := range n.items {
			out = append(out, d.rawValue(key+"["+strconv.Itoa(i)+"]", name, item))
		}
		return out
	}
	if n.null() {
		return nil
	}
	if literalSecret(name, n.value) {
		d.fail(n.at.secretIssue(key, "put it under secrets: of the connector, as env:NAME, file:PATH or cmd:PROGRAM ARGS", "%s holds a literal secret", key))
		return nil
	}
	if secretKey.MatchString(name) {
		d.fail(n.at.secretIssue(key, "only there references are read", "%s belongs under secrets: of the connector", key))
		return nil
	}
	switch n.tag {
	case "!!bool":
		return strings.EqualFold(n.value, "true")
	case "!!int":
		if i, err := strconv.ParseInt(n.value, 0, 64); err == nil {
			return i
		}
	case "!!float":
		if x, err := strconv.ParseFloat(n.value, 64); err == nil {
			return x
		}
	}
	return n.value
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
