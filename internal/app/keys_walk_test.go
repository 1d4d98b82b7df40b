package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/remedy"
)

// provenBy names, for every key of the configuration, the test that shows that
// it does what its doc says.
func provenBy() map[string]string {
	return map[string]string{
		"server.listen":             "TestServerKeys",
		"server.base_url":           "TestServerKeys",
		"server.tls.cert_file":      "TestServerKeys",
		"server.tls.key_file":       "TestServerKeys",
		"server.behind_proxy":       "TestBehindProxy",
		"server.metrics":            "TestServerKeys",
		"server.pprof":              "TestMetrics",
		"data.dir":                  "TestServerKeys",
		"data.key":                  "TestSharedKeys",
		"database.url":              "TestSharedKeys",
		"database.password":         "TestSharedKeys",
		"database.takeover":         "TestSharedKeys",
		"sources.*.kind":            "TestServerKeys",
		"sources.*.secret":          "TestServerKeys",
		"sources.*.mapping":         "TestServerKeys",
		"sources.*.owner":           "TestServerKeys",
		"streams.*.source":          "TestStreamKeys",
		"streams.*.servers":         "TestStreamKeys",
		"streams.*.stream":          "TestStreamKeys",
		"streams.*.consumers":       "TestStreamKeys",
		"streams.*.subject":         "TestStreamKeys",
		"streams.*.topics":          "TestKafkaKeys",
		"streams.*.group":           "TestKafkaKeys",
		"streams.*.mechanism":       "TestKafkaCredentials",
		"streams.*.in_hand":         "TestStreamKeys",
		"streams.*.credentials":     "TestStreamCredentials",
		"streams.*.nkey":            "TestStreamCredentials",
		"streams.*.token":           "TestStreamCredentials",
		"streams.*.user":            "TestStreamCredentials",
		"streams.*.password":        "TestStreamCredentials",
		"streams.*.ca":              "TestStreamCredentials",
		"streams.*.cert":            "TestStreamCredentials",
		"streams.*.key":             "TestStreamCredentials",
		"streams.*.allow":           "TestStreamKeys",
		"connectors.*.kind":         "TestServeBuckets",
		"connectors.*.params":       "TestServeBuckets",
		"connectors.*.secrets":      "TestServeBuckets",
		"connectors.*.allow":        "TestServeBuckets",
		"routes.*.connector":        "TestServeBuckets",
		"routes.*.params":           "TestServeBuckets",
		"policy.dir":                "TestServeBuckets",
		"policy.kev":                "TestKnownExploited",
		"owners.files":              "TestServeBuckets",
		"budgets.changes_per_hour":  "TestInstallBudgets",
		"budgets.changes_per_day":   "TestInstallBudgets",
		"intake.max_body":           "TestServerKeys",
		"intake.quarantine":         "TestServerKeys",
		"intake.inflight":           "TestServerKeys",
		"retention.raw_days":        "TestRetention",
		"retention.raw_size":        "TestRetention",
		"retention.quarantine_days": "TestRetention",
		"log.level":                 "TestLogKeys",
		"log.format":                "TestLogKeys",
	}
}

// TestEveryKeyIsProven walks the keys: one without a test, a test that is not
// there and a key that is gone are failures.
func TestEveryKeyIsProven(t *testing.T) {
	proofs := provenBy()
	var source bytes.Buffer
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	var walk func(key string, typ reflect.Type)
	walk = func(key string, typ reflect.Type) {
		switch {
		case typ.Kind() == reflect.Map && typ.Elem().Kind() == reflect.Struct && typ.Elem().NumField() > 0 && typ.Elem().Field(0).IsExported():
			walk(key+".*", typ.Elem())
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[config.Secret]():
			for i := range typ.NumField() {
				f := typ.Field(i)
				walk(strings.TrimPrefix(key+"."+f.Tag.Get("yaml"), "."), f.Type)
			}
		default:
			test, ok := proofs[key]
			if !ok || !strings.Contains(source.String(), "\nfunc "+test+"(") {
				t.Errorf("key %s: no test shows that it does what its doc says (%q)", key, test)
			}
			delete(proofs, key)
		}
	}
	walk("", reflect.TypeFor[config.Config]())
	for key := range proofs {
		t.Errorf("there is no key %s any more", key)
	}
}

// certificate writes a certificate for the loopback address and its key.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "casement test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}

// TestServerKeys shows what the keys of server, data, sources and intake do.
func TestServerKeys(t *testing.T) {
	cert, key, pool := certificate(t)
	mapping, err := filepath.Abs(filepath.Join(exampleConfig, "mappings/acme.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CASEMENT_TEST_GH", "github-signing-secret")
	l := loaded(t, fmt.Sprintf(`server: {listen: "127.0.0.1:0", base_url: "https://casement.test/", metrics: true, tls: {cert_file: %q, key_file: %q}}
data: {dir: %q}
sources:
  gh: {kind: github, secret: env:CASEMENT_TEST_GH, owner: olga}
  acme: {kind: token, mapping: %q}
intake: {max_body: 4000, quarantine: 1000, inflight: 1}
`, cert, key, filepath.Join(t.TempDir(), "data"), mapping))
	cfg, err := app.Setup(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{App: a, t: t, log: &lines{}}
	ctx := context.WithoutCancel(t.Context())
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	send := func(method, path string, header map[string]string, body io.Reader) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			r.Header.Set(k, v)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header
	}
	if !strings.HasPrefix(s.URL, "https://127.0.0.1:") {
		t.Errorf("address %s", s.URL)
	}
	if link, err := s.SetupLink(t.Context()); err != nil || !strings.HasPrefix(link, "https://casement.test/setup") {
		t.Errorf("set-up link %q %v", link, err)
	}
	if files, err := filepath.Glob(filepath.Join(l.Data.Dir, "*.db")); err != nil || len(files) == 0 {
		t.Errorf("no SQLite file in data.dir: %v %v", files, err)
	}
	token := map[string]string{"Authorization": "Bearer " + s.issue(s.user("sender", auth.RoleSource), "acme")}
	if code, body, _ := send("POST", "/api/v1/alerts", token, strings.NewReader(strings.Repeat("x", 5000))); code != http.StatusRequestEntityTooLarge {
		t.Errorf("over max_body: %d %s", code, body)
	}
	acme := `{"scan":{"finished":"2026-03-01T10:00:00Z","account":"1"},"targets":[{"resource":"bucket/invoices","labels":{"env":"prod"},"checks":[{"id":"ACME-7","what":"Bucket is public","level":"sev1","state":"failed"}]}]}`
	if code, body, _ := send("POST", "/api/v1/alerts", token, strings.NewReader(acme)); code != http.StatusOK || !strings.Contains(body, `"format":"acme"`) {
		t.Errorf("by mapping: %d %s", code, body)
	}
	m := hmac.New(sha256.New, []byte("github-signing-secret"))
	odd := `{"not":"an alert"}`
	m.Write([]byte(odd))
	hook := map[string]string{"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(m.Sum(nil)), "X-GitHub-Event": "secret_scanning_alert"}
	if code, body, _ := send("POST", "/hooks/gh", hook, strings.NewReader(odd)); code != http.StatusUnprocessableEntity || !strings.Contains(body, `"quarantine":`) {
		t.Errorf("signed, not readable: %d %s", code, body)
	}
	hook["X-Hub-Signature-256"] = "sha256=" + strings.Repeat("0", 64)
	if code, _, _ := send("POST", "/hooks/gh", hook, strings.NewReader(odd)); code != http.StatusUnauthorized {
		t.Errorf("wrong signature: %d", code)
	}
	if code, body, _ := send("GET", "/metrics", nil, nil); code != http.StatusOK || !strings.Contains(body, "casement_") {
		t.Errorf("metrics: %d", code)
	}
	due, err := s.Store.QuarantineDue(t.Context(), time.Now().Add(48*time.Hour), 10)
	if err != nil || len(due) != 1 || due[0].Owner != "olga" {
		t.Errorf("quarantine waits for %+v %v", due, err)
	}
	if code, body, _ := send("POST", "/api/v1/alerts", token, strings.NewReader(strings.Repeat("{", 2000))); code != http.StatusInsufficientStorage {
		t.Errorf("over the quarantine: %d %s", code, body)
	}
	// One request stands in its body; the next is told to come again.
	body, hold := io.Pipe()
	done, started := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		r, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/api/v1/alerts", body)
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Authorization", token["Authorization"])
		r.Header.Set("Expect", "100-continue") // the server asks for the body once the handler reads it
		slow := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ExpectContinueTimeout: time.Minute}}
		defer slow.CloseIdleConnections()
		if resp, err := slow.Do(r); err != nil {
			t.Error(err)
		} else {
			resp.Body.Close()
		}
	}()
	go func() {
		defer close(started)
		_, _ = hold.Write([]byte("{")) // taken once the handler is inside
	}()
	<-started
	code, text, header := send("POST", "/api/v1/alerts", token, strings.NewReader(acme))
	if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("over inflight: %d %s", code, text)
	}
	_ = hold.Close()
	<-done
}

// TestBehindProxy: without TLS an outer address is taken only when a proxy is
// said to end TLS.
func TestBehindProxy(t *testing.T) {
	for proxy, want := range map[string]int{"false": 1, "true": 0} {
		_, issues := config.Parse([]config.File{{Name: "c.yaml", Data: []byte("server: {listen: \"0.0.0.0:7410\", behind_proxy: " + proxy + "}\n")}}, config.Options{})
		if len(issues) != want {
			t.Errorf("behind_proxy %s: %v", proxy, issues)
		}
	}
}

// TestLogKeys: level holds back, format shapes.
func TestLogKeys(t *testing.T) {
	for _, x := range []struct {
		c    config.Log
		want string
	}{
		{config.Log{Level: "warn", Format: "json"}, `"msg":"two"`},
		{config.Log{Level: "warn", Format: "text"}, `msg=two`},
	} {
		var b strings.Builder
		log := app.NewLog(x.c, &b)
		log.Info("one")
		log.Warn("two")
		if !strings.Contains(b.String(), x.want) || strings.Contains(b.String(), "one") {
			t.Errorf("%+v: %s", x.c, b.String())
		}
	}
}

// TestInstallBudgets: the ceiling of the install lets one change through and
// holds the second, whatever policy allows.
func TestInstallBudgets(t *testing.T) {
	onBoth(t, installBudgets)
}

func installBudgets(t *testing.T, database string) {
	keys := []string{"changes_per_hour", "changes_per_day"}
	if database != "" {
		keys = keys[:1] // the second is the same draw on the store
	}
	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			addr := bucketServer(t, "customer-one", "customer-two")
			t.Setenv("CASEMENT_TEST_S3_SECRET", connectortest.Canary)
			t.Setenv("CASEMENT_TEST_S3_KEY", "root")
			t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
			s := serveConfig(t, fmt.Sprintf("budgets: {%s: 1}\nsources:\n  scanner: {kind: token}\nconnectors:\n  s3:\n    params: {endpoint: \"http://%s\"}\n"+
				"    secrets: {access_key: env:CASEMENT_TEST_S3_KEY, secret_key: env:CASEMENT_TEST_S3_SECRET}\n    allow: [127.0.0.1]\n"+
				"  hook:\n    kind: webhook\n    params: {notify_url: %q}\n    secrets: {signing: env:CASEMENT_TEST_SIGNING}\n    allow: [127.0.0.1]\nroutes:\n  security: {connector: hook}\n",
				key, addr, newTold(t).url)+database)
			s.until(s.alert(bucketAlert("customer-one", "staging")), "a proven closure", proven)
			c := s.until(s.alert(bucketAlert("customer-two", "staging")), "a held action", func(c remedy.Case) bool {
				return len(c.Actions) > 0 && c.Actions[0].Status == remedy.ActionHeld
			})
			if !strings.Contains(c.Actions[0].Reason, "budget") {
				t.Errorf("reason %q", c.Actions[0].Reason)
			}
			if got := status(t, "http://"+addr+"/customer-two/list.txt", ""); got != http.StatusOK {
				t.Errorf("the second bucket was changed: %d", got)
			}
		})
	}
}

// TestReload: a broken policy changes nothing and says where; a good one is in
// force at once, is recorded, and open cases are judged by it.
func TestReload(t *testing.T) {
	t.Setenv("CASEMENT_TEST_SIGNING", exampleSigning)
	dir := t.TempDir()
	rules := func(class string) {
		text := "kind: rules\nmode: ticket\nrules:\n  - {name: bucket, when: 'class == \"storage.public\"', class: " + class + ", ticket: true, why: Open.}\n"
		if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rules("K4")
	s := serveFrom(t, dir, "sources:\n  scanner: {kind: token}\n")
	id := s.alert(bucketAlert("customer-one", "staging"))
	old, _ := s.Policy()
	rules("K9")
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "rules.yaml:4:") {
		t.Errorf("a broken policy: %v", err)
	}
	if now, _ := s.Policy(); now.Version() != old.Version() {
		t.Error("a broken policy was put in force")
	}
	rules("K2")
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, _ := s.Policy()
	c := s.until(id, "a new judgement", func(c remedy.Case) bool { return c.Judgement.Versions.Policy == now.Version() })
	if c.RiskClass().String() != "K2" || now.Version() == old.Version() {
		t.Errorf("class %s by policy %s", c.RiskClass(), now.Version())
	}
}

// TestKnownExploited: CISA's list decides the class of a vulnerability, is read
// anew with the policy, and open cases are judged by the new one; a damaged copy
// leaves the old one in force.
func TestKnownExploited(t *testing.T) {
	dir, list := t.TempDir(), filepath.Join(t.TempDir(), "kev.json")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kev := func(day, cve string) {
		write(list, `{"dateReleased":"2026-11-`+day+`T00:00:00Z","vulnerabilities":[{"cveID":"`+cve+`"}]}`)
	}
	write(filepath.Join(dir, "rules.yaml"), "kind: rules\nmode: ticket\nrules:\n  - name: package\n    when: class == \"pipeline.vulnerable-package\"\n"+
		"    class:\n      - {when: is_yes(kev), class: K3}\n      - {class: K5}\n    ticket: true\n    why: Known.\n")
	kev("01", "CVE-2021-44228")
	s := serveFrom(t, dir+", kev: "+list, "sources:\n  scanner: {kind: token}\n")
	id := s.alert(`{"source":"scan","native_id":"1","title":"lib","class":"pipeline.vulnerable-package","severity":"low","weakness":{"cve":["CVE-2020-9488"]},` +
		`"component":{"name":"lib","version":"1"},"asset":{"uid":"acme/shop","type":"repository"}}`)
	is := func(class string) {
		t.Helper()
		s.until(id, "class "+class, func(c remedy.Case) bool { return c.RiskClass().String() == class })
	}
	is("K5")
	write(list, "{")
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "policy.kev") {
		t.Errorf("a damaged list: %v", err)
	}
	kev("02", "CVE-2020-9488")
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	is("K3")
}
