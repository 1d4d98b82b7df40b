package intake_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
)

// slowEngine takes a second for a commit of new findings, in a bubble of
// synctest, and complains of a finding that it has under way already.
type slowEngine struct {
	t        *testing.T
	mu       sync.Mutex
	under    map[string]bool
	observed map[string]int // by uid
	repeated int
	commits  int
	most     int // under way at a time
	// fails says which commits fail.
	fails  func(n int) bool
	failed bool
}

func (e *slowEngine) Observe(_ context.Context, _ string, fs []finding.Finding, _ engine.Raws, _ time.Time) ([]engine.Placed, error) {
	e.mu.Lock()
	n := e.commits
	e.commits++
	for _, f := range fs {
		if e.under[f.UID] && !e.failed {
			e.t.Errorf("%s is committed twice at a time", f.NativeID)
		}
		e.under[f.UID] = true
	}
	e.most = max(e.most, len(e.under))
	e.mu.Unlock()
	time.Sleep(time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range fs {
		delete(e.under, f.UID)
	}
	if e.fails(n) {
		e.failed = true // the others do not wait for one another again
		return nil, errDisk
	}
	out := make([]engine.Placed, len(fs))
	for i, f := range fs {
		e.observed[f.UID]++
		out[i] = engine.Placed{UID: f.UID, CaseID: f.UID, Placement: correlate.Open}
	}
	return out, nil
}

func (e *slowEngine) Repeats(_ context.Context, _ string, rs []engine.Repeat, _ time.Time) (out []engine.Placed, rest []int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out = make([]engine.Placed, len(rs))
	for i, r := range rs {
		if e.observed[r.UID] == 0 {
			rest = append(rest, i)
			continue
		}
		e.repeated++
		out[i] = engine.Placed{UID: r.UID, CaseID: r.UID, Placement: correlate.Sighting}
	}
	return out, rest, nil
}

// fly takes in bodies at once; each is a list of alerts by number.
func fly(t *testing.T, fails func(n int) bool, bodies ...[]int) (*slowEngine, []intake.Answer) {
	e := &slowEngine{t: t, under: map[string]bool{}, observed: map[string]int{}, fails: func(int) bool { return false }}
	in := intake.New(intake.Config{Engine: e, Inbox: inbox{d: &desk{failInbox: errDisk}}, Seal: sealer{}, HashSecret: func(string) string { return "" }, Now: time.Now})
	src := intake.Source{Name: "hub", Tenant: finding.DefaultTenant, Kind: "token"}
	serial := 0
	text := func(numbers []int) []byte {
		var b strings.Builder
		for _, n := range numbers {
			serial++
			fmt.Fprintf(&b, `{"SchemaVersion":"2018-10-08","Id":"finding/%d","ProductArn":"arn:aws:securityhub:eu-west-1::product/aws/securityhub",`+
				`"GeneratorId":"security-control/S3.2","AwsAccountId":"123456789012","CreatedAt":"2026-11-01T08:00:00.000Z","Severity":{"Label":"HIGH"},"Title":"t",`+
				`"Resources":[{"Type":"AwsS3Bucket","Id":"arn:aws:s3:::b-%d"}],"Compliance":{"Status":"FAILED"},"UserDefinedFields":{"serial":"%d"}}`+"\n", n, n, serial)
		}
		return []byte(b.String())
	}
	if a := in.Take(t.Context(), src, "", text([]int{-1})); a.Status != http.StatusOK { // the source has a format now
		t.Fatalf("%+v", a)
	}
	e.commits, e.fails = 0, fails
	answers := make([]intake.Answer, len(bodies))
	var wg sync.WaitGroup
	for i, numbers := range bodies {
		body := text(numbers)
		wg.Go(func() { answers[i] = in.Take(t.Context(), src, "", body) })
	}
	wg.Wait()
	return e, answers
}

// TestSameAlertAtOnce: an alert that another request reads and commits just now
// waits for it and is a repeat then; requests that want each other's alerts do
// not wait for ever; nobody is answered before what he sent is committed.
func TestSameAlertAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := func(int) bool { return false }
		e, answers := fly(t, never, []int{1, 2, 2}, []int{2, 1}, []int{1}, []int{3, 1, 2})
		if len(e.observed) != 4 || e.repeated != 6 {
			t.Errorf("read %v, repeats %d; want 4 and 6", e.observed, e.repeated)
		}
		for i, want := range []int{3, 2, 1, 3} {
			a := answers[i]
			if a.Status != http.StatusOK || a.Read != want || a.Kept != want || len(a.Results) != want || !a.Stored {
				t.Errorf("body %d: %+v", i, a)
			}
		}
		// The first commit fails: its sender is told, the others commit themselves.
		e, answers = fly(t, func(n int) bool { return n == 0 }, []int{1}, []int{1}, []int{1})
		failed := 0
		for _, a := range answers {
			if a.Status == http.StatusServiceUnavailable && !a.Stored {
				failed++
			} else if a.Status != http.StatusOK {
				t.Errorf("%+v", a)
			}
		}
		if failed != 1 || len(e.observed) != 2 {
			t.Errorf("%d failed, observed %v", failed, e.observed)
		}
	})
}

// TestSameAlertsAtOnce: whatever many requests hold in common, each alert that
// is answered for was committed once as new, and each other copy counted.
func TestSameAlertsAtOnce(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			bodies, sent := make([][]int, 2+rnd.IntN(8)), 0
			for i := range bodies {
				bodies[i] = make([]int, 1+rnd.IntN(6))
				for k := range bodies[i] {
					bodies[i][k] = rnd.IntN(8)
				}
				sent += len(bodies[i])
			}
			e, answers := fly(t, func(int) bool { return false }, bodies...)
			kept := 0
			for i, a := range answers {
				kept += a.Kept
				for k, r := range a.Results {
					if r.CaseID == "" {
						t.Errorf("seed %d: alert %d of body %d has no result", seed, k, i)
					}
				}
			}
			if news := len(e.observed) - 1; kept != sent || e.repeated != sent-news {
				t.Errorf("seed %d: sent %d, kept %d, new %d, repeats %d", seed, sent, kept, news, e.repeated)
			}
			for uid, n := range e.observed {
				if n != 1 {
					t.Errorf("seed %d: %s was new %d times", seed, uid, n)
				}
			}
		})
	}
}

// TestFindingsAtWork: however many come at once, 256 are placed, judged and
// committed at a time; the others wait for their turn, and all are answered.
func TestFindingsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bodies := make([][]int, 20)
		for i := range bodies {
			for k := range 100 {
				bodies[i] = append(bodies[i], 100*i+k)
			}
		}
		e, answers := fly(t, func(int) bool { return false }, bodies...)
		if e.most > 256 || e.most <= 100 {
			t.Errorf("%d findings at a time, want up to 256", e.most)
		}
		if len(e.observed) != 2001 {
			t.Errorf("%d findings observed", len(e.observed))
		}
		for i, a := range answers {
			if a.Status != http.StatusOK || a.Kept != 100 {
				t.Errorf("body %d: %+v", i, a)
			}
		}
	})
}

// TestBusyAnswerIsHeldBack: who is told that there is no room hears it late, so
// that coming again at once costs little; a sender who left is not waited for.
func TestBusyAnswerIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &slowEngine{t: t, under: map[string]bool{}, observed: map[string]int{}, fails: func(int) bool { return false }}
		in := intake.New(intake.Config{Engine: e, Inbox: inbox{d: &desk{failInbox: errDisk}}, Seal: sealer{}, HashSecret: func(string) string { return "" }, Now: time.Now, Inflight: 1,
			Token: func(context.Context, string) (intake.Source, error) {
				return intake.Source{Name: "hub", Tenant: finding.DefaultTenant, Kind: "token"}, nil
			}})
		send := func(ctx context.Context, body io.Reader) (*httptest.ResponseRecorder, time.Duration) {
			r, begun := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/alerts", body), time.Now()
			r.Header.Set("Authorization", "Bearer token")
			w := httptest.NewRecorder()
			in.ServeAlerts(w, r)
			return w, time.Since(begun)
		}
		slow, end := io.Pipe()
		done := make(chan int)
		go func() {
			w, _ := send(t.Context(), slow)
			done <- w.Code
		}()
		synctest.Wait() // the one request that there is room for
		w, took := send(t.Context(), strings.NewReader("{}"))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || took != 250*time.Millisecond {
			t.Errorf("no room: %d %v after %s", w.Code, w.Header(), took)
		}
		gone, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		if w, took := send(gone, strings.NewReader("{}")); w.Code != http.StatusServiceUnavailable || took != time.Millisecond {
			t.Errorf("the sender left: %d after %s", w.Code, took)
		}
		end.CloseWithError(io.ErrUnexpectedEOF)
		if code := <-done; code != http.StatusBadRequest {
			t.Errorf("the slow sender: %d", code)
		}
	})
}
