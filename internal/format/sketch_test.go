package format_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/casement/casement/internal/format"
)

func TestSketchesTakeBodiesApart(t *testing.T) {
	f := format.NewFleeting("at", "in.at")
	for _, c := range []struct {
		body string
		want []string // Lasting of each value; nil: not plainly made of objects
	}{
		{`{"a":1,"at":"x"}`, []string{`{"a":1,"at":"}`}},
		{`{"at":7,"a":{"at":1}}`, []string{`{"at":7,"a":{"at":1}}`}},
		{`{"in":[{"at":"1","b":2},{"at":"2"}]}`, []string{`{"in":[{"at":","b":2},{"at":"}]}`}},
		{" [ {\"a\":1} ,\n{\"a\":\"\\\"]\"} ] ", []string{`{"a":1}`, `{"a":"\"]"}`}},
		{"{\"a\":1}\n{\"a\":2}\r\n", []string{`{"a":1}`, `{"a":2}`}},
		{`{"at":{"x":"1"}}`, []string{`{"at":{}`}},
		{`[]`, nil}, {``, nil}, {`1`, nil}, {`[1]`, nil}, {`{"a":1`, nil}, {`{"a":1}{"a":2}`, nil}, {"{\"a\":\n1}\n{\"a\":2}", nil},
		{`[{"a":1}]x`, nil}, {`{"a" 1}`, nil}, {`{"at":"\u0000"}`, nil}, {"{\"at\":\"\xff\"}", nil}, {`{"at":{"x":}}`, nil}, {`{a:1}`, nil},
	} {
		got, ok := format.Sketches([]byte(c.body), f)
		if ok != (c.want != nil) || len(got) != len(c.want) {
			t.Errorf("%q: %d values, %v; want %d", c.body, len(got), ok, len(c.want))
			continue
		}
		for i, s := range got {
			if string(s.Lasting) != c.want[i] {
				t.Errorf("%q: value %d lasts as %q, want %q", c.body, i, s.Lasting, c.want[i])
			}
		}
	}
}

// FuzzSketches: valid JSON objects come apart into what encoding/json sees, and
// two bodies that differ only outside of fleeting places never look equal.
func FuzzSketches(f *testing.F) {
	for _, s := range []string{`{"a":1,"at":"x"}`, `[{"a":[1,{"b":null}]},{}]`, "{\"a\":1}\n{\"b\":2}", `{"a":"\\\""}`, `{"in":{"at":"1"}}`} {
		f.Add([]byte(s))
	}
	fleeting := format.NewFleeting("at", "in.at")
	f.Fuzz(func(t *testing.T, body []byte) {
		all, ok := format.Sketches(body, fleeting)
		none, ok2 := format.Sketches(body, nil)
		if ok && !ok2 {
			t.Fatalf("%q: broken without fleeting places, sound with them", body)
		}
		if !ok {
			return
		}
		for i, s := range all {
			if !bytes.Equal(none[i].Lasting, s.Value) {
				t.Fatalf("%q: without fleeting places, value %d lasts as %q, not as %q", body, i, none[i].Lasting, s.Value)
			}
			if len(s.Lasting) > len(s.Value) {
				t.Fatalf("%q: value %d lasts longer than it is", body, i)
			}
			if json.Valid(body) && !json.Valid(s.Value) {
				t.Fatalf("%q: valid JSON came apart into %q", body, s.Value)
			}
		}
	})
}
