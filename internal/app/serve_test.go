package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/need"
	"github.com/casement/casement/internal/remedy"
)

// served is an install set up by a configuration file, before real servers.
type served struct {
	*app.App
	t     *testing.T
	token string
	log   *lines
	// dir is the data folder, where a test needs it.
	dir string
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// examplePolicy copies the policy of the example with waits short enough to
// watch.
func examplePolicy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	names, err := filepath.Glob(filepath.Join(exampleConfig, "policy", "*.yaml"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	waits := regexp.MustCompile(`(settle|interval|watch|watch_every): \d+[sm]`)
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(n)), waits.ReplaceAll(b, []byte("$1: 1s")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serveConfig writes the configuration to a file, sets the server up from it and
// starts it. A token named scanner may send alerts.
func serveConfig(t *testing.T, yaml string) *served {
	t.Helper()
	return serveFrom(t, examplePolicy(t), yaml)
}

// serveFrom is serveConfig with another policy, and with variables.
func serveFrom(t *testing.T, policyDir, yaml string, env ...string) *served {
	t.Helper()
	owners, err := filepath.Abs(filepath.Join(exampleConfig, "owners.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	l := loaded(t, fmt.Sprintf("data: {dir: %s}\nserver: {listen: \"127.0.0.1:0\"}\npolicy: {dir: %s}\nowners: {files: [%s]}\n", t.TempDir(), policyDir, owners)+yaml, env...)
	cfg, err := app.Setup(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, log: &lines{}}
	cfg.Log = slog.New(slog.NewTextHandler(s.log, nil))
	if s.App, err = app.New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	s.token = s.issue(s.user("sender", auth.RoleSource), "scanner")
	return s
}

func (s *served) user(name string, role auth.Role) auth.User {
	s.t.Helper()
	u, err := s.Auth.AddUser(s.t.Context(), remedy.Actor{Kind: remedy.System, ID: "test"},
		auth.User{Tenant: finding.DefaultTenant, Name: name, Roles: []auth.Role{role}}, "a long enough password "+name)
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *served) issue(u auth.User, name string) string {
	s.t.Helper()
	secret, _, err := s.Auth.IssueToken(s.t.Context(), remedy.Actor{Kind: remedy.Person, ID: u.ID}, u.Tenant, u.ID, name, u.Roles, time.Time{})
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// alert sends one alert over HTTP and returns its case.
func (s *served) alert(body string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.URL+"/api/v1/alerts", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var a struct {
		Results []struct {
			CaseID string `json:"case"`
		} `json:"results"`
	}
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil || resp.StatusCode != http.StatusOK || len(a.Results) != 1 || a.Results[0].CaseID == "" {
		s.t.Fatalf("%d %s %v", resp.StatusCode, b, err)
	}
	return a.Results[0].CaseID
}

// until looks at a case until what is wanted is so, a minute at most.
func (s *served) until(id, what string, so func(remedy.Case) bool) remedy.Case {
	s.t.Helper()
	changed, stop := s.Changes()
	defer stop()
	end := time.After(time.Minute)
	var c remedy.Case
	for waiting := true; waiting; {
		var err error
		if c, err = s.Store.Load(s.t.Context(), id); err != nil {
			s.t.Fatal(err)
		}
		if so(c) {
			return c
		}
		select {
		case <-changed:
		case <-end:
			waiting = false
		}
	}
	b, _ := json.MarshalIndent(c, "", " ") // shown to a person
	s.t.Fatalf("case %s: waited for %s in vain; it is\n%s", id, what, b)
	return c
}

func proven(c remedy.Case) bool { return c.Closed == remedy.ClosedProven }

// told receives signed notices and checks their signatures.
type told struct {
	url string
	mu  sync.Mutex
	got []string
}

func newTold(t *testing.T) *told {
	secret, err := webhook.ParseSecret(exampleSigning)
	if err != nil {
		t.Fatal(err)
	}
	x := &told{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = webhook.Verify(r.Header, []webhook.Secret{secret}, time.Now(), b)
		}
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.got = append(x.got, string(b))
	}))
	t.Cleanup(srv.Close)
	x.url = srv.URL
	return x
}

func (x *told) of(id string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.got), func(s string) bool { return !strings.Contains(s, id) })
}

// bucketServer is a real versitygw with public buckets.
func bucketServer(t *testing.T, buckets ...string) (addr string) {
	t.Helper()
	bin := connectortest.Build(t, "versitygw")
	dir := t.TempDir()
	for _, d := range []string{"data", "meta", "iam"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	addr = connectortest.Serve(t, bin, func(addr string) []string {
		return []string{"--port", addr, "--iam-dir", filepath.Join(dir, "iam"), "--quiet", "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data")}
	}, "ROOT_ACCESS_KEY=root", "ROOT_SECRET_KEY="+connectortest.Canary)
	api := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider("root", connectortest.Canary, ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired})
	for _, b := range buckets {
		policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"Public","Effect":"Allow","Principal":"*","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, b)
		_, err := api.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &b, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred})
		if err == nil {
			_, err = api.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &b, Key: aws.String("list.txt"), Body: strings.NewReader("hello")})
		}
		if err == nil {
			_, err = api.PutBucketPolicy(t.Context(), &awss3.PutBucketPolicyInput{Bucket: &b, Policy: &policy})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return addr
}

func status(t *testing.T, address, bearer string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func bucketAlert(bucket, environment string) string {
	return fmt.Sprintf(`{"source":"cloud.scanner","native_id":"%[1]s","rule":"S3.8","title":"Bucket %[1]s can be read by anyone","class":"storage.public",`+
		`"severity":"high","confidence":95,"asset":{"uid":"arn:aws:s3:::%[1]s","type":"bucket","name":"%[1]s","provider":"aws","environment":"%[2]s","customer_facing":"no"},`+
		`"exposure":{"internet_facing":"yes","blast":1}}`, bucket, environment)
}

// TestServeBuckets: a configuration file, a real S3 server, a webhook route. The
// bucket outside production is closed at once, the one in production after two
// people said yes to the plan; both are proven and closed.
func TestServeBuckets(t *testing.T) { onBoth(t, serveBuckets) }

func serveBuckets(t *testing.T, database string) {
	addr, hook := bucketServer(t, "customer-staging", "customer-live"), newTold(t)
	t.Setenv("CASEMENT_TEST_S3_SECRET", connectortest.Canary)
	t.Setenv("CASEMENT_TEST_S3_KEY", "root")
	t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
	s := serveConfig(t, fmt.Sprintf(`sources:
  scanner: {kind: token, owner: platform}
connectors:
  s3:
    params: {endpoint: "http://%s", place: test-outside}
    secrets: {access_key: env:CASEMENT_TEST_S3_KEY, secret_key: env:CASEMENT_TEST_S3_SECRET}
    allow: [127.0.0.1]
  hook:
    kind: webhook
    params: {notify_url: "%s"}
    secrets: {signing: env:CASEMENT_TEST_SIGNING}
    allow: [127.0.0.1]
routes:
  security: {connector: hook, params: {channel: security}}
`, addr, hook.url)+database)

	staging := "http://" + addr + "/customer-staging/list.txt"
	if got := status(t, staging, ""); got != http.StatusOK {
		t.Fatalf("before: %d", got)
	}
	id := s.alert(bucketAlert("customer-staging", "staging"))
	c := s.until(id, "a proven closure", proven)
	if got := status(t, staging, ""); got != http.StatusForbidden {
		t.Errorf("after: %d", got)
	}
	if d := c.Judgement.Decision; d.Rule != "bucket-public" || c.Judgement.Routing.Owner != "storage" {
		t.Errorf("rule %s, owner %s", d.Rule, c.Judgement.Routing.Owner)
	}
	notices := hook.of(id)
	if len(notices) == 0 || !strings.Contains(notices[0], `"channel":"security"`) {
		t.Errorf("notices: %v", notices)
	}

	olga, marta := s.user("olga", auth.RoleApprover), s.user("marta", auth.RoleApprover)
	live := "http://" + addr + "/customer-live/list.txt"
	id = s.alert(bucketAlert("customer-live", "production"))
	for _, u := range []auth.User{olga, marta} { // S3 does not say who changed a bucket last: two people
		c = s.until(id, "a question to people", func(c remedy.Case) bool { return c.State() == remedy.StateApproval })
		a := c.Actions[0]
		if !strings.Contains(a.Plan.Text, "customer-live") {
			t.Errorf("the plan reads %q", a.Plan.Text)
		}
		if got := status(t, live, ""); got != http.StatusOK {
			t.Errorf("before the second yes: %d", got)
		}
		if _, err := s.Engine.Approve(t.Context(), id, a.ID, a.Plan.Hash, u.ID, "", time.Now().UTC()); err != nil {
			t.Fatal(err)
		}
	}
	s.until(id, "a proven closure", proven)
	if got := status(t, live, ""); got != http.StatusForbidden {
		t.Errorf("after: %d", got)
	}
	if strings.Contains(s.log.String(), connectortest.Canary) {
		t.Error("a secret is in the log")
	}
	rep, err := s.VerifyLedger(t.Context())
	if err != nil || !rep.OK || rep.Cases != 2 {
		t.Errorf("ledger: %+v %v", rep, err)
	}
	if n, err := s.Store.VerifyReplay(t.Context()); n != 2 || err != nil {
		t.Errorf("replayed %d %v", n, err)
	}
}

// TestServeOAuth: the integration keeps the scope it needs and loses the others
// at a real OAuth server; its work goes on.
func TestServeOAuth(t *testing.T) {
	dir := connectortest.Build(t, "oidc-provider")
	node, err := exec.LookPath("node")
	if err != nil {
		need.Missing(t, "node is not installed: %v", err)
	}
	addr := connectortest.Serve(t, node, func(addr string) []string {
		return []string{"../../scripts/targets/oidc-provider/server.mjs", dir, addr, filepath.Join(t.TempDir(), "log")}
	}, "CASEMENT_OIDC_SECRET="+connectortest.Canary, "CASEMENT_OIDC_ADMIN="+connectortest.Canary)
	token, grant := oauthToken(t, addr)
	t.Setenv("CASEMENT_TEST_SECRET", connectortest.Canary)
	t.Setenv("CASEMENT_TEST_TOKEN", token)
	hook := newTold(t)
	t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
	s := serveConfig(t, fmt.Sprintf(`sources:
  scanner: {kind: token}
connectors:
  oauth:
    params:
      introspect_url: http://%[1]s/token/introspection
      revoke_url: http://%[1]s/token/revocation
      grants_url: http://%[1]s/admin/grants
      client_id: casement
      integrations:
        crm-sync: {grant: "%[2]s", keep: [contacts.read], token_from: crm_sync, resource_url: "http://%[1]s/resource?scope=contacts.read"}
    secrets: {client_secret: env:CASEMENT_TEST_SECRET, admin_token: env:CASEMENT_TEST_SECRET, crm_sync: env:CASEMENT_TEST_TOKEN}
    allow: [127.0.0.1]
  hook:
    kind: webhook
    params: {notify_url: "%[3]s"}
    secrets: {signing: env:CASEMENT_TEST_SIGNING}
    allow: [127.0.0.1]
routes:
  security: {connector: hook}
`, addr, grant, hook.url))
	id := s.alert(`{"source":"saas.inventory","native_id":"crm-sync","title":"crm-sync may read all files","class":"saas.oauth-overscoped","severity":"high",` +
		`"confidence":95,"asset":{"uid":"crm-sync","type":"oauth_app","name":"crm-sync","environment":"staging","customer_facing":"no"},"exposure":{"blast":1}}`)
	c := s.until(id, "a proven closure", proven)
	if got := status(t, "http://"+addr+"/resource?scope=contacts.read", token); got != http.StatusOK {
		t.Errorf("the kept scope is answered %d", got)
	}
	if got := status(t, "http://"+addr+"/resource?scope=files.all", token); got != http.StatusForbidden {
		t.Errorf("the taken scope is answered %d", got)
	}
	if c.Judgement.Routing.Owner != "sales-tools" {
		t.Errorf("owner %s", c.Judgement.Routing.Owner)
	}
	events, err := s.Store.Events(t.Context(), finding.DefaultTenant, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if bytes.Contains(e.Body, []byte(token)) || bytes.Contains(e.Body, []byte(connectortest.Canary)) {
			t.Errorf("a secret is in event %s", e.Type)
		}
	}
}

func oauthToken(t *testing.T, addr string) (token, grant string) {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"contacts.read files.all mail.readwrite"}}.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/token", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("crm-sync", "crm-sync-own-secret")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Token == "" {
		t.Fatal(resp.Status, err)
	}
	sum := sha256.Sum256([]byte(out.Token))
	return out.Token, hex.EncodeToString(sum[:16])
}

// TestActionWithoutConnector: the shipped kinds may be named by policy before
// they are set up; an action then waits, says why, and a person is told.
func TestActionWithoutConnector(t *testing.T) {
	t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
	s := serveConfig(t, "sources:\n  scanner: {kind: token}\nconnectors:\n  hook:\n    kind: webhook\n    params: {notify_url: \"http://127.0.0.1:1/\"}\n    secrets: {signing: env:CASEMENT_TEST_SIGNING}\nroutes:\n  security: {connector: hook}\n")
	id := s.alert(bucketAlert("customer-staging", "staging"))
	c := s.until(id, "a held action", func(c remedy.Case) bool {
		return len(c.Actions) > 0 && c.Actions[0].Status == remedy.ActionHeld
	})
	a := c.Actions[0]
	if want := "connector s3 is not set up"; !strings.Contains(a.Reason, want) {
		t.Errorf("reason %q, want %q", a.Reason, want)
	}
	if !c.Open() || remedy.WakeAt(c).IsZero() {
		t.Errorf("the case is open: %v, wakes at %v", c.Open(), remedy.WakeAt(c))
	}
}
