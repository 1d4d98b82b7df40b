package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ErrDenied is in the error of a token that may not send alerts.
var ErrDenied = errors.New("send alerts with a valid token whose role is source")

// ServeAlerts is POST /api/v1/alerts: any known format, authenticated by a
// bearer token that stands for a source.
func (in *Intake) ServeAlerts(w http.ResponseWriter, r *http.Request) {
	if in.encoded(w, r) {
		return
	}
	token := bearer(r)
	if token == "" {
		in.refuse(w, "token", Answer{Status: http.StatusUnauthorized, Error: "send the source's token as \"Authorization: Bearer …\"; make one with `casement token create`"})
		return
	}
	src, err := in.Token(r.Context(), token)
	if err != nil && !errors.Is(err, ErrDenied) {
		in.refuse(w, "token", notStored(Answer{}, err))
		return
	}
	if err != nil {
		in.refuse(w, "token", Answer{Status: http.StatusUnauthorized, Error: err.Error()})
		return
	}
	in.serve(w, r, src, nil)
}

// ServeHook is POST /hooks/{source}: webhooks signed by the sender.
func (in *Intake) ServeHook(w http.ResponseWriter, r *http.Request) {
	if in.encoded(w, r) {
		return
	}
	src, ok := in.Source(r.PathValue("source"))
	if !ok || src.Kind == "token" || src.Kind == "nats" || src.Kind == "kafka" {
		// Without a secret it is answered as a bad signature is, whatever its body:
		// names of sources are not told.
		src = Source{Kind: "unknown"}
	}
	in.serve(w, r, src, func(body []byte) error { return verify(src, r.Header, body, in.Now()) })
}

// encoded refuses a compressed body: a small one could grow beyond any bound.
func (in *Intake) encoded(w http.ResponseWriter, r *http.Request) bool {
	for _, coding := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			w.Header().Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
			in.refuse(w, "unknown", Answer{Status: http.StatusUnsupportedMediaType, Error: "the body is compressed; nothing was stored, send it as it is"})
			return true
		}
	}
	return false
}

// serve reads the body, verifies it and answers.
func (in *Intake) serve(w http.ResponseWriter, r *http.Request, src Source, check func([]byte) error) {
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	default:
		hold(r.Context())
		in.refuse(w, src.Kind, busy())
		return
	}
	m := metered{r: http.MaxBytesReader(w, r.Body, in.MaxBody), held: &in.held, limit: fullBodies * in.MaxBody}
	defer m.free()
	body, err := readBody(&m, r.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errBusy):
		in.refuse(w, src.Kind, busy())
		return
	case errors.As(err, &tooLarge):
		in.refuse(w, src.Kind, Answer{Status: http.StatusRequestEntityTooLarge, Error: "the body is larger than allowed; nothing was stored, split it"})
		return
	case err != nil:
		in.refuse(w, src.Kind, Answer{Status: http.StatusBadRequest, Error: "the body ended early; nothing was stored, send it again"})
		return
	}
	if check != nil {
		if err := check(body); err != nil {
			in.Log.WarnContext(r.Context(), "sender not verified", "source", src.Name, "why", err.Error())
			in.refuse(w, src.Kind, Answer{Status: http.StatusUnauthorized, Error: "no such source, or the signature is wrong"})
			return
		}
	}
	event := alertEvent(r.Header.Get("X-GitHub-Event"))
	if src.Kind == "github" && event == "" {
		in.refuse(w, src.Kind, Answer{Status: http.StatusOK, Error: "the event is not an alert; nothing to store"})
		return
	}
	if src.Kind == "github" {
		body = formPayload(r.Header.Get("Content-Type"), body)
	}
	answer(w, in.Take(r.Context(), src, event, body))
}

// alertEvent is the name of an event of GitHub's that is an alert, else "": the
// header is kept beside the body in clear, and nothing says who wrote it.
func alertEvent(name string) string {
	if !strings.HasSuffix(name, "_alert") || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return ""
	}
	return name
}

// formPayload is the JSON of a GitHub webhook whose content type was left at
// GitHub's default, a form with the one field payload.
func formPayload(contentType string, body []byte) []byte {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "application/x-www-form-urlencoded" {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("payload") {
		return body // no form: it says itself what it is
	}
	return []byte(form.Get("payload"))
}

// busy is the answer when there is more to do than there is room for.
func busy() Answer {
	return Answer{Status: http.StatusServiceUnavailable, retryAfter: time.Second, Error: "too many requests at once; nothing was stored, send it again"}
}

// holdBusy is how long the answer that there is no room is held back. Answered at
// once, senders who come again at once take the processors from the work that
// would make room.
const holdBusy = 250 * time.Millisecond

// hold waits for holdBusy, or until the sender is gone.
func hold(ctx context.Context) {
	t := time.NewTimer(holdBusy)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// fullBodies is how many bodies of full size may be in memory at once.
const fullBodies = 8

var errBusy = errors.New("too many bytes at once")

// metered counts the bytes that requests hold, from when they arrive: what
// nobody sent yet takes no room, whatever its length is said to be.
type metered struct {
	r     io.Reader
	held  *atomic.Int64
	limit int64
	mine  int64
}

// Read implements io.Reader; beyond the limit it fails with errBusy.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.mine += int64(n)
	if m.held.Add(int64(n)) > m.limit {
		return n, errBusy
	}
	return n, err
}

func (m *metered) free() { m.held.Add(-m.mine) }

// readBody reads all of r; size is its length as stated, -1 if it is not.
func readBody(r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	if size > 0 {
		b.Grow(int(min(size, 1<<20)) + bytes.MinRead) // so that a common one never grows again
	}
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// refuse answers for a body that was not read, or holds no alerts.
func (in *Intake) refuse(w http.ResponseWriter, kind string, a Answer) {
	in.Watch(kind, a, 0)
	answer(w, a)
}

// answer writes the answer as JSON. A write error means that the sender is
// gone; what is stored stays stored.
func answer(w http.ResponseWriter, a Answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(a.retryAfter/time.Second)))
	}
	w.WriteHeader(a.Status)
	_ = json.NewEncoder(w).Encode(a)
}
