package web

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSignInLimit: a name takes ten attempts in a row; the next are told to
// wait whatever the password, and after that time the right one works.
func TestSignInLimit(t *testing.T) {
	w := newWorld(t)
	try := func(pass string) *httptest.ResponseRecorder {
		return w.do("", "POST", "/login", "name=dana&password="+strings.ReplaceAll(pass, " ", "+"))
	}
	for i := range 10 {
		if rec := try("wrong"); rec.Code != http.StatusUnauthorized {
			t.Fatalf("wrong password %d: %d, want 401", i+1, rec.Code)
		}
	}
	wait := 0
	for _, pass := range []string{"wrong", "wrong", password} {
		rec := try(pass)
		var err error
		if wait, err = strconv.Atoi(rec.Header().Get("Retry-After")); rec.Code != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 120 {
			t.Fatalf("over the limit: %d, Retry-After %q", rec.Code, rec.Header().Get("Retry-After"))
		}
		contains(t, rec.Body.String(), "too many attempts: try again in "+strconv.Itoa(wait)+" seconds")
	}
	if rec := w.do("", "POST", "/login", "name=omar&password="+strings.ReplaceAll(password, " ", "+")); rec.Code != http.StatusSeeOther {
		t.Errorf("somebody else can't sign in: %d", rec.Code)
	}
	w.advance(time.Duration(wait) * time.Second)
	if rec := try(password); rec.Code != http.StatusSeeOther {
		t.Errorf("the right password after the wait: %d", rec.Code)
	}
}
