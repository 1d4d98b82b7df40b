package policy

import (
	"encoding/json"
	"reflect"
	"strings"
)

// kinds is every kind of document with an empty value of it, in the order the
// documentation shows them.
func kinds() []struct {
	name string
	doc  any
} {
	return []struct {
		name string
		doc  any
	}{
		{"rules", rawRules{}}, {"playbooks", rawPlaybooks{}}, {"routes", rawRoutes{}}, {"templates", rawTemplates{}},
		{"sla", rawSLAs{}}, {"calendars", rawCalendars{}}, {"escalations", rawEscalations{}},
		{"guardrails", rawGuardrails{}}, {"exceptions", rawExceptions{}}, {"tests", rawTests{}},
	}
}

// kindOwners is the kind of documents that internal/owner reads.
const kindOwners = "owners"

func kindNames() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.name)
	}
	return append(out, kindOwners)
}

// Schema returns the JSON Schema (draft 2020-12) of a policy document, for
// editors. It is made from the same field tags that Load reads by.
func Schema() []byte {
	var all []any
	for _, k := range kinds() {
		all = append(all, schemaOf(k.doc))
	}
	all = append(all, map[string]any{
		"type": "object", "required": []string{"kind"},
		"properties": map[string]any{"kind": map[string]any{"const": kindOwners}},
	})
	b, err := json.MarshalIndent(map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Casement policy document",
		"description": "One document of a policy directory; the field kind says which.",
		"oneOf":       all,
	}, "", "  ")
	if err != nil { // maps, slices and strings: cannot fail
		return []byte("{}")
	}
	return append(b, '\n')
}

// schemaOf describes the type of a value.
func schemaOf(v any) map[string]any { return schemaType(reflect.TypeOf(v)) }

func schemaType(t reflect.Type) map[string]any {
	if u, ok := reflect.New(t).Interface().(unmarshaler); ok {
		return u.schema()
	}
	switch t.Kind() {
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaType(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaType(t.Elem())}
	case reflect.Struct:
		return schemaStruct(t)
	}
	return map[string]any{"type": "string"}
}

func schemaStruct(t reflect.Type) map[string]any {
	props, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		s := schemaType(f.Type)
		if words := strings.Fields(f.Tag.Get("enum")); len(words) > 0 {
			s = enumSchema(f.Type, words)
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		props[name] = s
		if f.Tag.Get("req") != "" {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func enumSchema(t reflect.Type, words []string) map[string]any {
	word := map[string]any{"enum": words}
	if t == reflect.TypeFor[list]() {
		return map[string]any{"oneOf": []any{word, map[string]any{"type": "array", "items": word}}}
	}
	return word
}
