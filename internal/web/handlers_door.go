package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/casement/casement/internal/auth"
)

// address is the peer's IP. Headers of proxies are not believed.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (s *server) loginPage(w http.ResponseWriter, r *http.Request) error {
	next := local(r.URL.Query().Get("next"), "/cases")
	if auth.FromContext(r.Context()).Kind == auth.Human {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	s.render(w, r, http.StatusOK, loginForm(s.frame(r, "Sign in", ""), next, "", ""))
	return nil
}

func (s *server) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	next, name := local(r.PostForm.Get("next"), "/cases"), r.PostForm.Get("name")
	_, err := s.Auth.Login(r.Context(), name, r.PostForm.Get("password"), address(r))
	var retry *auth.RetryError
	switch {
	case err == nil:
		http.Redirect(w, r, next, http.StatusSeeOther)
	case errors.As(err, &retry):
		w.Header().Set("Retry-After", strconv.Itoa(int(retry.After.Seconds())+1))
		s.render(w, r, http.StatusTooManyRequests, loginForm(s.frame(r, "Sign in", ""), next, name, retry.Error()))
	case errors.Is(err, auth.ErrCredentials):
		s.render(w, r, http.StatusUnauthorized, loginForm(s.frame(r, "Sign in", ""), next, name, "Name or password is wrong."))
	default:
		return err
	}
	return nil
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) error {
	if err := s.Auth.Logout(r.Context()); err != nil {
		return err
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

func (s *server) setupPage(w http.ResponseWriter, r *http.Request) error {
	token := r.URL.Query().Get("token")
	if err := s.Auth.CheckSetupLink(r.Context(), token); err != nil {
		return linkProblem(err)
	}
	s.render(w, r, http.StatusOK, setupForm(s.frame(r, "Set up", ""), token, "", "", ""))
	return nil
}

// linkProblem tells what is wrong with a set-up link and how to get another.
func linkProblem(err error) error {
	switch {
	case errors.Is(err, auth.ErrSetUp):
		return &problem{Status: http.StatusGone, Title: "Casement is set up already", Detail: "Sign in with the account that was made."}
	case errors.Is(err, auth.ErrLink):
		return &problem{Status: http.StatusGone, Title: "This link is wrong, used or older than 30 minutes", Detail: "Restart “casement serve”: it prints a new one."}
	}
	return err
}

func (s *server) setup(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &problem{Status: http.StatusBadRequest, Title: "The form can't be read", Detail: err.Error()}
	}
	f := r.PostForm
	if err := s.Auth.CheckSetupLink(r.Context(), f.Get("token")); err != nil {
		return linkProblem(err)
	}
	_, err := s.Auth.FirstAdmin(r.Context(), f.Get("token"), f.Get("name"), f.Get("mail"), f.Get("password"))
	if errors.Is(err, auth.ErrLink) || errors.Is(err, auth.ErrSetUp) {
		return linkProblem(err)
	}
	var bad *auth.InputError
	if errors.As(err, &bad) {
		s.render(w, r, http.StatusUnprocessableEntity, setupForm(s.frame(r, "Set up", ""), f.Get("token"), f.Get("name"), f.Get("mail"), bad.Error()))
		return nil
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/cases", http.StatusSeeOther)
	return nil
}

func (s *server) notFound(http.ResponseWriter, *http.Request) error {
	return &problem{Status: http.StatusNotFound, Title: "There is no such page", Detail: "The address may have been mistyped."}
}

// healthz says that the process answers.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return plain(w, http.StatusOK, "ok")
}

// readyz says whether it can serve.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) error {
	if s.Ready == nil {
		return plain(w, http.StatusOK, "ready")
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		s.Log.Warn("not ready", "err", err)
		w.Header().Set("Retry-After", "2")
		return plain(w, http.StatusServiceUnavailable, "not ready")
	}
	return plain(w, http.StatusOK, "ready")
}

func plain(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // the client is gone if this fails
	return nil
}

// heartbeat is the pause between two signs of life on a stream, so that
// proxies keep it open.
const heartbeat = 15 * time.Second

// events streams hints that lists should refresh (server-sent events). A hint
// says nothing but "look again".
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	if s.Hints == nil {
		return &problem{Status: http.StatusNotFound, Title: "Live refresh is off"}
	}
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	hints, stop := s.Hints.Subscribe(auth.FromContext(r.Context()).Tenant)
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	text := "retry: 5000\n\n"
	for {
		if _, err := w.Write([]byte(text)); err != nil {
			return nil //nolint:nilerr // the reader went away
		}
		if err := rc.Flush(); err != nil {
			return nil //nolint:nilerr // the reader went away
		}
		select {
		case <-r.Context().Done():
			return nil
		case _, ok := <-hints:
			if !ok {
				return nil
			}
			text = "event: changed\ndata: cases\n\n"
		case <-beat.C:
			text = ": alive\n\n"
		}
	}
}
