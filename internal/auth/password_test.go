package auth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// cheap keeps tests fast; what the costs are is tested by themselves.
func cheap() PasswordParams { return PasswordParams{Memory: 64, Passes: 1, Lanes: 1} }

// TestPasswordCosts: the default is the second recommended choice of RFC 9106,
// section 4, and a hash says what it was made with.
func TestPasswordCosts(t *testing.T) {
	if p := DefaultPasswordParams(); p.Memory != 64<<10 || p.Passes != 3 || p.Lanes < 1 {
		t.Errorf("default costs %+v, want 64 MiB and 3 passes", p)
	}
	phc, err := HashPassword("correct horse battery staple", cheap())
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Fatal(phc, err)
	}
	again, err := HashPassword("correct horse battery staple", cheap())
	if err != nil || again == phc {
		t.Error("two hashes of one password have the same salt", err)
	}
	_, salt, key, err := parsePHC(phc)
	if err != nil || len(salt) != 16 || len(key) != 32 {
		t.Error(len(salt), len(key), err)
	}
}

func TestVerifyPassword(t *testing.T) {
	phc, err := HashPassword("correct horse battery staple", cheap())
	if err != nil {
		t.Fatal(err)
	}
	dear := cheap()
	dear.Passes++
	for _, x := range []struct {
		name, phc, password string
		p                   PasswordParams
		ok, stale, fault    bool
	}{
		{"right", phc, "correct horse battery staple", cheap(), true, false, false},
		{"wrong", phc, "correct horse battery stapler", cheap(), false, false, false},
		{"empty", phc, "", cheap(), false, false, false},
		{"made with other costs", phc, "correct horse battery staple", dear, true, true, false},
		{"longer than any password", phc, strings.Repeat("a", 4*maxPassword+1), cheap(), false, false, false},
		{"no hash", "", "x", cheap(), false, false, true},
		{"another algorithm", strings.Replace(phc, "argon2id", "argon2i", 1), "x", cheap(), false, false, true},
		{"another version", strings.Replace(phc, "v=19", "v=16", 1), "x", cheap(), false, false, true},
		{"all memory of the machine", strings.Replace(phc, "m=64", "m=4194304", 1), "x", cheap(), false, false, true},
		{"a day of passes", strings.Replace(phc, "t=1", "t=100000", 1), "x", cheap(), false, false, true},
		{"no lanes", strings.Replace(phc, "p=1", "p=0", 1), "x", cheap(), false, false, true},
		{"something behind the costs", strings.Replace(phc, "p=1$", "p=1,keyid=x$", 1), "x", cheap(), false, false, true},
		{"cut", phc[:len(phc)-30], "x", cheap(), false, false, true},
	} {
		ok, stale, err := VerifyPassword(x.phc, x.password, x.p)
		if ok != x.ok || ok && stale != x.stale || (err != nil) != x.fault {
			t.Errorf("%s: ok %v, stale %v, %v", x.name, ok, stale, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for _, x := range []struct {
		password string
		good     bool
	}{{strings.Repeat("é", MinPassword-1), false}, {strings.Repeat("é", MinPassword), true}, {strings.Repeat("é", maxPassword), true}, {strings.Repeat("é", maxPassword+1), false}} {
		err := CheckPassword(x.password)
		var input *InputError
		if (err == nil) != x.good || err != nil && !errors.As(err, &input) {
			t.Errorf("%d characters: %v", len([]rune(x.password)), err)
		}
		if err != nil && strings.Contains(err.Error(), "éé") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// FuzzPHC: a stored hash is refused or read as exactly what it says; the costs
// of what is read stay within bounds.
func FuzzPHC(f *testing.F) {
	phc, err := HashPassword("correct horse battery staple", cheap())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(phc)
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAA")
	f.Add("$argon2id$v=19$m=+64,t=1,p=1 $$")
	f.Fuzz(func(t *testing.T, s string) {
		p, salt, key, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.Memory > maxMemory || p.Passes > maxPasses || p.Lanes == 0 || len(salt) > 64 || len(key) > 64 {
			t.Errorf("%q is read beyond the bounds: %+v", s, p)
		}
		if costs := fmt.Sprintf("$m=%d,t=%d,p=%d$", p.Memory, p.Passes, p.Lanes); !strings.Contains(s, costs) {
			t.Errorf("%q is read as %s", s, costs)
		}
	})
}
