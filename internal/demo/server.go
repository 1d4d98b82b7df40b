package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/casement/casement/internal/app"
)

// server is the child process that runs Casement, and the parent's way to it.
type server struct {
	dir, exe string
	url      string
	token    string
	cmd      *exec.Cmd
	in       io.WriteCloser
	said     chan reply
	stderr   *os.File
}

// order is one line from the parent to the child; reply is one line back.
type (
	order struct {
		// Do is "hold": stop at the failpoint At, and stay there.
		Do string `json:"do"`
		At string `json:"at,omitempty"`
	}
	reply struct {
		// Is is "ready", "holding", "done" or "failed".
		Is       string `json:"is"`
		URL      string `json:"url,omitempty"`
		Verifier string `json:"verifier,omitempty"`
		Error    string `json:"error,omitempty"`
	}
)

// startWithin bounds the start of the child, with its migrations.
const startWithin = 20 * time.Second

// start runs the child and waits until it serves.
func (s *server) start(ctx context.Context) error {
	var err error
	if s.stderr, err = os.OpenFile(filepath.Join(s.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	// The child is ended by us and in order, not by the signal that ends ctx.
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), s.exe, "demo", "--serve", s.dir)
	s.cmd.Stderr = s.stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.said = make(chan reply, 4)
	go listen(out, s.said)
	r, err := s.hear(ctx, startWithin)
	if err != nil {
		return err
	}
	s.url = r.URL
	if err := os.WriteFile(filepath.Join(s.dir, verifierFile), []byte(r.Verifier+"\n"), 0o600); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "data", app.AddressFile))
	if err != nil {
		return err
	}
	var at app.Address
	if err := json.Unmarshal(b, &at); err != nil {
		return fmt.Errorf("%s: %w", app.AddressFile, err)
	}
	s.token = at.Token
	return nil
}

// listen hands on what the child says; the channel is closed when it ends.
func listen(r io.Reader, to chan<- reply) {
	defer close(to)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var x reply
		if json.Unmarshal(lines.Bytes(), &x) == nil {
			to <- x
		}
	}
}

// hear waits for the child's next word.
func (s *server) hear(ctx context.Context, within time.Duration) (reply, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-t.C:
		return reply{}, fmt.Errorf("the server said nothing for %s; see %s", within, s.stderr.Name())
	case r, ok := <-s.said:
		switch {
		case !ok:
			return r, fmt.Errorf("the server ended by itself; see %s", s.stderr.Name())
		case r.Is == "failed":
			return r, errors.New("the server: " + r.Error)
		}
		return r, nil
	}
}

// tell gives the child an order; its answer is heard by hear.
func (s *server) tell(o order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = s.in.Write(append(b, '\n'))
	return err
}

// kill ends the child with SIGKILL: it gets no chance to tidy up.
func (s *server) kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	return s.gone()
}

// stop lets the child finish what is under way.
func (s *server) stop() error {
	if s.cmd == nil || s.cmd.Process == nil {
		return nil
	}
	_ = s.in.Close() // its end is the order to stop
	t := time.AfterFunc(25*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer t.Stop()
	return s.gone()
}

// gone waits for the end of the child.
func (s *server) gone() error {
	for range s.said { // until its output ends
	}
	err := s.cmd.Wait()
	s.cmd = nil
	_ = s.in.Close()
	_ = s.stderr.Close()
	var ended *exec.ExitError
	if errors.As(err, &ended) && strings.Contains(ended.Error(), "killed") {
		return nil
	}
	return err
}
