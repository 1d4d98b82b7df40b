package falco

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/casement/casement/internal/format"
)

// Read never panics, its counters add up, and it is deterministic.
func FuzzRead(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.*")
	for _, file := range files {
		if filepath.Ext(file) == ".golden" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		opt := format.Options{Now: time.Unix(1_770_000_000, 0).UTC(), File: "f", HashSecret: func(s string) string { return format.Hash(s) }}
		res, err := Reader{}.Read(body, opt)
		if res.Read != res.Kept+res.Suppressed+res.Refused || res.Kept != len(res.Findings) {
			t.Fatalf("counters do not add up: %+v", res)
		}
		again, err2 := Reader{}.Read(body, opt)
		if (err == nil) != (err2 == nil) || !reflect.DeepEqual(res, again) {
			t.Fatal("reading the same body twice gives two results")
		}
		if err == nil {
			Reader{}.Detect(format.NewProbe(body, opt))
		}
	})
}
