// Package kubernetes is the connector to a Kubernetes API server: it takes one
// subject out of a role binding and proves it by asking the authorizer and by
// calling as that identity; and it quarantines a workload by a network policy.
//
// It may import connector, connector/rest, remedy and finding. It speaks REST
// by itself: seven calls do not need the client library and its forty modules.
// Sources: Kubernetes API reference v1.37 (rbac.authorization.k8s.io/v1,
// authorization.k8s.io/v1, networking.k8s.io/v1), RFC 6902 (JSON patch).
// Invariants: every change is tried at the server with dryRun=All when it is
// planned; it names the resourceVersion it was made for, so that the server
// refuses it when somebody was faster; tokens of identities come from the
// configuration only.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/rest"
	"github.com/casement/casement/internal/remedy"
)

// Config sets up one connector. Secrets are values, resolved by the caller.
type Config struct {
	// Name is the connector's name, "kubernetes" if empty.
	Name string
	// Server is the address of the API server, Token the connector's own.
	Server, Token string
	// Tokens are bearer tokens of identities by subject (ServiceAccount/ns/name,
	// User/name): the probes call with them.
	Tokens map[string]string
	// Place names where the probe looks from, "casement" if empty.
	Place string
	HTTP  connector.HTTPOptions
	// Now is the clock of rate limits, UTC; the machine's if nil.
	Now func() time.Time
}

// The verbs.
const (
	VerbRemoveSubject = "remove-subject"
	VerbQuarantine    = "quarantine"
	VerbAccess        = "access"
	VerbNeeds         = "needed-calls"
	VerbIsolated      = "isolated"
)

// Connector is the Kubernetes connector. It is safe for concurrent use.
type Connector struct {
	cfg Config
	api *rest.Client
	as  map[string]*rest.Client
}

// New checks the configuration and returns the connector. Nothing is dialled.
func New(cfg Config) (*Connector, error) {
	var errs []error
	if cfg.Name == "" {
		cfg.Name = "kubernetes"
	}
	if cfg.Place == "" {
		cfg.Place = "casement"
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return time.Now().UTC() }
	}
	c := &Connector{cfg: cfg, as: map[string]*rest.Client{}}
	if cfg.Token == "" {
		errs = append(errs, errors.New("secret token: is missing"))
	}
	client := func(token string) *rest.Client {
		x, err := rest.New(rest.Options{Base: cfg.Server, Auth: rest.Bearer(token), Secrets: []string{token}, HTTP: cfg.HTTP, Now: cfg.Now})
		if err != nil && len(errs) == 0 {
			errs = append(errs, fmt.Errorf("server: %w", err))
		}
		return x
	}
	c.api = client(cfg.Token)
	for _, text := range slices.Sorted(maps.Keys(cfg.Tokens)) {
		s, err := parseSubject(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("identities.%s: %w", text, err))
			continue
		}
		c.as[s.String()] = client(cfg.Tokens[text])
	}
	return c, errors.Join(errs...)
}

// Secrets returns what must never be shown, for the redactor.
func (c *Connector) Secrets() []string {
	return append(slices.Collect(maps.Values(c.cfg.Tokens)), c.cfg.Token)
}

// Spec implements connector.Connector.
func (c *Connector) Spec() connector.Spec { return Describe(c.cfg.Name) }

// Describe is the Spec of a connector of that name, before there is one.
func Describe(name string) connector.Spec {
	subject := connector.Param{Name: "subject", Description: "ServiceAccount/namespace/name, User/name or Group/name; by default the asset's uid after its last colon"}
	access := "as \"verb resource[.group][/name] [namespace]\", with commas between"
	workload := connector.Param{Name: "workload", Description: "Pod, Deployment, StatefulSet or DaemonSet as kind/namespace/name; by default the asset's uid after its last colon"}
	return connector.Spec{
		Name: name, Title: "Kubernetes",
		Actions: []connector.ActionSpec{
			{Verb: VerbRemoveSubject, Description: "Take one subject out of a role binding; the others and the role stay",
				Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Permissions: []string{"get, patch on rolebindings and clusterrolebindings", "bind on the role that the binding gives: the server asks it of everybody who changes a binding"},
				Params: []connector.Param{subject,
					{Name: "binding", Description: "ClusterRoleBinding/name or RoleBinding/namespace/name", Required: true}},
				Probe: VerbAccess, Continuity: VerbNeeds,
				Example: "{do: kubernetes/remove-subject, params: {binding: ClusterRoleBinding/build-admin}}"},
			{Verb: VerbQuarantine, Description: "Cut a workload off by a network policy that allows nothing, and label it",
				Once: remedy.OnceLookup, Reversibility: 2, Undoable: true,
				Permissions: []string{"get, create, delete, list on networkpolicies", "get, patch on the kind of the workload"},
				Params:      []connector.Param{workload}, Probe: VerbIsolated,
				Example: "do: kubernetes/quarantine"},
		},
		Probes: []connector.ProbeSpec{
			{Verb: VerbAccess, Description: "Ask the authorizer whether the identity may do the risky things, and try those that read with its own token", Grade: remedy.P3,
				Proves:      "what the API server's authorizer says now, and, where the identity's token is known, that its call is refused; without the token the grade is P2",
				Cannot:      "what other identities of the same person may do, and what was copied while it could",
				Permissions: []string{"create on subjectaccessreviews", "the identity's token (identities), for P3"},
				Params:      []connector.Param{subject, {Name: "risky", Description: "accesses it must not have, " + access, Required: true}}},
			{Verb: VerbNeeds, Description: "The same for the things the identity needs", Grade: remedy.P3,
				Proves:      "each access named is still allowed, and tried with the token where it reads",
				Cannot:      "accesses that nobody named",
				Permissions: []string{"create on subjectaccessreviews", "the identity's token (identities), for P3"},
				Params:      []connector.Param{subject, {Name: "needs", Description: "accesses it must keep, " + access, Required: true}}},
			{Verb: VerbIsolated, Description: "Read the network policies that select the workload", Grade: remedy.P1,
				Proves:      "desired state only: a policy that allows nothing selects the workload and no other policy allows it anything",
				Cannot:      "whether the cluster's network plugin enforces it: no packet is sent, connections that were open may live on",
				Permissions: []string{"list on networkpolicies, get on the kind of the workload"},
				Params:      []connector.Param{workload}},
		},
	}
}

// nameForm holds what a name or namespace may look like in a path.
func nameForm() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:@_-]{0,252}$`) }

// split reads kind/…/name with n parts.
func split(text string, n int) ([]string, bool) {
	parts := strings.Split(text, "/")
	ok := len(parts) == n && !slices.ContainsFunc(parts, func(p string) bool { return !nameForm().MatchString(p) })
	return parts, ok
}

// named is the parameter or what follows the last colon of the asset's uid.
func named(r connector.Request, param string) string {
	if v := r.Params[param]; v != "" {
		return v
	}
	return r.Asset.UID[strings.LastIndex(r.Asset.UID, ":")+1:]
}

type op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// write sends one change. With dry the server tries it and keeps nothing.
func (c *Connector) write(ctx context.Context, what, method, path string, in any, dry bool) error {
	q := url.Values{}
	if method != http.MethodDelete {
		q.Set("fieldManager", "casement")
	}
	if dry {
		q.Set("dryRun", "All")
	}
	call := rest.Call{What: what, Method: method, Path: path, Query: q, In: in, Reads: dry}
	if method == http.MethodPatch {
		call.Type = "application/json-patch+json"
	}
	a, err := c.api.Do(ctx, call)
	if a.Status == http.StatusConflict || method == http.MethodPatch && a.Status == http.StatusUnprocessableEntity {
		return connector.Errorf(connector.KindRefused, "%s: somebody else changed it meanwhile (%d)", what, a.Status)
	}
	return err
}

func (c *Connector) get(ctx context.Context, what, path string, out any) (status int, err error) {
	a, err := c.api.Do(ctx, rest.Call{What: what, Method: http.MethodGet, Path: path, Out: out})
	return a.Status, err
}

func noVerb(verb string) error {
	return connector.Errorf(connector.KindConfig, "kubernetes has no verb %q", verb)
}

// Plan implements connector.Planner.
func (c *Connector) Plan(ctx context.Context, verb string, r connector.Request) (remedy.Plan, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemoveSubject:
		return c.planRemove(ctx, r)
	case VerbQuarantine:
		return c.planQuarantine(ctx, r)
	}
	return remedy.Plan{}, noVerb(verb)
}

// Act implements connector.Actor.
func (c *Connector) Act(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemoveSubject:
		return c.actRemove(ctx, r)
	case VerbQuarantine:
		return c.actQuarantine(ctx, r)
	}
	return connector.Outcome{}, noVerb(verb)
}

// Undo implements connector.Actor.
func (c *Connector) Undo(ctx context.Context, verb string, r connector.Request) (connector.Outcome, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemoveSubject:
		return c.undoRemove(ctx, r)
	case VerbQuarantine:
		return c.undoQuarantine(ctx, r)
	}
	return connector.Outcome{}, noVerb(verb)
}

// Look implements connector.Looker.
func (c *Connector) Look(ctx context.Context, verb string, r connector.Request) (connector.Outcome, bool, error) {
	ctx = connector.WithRequest(ctx, r)
	switch verb {
	case VerbRemoveSubject:
		return c.lookRemove(ctx, r)
	case VerbQuarantine:
		return c.lookQuarantine(ctx, r)
	}
	return connector.Outcome{}, false, noVerb(verb)
}

// Probe implements connector.Prober.
func (c *Connector) Probe(ctx context.Context, verb string, r connector.Request) (remedy.Observation, error) {
	ctx = connector.WithRequest(ctx, r)
	o := remedy.Observation{Place: c.cfg.Place, At: r.Now}
	var err error
	switch verb {
	case VerbAccess:
		o.Result, o.Grade, o.Detail, err = c.review(ctx, r, "risky")
	case VerbNeeds:
		o.Result, o.Grade, o.Detail, err = c.review(ctx, r, "needs")
	case VerbIsolated:
		o.Grade = remedy.P1
		o.Result, o.Detail, err = c.isolated(ctx, r)
	default:
		return o, noVerb(verb)
	}
	return o, err
}
