package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// person is somebody who signs in with a name and a password.
type person struct {
	name, password, id string
	http               *http.Client
}

// call speaks to the server's API with the token of its data folder.
func (s *server) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	switch v := in.(type) {
	case nil:
	case []byte:
		body = v
	default:
		var err error
		if body, err = json.Marshal(v); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	return do(&http.Client{Timeout: time.Minute}, req, out)
}

// do sends a request and decodes a JSON answer, or copies it to a writer.
func do(c *http.Client, req *http.Request, out any) error {
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	if w, ok := out.(io.Writer); ok && resp.StatusCode == http.StatusOK {
		_, err = io.Copy(w, resp.Body)
		return err
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%s %s: %s: %.300s", req.Method, req.URL.Path, resp.Status, bytes.TrimSpace(b))
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// answer is what intake says of a body.
type answer struct {
	Kept    int `json:"kept"`
	Results []struct {
		Case      string `json:"case"`
		Placement string `json:"placement"`
	} `json:"results"`
}

// cases returns the ids of the cases the findings went to, in order, each once.
func (a answer) cases() []string {
	var out []string
	seen := map[string]bool{}
	for _, r := range a.Results {
		if r.Case != "" && !seen[r.Case] {
			seen[r.Case] = true
			out = append(out, r.Case)
		}
	}
	return out
}

// alert sends alerts as a tool with a token would.
func (s *server) alert(ctx context.Context, body []byte) (answer, error) {
	var a answer
	err := s.call(ctx, http.MethodPost, "/api/v1/alerts", body, &a)
	if err == nil && len(a.Results) == 0 {
		err = errors.New("the alerts were not taken")
	}
	return a, err
}

// hook sends a webhook as GitHub would, signed with the shared secret.
func (s *server) hook(ctx context.Context, event, secret string, body []byte) (answer, error) {
	var a answer
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/hooks/github", bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	req.Header.Set("X-GitHub-Event", event)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(m.Sum(nil)))
	return a, do(&http.Client{Timeout: time.Minute}, req, &a)
}

// load reads a case.
func (s *server) load(ctx context.Context, id string) (remedy.Case, error) {
	var v struct {
		Case remedy.Case `json:"case"`
	}
	err := s.call(ctx, http.MethodGet, "/api/v1/cases/"+url.PathEscape(id), nil, &v)
	return v.Case, err
}

// event is one event of a case as the API shows it.
type event struct {
	At   time.Time       `json:"at"`
	Type string          `json:"type"`
	By   remedy.Actor    `json:"by"`
	Body json.RawMessage `json:"body"`
}

func (s *server) events(ctx context.Context, id string) ([]event, error) {
	var v struct {
		Events []event `json:"events"`
	}
	err := s.call(ctx, http.MethodGet, "/api/v1/cases/"+url.PathEscape(id)+"/events", nil, &v)
	return v.Events, err
}

// body decodes the newest event of a type; false if there is none.
func newest[T remedy.Body](evs []event) (T, bool) {
	var v T
	for i := len(evs) - 1; i >= 0; i-- {
		if evs[i].Type == v.Type() {
			return v, json.Unmarshal(evs[i].Body, &v) == nil
		}
	}
	return v, false
}

// every decodes all events of a type, oldest first.
func every[T remedy.Body](evs []event) []T {
	var out []T
	for _, e := range evs {
		var v T
		if e.Type == v.Type() && json.Unmarshal(e.Body, &v) == nil {
			out = append(out, v)
		}
	}
	return out
}

// hire makes an account.
func (s *server) hire(ctx context.Context, name, password, roles string) (*person, error) {
	var u struct {
		ID string `json:"id"`
	}
	err := s.call(ctx, http.MethodPost, "/api/v1/users", map[string]string{"name": name, "password": password, "roles": roles}, &u)
	jar, _ := cookiejar.New(nil) // nil options: cannot fail
	return &person{name: name, password: password, id: u.ID, http: &http.Client{Timeout: time.Minute, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, err
}

// post posts a form as a browser would, in the person's session.
func (p *person) post(ctx context.Context, base, path string, values map[string]string) error {
	if err := p.signIn(ctx, base); err != nil {
		return err
	}
	return p.form(ctx, base+path, values)
}

func (p *person) form(ctx context.Context, address string, values map[string]string) error {
	f := url.Values{}
	for k, v := range values {
		f.Set(k, v)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(f.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(p.http, req, io.Discard)
}

// signIn opens a session, once.
func (p *person) signIn(ctx context.Context, base string) error {
	u, err := url.Parse(base)
	if err != nil || len(p.http.Jar.Cookies(u)) > 0 {
		return err
	}
	return p.form(ctx, base+"/login", map[string]string{"name": p.name, "password": p.password})
}

// call speaks to the API in the person's session.
func (p *person) call(ctx context.Context, base, method, path string, in, out any) error {
	if err := p.signIn(ctx, base); err != nil {
		return err
	}
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	return do(p.http, req, out)
}
