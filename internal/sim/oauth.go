package sim

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// The credentials with which Casement asks the OAuth server.
const (
	OAuthClientID     = "casement"
	OAuthClientSecret = "simulated-client-secret-000000"
	OAuthAdminToken   = "simulated-admin-token-00000000"
)

type oauthServer struct {
	w      *World
	mu     sync.Mutex
	grants map[string]*Grant
}

func newOAuth(w *World) *oauthServer { return &oauthServer{w: w, grants: map[string]*Grant{}} }

// Grant is what an integration may do: its token reaches as far as the grant
// allows at the moment of asking.
type Grant struct {
	s          *oauthServer
	id, client string
	token      string
	// shown is what the admin API answers, real what the token can do.
	shown, real string
	revoked     bool
}

// Grant returns the grant of an id and makes it for a client with a scope
// (words with blanks between) if there is none.
func (w *World) Grant(id, client, scope string) *Grant {
	w.oauth.mu.Lock()
	defer w.oauth.mu.Unlock()
	g := w.oauth.grants[id]
	if g == nil {
		g = &Grant{s: w.oauth, id: id, client: client, token: "tok-" + rand.Text(), shown: scope, real: scope}
		w.oauth.grants[id] = g
	}
	return g
}

// ID names the grant.
func (g *Grant) ID() string { return g.id }

// Token is the access token of the integration: a secret.
func (g *Grant) Token() string {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	return g.token
}

// SetToken gives the integration another token.
func (g *Grant) SetToken(token string) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.token = token
}

// Scope is what the token can really do, "" once it is revoked.
func (g *Grant) Scope() string {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	if g.revoked {
		return ""
	}
	return g.real
}

// Has reports whether the token can really use a scope.
func (g *Grant) Has(scope string) bool { return slices.Contains(strings.Fields(g.Scope()), scope) }

// SetScope changes the grant as an administrator at the console would.
func (g *Grant) SetScope(scope string) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	g.shown, g.real = scope, scope
}

// ServeHTTP serves /introspect (RFC 7662), /revoke (RFC 7009), /grants/{id}
// (GET, and PATCH with a new scope) and /resource?scope=… (a protected
// resource that wants a scope).
func (s *oauthServer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	form, ferr := url.ParseQuery(string(body))
	if err != nil || ferr != nil {
		form = url.Values{}
	}
	g, object := s.find(r, form.Get("token")), ""
	if g != nil {
		object = g.id
	}
	v, ok := s.w.enter(rw, r, ServiceOAuth, object)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.entry.State = g.state()
	post := r.Method == http.MethodPost
	switch {
	case post && (r.URL.Path == "/introspect" || r.URL.Path == "/revoke"):
		if id, secret, _ := r.BasicAuth(); id != OAuthClientID || secret != OAuthClientSecret {
			v.json(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		} else if r.URL.Path == "/introspect" {
			s.introspect(v, g)
		} else {
			s.revoke(v, g)
		}
	case r.URL.Path == "/resource" && r.Method == http.MethodGet:
		s.resource(v, g)
	case strings.HasPrefix(r.URL.Path, "/grants/"):
		s.grant(v, g, body)
	default:
		v.json(http.StatusNotFound, map[string]string{"error": "not_found"})
	}
}

// find returns the grant a request is about.
func (s *oauthServer) find(r *http.Request, token string) *Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := strings.CutPrefix(r.URL.Path, "/grants/"); ok {
		return s.grants[id]
	}
	if token == "" {
		token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	for _, g := range s.grants {
		if g.token == token {
			return g
		}
	}
	return nil
}

func (s *oauthServer) introspect(v *visit, g *Grant) {
	if g == nil || g.revoked || v.fault.ProbeLies {
		v.json(http.StatusOK, map[string]any{"active": false})
		return
	}
	v.json(http.StatusOK, map[string]any{"active": true, "client_id": g.client, "scope": g.real, "token_type": "Bearer", "sub": g.client})
}

func (s *oauthServer) revoke(v *visit, g *Grant) {
	if g != nil && !g.revoked && !v.fault.Lie {
		g.revoked = true
		v.changed()
		v.entry.State = g.state()
	}
	v.answer(http.StatusOK, "", "") // RFC 7009 2.2: also for an unknown token
}

func (s *oauthServer) resource(v *visit, g *Grant) {
	switch {
	case g == nil || g.revoked:
		v.json(http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
	case !slices.Contains(strings.Fields(g.real), v.r.URL.Query().Get("scope")):
		v.json(http.StatusForbidden, map[string]string{"error": "insufficient_scope"})
	default:
		v.json(http.StatusOK, map[string]string{"hello": g.client})
	}
}

func (s *oauthServer) grant(v *visit, g *Grant, body []byte) {
	if v.r.Header.Get("Authorization") != "Bearer "+OAuthAdminToken {
		v.json(http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	if g == nil {
		v.json(http.StatusNotFound, map[string]string{"error": "no such grant"})
		return
	}
	switch v.r.Method {
	case http.MethodGet:
		g.show(v)
	case http.MethodPatch:
		var doc struct {
			Scope *string `json:"scope"`
		}
		if json.Unmarshal(body, &doc) != nil || doc.Scope == nil {
			v.json(http.StatusBadRequest, map[string]string{"error": "want {\"scope\": \"…\"}"})
			return
		}
		if m := v.r.Header.Get("If-Match"); m != "" && m != g.etag() {
			v.json(http.StatusPreconditionFailed, map[string]string{"error": "changed meanwhile"})
			return
		}
		if v.fault.UndoFails && len(strings.Fields(*doc.Scope)) > len(strings.Fields(g.real)) {
			v.json(http.StatusInternalServerError, map[string]string{"error": "internal"})
			return
		}
		g.shown = *doc.Scope
		if !v.fault.Lie {
			g.real = *doc.Scope
			v.changed()
			v.entry.State = g.state()
		}
		g.show(v)
	default:
		v.json(http.StatusMethodNotAllowed, map[string]string{"error": "method"})
	}
}

// state is what the token can really do; the lock is held.
func (g *Grant) state() string {
	switch {
	case g == nil:
		return ""
	case g.revoked:
		return "revoked"
	}
	return strings.Join(slices.Sorted(strings.FieldsSeq(g.real)), " ")
}

func (g *Grant) show(v *visit) {
	v.rw.Header().Set("ETag", g.etag())
	v.json(http.StatusOK, map[string]string{"id": g.id, "clientId": g.client, "scope": g.shown})
}

func (g *Grant) etag() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(g.shown)) // a hash never fails
	return fmt.Sprintf(`"%x"`, h.Sum64())
}
