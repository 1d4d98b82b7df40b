package witness_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/casement/casement/internal/ledger"
	"github.com/casement/casement/internal/witness"
)

func at(s int) time.Time { return time.Date(2026, 3, 1, 12, 0, s, 0, time.UTC) }

// run is the evidence of one bucket that was closed and proven.
type run struct {
	records []ledger.Record
	claims  []string
	targets []string
	signer  note.Signer
	key     string
}

func (r *run) event(typ string, s int, body string) {
	r.records = append(r.records, ledger.Record{Tenant: "default", Stream: "case/c1", Seq: uint64(len(r.records) + 1), Type: typ, Schema: 1, At: at(s),
		Body: []byte(`{"kind":"system","id":"engine"}` + "\n" + body)})
}

func (r *run) request(s int, method string, status int, anonymous, changed bool, state string) {
	r.targets = append(r.targets, fmt.Sprintf(`{"at":%q,"service":"s3","scope":"acme-payroll","method":%q,"path":"/acme-payroll/x","status":%d,`+
		`"user_agent":"casement/1 case/c1 action/e1.1 x","case":"c1","anonymous":%v,"changed":%v,"state":%q}`, at(s).Format(time.RFC3339Nano), method, status, anonymous, changed, state))
}

func (r *run) claim(kind, want, saw string) {
	r.claims = append(r.claims, fmt.Sprintf(`{"n":1,"at":%q,"scene":1,"kind":%q,"case":"c1","action":"e1.1","subject":"s3/acme-payroll","want":%q,"saw":%q,"state":"private"}`,
		at(20).Format(time.RFC3339Nano), kind, want, saw))
}

func good(t *testing.T) *run {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{signer: signer, key: public}
	r.event("planned", 1, `{"action":"e1.1","before":{"result":"exposed"}}`)
	r.event("intended", 2, `{"action":"e1.1","plan_hash":"h"}`)
	r.event("acted", 3, `{"action":"e1.1"}`)
	r.event("probe_saw", 4, `{"purpose":"after","action":"e1.1","observation":{"result":"not_exposed"}}`)
	r.event("closed", 5, `{"how":"proven"}`)
	r.request(1, "GET", 206, true, false, "open")
	r.request(3, "PUT", 204, false, true, "private")
	r.request(4, "GET", 403, true, false, "private")
	r.claim("before-probe", "exposed", "exposed")
	r.claim("action", "acted", "acted")
	r.claim("after-probe", "not_exposed", "not_exposed")
	r.claim("proven", "proven", "proven")
	return r
}

// faults are the verdict's, without that on the rest of the story.
func (r *run) faults(t *testing.T, edit func(string) string) []string {
	t.Helper()
	ledger.LinkAll(ledger.Hash{}, r.records)
	var b strings.Builder
	for i, rec := range r.records {
		j, err := json.Marshal(map[string]any{"index": i, "record": rec})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(j, '\n'))
	}
	a, err := ledger.NewAuditor()
	if err != nil {
		t.Fatal(err)
	}
	for i, rec := range r.records {
		if err := a.Add(int64(i), rec); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := ledger.Sign(ledger.Checkpoint{Origin: "casement/test/1", Size: a.Size(), Root: a.Root(), At: at(30)}, r.signer)
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(map[string]any{"index": -1, "checkpoint": string(signed)})
	if err != nil {
		t.Fatal(err)
	}
	b.Write(append(j, '\n'))
	text := b.String()
	if edit != nil {
		text = edit(text)
	}
	rep := witness.Check(witness.Evidence{Claims: []byte(strings.Join(r.claims, "\n")), Ledger: []byte(text),
		Targets: []byte(strings.Join(r.targets, "\n")), Verifier: r.key})
	if rep.OK() {
		t.Fatal("a run that tells a part of the story passed")
	}
	last := rep.Faults[len(rep.Faults)-1]
	if !strings.Contains(last, "the story is not whole") {
		t.Fatalf("nothing says that the story is not whole: %v", rep.Faults)
	}
	return rep.Faults[:len(rep.Faults)-1]
}

func TestWhatHolds(t *testing.T) {
	if f := good(t).faults(t, nil); len(f) > 0 {
		t.Fatalf("faults: %v", f)
	}
}

func TestWhatDoesNotHold(t *testing.T) {
	swap := func(in []string, i int, old, new string) { in[i] = strings.Replace(in[i], old, new, 1) }
	for name, c := range map[string]struct {
		spoil func(*run)
		edit  func(string) string
		want  string
	}{
		"not as promised": {func(r *run) { swap(r.claims, 2, `"saw":"not_exposed"`, `"saw":"exposed"`) }, nil, "promised"},
		"ledger says otherwise": {func(r *run) {
			r.records[3].Body = []byte("{}\n" + `{"purpose":"after","action":"e1.1","observation":{"result":"exposed"}}`)
		}, nil, "says otherwise"},
		"not proven":         {func(r *run) { r.records = r.records[:4] }, nil, "has not closed it"},
		"nothing changed":    {func(r *run) { swap(r.targets, 1, `"changed":true`, `"changed":false`) }, nil, "no change by it"},
		"another case":       {func(r *run) { swap(r.targets, 1, "action/e1.1", "action/e1.2") }, nil, "without an intent"},
		"open all the same":  {func(r *run) { swap(r.targets, 2, `"private"`, `"open"`) }, nil, `says it was "open"`},
		"no probe":           {func(r *run) { swap(r.targets, 0, `"anonymous":true`, `"anonymous":false`) }, nil, "no probe of this case"},
		"unknown kind":       {func(r *run) { swap(r.claims, 3, `"proven"`, `"surely"`) }, nil, "nobody knows"},
		"edited ledger":      {nil, func(s string) string { return strings.Replace(s, `"type":"acted"`, `"type":"acteD"`, 1) }, "ledger:"},
		"cut ledger":         {nil, func(s string) string { return s[strings.Index(s, "\n")+1:] }, "ledger:"},
		"foreign checkpoint": {func(r *run) { r.key = good(t).key }, nil, "ledger:"},
		"not JSON":           {func(r *run) { r.claims[0] = "{" }, nil, "claims: line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good(t)
			if c.spoil != nil {
				c.spoil(r)
			}
			f := strings.Join(r.faults(t, c.edit), "\n")
			if !strings.Contains(f, c.want) {
				t.Errorf("no %q in:\n%s", c.want, f)
			}
		})
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"kind":"proven","want":"a","saw":"a"}`), []byte(`{"index":-1,"checkpoint":"x"}`), []byte(`{"service":"s3"}`))
	f.Fuzz(func(t *testing.T, claims, led, targets []byte) {
		rep := witness.Check(witness.Evidence{Claims: claims, Ledger: led, Targets: targets, Verifier: "x"})
		if rep.OK() {
			t.Error("evidence without a key passed")
		}
	})
}
