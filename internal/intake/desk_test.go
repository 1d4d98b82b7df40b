package intake_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/deadline"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

const (
	githubSecret = "It's a Secret to Everybody" // of GitHub's documentation
	oldSecret    = "last year's secret"
	hookSecret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	oldHook      = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	bearerToken  = "the-token-of-acme"
	maxBody      = 16 << 10
	quota        = 4 << 10
)

// desk is an intake behind a real HTTP server, over a real engine and SQLite,
// with a clock that the test moves.
type desk struct {
	testing.TB
	*intake.Intake
	now time.Time
	s   *store.SQLite
	url string

	mu sync.Mutex
	// log is what happened, in order: steps of the engine, bodies kept, answers.
	log []string
	// taken are the bytes of bodies that were read; more says that it grew.
	taken int
	more  *sync.Cond
	// watched are the answers that Watch was told of: kind and status.
	watched []string
	// fail and failInbox, if set, are what Observe and the inbox answer.
	fail, failInbox error
	// at is called at each step of the engine.
	at func(string)
}

func open(t testing.TB, set ...func(*intake.Config)) *desk {
	t.Helper()
	s, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{TB: t, s: s, now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}
	d.more = sync.NewCond(&d.mu)
	e := engine.New(engine.Config{Store: s, Effects: s, Judge: func() engine.Judge { return judge{} }, Failpoint: func(at string) {
		d.note(at)
		if d.at != nil {
			d.at(at)
		}
	}})
	pack, err := intake.NewPacker(sealer{})
	if err != nil {
		t.Fatal(err)
	}
	c := intake.Config{Engine: observer{e, d}, Inbox: inbox{s, d}, Seal: sealer{}, Pack: pack, HashSecret: func(string) string { return "hashed" },
		Now: func() time.Time { return d.now }, Source: source, Token: token, MaxBody: maxBody, Quota: quota,
		Watch: func(kind string, a intake.Answer, _ time.Duration) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.watched = append(d.watched, kind+" "+strconv.Itoa(a.Status))
		}}
	for _, f := range set {
		f(&c)
	}
	d.Intake = intake.New(c)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/alerts", d.ServeAlerts)
	mux.HandleFunc("POST /hooks/{source}", d.ServeHook)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = &counted{r.Body, d}
		mux.ServeHTTP(&answered{w, d}, r)
	}))
	d.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *desk) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, what)
}

// answered notes when an answer begins.
type answered struct {
	http.ResponseWriter
	d *desk
}

func (a *answered) WriteHeader(status int) {
	a.d.note(fmt.Sprint("answer ", status))
	a.ResponseWriter.WriteHeader(status)
}

// counted counts the bytes of a body as they are read.
type counted struct {
	io.ReadCloser
	d *desk
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.d.taken += n
	c.d.more.Broadcast()
	return n, err
}

// await returns when n bytes of bodies were read.
func (d *desk) await(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.taken < n {
		d.more.Wait()
	}
}

// source knows the senders of the tests.
func source(name string) (intake.Source, bool) {
	s, ok := map[string]intake.Source{
		"gh":      {Kind: "github", Secrets: []string{githubSecret, oldSecret}, Owner: "olga"},
		"hook":    {Kind: "standard-webhooks", Secrets: []string{hookSecret, oldHook}},
		"plain":   {Kind: "standard-webhooks", Secrets: []string{"not base64!"}},
		"empty":   {Kind: "github", Secrets: []string{""}},
		"empties": {Kind: "standard-webhooks", Secrets: []string{"", "whsec_"}},
		"none":    {Kind: "github"},
		"odd":     {Kind: "odd", Secrets: []string{githubSecret}},
		"acme":    {Kind: "token"},
		"other":   {Kind: "token", Tenant: "other"},
	}[name]
	s.Name = name
	if s.Tenant == "" {
		s.Tenant = finding.DefaultTenant
	}
	return s, ok
}

func token(_ context.Context, t string) (intake.Source, error) {
	if t == "token of nobody knows" {
		return intake.Source{}, errDisk
	}
	name, ok := map[string]string{bearerToken: "acme", "token of other": "other"}[t]
	if !ok {
		return intake.Source{}, fmt.Errorf("unknown token: %w", intake.ErrDenied)
	}
	s, _ := source(name)
	return s, nil
}

// judge decides the same of everything: a ticket, nobody acts.
type judge struct{}

func (judge) Judge(f finding.Finding, _ engine.CaseFacts, at time.Time) (remedy.Judgement, []byte) {
	snapshot := []byte(f.UID)
	return remedy.Judgement{Decision: remedy.Decision{Class: deadline.K3, Rule: "r", Mode: remedy.ModeEnforce},
		Routing: remedy.Routing{Owner: "olga", Known: true}, Clocks: deadline.Clocks{Fix: at.Add(time.Hour)},
		Versions: remedy.Versions{Policy: "p1"}, Facts: connector.Digest(string(snapshot))}, snapshot
}

// sealer stands for the install key: what it seals can't be read by eye.
type sealer struct{}

func (sealer) Seal(b []byte) ([]byte, error) {
	return []byte("sealed:" + base64.StdEncoding.EncodeToString(b)), nil
}

func (sealer) Open(b []byte) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimPrefix(string(b), "sealed:"))
}

// observer is the engine, or its failure.
type observer struct {
	*engine.Engine
	d *desk
}

func (o observer) Observe(ctx context.Context, tenant string, fs []finding.Finding, raws engine.Raws, at time.Time) ([]engine.Placed, error) {
	if o.d.fail != nil {
		return nil, o.d.fail
	}
	return o.Engine.Observe(ctx, tenant, fs, raws, at)
}

func (o observer) Repeats(ctx context.Context, tenant string, rs []engine.Repeat, at time.Time) ([]engine.Placed, []int, error) {
	if o.d.fail != nil {
		return nil, nil, o.d.fail
	}
	o.d.note("repeats")
	return o.Engine.Repeats(ctx, tenant, rs, at)
}

// inbox is the store's, or its failure.
type inbox struct {
	*store.SQLite
	d *desk
}

func (i inbox) InboxPut(ctx context.Context, it store.InboxItem) (int64, error) {
	if i.d.failInbox != nil {
		return 0, i.d.failInbox
	}
	defer i.d.note("kept")
	return i.SQLite.InboxPut(ctx, it)
}

func (i inbox) QuarantinePut(ctx context.Context, it store.InboxItem, quota int64) (int64, error) {
	if i.d.failInbox != nil {
		return 0, i.d.failInbox
	}
	defer i.d.note("quarantined")
	return i.SQLite.QuarantinePut(ctx, it, quota)
}

// reply is what a sender gets.
type reply struct {
	intake.Answer
	status int
	header http.Header
	text   string
}

// post sends body with headers, given as name, value, name, value …
func (d *desk) post(path string, body io.Reader, header ...string) reply {
	d.Helper()
	r, err := http.NewRequest(http.MethodPost, d.url+path, body)
	if err != nil {
		d.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.Fatal(err)
	}
	out := reply{status: resp.StatusCode, header: resp.Header, text: string(b)}
	if err := json.Unmarshal(b, &out.Answer); err != nil {
		d.Fatalf("%s: %v in %s", resp.Status, err, b)
	}
	return out
}

// send sends a body by token.
func (d *desk) send(body string) reply {
	d.Helper()
	return d.post("/api/v1/alerts", strings.NewReader(body), "Authorization", "Bearer "+bearerToken)
}

// word is the event of a person who decides over a quarantined body.
func (d *desk) word() store.StreamEvent {
	return store.StreamEvent{Tenant: finding.DefaultTenant, Stream: store.StreamSource + "/acme", Type: "dropped", Schema: 1, At: d.now,
		By: remedy.Actor{Kind: remedy.Person, ID: "anna"}, Body: []byte("{}")}
}

// held is what the store holds: open cases, bodies that wait, and in quarantine.
type held struct{ cases, waiting, quarantined int }

func (d *desk) holds() held {
	d.Helper()
	var h held
	var err error
	p, err := d.s.ListCases(context.Background(), store.CaseFilter{Tenant: finding.DefaultTenant}, "", 1000)
	if err == nil {
		h.cases = len(p.Cases)
		h.waiting, h.quarantined, err = d.s.InboxCount(context.Background(), finding.DefaultTenant)
	}
	if err != nil {
		d.Fatal(err)
	}
	return h
}

func (d *desk) want(what string, h held) {
	d.Helper()
	if got := d.holds(); got != h {
		d.Errorf("%s: the store holds %+v, want %+v", what, got, h)
	}
}

// alert is one alert of JSON lines.
func alert(id string) string {
	return fmt.Sprintf(`{"source":"acme","native_id":%q,"title":"bucket %s is public","class":"storage.public","severity":"high","asset":{"uid":"bucket-%s","type":"bucket","provider":"aws"}}`+"\n", id, id, id)
}

func hash(secret []byte, body string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(body))
	return m.Sum(nil)
}

// github signs as GitHub does.
func github(secret, body string) string {
	return "sha256=" + hex.EncodeToString(hash([]byte(secret), body))
}

// standard signs as Standard Webhooks says.
func standard(secret, id string, at time.Time, body string) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		key = []byte(secret)
	}
	return "v1," + base64.StdEncoding.EncodeToString(hash(key, id+"."+strconv.FormatInt(at.Unix(), 10)+"."+body))
}

// leaked is a GitHub secret scanning alert.
func leaked(n int) string {
	return fmt.Sprintf(`{"action":"created","alert":{"number":%d,"created_at":"2026-11-01T10:00:00Z","state":"open","secret_type":"aws_access_key","secret_type_display_name":"AWS key",
		"url":"https://api.github.com/repos/acme/shop/secret-scanning/alerts/7","html_url":"https://github.com/acme/shop/security/secret-scanning/7"},
		"repository":{"id":1,"name":"shop","full_name":"acme/shop","html_url":"https://github.com/acme/shop","owner":{"login":"acme"},"private":true},"sender":{"login":"octo"}}`, n)
}

// before reports whether a happened, and before the first b.
func (d *desk) before(a, b string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, k := slices.Index(d.log, a), slices.Index(d.log, b)
	return i >= 0 && k > i
}
