package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// ServeAlerts is POST /api/v1/alerts: any known format, authenticated by a
// bearer token that stands for a source.
func (in *Intake) ServeAlerts(w http.ResponseWriter, r *http.Request) {
	token := bearer(r)
	if token == "" {
		in.refuse(w, "token", Answer{Status: http.StatusUnauthorized, Error: "send the source's token as \"Authorization: Bearer …\"; make one with `casement token create`"})
		return
	}
	src, err := in.Token(r.Context(), token)
	if err != nil {
		in.refuse(w, "token", Answer{Status: http.StatusUnauthorized, Error: "the token is not valid here: " + err.Error()})
		return
	}
	in.serve(w, r, src, nil)
}

// ServeHook is POST /hooks/{source}: webhooks signed by the sender.
func (in *Intake) ServeHook(w http.ResponseWriter, r *http.Request) {
	src, ok := in.Source(r.PathValue("source"))
	if !ok || src.Kind == "token" {
		// The same answer as for a bad signature: names of sources are not told.
		in.refuse(w, "unknown", Answer{Status: http.StatusUnauthorized, Error: "no such source, or the signature is wrong"})
		return
	}
	in.serve(w, r, src, func(body []byte) error { return verify(src, r.Header, body, in.Now()) })
}

// serve reads the body, verifies it and answers.
func (in *Intake) serve(w http.ResponseWriter, r *http.Request, src Source, check func([]byte) error) {
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		in.refuse(w, src.Kind, Answer{Status: http.StatusServiceUnavailable, Error: "too many requests at once; nothing was stored, send it again"})
		return
	}
	body, err := readBody(http.MaxBytesReader(w, r.Body, in.MaxBody), min(r.ContentLength, in.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
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
	event := r.Header.Get("X-GitHub-Event")
	if src.Kind == "github" && !strings.HasSuffix(event, "_alert") {
		in.refuse(w, src.Kind, Answer{Status: http.StatusOK, Error: "event " + event + " is not an alert; nothing to store"})
		return
	}
	answer(w, in.Take(r.Context(), src, event, body))
}

// readBody reads all of r; size is its length as stated, -1 if it is not.
func readBody(r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	if size > 0 {
		b.Grow(int(size) + bytes.MinRead) // so that it never grows again
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
	w.WriteHeader(a.Status)
	_ = json.NewEncoder(w).Encode(a)
}
