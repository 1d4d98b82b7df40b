package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// token is what introspection says of a token.
type token struct {
	active bool
	// scopes is nil where the server did not name them, which RFC 7662 allows.
	scopes []string
	client string
	exp    int64
}

func (t token) digest() string {
	return connector.Digest(strconv.FormatBool(t.active), t.client, strings.Join(t.scopes, " "), strconv.FormatInt(t.exp, 10))
}

// form posts a token to an endpoint of the server.
func (c *Connector) form(ctx context.Context, address, secret string) (*http.Response, error) {
	body := url.Values{"token": {secret}, "token_type_hint": {"access_token"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, connector.Errorf(connector.KindConfig, "the address of the server can't be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749 2.3.1: both parts are form-encoded first.
	req.SetBasicAuth(url.QueryEscape(c.cfg.ClientID), url.QueryEscape(c.cfg.ClientSecret))
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, connector.TransportError("token", err)
	}
	return resp, nil
}

func (c *Connector) introspect(ctx context.Context, s subject, r connector.Request) (token, error) {
	resp, err := c.form(ctx, c.cfg.IntrospectURL, s.Token)
	if err != nil {
		return token{}, connector.ReadOnly(err)
	}
	defer connector.Finish(resp)
	if e := connector.StatusError("introspecting the token of "+s.name, resp, r.Now); e != nil {
		return token{}, connector.ReadOnly(e)
	}
	var doc struct {
		Active   *bool           `json:"active"`
		Scope    json.RawMessage `json:"scope"`
		ClientID string          `json:"client_id"`
		Exp      json.Number     `json:"exp"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || doc.Active == nil {
		return token{}, connector.Errorf(connector.KindRetry, "introspecting the token of %s: the answer does not say active", s.name)
	}
	t := token{active: *doc.Active, client: doc.ClientID}
	t.exp, _ = doc.Exp.Int64() // a server may leave it out
	var text string
	var many []string
	switch {
	case json.Unmarshal(doc.Scope, &text) == nil && text != "":
		t.scopes = scopes(text)
	case json.Unmarshal(doc.Scope, &many) == nil: // not the standard, but met
		t.scopes = scopes(strings.Join(many, " "))
	}
	return t, nil
}

type revocation struct {
	Client string `json:"client"`
	Before string `json:"before"`
}

func (c *Connector) planRevoke(ctx context.Context, r connector.Request) (remedy.Plan, error) {
	s, err := c.subject(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	if c.cfg.RevokeURL == "" {
		return remedy.Plan{}, connector.Errorf(connector.KindConfig, "connector %s has no revoke_url", c.cfg.Name)
	}
	t, err := c.introspect(ctx, s, r)
	if err != nil {
		return remedy.Plan{}, err
	}
	data, err := json.Marshal(revocation{Client: s.name, Before: t.digest()})
	if err != nil {
		return remedy.Plan{}, err
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: t.digest(),
		Text:  fmt.Sprintf("Revoke the token of integration %s (scopes: %s)", s.name, list(t.scopes)),
		Blast: "integration " + s.name + " stops for everybody who uses it until somebody consents again",
		Undo:  "none: a revoked token can't be brought back"}
	if !t.active {
		p.Text, p.Blast = "Nothing to revoke: the token of integration "+s.name+" is not active", "none: nothing would change"
	}
	return p, nil
}

func (c *Connector) actRevoke(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	var d revocation
	if err := json.Unmarshal([]byte(r.Plan.Data), &d); err != nil || d.Client == "" {
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the plan is not one of this connector")
	}
	s, err := c.subject(r)
	if err != nil {
		return connector.Outcome{}, err
	}
	t, err := c.introspect(ctx, s, r)
	switch {
	case err != nil:
		return connector.Outcome{}, err
	case !t.active:
		return connector.Outcome{Nothing: true, Detail: "the token is not active"}, nil
	case s.name != d.Client || t.digest() != d.Before:
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "the token of %s is not as the plan saw it: somebody changed it meanwhile", s.name)
	}
	resp, err := c.form(ctx, c.cfg.RevokeURL, s.Token)
	if err != nil {
		return connector.Outcome{}, err
	}
	defer connector.Finish(resp)
	if e := connector.StatusError("revoking the token of "+s.name, resp, r.Now); e != nil {
		return connector.Outcome{}, e
	}
	return connector.Outcome{Detail: "the server took the revocation of the token of " + s.name}, nil
}

// lookRevoke: it happened when the token is not active.
func (c *Connector) lookRevoke(ctx context.Context, r connector.Request) (connector.Outcome, bool, error) {
	s, err := c.subject(r)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	t, err := c.introspect(ctx, s, r)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	return connector.Outcome{Detail: "active: " + strconv.FormatBool(t.active)}, !t.active, nil
}

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	ctx = connector.WithRequest(ctx, r)
	if verb != VerbIntrospect && verb != VerbWorks {
		return remedy.Observation{}, noVerb(verb)
	}
	s, err := c.subject(r)
	if err != nil {
		return remedy.Observation{}, err
	}
	o := remedy.Observation{Grade: remedy.P2, Place: c.cfg.Place, At: r.Now}
	if verb == VerbWorks && s.ResourceURL != "" {
		o.Result, o.Detail = c.resource(ctx, s)
		return o, nil
	}
	t, err := c.introspect(ctx, s, r)
	switch {
	case err != nil:
		o.Result, o.Detail = remedy.Inconclusive, err.Error()
	case verb == VerbWorks:
		o.Result, o.Detail = works(s, t)
	default:
		o.Result, o.Detail = exposed(s, t)
	}
	return o, nil
}

func exposed(s subject, t token) (remedy.Result, string) {
	switch risky := s.takes(t.scopes); {
	case !t.active:
		return remedy.NotExposed, "the token of " + s.name + " is not active"
	case s.all:
		return remedy.Exposed, "the token of " + s.name + " is active"
	case len(t.scopes) == 0:
		return remedy.Inconclusive, "the token of " + s.name + " is active and the server does not name its scopes"
	case len(risky) > 0:
		return remedy.Exposed, "the token of " + s.name + " is active and holds " + list(risky)
	}
	return remedy.NotExposed, "the token of " + s.name + " is active and holds only " + list(t.scopes)
}

// works is the continuity probe by introspection: NotExposed means works.
func works(s subject, t token) (remedy.Result, string) {
	missing := slices.DeleteFunc(slices.Clone(s.keep), func(x string) bool { return slices.Contains(t.scopes, x) })
	left := len(t.scopes) - len(s.takes(t.scopes))
	switch {
	case !t.active:
		return remedy.Exposed, "the token of " + s.name + " is not active any more"
	case len(t.scopes) == 0:
		return remedy.Inconclusive, "the token of " + s.name + " is active and the server does not name its scopes"
	case len(missing) > 0:
		return remedy.Exposed, "the token of " + s.name + " lacks " + list(missing)
	case left == 0 && !s.all:
		return remedy.Exposed, "the token of " + s.name + " holds no scope that it may keep"
	}
	return remedy.NotExposed, "the token of " + s.name + " is active and holds " + list(t.scopes)
}

// resource uses the token as the integration does.
func (c *Connector) resource(ctx context.Context, s subject) (remedy.Result, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ResourceURL, nil)
	if err != nil {
		return remedy.Inconclusive, "the address of the resource can't be used"
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	resp, err := c.client.Do(req)
	if err != nil {
		return remedy.Inconclusive, connector.TransportError("resource", err).Msg
	}
	defer connector.Finish(resp)
	said := fmt.Sprintf("%s answers %d to the token of %s", req.URL.Host, resp.StatusCode, s.name)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return remedy.NotExposed, said
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return remedy.Exposed, said
	}
	return remedy.Inconclusive, said
}
