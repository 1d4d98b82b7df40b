package intake_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/format"
	"github.com/casement/casement/internal/format/mapping"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/store"
)

const acmeMapping = `format: acme
version: 1
detect:
  - {path: bad, exists: true}
constants:
  source: acme
tables:
  level: {loud: high}
fields:
  native_id: bad
  title: what
  severity: {path: level, table: level}
  asset.uid: host
`

// TestRelease: a body is read again as it was received. What can be read now
// leaves the quarantine, by the word of a person; what can't stays, with the
// reason; nothing is lost where committing fails, and nothing counts twice.
func TestRelease(t *testing.T) {
	ctx := context.Background()
	d := open(t)
	unread := d.send(`{"bad": "1", "what": "odd thing", "level": "loud", "host": "web-1"}`)
	part := d.send(alert("1") + broken)
	if unread.Quarantine == 0 || part.Quarantine == 0 {
		t.Fatalf("not in quarantine: %s %s", unread.text, part.text)
	}
	lies := func(id int64) store.InboxItem {
		t.Helper()
		it, err := d.s.Quarantined(ctx, finding.DefaultTenant, id)
		if err != nil {
			t.Fatal(err)
		}
		return it
	}
	release := func(it store.InboxItem, with format.Reader) intake.Answer {
		t.Helper()
		a, err := d.Release(ctx, it, with, d.word())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := release(lies(unread.Quarantine), nil); a.Status != http.StatusUnprocessableEntity || a.Quarantine != unread.Quarantine || a.Error == "" {
		t.Errorf("no reader knows it yet: %+v", a)
	}
	if a := release(lies(part.Quarantine), nil); a.Status != http.StatusUnprocessableEntity || a.Quarantine == 0 || a.Refused != 1 || a.Kept != 1 {
		t.Errorf("readable in part: %+v", a)
	}
	d.want("nothing left", held{cases: 1, quarantined: 2})

	with, err := mapping.Load("acme.yaml", []byte(acmeMapping))
	if err != nil {
		t.Fatal(err)
	}
	d.fail = errDisk
	if a := release(lies(unread.Quarantine), with); a.Status != http.StatusUnprocessableEntity || !strings.Contains(a.Error, errDisk.Error()) {
		t.Errorf("the store fails, and only the mapping at hand reads it: %+v", a)
	}
	d.fail = nil
	d.now = d.now.Add(3 * time.Hour)
	it := lies(unread.Quarantine)
	if a := release(it, with); a.Status != http.StatusOK || a.Kept != 1 || a.Quarantine != 0 || len(a.Results) != 1 || a.Results[0].CaseID == "" {
		t.Errorf("a mapping reads it: %+v", a)
	}
	d.want("released", held{cases: 2, quarantined: 1})
	if a := release(it, with); a.Status != http.StatusOK || a.Quarantine != 0 {
		t.Errorf("two people at once: %+v", a)
	}
	d.want("counted once", held{cases: 2, quarantined: 1})
	words, err := d.s.Stream(ctx, finding.DefaultTenant, store.StreamSource+"/acme", 0, -1)
	if err != nil || len(words) != 1 || words[0].By.ID != "anna" {
		t.Errorf("the ledger says %+v, %v", words, err)
	}
}

// TestReleaseLater: where a body that every reader knows can't be committed, it
// goes back to those that are worked on, and its findings arrive by themselves.
func TestReleaseLater(t *testing.T) {
	ctx := context.Background()
	d := open(t)
	sealed, err := sealer{}.Seal([]byte(alert("1")))
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.s.QuarantinePut(ctx, store.InboxItem{Tenant: finding.DefaultTenant, Source: "acme", ReceivedAt: d.now, Body: sealed, NextAt: d.now.Add(time.Hour)}, quota)
	if err != nil {
		t.Fatal(err)
	}
	it, err := d.s.Quarantined(ctx, finding.DefaultTenant, id)
	if err != nil {
		t.Fatal(err)
	}
	d.fail = errDisk
	a, err := d.Release(ctx, it, nil, d.word())
	if err != nil || a.Status != http.StatusAccepted || a.Later != id {
		t.Fatalf("%+v, %v", a, err)
	}
	d.want("back", held{waiting: 1})
	d.fail = nil
	if _, err := d.Work(ctx, 10); err != nil {
		t.Fatal(err)
	}
	d.want("worked on", held{cases: 1})
}

// TestShow: people see what a body is like, cut where it is long, without what
// readers and mappings call secret, and without what looks like a secret.
func TestShow(t *testing.T) {
	d := open(t)
	sealed, err := sealer{}.Seal([]byte(`{"number": 2, "secret": "sesame-open", "key": "ghp_16C7e42F292c6912E7710c838347Ae178b4a", "odd": "` + strings.Repeat("a ", intake.ShownSize/2) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, whole, cut, err := d.Show(store.InboxItem{Source: "acme", Body: sealed})
	if err != nil || !cut || whole <= intake.ShownSize || len(text) > intake.ShownSize+100 || !strings.Contains(text, `"number": 2`) ||
		strings.Contains(text, "sesame") || strings.Contains(text, "ghp_") {
		t.Errorf("%d of %d bytes, cut %v, %v: %.200q", len(text), whole, cut, err, text)
	}
}
