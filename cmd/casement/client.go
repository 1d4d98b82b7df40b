package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/casement/casement/internal/app"
	"github.com/casement/casement/internal/policy"
	"github.com/casement/casement/internal/store"
)

// client speaks to an install: the server named by CASEMENT_URL, the one that
// holds the data folder, or the data folder itself when no server runs.
type client struct {
	base  string
	token string
	http  *http.Client
	// live is true when a server works off what a command asks for.
	live bool
	// where names the install for people, pages is the address of its pages.
	where, pages string
	// absent says what to do when it does not answer.
	absent string
	close  func() error
	// tickets opens the tickets that wait, where no server does it.
	tickets func(ctx context.Context) error
}

// callTimeout bounds one call; exports and verifications of large ledgers take
// the longest.
const callTimeout = 10 * time.Minute

// connect finds the install. With create, a data folder that is not there is
// made.
func (c *cli) connect(ctx context.Context, create bool) (*client, error) {
	if base := c.env("CASEMENT_URL"); base != "" {
		return remoteClient(base, c.env("CASEMENT_TOKEN"))
	}
	dir, err := c.dataDir()
	if err != nil {
		return nil, err
	}
	ok, err := hasData(dir)
	if err != nil {
		return nil, err
	}
	if !ok && !create {
		return nil, noData(dir)
	}
	if k, err := runningServer(dir); k != nil || err != nil {
		return k, err
	}
	return c.ownApp(ctx, dir)
}

// remoteClient speaks to a server by address and token.
func remoteClient(base, token string) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, failf(codeUsage, "want https://host", "CASEMENT_URL is no address of a server")
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); u.Scheme == "http" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, failf(codeUsage, "use https", "CASEMENT_URL is plain http to another machine: the token would go in clear")
	}
	if token == "" {
		return nil, failf(codeAuth, "casement token create on the server, then set CASEMENT_TOKEN", "CASEMENT_URL is set, but CASEMENT_TOKEN is not")
	}
	k := newClient(strings.TrimSuffix(base, "/"), token, http.DefaultTransport, base)
	k.absent = "check CASEMENT_URL, and that casement serve runs there; without it the server of this machine is asked"
	return k, nil
}

func newClient(base, token string, t http.RoundTripper, where string) *client {
	jar, _ := cookiejar.New(nil) // nil options: cannot fail
	return &client{base: base, token: token, live: true, where: where, pages: base, absent: "casement doctor", close: func() error { return nil },
		http: &http.Client{Transport: t, Jar: jar, Timeout: callTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// runningServer returns a client for the server that holds the data folder, nil
// if none does. A file left behind by a crash is told by nobody answering.
func runningServer(dir string) (*client, error) {
	b, err := os.ReadFile(filepath.Join(dir, app.AddressFile))
	if err != nil {
		return nil, nil //nolint:nilerr // no file, no server; a locked folder is told later
	}
	var at app.Address
	if json.Unmarshal(b, &at) != nil || at.URL == "" {
		return nil, nil
	}
	u, err := url.Parse(at.URL)
	if err != nil {
		return nil, nil //nolint:nilerr // a damaged file is no server
	}
	conn, err := net.DialTimeout("tcp", u.Host, 2*time.Second)
	if err != nil {
		return nil, nil //nolint:nilerr // nobody is there
	}
	if err := conn.Close(); err != nil {
		return nil, err
	}
	return newClient(at.URL, at.Token, localTransport(at.Cert), at.URL), nil
}

// localTransport reaches the server of a data folder. Its certificate may be
// for a name that is not the local one; the address file says which it is.
func localTransport(cert string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if cert == "" {
		return t
	}
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		sum := sha256.Sum256(s.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(cert)) != 1 {
			return errors.New("the certificate is not the one of the running server")
		}
		return nil
	}}
	return t
}

// ownApp opens the data folder for one command: the same handler as the
// server's, called in this process. Nothing is sent and nothing is changed
// outside; what the command asks for happens when the server runs.
func (c *cli) ownApp(ctx context.Context, dir string) (*client, error) {
	l, err := c.config()
	if err != nil {
		return nil, err
	}
	env := app.PolicyEnvironment(l)
	// It listens nowhere; links that are kept name the address of the server.
	base := orWords(l.Server.BaseURL, "http://"+orWords(l.Server.Listen, app.DefaultListen))
	cfg := app.Config{DataDir: dir, Listen: "127.0.0.1:0", BaseURL: base, Environment: &env, Version: buildInfo().Version}
	if err := cfg.Shared(ctx, l); err != nil {
		return nil, &exitError{code: codeConfig, err: err}
	}
	if err := cfg.Senders(l); err != nil {
		return nil, &exitError{code: codeConfig, err: err}
	}
	if l.Policy.Dir != "" {
		if cfg.Policy, err = readPolicy(l.Policy.Dir); err != nil {
			return nil, err
		}
	}
	if cfg.Owners, err = c.readOwners(l.Owners.Files); err != nil {
		return nil, err
	}
	if cfg.KEV, err = app.ReadKEV(l.Policy.KEV); err != nil {
		return nil, &exitError{code: codeConfig, err: err}
	}
	a, err := app.New(ctx, cfg)
	if errors.Is(err, store.ErrLocked) {
		return nil, failf(codeConflict, "if casement serve runs there, wait until it is up; else end that process", "%w", err)
	}
	if errors.Is(err, app.ErrOtherKey) {
		return nil, &exitError{code: codeConfig, err: err}
	}
	var issues policy.Issues
	if as(err, &issues) {
		return nil, &exitError{code: codeConfig, err: located(l.Policy.Dir, issues)}
	}
	if err != nil {
		return nil, err
	}
	k := newClient("https://casement.invalid", a.LocalToken(), inProcess{a.Handler}, dir)
	k.live, k.tickets, k.pages = false, a.OpenTickets, base
	k.close = func() error { return a.Stop(context.WithoutCancel(ctx)) }
	return k, nil
}

// inProcess is a transport that calls a handler directly.
type inProcess struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &answer{header: http.Header{}, status: http.StatusOK}
	r = r.Clone(r.Context())
	r.RemoteAddr, r.RequestURI, r.Host = "127.0.0.1:0", r.URL.RequestURI(), r.URL.Host
	if r.Body == nil {
		r.Body = http.NoBody
	}
	p.h.ServeHTTP(w, r)
	return &http.Response{StatusCode: w.status, Status: http.StatusText(w.status), Header: w.header, Body: io.NopCloser(&w.body), Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(w.body.Len())}, nil
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter; the first call counts.
func (a *answer) WriteHeader(status int) {
	if !a.wrote {
		a.status, a.wrote = status, true
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.wrote = true
	return a.body.Write(b)
}

// problem is an answer that says no (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Error  string `json:"error"`
}

// call sends a request and decodes the answer into out, which may be nil. Its
// errors carry exit codes.
func (k *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	resp, err := k.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return failf(codeRemote, "check that client and server have the same version", "the answer of %s can't be read: %w", k.where, err)
	}
	return nil
}

// send makes one request. The caller closes the body; an answer of 400 and
// above is an error.
func (k *client) send(ctx context.Context, method, path, kind string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, k.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "casement-cli")
	if body != nil {
		r.Header.Set("Content-Type", kind)
	}
	if k.token != "" {
		r.Header.Set("Authorization", "Bearer "+k.token)
	}
	resp, err := k.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may hold more than is meant for a message
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, failf(codeRemote, k.absent, "%s does not answer: %w", k.where, err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusal words an answer that says no, with the exit code that fits.
func refusal(resp *http.Response) error {
	var p problem
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what came is shown
	if json.Unmarshal(b, &p) != nil {
		p.Title = http.StatusText(resp.StatusCode)
	}
	msg := orWords(p.Detail, orWords(p.Error, p.Title))
	if first, _ := utf8.DecodeRuneInString(p.Detail); unicode.IsUpper(first) && p.Title != "" {
		msg = p.Title + ". " + p.Detail // a sentence that goes on from the title
	}
	code, mend := codeRemote, ""
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		code = codeUsage
	case http.StatusUnauthorized:
		code, mend = codeAuth, "make another with casement token create on the server, then set CASEMENT_TOKEN"
	case http.StatusForbidden:
		code = codeAuth
	case http.StatusNotFound, http.StatusGone:
		code = codeNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		code = codeConflict
	case http.StatusRequestEntityTooLarge:
		code = codeError
	case http.StatusInsufficientStorage:
		code, mend = codeFolder, "make room, or name another disk"
	}
	return failf(code, mend, "%s", msg)
}

// missing words that what a command names is not there; other errors stay.
func missing(err error, mend, format string, a ...any) error {
	if codeOf(err) != codeNotFound {
		return err
	}
	return failf(codeNotFound, mend, format, a...)
}

// noCase words that a case is not there.
func noCase(id string, err error) error {
	return missing(err, "casement case list --open all", "there is no case %s", id)
}

// noneOf says which of several cases is not there.
func (k *client) noneOf(ctx context.Context, err error, ids ...string) error {
	for _, id := range ids {
		if codeOf(err) != codeNotFound {
			break
		}
		if _, e := k.oneCase(ctx, id); codeOf(e) == codeNotFound {
			return e
		}
	}
	return err
}

// with connects, runs f and closes.
func (c *cli) with(ctx context.Context, create bool, f func(k *client) error) error {
	k, err := c.connect(ctx, create)
	if err != nil {
		return err
	}
	return firstOf(f(k), k.close())
}

// pending tells that what was asked for waits for the server.
func (c *cli) pending(k *client) {
	if !k.live {
		c.sayf("no server is running: it is done when casement serve runs")
	}
}
