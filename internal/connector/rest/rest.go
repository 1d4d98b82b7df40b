// Package rest is the kit that connectors of REST systems are built from:
// authorization, classified errors, Retry-After, rate-limit room, paging and
// redaction, so that a new system is a handful of typed calls.
//
// It may import connector; connectors import it, it imports none of them.
// Invariants: a credential is in no error; an answer is bounded; a call that
// the target's rate limit would refuse is not sent; an error says whether the
// world may have been touched.
package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/casement/casement/internal/connector"
)

// Auth puts the credential into a request.
type Auth func(*http.Request)

// Bearer authorizes by a bearer token (RFC 6750).
func Bearer(token string) Auth {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// Basic authorizes by user and password (RFC 7617).
func Basic(user, password string) Auth {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

// Header authorizes by a header of its own: Header("Authorization", "token …").
func Header(name, value string) Auth {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// Options set up a Client. Base and Now are required.
type Options struct {
	// Base is the address that paths are added to, https://host/prefix.
	Base string
	Auth Auth
	// Secrets are taken out of everything that comes back in errors.
	Secrets []string
	HTTP    connector.HTTPOptions
	// Wrap, if set, goes round the transport: a recorder in tests.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Now is the clock, UTC.
	Now func() time.Time
}

// Client calls one REST system. It is safe for concurrent use.
type Client struct {
	base   *url.URL
	auth   Auth
	redact connector.Redactor
	client *http.Client
	now    func() time.Time

	mu   sync.Mutex
	room Room
}

// New checks the options; nothing is dialled.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("url: want an http or https address without user, password and query")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	c := &Client{base: u, auth: o.Auth, redact: connector.NewRedactor(o.Secrets...), client: connector.NewHTTPClient(o.HTTP), now: o.Now}
	if o.Wrap != nil {
		c.client.Transport = o.Wrap(c.client.Transport)
	}
	return c, nil
}

// Call is one exchange. In is sent as JSON unless nil; Out receives the JSON of
// a 2xx answer unless nil.
type Call struct {
	// What names the call in errors: "creating the issue".
	What         string
	Method, Path string
	Query        url.Values
	In, Out      any
	// Type is the content type of In, application/json if empty.
	Type string
	// Reads: the call changes nothing, whatever its method; GET and HEAD do so
	// by themselves. Its failures are never unsure.
	Reads bool
}

// Answer is what came back beside the body.
type Answer struct {
	Status int
	Header http.Header
}

// maxSaid bounds what an error quotes of an answer, in bytes.
const maxSaid = 300

// Do makes one call. Its error is a *connector.Error; for a status of 400 and
// above it quotes what the target said, without secrets, and the answer comes
// back beside it.
func (c *Client) Do(ctx context.Context, x Call) (Answer, error) {
	a, err := c.do(ctx, x)
	if err != nil {
		err = c.redact.Error(err)
		if x.Reads || x.Method == http.MethodGet || x.Method == http.MethodHead {
			err = connector.ReadOnly(err)
		}
	}
	return a, err
}

func (c *Client) do(ctx context.Context, x Call) (Answer, error) {
	if wait := c.Room().wait(c.now()); wait > 0 {
		return Answer{}, &connector.Error{Kind: connector.KindRetry, After: wait, Msg: x.What + ": the target's rate limit is used up"}
	}
	var body io.Reader
	if x.In != nil {
		b, err := json.Marshal(x.In)
		if err != nil {
			return Answer{}, connector.Errorf(connector.KindRefused, "%s: the request can't be written as JSON: %v", x.What, err)
		}
		body = bytes.NewReader(b)
	}
	u := *c.base
	u.Path, u.RawPath = "", ""
	full := u.String() + c.base.EscapedPath() + x.Path
	if len(x.Query) > 0 {
		full += "?" + x.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, x.Method, full, body)
	if err != nil {
		return Answer{}, connector.Errorf(connector.KindConfig, "%s: the address can't be used", x.What)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", cmp.Or(x.Type, "application/json"))
	}
	if c.auth != nil {
		c.auth(req)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return Answer{}, connector.TransportError(x.What, err)
	}
	defer connector.Finish(resp)
	c.learn(resp)
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if e := connector.StatusError(x.What, resp, c.now()); e != nil {
		if said := saidIn(resp); said != "" {
			e.Msg += " (" + said + ")"
		}
		return a, e
	}
	if x.Out == nil {
		return a, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(x.Out); err != nil {
		// The target did it and said so; only its words are lost.
		return a, &connector.Error{Kind: connector.KindUnsure, Msg: fmt.Sprintf("%s: the answer %d is not the JSON that was expected", x.What, resp.StatusCode), Err: err}
	}
	return a, nil
}

// saidIn is the reason in an error answer, in the shapes that REST systems use.
func saidIn(resp *http.Response) string {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err != nil || len(b) == 0 {
		return ""
	}
	var doc struct {
		Message       string            `json:"message"`
		ErrorMessages []string          `json:"errorMessages"`
		Errors        map[string]string `json:"errors"`
		ErrorSummary  string            `json:"errorSummary"`
		Detail        string            `json:"detail"`
	}
	if json.Unmarshal(b, &doc) != nil && doc.Message == "" && len(doc.ErrorMessages) == 0 {
		return ""
	}
	parts := doc.ErrorMessages
	for _, s := range []string{doc.Message, doc.ErrorSummary, doc.Detail} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	for _, field := range sortedKeys(doc.Errors) {
		parts = append(parts, field+": "+doc.Errors[field])
	}
	return oneLine(strings.Join(parts, "; "))
}

// oneLine makes a target's words safe to show in one line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + " …"
	}
	return s
}
