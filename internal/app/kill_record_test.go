package app_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/connectortest"
	"github.com/casement/casement/internal/connector/jira/jiratest"
	"github.com/casement/casement/internal/finding"
)

// What a case puts into other systems: an issue, a card, a message. The real
// server is killed with SIGKILL while one is made, and started again.

// dying is where the server dies.
type dying int

const (
	// dieUnasked: the request is there, and nothing was made of it.
	dieUnasked dying = iota
	// dieUnanswered: it was made, the answer was not given.
	dieUnanswered
	// dieUnrecorded: the answer was read, and is not recorded.
	dieUnrecorded
)

func (d dying) String() string {
	return [...]string{"before it is made", "before it is answered", "before the answer is recorded"}[d]
}

// reaper stands before a server and kills its client at the first request that
// makes something.
type reaper struct {
	next  http.Handler
	makes func(*http.Request) bool
	at    dying
	// kill ends the client and returns when it is dead.
	kill func()
	once sync.Once
}

func (p *reaper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.at != dieUnrecorded && p.makes(r) {
		p.once.Do(func() {
			if p.at == dieUnanswered {
				p.next.ServeHTTP(httptest.NewRecorder(), r)
			}
			p.kill()
			panic(http.ErrAbortHandler)
		})
	}
	p.next.ServeHTTP(w, r)
}

const issuePolicy = `kind: rules
mode: enforce
rules:
  - {name: all, when: "true", class: K3, ticket: true, why: Under test.}
---
kind: routes
routes:
  - name: all
    tickets: [{system: jira, template: plain, project: SEC}]
---
kind: templates
templates:
  - {name: plain, title: "${title}", body: "${why}"}
`

const messagePolicy = `kind: rules
mode: enforce
rules:
  - {name: all, when: "true", class: K3, why: Under test.}
---
kind: routes
routes: [{name: all, notify: [chat]}]
`

// TestKillInMidCreate: a case has one issue in Jira, wherever the server died. A
// message goes out at least once: Slack's incoming webhooks know no once-key, so
// a channel that was told and could not answer in time is told once more; a
// receiver of Standard Webhooks sees the id of the first.
func TestKillInMidCreate(t *testing.T) {
	for _, at := range []dying{dieUnasked, dieUnanswered, dieUnrecorded} {
		t.Run("Jira issue/"+at.String(), func(t *testing.T) {
			s := jiratest.New(t, time.Now)
			s.Lag = 3 * time.Second // search finds it only when the server is long back
			p := &reaper{at: at, next: connectortest.Forward(t, s.URL), makes: func(r *http.Request) bool { return r.URL.Path == "/rest/api/3/issue" }}
			front := httptest.NewServer(p)
			t.Cleanup(front.Close)
			dir := filepath.Join(t.TempDir(), "data")
			env := childFiles(t, dir, "jira", map[string]any{"url": front.URL, "project": "SEC"}, map[string]string{"token": s.Token}, []byte(issuePolicy), nil)
			killRecord(t, p, dir, "after ticket", env, func(body string) bool { return strings.Contains(body, `"ref":"SEC-`) })
			list := s.Issues()
			if len(list) != 1 || s.Creates() != 1 {
				t.Fatalf("%d issues, %d creations", len(list), s.Creates())
			}
			c := loadKilled(t, dir)
			if len(c.Tickets) != 1 || c.Tickets[0].Ref != list[0].Key || !slices.Contains(list[0].Labels, "casement-case-"+c.ID) {
				t.Errorf("the case has %+v, the issue %+v", c.Tickets, list[0])
			}
		})
		for kind, secret := range map[string]string{"slack": "url", "webhook": "notify_url"} {
			t.Run(kind+" message/"+at.String(), func(t *testing.T) {
				chat := newSink(t)
				p := &reaper{at: at, next: connectortest.Forward(t, chat.URL), makes: func(*http.Request) bool { return true }}
				front := httptest.NewServer(p)
				t.Cleanup(front.Close)
				values := map[string]string{secret: front.URL + "/services/T000/B000/x4n4ry"}
				if kind == "webhook" {
					values["signing"] = killSecret
				}
				dir := filepath.Join(t.TempDir(), "data")
				env := childFiles(t, dir, kind, nil, values, []byte(messagePolicy), map[string]any{"routes": map[string]any{"chat": map[string]any{"connector": kind}}})
				killRecord(t, p, dir, "after message", env, func(body string) bool {
					return strings.Contains(body, `"message_seq":1,`) && !strings.Contains(body, `"messages":`) // one, and none to be sent
				})
				told := map[arrival]int{}
				for _, x := range chat.take() {
					told[x]++
				}
				want := []int{1}
				if at != dieUnasked {
					want = []int{2}
				}
				if got := slices.Sorted(maps.Values(told)); !slices.Equal(got, want) {
					t.Errorf("told %v times, want %v: %v", got, want, told)
				}
			})
		}
	}
}

// killRecord runs a server until it dies at the reaper or at the failpoint, and
// once more until its case is as it shall be.
func killRecord(t *testing.T, p *reaper, dir, failpoint string, env []string, done func(caseBody string) bool) {
	t.Helper()
	killAt := ""
	if p.at == dieUnrecorded {
		killAt = failpoint + ":1"
	}
	cmd, in, addr := startChild(t, dir, "", killAt, env...)
	defer in.Close()
	dead := make(chan struct{})
	go func() { _ = cmd.Wait(); close(dead) }()
	p.kill = func() {
		_ = cmd.Process.Kill() // it is there: it waits for our answer
		<-dead
	}
	token := localToken(t, dir)
	tellChild(t, addr, token, connector.Request{Asset: finding.Asset{UID: "arn:aws:s3:::customer-files", Name: "customer-files", Type: "bucket", Provider: "aws"}})
	askUntil(dead, addr, token)
	wantKilled(t, cmd)
	x := loadKilled(t, dir)

	goesOn(t, dir, env, x.ID, "the case is told of it", done)
}

// goesOn starts a killed server again, waits until its case is as it should be,
// and ends it.
func goesOn(t *testing.T, dir string, env []string, id, what string, done func(body string) bool) {
	t.Helper()
	cmd, in, addr := startChild(t, dir, "", "", env...)
	defer in.Close()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("the case as it was last seen: %s\nthe server said: %s", last, cmd.Stderr)
		}
	}()
	eventually(t, what, func() bool {
		status, body, err := askChild(http.MethodGet, addr+"/api/v1/cases/"+id, localToken(t, dir), "")
		last = body
		return err == nil && status == http.StatusOK && done(body)
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}
