package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// contentPolicy allows our own files and nothing else: no inline code or
// styles, no foreign sources, no frames, forms only to ourselves.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types casement"

// maxBody bounds the body of a form or API request, in bytes.
const maxBody = 1 << 20

// outer sets the headers of every answer, bounds the body and catches panics.
func (s *server) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		if s.HTTPS {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			s.Log.ErrorContext(r.Context(), "request failed by a fault of ours", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v))
			if !rec.wrote {
				s.fail(rec, r, errors.New("panic"))
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// problem is an error with what the reader is told (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	// Code is the code of a refusal, for programs.
	Code string `json:"code,omitempty" doc:"Why a command was refused, for programs."`
	// Errors are the parts of the request that are wrong.
	Errors []fieldProblem `json:"errors,omitempty" nullable:"false"`
	// link leads on from the page, "" to where everybody goes; linkText names it.
	link, linkText string
	// retry is how long to wait before another attempt.
	retry time.Duration
}

// Error returns title and detail.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// problemOf turns any error into what may be told. Faults of ours are logged
// and told without their text.
func (s *server) problemOf(ctx context.Context, method, path string, err error) *problem {
	var p *problem
	var retry *auth.RetryError
	var tooLarge *http.MaxBytesError
	var input *auth.InputError
	var room *store.RoomError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &retry):
		return &problem{Status: http.StatusTooManyRequests, Title: "Too many attempts", Detail: retry.Error(), retry: retry.After}
	case errors.As(err, &tooLarge):
		return &problem{Status: http.StatusRequestEntityTooLarge, Title: "The request is too large", Detail: "At most 1 MiB is read. Nothing was done."}
	case errors.Is(err, auth.ErrToken):
		return &problem{Status: http.StatusUnauthorized, Title: "The token is not valid", Detail: "It is malformed, unknown, expired or revoked."}
	case errors.Is(err, auth.ErrCredentials):
		return &problem{Status: http.StatusUnauthorized, Title: "Name or password is wrong"}
	case errors.Is(err, engine.ErrNotFound), errors.Is(err, auth.ErrNotFound):
		return &problem{Status: http.StatusNotFound, Title: "There is no such thing here", Detail: "It may have been mistyped, or it belongs to another organisation."}
	case errors.Is(err, record.ErrPruned):
		return &problem{Status: http.StatusGone, Title: "The raw record is not kept any more", Detail: "The retention policy let it go. The ledger keeps its hash."}
	case errors.Is(err, auth.ErrTaken), errors.Is(err, store.ErrExists):
		return &problem{Status: http.StatusConflict, Title: "The name is taken", Detail: err.Error()}
	case errors.As(err, &input), errors.Is(err, store.ErrInvalid):
		return &problem{Status: http.StatusUnprocessableEntity, Title: "That can't be done as asked", Detail: err.Error()}
	case errors.Is(err, engine.ErrConflict):
		return &problem{Status: http.StatusConflict, Title: "The case changed meanwhile", Detail: "Nothing was done. Load it again and look."}
	case errors.As(err, &room):
		return &problem{Status: http.StatusInsufficientStorage, Title: "There is no room left to store", Detail: room.Error() + "; nothing of it is left there"}
	case errors.Is(err, engine.ErrFull):
		return &problem{Status: http.StatusInsufficientStorage, Title: "There is no room left to store", Detail: "Nothing was done."}
	case errors.Is(err, engine.ErrUnavailable):
		s.Log.WarnContext(ctx, "request refused", "method", method, "path", path, "err", err)
		p := &problem{Status: http.StatusServiceUnavailable, Title: "The database does not answer", Detail: "Nothing was done. Try again in a moment.", retry: time.Second}
		if errors.Is(err, engine.ErrUnsure) {
			p.Detail = "It went away while this was being stored, and it is not known whether it was: look before you repeat it."
		}
		return p
	}
	if code := remedy.CodeOf(err); code != "" {
		return &problem{Status: statusOf(code), Title: titleOf(code), Detail: err.Error(), Code: string(code)}
	}
	s.Log.ErrorContext(ctx, "request failed", "method", method, "path", path, "err", err)
	return &problem{Status: http.StatusInternalServerError, Title: "Something failed on our side", Detail: "It was logged. Nothing is known to be half done; look before you repeat it."}
}

func statusOf(c remedy.Code) int {
	switch c {
	case remedy.Forbidden:
		return http.StatusForbidden
	case remedy.Invalid:
		return http.StatusUnprocessableEntity
	}
	return http.StatusConflict
}

func titleOf(c remedy.Code) string {
	switch c {
	case remedy.Forbidden:
		return "You may not do this here"
	case remedy.Invalid:
		return "That can't be done as asked"
	case remedy.Drifted:
		return "The plan changed"
	}
	return "Not now"
}

// fail answers with an error: JSON for programs, a page for people; who is not
// signed in is sent to the door.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		s.Log.Info("the reader went away", "method", r.Method, "path", r.URL.Path)
		return
	}
	p := s.problemOf(r.Context(), r.Method, r.URL.Path, err)
	if wantsJSON(r) {
		writeProblem(w, p)
		return
	}
	if p.retry > 0 {
		w.Header().Set("Retry-After", p.GetHeaders().Get("Retry-After"))
	}
	if p.Status == http.StatusUnauthorized && r.Method == http.MethodGet {
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	s.render(w, r, p.Status, errorPage(s.frame(r, p.Title, ""), p))
}

// wantsJSON: the API and other programs get problem+json.
func wantsJSON(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || r.URL.Path == "/events" ||
		!strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("Accept") != ""
}

// render writes a page.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := c.Render(r.Context(), w); err != nil {
		s.Log.Info("page not delivered", "path", r.URL.Path, "err", err)
	}
}

// local returns a path of our own for a redirect, or fallback.
func local(path, fallback string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return fallback
	}
	return path
}
