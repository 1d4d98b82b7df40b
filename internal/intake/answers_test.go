package intake_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
)

var errDisk = errors.New("the disk is on fire")

// broken is an alert that has no asset: a record that is refused alone.
const broken = `{"source":"acme","native_id":"b","title":"no asset"}` + "\n"

// TestAnswerAfterCommit: what an answer says is on disk before it is sent, and
// without it there is no answer.
func TestAnswerAfterCommit(t *testing.T) {
	for _, x := range []struct {
		name, body, first, answer string
		fail                      error
	}{
		{"committed", alert("1"), "after observe commit", "answer 200", nil},
		{"kept", alert("1"), "kept", "answer 202", errDisk},
		{"in part", alert("1") + broken, "after observe commit", "answer 200", nil},
		{"in part, the rest", alert("1") + broken, "quarantined", "answer 200", nil},
		{"quarantined", "no alert", "quarantined", "answer 422", nil},
	} {
		d := open(t)
		d.fail = x.fail
		d.send(x.body)
		if !d.before(x.first, x.answer) {
			t.Errorf("%s: %q does not come before %q in %q", x.name, x.first, x.answer, d.log)
		}
		if n := slices.IndexFunc(d.log, func(s string) bool { return strings.HasPrefix(s, "answer") }); n != len(d.log)-1 {
			t.Errorf("%s: after the answer there was more: %q", x.name, d.log)
		}
	}
	// The handler dies on the way: no answer, whatever it had done.
	for at, cases := range map[string]int{"before observe commit": 0, "after observe commit": 1} {
		d := open(t)
		d.at = func(name string) {
			if name == at {
				panic(http.ErrAbortHandler)
			}
		}
		r, err := http.NewRequest(http.MethodPost, d.url+"/api/v1/alerts", strings.NewReader(alert("1")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+bearerToken)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
			t.Errorf("died %s: answered %s", at, resp.Status)
		}
		d.want("died "+at, held{cases: cases})
		d.at = nil
		if r := d.send(alert("1")); r.status != http.StatusOK {
			t.Errorf("died %s and sent again: %d %s", at, r.status, r.text)
		}
		d.want("died "+at+" and sent again", held{cases: 1})
	}
}

// TestKeptBodies: what can't be committed now is kept sealed, answered with
// 202, tried with growing pauses, and waits for its owner in the end.
func TestKeptBodies(t *testing.T) {
	ctx := context.Background()
	d := open(t)
	d.fail = errDisk
	r := d.send(alert("1") + alert("2"))
	if r.status != http.StatusAccepted || !r.Stored || r.Later == 0 || len(r.Results) != 0 {
		t.Fatalf("kept: %d %s", r.status, r.text)
	}
	d.want("kept", held{waiting: 1})
	work := func(want int) {
		t.Helper()
		if n, err := d.Work(ctx, 10); n != want || err != nil {
			t.Fatalf("at %s: %d bodies were worked on, want %d; %v", d.now, n, want, err)
		}
	}
	work(0) // not due
	begun := d.now
	for try := range 4 {
		d.now = d.now.Add(time.Second << try)
		work(1)
		work(0)
	}
	d.want("still kept", held{waiting: 1})
	d.fail = nil
	d.now = d.now.Add(time.Hour)
	work(1)
	d.want("worked on", held{cases: 2})
	work(0)

	d.fail = errDisk
	body := leaked(9)
	r = d.post("/hooks/gh", strings.NewReader(body), "X-Hub-Signature-256", github(githubSecret, body), "X-GitHub-Event", "secret_scanning_alert")
	if r.status != http.StatusAccepted {
		t.Fatalf("kept: %d %s", r.status, r.text)
	}
	tries := 0
	for d.holds().waiting > 0 && tries < 100 {
		d.now = d.now.Add(2 * time.Hour)
		work(1)
		tries++
	}
	d.want("given up", held{cases: 2, quarantined: 1})
	list, err := d.s.Quarantine(ctx, finding.DefaultTenant, "", 0, 10)
	if err != nil || len(list) != 1 || tries != 10 {
		t.Fatalf("after %d tries: %+v %v", tries, list, err)
	}
	it, err := d.s.Quarantined(ctx, finding.DefaultTenant, list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := (sealer{}).Open(it.Body); err != nil || string(b) != body || it.Owner != "olga" || !strings.Contains(it.Error, errDisk.Error()) ||
		it.Headers["event"] != "secret_scanning_alert" || !it.ReceivedAt.After(begun) || !it.NextAt.After(d.now) {
		t.Errorf("in quarantine: %+v, %v", it, err)
	}
	d.now = it.NextAt
	work(1) // its owner is reminded
	work(0)
}

// TestKeptBodyKeepsItsRefusals: a body of which a part can't be read is in
// quarantine whether the rest was committed at once, later, or after a release.
func TestKeptBodyKeepsItsRefusals(t *testing.T) {
	ctx := context.Background()
	d := open(t)
	d.fail = errDisk
	r := d.send(alert("1") + broken)
	if r.status != http.StatusAccepted || r.Refused != 1 || r.Later == 0 || r.Quarantine == 0 {
		t.Fatalf("kept in part: %d %s", r.status, r.text)
	}
	d.want("kept in part", held{waiting: 1, quarantined: 1})
	d.fail = nil
	d.now = d.now.Add(time.Minute)
	if _, err := d.Work(ctx, 10); err != nil {
		t.Fatal(err)
	}
	d.want("worked on", held{cases: 1, quarantined: 1})
	// Somebody gives it back, and it still can't be read.
	body := []byte("sealed:" + "eA==")
	if err := d.s.QuarantineRelease(ctx, finding.DefaultTenant, r.Quarantine, body, d.now, d.word()); err != nil {
		t.Fatal(err)
	}
	for range 12 {
		d.now = d.now.Add(2 * time.Hour)
		if _, err := d.Work(ctx, 10); err != nil {
			t.Fatal(err)
		}
	}
	d.want("released, not readable", held{cases: 1, quarantined: 1})
	sealed, err := sealer{}.Seal([]byte(alert("3") + broken))
	if err == nil {
		err = d.s.QuarantineRelease(ctx, finding.DefaultTenant, r.Quarantine, sealed, d.now, d.word())
	}
	if err == nil {
		_, err = d.Work(ctx, 10)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.want("released, readable in part", held{cases: 2, quarantined: 1})
}

// TestFullQuarantine: over its quota nothing is stored, what lies there is
// untouched, alerts go in as before, and room that is made is used.
func TestFullQuarantine(t *testing.T) {
	ctx := context.Background()
	d := open(t)
	odd := func(n int) string { return "no alert " + strings.Repeat("x", n) }
	first := d.send(odd(1000))
	if first.status != http.StatusUnprocessableEntity || !first.Stored || first.Quarantine == 0 {
		t.Fatalf("quarantined: %d %s", first.status, first.text)
	}
	for d.send(odd(1000)).status == http.StatusUnprocessableEntity {
		if d.holds().quarantined > 10 {
			t.Fatal("the quota bounds nothing")
		}
	}
	full := d.holds()
	lies, err := d.s.Quarantine(ctx, finding.DefaultTenant, "", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"unreadable": odd(1000), "in part": alert("7") + broken + odd(0), "in part, large": alert("7") + strings.Repeat(broken, 20)} {
		r := d.send(body)
		if r.status != http.StatusInsufficientStorage || r.Stored || r.Quarantine != 0 || len(r.Results) != 0 || !strings.Contains(r.Error, "nothing was stored") ||
			r.header.Get("Retry-After") != "" {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	d.want("full", full)
	if !slices.Contains(d.watched, "token 507") {
		t.Errorf("507 is not counted: %q", d.watched)
	}
	after, err := d.s.Quarantine(ctx, finding.DefaultTenant, "", 0, 100)
	if err != nil || !reflect.DeepEqual(after, lies) {
		t.Errorf("what lay there: %d of %d, %v", len(after), len(lies), err)
	}
	if r := d.send(alert("1")); r.status != http.StatusOK || !r.Stored {
		t.Errorf("an alert beside a full quarantine: %d %s", r.status, r.text)
	}
	if r := d.post("/api/v1/alerts", strings.NewReader(odd(1000)), "Authorization", "Bearer token of other"); r.status != http.StatusUnprocessableEntity {
		t.Errorf("another tenant's quarantine: %d %s", r.status, r.text)
	}
	// What was accepted with 202 finds room all the same.
	d.fail = errDisk
	if r := d.send(alert("2")); r.status != http.StatusAccepted {
		t.Fatalf("kept beside a full quarantine: %d %s", r.status, r.text)
	}
	for range 12 {
		d.now = d.now.Add(2 * time.Hour)
		if _, err := d.Work(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	d.fail = nil
	d.want("given up beside a full quarantine", held{cases: 1, quarantined: full.quarantined + 1})
	for _, it := range after[:2] {
		if err := d.s.QuarantineDrop(ctx, finding.DefaultTenant, it.ID, d.word()); err != nil {
			t.Fatal(err)
		}
	}
	if r := d.send(odd(1000)); r.status != http.StatusUnprocessableEntity || !r.Stored {
		t.Errorf("after room was made: %d %s", r.status, r.text)
	}
}

// TestNothingCanBeStored: then senders are told to come again, and when; what
// was committed before the failure is said, and a sighting when it comes again.
func TestNothingCanBeStored(t *testing.T) {
	d := open(t)
	d.fail, d.failInbox = errDisk, errDisk
	for name, body := range map[string]string{"alert": alert("1"), "unreadable": "no alert", "in part": alert("1") + broken} {
		r := d.send(body)
		if r.status != http.StatusServiceUnavailable || r.Stored || r.header.Get("Retry-After") != "10" || !strings.Contains(r.Error, "nothing was stored") {
			t.Errorf("%s: %d %v %s", name, r.status, r.header, r.text)
		}
	}
	d.want("nothing can be stored", held{})
	// The database is away: its address is not for senders, and what may have been
	// stored is not called lost.
	at := errors.New("dial tcp 10.1.2.3:5432: connection refused")
	for err, says := range map[error]string{
		fmt.Errorf("%w: %w", engine.ErrUnavailable, at): "nothing was stored: the database does not answer",
		fmt.Errorf("%w: %w", engine.ErrUnsure, at):      "it is not known whether all of it was stored, send it again: the database does not answer",
	} {
		d.fail = err
		r := d.send(alert("1"))
		if r.status != http.StatusServiceUnavailable || r.Stored || r.header.Get("Retry-After") != "10" || r.Error != says {
			t.Errorf("%v: %d %v %s", err, r.status, r.header, r.text)
		}
	}
	d.want("the database is away", held{})
	// The disk fails between two commits of one body.
	d.fail, d.failInbox = nil, nil
	d.at = func(at string) {
		if at == "after observe commit" {
			d.fail, d.failInbox = errDisk, errDisk
		}
	}
	var body strings.Builder
	for i := range 300 {
		body.WriteString(alert(string(rune('a'+i%26)) + string(rune('a'+i/26))))
	}
	d.MaxBody = 1 << 20
	r := d.send(body.String())
	if r.status != http.StatusServiceUnavailable || !r.Stored || len(r.Results) != 256 || !strings.Contains(r.Error, "not all of it was stored") || r.header.Get("Retry-After") == "" {
		t.Errorf("a part was committed: %d, %d results, stored %v: %s", r.status, len(r.Results), r.Stored, r.Error)
	}
	d.want("a part was committed", held{cases: 256})
	d.fail, d.failInbox, d.at = nil, nil, nil
	r = d.send(body.String())
	count := map[string]int{}
	for _, x := range r.Results {
		count[string(x.Placement)]++
	}
	if r.status != http.StatusOK || count["sighting"] != 256 || count["open"] != 44 {
		t.Errorf("sent again: %d %v", r.status, count)
	}
}

// TestQuickPath: alerts that were read before are counted without being read
// again, with the same answers, the same places of failure, and one case each.
func TestQuickPath(t *testing.T) {
	d := open(t)
	asff := func(id, seen string) string {
		return `{"SchemaVersion":"2018-10-08","Id":"arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.2/finding/` + id + `",
"ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub","ProductName":"Security Hub","Region":"eu-west-1","GeneratorId":"security-control/S3.2",
"AwsAccountId":"123456789012","Types":["Software and Configuration Checks"],"CreatedAt":"2026-11-01T08:00:00.000Z","UpdatedAt":"` + seen + `",
"Severity":{"Label":"HIGH"},"Title":"S3 buckets should block public read access","Description":"d","Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::b-` + id + `"}],
"Compliance":{"Status":"FAILED","SecurityControlId":"S3.2"},"Workflow":{"Status":"NEW"},"RecordState":"ACTIVE"}`
	}
	if r := d.send(asff("1", "2026-11-01T08:00:00.000Z")); r.status != http.StatusOK || r.Results[0].Placement != "open" {
		t.Fatalf("first: %d %s", r.status, r.text)
	}
	for i, seen := range []string{"2026-11-01T09:00:00.000Z", "2026-11-01T10:00:00.000Z", "2026-11-01T11:00:00.000Z"} {
		r := d.send("[" + asff("1", seen) + "," + asff("2", seen) + "]")
		want := [][]string{{"sighting", "open"}, {"sighting", "sighting"}, {"sighting", "sighting"}}[i]
		if r.status != http.StatusOK || r.Read != 2 || r.Kept != 2 || len(r.Results) != 2 || string(r.Results[0].Placement) != want[0] || string(r.Results[1].Placement) != want[1] {
			t.Errorf("round %d: %d %s", i, r.status, r.text)
		}
	}
	d.want("sent again and again", held{cases: 2})
	if !slices.Contains(d.log, "repeats") {
		t.Error("everything was read anew")
	}
	d.fail = errDisk
	if r := d.send(asff("1", "2026-11-01T12:00:00.000Z")); r.status != http.StatusAccepted || r.Later == 0 {
		t.Errorf("a repeat that can't be counted: %d %s", r.status, r.text)
	}
	d.fail = nil
	if r := d.send("[" + asff("1", "2026-11-01T13:00:00.000Z") + `,{"SchemaVersion":"2018-10-08"}]`); r.status != http.StatusOK || r.Refused != 1 || r.Kept != 1 || r.Quarantine == 0 {
		t.Errorf("a repeat beside what can't be read: %d %s", r.status, r.text)
	}
}

// TestWatch: every body is told of once, with its answer.
func TestWatch(t *testing.T) {
	d := open(t)
	d.send(alert("1"))
	d.send("no alert")
	d.post("/api/v1/alerts", http.NoBody)
	d.post("/hooks/nobody", http.NoBody)
	d.post("/hooks/gh", http.NoBody)
	d.post("/hooks/gh", http.NoBody, "Content-Encoding", "gzip")
	want := []string{"token 200", "token 422", "token 401", "unknown 401", "github 401", "unknown 415"}
	if !slices.Equal(d.watched, want) {
		t.Errorf("told of %q, want %q", d.watched, want)
	}
	if a := d.Take(context.Background(), intake.Source{Name: "cli", Tenant: finding.DefaultTenant, Kind: "cli"}, "", []byte(alert("2"))); a.Status != http.StatusOK {
		t.Errorf("taken in without HTTP: %+v", a)
	}
	if last := d.watched[len(d.watched)-1]; last != "cli 200" {
		t.Errorf("told of %q", last)
	}
}

// TestTokenNotLookedUp: where tokens can't be looked up, a sender keeps its alert
// and sends it again; it is not told that its token is wrong.
func TestTokenNotLookedUp(t *testing.T) {
	d := open(t)
	for token, status := range map[string]int{"token of nobody knows": http.StatusServiceUnavailable, "guessed": http.StatusUnauthorized, bearerToken: http.StatusOK} {
		r := d.post("/api/v1/alerts", strings.NewReader(alert("1")), "Authorization", "Bearer "+token)
		if r.status != status || r.Stored != (status == http.StatusOK) || (r.header.Get("Retry-After") != "") != (status == http.StatusServiceUnavailable) {
			t.Errorf("%s: %d %s, want %d", token, r.status, r.text, status)
		}
	}
}
