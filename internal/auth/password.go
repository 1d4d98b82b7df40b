package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// PasswordParams are the costs of argon2id.
type PasswordParams struct {
	// Memory in KiB.
	Memory uint32
	// Passes over the memory, and parallel lanes.
	Passes uint32
	Lanes  uint8
}

// DefaultPasswordParams follow the second recommended choice of RFC 9106,
// section 4 (64 MiB, 3 passes), with two lanes.
func DefaultPasswordParams() PasswordParams { return PasswordParams{64 << 10, 3, 2} }

// The bounds of a stored hash that is still computed: a forged row must not
// cost all memory of the machine.
const (
	maxMemory = 1 << 20 // KiB: 1 GiB
	maxPasses = 16
	keyBytes  = 32
	saltBytes = 16
	// givenBack is the memory, in KiB, that is not left to the garbage collector.
	givenBack = 8 << 10
)

// The bounds of a password, in characters. The lower one is that of NIST SP
// 800-63B-4 for passwords that are the only factor.
const (
	MinPassword = 15
	maxPassword = 512
)

// CheckPassword says what is wrong with a new password, nil if nothing is.
func CheckPassword(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return &InputError{fmt.Sprintf("the password has %d characters, it needs at least %d: a few words make a good one", n, MinPassword)}
	case n > maxPassword:
		return &InputError{fmt.Sprintf("the password is longer than %d characters", maxPassword)}
	}
	return nil
}

// HashPassword returns the PHC string of a password.
func HashPassword(password string, p PasswordParams) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("no randomness for a salt: %w", err)
	}
	key := derive(password, salt, p, keyBytes)
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Passes, p.Lanes, b64(salt), b64(key)), nil
}

// derive computes argon2id and gives the memory it took back: as garbage it would
// stay until the heap has grown to twice its size. That costs a tenth of the hash.
func derive(password string, salt []byte, p PasswordParams, size int) []byte {
	key := argon2.IDKey([]byte(password), salt, p.Passes, p.Memory, p.Lanes, uint32(size))
	if p.Memory >= givenBack {
		debug.FreeOSMemory()
	}
	return key
}

var errHash = errors.New("stored password hash is not an argon2id PHC string within bounds")

// VerifyPassword compares in constant time. stale says that the hash was made
// with other costs than p and should be made anew.
func VerifyPassword(phc, password string, p PasswordParams) (ok, stale bool, err error) {
	q, salt, key, err := parsePHC(phc)
	if err != nil {
		return false, false, err
	}
	if len(password) > maxPassword*utf8.UTFMax {
		return false, false, nil
	}
	got := derive(password, salt, q, len(key))
	return subtle.ConstantTimeCompare(got, key) == 1, q != p, nil
}

func parsePHC(phc string) (p PasswordParams, salt, key []byte, err error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, errHash
	}
	const costs = "m=%d,t=%d,p=%d"
	_, err = fmt.Sscanf(parts[3], costs, &p.Memory, &p.Passes, &p.Lanes)
	if err != nil || fmt.Sprintf(costs, p.Memory, p.Passes, p.Lanes) != parts[3] {
		return p, nil, nil, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	key, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 64 ||
		p.Memory < 8 || p.Memory > maxMemory || p.Passes < 1 || p.Passes > maxPasses || p.Lanes < 1 {
		return p, nil, nil, errHash
	}
	return p, salt, key, nil
}
