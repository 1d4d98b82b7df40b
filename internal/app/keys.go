package app

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// keyFile holds the install key: 32 random bytes as hex, mode 0600. Everything
// secret that the install itself needs is derived from it.
const keyFile = "install.key"

// keys are what an install derives from its key.
type keys struct {
	aead   cipher.AEAD
	hash   []byte
	signer string // note signer of the ledger
	// Verifier is the public half, for whoever checks the ledger elsewhere.
	Verifier string
}

// loadKeys reads the given install key, else that of a data folder, and makes
// one for a new folder.
func loadKeys(folder, given string) (*keys, error) {
	if given != "" {
		raw, err := hex.DecodeString(given)
		if err != nil || len(raw) != 32 {
			return nil, errors.New("data.key does not lead to an install key: it must be 64 hex digits, as install.key holds them")
		}
		return deriveKeys(raw)
	}
	path := filepath.Join(folder, keyFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return nil, fmt.Errorf("make install key: %w", err)
		}
		b = []byte(hex.EncodeToString(raw))
		if err := writeNew(path, b); err != nil {
			return nil, fmt.Errorf("write install key: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("read install key: %w", err)
	}
	raw, err := hex.DecodeString(string(b))
	if err != nil || len(raw) != 32 {
		return nil, fmt.Errorf("%s is damaged: it must hold 64 hex digits; restore it from a backup, without it sealed bodies can't be opened", path)
	}
	return deriveKeys(raw)
}

// writeNew writes a file that must not exist yet and syncs it to disk.
func writeNew(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func deriveKeys(raw []byte) (*keys, error) {
	part := func(use string) ([]byte, error) { return hkdf.Key(sha256.New, raw, nil, "casement/1/"+use, 32) }
	seal, err := part("seal")
	if err != nil {
		return nil, err
	}
	hash, err := part("secret-hash")
	if err != nil {
		return nil, err
	}
	sign, err := part("ledger")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	k := &keys{aead: aead, hash: hash}
	k.signer, k.Verifier, err = noteKey("casement-ledger", sign)
	return k, err
}

// noteKey makes the signer and verifier of the signed-note format from a seed,
// so that the ledger's key follows from the install key.
func noteKey(name string, seed []byte) (signer, verifier string, err error) {
	private := ed25519.NewKeyFromSeed(seed)
	verifier, err = note.NewEd25519VerifierKey(name, private.Public().(ed25519.PublicKey))
	if err != nil {
		return "", "", err
	}
	hash := strings.Split(verifier, "+")[1]
	return "PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed...)), verifier, nil
}

// Seal encrypts a raw body.
func (k *keys) Seal(plain []byte) ([]byte, error) { return k.aead.Seal(nil, nil, plain, nil), nil }

// Open decrypts a raw body.
func (k *keys) Open(sealed []byte) ([]byte, error) {
	b, err := k.aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, errors.New("a stored body can't be opened: it was changed, or sealed with another install key")
	}
	return b, nil
}

// HashSecret is the keyed hash that takes the place of a secret in findings.
func (k *keys) HashSecret(secret string) string {
	m := hmac.New(sha256.New, k.hash)
	m.Write([]byte(secret))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// overhead is how many bytes Seal adds.
func (k *keys) overhead() int { return k.aead.Overhead() }
