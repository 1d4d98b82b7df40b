package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a server under test: the product, or the floors.
type process struct {
	cmd    *exec.Cmd
	addr   string
	token  string // source token of the product
	folder string
	stderr *bytes.Buffer
	admin  string
	// ready is how long it took from exec to the first answer of /readyz.
	ready time.Duration
	// done is closed when the process has ended, with err as it ended.
	done chan struct{}
	err  error
}

// start runs the command and watches it.
func (p *process) start() error {
	p.stderr, p.done = &bytes.Buffer{}, make(chan struct{})
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return nil
}

// startFloors runs this program's floors in a process of their own, so that
// their CPU time is theirs.
func startFloors(ctx context.Context, folder, sink string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, "-floors", "-sink", sink, "-dir", folder)}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p.cmd.Stdout = w
	err = errors.Join(p.start(), w.Close())
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(r, &p.addr); err != nil {
		p.kill()
		return nil, fmt.Errorf("floors: %w: %s", err, p.stderr)
	}
	return p, nil
}

// startProduct runs `casement serve` on a data folder. config may be "", and so
// may the URL of a PostgreSQL database.
func startProduct(ctx context.Context, binary, folder, config, database string) (*process, error) {
	args := []string{"serve", "--data", filepath.Join(folder, "data"), "--listen", "127.0.0.1:0"}
	if config != "" {
		args = append(args, "--config", config)
	}
	if database != "" {
		args = append(args, "--database", database)
	}
	p := &process{cmd: exec.CommandContext(ctx, binary, args...), folder: folder}
	p.cmd.Dir = folder
	p.cmd.Env = append(os.Environ(), "CASEMENT_BENCH_SIGNING=whsec_YSBzZWNyZXQgb2YgdGhlIGJlbmNoIGFsb25l")
	address := filepath.Join(folder, "data", "server.json")
	if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	start := time.Now()
	if err := p.start(); err != nil {
		return nil, err
	}
	for {
		select {
		case <-p.done:
			return nil, fmt.Errorf("casement serve ended: %w: %s", p.err, p.stderr)
		default:
		}
		if p.look(address) {
			p.ready = time.Since(start)
			return p, nil
		}
		if time.Since(start) > time.Minute {
			p.kill()
			return nil, fmt.Errorf("casement serve is not ready after a minute: %s", p.stderr)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// look reads the address file and asks whether the server is ready.
func (p *process) look(address string) bool {
	b, err := os.ReadFile(address)
	var a struct{ URL, Token string }
	if err != nil || json.Unmarshal(b, &a) != nil {
		return false
	}
	p.addr, p.admin = strings.TrimPrefix(a.URL, "http://"), a.Token
	resp, err := http.Get(a.URL + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// call is one request to the product's API as its operator.
func (p *process) call(method, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://"+p.addr+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.admin)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer.String())
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer.Bytes(), out)
}

// enrol makes the account and the token of a source, once per data folder.
func (p *process) enrol() error {
	file := filepath.Join(p.folder, "token")
	if b, err := os.ReadFile(file); err == nil {
		p.token = string(b)
		return nil
	}
	if err := p.call("POST", "/api/v1/users", map[string]any{"name": "bench", "roles": "source", "password": "long enough for a bench"}, nil); err != nil {
		return err
	}
	var out struct{ Secret string }
	if err := p.call("POST", "/api/v1/tokens", map[string]any{"user": "bench", "name": "bench", "roles": "source", "expires": time.Now().Add(24 * time.Hour)}, &out); err != nil {
		return err
	}
	p.token = out.Secret
	return os.WriteFile(file, []byte(p.token), 0o600)
}

func (p *process) alerts() target { return target{p.addr, "/api/v1/alerts", p.token} }

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the server to end and waits.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	<-p.done
}
