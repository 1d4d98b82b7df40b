package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/store"
)

// The kill test runs a real server as a child process and kills it with
// SIGKILL, at failpoints between any two steps and at random moments, while
// clients send alerts and actions run. The child is this test binary.

const killSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// killPoints are the failpoints of the engine, between any two of its steps.
func killPoints() []string {
	return []string{"before observe commit", "after observe commit", "before commit", "after commit", "before intent", "after intent",
		"before act", "after act", "after outcome", "after probe", "after ticket"}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("CASEMENT_KILL_CHILD"); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killChild serves until it is killed. With CASEMENT_KILL_AT=name:n it kills
// itself when the failpoint is reached for the n-th time.
func killChild(dir string) error {
	name, count, _ := strings.Cut(os.Getenv("CASEMENT_KILL_AT"), ":")
	n, _ := strconv.ParseInt(count, 10, 64)
	var reached atomic.Int64
	target := os.Getenv("CASEMENT_KILL_TARGET")
	cfg, err := killConfig(dir, target)
	if err != nil {
		return err
	}
	cfg.Failpoint = func(at string) {
		if at == name && reached.Add(1) == n {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				panic(err)
			}
			select {}
		}
	}
	a, err := app.New(context.Background(), cfg)
	if err != nil {
		return err
	}
	if err := a.Start(context.Background()); err != nil {
		return err
	}
	fmt.Println(a.URL)
	_, err = io.Copy(io.Discard, os.Stdin) // ends when the parent closes it
	return err
}

func killConfig(dir, target string) (app.Config, error) {
	network, err := connector.ParseNetwork([]string{"127.0.0.0/8"})
	if err != nil {
		return app.Config{}, err
	}
	hook, err := webhook.New(webhook.Config{URL: target + "/act", UndoURL: target + "/undo", Secrets: []string{killSecret}, HTTP: connector.HTTPOptions{Network: network},
		State: webhook.State{URL: target + "/state?asset={asset}", Path: "state", Exposed: []string{"open"}, NotExposed: []string{"closed"}}})
	if err != nil {
		return app.Config{}, err
	}
	return app.Config{DataDir: dir, Listen: "127.0.0.1:0", Connectors: map[string]connector.Connector{"webhook": hook},
		Authors: []string{"paula"}, Policy: []policy.File{{Name: "kill.yaml", Data: []byte(killPolicy)}},
		Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(killOwners)}}}, nil
}

const killPolicy = `kind: playbooks
playbooks:
  - name: close
    description: Tells the target to close the asset.
    probe: webhook/state
    grade: P2
    fix:
      - {name: close, do: webhook/call, auth: enforce, settle: 0s, tries: 3, interval: 1s}
---
kind: rules
mode: enforce
rules:
  - name: close
    when: class == "storage.public"
    class: K2
    playbook: close
    ticket: true
    why: Anyone can read it.
---
kind: routes
routes:
  - name: all
    tickets:
      - {system: tracker, template: plain, project: kill}
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}"}
`

const killOwners = `people:
  - {id: olga, team: storage}
  - {id: anna, team: storage}
teams:
  - {id: storage, lead: anna, members: [olga, anna]}
fallback: storage
operations_lead: anna
`

// killTarget is the outside system: one state per asset, changed once per
// webhook id; it counts raw arrivals.
type killTarget struct {
	mu       sync.Mutex
	seen     map[string]bool
	closed   map[string]int
	arrivals map[string]int
}

func newKillTarget() *killTarget {
	return &killTarget{seen: map[string]bool{}, closed: map[string]int{}, arrivals: map[string]int{}}
}

// raw is the number of requests to change an asset.
func (k *killTarget) raw(asset string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.arrivals[asset]
}

func (k *killTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.URL.Path == "/state" {
		state := "open"
		if k.closed[r.URL.Query().Get("asset")] > 0 {
			state = "closed"
		}
		fmt.Fprintf(w, `{"state":%q}`, state)
		return
	}
	var body struct {
		Data struct {
			Asset struct {
				UID string `json:"uid"`
			} `json:"asset"`
		} `json:"data"`
	}
	b, err := io.ReadAll(r.Body)
	uid := ""
	if err == nil {
		err = json.Unmarshal(b, &body)
		uid = body.Data.Asset.UID
	}
	if err != nil || uid == "" {
		http.Error(w, "no asset", http.StatusBadRequest)
		return
	}
	id := r.Header.Get("Webhook-Id")
	k.arrivals[uid]++
	if !k.seen[id] {
		k.seen[id] = true
		k.closed[uid]++
	}
	w.WriteHeader(http.StatusOK)
}

// child starts a server on dir and returns its address.
func startChild(t *testing.T, dir, target, killAt string) (*exec.Cmd, io.Closer, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "CASEMENT_KILL_CHILD="+dir, "CASEMENT_KILL_TARGET="+target, "CASEMENT_KILL_AT="+killAt)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		if killAt != "" {
			return cmd, in, "" // it died at its failpoint before it was ready
		}
		t.Fatalf("the server did not start: %v\n%s", err, stderr.String())
	}
	return cmd, in, strings.TrimSpace(line)
}

func localToken(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, app.AddressFile))
	if err != nil {
		t.Fatal(err)
	}
	var a app.Address
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	return a.Token
}

func killAlert(asset int) string {
	return fmt.Sprintf(`{"source":"kill","native_id":"f%d","title":"bucket %d is public","class":"storage.public","severity":"high","confidence":90,`+
		`"asset":{"uid":"bucket-%d","type":"bucket","provider":"sim","environment":"staging","customer_facing":"no","tags":{"owner":"olga"}},`+
		`"exposure":{"internet_facing":"yes","blast":1}}`, asset, asset, asset)
}

// client sends alerts until the server is gone; what was answered with 200 is
// synced to the acknowledgement file before it counts.
type killClient struct {
	ack      *os.File
	mu       sync.Mutex
	acked    map[int]bool
	inflight atomic.Int64
	next     atomic.Int64
}

func (k *killClient) run(url, token string, stop <-chan struct{}) {
	c := &http.Client{Timeout: 10 * time.Second}
	for {
		select {
		case <-stop:
			return
		default:
		}
		n := int(k.next.Add(1))
		asset := n
		if n%3 == 0 {
			asset = n / 2 // repeats among new ones
		}
		req, err := http.NewRequest(http.MethodPost, url+"/api/v1/alerts", strings.NewReader(killAlert(asset)))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		k.inflight.Add(1)
		resp, err := c.Do(req)
		k.inflight.Add(-1)
		if err != nil {
			return // the server is gone
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
			continue
		}
		k.mu.Lock()
		if _, err := fmt.Fprintln(k.ack, asset); err == nil && k.ack.Sync() == nil {
			k.acked[asset] = true
		}
		k.mu.Unlock()
	}
}

func TestKill(t *testing.T) {
	kills := 22
	if s := os.Getenv("CASEMENT_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	dir := filepath.Join(t.TempDir(), "data")
	target := newKillTarget()
	srv := httptest.NewServer(target)
	defer srv.Close()
	url := srv.URL
	ack, err := os.Create(filepath.Join(t.TempDir(), "acks"))
	if err != nil {
		t.Fatal(err)
	}
	defer ack.Close()
	client := &killClient{ack: ack, acked: map[int]bool{}}
	points := killPoints()
	phases := map[string]int{}
	idle := 0
	for i := range kills {
		killAt := ""
		if i%4 != 3 { // three of four at a failpoint, one at a random moment
			killAt = points[(i-i/4)%len(points)] + ":" + strconv.Itoa(1+rand.IntN(12))
		}
		flying := killOnce(t, dir, url, killAt, client)
		phase, _, _ := strings.Cut(killAt, ":")
		if phase == "" {
			phase = "random"
		}
		phases[phase]++
		if flying == 0 {
			idle++
		}
	}
	t.Logf("%d kills by phase: %v; %d with no request in flight", kills, phases, idle)
	verifyAfterKills(t, dir, url, target, client)
}

// killOnce runs a server under load until it dies; it returns the requests in
// flight at that moment.
func killOnce(t *testing.T, dir, target, killAt string, client *killClient) int64 {
	t.Helper()
	cmd, in, addr := startChild(t, dir, target, killAt)
	defer in.Close()
	if addr == "" {
		return client.inflight.Load()
	}
	token := localToken(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { client.run(addr, token, stop) })
	}
	dead := make(chan struct{})
	go func() { _ = cmd.Wait(); close(dead) }()
	limit := 20 * time.Second // a failpoint that is never reached
	if killAt == "" {
		limit = time.Duration(50+rand.IntN(500)) * time.Millisecond
	}
	var flying int64
	select {
	case <-dead:
		flying = max(1, client.inflight.Load()) // requests fail the instant the server dies
	case <-time.After(limit):
		if killAt != "" {
			t.Errorf("failpoint %q was not reached in %s", killAt, limit)
		}
		flying = client.inflight.Load()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-dead
	}
	close(stop)
	wg.Wait()
	return flying
}

// verifyAfterKills starts the server once more without load, waits until all
// work is done, and compares acknowledgements, target and ledger.
func verifyAfterKills(t *testing.T, dir, url string, target *killTarget, client *killClient) {
	t.Helper()
	cmd, in, _ := startChild(t, dir, url, "")
	open := func() int {
		target.mu.Lock()
		defer target.mu.Unlock()
		n := 0
		for asset := range client.acked {
			if target.closed[fmt.Sprint("bucket-", asset)] == 0 {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(3 * time.Minute)
	for open() > 0 && time.Now().Before(deadline) {
		<-time.After(50 * time.Millisecond) // another process works; there is no signal to wait for
	}
	if n := open(); n > 0 {
		t.Errorf("%d acknowledged alerts were never acted on", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_ = in.Close()
	s, err := store.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var uids []string
	byUID := map[string]int{}
	for asset := range client.acked {
		f, err := finding.Normalize(finding.Finding{Source: "kill", NativeID: fmt.Sprint("f", asset), Asset: finding.Asset{UID: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, f.UID)
		byUID[f.UID] = asset
	}
	lost := 0
	for part := range slices.Chunk(uids, 500) {
		known, err := s.Known(context.Background(), finding.DefaultTenant, part)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range part {
			if known[u].CaseID == "" {
				lost++
			}
		}
	}
	twice, raw := 0, 0
	for asset, n := range target.closed {
		if n > 1 {
			twice++
			t.Errorf("%s was changed %d times", asset, n)
		}
		raw += target.arrivals[asset]
	}
	rep, err := s.VerifyLedger(context.Background())
	if err != nil {
		t.Errorf("ledger: %v", err)
	}
	t.Logf("acknowledged %d, lost %d; assets changed %d, changed twice %d, raw arrivals %d; ledger of %d events in %d streams verifies",
		len(uids), lost, len(target.closed), twice, raw, rep.Sequenced+int64(rep.Unsequenced), rep.Streams)
	if lost > 0 {
		t.Errorf("%d acknowledged alerts are lost", lost)
	}
	if len(uids) < 50 {
		t.Errorf("only %d alerts were acknowledged: no load", len(uids))
	}
}
