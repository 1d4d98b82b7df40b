package remedy

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"testing"
)

// eventTypes are the types that the events of this package say they have, sorted.
func eventTypes(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile("events.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`\) Type\(\) string +{ return "(\w+)" }`).FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	if slices.Sort(names); len(names) == 0 {
		t.Fatal("events.go names no types")
	}
	return names
}

// FuzzDecodeBody: whatever is stored, it is read as an event that can be
// applied and stored again, or refused with an error.
func FuzzDecodeBody(f *testing.F) {
	for _, name := range eventTypes(f) {
		f.Add(name, 1, []byte(`{}`))
	}
	f.Add("opened", 1, []byte(`{"id":"c1","severity":"high","detected_at":"2026-03-02T09:00:00Z"}`))
	f.Add("judged", 1, []byte(`{"judgement":{"decision":{"class":"K1"}},"trigger":"opened"}`))
	f.Add("ticket_told", 1, []byte(`{"n":1,"told":-9}`))
	f.Add("opened", 2, []byte(`{}`))
	f.Add("nonsense", 1, []byte(`[`))
	f.Fuzz(func(t *testing.T, typ string, schema int, b []byte) {
		body, err := DecodeBody(typ, schema, b)
		if err != nil {
			if body != nil || err.Error() == "" {
				t.Fatalf("an error comes alone and says why: %v, %v", body, err)
			}
			return
		}
		if body.Type() != typ {
			t.Fatalf("%s was read as %s", typ, body.Type())
		}
		once, err := EncodeBody(body)
		if err != nil {
			t.Fatalf("%s was read, but can't be stored: %v", typ, err)
		}
		again, err := DecodeBody(typ, SchemaVersion, once)
		if err != nil {
			t.Fatalf("%s was stored as %s and can't be read: %v", typ, once, err)
		}
		if twice, err := EncodeBody(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("stored bytes are stable:\n%s\n%s %v", once, twice, err)
		}
		c := Apply(Case{}, Event{At: start(), Body: body})
		c = Apply(c, Event{At: start(), Body: body})
		Pending(c)
		WakeAt(c)
	})
}

// TestEveryEventIsRead: what can be written can be read.
func TestEveryEventIsRead(t *testing.T) {
	for _, name := range eventTypes(t) {
		body, err := DecodeBody(name, SchemaVersion, []byte(`{}`))
		if err != nil || body.Type() != name {
			t.Errorf("%s is read as %v: %v", name, body, err)
		}
	}
	if _, err := DecodeBody("opened", SchemaVersion+1, []byte(`{}`)); err == nil {
		t.Error("an event of a newer release was read")
	}
}
