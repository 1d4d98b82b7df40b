package resttest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/casement/casement/internal/connector/rest/resttest"
)

// listener is a test that only takes note of its failures.
type listener struct {
	testing.TB
	said []string
}

func (l *listener) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

const small = `{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/things":{"post":{
"requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}}}},
"responses":{"200":{"description":"made","content":{"application/json":{"schema":{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}}}}}}}}}`

// TestHoldFindsDepartures: both sides are held, and what fits passes.
func TestHoldFindsDepartures(t *testing.T) {
	for _, x := range []struct{ path, body, answer, want string }{
		{"/things", `{"name":"a"}`, `{"id":1}`, ""},
		{"/things", `{"nome":"a"}`, `{"id":1}`, "our request departs"},
		{"/things", `{"name":"a"}`, `{"id":"x"}`, "the fake's answer"},
		{"/others", `{"name":"a"}`, `{"id":1}`, "is not in the vendor's document"},
	} {
		doc, err := openapi3.NewLoader().LoadFromData([]byte(small))
		if err != nil {
			t.Fatal(err)
		}
		l := &listener{TB: t}
		h := resttest.Hold(l, doc, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(x.answer))
		}))
		r := httptest.NewRequest(http.MethodPost, "http://fake"+x.path, strings.NewReader(x.body))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), r)
		got := strings.Join(l.said, "\n")
		if x.want == "" && got != "" || x.want != "" && !strings.Contains(got, x.want) {
			t.Errorf("%s %s → %s: said %q, want %q", x.path, x.body, x.answer, got, x.want)
		}
	}
}
