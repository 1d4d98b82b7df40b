package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
)

// Setting is one effective value.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// Origin is file:line:column, env NAME, flag --name or default.
	Origin string `json:"origin"`
}

// Settings lists every effective value in the order of sections, secrets
// masked.
func (l *Loaded) Settings() []Setting {
	var out []Setting
	emit := func(key, value string) {
		out = append(out, Setting{Key: key, Value: value, Origin: l.Where(key)})
	}
	var walk func(key string, v reflect.Value)
	walk = func(key string, v reflect.Value) {
		switch t := v.Interface().(type) {
		case Secret:
			if !t.IsZero() {
				emit(key, t.Kind()+":"+mask)
			}
			return
		case Secrets:
			for i, s := range t {
				out = append(out, Setting{Key: fmt.Sprintf("%s[%d]", key, i), Value: s.Kind() + ":" + mask, Origin: l.Where(key)})
			}
			return
		}
		switch v.Kind() {
		case reflect.Interface:
			if v.IsNil() {
				return
			}
			walk(key, v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				walk(join(key, v.Type().Field(i).Tag.Get("yaml")), v.Field(i))
			}
		case reflect.Map:
			for _, k := range mapKeys(v) {
				walk(join(key, k), v.MapIndex(reflect.ValueOf(k)))
			}
		case reflect.Slice:
			words := make([]string, v.Len())
			for i := range words {
				words[i] = fmt.Sprint(v.Index(i).Interface())
			}
			emit(key, strings.Join(words, ", "))
		default:
			emit(key, fmt.Sprint(v.Interface()))
		}
	}
	walk("", reflect.ValueOf(l.Config))
	return out
}

func mapKeys(v reflect.Value) []string {
	var out []string
	for _, k := range v.MapKeys() {
		out = append(out, k.String())
	}
	sort.Strings(out)
	return out
}

// Schema returns the JSON Schema (draft 2020-12) of a configuration file, for
// editors. It is made from the tags that Load reads by.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[Config](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Casement configuration (casement.yaml)"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // maps, slices and strings: cannot fail
		return []byte("{}")
	}
	return append(b, '\n')
}

const referencePattern = "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|cmd:.+)$"

func schemaOf(t reflect.Type, enum string) map[string]any {
	switch t {
	case reflect.TypeFor[Secret]():
		return map[string]any{"type": "string", "pattern": referencePattern}
	case reflect.TypeFor[Secrets]():
		one := map[string]any{"type": "string", "pattern": referencePattern}
		return map[string]any{"oneOf": []any{one, map[string]any{"type": "array", "items": one}}}
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), "")}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), "")}
	case reflect.Struct:
		return schemaStruct(t)
	}
	s := map[string]any{"type": "string"}
	if enum != "" {
		s["enum"] = strings.Fields(enum)
	}
	return s
}

func schemaStruct(t reflect.Type) map[string]any {
	props, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		s := schemaOf(f.Type, f.Tag.Get("enum"))
		s["description"] = f.Tag.Get("doc")
		if d := f.Tag.Get("default"); d != "" {
			s["default"] = d
			if f.Type.Kind() == reflect.Int {
				s["default"] = json.Number(d)
			}
		}
		props[f.Tag.Get("yaml")] = s
		if f.Tag.Get("req") != "" {
			required = append(required, f.Tag.Get("yaml"))
		}
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}
