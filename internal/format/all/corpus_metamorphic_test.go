package all_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
)

// maxRewritten bounds the files that are written anew, in bytes.
const maxRewritten = 2 << 20

// The real files of the corpus in other words: keys and records in another
// order, keys nobody knows, white space: they give the same findings. Written
// twice, one after the other, they give each twice; under another name the same
// number.
func TestCorpusMetamorphic(t *testing.T) {
	files, variants := 0, 0
	for _, e := range loadCorpus(t) {
		if !e.ours() || e.Kind == "event" || e.Expected.Error != nil {
			continue
		}
		body, err := os.ReadFile(filepath.Join(corpusOf(t), "files", e.File))
		if err != nil {
			t.Fatal(err)
		}
		opt := testOptions("x.json")
		want, err := all.Read(body, opt)
		if err != nil || len(body) > maxRewritten {
			continue // TestCorpus holds it to its error
		}
		files++
		checkCounters(t, want)
		named := opt
		named.File = "another.name"
		if got, err := all.Read(body, named); err != nil || got.Read != want.Read || got.Kept != want.Kept || got.Format != want.Format {
			t.Errorf("%s, renamed: %+v, %v", e.File, got.Read, err)
		}
		if double, ok := twice(t, want.Format, body); ok {
			got, err := all.Read(double, opt)
			variants++
			both := slices.Sorted(slices.Values(append(keys(want), keys(want)...)))
			if err != nil || got.Read != 2*want.Read || got.Refused != 2*want.Refused || got.Suppressed != 2*want.Suppressed || !slices.Equal(keys(got), both) {
				t.Errorf("%s, twice: read %d kept %d suppressed %d refused %d, want twice %d %d %d %d, or other keys: %v", e.File, got.Read, got.Kept, got.Suppressed, got.Refused, want.Read, want.Kept, want.Suppressed, want.Refused, err)
			}
		}
		if !json.Valid(body) {
			continue
		}
		for name, variant := range map[string][]byte{
			"keys reversed":    rewrite(t, body, rewriter{reverseKeys: true}),
			"unknown keys":     rewrite(t, body, rewriter{unknown: true}),
			"records reversed": rewrite(t, body, rewriter{reverseRecords: true}),
			"indented":         rewrite(t, body, rewriter{space: "\n\t"}),
		} {
			got, err := all.Read(variant, opt)
			if err != nil {
				t.Errorf("%s, %s: %v", e.File, name, err)
				continue
			}
			variants++
			checkCounters(t, got)
			if got.Read != want.Read || got.Refused != want.Refused || got.Suppressed != want.Suppressed || !slices.Equal(keys(got), keys(want)) {
				t.Errorf("%s, %s: read %d kept %d suppressed %d refused %d, want %d %d %d %d, or other keys", e.File, name, got.Read, got.Kept, got.Suppressed, got.Refused, want.Read, want.Kept, want.Suppressed, want.Refused)
			}
		}
	}
	t.Logf("files %d written anew %d times: the same findings", files, variants)
	if files == 0 {
		t.Error("no file was read")
	}
}

func keys(res format.Result) []string {
	var out []string
	for _, f := range res.Findings {
		out = append(out, f.UID+" "+finding.ExposureKey(f).String()+" "+f.Severity.String())
	}
	slices.Sort(out)
	return out
}
