package format_test

import (
	"testing"

	"github.com/casement/casement/internal/format"
)

// Records are cut out byte for byte, and secrets in them replaced wherever they
// are.
func TestRecords(t *testing.T) {
	opt := format.Options{File: "f", HashSecret: func(string) string { return "#" }}
	for _, c := range []struct{ body, at, want string }{
		{`{"a":[{"x":1},{"y" : "z"}]}`, "f#/a/1", `{"y" : "z"}`},
		{"\uFEFF" + `[{"x":1}, {"y":2}]`, "f#/1", `{"y":2}`},
		{"{\"x\":1}\n\n {\"y\":\"ä\"}\n", "f:3:2", `{"y":"ä"}`},
		{`"ä" {"y":2}`, "f#", ""},
		{"{\"a\":{\"Findings\":[{\"x\":1}]}}\n", "f:1:1/a/findings/0", `{"x":1}`},
		{`{"a~/b":{"x":1}}`, "f#/a~0~1b", `{"x":1}`},
		{`{"a":1}`, "other#", ""},
		{`{"a":1}`, "f:9:1", ""},
		{`{"a":1}`, "f:1:99", ""},
		{`{"a":1}`, "f#/b", ""},
		{`{"list":[{"hidden":"s3cr","keep":"s3cr is a word"}]}`, "f#/list/0", `{"hidden":"#","keep":"s3cr is a word"}`},
		{`[{"deep":{"hidden":["s3cr",{"x":"s3cr"}]}}]`, "f#/0", `{"deep":{"hidden":["#",{"x":"#"}]}}`},
		{`{"client_secret":"s3cr","secret_type":"aws","token_url":"u","n":{"Api-Key":"s3cr"}}`, "f#", `{"client_secret":"#","secret_type":"aws","token_url":"u","n":{"Api-Key":"#"}}`},
		{`{"cmd":"mysql --password s3cr -h db","url":"https://h/?token=s3cr","h":"Authorization: Bearer s3cr"}`, "f#",
			`{"cmd":"mysql --password [redacted] -h db","url":"https://h/?token=[redacted]","h":"Authorization: [redacted] [redacted]"}`},
		{"Rule,Secret,hidden,Line\nr1,s3cr,s3cr,\"a\nb\"\nr2,x,y,token=s3cr\n", "f:2:1", "Rule,Secret,hidden,Line\nr1,#,#,\"a\nb\"\n"},
		{"Rule,Secret,hidden,Line\nr1,s3cr,s3cr,\"a\nb\"\nr2,x,y,token=s3cr\n", "f:4:1", "Rule,Secret,hidden,Line\nr2,#,#,token=[redacted]\n"},
	} {
		got := format.Records([]byte(c.body), []string{c.at}, opt, []string{"list[].hidden", "**.hidden"})
		if string(got[0]) != c.want {
			t.Errorf("%s of %q\n got %q\nwant %q", c.at, c.body, got[0], c.want)
		}
	}
	lines := format.Records([]byte("{\"x\":1}\n{\"y\":2}\n"), []string{"f:8:1"}, format.Options{File: "f", Line: 7}, nil)
	if string(lines[0]) != `{"y":2}` {
		t.Errorf("in a part of a file: %q", lines[0])
	}
}

// FuzzRecords: whatever the bytes and the places, cutting never panics.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"a":[{"x":"s"}]}`), "f#/a/0")
	f.Add([]byte("a,b\n1,2\n"), "f:2:1")
	f.Add([]byte("{\"x\":1}\n{\"y\":2}"), "f:2:1/y")
	f.Fuzz(func(t *testing.T, body []byte, at string) {
		for _, r := range format.Records(body, []string{at, "f#", "f:1:1"}, format.Options{File: "f"}, []string{"**.x", "a[].y"}) {
			if len(r) > 3*len(body)+8 {
				t.Fatalf("%d bytes of %d", len(r), len(body))
			}
		}
	})
}
