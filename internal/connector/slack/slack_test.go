package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"pgregory.net/rapid"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest/resttest"
	"github.com/casement/casement/internal/connector/slack"
)

var update = flag.Bool("update", false, "write the golden card anew")

const hookPath = "/services/T000/B000/c4n4ryc4n4ryc4n4ry"

func approval() connector.Notice {
	return connector.Notice{Key: "c1/m1", Kind: "approval", CaseID: "c1", Title: "Public bucket invoices", Text: "Remove the public policy", To: []string{"paula"},
		Link: "https://casement.example/approvals/c1/e1.1", At: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		Fields: map[string]string{"plan": "Remove the policy statement \"PublicRead\" from bucket invoices <!channel>", "why": "Anyone can read objects of this bucket.",
			"blast": "readers without a credential lose access", "undo": "puts the statement back", "asked": "paula, team/platform", "backup": "noor",
			"answer_by": "2026-11-24T14:00:00Z", "risk": "K2", "class": "storage.public", "asset": "invoices", "environment": "production", "owner": "team/billing", "due": "2026-11-27T10:00:00Z"}}
}

// TestCard holds the approval card: its order, its button, its escapes.
func TestCard(t *testing.T) {
	got, err := json.MarshalIndent(slack.Card(approval()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const golden = "testdata/approval.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || string(got) != string(want) {
		t.Errorf("%v; the card is\n%s", err, got)
	}
	if strings.Contains(string(got), "<!channel>") {
		t.Error("a stranger's text can mention people")
	}
}

// hook is an incoming webhook by Slack's published rules.
func hook(t *testing.T, status int, header http.Header) (*slack.Slack, *[]byte) {
	t.Helper()
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		if r.URL.Path != hookPath || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		var v json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			t.Error(err)
		}
		body = v
		w.WriteHeader(status)
		_, _ = w.Write([]byte("ok"))
	}))
	t.Cleanup(srv.Close)
	n, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := slack.New(slack.Config{URL: srv.URL + hookPath, HTTP: connector.HTTPOptions{Network: n}, Now: func() time.Time { return time.Unix(1e9, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return s, &body
}

func TestNotify(t *testing.T) {
	s, body := hook(t, http.StatusOK, nil)
	if err := s.Notify(context.Background(), approval()); err != nil {
		t.Fatal(err)
	}
	heldToDocument(t, *body)
	for _, x := range []struct {
		status int
		kind   connector.Kind
	}{{429, connector.KindRetry}, {503, connector.KindRetry}, {403, connector.KindConfig}, {404, connector.KindRefused}, {410, connector.KindRefused}, {500, connector.KindUnsure}} {
		s, _ := hook(t, x.status, http.Header{"Retry-After": {"9"}})
		err := s.Notify(context.Background(), approval())
		var ce *connector.Error
		if !errors.As(err, &ce) || ce.Kind != x.kind || x.status == 429 && ce.After != 9*time.Second {
			t.Errorf("%d: %#v", x.status, err)
		}
		if err != nil && strings.Contains(err.Error(), "c4n4ry") {
			t.Errorf("the address is in the error: %v", err)
		}
	}
	down, err := slack.New(slack.Config{URL: "https://192.0.2.1" + hookPath, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := down.Notify(ctx, approval()); err == nil || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("unreachable: %v", err)
	}
}

// heldToDocument holds the message to Slack's document. It has no incoming
// webhooks, so the same text and blocks are held as a chat.postMessage.
func heldToDocument(t *testing.T, body []byte) {
	t.Helper()
	doc := resttest.Document(t, "slack.json")
	if doc == nil {
		return
	}
	var m struct {
		Text   string
		Blocks json.RawMessage
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"channel": {"C1"}, "text": {m.Text}, "blocks": {string(m.Blocks)}}
	r := httptest.NewRequest(http.MethodPost, "http://slack.com/chat.postMessage", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("token", "x") // today's bearer header was a parameter when the document was written
	route, params, err := router.FindRoute(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}); err != nil {
		t.Error(err)
	}
}

// TestBounds: whatever comes in, the card keeps Slack's bounds and escapes.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[&<>*a-z]{0,50}`), rapid.Map(rapid.IntRange(0, 4000), func(n int) string { return strings.Repeat("&é", n) }))
		n := connector.Notice{Title: text.Draw(t, "title"), Text: text.Draw(t, "text"), Link: "https://casement.example/cases/c1", CaseID: "c1", Fields: map[string]string{}}
		for _, k := range []string{"plan", "why", "blast", "undo", "asked", "class"} {
			n.Fields[k] = text.Draw(t, k)
		}
		m := slack.Card(n)
		if len(m.Blocks.BlockSet) > 50 {
			t.Fatalf("%d blocks", len(m.Blocks.BlockSet))
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		eachText(doc, func(kind, s string) {
			bound := 3000
			if kind == "plain_text" {
				bound = 150
			}
			if n := utf8.RuneCountInString(s); n == 0 || n > bound {
				t.Fatalf("a text of %d characters (%s)", n, kind)
			}
			if kind == "mrkdwn" && strings.ContainsAny(s, "<>") {
				t.Fatalf("control characters in %q", s)
			}
		})
	})
}

func eachText(v any, f func(kind, text string)) {
	switch v := v.(type) {
	case map[string]any:
		if text, ok := v["text"].(string); ok && v["type"] != nil {
			f(v["type"].(string), text)
		}
		for _, x := range v {
			eachText(x, f)
		}
	case []any:
		for _, x := range v {
			eachText(x, f)
		}
	}
}

func TestNewRefusesAddresses(t *testing.T) {
	for _, u := range []string{"", "https://hooks.slack.com", "https://hooks.slack.com/", "hooks"} {
		if _, err := slack.New(slack.Config{URL: u}); err == nil {
			t.Errorf("%q taken", u)
		}
	}
}
