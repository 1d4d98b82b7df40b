package rest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest"
)

const secret = "s3cr3t-token-0001"

func client(t *testing.T, now *time.Time, h http.HandlerFunc) *rest.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	n, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := rest.New(rest.Options{Base: srv.URL + "/api/", Auth: rest.Bearer(secret), Secrets: []string{secret},
		HTTP: connector.HTTPOptions{Network: n}, Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestErrorsQuoteTheTargetWithoutSecrets(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	c := client(t, &now, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"errorMessages":["bad token %s"],"errors":{"b":"two","a":"one\u001b[31m"}}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	})
	_, err := c.Do(context.Background(), rest.Call{What: "making a thing", Method: http.MethodPost, Path: "/things", In: map[string]int{"a": 1}})
	if connector.KindOf(err) != connector.KindRefused || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\x1b") ||
		!strings.Contains(err.Error(), "making a thing: the target answered 400 Bad Request (bad token [secret]; a: one [31m; b: two)") {
		t.Errorf("%v", err)
	}
}

// TestKinds: what changes may be unsure, what reads never is.
func TestKinds(t *testing.T) {
	now := time.Unix(1e9, 0).UTC()
	for _, x := range []struct {
		method string
		reads  bool
		want   connector.Kind
	}{
		{http.MethodPost, false, connector.KindUnsure}, {http.MethodPost, true, connector.KindRetry}, {http.MethodGet, false, connector.KindRetry},
	} {
		for name, h := range map[string]http.HandlerFunc{
			"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
			"dropped": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		} {
			var out struct{}
			_, err := client(t, &now, h).Do(context.Background(), rest.Call{What: "x", Method: x.method, Path: "/y", Out: &out, Reads: x.reads})
			if connector.KindOf(err) != x.want || err == nil {
				t.Errorf("%s %s: %v of kind %d, want %d", x.method, name, err, connector.KindOf(err), x.want)
			}
		}
	}
}

// TestRoom: a used-up rate limit holds calls back until its reset.
func TestRoom(t *testing.T) {
	for _, x := range []struct{ prefix, reset string }{
		{"X-RateLimit-", "1000000030"}, {"RateLimit-", "30"}, {"X-Rate-Limit-", "1000000030"}, {"X-RateLimit-", "2001-09-09T01:47:10Z"},
	} {
		now, calls := time.Unix(1e9, 0).UTC(), 0
		c := client(t, &now, func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Header().Set(x.prefix+"Remaining", "0")
			w.Header().Set(x.prefix+"Reset", x.reset)
		})
		get := rest.Call{What: "x", Method: http.MethodGet, Path: "/y"}
		if _, err := c.Do(context.Background(), get); err != nil {
			t.Fatal(err)
		}
		_, err := c.Do(context.Background(), get)
		var ce *connector.Error
		if !errors.As(err, &ce) || ce.Kind != connector.KindRetry || ce.After != 30*time.Second || calls != 1 {
			t.Errorf("%s%s: %v after %d calls", x.prefix, x.reset, err, calls)
		}
		now = now.Add(31 * time.Second)
		if _, err := c.Do(context.Background(), get); err != nil || calls != 2 {
			t.Errorf("%s%s: after the reset %v, %d calls", x.prefix, x.reset, err, calls)
		}
	}
}

func TestPages(t *testing.T) {
	var seen []string
	next := map[string]string{"": "a", "a": "b", "b": ""}
	page := func(_ context.Context, cursor string) (string, error) {
		seen = append(seen, cursor)
		return next[cursor], nil
	}
	if err := rest.Pages(context.Background(), "x", 5, page); err != nil || strings.Join(seen, ",") != ",a,b" {
		t.Errorf("%v, %v", seen, err)
	}
	if err := rest.Pages(context.Background(), "x", 2, page); err == nil {
		t.Error("a list cut short looks like a whole one")
	}
	next["b"] = "a"
	if err := rest.Pages(context.Background(), "x", 9, page); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a circle: %v", err)
	}
}

func TestNextLink(t *testing.T) {
	h := http.Header{"Link": {`<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next", <https://x/?page=9>; rel="last"`}}
	if got := rest.NextLink(h); got != "https://x/?page=3" {
		t.Errorf("%q", got)
	}
	for _, none := range []string{"", "nonsense", `<https://x>; rel="last"`, `<https://x; rel=next`} {
		if got := rest.NextLink(http.Header{"Link": {none}}); got != "" {
			t.Errorf("%q gives %q", none, got)
		}
	}
}

func TestNewRefusesAddresses(t *testing.T) {
	for _, base := range []string{"", "x", "ftp://h", "https://u:p@h", "https://h?a=b"} {
		if _, err := rest.New(rest.Options{Base: base}); err == nil {
			t.Errorf("%q taken", base)
		}
	}
}
