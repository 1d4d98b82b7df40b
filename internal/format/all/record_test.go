package all_test

import (
	"encoding/json"
	"testing"

	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/all"
)

// Every finding's raw record is found in the body it was read from, at its
// place, and is whole.
func TestRecords(t *testing.T) {
	for file, body := range bodies(t) {
		t.Run(file, func(t *testing.T) { checkRecords(t, body) })
	}
}

func checkRecords(t *testing.T, body []byte) {
	opt := testOptions("file:1.json#2")
	res, err := all.Read(body, opt)
	if err != nil {
		return // refused bodies are other tests' business
	}
	if len(res.Places) != len(res.Findings) {
		t.Fatalf("%d places of %d findings", len(res.Places), len(res.Findings))
	}
	plain := format.Records(body, res.Places, opt, nil)
	for i, record := range plain {
		if len(record) == 0 {
			t.Fatalf("the record of %s is not found at %s", res.Findings[i].Title, res.Places[i])
		}
		if record[0] == '{' && !json.Valid(record) {
			t.Fatalf("the record at %s is not whole:\n%s", res.Places[i], record)
		}
	}
}
