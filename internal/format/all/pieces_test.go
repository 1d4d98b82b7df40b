package all_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
	"github.com/casement/casement/internal/need"
)

// bodies are all fixtures, damaged variants of them, and the corpus.
func bodies(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, file := range fixtures(t) {
		body := load(t, file)
		out[file] = body
		out[file+" cut"] = body[:len(body)*7/10]
		out[file+" cut late"] = body[:len(body)-2]
		out[file+" Latin-1"] = bytes.Replace(body, []byte("the"), []byte("th\xe9"), 1)
		out[file+" UTF-16"] = utf16Of(string(body))
		out[file+" NUL"] = bytes.Replace(body, []byte(" "), []byte{0}, 1)
		out[file+" byte order mark"] = append([]byte("\uFEFF"), body...)
		out[file+" without comma"] = bytes.Replace(body, []byte(`", "`), []byte(`" "`), 1)
		out[file+" bad number"] = bytes.Replace(body, []byte(`: 1`), []byte(`: 0x1`), 1)
		out[file+" records of a wrong type"] = bytes.ReplaceAll(body, []byte(`"title"`), []byte(`"title": 7, "severity": {}, "x"`))
		if bytes.IndexByte(body, '{') >= 0 {
			out[file+" deep"] = deepen(body)
		}
	}
	files, err := filepath.Glob(filepath.Join(corpusOf(t), "files", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		need.Part(t, "corpus", "../shared/corpus is not beside the checkout; only our own fixtures were read in pieces")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = b
	}
	return out
}

// A body read in small pieces is the same findings, suppressions, refusals with
// the same places, and the same error, as read whole.
func TestPiecesEqualWhole(t *testing.T) {
	parts := map[string]int{} // bodies that were cut, by format
	for file, body := range bodies(t) {
		opt := testOptions(filepath.Base(strings.Fields(file)[0]))
		want, wantErr := all.Read(body, opt)
		size := max(400, len(body)/9)
		var got format.Result
		pieces := 0
		err := all.EachOf(bytes.NewReader(body), opt, 0, size, func(r format.Result) error {
			pieces++
			got.Format = r.Format
			got.Read, got.Kept, got.Suppressed, got.Refused = got.Read+r.Read, got.Kept+r.Kept, got.Suppressed+r.Suppressed, got.Refused+r.Refused
			got.Findings, got.Suppressions, got.Refusals = append(got.Findings, r.Findings...), append(got.Suppressions, r.Suppressions...), append(got.Refusals, r.Refusals...)
			return nil
		})
		if strings.Contains(errText(wantErr), "no reader knows this JSON") && strings.Contains(errText(err), "not valid JSON") {
			continue // better told where it breaks
		}
		if errText(err) != errText(wantErr) {
			t.Errorf("%s: error %v\nwhole: %v", file, err, wantErr)
			continue
		}
		if pieces > 1 {
			parts[got.Format]++
		}
		if pieces == 0 {
			continue // nothing was read, and the error said why
		}
		checkCounters(t, got)
		a, b := identities(t, got), identities(t, want)
		if got.Read != want.Read || got.Suppressed != want.Suppressed || got.Refused != want.Refused || !slices.Equal(a, b) {
			t.Errorf("%s: in %d pieces read %d kept %d suppressed %d refused %d, whole %d %d %d %d (or other findings)", file, pieces, got.Read, got.Kept, got.Suppressed, got.Refused, want.Read, want.Kept, want.Suppressed, want.Refused)
			continue
		}
		if x, y := sorted(got.Refusals), sorted(want.Refusals); !slices.Equal(x, y) {
			t.Errorf("%s: refusals\n%s\nwhole\n%s", file, firstDifferent(x, y), firstDifferent(y, x))
		}
		if x, y := sorted(got.Suppressions), sorted(want.Suppressions); !slices.Equal(x, y) {
			t.Errorf("%s: suppressions\n%s\nwhole\n%s", file, firstDifferent(x, y), firstDifferent(y, x))
		}
	}
	for _, r := range all.Readers() {
		if strings.Contains(r.Name(), "csv") || r.Name() == "prowler-v2" {
			continue // tables are read whole
		}
		if parts[r.Name()] == 0 {
			t.Errorf("no body of %s was read in pieces", r.Name())
		}
	}
	t.Logf("bodies read in pieces: %v", parts)
}

// FuzzPieces: whatever the bytes, reading in small pieces never panics and finds
// what reading whole finds, or the same fault.
func FuzzPieces(f *testing.F) {
	for _, file := range fixtures(f) {
		f.Add(load(f, file))
	}
	f.Add([]byte(`{"a":[1,2,{"b":"\u00e9"}],"c":-0.5e+7}`))
	f.Add([]byte("{\"a\":1}\n{\"a\":\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		opt := testOptions("f")
		want, wantErr := all.Read(body, opt)
		var got format.Result
		pieces := 0
		err := all.EachOf(bytes.NewReader(body), opt, 0, max(64, len(body)/7), func(r format.Result) error {
			pieces++
			checkCounters(t, r)
			got.Read, got.Kept, got.Refused = got.Read+r.Read, got.Kept+r.Kept, got.Refused+r.Refused
			got.Suppressed += r.Suppressed
			return nil
		})
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("in pieces %v\nwhole %v", err, wantErr)
		}
		if pieces > 0 && (got.Read != want.Read || got.Kept != want.Kept || got.Refused != want.Refused || got.Suppressed != want.Suppressed) {
			t.Fatalf("in %d pieces read %d kept %d refused %d suppressed %d, whole %d %d %d %d", pieces, got.Read, got.Kept, got.Refused, got.Suppressed, want.Read, want.Kept, want.Refused, want.Suppressed)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func sorted(notes []format.Note) []string {
	out := make([]string, len(notes))
	for i, n := range notes {
		out[i] = n.Where + " " + n.Record + ": " + n.Reason
	}
	slices.Sort(out)
	return out
}

func firstDifferent(a, b []string) string {
	for i, x := range a {
		if i >= len(b) || x != b[i] {
			return x
		}
	}
	return "(fewer)"
}
