package intake_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestGitHubSignature: only a SHA-256 of the very body by a secret of the very
// source opens the door, and every other answer is the same.
func TestGitHubSignature(t *testing.T) {
	d := open(t)
	body := leaked(1)
	old := hmac.New(sha1.New, []byte(githubSecret))
	old.Write([]byte(body))
	sha1Sum := "sha1=" + hex.EncodeToString(old.Sum(nil))
	good := github(githubSecret, body)
	const h = "X-Hub-Signature-256"
	refused := map[string][]string{
		"missing":                      nil,
		"empty":                        {h, ""},
		"of another body":              {h, github(githubSecret, body+" ")},
		"by another secret":            {h, github("guess", body)},
		"by no secret":                 {h, github("", body)},
		"of another source":            {h, standard(hookSecret, "msg_1", d.now, body)},
		"older algorithm":              {"X-Hub-Signature", sha1Sum},
		"older algorithm in its place": {h, sha1Sum},
		"algorithm not named":          {h, strings.TrimPrefix(good, "sha256=")},
		"algorithm in capitals":        {h, "SHA256=" + strings.TrimPrefix(good, "sha256=")},
		"cut":                          {h, good[:len(good)-2]},
		"half a byte":                  {h, good[:len(good)-1]},
		"longer":                       {h, good + "00"},
		"not hex":                      {h, "sha256=" + strings.Repeat("z", 64)},
		"no digits":                    {h, "sha256="},
		"two in one header":            {h, github("guess", body) + "," + good},
	}
	for name, header := range refused {
		r := d.post("/hooks/gh", strings.NewReader(body), append(header, "X-GitHub-Event", "secret_scanning_alert")...)
		if r.status != http.StatusUnauthorized || r.Stored {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	d.want("unsigned", held{})
	for _, w := range d.watched {
		if w != "github 401" {
			t.Errorf("counted as %q", w)
		}
	}
	if len(d.watched) != len(refused) {
		t.Errorf("%d of %d are counted", len(d.watched), len(refused))
	}
	for name, signature := range map[string]string{"by the new secret": good, "by the old one": github(oldSecret, body),
		"digits in capitals": "sha256=" + strings.ToUpper(strings.TrimPrefix(good, "sha256="))} {
		r := d.post("/hooks/gh", strings.NewReader(body), h, signature, "X-GitHub-Event", "secret_scanning_alert")
		if r.status != http.StatusOK || !r.Stored || r.Kept != 1 {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	d.want("signed three times", held{cases: 1})
	// The example of GitHub's documentation: verified, and no alert.
	r := d.post("/hooks/gh", strings.NewReader("Hello, World!"), h, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		"X-GitHub-Event", "secret_scanning_alert")
	if r.status != http.StatusUnprocessableEntity {
		t.Errorf("example of the documentation: %d %s", r.status, r.text)
	}
}

// TestStandardWebhooksSignature: id, time and body are signed, one valid
// signature of several is enough.
func TestStandardWebhooksSignature(t *testing.T) {
	d := open(t)
	body, id := alert("1"), "msg_1"
	stamp := strconv.FormatInt(d.now.Unix(), 10)
	good := standard(hookSecret, id, d.now, body)
	raw := strings.TrimPrefix(good, "v1,")
	refused := map[string][3]string{ // id, time, signature
		"missing":                 {id, stamp, ""},
		"no id":                   {"", stamp, good},
		"no time":                 {id, "", good},
		"of another body":         {id, stamp, standard(hookSecret, id, d.now, body+" ")},
		"of another id":           {"msg_2", stamp, good},
		"of another time":         {id, strconv.FormatInt(d.now.Unix()+1, 10), good},
		"time as text":            {id, d.now.Format(time.RFC3339), good},
		"time as a fraction":      {id, stamp + ".0", good},
		"time in milliseconds":    {id, stamp + "000", standard(hookSecret, id, time.Unix(d.now.Unix()*1000, 0), body)},
		"by another secret":       {id, stamp, standard("whsec_Z3Vlc3M=", id, d.now, body)},
		"by the text of a secret": {id, stamp, standard("!"+hookSecret, id, d.now, body)},
		"by no secret":            {id, stamp, standard("", id, d.now, body)},
		"another algorithm":       {id, stamp, "v1a," + raw},
		"a later version":         {id, stamp, "v2," + raw},
		"no version":              {id, stamp, raw},
		"commas between":          {id, stamp, "v1,AAAA," + good},
		"hex":                     {id, stamp, "v1," + hex.EncodeToString([]byte(raw))},
		"cut":                     {id, stamp, good[:len(good)-4]},
		"of GitHub's kind":        {id, stamp, github(hookSecret, body)},
	}
	send := func(path string, x [3]string) reply {
		t.Helper()
		return d.post(path, strings.NewReader(body), "webhook-id", x[0], "webhook-timestamp", x[1], "webhook-signature", x[2])
	}
	for name, x := range refused {
		if r := send("/hooks/hook", x); r.status != http.StatusUnauthorized || r.Stored {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	d.want("unsigned", held{})
	wrong := standard("whsec_Z3Vlc3M=", id, d.now, body)
	for name, signature := range map[string]string{
		"by the new secret": good, "by the old one": standard(oldHook, id, d.now, body),
		"two of a rotation": standard(oldHook, id, d.now, body) + " " + good, "the second fits": wrong + " " + good, "the first fits": good + " " + wrong,
		"beside a newer algorithm": "v1a," + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 64)) + " " + good,
	} {
		if r := send("/hooks/hook", [3]string{id, stamp, signature}); r.status != http.StatusOK || !r.Stored {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	if r := send("/hooks/plain", [3]string{id, stamp, standard("not base64!", id, d.now, body)}); r.status != http.StatusOK {
		t.Errorf("by a secret that is no base64: %d %s", r.status, r.text)
	}
}

// TestReplay: a signed time lies within five minutes of ours, on both sides; a
// delivery that comes twice is stored once and counted.
func TestReplay(t *testing.T) {
	d := open(t)
	body := alert("1")
	send := func(id string, at time.Time) reply {
		t.Helper()
		return d.post("/hooks/hook", strings.NewReader(body), "webhook-id", id, "webhook-timestamp", strconv.FormatInt(at.Unix(), 10),
			"webhook-signature", standard(hookSecret, id, at, body))
	}
	const window = 5 * time.Minute
	for name, at := range map[string]time.Time{"older": d.now.Add(-window - time.Second), "newer": d.now.Add(window + time.Second),
		"of last year": d.now.AddDate(-1, 0, 0), "beginning of time": time.Unix(0, 0), "before it": time.Unix(-1, 0),
		"end of time": time.Unix(1<<63-1, 0), "its beginning": time.Unix(-1<<63, 0)} {
		if r := send("msg_"+name, at); r.status != http.StatusUnauthorized {
			t.Errorf("%s than the window allows: %d", name, r.status)
		}
	}
	d.want("outside the window", held{})
	at := d.now
	first := send("msg_1", at)
	if first.status != http.StatusOK || len(first.Results) != 1 || first.Results[0].Placement != "open" {
		t.Fatalf("first delivery: %d %s", first.status, first.text)
	}
	id := first.Results[0].CaseID
	events := func() int {
		t.Helper()
		evs, err := d.s.Events(context.Background(), "default", id)
		if err != nil {
			t.Fatal(err)
		}
		return len(evs)
	}
	before := events()
	d.now = at.Add(window)
	for n, x := range []struct {
		id string
		at time.Time
	}{{"msg_1", at}, {"msg_1", at}, {"msg_old", at}, {"msg_ahead", at.Add(2 * window)}} {
		r := send(x.id, x.at)
		if r.status != http.StatusOK || len(r.Results) != 1 || r.Results[0].Placement != "sighting" || r.Results[0].CaseID != id {
			t.Errorf("delivery %d: %d %s", n+2, r.status, r.text)
		}
	}
	d.want("delivered five times", held{cases: 1})
	fs, err := d.s.Findings(context.Background(), id)
	if err != nil || len(fs) != 1 || fs[0].Sightings != 5 {
		t.Errorf("delivered five times: %+v %v", fs, err)
	}
	if n := events(); n != before {
		t.Errorf("the deliveries after the first added %d events to the case", n-before)
	}
	d.now = at.Add(window + time.Second)
	if r := send("msg_1", at); r.status != http.StatusUnauthorized {
		t.Errorf("recorded and sent again a second after the window: %d", r.status)
	}
}

// TestDoorsTellNoNames: whoever is not verified gets one answer, whatever is
// behind the name.
func TestDoorsTellNoNames(t *testing.T) {
	d := open(t)
	body := leaked(1)
	big := strings.Repeat(" ", maxBody+1)
	stamp := strconv.FormatInt(d.now.Unix(), 10)
	// Signed with nothing: what a source without a secret would accept.
	header := []string{"X-Hub-Signature-256", github("", body), "X-GitHub-Event", "secret_scanning_alert",
		"webhook-id", "msg_1", "webhook-timestamp", stamp, "webhook-signature", standard("", "msg_1", d.now, body)}
	want, wantBig := d.post("/hooks/nobody", strings.NewReader(body), header...), d.post("/hooks/nobody", strings.NewReader(big))
	if want.status != http.StatusUnauthorized || wantBig.status != http.StatusRequestEntityTooLarge {
		t.Fatalf("unknown source: %d and %d", want.status, wantBig.status)
	}
	for _, name := range []string{"gh", "hook", "plain", "empty", "empties", "none", "odd", "acme"} {
		if r := d.post("/hooks/"+name, strings.NewReader(body), header...); r.status != want.status || r.text != want.text {
			t.Errorf("source %s: %d %s, and an unknown one %d %s", name, r.status, r.text, want.status, want.text)
		}
		if r := d.post("/hooks/"+name, strings.NewReader(big)); r.status != wantBig.status || r.text != wantBig.text {
			t.Errorf("source %s, large body: %d %s, and an unknown one %d %s", name, r.status, r.text, wantBig.status, wantBig.text)
		}
	}
	d.want("not verified", held{})
}

// TestBearer: a token stands for its source, and for that source's tenant.
func TestBearer(t *testing.T) {
	d := open(t)
	for name, header := range map[string][]string{
		"none": nil, "empty": {"Authorization", ""}, "no token": {"Authorization", "Bearer "}, "no scheme": {"Authorization", bearerToken},
		"another scheme": {"Authorization", "Basic " + bearerToken}, "unknown": {"Authorization", "Bearer guess"}, "in a cookie": {"Cookie", "token=" + bearerToken},
	} {
		r := d.post("/api/v1/alerts", strings.NewReader(alert("1")), header...)
		if r.status != http.StatusUnauthorized || r.Stored || strings.Contains(r.text, "guess") {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	d.want("without a token", held{})
	if r := d.post("/api/v1/alerts", strings.NewReader(alert("1")), "Authorization", "bearer  "+bearerToken); r.status != http.StatusOK {
		t.Errorf("scheme in small letters: %d %s", r.status, r.text)
	}
	body := strings.Replace(alert("2"), `"source"`, `"tenant":"default","source"`, 1)
	if r := d.post("/api/v1/alerts", strings.NewReader(body), "Authorization", "Bearer token of other"); r.status != http.StatusOK {
		t.Errorf("of another tenant: %d %s", r.status, r.text)
	}
	d.want("the body names a tenant", held{cases: 1})
}
