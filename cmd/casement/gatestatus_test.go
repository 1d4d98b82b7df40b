package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// badForge is a forge over HTTP that keeps the newest status of a commit, and
// answers each telling as its turn says.
type badForge struct {
	turns []forgeAnswer

	mu    sync.Mutex
	posts int
	// shown is the state of the check.
	shown string
}

// forgeAnswer is what becomes of one telling.
type forgeAnswer string

const (
	forgeTakes   forgeAnswer = "takes it"
	forgeRefuses forgeAnswer = "refuses it"
	forgeBreaks  forgeAnswer = "fails"
	forgeDrops   forgeAnswer = "takes it and drops the connection"
	forgeSilent  forgeAnswer = "says nothing"
)

const forgeToken = "forge-token-0001"

func (b *badForge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var s struct{ State string }
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || r.Header.Get("Authorization") != "token "+forgeToken {
		http.Error(w, "no status", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	turn := forgeTakes
	if b.posts < len(b.turns) {
		turn = b.turns[b.posts]
	}
	b.posts++
	if turn == forgeTakes || turn == forgeDrops {
		b.shown = s.State
	}
	b.mu.Unlock()
	switch turn {
	case forgeTakes:
		w.WriteHeader(http.StatusCreated)
	case forgeRefuses:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"message":"token %s may not do this"}`, forgeToken)
	case forgeBreaks:
		w.WriteHeader(http.StatusBadGateway)
	case forgeDrops:
		panic(http.ErrAbortHandler)
	case forgeSilent:
		<-r.Context().Done() // until the gate gives up
	}
}

// TestForgeDoesNotTake runs the gate against a forge that shows the success of
// an earlier run and does not take one or both of the new statuses. What the
// gate says must be what the forge then shows, and its exit code may promise a
// held merge only where the verdict got there.
func TestForgeDoesNotTake(t *testing.T) {
	const (
		stands      = "what an earlier run said of this commit stands until the verdict is told"
		open        = "a success of an earlier run stands and lets a merge through"
		maybeOpen   = "a success of an earlier run may stand and let a merge through"
		shut        = "the check is left pending, which holds the merge"
		unknown     = "it is not known whether the forge took it; if not, "
		maybeUnheld = "it is not known whether the check casement/gate was set to pending; if not, "
		again       = "is right again"
		byHand      = "try: hold the merge by hand; "
	)
	reports := map[string]string{"blocked": blockedAlert, "passed": passedAlert, "undecided": "{"}
	for _, x := range []struct {
		turns  []forgeAnswer
		report string
		code   int
		shown  string
		says   []string
		not    []string
	}{
		{[]forgeAnswer{forgeTakes, forgeTakes}, "passed", codeOK, "success", nil, []string{"error:", again}},
		{[]forgeAnswer{forgeTakes, forgeTakes}, "blocked", codeGate, "failure", nil, []string{stands, again}},
		{[]forgeAnswer{forgeRefuses, forgeTakes}, "passed", codeOK, "success", []string{stands, "was not set to pending", again}, []string{open}},
		{[]forgeAnswer{forgeRefuses, forgeTakes}, "blocked", codeGate, "failure", []string{stands, "the verdict (failure)", again}, []string{open}},
		{[]forgeAnswer{forgeBreaks, forgeTakes}, "blocked", codeGate, "failure", []string{maybeUnheld + stands, again}, []string{open}},
		{[]forgeAnswer{forgeDrops, forgeTakes}, "undecided", codeError, "error", []string{maybeUnheld + stands, "the verdict (error)", again}, []string{open}},
		{[]forgeAnswer{forgeSilent, forgeTakes}, "blocked", codeGate, "failure", []string{maybeUnheld + stands, "no answer in time", again}, []string{open}},
		{[]forgeAnswer{forgeTakes, forgeRefuses}, "passed", codeRemote, "pending", []string{"the verdict (success)", shut}, []string{open, byHand, "not known"}},
		{[]forgeAnswer{forgeTakes, forgeRefuses}, "blocked", codeRemote, "pending", []string{"the gate blocks: 1 exposure", "the verdict (failure)", shut}, []string{open, byHand}},
		{[]forgeAnswer{forgeTakes, forgeBreaks}, "passed", codeRemote, "pending", []string{unknown + shut}, []string{open}},
		{[]forgeAnswer{forgeTakes, forgeDrops}, "blocked", codeRemote, "failure", []string{"the gate blocks: 1 exposure", unknown + shut}, []string{open}},
		{[]forgeAnswer{forgeTakes, forgeSilent}, "blocked", codeRemote, "pending", []string{unknown + shut, "no answer in time"}, []string{open}},
		{[]forgeAnswer{forgeRefuses, forgeRefuses}, "passed", codeRemote, "success", []string{stands, "nothing of this run is at the forge: " + open}, []string{byHand, "not known"}},
		{[]forgeAnswer{forgeRefuses, forgeRefuses}, "blocked", codeRemote, "success", []string{stands, "the gate blocks: 1 exposure", open, byHand}, []string{"not known"}},
		{[]forgeAnswer{forgeRefuses, forgeRefuses}, "undecided", codeRemote, "success", []string{stands, "the gate fails closed", open, byHand}, nil},
		{[]forgeAnswer{forgeSilent, forgeSilent}, "blocked", codeRemote, "success", []string{maybeUnheld, unknown, maybeOpen, byHand}, nil},
		{[]forgeAnswer{forgeDrops, forgeRefuses}, "blocked", codeRemote, "pending", []string{maybeUnheld, maybeOpen, byHand}, []string{unknown}},
	} {
		t.Run(fmt.Sprintf("%s: %s, then %s", x.report, x.turns[0], x.turns[1]), func(t *testing.T) {
			t.Parallel()
			forge := &badForge{turns: x.turns, shown: "success"}
			server := httptest.NewServer(forge)
			defer server.Close()
			wait := time.Minute
			if slices.Contains(x.turns, forgeSilent) {
				wait = 2 * time.Second
			}
			code, said := gateOn(t, server.URL+"/repos/acme/shop/statuses/1", reports[x.report], wait)
			if code != x.code || forge.shown != x.shown || forge.posts != 2 {
				t.Errorf("exit code %d, want %d; the forge shows %s, want %s; it was told %d times\n%s", code, x.code, forge.shown, x.shown, forge.posts, said)
			}
			holds(t, said, x.says, x.not)
		})
	}
	t.Run("nobody is there", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		code, said := gateOn(t, server.URL+"/repos/acme/shop/statuses/1", blockedAlert, time.Minute)
		if code != codeRemote {
			t.Errorf("exit code %d, want %d", code, codeRemote)
		}
		holds(t, said, []string{"was not set to pending", "at " + strings.TrimPrefix(server.URL, "http://"), "no connection", open, byHand}, nil)
	})
}

// TestStoppedGateTellsTheForge: a run that is stopped is an error of the check,
// not one that is under way for ever.
func TestStoppedGateTellsTheForge(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	forge := &badForge{shown: "success"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forge.ServeHTTP(w, r)
		stop()
	}))
	defer server.Close()
	var said bytes.Buffer
	c, g := gateCLI(t, &said, server.URL+"/repos/acme/shop/statuses/1")
	c.streams.in = stoppedInput{ctx}
	if err := c.gateAndTell(ctx, g, &formats{word: "table"}, []string{"-"}); err == nil || forge.shown != "error" || forge.posts != 2 {
		t.Errorf("%v; the forge shows %s after %d tellings\n%s", err, forge.shown, forge.posts, said.String())
	}
}

// stoppedInput is a standard input that ends when the run is stopped.
type stoppedInput struct{ ctx context.Context }

func (s stoppedInput) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func gateCLI(t *testing.T, said *bytes.Buffer, address string) (*cli, *gating) {
	t.Helper()
	env := map[string]string{statusToken: forgeToken, "NO_COLOR": "1", "CASEMENT_DATA_DIR": filepath.Join(t.TempDir(), "none")}
	c := &cli{streams: streams{in: strings.NewReader(""), out: said, err: said}, env: func(k string) string { return env[k] }, now: func() time.Time { return time.Now().UTC() }}
	c.prepare()
	return c, &gating{judging: &judging{}, status: address, statusWait: time.Minute}
}

// gateOn runs the gate on a report and returns its exit code and all it said.
func gateOn(t *testing.T, address, report string, wait time.Duration) (int, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.jsonl")
	if err := os.WriteFile(path, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c, g := gateCLI(t, &said, address)
	g.statusWait = wait
	err := c.gateAndTell(t.Context(), g, &formats{word: "table"}, []string{path})
	if err != nil {
		c.report(err)
	}
	return codeOf(err), said.String()
}

// holds wants each of says in a text and none of not, nor the forge's token.
func holds(t *testing.T, text string, says, not []string) {
	t.Helper()
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("it does not say %q:\n%s", s, text)
		}
	}
	for _, s := range append(not, forgeToken) {
		if strings.Contains(text, s) {
			t.Errorf("it says %q:\n%s", s, text)
		}
	}
}
