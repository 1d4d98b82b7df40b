package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// message is the body of a webhook. It holds no time and no key: these are in
// the headers, so that the same plan always has the same body.
type message struct {
	Type string `json:"type"`
	Data data   `json:"data"`
}

type data struct {
	Case   string            `json:"case"`
	Action string            `json:"action"`
	Asset  asset             `json:"asset"`
	Params map[string]string `json:"params,omitempty"`
	// Undoes is the key of the act that is taken back.
	Undoes string `json:"undoes,omitempty"`
}

type asset struct {
	UID      string `json:"uid"`
	Type     string `json:"type,omitempty"`
	Name     string `json:"name,omitempty"`
	Provider string `json:"provider,omitempty"`
	Account  string `json:"account,omitempty"`
	Region   string `json:"region,omitempty"`
}

// handle is the way back of an act. Before and After are digests of the state;
// After is "" where the state had not moved yet.
type handle struct {
	Data   data   `json:"data"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "webhook has no verb %q", verb)
}

// body returns the exact bytes of a message.
func body(kind string, d data) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(message{Type: kind, Data: d}); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// Plan implements connector.Planner: the plan is the body.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	if verb != VerbCall || c.cfg.URL == "" {
		return remedy.Plan{}, noVerb(verb)
	}
	ctx = connector.WithRequest(ctx, r)
	b, err := body("casement.action.call", data{Case: r.CaseID, Action: r.ActionID, Params: r.Params,
		Asset: asset{r.Asset.UID, r.Asset.Type, r.Asset.Name, r.Asset.Provider, r.Asset.Account, r.Asset.Region}})
	if err != nil {
		return remedy.Plan{}, err
	}
	p := remedy.Plan{Data: string(b), Undo: "no way back is configured",
		Text:  fmt.Sprintf("POST to %s, signed:\n%s", host(c.cfg.URL), b),
		Blast: "what the receiver at " + host(c.cfg.URL) + " does with " + r.Asset.UID}
	if c.cfg.UndoURL != "" {
		p.Undo = "POST of the undo to " + host(c.cfg.UndoURL)
	}
	before := "not read"
	if c.cfg.State.URL != "" {
		s, err := c.state(ctx, r)
		if err != nil {
			return p, connector.ReadOnly(err)
		}
		before = s.digest
	}
	p.BeforeDigest = before
	return p, nil
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	if verb != VerbCall || c.cfg.URL == "" {
		return connector.Outcome{}, noVerb(verb)
	}
	ctx = connector.WithRequest(ctx, r)
	var m message
	if err := json.Unmarshal([]byte(r.Plan.Data), &m); err != nil || m.Type == "" {
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the plan is not one of this connector")
	}
	m.Data.Undoes = r.Key
	h := handle{Data: m.Data, Before: r.Plan.BeforeDigest}
	if c.cfg.State.URL != "" {
		s, err := c.state(ctx, r)
		if err != nil {
			return connector.Outcome{}, connector.ReadOnly(err)
		}
		if s.result == remedy.NotExposed {
			h.After = s.digest
			return connector.Outcome{UndoHandle: h.text(), Ref: r.Key, Nothing: true, Detail: "the state is not exposed already: " + s.detail}, nil
		}
		if s.digest != r.Plan.BeforeDigest {
			return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the state of %s was changed by somebody else meanwhile", r.Asset.UID)
		}
	}
	if err := c.post(ctx, c.cfg.URL, r.Key, r.Now, []byte(r.Plan.Data)); err != nil {
		return connector.Outcome{}, err
	}
	if c.cfg.State.URL != "" {
		// Only for the way back: whether it worked is the probe's business.
		if s, err := c.state(ctx, r); err == nil && s.result == remedy.NotExposed {
			h.After = s.digest
		}
	}
	return connector.Outcome{UndoHandle: h.text(), Ref: r.Key, Detail: "accepted by " + host(c.cfg.URL)}, nil
}

func (h handle) text() string {
	b, err := json.Marshal(h)
	if err != nil { // strings: cannot fail
		return ""
	}
	return string(b)
}

// Undo implements connector.Actor.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	if verb != VerbCall || c.cfg.UndoURL == "" {
		return connector.Outcome{}, noVerb(verb)
	}
	ctx = connector.WithRequest(ctx, r)
	var h handle
	if err := json.Unmarshal([]byte(r.UndoHandle), &h); err != nil || h.Data.Undoes == "" {
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the undo handle is not one of this connector")
	}
	if c.cfg.State.URL != "" {
		s, err := c.state(ctx, r)
		if err != nil {
			return connector.Outcome{}, connector.ReadOnly(err)
		}
		switch {
		case s.digest == h.Before:
			return connector.Outcome{Nothing: true, Ref: r.Key, Detail: "the state is as it was before the act"}, nil
		case h.After != "" && s.digest != h.After, s.result != remedy.NotExposed:
			return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the state of %s was changed by somebody else meanwhile: undoing would overwrite it", r.Asset.UID)
		}
	}
	b, err := body("casement.undo.call", h.Data)
	if err != nil {
		return connector.Outcome{}, err
	}
	if err := c.post(ctx, c.cfg.UndoURL, r.Key, r.Now, b); err != nil {
		return connector.Outcome{}, err
	}
	return connector.Outcome{Ref: r.Key, Detail: "undo accepted by " + host(c.cfg.UndoURL)}, nil
}

// post sends one signed message.
func (c *Connector) post(ctx context.Context, address, id string, at time.Time, b []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(b))
	if err != nil {
		return connector.Errorf(connector.KindConfig, "the address of the webhook can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	if len(c.secrets) > 0 {
		Sign(req.Header, c.secrets, id, at, b)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return connector.TransportError("webhook", err)
	}
	defer connector.Finish(resp)
	if e := connector.StatusError("webhook to "+req.URL.Host, resp, at); e != nil {
		if resp.StatusCode == http.StatusGone {
			e.Msg += ": the receiver wants no more messages, remove or replace the address"
		}
		return e
	}
	return nil
}

// host is the part of an address that may be shown.
func host(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	h, _, _ := strings.Cut(rest, "/")
	h, _, _ = strings.Cut(h, "?")
	return h
}

type seen struct {
	result remedy.Result
	digest string
	detail string
}

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	if verb != VerbState || c.cfg.State.URL == "" {
		return remedy.Observation{}, noVerb(verb)
	}
	o := remedy.Observation{Result: remedy.Inconclusive, Grade: remedy.P2, Place: c.cfg.Place, At: r.Now}
	s, err := c.state(connector.WithRequest(ctx, r), r)
	if err != nil {
		o.Detail = err.Error()
		return o, nil
	}
	o.Result, o.Detail = s.result, s.detail
	return o, nil
}

// state reads and maps the state. What the mapping does not know is
// inconclusive; what could not be read is an error.
func (c *Connector) state(ctx context.Context, r connector.Request) (seen, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, expand(c.cfg.State.URL, r), nil)
	if err != nil {
		return seen{}, connector.Errorf(connector.KindConfig, "the state address can't be used")
	}
	if c.cfg.State.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.State.Token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return seen{}, connector.TransportError("reading the state", err)
	}
	defer connector.Finish(resp)
	value := strconv.Itoa(resp.StatusCode)
	if c.cfg.State.Path != "" {
		if e := connector.StatusError("reading the state", resp, r.Now); e != nil {
			return seen{}, e
		}
		var doc any
		d := json.NewDecoder(resp.Body)
		d.UseNumber()
		if err := d.Decode(&doc); err != nil {
			return seen{}, connector.Errorf(connector.KindRetry, "reading the state: the answer is not JSON")
		}
		v, ok := at(doc, c.cfg.State.Path)
		if !ok {
			return seen{}, connector.Errorf(connector.KindRetry, "reading the state: the answer has nothing at %q", c.cfg.State.Path)
		}
		value = v
	} else if !slices.Contains(c.cfg.State.Exposed, value) && !slices.Contains(c.cfg.State.NotExposed, value) {
		if e := connector.StatusError("reading the state", resp, r.Now); e != nil {
			return seen{}, e
		}
	}
	s := seen{result: remedy.Inconclusive, digest: connector.Digest(value), detail: req.URL.Host + " says " + shorten(value, 100)}
	switch {
	case slices.Contains(c.cfg.State.Exposed, value):
		s.result = remedy.Exposed
	case slices.Contains(c.cfg.State.NotExposed, value):
		s.result = remedy.NotExposed
	}
	return s, nil
}

// at walks a dotted path; the value is a string, a number, true, false or
// null as text, or compact JSON.
func at(doc any, path string) (string, bool) {
	for step := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			x, ok := v[step]
			if !ok {
				return "", false
			}
			doc = x
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return "", false
			}
			doc = v[i]
		default:
			return "", false
		}
	}
	if s, ok := doc.(string); ok {
		return s, true
	}
	b, err := json.Marshal(doc)
	return string(b), err == nil
}

func shorten(s string, n int) string {
	if len(s) <= n {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:n], "")) + "…"
}
