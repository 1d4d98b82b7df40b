package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// The kill test runs a real server as a child process and kills it with
// SIGKILL, at a failpoint between two steps or at a random moment, while
// clients send alerts and actions, undos, probes, tickets and messages run.
// The child is this test binary. CASEMENT_KILLS sets how often, and
// CASEMENT_KILL_TABLE names a file for the table.

// killPoints are the failpoints of the engine, between any two of its steps.
func killPoints() []string {
	return []string{"before observe commit", "after observe commit", "after claim", "before commit", "after commit", "before intent", "after intent",
		"before act", "after act", "after outcome", "after probe", "after ticket", "after message", "before sweep commit", "after sweep commit",
		"after undo intent", "after undo"}
}

// randomMoment is the phase of a kill that waits for no failpoint.
const randomMoment = "random moment"

// killRun is what the kills did.
type killRun struct {
	kills, idle, missed int
	phases              map[string]int
	flying              []int
}

func TestKill(t *testing.T) {
	kills := 21
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
	ack, err := os.Create(filepath.Join(t.TempDir(), "acks"))
	if err != nil {
		t.Fatal(err)
	}
	defer ack.Close()
	client := &killClient{ack: ack, seen: map[int]bool{}, acked: make(chan int)}
	client.fresh.Store(60)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		if err := client.keep(); err != nil {
			t.Error(err)
		}
	})
	run := killRun{kills: kills, phases: map[string]int{}}
	points := killPoints()
	for i := range kills {
		phase, killAt := randomMoment, ""
		if i%6 != 5 { // five of six at a failpoint, one at a random moment
			phase = points[(i-i/6)%len(points)]
			killAt = phase + ":" + strconv.Itoa(1+rand.IntN(8))
			if strings.Contains(phase, "undo") { // these are rarer
				killAt = phase + ":1"
			}
		}
		client.fresh.Add(15)
		flying, hit := killOnce(t, dir, srv.URL, killAt, client)
		if !hit {
			run.missed++
			phase = "not reached: " + phase
		}
		run.phases[phase]++
		run.flying = append(run.flying, flying)
		if flying == 0 {
			run.idle++
		}
	}
	close(client.acked)
	keeping.Wait()
	drain(t, dir, srv.URL, target, client)
	run.report(t, dir, target, client)
}

// killOnce runs a server under load until it dies. It returns the requests in
// flight at that moment, and whether the failpoint was hit.
func killOnce(t *testing.T, dir, target, killAt string, client *killClient) (flying int, hit bool) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, deathFile)); err != nil {
		t.Fatal(err)
	}
	cmd, in, addr := startChild(t, dir, target, killAt)
	defer in.Close()
	token := localToken(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { client.run(addr, token, stop) })
	}
	dead := make(chan struct{})
	go func() { _ = cmd.Wait(); close(dead) }()
	limit := 30 * time.Second // a failpoint that is never reached
	if killAt == "" {
		limit = time.Duration(50+rand.IntN(500)) * time.Millisecond
	}
	select {
	case <-dead:
		b, err := os.ReadFile(filepath.Join(dir, deathFile))
		if err == nil {
			flying, err = strconv.Atoi(string(b))
		}
		if err != nil {
			t.Errorf("the server died by itself at %q: %s, %v\n%s", killAt, cmd.ProcessState, err, cmd.Stderr)
		}
		hit = err == nil
	case <-time.After(limit):
		for client.inflight.Load() == 0 {
			<-time.After(time.Millisecond) // the clients send without a pause
		}
		flying, hit = int(client.inflight.Load()), killAt == ""
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-dead
	}
	close(stop)
	wg.Wait()
	return flying, hit
}

// drain starts the server once more without load and waits until nothing is
// under way.
func drain(t *testing.T, dir, url string, target *killTarget, client *killClient) {
	t.Helper()
	cmd, in, _ := startChild(t, dir, url, "")
	defer in.Close()
	// An effect that promises nothing and was in flight at two kills waits for a
	// person; report looks whether each of these does.
	open := func(promised bool) (n int) {
		target.mu.Lock()
		defer target.mu.Unlock()
		for asset := range client.seen {
			uid := fmt.Sprint("bucket-", asset)
			if (asset%3 != killNone || !promised) && (target.closed[uid] == 0 || killBreaks(asset) && target.undone[uid] == 0) {
				n++
			}
		}
		return n
	}
	for promised, limit := range map[bool]time.Duration{true: 4 * time.Minute, false: 20 * time.Second} {
		deadline := time.Now().Add(limit)
		for open(promised) > 0 && time.Now().Before(deadline) {
			<-time.After(50 * time.Millisecond) // another process works; there is no signal to wait for
		}
	}
	if n := open(true); n > 0 {
		t.Errorf("%d acknowledged alerts were never acted on", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// killNone is the kind of asset whose connector promises nothing.
const killNone = 2

// killBreaks: the change of the asset breaks something and undoes itself.
func killBreaks(asset int) bool { return asset%3 == 0 && asset%10 == 7 }

// report compares acknowledgements, target and ledger, and prints the table.
func (run killRun) report(t *testing.T, dir string, target *killTarget, client *killClient) {
	t.Helper()
	s, err := store.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cases := killCases(t, s, client)
	var b strings.Builder
	fmt.Fprintf(&b, "| phase | kills |\n| --- | --- |\n")
	for _, p := range append(killPoints(), randomMoment) {
		fmt.Fprintf(&b, "| %s | %d |\n", p, run.phases[p])
		if want := 5; run.kills >= 200 && run.phases[p] < want {
			t.Errorf("%s was hit %d times, want %d", p, run.phases[p], want)
		}
	}
	slices.Sort(run.flying)
	fmt.Fprintf(&b, "\n%d kills; requests in flight at the kill: least %d, median %d, most %d; failpoints not reached in time: %d\n",
		run.kills, run.flying[0], run.flying[len(run.flying)/2], run.flying[len(run.flying)-1], run.missed)
	if run.idle > 0 {
		t.Errorf("%d kills found no request in flight", run.idle)
	}
	fmt.Fprintf(&b, "acknowledged alerts: %d of distinct findings, lost: %d\n\n", len(client.seen), len(client.seen)-len(cases))
	if lost := len(client.seen) - len(cases); lost > 0 {
		t.Errorf("%d acknowledged alerts are lost", lost)
	}
	if len(client.seen) < 50 {
		t.Errorf("only %d alerts were acknowledged: no load", len(client.seen))
	}
	run.byPromise(t, &b, target, cases)
	rep, err := s.VerifyLedger(context.Background())
	if err != nil {
		t.Errorf("ledger: %v", err)
	}
	replayed, err := s.VerifyReplay(context.Background())
	if err != nil {
		t.Errorf("replay: %v", err)
	}
	fmt.Fprintf(&b, "\nledger of %d events in %d streams verifies; %d cases replay to exactly what is stored\n", rep.Sequenced+rep.Unsequenced, rep.Streams, replayed)
	t.Log("\n" + b.String())
	if file := os.Getenv("CASEMENT_KILL_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// byPromise compares what reached the target with what the connector promised.
func (run killRun) byPromise(t *testing.T, b *strings.Builder, target *killTarget, cases map[int]remedy.Case) {
	target.mu.Lock()
	defer target.mu.Unlock()
	fmt.Fprintf(b, "| once | assets | changed | raw arrivals | repeats with effect | repeats the cases count | undone |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for kind, once := range []remedy.Once{remedy.OnceLookup, remedy.OnceKey, remedy.OnceNone} {
		assets, changed, raw, twice, counted, undone := 0, 0, 0, 0, 0, 0
		for asset, c := range cases {
			if asset%3 != kind {
				continue
			}
			uid := fmt.Sprint("bucket-", asset)
			assets++
			repeats := 0
			for _, a := range c.Actions {
				repeats += a.Repeats
			}
			counted += repeats
			raw += target.arrivals[uid]
			undone += target.undone[uid]
			if target.closed[uid] == 0 && (once != remedy.OnceNone || repeats == 0 || c.Escalated == "") {
				t.Errorf("%s was never changed, and no person was called after two kills: %s %q %s", uid, c.State(), c.Escalated, asText(c.Actions))
			}
			if n := target.closed[uid]; n > 0 {
				changed++
				twice += n - 1
				if once != remedy.OnceNone && n > 1 {
					t.Errorf("%s promises %s and was changed %d times: %s", uid, once, n, asText(c.Actions))
				}
				if once == remedy.OnceNone && n > 1+repeats {
					t.Errorf("%s was changed %d times, the case counts %d repeats: %s", uid, n, repeats, asText(c.Actions))
				}
			}
			for _, a := range c.Actions {
				if a.Repeats > 1 {
					t.Errorf("%s: %d repeats of one effect", uid, a.Repeats)
				}
			}
		}
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d | %d |\n", once, assets, changed, raw, twice, counted, undone)
	}
	notices, rawNotices := len(target.notices), 0
	for _, n := range target.notices {
		rawNotices += n
	}
	fmt.Fprintf(b, "\nmessages: %d, raw arrivals %d (repeats carry the same key)\n", notices, rawNotices)
}

func asText(v any) string {
	b, _ := json.Marshal(v) // plain values cannot fail
	return string(b)
}

// killCases loads the case of every acknowledged alert that has one.
func killCases(t *testing.T, s *store.SQLite, client *killClient) map[int]remedy.Case {
	t.Helper()
	out := map[int]remedy.Case{}
	for asset := range client.seen {
		f, err := finding.Normalize(finding.Finding{Source: "kill", NativeID: fmt.Sprint("f", asset), Asset: finding.Asset{UID: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		known, err := s.Known(context.Background(), finding.DefaultTenant, []string{f.UID})
		if err != nil {
			t.Fatal(err)
		}
		if id := known[f.UID].CaseID; id != "" {
			if out[asset], err = s.Load(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}
