package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/config"
	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/webhook"
	"github.com/casement/casement/internal/natstest"
	"github.com/casement/casement/internal/owner/catalog"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/remedy"
)

const killSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// deathFile is where a child writes what it was doing when it killed itself.
const deathFile = "death"

func TestMain(m *testing.M) {
	if natstest.Child() {
		return
	}
	if dir := os.Getenv("CASEMENT_KILL_CHILD"); dir != "" {
		child := killChild
		if os.Getenv(streamChild) != "" {
			child = serveStream
		}
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv("CASEMENT_MOVE_CHILD"); dir != "" {
		if err := moveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Bool("update", false, "write golden files anew")
	flag.Parse()
	os.Exit(m.Run())
}

// killChild serves until it is killed. With CASEMENT_KILL_AT=name:n it kills
// itself when the failpoint is reached for the n-th time, at a moment when a
// request is in flight.
func killChild(dir string) error {
	name, count, _ := strings.Cut(os.Getenv("CASEMENT_KILL_AT"), ":")
	n, _ := strconv.ParseInt(count, 10, 64)
	cfg, err := killConfig(dir, os.Getenv("CASEMENT_KILL_TARGET"))
	if file := os.Getenv("CASEMENT_KILL_CONFIG"); file != "" {
		cfg, err = fileConfig(file)
	}
	if err != nil {
		return err
	}
	var reached, inflight atomic.Int64
	arrived := make(chan struct{}, 1)
	cfg.Failpoint = func(at string) {
		if at != name || reached.Add(1) != n {
			return
		}
		for inflight.Load() == 0 {
			<-arrived
		}
		// Written, not synced: the page cache outlives the process.
		_ = os.WriteFile(filepath.Join(dir, deathFile), fmt.Appendf(nil, "%d", inflight.Load()), 0o600)
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	}
	a, err := app.New(context.Background(), cfg)
	if err != nil {
		return err
	}
	h := a.Handler
	a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inflight.Add(1)
		defer inflight.Add(-1)
		select {
		case arrived <- struct{}{}:
		default:
		}
		h.ServeHTTP(w, r)
	})
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
	looking, blind := lookingDoor{killDoor{remedy.OnceLookup, target}}, killDoor{remedy.OnceNone, target}
	cfg := app.Config{DataDir: dir, Listen: "127.0.0.1:0", Connectors: map[string]connector.Connector{"webhook": hook, "lookup": looking, "none": blind},
		Notifiers: map[string]connector.Notifier{"chat": killNotifier{blind}},
		Authors:   []string{"paula"}, Policy: []policy.File{{Name: "kill.yaml", Data: []byte(killPolicy)}},
		Owners: []catalog.File{{Name: "owners.yaml", Data: []byte(killOwners)}}}
	env := app.Environment([]connector.Spec{hook.Spec(), looking.Spec(), blind.Spec()}, []string{"chat"})
	cfg.Environment = &env
	return cfg, nil
}

// fileConfig is what a server with this configuration file starts with.
func fileConfig(file string) (app.Config, error) {
	l, issues, err := config.Load(config.Options{Path: file})
	if err != nil {
		return app.Config{}, err
	}
	if err := issues.Err(); err != nil {
		return app.Config{}, err
	}
	return app.Setup(context.Background(), l)
}

// startChild starts a server on dir and returns its address.
func startChild(t *testing.T, dir, target, killAt string, env ...string) (*exec.Cmd, io.Closer, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), env...), "CASEMENT_KILL_CHILD="+dir, "CASEMENT_KILL_TARGET="+target, "CASEMENT_KILL_AT="+killAt)
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

// killClient sends alerts until the server is gone. What was answered with 200
// or 202 is synced to the acknowledgement file before it counts.
type killClient struct {
	ack      *os.File
	inflight atomic.Int64
	next     atomic.Int64
	// made counts the assets there are, fresh bounds them: beyond it all alerts
	// are repeats, until the next kill raises it.
	made, fresh atomic.Int64
	acked       chan int // results of syncs
	seen        map[int]bool
}

func (k *killClient) run(url, token string, stop <-chan struct{}) {
	c := &http.Client{Timeout: 20 * time.Second}
	defer c.CloseIdleConnections()
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, made := k.next.Add(1), k.made.Load()
		var asset int
		if n%3 != 0 && made < k.fresh.Load() || made == 0 {
			asset = int(k.made.Add(1))
		} else {
			asset = int(n*7%made) + 1 // repeats among new ones
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
		if err == nil && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusAccepted) {
			k.acked <- asset
		}
	}
}

// keep syncs acknowledgements until the channel is closed.
func (k *killClient) keep() error {
	for asset := range k.acked {
		if _, err := fmt.Fprintln(k.ack, asset); err != nil {
			return err
		}
		if err := k.ack.Sync(); err != nil {
			return err
		}
		k.seen[asset] = true
	}
	return nil
}
