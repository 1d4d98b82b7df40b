package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

// sink is where messages arrive, over real HTTP.
type sink struct {
	*httptest.Server
	mu   sync.Mutex
	got  []arrival
	deaf bool // answers 503, and takes nothing
}

// arrival is one message as it arrived: its key and body.
type arrival struct{ key, text string }

func newSink(t testing.TB) *sink {
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.deaf || err != nil {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		s.got = append(s.got, arrival{r.Header.Get("Webhook-Id"), string(b)})
	}))
	t.Cleanup(s.Close)
	return s
}

// take returns what arrived since it was asked last.
func (s *sink) take() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.got
	s.got = nil
	return out
}

func (s *sink) plug(deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = deaf
}

// notifier leads to the sink; format is "standard" or "slack".
func (s *sink) notifier(t testing.TB, format string) connector.Notifier {
	network, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := webhook.New(webhook.Config{Name: "chat", NotifyURL: s.URL, NotifyFormat: format, Secrets: []string{killSecret}, HTTP: connector.HTTPOptions{Network: network}})
	if err != nil {
		t.Fatal(err)
	}
	n, ok := connector.Stack(c, connector.Options{Attempts: 1}).Notifier()
	if !ok {
		t.Fatal("the webhook sends no messages")
	}
	return n
}

const reminderPolicy = `kind: rules
mode: shadow
rules:
  - {name: all, when: "true", class: K4, why: Under test.}
---
kind: routes
routes: [{name: all, notify: [chat]}]
`

// A person is told of alerts that can't be read: once per reminder and source,
// though the receiver is away, the process dies between telling and recording,
// and the server starts anew.
func TestQuarantineReminds(t *testing.T) {
	s, dir := newSink(t), t.TempDir()
	d := &desk{TB: t, now: time.Now().UTC(), at: func(string) {}}
	start := func() {
		t.Helper()
		a, err := app.New(context.Background(), app.Config{DataDir: dir, Listen: "127.0.0.1:0", Authors: []string{"paula"},
			Failpoint: func(at string) { d.at(at) }, Notifiers: map[string]connector.Notifier{"chat": s.notifier(t, "standard")},
			Policy: []policy.File{{Name: "policy.yaml", Data: []byte(reminderPolicy)}}, Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(killOwners)}}})
		if err != nil {
			t.Fatal(err)
		}
		a.Intake.Now = func() time.Time { return d.now }
		d.app = a
	}
	stop := func() {
		t.Helper()
		if err := d.app.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	start()
	defer func() { stop() }()
	// settle does what is due now, over and over.
	settle := func() {
		t.Helper()
		for n := 1; n > 0; n = d.step() {
			if _, err := d.app.Intake.Work(context.Background(), 16); err != nil {
				t.Fatal(err)
			}
		}
	}
	src := intake.Source{Name: "scanner", Tenant: finding.DefaultTenant, Owner: "olga"}
	begun := d.now
	for _, body := range []string{"<not JSON>", `{"no": "alert"}`} {
		if a := d.app.Intake.Take(context.Background(), src, "", []byte(body)); a.Quarantine == 0 {
			t.Fatalf("not in quarantine: %+v", a)
		}
		d.now = d.now.Add(10 * time.Minute)
	}
	d.now = begun.Add(59 * time.Minute)
	settle()
	if got := s.take(); len(got) > 0 {
		t.Fatalf("told before its time: %v", got)
	}

	// The receiver is away, and the server is started anew meanwhile.
	s.plug(true)
	d.now = begun.Add(time.Hour)
	settle()
	stop()
	start()
	s.plug(false)
	// It dies after telling, before that is recorded.
	d.at = func(at string) {
		if at == "after reminder" {
			d.at = func(string) {}
			panic(death{})
		}
	}
	d.now = d.now.Add(time.Minute)
	settle()
	first := s.take()
	if len(first) != 2 || first[0].key != first[1].key || first[0].key == "" {
		t.Fatalf("told once before the death and once after, by one key: %v", first)
	}
	var msg struct {
		Type string
		Data struct {
			Title, Text, Link string
			To                []string
		}
	}
	if err := json.Unmarshal([]byte(first[0].text), &msg); err != nil || msg.Type != "casement.notice.quarantine" || len(msg.Data.To) != 1 || msg.Data.To[0] != "olga" ||
		!strings.Contains(msg.Data.Title, "scanner") || !strings.Contains(msg.Data.Text, "2 bodies") ||
		!strings.HasSuffix(msg.Data.Link, "/quarantine?source=scanner") {
		t.Errorf("told %s, %v", first[0].text, err)
	}
	stop()
	start()
	d.now = begun.Add(24 * time.Hour)
	settle()
	if got := s.take(); len(got) > 0 {
		t.Errorf("told again before the next day: %v", got)
	}
	d.now = begun.Add(25*time.Hour + time.Minute)
	settle()
	second := s.take()
	if len(second) != 1 || second[0].key == first[0].key {
		t.Errorf("the next day: %v", second)
	}
	desk, ok := d.app.Store.(interface {
		Quarantine(ctx context.Context, tenant, source string, after int64, n int) ([]store.InboxItem, error)
		QuarantineDrop(ctx context.Context, tenant string, id int64, e store.StreamEvent, notes ...record.NoteText) error
		Stream(ctx context.Context, tenant, stream string, after uint64, n int) ([]store.StoredEvent, error)
	})
	if !ok {
		t.Fatal("the store has no quarantine")
	}
	told, err := desk.Stream(context.Background(), finding.DefaultTenant, "source/scanner", 0, -1)
	if err != nil || len(told) != 2 || told[0].Type != "quarantine_reminded" {
		t.Errorf("recorded %v, %v", told, err)
	}
	// A person looked through it: nobody is told any more.
	items, err := desk.Quarantine(context.Background(), finding.DefaultTenant, "", 0, 10)
	if err != nil || len(items) != 2 {
		t.Fatal(items, err)
	}
	for _, it := range items {
		e := told[0].StreamEvent
		e.Type = "body_dropped"
		if err := desk.QuarantineDrop(context.Background(), finding.DefaultTenant, it.ID, e); err != nil {
			t.Fatal(err)
		}
	}
	d.now = begun.Add(72 * time.Hour)
	settle()
	if got := s.take(); len(got) > 0 {
		t.Errorf("told of what nobody waits for: %v", got)
	}
}
