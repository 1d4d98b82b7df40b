// Package demo is the guided run: a real server as a child process, targets
// behind HTTP, sample alerts, and the story of an exposure from the alert to
// its proof, told in eight parts.
//
// It is a room of the roof and may import everything; it starts goroutines
// that end with the run. Invariants: nothing is said that was not looked up in
// the case's events or at the target just before; every statement that counts
// is a claim in claims.jsonl; what judges the claims is another process with
// another reader (internal/witness), and its word is the exit code; everything
// listens on loopback and lives in one temporary folder.
package demo

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/sim"
)

// Options of a run.
type Options struct {
	// Once decides for the reader and waits for nobody.
	Once bool
	// Sabotage breaks one thing on purpose; the run has to fail. See Sabotages.
	Sabotage string
	// Exe is the program itself: server, gate and checker are processes of it.
	Exe string
	// Name is how the reader calls the program.
	Name string
	In   io.Reader
	Out  io.Writer
	// Paint styles a text (SGR parameters) where styles are shown.
	Paint func(style, s string) string
}

// Sabotages lists what can be broken on purpose.
func Sabotages() []string { return []string{"fix-noop", "probe-lies", "target-down", "undo-fails"} }

// ErrFailed says that the run did not end as the story promises; what is wrong
// was printed.
var ErrFailed = errors.New("the demo did not end as it should")

// The names of the story.
const (
	crmGrant = "grant-7"
	crmKeep  = "contacts.read"
)

// stage is one run.
type stage struct {
	Options
	dir    string
	world  *sim.World
	server *server
	claims *claims
	out    *printer
	keys   <-chan string
	anna   *person
	ben    *person
	secret string
	cast   []member
	// tellers hold what was told of each case.
	tellers map[string]*teller
}

// member is a case of the closing table.
type member struct{ name, id, note string }

// note says in the closing table why a case is still open.
func (s *stage) note(id, text string) {
	for i := range s.cast {
		if s.cast[i].id == id {
			s.cast[i].note = text
		}
	}
}

// Run tells the story. It returns ErrFailed when something was not as
// promised; then the folder with all evidence is kept and named.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "casement-demo-")
	if err != nil {
		return err
	}
	s := &stage{Options: o, dir: dir, tellers: map[string]*teller{}, out: &printer{w: o.Out, paint: o.Paint, start: time.Now()}}
	defer func() {
		switch {
		case err == nil || ctx.Err() != nil:
			err = errors.Join(err, os.RemoveAll(dir))
		default:
			s.out.print("\nKept for you to look at: %s\n  claims.jsonl, ledger.jsonl, targets.jsonl, server.log", dir)
		}
	}()
	if err := s.setUp(ctx); err != nil {
		return errors.Join(err, s.tearDown())
	}
	broke := s.play(ctx)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), s.tearDown())
	}
	if broke != nil {
		s.out.print("\n%s %v", s.Paint(red, "The story stops here:"), broke)
	}
	verdict := s.judge(ctx)
	if broke == nil && verdict == nil {
		s.lookAround(ctx)
		s.lastLine()
	}
	err = s.tearDown()
	if broke != nil || verdict != nil {
		return errors.Join(ErrFailed, err)
	}
	return err
}

// setUp starts targets, server and people.
func (s *stage) setUp(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.dir, targetsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte(rand.Text()))
	if s.world, err = sim.NewWorld(sim.Options{Log: log, SinkSecrets: []string{s.secret}}); err != nil {
		return err
	}
	if s.claims, err = newClaims(s.dir); err != nil {
		return err
	}
	crm := s.world.Grant(crmGrant, "crm-sync", "mail.readwrite files.all "+crmKeep)
	assets := s.world.Bucket("acme-storefront")
	health := s.world.App("storefront", assets.Public)
	x := setup{Listen: "127.0.0.1:0", S3: s.world.URL(sim.ServiceS3), OAuth: s.world.URL(sim.ServiceOAuth), Sink: s.world.URL(sim.ServiceSink),
		Health: health, CRMToken: crm.Token(), Secret: s.secret}
	if err := x.save(s.dir); err != nil {
		return err
	}
	s.server = &server{dir: s.dir, exe: s.Exe}
	if err := s.server.start(ctx); err != nil {
		return err
	}
	// A restarted server is where it was.
	x.Listen = strings.TrimPrefix(s.server.url, "http://")
	if err := x.save(s.dir); err != nil {
		return err
	}
	if s.anna, err = s.server.hire(ctx, "anna", strings.ToLower(rand.Text())[:16], "approver"); err != nil {
		return err
	}
	if s.ben, err = s.server.hire(ctx, "ben", strings.ToLower(rand.Text())[:16], "responder"); err != nil {
		return err
	}
	if !s.Once {
		s.keys = readLines(s.In)
	}
	s.out.print("%s", s.Paint(bold, "Casement, from alert to proof"))
	s.out.print("A real server, real HTTP, a sample policy; the targets are simulated. All of it\nis on this machine, in %s.", s.dir)
	s.out.print("\n   pages   %s   sign in: anna / %s", s.server.url, s.anna.password)
	if s.Sabotage != "" {
		s.out.print("   %s", s.Paint(yellow, "sabotage: "+s.Sabotage+"; this run has to fail"))
	}
	return nil
}

// readLines hands on what the reader types, line by line.
func readLines(r io.Reader) <-chan string {
	out := make(chan string)
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			out <- strings.ToLower(strings.TrimSpace(lines.Text()))
		}
	}()
	return out
}

// play tells the parts in their order, up to the first that breaks.
func (s *stage) play(ctx context.Context) error {
	for i, part := range []func(context.Context) error{s.truth, s.liar, s.decision, s.restraint, s.everyday, s.crash, s.table} {
		s.claims.scene = i + 1
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tearDown ends everything, in the reverse order.
func (s *stage) tearDown() error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.stop())
	}
	if s.world != nil {
		errs = append(errs, s.world.Close())
	}
	if s.claims != nil {
		errs = append(errs, s.claims.f.Close())
	}
	return errors.Join(errs...)
}

// judge exports the ledger and lets another process compare.
func (s *stage) judge(ctx context.Context) error {
	s.out.print("\n%s", s.Paint(bold, "   Checked by another process, against the ledger and the targets' own logs"))
	f, err := os.OpenFile(filepath.Join(s.dir, ledgerFile), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(s.server.call(ctx, http.MethodGet, "/api/v1/ledger/export", nil, f), f.Close())
	if err != nil {
		s.out.line(red, "ledger", "could not be exported: %v", err)
		return err
	}
	out, err := exec.CommandContext(ctx, s.Exe, "demo", "--check", filepath.Join(s.dir, claimsFile)).CombinedOutput()
	for l := range strings.SplitSeq(strings.TrimRight(string(out), "\n"), "\n") {
		s.out.print("   %s", l)
	}
	return err
}

// lookAround leaves everything running until the reader has seen enough.
func (s *stage) lookAround(ctx context.Context) {
	if s.Once {
		return
	}
	s.out.print("\n   Look around: %s (anna / %s), %s ledger verify --data %s", s.server.url, s.anna.password, s.Name, filepath.Join(s.dir, "data"))
	s.out.print("   Enter stops everything.")
	s.key(ctx)
}

// lastLine names the next command.
func (s *stage) lastLine() {
	s.out.print("\n%s  %s try alerts.json", s.Paint(bold, "Your own alerts, nothing stored and nothing touched:"), s.Name)
}

// key waits for a line of the reader, or the end.
func (s *stage) key(ctx context.Context) string {
	select {
	case <-ctx.Done():
		return ""
	case k := <-s.keys:
		return k
	}
}

// until polls a case until it is as wanted; the last sight of it comes back in
// any case.
func (s *stage) until(ctx context.Context, id string, within time.Duration, wanted func(remedy.Case) bool) (remedy.Case, error) {
	end := time.Now().Add(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := s.server.load(ctx, id)
		if err != nil || wanted(c) || time.Now().After(end) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return c, ctx.Err()
		case <-tick.C:
		}
	}
}

// outside asks for an address as an outsider, as curl would, and claims the
// answer.
func (s *stage) outside(ctx context.Context, subject, address, want, state string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "casement-demo/outsider")
	saw := "no answer"
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err == nil {
		saw = fmt.Sprint(resp.StatusCode)
		_ = resp.Body.Close() // the status is all we want
	}
	return saw, s.claims.put(claim{Kind: "outside", Subject: subject, Want: want, Saw: saw, State: state})
}
