package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func TestKeysSurviveRestartSealAndSign(t *testing.T) {
	dir := t.TempDir()
	a, err := loadKeys(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadKeys(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := a.Seal([]byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := b.Open(sealed); err != nil || string(plain) != "body" {
		t.Fatalf("open: %q %v", plain, err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := b.Open(sealed); err == nil {
		t.Error("a changed body opens")
	}
	if a.HashSecret("s") != b.HashSecret("s") || a.HashSecret("s") == a.HashSecret("t") {
		t.Error("secret hash is not keyed and stable")
	}
	s, err := note.NewSigner(a.signer)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(b.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := note.Sign(&note.Note{Text: "x\n"}, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(msg, note.VerifierList(v)); err != nil {
		t.Error(err)
	}
	other, err := loadKeys(t.TempDir(), "")
	if err != nil || other.Verifier == a.Verifier {
		t.Errorf("two installs have one key (%v)", err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the install key: %v %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKeys(dir, ""); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("damaged key: %v", err)
	}
}
