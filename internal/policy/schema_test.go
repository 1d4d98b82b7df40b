package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/policy/pack"
)

// TestSchemaFitsPacks: every document that loads fits the schema, and a document
// with unknown fields does not, so that editors and the loader agree.
func TestSchemaFitsPacks(t *testing.T) {
	var schema map[string]any
	if err := json.Unmarshal(policy.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(pack.Default(), pack.Demo()...) {
		for i, doc := range documents(t, f.Data) {
			if err := fits(schema, doc); err != nil {
				t.Errorf("%s, document %d: %v", f.Name, i+1, err)
			}
		}
	}
	for _, name := range []string{"03-unknown-fields", "04-kind", "18-escalations", "23-shapes"} {
		data, err := os.ReadFile("testdata/broken/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if fits(schema, documents(t, data)[0]) == nil {
			t.Errorf("%s fits the schema", name)
		}
	}
}

func documents(t *testing.T, data []byte) []any {
	t.Helper()
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out []any
	for {
		var doc any
		switch err := loader.Load(&doc); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			t.Fatal(err)
		case doc != nil:
			out = append(out, doc)
		}
	}
}

// fits checks a value against the part of JSON Schema that Schema uses.
func fits(s map[string]any, v any) error {
	if all, ok := s["oneOf"].([]any); ok {
		n, errs := 0, []error(nil)
		for _, x := range all {
			if err := fits(x.(map[string]any), v); err != nil {
				errs = append(errs, err)
			} else {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d of %d fit: %w", n, len(all), errors.Join(errs...))
		}
	}
	if c, ok := s["const"]; ok && c != v {
		return fmt.Errorf("%v is not %v", v, c)
	}
	if words, ok := s["enum"].([]any); ok {
		found := false
		for _, w := range words {
			found = found || w == v
		}
		if !found {
			return fmt.Errorf("%v is none of %v", v, words)
		}
	}
	switch s["type"] {
	case "string":
		if at, ok := v.(time.Time); ok {
			v = at.Format(time.RFC3339)
		}
		text, ok := v.(string)
		if pattern, has := s["pattern"].(string); ok && has && !regexp.MustCompile(pattern).MatchString(text) {
			return fmt.Errorf("%q does not match %s", text, pattern)
		}
		if !ok {
			return fmt.Errorf("%v is not text", v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%v is not a boolean", v)
		}
	case "integer", "number":
		switch v.(type) {
		case int, int64, uint64, float64:
		default:
			return fmt.Errorf("%v is not a number", v)
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("%v is not a list", v)
		}
		for i, x := range list {
			if err := fits(s["items"].(map[string]any), x); err != nil {
				return fmt.Errorf("%d: %w", i, err)
			}
		}
	case "object":
		return fitsObject(s, v)
	}
	return nil
}

func fitsObject(s map[string]any, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%v is not an object", v)
	}
	props, _ := s["properties"].(map[string]any)
	for k, x := range m {
		p, known := props[k].(map[string]any)
		if !known {
			if p, known = s["additionalProperties"].(map[string]any); !known {
				if s["additionalProperties"] == false {
					return fmt.Errorf("unknown field %s", k)
				}
				continue
			}
		}
		if err := fits(p, x); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
	}
	required, _ := s["required"].([]any)
	for _, k := range required {
		if _, ok := m[k.(string)]; !ok {
			return fmt.Errorf("no field %s", k)
		}
	}
	return nil
}
