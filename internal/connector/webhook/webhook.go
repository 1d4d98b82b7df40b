// Package webhook is the connector for systems that have no door of their own:
// an action is a signed POST (Standard Webhooks), its probe a GET whose answer
// is mapped to exposed or not. It also delivers notices the same way, or as
// the text of a Slack-compatible incoming webhook.
//
// It may import connector, remedy and finding. Invariants: what is sent is the
// body the plan showed, byte for byte; webhook-id is the once-key, so that a
// receiver that honours it acts once; statuses that prove nothing (404, 429,
// 5xx) can't be configured as "not exposed".
package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one webhook connector. Secrets are values, resolved by the
// caller.
type Config struct {
	// Name is the connector's name, "webhook" if empty.
	Name string
	// URL receives actions, UndoURL their undo; without UndoURL an action has
	// no way back.
	URL, UndoURL string
	// Secrets are whsec_ signing secrets; several while one is being changed.
	Secrets []string
	// State is where the probe looks.
	State State
	// NotifyURL receives notices; NotifyFormat is "standard" (the default) or
	// "slack". The URL of a Slack webhook is a secret.
	NotifyURL, NotifyFormat string
	// Place names where the probe looks from, "casement" if empty.
	Place string
	HTTP  connector.HTTPOptions
}

// State says how to read the state of an asset.
type State struct {
	// URL is asked by GET; {asset} and {name} of a parameter are filled in.
	URL string
	// Token is sent as bearer token.
	Token string
	// Path leads to a value in the JSON answer, "status" or "rules.0.open";
	// empty means that the HTTP status tells.
	Path string
	// Exposed and NotExposed are the values, or the HTTP statuses, that mean
	// so. Anything else is inconclusive.
	Exposed, NotExposed []string
}

// The verbs.
const (
	VerbCall  = "call"
	VerbState = "state"
)

// Connector is the webhook connector. It is safe for concurrent use.
type Connector struct {
	cfg     Config
	secrets []Secret
	client  *http.Client
}

// New checks the configuration and returns the connector. Nothing is dialled.
func New(cfg Config) (*Connector, error) {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Name == "" {
		cfg.Name = "webhook"
	}
	if cfg.Place == "" {
		cfg.Place = "casement"
	}
	if cfg.URL == "" && cfg.NotifyURL == "" {
		say("url or notify_url: one of them must be given")
	}
	for _, x := range []struct{ name, v string }{{"url", cfg.URL}, {"undo_url", cfg.UndoURL}, {"state.url", cfg.State.URL}, {"notify_url", cfg.NotifyURL}} {
		if x.v == "" {
			continue
		}
		// The value is not shown: the URL of a webhook may be its secret.
		if u, err := url.Parse(x.v); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			say("%s: want an http or https address without user and password", x.name)
		}
	}
	if cfg.UndoURL != "" && cfg.URL == "" {
		say("undo_url: there is no url to undo")
	}
	c := &Connector{cfg: cfg, client: connector.NewHTTPClient(cfg.HTTP)}
	for i, text := range cfg.Secrets {
		s, err := ParseSecret(text)
		if err != nil {
			say("secrets[%d]: %v", i, err)
		}
		c.secrets = append(c.secrets, s)
	}
	switch cfg.NotifyFormat {
	case "", "standard", "slack":
	default:
		say("notify_format: want standard or slack, not %q", cfg.NotifyFormat)
	}
	if len(cfg.Secrets) == 0 && (cfg.URL != "" || cfg.NotifyURL != "" && cfg.NotifyFormat != "slack") {
		say("secrets: at least one whsec_ secret is needed to sign")
	}
	errs = append(errs, cfg.State.check()...)
	return c, errors.Join(errs...)
}

func (s State) check() (errs []error) {
	if s.URL == "" {
		if s.Path != "" || len(s.Exposed)+len(s.NotExposed) > 0 {
			errs = append(errs, errors.New("state.url: is missing"))
		}
		return errs
	}
	if len(s.Exposed) == 0 || len(s.NotExposed) == 0 {
		errs = append(errs, errors.New("state.exposed and state.not_exposed: both must name at least one value"))
	}
	for _, v := range s.NotExposed {
		if slices.Contains(s.Exposed, v) {
			errs = append(errs, fmt.Errorf("state: %q is both exposed and not exposed", v))
		}
		if s.Path == "" && (v == "404" || v == "429" || strings.HasPrefix(v, "5")) {
			errs = append(errs, fmt.Errorf("state.not_exposed: status %s proves nothing", v))
		}
	}
	if s.Path == "" {
		for _, v := range slices.Concat(s.Exposed, s.NotExposed) {
			if len(v) != 3 || strings.Trim(v, "0123456789") != "" {
				errs = append(errs, fmt.Errorf("state: without a path the values are HTTP statuses, not %q", v))
			}
		}
	}
	return errs
}

// Notifies reports whether the connector delivers notices.
func (c *Connector) Notifies() bool { return c.cfg.NotifyURL != "" }

// Secrets returns what must never be shown, for the redactor.
func (c *Connector) Secrets() []string {
	out := append(slices.Clone(c.cfg.Secrets), c.cfg.State.Token)
	for _, s := range c.cfg.Secrets {
		out = append(out, strings.TrimPrefix(s, "whsec_"))
	}
	if u, err := url.Parse(c.cfg.NotifyURL); err == nil && c.cfg.NotifyFormat == "slack" {
		out = append(out, c.cfg.NotifyURL, u.Path)
	}
	return out
}

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg) }

// Describe is the Spec of a connector with this configuration: what is not
// configured is not offered.
func Describe(cfg Config) connector.Spec {
	s := connector.Spec{Name: cfg.Name, Title: "Signed webhook (Standard Webhooks)"}
	if cfg.URL != "" {
		a := connector.ActionSpec{Verb: VerbCall, Description: "POST the asset and the parameters, signed, to the configured address; what it changes is the receiver's business",
			Once: remedy.OnceKey, Reversibility: 3,
			Permissions: []string{"the receiver accepts our signature; it must treat a repeated webhook-id as the same request"},
			Example:     "do: " + cfg.Name + "/call"}
		if cfg.UndoURL != "" {
			a.Reversibility, a.Undoable = 1, true
		}
		if cfg.State.URL != "" {
			a.Probe = VerbState
		}
		s.Actions = []connector.ActionSpec{a}
	}
	if cfg.State.URL != "" {
		s.Probes = []connector.ProbeSpec{{Verb: VerbState, Description: "GET the state of the asset and map the answer", Grade: remedy.P2,
			Proves:      "what the configured address says of the asset now",
			Cannot:      "a state that the address does not know of; point it at another system than the one that acts",
			Permissions: []string{"read access to the state address"},
			Params:      cfg.State.params()}}
	}
	return s
}

// params are the parameters that the state address needs.
func (s State) params() []connector.Param {
	var out []connector.Param
	for _, name := range placeholders(s.URL) {
		if name != "asset" {
			out = append(out, connector.Param{Name: name, Description: "part of the state address", Required: true})
		}
	}
	return out
}

// placeholders returns the names in braces, each once.
func placeholders(s string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(s, "{")
		if !ok {
			return out
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return out
		}
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
		s = after
	}
}

// expand fills placeholders in, escaped so that a value can't leave its place.
func expand(s string, r connector.Request) string {
	for _, name := range placeholders(s) {
		v := r.Params[name]
		if name == "asset" {
			v = r.Asset.UID
		}
		s = strings.ReplaceAll(s, "{"+name+"}", strings.ReplaceAll(url.QueryEscape(v), "+", "%20"))
	}
	return s
}
