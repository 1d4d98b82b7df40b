package format

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPlacesAgreeWithPosition: one walk names what looking from the beginning
// each time names.
func TestPlacesAgreeWithPosition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := []byte(rapid.StringMatching(`[aé\n ]{0,40}`).Draw(t, "body"))
		p := places{file: "f", body: body}
		at := 0
		for range rapid.IntRange(1, 6).Draw(t, "looks") {
			at = rapid.IntRange(at, len(body)).Draw(t, "at")
			if got, want := p.at(at), Position("f", body, at); got != want {
				t.Fatalf("offset %d of %q: %s, want %s", at, body, got, want)
			}
		}
	})
}
