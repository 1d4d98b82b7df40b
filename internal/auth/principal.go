package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/casement/casement/internal/remedy"
)

// Kind tells people at a screen from programs.
type Kind string

// The kinds of principals.
const (
	// Human: logged in with a password in a session.
	Human Kind = "human"
	// Machine: speaks by a token.
	Machine Kind = "machine"
)

// Principal is who a request speaks for.
type Principal struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Kind   Kind   `json:"kind"`
	Roles  []Role `json:"roles"`
	// TokenID is the token used, "" for a session.
	TokenID string `json:"token_id,omitempty"`
	// TokenName is what the token was made for, "" for a session.
	TokenName string `json:"token_name,omitempty"`
	// owner are the roles of the token's owner: both must allow.
	owner []Role
}

// Can reports whether the principal may do p. Decide is for humans only.
func (p Principal) Can(what Permission) bool {
	switch {
	case what == Public:
		return true
	case p.ID == "" || !allow(p.Roles, what):
		return false
	case what == Decide && p.Kind != Human:
		return false
	}
	return p.Kind == Human || p.ID == LocalID || allow(p.owner, what)
}

// Actor is the principal as commands and events name it.
func (p Principal) Actor() remedy.Actor { return remedy.Actor{Kind: remedy.Person, ID: p.ID} }

// Request returns the principal of a request: of its bearer token if it has
// one (ErrToken if that is not valid), else of its session. No credentials:
// the zero Principal and no error. The session must have been loaded by
// Web.LoadAndSave.
func (s *Service) Request(r *http.Request) (Principal, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return Principal{}, ErrToken
		}
		return s.Bearer(r.Context(), strings.TrimSpace(token))
	}
	return s.sessionPrincipal(r.Context())
}

type contextKey struct{}

// WithPrincipal returns a context that carries the principal.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the principal of WithPrincipal, the zero one if none.
func FromContext(ctx context.Context) Principal {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p
}

// audit records in the ledger's stream "principal". What can't be recorded did
// not happen: the error is the caller's.
func (s *Service) audit(ctx context.Context, tenant, typ string, by remedy.Actor, body map[string]any) error {
	if s.Audit == nil {
		return nil
	}
	b, err := json.Marshal(body)
	if err == nil {
		err = s.Audit.Principal(ctx, tenant, typ, by, b, s.Now().UTC())
	}
	if err != nil {
		return fmt.Errorf("record %s in the ledger: %w", typ, err)
	}
	return nil
}
