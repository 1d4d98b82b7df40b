package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTrailNamesTheValue: wherever a document is cut within a text, the trail
// is the pointer of that text.
func TestTrailNamesTheValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		marks := 0
		want := map[string]string{} // mark → pointer
		var build func(depth int, pointer string) any
		build = func(depth int, pointer string) any {
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case depth > 5 || kind == 0:
				marks++
				mark := fmt.Sprintf("mark%d,", marks)
				want[mark] = pointer
				return `{[":` + mark + `\]}`
			case kind == 1:
				return rapid.SampledFrom([]any{1.5, true, nil, []any{}, map[string]any{}}).Draw(t, "scalar")
			case kind == 2:
				var list []any
				for i := range rapid.IntRange(1, 3).Draw(t, "n") {
					list = append(list, build(depth+1, fmt.Sprintf("%s/%d", pointer, i)))
				}
				return list
			}
			object := map[string]any{}
			for _, k := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a~/"\\{é]{1,4}`), 1, 3, rapid.ID).Draw(t, "keys") {
				object[k] = build(depth+1, pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k))
			}
			return object
		}
		body, err := json.Marshal(build(0, ""))
		if err != nil {
			t.Fatal(err)
		}
		for mark, pointer := range want {
			at := bytes.Index(body, []byte(mark))
			if got := trailOf(bytes.NewReader(body), int64(at)); got != inBrackets(pointer) {
				t.Fatalf("%s in %s: %s, want %s", mark, body, got, pointer)
			}
		}
	})
}

// TestTrailOfLines: in JSON lines the pointer is that within the line, also
// behind a line that is cut.
func TestTrailOfLines(t *testing.T) {
	body := "{\"a\":{\"b\":1}}\n{\"a\":[\"cut\n{\"c\":[1,{\"d\":\"here\"}]}\n"
	if got := trailOf(strings.NewReader(body), int64(strings.Index(body, "here"))); got != " (/c/1/d)" {
		t.Errorf("got %s", got)
	}
	// A list of objects, one a line, is one document.
	body = "[\n{\"a\":1},\n{\"b\":\"here\"}]"
	if got := trailOf(strings.NewReader(body), int64(strings.Index(body, "here"))); got != " (/1/b)" {
		t.Errorf("got %s", got)
	}
}
