package intake_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/casement/casement/internal/intake"
)

// sized is one alert in a body of exactly n bytes.
func sized(n int) string {
	a := alert("1")
	return a + strings.Repeat(" ", n-len(a))
}

// chunked hides the length of a body.
func chunked(body string) io.Reader { return struct{ io.Reader }{strings.NewReader(body)} }

// TestBodyBounds: a body of exactly the limit is taken in, one byte more is
// not, whether its length is stated or not.
func TestBodyBounds(t *testing.T) {
	d := open(t)
	bearer := []string{"Authorization", "Bearer " + bearerToken}
	for name, body := range map[string]func(string) io.Reader{"length stated": func(s string) io.Reader { return strings.NewReader(s) }, "chunked": chunked} {
		for _, over := range []int{1, 2, maxBody} {
			if r := d.post("/api/v1/alerts", body(sized(maxBody+over)), bearer...); r.status != http.StatusRequestEntityTooLarge || r.Stored {
				t.Errorf("%s, %d over: %d %s", name, over, r.status, r.text)
			}
		}
	}
	d.want("too large", held{})
	for name, body := range map[string]io.Reader{"length stated": strings.NewReader(sized(maxBody)), "chunked": chunked(sized(maxBody))} {
		if r := d.post("/api/v1/alerts", body, bearer...); r.status != http.StatusOK || !r.Stored {
			t.Errorf("%s, exactly the limit: %d %s", name, r.status, r.text)
		}
	}
	big := sized(maxBody + 1)
	if r := d.post("/hooks/gh", strings.NewReader(big), "X-Hub-Signature-256", github(githubSecret, big)); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("signed and too large: %d %s", r.status, r.text)
	}
	if r := d.post("/api/v1/alerts", http.NoBody, bearer...); r.status != http.StatusUnprocessableEntity || r.Quarantine == 0 {
		t.Errorf("empty: %d %s", r.status, r.text)
	}
}

// raw sends bytes as they are and returns the status line of the answer, "" if
// there was none.
func (d *desk) raw(text string, end bool) string {
	d.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		d.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		d.Fatal(err)
	}
	if end {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			d.Fatal(err)
		}
	}
	line, _ := bufio.NewReader(conn).ReadString('\n') // "" if the server hung up
	return strings.TrimSpace(line)
}

// TestBodyEndsEarly: a whole alert in a body that was announced as longer is
// not taken in, because what is missing is not known.
func TestBodyEndsEarly(t *testing.T) {
	d := open(t)
	head := "POST /api/v1/alerts HTTP/1.1\r\nHost: casement\r\nAuthorization: Bearer " + bearerToken + "\r\n"
	a := alert("1")
	for name, text := range map[string]string{
		"length stated": head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(a)+1, a),
		"chunked":       head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(a), a),
		"broken chunks": head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n", len(a), a),
	} {
		if line := d.raw(text, true); line != "HTTP/1.1 400 Bad Request" {
			t.Errorf("%s: %q", name, line)
		}
	}
	d.want("cut off", held{})
}

// TestCompressedBodies: a compressed body is refused unread, so that no small
// one grows in memory; one that does not say so is no JSON.
func TestCompressedBodies(t *testing.T) {
	d := open(t)
	bearer := []string{"Authorization", "Bearer " + bearerToken}
	var bomb, deflated bytes.Buffer
	for w, out := range map[io.WriteCloser]*bytes.Buffer{gzip.NewWriter(&bomb): &bomb, zlib.NewWriter(&deflated): &deflated} {
		if _, err := io.Copy(w, strings.NewReader(sized(1<<20))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.Len() > maxBody {
			t.Fatalf("%d bytes are no bomb", out.Len())
		}
	}
	for coding, body := range map[string]string{"gzip": bomb.String(), "GZIP": bomb.String(), "x-gzip": bomb.String(), "deflate": deflated.String(),
		"br": "x", "zstd": "x", "gzip, identity": bomb.String(), "identity, gzip": bomb.String(), "odd": "x"} {
		for _, path := range []string{"/api/v1/alerts", "/hooks/gh", "/hooks/nobody"} {
			r := d.post(path, strings.NewReader(body), append(bearer, "Content-Encoding", coding, "X-Hub-Signature-256", github(githubSecret, body))...)
			if r.status != http.StatusUnsupportedMediaType || r.Stored || r.header.Get("Accept-Encoding") != "identity" {
				t.Errorf("%s to %s: %d %s", coding, path, r.status, r.text)
			}
		}
	}
	r := d.post("/api/v1/alerts", strings.NewReader(alert("1")), append(bearer, "Content-Encoding", "identity", "Content-Encoding", "gzip")...)
	if r.status != http.StatusUnsupportedMediaType {
		t.Errorf("two headers: %d", r.status)
	}
	d.want("compressed", held{})
	if r := d.post("/api/v1/alerts", strings.NewReader(alert("1")), append(bearer, "Content-Encoding", "Identity")...); r.status != http.StatusOK {
		t.Errorf("as it is: %d %s", r.status, r.text)
	}
	r = d.post("/api/v1/alerts", &bomb, bearer...)
	if r.status != http.StatusUnprocessableEntity || r.Quarantine == 0 || r.Error == "" {
		t.Errorf("compressed without a word: %d %s", r.status, r.text)
	}
}

// TestNesting: depth breaks nothing, and what lies too deep waits for a person.
func TestNesting(t *testing.T) {
	d := open(t, func(c *intake.Config) { c.MaxBody, c.Quota = 8<<20, 64<<20 })
	const deep = 1 << 16
	inside := strings.TrimSuffix(strings.TrimSpace(alert("1")), "}")
	n := 0
	for name, body := range map[string]string{
		"lists": strings.Repeat("[", deep), "closed lists": strings.Repeat("[", deep) + strings.Repeat("]", deep),
		"objects": strings.Repeat(`{"a":`, deep), "in an alert": inside + `,"note":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "}",
		"in an alert, broken": inside + `,"note":` + strings.Repeat("[", deep) + "}",
		"in SARIF":            `{"version":"2.1.0","runs":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "}",
	} {
		n++
		if r := d.send(body); r.status != http.StatusUnprocessableEntity || r.Quarantine == 0 || r.Error == "" {
			t.Errorf("%s: %d %.300s", name, r.status, r.text)
		}
	}
	d.want("deep", held{quarantined: n})
	if r := d.send(inside + `,"note":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + "}"); r.status != http.StatusOK {
		t.Errorf("a note of depth 50: %d %s", r.status, r.text)
	}
}

// TestContentType: what a body is, is told by the body; only GitHub's form is
// taken apart first, because it is what GitHub sends unless it is told.
func TestContentType(t *testing.T) {
	d := open(t)
	for _, kind := range []string{"", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=\"", "///"} {
		r := d.post("/api/v1/alerts", strings.NewReader(alert("1")), "Authorization", "Bearer "+bearerToken, "Content-Type", kind)
		if r.status != http.StatusOK || !r.Stored {
			t.Errorf("%q: %d %s", kind, r.status, r.text)
		}
	}
	d.want("JSON under any name", held{cases: 1})
	if r := d.send("<?xml version=\"1.0\"?><alert/>"); r.status != http.StatusUnprocessableEntity || !strings.Contains(r.Error, "XML") {
		t.Errorf("XML: %d %s", r.status, r.text)
	}
	d.want("XML", held{cases: 1, quarantined: 1})
	form := func(body, event, kind string) reply {
		t.Helper()
		return d.post("/hooks/gh", strings.NewReader(body), "X-Hub-Signature-256", github(githubSecret, body), "X-GitHub-Event", event, "Content-Type", kind)
	}
	const kind = "application/x-www-form-urlencoded"
	r := form("payload="+url.QueryEscape(leaked(1)), "secret_scanning_alert", kind)
	if r.status != http.StatusOK || r.Format == "" || r.Kept != 1 {
		t.Errorf("GitHub's form: %d %s", r.status, r.text)
	}
	if r := form(leaked(1), "secret_scanning_alert", kind); r.status != http.StatusOK || r.Results[0].Placement != "sighting" {
		t.Errorf("JSON that says it is a form: %d %s", r.status, r.text)
	}
	for name, body := range map[string]string{"no payload": "a=b", "no form": "payload=%zz", "empty": "payload="} {
		if r := form(body, "secret_scanning_alert", kind); r.status != http.StatusUnprocessableEntity || r.Quarantine == 0 {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
	before := d.holds()
	for _, event := range []string{"ping", "push", "", "secret_scanning_alert_location", "token=1_alert", strings.Repeat("a", 64) + "_alert"} {
		if r := form(leaked(2), event, "application/json"); r.status != http.StatusOK || r.Stored || !strings.Contains(r.Error, "not an alert") {
			t.Errorf("event %q: %d %s", event, r.status, r.text)
		}
	}
	d.want("events that are no alerts", before)
}

// TestTooManyAtOnce: beyond the bound of requests, and beyond the bound of
// bytes that they hold, senders are told when to come again; what was told so
// is not stored, and what was taken in before goes its way.
func TestTooManyAtOnce(t *testing.T) {
	for name, x := range map[string]struct {
		inflight, slow int
	}{"requests": {2, 2}, "bytes": {100, 8}} {
		t.Run(name, func(t *testing.T) {
			d := open(t, func(c *intake.Config) { c.Inflight = x.inflight })
			var wg sync.WaitGroup
			var ends []*io.PipeWriter
			for i := range x.slow {
				body, w := io.Pipe()
				ends = append(ends, w)
				wg.Go(func() {
					r := d.post("/api/v1/alerts", body, "Authorization", "Bearer "+bearerToken, "Expect", "100-continue")
					if r.status != http.StatusOK || !r.Stored {
						t.Errorf("slow sender %d: %d %s", i, r.status, r.text)
					}
				})
			}
			for _, w := range ends { // all of the body but its last byte
				if _, err := io.WriteString(w, strings.TrimSuffix(sized(maxBody), " ")); err != nil {
					t.Fatal(err)
				}
			}
			d.await(x.slow * (maxBody - 1))
			r := d.send(alert("late"))
			if r.status != http.StatusServiceUnavailable || r.Stored || r.header.Get("Retry-After") != "1" || r.Error == "" {
				t.Errorf("one too many: %d %v %s", r.status, r.header, r.text)
			}
			for _, w := range ends {
				if _, err := io.WriteString(w, " "); err != nil {
					t.Fatal(err)
				}
				w.Close()
			}
			wg.Wait()
			if r := d.send(alert("later")); r.status != http.StatusOK {
				t.Errorf("when there is room again: %d %s", r.status, r.text)
			}
		})
	}
}

// TestLengthIsNotBelieved: a stated length takes no memory; only what arrives
// does.
func TestLengthIsNotBelieved(t *testing.T) {
	d := open(t, func(c *intake.Config) { c.MaxBody = 1 << 40 })
	text := "POST /api/v1/alerts HTTP/1.1\r\nHost: casement\r\nAuthorization: Bearer " + bearerToken + "\r\nContent-Length: 1000000000000\r\n\r\n{"
	if line := d.raw(text, true); line != "HTTP/1.1 400 Bad Request" {
		t.Errorf("a terabyte that does not come: %q", line)
	}
	if n, err := d.Work(context.Background(), 10); n != 0 || err != nil {
		t.Errorf("there is work: %d %v", n, err)
	}
}
