// Package resttest records what a REST client and its target said to each
// other, and plays it back: a conversation with a real system becomes a test
// that needs none.
//
// It is imported by tests only and may import connector. Invariants: no
// credential is written to a cassette; a request that differs from the
// recorded one fails.
package resttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/casement/casement/internal/connector"
)

// exchange is one recorded request and its answer.
type exchange struct {
	Method   string            `json:"method"`
	Path     string            `json:"path"` // with the query
	Body     string            `json:"body,omitempty"`
	Status   int               `json:"status"`
	Header   map[string]string `json:"header,omitempty"`
	Response string            `json:"response,omitempty"`
}

// Tape is a cassette, being recorded or played. It is safe for concurrent use.
type Tape struct {
	redact connector.Redactor

	mu     sync.Mutex
	next   http.RoundTripper // nil when playing
	list   []exchange
	played int
}

// Record returns a tape that records what passes; secrets are taken out.
func Record(secrets ...string) *Tape { return &Tape{redact: connector.NewRedactor(secrets...)} }

// Play reads a cassette.
func Play(path string, secrets ...string) (*Tape, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := Record(secrets...)
	if err := json.Unmarshal(b, &t.list); err != nil {
		return nil, fmt.Errorf("%s is no cassette: %w", path, err)
	}
	return t, nil
}

// Recording is for rest.Options.Wrap while recording.
func (t *Tape) Recording(next http.RoundTripper) http.RoundTripper {
	t.next = next
	return t
}

// Playing is for rest.Options.Wrap while playing: nothing goes out.
func (t *Tape) Playing(http.RoundTripper) http.RoundTripper { return t }

// kept are the headers of answers that clients act by.
func kept() []string {
	return []string{"Content-Type", "Retry-After", "Link", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
}

// RoundTrip implements http.RoundTripper.
func (t *Tape) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchange{Method: r.Method, Path: t.redact.Clean(r.URL.RequestURI())}
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		x.Body = t.redact.Clean(string(b))
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		return t.play(r, x)
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	x.Status, x.Response, x.Header = resp.StatusCode, t.redact.Clean(string(b)), map[string]string{}
	for _, h := range kept() {
		if v := resp.Header.Get(h); v != "" {
			x.Header[h] = v
		}
	}
	t.list = append(t.list, x)
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, nil
}

func (t *Tape) play(r *http.Request, x exchange) (*http.Response, error) {
	if t.played == len(t.list) {
		return nil, fmt.Errorf("the cassette has no request after the %d played: %s %s", t.played, x.Method, x.Path)
	}
	want := t.list[t.played]
	if x.Method != want.Method || x.Path != want.Path || x.Body != want.Body {
		return nil, fmt.Errorf("request %d differs from the cassette:\n got %s %s %s\nwant %s %s %s", t.played+1, x.Method, x.Path, x.Body, want.Method, want.Path, want.Body)
	}
	t.played++
	h := http.Header{}
	for k, v := range want.Header {
		h.Set(k, v)
	}
	return &http.Response{StatusCode: want.Status, Status: http.StatusText(want.Status), Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(want.Response)), ContentLength: int64(len(want.Response)), Request: r}, nil
}

// Left is how many recorded exchanges were not played.
func (t *Tape) Left() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.list) - t.played
}

// Save writes the cassette.
func (t *Tape) Save(path string) error {
	t.mu.Lock()
	list := slices.Clone(t.list)
	t.mu.Unlock()
	b, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}
