package trace

import (
	"testing"

	"pgregory.net/rapid"
)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParse(t *testing.T) {
	for text, want := range map[string]bool{
		example: true,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00":      true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more": true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more": false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more": false,
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      false,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":      false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":      false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01":      false,
		"00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01":      false,
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      false,
		"zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      false,
		"": false,
	} {
		if c, ok := Parse(text); ok != want || !ok && c != (Context{}) {
			t.Errorf("%q: %v %v", text, c, ok)
		}
	}
	if c, _ := Parse(example); c.String() != example || c.TraceID() != "4bf92f3577b34da6a3ce929d0e0e4736" || c.SpanID() != "00f067aa0ba902b7" {
		t.Errorf("%v", c)
	}
}

// TestContext: what is carried comes back; a child is another step of the trace.
func TestContext(t *testing.T) {
	if _, ok := From(t.Context()); ok {
		t.Error("an empty context carries a trace")
	}
	c := New()
	if got, ok := From(With(t.Context(), c)); !ok || got != c {
		t.Errorf("%v", got)
	}
	if d := c.Child(); d.Trace != c.Trace || d.Span == c.Span {
		t.Errorf("%v of %v", d, c)
	}
	if got, ok := Parse(c.String()); !ok || got != c {
		t.Errorf("%v is read as %v", c, got)
	}
	if (Context{}).String() != "" {
		t.Error("none has a header")
	}
}

// FuzzParse: what parses is written the same, up to version and unknown flags.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-x")
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := Parse(text)
		if !ok {
			return
		}
		if again, ok := Parse(c.String()); !ok || again != c || c.String()[2:53] != text[2:53] {
			t.Errorf("%q: %v", text, c)
		}
	})
}

// TestEveryContextIsRead: each context but none is written as a header that is
// read as the same.
func TestEveryContextIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Context
		copy(c.Trace[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace"))
		copy(c.Span[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span"))
		c.Flags = rapid.ByteRange(0, 1).Draw(t, "flags")
		got, ok := Parse(c.String())
		if want := c.Trace != [16]byte{} && c.Span != [8]byte{}; ok != want || ok && got != c {
			t.Fatalf("%v: %v %v", c, got, ok)
		}
	})
}
