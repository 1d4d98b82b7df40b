package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/connectortest/targets"
)

// gateDies is where a run of the gate is killed: at which of its two statuses,
// and how far that had come.
type gateDies struct {
	what string
	// post counts from 1: the first takes the old verdict back, the second is the
	// verdict.
	post int
	at   gateMoment
}

type gateMoment int

const (
	// gateUnasked: the forge has not got the status.
	gateUnasked gateMoment = iota
	// gateUnanswered: it has, and the gate was not answered.
	gateUnanswered
	// gateAnswered: the gate was answered.
	gateAnswered
)

var gateDeaths = []gateDies{
	{"before the old verdict is taken back", 1, gateUnasked},
	{"before that is answered", 1, gateUnanswered},
	{"while it judges", 1, gateAnswered},
	{"before the verdict is told", 2, gateUnasked},
	{"before the verdict is answered", 2, gateUnanswered},
	{"after the verdict is answered", 2, gateAnswered},
}

// gateFront stands before a forge and kills the gate at one moment.
type gateFront struct {
	next http.Handler
	dies gateDies
	kill func()

	mu    sync.Mutex
	posts int
	// answered is set when the answer to kill after is on its way.
	answered bool
	died     bool
}

func (p *gateFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock() // the gate makes one request at a time
	p.posts++
	if p.kill == nil || p.posts != p.dies.post {
		p.next.ServeHTTP(w, r)
		return
	}
	switch p.dies.at {
	case gateAnswered:
		p.next.ServeHTTP(w, r)
		p.answered = true
		return
	case gateUnanswered:
		p.next.ServeHTTP(httptest.NewRecorder(), r)
	}
	p.end()
	panic(http.ErrAbortHandler)
}

// end kills the gate; it returns when it is dead.
func (p *gateFront) end() {
	p.kill()
	p.died = true
}

// state sees when an answer has been written.
func (p *gateFront) state(_ net.Conn, s http.ConnState) {
	if s == http.StateActive || s == http.StateNew {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answered && !p.died {
		p.end()
	}
}

// gated is one pull request and the runs of the gate on it.
type gated struct {
	t      *testing.T
	forge  *targets.Gitea
	number int
	head   string
}

// run runs the gate on a report, to its end or until it is killed, and returns
// its exit code, -1 when it was killed.
func (g *gated) run(report string, dies *gateDies) int {
	g.t.Helper()
	front := &gateFront{next: connectortest.Forward(g.t, g.forge.URL)}
	server := httptest.NewUnstartedServer(front)
	server.Config.ConnState = front.state
	server.Start()
	defer server.Close()
	// Only the kill may end it.
	cmd := exec.CommandContext(context.WithoutCancel(g.t.Context()), "casement", "gate", "--status", server.URL+g.forge.StatusPath(g.head), report)
	home := g.t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "NO_COLOR=1", "CASEMENT_DATA_DIR=" + filepath.Join(home, "none"), statusToken + "=" + g.forge.Token}
	ended := make(chan struct{})
	if dies != nil {
		front.dies = *dies
		front.kill = func() {
			_ = cmd.Process.Kill() // it may have ended by itself after the last answer
			<-ended
		}
	}
	front.mu.Lock()
	err := cmd.Start()
	front.mu.Unlock()
	if err != nil {
		g.t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code is what the callers look at
	close(ended)
	front.mu.Lock()
	defer front.mu.Unlock()
	if dies != nil && !front.died {
		g.t.Fatalf("the gate was not killed; it told the forge %d times", front.posts)
	}
	return cmd.ProcessState.ExitCode()
}

// shows wants this one status of the check.
func (g *gated) shows(want string) {
	g.t.Helper()
	all := g.forge.Effective(g.t, g.head)
	if len(all) != 1 || all[0].Context != gateContext || all[0].State != want {
		g.t.Fatalf("the check is %+v, want %q", all, want)
	}
	if want != "success" {
		g.merges(http.StatusMethodNotAllowed)
	}
}

func (g *gated) merges(want int) {
	g.t.Helper()
	if code, text := g.forge.Merge(g.t, g.number); code != want {
		g.t.Fatalf("the merge is answered %d %s, want %d", code, text, want)
	}
}

const (
	blockedAlert = `{"source":"scanner","native_id":"1","rule":"dep","title":"lodash has a known vulnerability","class":"pipeline.vulnerable-package","severity":"high","weakness":{"cve":["CVE-2020-8203"]},"component":{"name":"lodash","version":"4.17.15","fixed_version":"4.17.21"},"location":{"repository":"acme/shop"},"asset":{"uid":"acme/shop","type":"repository","name":"acme/shop"}}` + "\n"
	passedAlert  = `{"source":"scanner","native_id":"2","rule":"lint","title":"a small matter","class":"pipeline.code-weakness","severity":"low","location":{"repository":"acme/shop","file":"a.go"},"asset":{"uid":"acme/shop","type":"repository","name":"acme/shop"}}` + "\n"
)

// TestGateKilled kills the gate with SIGKILL at each moment of its talk with a
// real forge. What can be merged was passed by a run that got as far as its
// verdict: one that died before leaves the check open, also where an earlier run
// had passed the commit, and the next run sets the one status that counts.
func TestGateKilled(t *testing.T) {
	forge := targets.StartGitea(t)
	dir := t.TempDir()
	reports := map[string]string{"failure": filepath.Join(dir, "blocked.jsonl"), "success": filepath.Join(dir, "passed.jsonl")}
	codes := map[string]int{"failure": codeGate, "success": codeOK}
	for state, text := range map[string]string{"failure": blockedAlert, "success": passedAlert} {
		if err := os.WriteFile(reports[state], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The verdict before and the one to come, on one commit.
	for _, x := range [][2]string{{"success", "failure"}, {"failure", "success"}} {
		before, state := x[0], x[1]
		number, head := forge.Pull(t, "to-"+state)
		for _, d := range gateDeaths {
			t.Run(before+" to "+state+"/"+d.what, func(t *testing.T) {
				g := &gated{t: t, forge: forge, number: number, head: head}
				run := func(state string) {
					t.Helper()
					if code := g.run(reports[state], nil); code != codes[state] {
						t.Fatalf("the gate ended with %d, want %d", code, codes[state])
					}
					g.shows(state)
				}
				run(before)
				if code := g.run(reports[state], &d); code != -1 && d.at != gateAnswered {
					t.Fatalf("the gate ended with %d before it was killed", code)
				}
				switch {
				case d.post == 2 && d.at != gateUnasked:
					g.shows(state)
				case d.post == 2 || d.at != gateUnasked:
					g.shows("pending")
				default: // as if it had not been started
					g.shows(before)
				}
				run(state)
			})
		}
		if g := (&gated{t: t, forge: forge, number: number, head: head}); state == "success" {
			g.merges(http.StatusOK)
		}
	}
}
