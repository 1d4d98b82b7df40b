package resttest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/casement/casement/internal/need"
)

// Document reads a vendor's OpenAPI document, nil where it is not there: the
// documents are not ours to ship. Swagger 2 is converted.
func Document(t testing.TB, name string) *openapi3.T {
	t.Helper()
	path, ok := need.Find(t, "openapi/"+name)
	if !ok {
		need.Part(t, "held to "+name, "the vendor's document ../shared/openapi/%s is not beside the checkout", name)
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc *openapi3.T
	if bytes.Contains(b[:min(len(b), 4096)], []byte(`"swagger"`)) {
		var old openapi2.T
		if err := json.Unmarshal(b, &old); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if doc, err = openapi2conv.ToV3(&old); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return doc
	}
	if doc, err = openapi3.NewLoader().LoadFromData(b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return doc
}

// Hold answers by h, and holds every request and every answer to the document.
// A departure fails the test. A nil document holds nothing.
func Hold(t testing.TB, doc *openapi3.T, h http.Handler) http.Handler {
	if doc == nil {
		return h
	}
	doc.Servers = nil // whatever address the fake has
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatalf("the vendor's document: %v", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading a request: %v", err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s %s is not in the vendor's document: %v", r.Method, r.URL.Path, err)
			h.ServeHTTP(w, r)
			return
		}
		in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
			t.Errorf("our request departs from the vendor's document: %v", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		holdAnswer(r.Context(), t, in, route, rec)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()) // the client may be gone
	})
}

func holdAnswer(ctx context.Context, t testing.TB, in *openapi3filter.RequestValidationInput, route *routers.Route, rec *httptest.ResponseRecorder) {
	if !strings.Contains(rec.Header().Get("Content-Type"), "json") && rec.Body.Len() == 0 {
		return
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: rec.Code, Header: rec.Header(),
		Body: io.NopCloser(bytes.NewReader(rec.Body.Bytes())), Options: &openapi3filter.Options{}}
	if err := openapi3filter.ValidateResponse(ctx, out); err != nil {
		t.Errorf("the fake's answer to %s %s departs from the vendor's document: %v", route.Method, route.Path, err)
	}
}
