package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/auth/authtest"
	"github.com/casement/casement/internal/remedy"
)

const good = "correct horse battery staple"

// clock is moved by hand.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newService(t *testing.T) (*auth.Service, *authtest.Memory, *clock) {
	t.Helper()
	m, c := authtest.New(), &clock{time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)}
	return m.Service(c.Now, nil), m, c
}

func admin() remedy.Actor { return remedy.Actor{Kind: remedy.Person, ID: "u-root"} }

func add(t *testing.T, s *auth.Service, name string, roles ...auth.Role) auth.User {
	t.Helper()
	u, err := s.AddUser(context.Background(), admin(), auth.User{Tenant: "default", Name: name, Roles: roles}, good)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// visit calls f in a request with the cookie, and returns the cookie after it.
func visit(t *testing.T, s *auth.Service, cookie *http.Cookie, f func(ctx context.Context, r *http.Request)) *http.Cookie {
	t.Helper()
	rec, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	if cookie != nil {
		req.AddCookie(cookie)
	}
	s.Web.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context(), r) })).ServeHTTP(rec, req)
	for _, c := range rec.Result().Cookies() {
		cookie = c
	}
	return cookie
}

func login(t *testing.T, s *auth.Service, name string) *http.Cookie {
	t.Helper()
	return visit(t, s, nil, func(ctx context.Context, _ *http.Request) {
		if _, err := s.Login(ctx, name, good, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	})
}

// who is the principal of a request with the cookie, "" for nobody.
func who(t *testing.T, s *auth.Service, cookie *http.Cookie) (id string) {
	t.Helper()
	visit(t, s, cookie, func(_ context.Context, r *http.Request) {
		p, err := s.Request(r)
		if err != nil {
			t.Fatal(err)
		}
		id = p.ID
	})
	return id
}

// TestCookie: out of reach of scripts and of other sites, for HTTPS only where
// the pages are, and in the store by its hash only.
func TestCookie(t *testing.T) {
	s, m, _ := newService(t)
	add(t, s, "kim", auth.RoleViewer)
	c := login(t, s, "kim")
	if c.Name != auth.CookieName || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Secure {
		t.Errorf("%+v", c)
	}
	for _, key := range m.SessionKeys() {
		if strings.Contains(key, c.Value) || strings.Contains(c.Value, key) {
			t.Error("the session is stored under what the cookie holds")
		}
	}
	secure, err := auth.New(auth.Config{Accounts: m, Sessions: m, Values: m, Tenant: "default", Now: time.Now, Secure: true})
	if err != nil || !secure.Web.Cookie.Secure {
		t.Error("over HTTPS the cookie is not marked Secure", err)
	}
}

// TestSessionEnds: after twelve hours, by signing out, by a new password, by
// disabling; a cookie that was planted before the login is worth nothing.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := authtest.New()
		s := m.Service(time.Now, nil)
		kim := add(t, s, "kim", auth.RoleViewer)
		c := login(t, s, "kim")
		time.Sleep(12*time.Hour - time.Minute)
		if who(t, s, c) != kim.ID {
			t.Error("the session ended before its time")
		}
		time.Sleep(2 * time.Minute)
		if who(t, s, c) != "" {
			t.Error("the session outlives twelve hours")
		}
	})
	s, _, _ := newService(t)
	kim := add(t, s, "kim", auth.RoleViewer)
	planted := visit(t, s, nil, func(ctx context.Context, _ *http.Request) { s.Web.Put(ctx, "seen", "before") })
	after := visit(t, s, planted, func(ctx context.Context, _ *http.Request) {
		if _, err := s.Login(ctx, "kim", good, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	})
	if after.Value == planted.Value || who(t, s, planted) != "" || who(t, s, after) != kim.ID {
		t.Error("a session id from before the login is signed in")
	}
	out := login(t, s, "kim")
	visit(t, s, out, func(ctx context.Context, _ *http.Request) {
		if err := s.Logout(ctx); err != nil {
			t.Error(err)
		}
	})
	if who(t, s, out) != "" {
		t.Error("the session outlives signing out")
	}
	ctx := context.Background()
	c := login(t, s, "kim")
	if err := s.ChangeUser(ctx, admin(), "default", kim.ID, kim.Roles, false, good+" and more"); err != nil || who(t, s, c) != "" {
		t.Error("the session outlives the password", err)
	}
	if err := s.ChangeUser(ctx, admin(), "default", kim.ID, kim.Roles, false, good); err != nil {
		t.Fatal(err)
	}
	c = login(t, s, "kim")
	if err := s.ChangeUser(ctx, admin(), "default", kim.ID, kim.Roles, true, ""); err != nil || who(t, s, c) != "" {
		t.Error("a disabled user is still in", err)
	}
}

// TestLogin: unknown, wrong and disabled are told alike, and no password is in
// the ledger.
func TestLogin(t *testing.T) {
	s, m, _ := newService(t)
	add(t, s, "kim", auth.RoleViewer)
	gone := add(t, s, "lee", auth.RoleViewer)
	if err := s.ChangeUser(context.Background(), admin(), "default", gone.ID, gone.Roles, true, ""); err != nil {
		t.Fatal(err)
	}
	for _, x := range [][2]string{{"kim", "wrong password here"}, {"nobody", good}, {"lee", good}, {"kim", ""}} {
		visit(t, s, nil, func(ctx context.Context, _ *http.Request) {
			if _, err := s.Login(ctx, x[0], x[1], "192.0.2.1"); !errors.Is(err, auth.ErrCredentials) || err.Error() != auth.ErrCredentials.Error() {
				t.Errorf("%s: %v", x[0], err)
			}
		})
	}
	visit(t, s, nil, func(ctx context.Context, _ *http.Request) {
		if p, err := s.Login(ctx, " KIM ", good, "192.0.2.1"); err != nil || p.Kind != auth.Human {
			t.Error(p, err)
		}
	})
	var types []string
	for _, e := range m.Events() {
		types = append(types, e.Type)
		if strings.Contains(e.Body, "password here") || strings.Contains(e.Body, good) || strings.Contains(e.Body, "kim") {
			t.Errorf("the ledger holds %s", e.Body)
		}
	}
	if got := strings.Join(types, " "); got != "user_added user_added user_changed login_failed login_failed login_failed login" {
		t.Error(got)
	}
}

// TestAttempts: ten a name, thirty an address, then a wait that is told; a
// minute gives one back.
func TestAttempts(t *testing.T) {
	s, _, now := newService(t)
	add(t, s, "kim", auth.RoleViewer)
	try := func(name, password, address string) (err error) {
		visit(t, s, nil, func(ctx context.Context, _ *http.Request) { _, err = s.Login(ctx, name, password, address) })
		return err
	}
	for i := range 10 {
		if err := try("kim", "wrong password here", "192.0.2.1"); !errors.Is(err, auth.ErrCredentials) {
			t.Fatalf("attempt %d: %v", i+1, err)
		}
	}
	// Other addresses don't help against one account, nor does the right word.
	err := try("Kim", good, "198.51.100.7")
	var retry *auth.RetryError
	if !errors.As(err, &retry) || !errors.Is(err, auth.ErrTooMany) || retry.After != time.Minute {
		t.Errorf("the eleventh attempt: %v", err)
	}
	now.now = now.now.Add(61 * time.Second)
	if err := try("kim", good, "198.51.100.7"); err != nil {
		t.Errorf("after a minute: %v", err)
	}
	last := error(nil)
	for i := range 31 {
		last = try("name"+string(rune('a'+i)), good, "203.0.113.9")
		if i < 30 && !errors.Is(last, auth.ErrCredentials) {
			t.Fatalf("name %d of one address: %v", i+1, last)
		}
	}
	if !errors.Is(last, auth.ErrTooMany) {
		t.Errorf("the 31st name of one address: %v", last)
	}
}

// TestTokens: kept by its hash, ends with its time, its revocation and its
// owner; nobody gets a token that may more than its owner.
func TestTokens(t *testing.T) {
	s, m, now := newService(t)
	ctx := context.Background()
	kim := add(t, s, "kim", auth.RoleViewer)
	if _, _, err := s.IssueToken(ctx, admin(), "default", kim.ID, "ci", []auth.Role{auth.RoleAdmin}, time.Time{}); err == nil {
		t.Error("a viewer has a token of an admin")
	}
	if _, _, err := s.IssueToken(ctx, admin(), "default", kim.ID, "ci", kim.Roles, now.now); err == nil {
		t.Error("a token is made that is over already")
	}
	secret, tok, err := s.IssueToken(ctx, admin(), "default", kim.ID, "ci", kim.Roles, now.now.Add(time.Hour))
	if err != nil || tok.Hash != auth.HashSecret(secret) || strings.Contains(tok.Hash, secret) {
		t.Fatal(tok, err)
	}
	for _, e := range m.Events() {
		if strings.Contains(e.Body, secret) || strings.Contains(e.Body, tok.Hash) {
			t.Errorf("the ledger holds the token: %s", e.Body)
		}
	}
	valid := func() bool {
		t.Helper()
		p, err := s.Bearer(ctx, secret)
		if err != nil && !errors.Is(err, auth.ErrToken) {
			t.Fatal(err)
		}
		return err == nil && p.Kind == auth.Machine && p.Can(auth.View) && p.TokenID == tok.ID
	}
	if !valid() {
		t.Error("a fresh token is refused")
	}
	now.now = now.now.Add(time.Hour - time.Second)
	if !valid() {
		t.Error("the token ends before its time")
	}
	now.now = now.now.Add(time.Second)
	if valid() {
		t.Error("the token outlives its time")
	}
	if secret, tok, err = s.IssueToken(ctx, admin(), "default", kim.ID, "ci", kim.Roles, time.Time{}); err != nil || !valid() {
		t.Fatal(err)
	}
	if err := s.ChangeUser(ctx, admin(), "default", kim.ID, kim.Roles, true, ""); err != nil || valid() {
		t.Error("the token outlives its owner's rights", err)
	}
	if err := s.ChangeUser(ctx, admin(), "default", kim.ID, kim.Roles, false, ""); err != nil || !valid() {
		t.Error("the token does not come back with its owner", err)
	}
	if err := s.RevokeToken(ctx, admin(), "default", tok.ID); err != nil || valid() {
		t.Error("the token outlives its revocation", err)
	}
}

// TestAuthorization: a header that is no valid token is refused, and never
// falls back to the session beside it.
func TestAuthorization(t *testing.T) {
	s, _, _ := newService(t)
	add(t, s, "kim", auth.RoleViewer)
	c := login(t, s, "kim")
	for _, h := range []string{"Basic a2ltOng=", "Bearer", "Bearer csm_pat_x", "token"} {
		visit(t, s, c, func(_ context.Context, r *http.Request) {
			r.Header.Set("Authorization", h)
			if p, err := s.Request(r); !errors.Is(err, auth.ErrToken) || p.ID != "" {
				t.Errorf("%q: %v, %v", h, p, err)
			}
		})
	}
}

// beside stores another node's link after each of the first reads.
type beside struct {
	auth.Values
	reads int
}

func (b *beside) Setting(ctx context.Context, tenant, key string) ([]byte, error) {
	v, err := b.Values.Setting(ctx, tenant, key)
	if b.reads++; b.reads > 3 {
		return v, err
	}
	return v, errors.Join(b.CompareAndSetSetting(ctx, tenant, key, v, []byte(fmt.Sprintf(`{"hash":"of another %d"}`, b.reads))), err)
}

// TestSetupLinksAtOnce: nodes that start together each get a link; the last one's
// is good.
func TestSetupLinksAtOnce(t *testing.T) {
	s, m, _ := newService(t)
	b := &beside{Values: m}
	s.Values = b
	link, err := s.NewSetupLink(t.Context())
	if err != nil || s.CheckSetupLink(t.Context(), link) != nil || b.reads < 4 {
		t.Errorf("%q after %d reads: %v", link, b.reads, err)
	}
}

// TestSetupLink: thirty minutes, once, the newest only, and never when somebody
// is there.
func TestSetupLink(t *testing.T) {
	s, m, now := newService(t)
	ctx := context.Background()
	first, err := s.NewSetupLink(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := m.Setting(ctx, "default", "auth.setup"); err != nil || strings.Contains(string(kept), first) {
		t.Error("the link is kept as it is", err)
	}
	link, err := s.NewSetupLink(ctx)
	if err != nil || s.CheckSetupLink(ctx, link) != nil {
		t.Fatal("a fresh link is refused", err)
	}
	for _, bad := range []string{"", "setup-", first, link + "a"} {
		if err := s.CheckSetupLink(ctx, bad); !errors.Is(err, auth.ErrLink) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	now.now = now.now.Add(30*time.Minute - time.Second)
	if err := s.CheckSetupLink(ctx, link); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	now.now = now.now.Add(time.Second)
	if err := s.CheckSetupLink(ctx, link); !errors.Is(err, auth.ErrLink) {
		t.Errorf("after thirty minutes: %v", err)
	}
	if link, err = s.NewSetupLink(ctx); err != nil {
		t.Fatal(err)
	}
	// A mistake in the form costs nothing.
	visit(t, s, nil, func(ctx context.Context, _ *http.Request) {
		if _, err := s.FirstAdmin(ctx, link, "", "", good); err == nil {
			t.Error("an administrator without a name")
		}
		if _, err := s.FirstAdmin(ctx, link, "root", "", "short"); err == nil {
			t.Error("a short password")
		}
	})
	c := visit(t, s, nil, func(ctx context.Context, _ *http.Request) {
		if _, err := s.FirstAdmin(ctx, link, "root", "", good); err != nil {
			t.Error(err)
		}
	})
	if who(t, s, c) == "" {
		t.Error("the first administrator is not signed in")
	}
	if err := s.CheckSetupLink(ctx, link); !errors.Is(err, auth.ErrSetUp) {
		t.Errorf("the link again: %v", err)
	}
	if _, err := s.NewSetupLink(ctx); !errors.Is(err, auth.ErrSetUp) {
		t.Errorf("another link: %v", err)
	}
}
