package intake_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// named returns the raw records that the events of all cases name, in the order
// of the ledger, as they were received.
func (d *desk) named() (texts []string) {
	d.Helper()
	events, _, err := d.s.EventsSince(context.Background(), 0, 1000)
	if err != nil {
		d.Fatal(err)
	}
	for _, e := range events {
		hash := ""
		switch b := e.Decoded.(type) {
		case remedy.Joined:
			hash = b.Member.Raw
		case remedy.MemberChanged:
			hash = b.Raw
		}
		if hash == "" {
			continue
		}
		r, err := d.s.Raw(context.Background(), finding.DefaultTenant, hash)
		if err != nil {
			d.Fatal(err)
		}
		if strings.Contains(string(r.Body), "bucket") {
			d.Errorf("a raw record is stored in clear: %q", r.Body)
		}
		text, err := d.Pack.Unpack(r)
		if err != nil {
			d.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// TestRawRecords: what opens or changes a finding keeps its raw record, per
// record and not per body, with its hash in the ledger; a repeat keeps nothing.
func TestRawRecords(t *testing.T) {
	d := open(t)
	one, two := strings.TrimSpace(alert("1")), strings.TrimSpace(alert("2"))
	d.send(one + "\n" + two + "\n")
	want := []string{one, two}
	if got := d.named(); !slices.Equal(got, want) {
		t.Fatalf("kept %q\nwant %q", got, want)
	}
	for range 3 { // counted by memory, and read whole
		d.send(one)
		d.send("[" + two + ",\n" + one + "]")
	}
	if got := d.named(); !slices.Equal(got, want) {
		t.Fatalf("repeats kept %q", got[len(want):])
	}
	worse := strings.Replace(one, `"high"`, `"critical"`, 1)
	worse = strings.Replace(worse, `"acme",`, `"acme","api_key":"q8fSecret","note":"run --token q8fSecret now",`, 1)
	d.send(worse)
	want = append(want, strings.ReplaceAll(strings.Replace(worse, `"q8fSecret"`, `"hashed"`, 1), "q8fSecret", "[redacted]"))
	if got := d.named(); !slices.Equal(got, want) {
		t.Fatalf("kept %q\nwant %q", got[len(want)-1:], want[len(want)-1:])
	}
	s, err := d.s.RawStats(context.Background())
	if err != nil || s.Records != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestRawRecordChanged: a record that is not what its hash says is not shown.
func TestRawRecordChanged(t *testing.T) {
	d := open(t)
	d.send(alert("1"))
	d.send(alert("2"))
	page, err := d.s.ListCases(context.Background(), store.CaseFilter{Tenant: finding.DefaultTenant}, "", 2)
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, row := range page.Cases {
		c, err := d.s.Load(context.Background(), row.ID)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, c.Members[0].Raw)
	}
	r, err := d.s.Raw(context.Background(), finding.DefaultTenant, hashes[0])
	if err != nil {
		t.Fatal(err)
	}
	r.Hash = hashes[1]
	if _, err := d.Pack.Unpack(r); err == nil {
		t.Error("another record was taken for it")
	}
	r.Body = r.Body[:len(r.Body)/2]
	if _, err := d.Pack.Unpack(r); err == nil {
		t.Error("half a record was taken for it")
	}
}
