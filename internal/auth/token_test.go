package auth

import (
	"strings"
	"testing"
)

// TestTokenForm: prefix, 32 random characters, 7 of checksum; one wrong
// character is told without a look-up.
func TestTokenForm(t *testing.T) {
	a, err := NewToken()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewToken()
	if err != nil || a == b {
		t.Fatal("two tokens are the same", err)
	}
	if !strings.HasPrefix(a, "csm_pat_") || len(a) != len("csm_pat_")+32+7 || !LooksLikeToken(a) {
		t.Errorf("%s", a)
	}
	for i := len(TokenPrefix); i < len(a); i++ {
		other := byte('a')
		if a[i] == 'a' {
			other = 'b'
		}
		if x := a[:i] + string(other) + a[i+1:]; LooksLikeToken(x) {
			t.Errorf("%s with another character at %d passes", a, i)
		}
	}
}

// TestHashSecret: what is kept is SHA-256 in hex, so that tokens of an older
// release stay valid.
func TestHashSecret(t *testing.T) {
	if got := HashSecret("abc"); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Error(got)
	}
}

// FuzzLooksLikeToken: nothing but the exact form passes, whatever is sent.
func FuzzLooksLikeToken(f *testing.F) {
	a, err := NewToken()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a)
	f.Add(TokenPrefix)
	f.Add(a + "a")
	f.Fuzz(func(t *testing.T, s string) {
		if !LooksLikeToken(s) {
			return
		}
		body := strings.TrimPrefix(s, TokenPrefix)
		if len(body) != 39 || checksum(body[:32]) != body[32:] {
			t.Errorf("%q passes", s)
		}
	})
}

// TestRoleTable holds the one table of who may do what; a change of it is a
// change of this list.
func TestRoleTable(t *testing.T) {
	want := map[Role]string{
		RoleViewer:    "view",
		RoleResponder: "view respond",
		RoleApprover:  "view respond attest decide",
		RoleAdmin:     "view respond attest decide halt administer ingest",
		RoleSource:    "ingest",
		"unknown":     "",
	}
	if len(Roles()) != len(want)-1 {
		t.Errorf("%d roles", len(Roles()))
	}
	for r, list := range want {
		var got []string
		for _, p := range Grants(r) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != list {
			t.Errorf("%s may %v, want %s", r, got, list)
		}
	}
}

// TestCan: deny is the default, both a token and its owner must allow, and a
// token never decides.
func TestCan(t *testing.T) {
	admin := []Role{RoleAdmin}
	for _, x := range []struct {
		name string
		p    Principal
		what Permission
		want bool
	}{
		{"nobody sees public pages", Principal{}, Public, true},
		{"nobody sees no case", Principal{}, View, false},
		{"roles without a name", Principal{Kind: Human, Roles: admin}, View, false},
		{"a person without a role", Principal{ID: "u", Kind: Human}, View, false},
		{"an unknown role", Principal{ID: "u", Kind: Human, Roles: []Role{"root"}}, View, false},
		{"an approver decides", Principal{ID: "u", Kind: Human, Roles: []Role{RoleApprover}}, Decide, true},
		{"an approver does not administer", Principal{ID: "u", Kind: Human, Roles: []Role{RoleApprover}}, Administer, false},
		{"a token does not decide", Principal{ID: "u", Kind: Machine, Roles: admin, owner: admin}, Decide, false},
		{"the local token does not decide", Principal{ID: LocalID, Kind: Machine, Roles: admin}, Decide, false},
		{"the local token administers", Principal{ID: LocalID, Kind: Machine, Roles: admin}, Administer, true},
		{"a token with its owner's role", Principal{ID: "u", Kind: Machine, Roles: admin, owner: admin}, Administer, true},
		{"a token beyond its owner", Principal{ID: "u", Kind: Machine, Roles: admin, owner: []Role{RoleViewer}}, Administer, false},
		{"an owner beyond her token", Principal{ID: "u", Kind: Machine, Roles: []Role{RoleViewer}, owner: admin}, Administer, false},
	} {
		if got := x.p.Can(x.what); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}

func TestParseRoles(t *testing.T) {
	if got, err := ParseRoles(" Approver,responder,,approver "); err != nil || len(got) != 2 || got[0] != RoleApprover || got[1] != RoleResponder {
		t.Error(got, err)
	}
	for _, bad := range []string{"", ",", "root", "admin root"} {
		if got, err := ParseRoles(bad); err == nil || !strings.Contains(err.Error(), "want viewer") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}
