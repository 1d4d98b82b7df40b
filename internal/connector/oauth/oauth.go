// Package oauth is the connector to an OAuth 2 authorization server: it lowers
// the grant of an integration to the scopes it needs, or revokes its token,
// and proves it by token introspection.
//
// It may import connector, remedy and finding. Sources: RFC 7009 (revocation),
// RFC 7662 (introspection); the grant is changed by an admin API of the shape
// GET and PATCH {grants_url}/{grant} with {"scope": "…"}, as Microsoft Graph's
// oauth2PermissionGrants has it. Invariants: tokens come from the
// configuration only, never from an alert, and are never shown; a grant is
// changed only from the scopes the plan was made from, conditionally where the
// server gives an ETag.
package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one connector. Secrets are values, resolved by the caller.
type Config struct {
	// Name is the connector's name, "oauth" if empty.
	Name string
	// IntrospectURL (RFC 7662) is required; RevokeURL (RFC 7009) and GrantsURL
	// are for their actions.
	IntrospectURL, RevokeURL, GrantsURL string
	// ClientID and ClientSecret authenticate introspection and revocation.
	ClientID, ClientSecret string
	// AdminToken is the bearer token for GrantsURL.
	AdminToken string
	// Integrations by the name alerts know them by (the asset's uid).
	Integrations map[string]Integration
	// Place names where the probe looks from, "casement" if empty.
	Place string
	HTTP  connector.HTTPOptions
}

// Integration is one application that holds a grant.
type Integration struct {
	// Grant is its id at GrantsURL, the integration's name if empty.
	Grant string
	// Token is an access token it uses, for introspection and revocation.
	Token string
	// Keep are the scopes it needs.
	Keep []string
	// ResourceURL answers 2xx to the token while the kept scopes work; empty:
	// introspection alone tells.
	ResourceURL string
}

// The verbs.
const (
	VerbReduce     = "reduce-scope"
	VerbRevoke     = "revoke"
	VerbIntrospect = "introspect"
	VerbWorks      = "lower-scope-works"
)

// Connector is the OAuth connector. It is safe for concurrent use.
type Connector struct {
	cfg    Config
	client *http.Client
}

// New checks the configuration and returns the connector. Nothing is dialled.
func New(cfg Config) (*Connector, error) {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Name == "" {
		cfg.Name = "oauth"
	}
	if cfg.Place == "" {
		cfg.Place = "casement"
	}
	address := func(name, v string, required bool) {
		if v == "" && !required {
			return
		}
		if u, err := url.Parse(v); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			say("%s: want an http or https address without user and password", name)
		}
	}
	address("introspect_url", cfg.IntrospectURL, true)
	address("revoke_url", cfg.RevokeURL, false)
	address("grants_url", cfg.GrantsURL, false)
	if cfg.ClientID == "" || cfg.ClientSecret == "" {
		say("client_id and secret client_secret: both must be given, introspection needs them")
	}
	if cfg.GrantsURL != "" && cfg.AdminToken == "" {
		say("secret admin_token: is needed for grants_url")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Integrations)) {
		x := cfg.Integrations[name]
		if x.Token == "" {
			say("integrations.%s: the secret with its token is missing", name)
		}
		address("integrations."+name+".resource_url", x.ResourceURL, false)
	}
	cfg.GrantsURL = strings.TrimSuffix(cfg.GrantsURL, "/")
	return &Connector{cfg: cfg, client: connector.NewHTTPClient(cfg.HTTP)}, errors.Join(errs...)
}

// Secrets returns what must never be shown, for the redactor.
func (c *Connector) Secrets() []string {
	out := []string{c.cfg.ClientSecret, c.cfg.AdminToken}
	for _, x := range c.cfg.Integrations {
		out = append(out, x.Token)
	}
	return out
}

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg.Name) }

// Describe is the Spec of an OAuth connector of this name.
func Describe(name string) connector.Spec {
	who := []connector.Param{
		{Name: "client", Description: "integration as named in the configuration; by default the asset's uid"},
		{Name: "keep", Description: "scopes it needs, with blanks between; by default those of the configuration"},
		{Name: "risky", Description: "scopes to take away, with blanks between, * for all; by default all but keep"},
	}
	grant := append(who[:3:3], connector.Param{Name: "grant", Description: "id of the grant; by default that of the configuration"})
	return connector.Spec{
		Name: name, Title: "OAuth 2 authorization server",
		Actions: []connector.ActionSpec{
			{Verb: VerbReduce, Description: "Lower the grant of an integration to the scopes it needs",
				Once: remedy.OnceLookup, Reversibility: 1, Undoable: true,
				Permissions: []string{"read and update one grant at grants_url (Microsoft Graph: DelegatedPermissionGrant.ReadWrite.All)"},
				Params:      grant, Probe: VerbIntrospect, Continuity: VerbWorks,
				Example: "do: " + name + "/" + VerbReduce},
			{Verb: VerbRevoke, Description: "Revoke the token of an integration; people have to consent again",
				Once: remedy.OnceLookup, Reversibility: 3,
				Permissions: []string{"a client of the server that may revoke and introspect the token (RFC 7009, RFC 7662)"},
				Params:      who, Probe: VerbIntrospect,
				Example: "do: " + name + "/" + VerbRevoke},
		},
		Probes: []connector.ProbeSpec{
			{Verb: VerbIntrospect, Description: "Ask the server what the token of the integration can do", Grade: remedy.P2,
				Proves:      "whether the token is active and which scopes it has now",
				Cannot:      "resource servers that do not ask the server and trust a token until it expires, and other tokens of the integration",
				Permissions: []string{"a client of the server that may introspect the token (RFC 7662)"}, Params: who},
			{Verb: VerbWorks, Description: "Look whether the integration still works with the scopes it keeps", Grade: remedy.P2,
				Proves:      "the token is active and holds the kept scopes; with a resource_url, that the resource still answers it",
				Cannot:      "parts of the integration that use scopes nobody named",
				Permissions: []string{"a client of the server that may introspect the token (RFC 7662)"}, Params: who},
		},
	}
}

// subject is the integration a request speaks of and what it may keep.
type subject struct {
	name, grant string
	Integration
	// keep and risky are sorted; all means every scope is risky.
	keep, risky []string
	all         bool
}

func (c *Connector) subject(r connector.Request) (subject, error) {
	name := r.Params["client"]
	if name == "" {
		name = r.Asset.UID
	}
	x, ok := c.cfg.Integrations[name]
	if !ok {
		return subject{}, connector.Errorf(connector.KindConfig, "integration %q is not in the configuration of connector %s: name it under integrations, with its token as a secret", name, c.cfg.Name)
	}
	s := subject{name: name, grant: name, Integration: x, keep: scopes(strings.Join(x.Keep, " "))}
	if x.Grant != "" {
		s.grant = x.Grant
	}
	if v := r.Params["grant"]; v != "" {
		s.grant = v
	}
	if v := r.Params["keep"]; v != "" {
		s.keep = scopes(v)
	}
	s.risky = scopes(r.Params["risky"])
	s.all = slices.Equal(s.risky, []string{"*"}) || len(s.risky) == 0 && len(s.keep) == 0
	return s, nil
}

// takes returns which of the scopes are risky.
func (s subject) takes(live []string) []string {
	return slices.DeleteFunc(slices.Clone(live), func(x string) bool {
		switch {
		case s.all:
			return false
		case len(s.risky) > 0:
			return !slices.Contains(s.risky, x)
		}
		return slices.Contains(s.keep, x)
	})
}

// scopes splits a scope string (RFC 6749 3.3) into a sorted set.
func scopes(text string) []string {
	out := strings.Fields(text)
	slices.Sort(out)
	return slices.Compact(out)
}

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "oauth has no verb %q", verb)
}

// Plan implements connector.Planner.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbReduce:
		return c.planReduce(ctx, r)
	case VerbRevoke:
		return c.planRevoke(ctx, r)
	}
	return remedy.Plan{}, noVerb(verb)
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbReduce:
		return c.actReduce(ctx, r)
	case VerbRevoke:
		return c.actRevoke(ctx, r)
	}
	return connector.Outcome{}, noVerb(verb)
}

// Undo implements connector.Actor.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbReduce:
		return c.undoReduce(ctx, r)
	case VerbRevoke:
		return connector.Outcome{}, connector.Errorf(connector.KindRefused, "a revoked token can't be brought back: people have to consent again")
	}
	return connector.Outcome{}, noVerb(verb)
}

// Look implements connector.Looker.
func (c *Connector) Look(ctx context.Context, verb string, r connector.Request) (connector.Outcome, bool, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbReduce:
		return c.lookReduce(ctx, r)
	case VerbRevoke:
		return c.lookRevoke(ctx, r)
	}
	return connector.Outcome{}, false, noVerb(verb)
}

// grant is the grant as the admin API shows it.
type grant struct {
	scopes []string
	etag   string
}

func (c *Connector) grantCall(ctx context.Context, method, id, etag string, body any) (*http.Response, error) {
	if c.cfg.GrantsURL == "" {
		return nil, connector.Errorf(connector.KindConfig, "connector %s has no grants_url: scopes can't be lowered", c.cfg.Name)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.cfg.GrantsURL+"/"+url.PathEscape(id), bytes.NewReader(b))
	if err != nil {
		return nil, connector.Errorf(connector.KindConfig, "the address of the grant can't be used")
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.AdminToken)
	req.Header.Set("Accept", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/json")
	}
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, connector.TransportError("grant "+id, err)
	}
	return resp, nil
}

func (c *Connector) readGrant(ctx context.Context, id string, r connector.Request) (grant, error) {
	resp, err := c.grantCall(ctx, http.MethodGet, id, "", nil)
	if err != nil {
		return grant{}, connector.ReadOnly(err)
	}
	defer connector.Finish(resp)
	if e := connector.StatusError("reading grant "+id, resp, r.Now); e != nil {
		return grant{}, connector.ReadOnly(e)
	}
	var doc struct {
		Scope *string `json:"scope"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || doc.Scope == nil {
		return grant{}, connector.Errorf(connector.KindRetry, "reading grant %s: the answer has no scope", id)
	}
	return grant{scopes: scopes(*doc.Scope), etag: resp.Header.Get("ETag")}, nil
}

// reduction is the data of a plan, and the undo handle. It holds no token.
type reduction struct {
	Grant  string   `json:"grant"`
	Before []string `json:"before"`
	After  []string `json:"after"`
}

func (c *Connector) planReduce(ctx context.Context, r connector.Request) (remedy.Plan, error) {
	s, err := c.subject(r)
	if err != nil {
		return remedy.Plan{}, err
	}
	if s.all {
		return remedy.Plan{}, connector.Errorf(connector.KindConfig, "nothing says which scopes integration %s needs: set keep in the configuration or parameter keep or risky, or use %s", s.name, VerbRevoke)
	}
	g, err := c.readGrant(ctx, s.grant, r)
	if err != nil {
		return remedy.Plan{}, err
	}
	gone := s.takes(g.scopes)
	after := slices.DeleteFunc(slices.Clone(g.scopes), func(x string) bool { return slices.Contains(gone, x) })
	if len(after) == 0 && len(gone) > 0 {
		return remedy.Plan{}, connector.Errorf(connector.KindRefused, "no scope of grant %s would remain: use %s instead", s.grant, VerbRevoke)
	}
	data, err := json.Marshal(reduction{Grant: s.grant, Before: g.scopes, After: after})
	if err != nil {
		return remedy.Plan{}, err
	}
	p := remedy.Plan{Data: string(data), BeforeDigest: connector.Digest(append([]string{s.grant}, g.scopes...)...),
		Text:  fmt.Sprintf("Lower grant %s of integration %s:\n- take: %s\n- keep: %s", s.grant, s.name, list(gone), list(after)),
		Blast: "integration " + s.name + " loses " + list(gone) + " for everybody who uses it",
		Undo:  "gives grant " + s.grant + " back: " + list(gone)}
	if len(gone) == 0 {
		p.Text, p.Blast = fmt.Sprintf("Nothing to take: grant %s of integration %s holds only %s", s.grant, s.name, list(after)), "none: nothing would change"
	}
	return p, nil
}

func list(xs []string) string {
	if len(xs) == 0 {
		return "nothing"
	}
	return strings.Join(xs, ", ")
}

func parseReduction(text, what string) (reduction, error) {
	var d reduction
	if err := json.Unmarshal([]byte(text), &d); err != nil || d.Grant == "" {
		return d, connector.Errorf(connector.KindRefused, "the %s is not one of this connector", what)
	}
	return d, nil
}

// move changes the grant from one set of scopes to another.
func (c *Connector) move(ctx context.Context, r connector.Request, id string, from, to []string) (connector.Outcome, error) {
	g, err := c.readGrant(ctx, id, r)
	if err != nil {
		return connector.Outcome{}, err
	}
	if slices.Equal(g.scopes, to) {
		return connector.Outcome{Nothing: true, Detail: "the grant holds " + list(to) + " already"}, nil
	}
	changed := connector.Errorf(connector.KindRefused, "grant %s was changed by somebody else meanwhile", id)
	if !slices.Equal(g.scopes, from) {
		return connector.Outcome{}, changed
	}
	resp, err := c.grantCall(ctx, http.MethodPatch, id, g.etag, map[string]string{"scope": strings.Join(to, " ")})
	if err != nil {
		return connector.Outcome{}, err
	}
	defer connector.Finish(resp)
	if resp.StatusCode == http.StatusPreconditionFailed {
		return connector.Outcome{}, changed
	}
	if e := connector.StatusError("changing grant "+id, resp, r.Now); e != nil {
		return connector.Outcome{}, e
	}
	return connector.Outcome{Ref: resp.Header.Get("Request-Id"), Detail: "grant " + id + " now: " + list(to)}, nil
}

func (c *Connector) actReduce(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	d, err := parseReduction(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, err
	}
	o, err := c.move(ctx, r, d.Grant, d.Before, d.After)
	o.UndoHandle = r.Plan.Data
	return o, err
}

func (c *Connector) undoReduce(ctx context.Context, r connector.Request) (connector.Outcome, error) {
	d, err := parseReduction(r.UndoHandle, "undo handle")
	if err != nil {
		return connector.Outcome{}, err
	}
	return c.move(ctx, r, d.Grant, d.After, d.Before)
}

// lookReduce: it happened when the grant holds the planned scopes.
func (c *Connector) lookReduce(ctx context.Context, r connector.Request) (connector.Outcome, bool, error) {
	d, err := parseReduction(r.Plan.Data, "plan")
	if err != nil {
		return connector.Outcome{}, false, err
	}
	g, err := c.readGrant(ctx, d.Grant, r)
	if err != nil {
		return connector.Outcome{}, false, err
	}
	return connector.Outcome{UndoHandle: r.Plan.Data, Detail: "the grant holds " + list(g.scopes)}, slices.Equal(g.scopes, d.After), nil
}
