package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// TokenPrefix begins every API token, so that secret scanners can find leaked
// ones.
const TokenPrefix = "csm_pat_"

// tokenRandom is the number of random bytes of a token: 160 bits.
const tokenRandom = 20

func lowerBase32(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// NewToken returns a fresh token: prefix, 32 random characters and a checksum
// of 7, by which a mistyped or foreign one is told without a look-up.
func NewToken() (string, error) {
	b := make([]byte, tokenRandom)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("no randomness for a token: %w", err)
	}
	body := lowerBase32(b)
	return TokenPrefix + body + checksum(body), nil
}

// checksum is the CRC-32 (IEEE) of the body in 7 characters.
func checksum(body string) string {
	c := crc32.ChecksumIEEE([]byte(body))
	return lowerBase32([]byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)})
}

// LooksLikeToken reports whether s has the form and checksum of a token.
func LooksLikeToken(s string) bool {
	body, ok := strings.CutPrefix(s, TokenPrefix)
	const n = tokenRandom * 8 / 5
	return ok && len(body) == n+7 && checksum(body[:n]) == body[n:]
}

// HashSecret is how tokens and links are kept: hex SHA-256. Their 160 random
// bits need no slow hash.
func HashSecret(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func newID(prefix string) (string, error) {
	b := make([]byte, 10)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("no randomness for an id: %w", err)
	}
	return prefix + lowerBase32(b), nil
}

// IssueToken makes a token for a user and returns its secret, which is shown
// once and kept nowhere. The roles must be the owner's.
func (s *Service) IssueToken(ctx context.Context, by remedy.Actor, tenant, userID, name string, roles []Role, expires time.Time) (secret string, t Token, err error) {
	owner, err := s.Accounts.User(ctx, tenant, userID)
	if err != nil {
		return "", t, err
	}
	for _, r := range roles {
		for _, p := range Grants(r) {
			if !allow(owner.Roles, p) {
				return "", t, &InputError{fmt.Sprintf("role %s: %s may not %s, so no token of %s may; give %s a role that may first", r, owner.Name, p, owner.Name, owner.Name)}
			}
		}
	}
	now := s.Now().UTC()
	if !expires.IsZero() && !expires.After(now) {
		return "", t, &InputError{"the token would have expired at " + expires.Format(time.RFC3339) + " already"}
	}
	if secret, err = NewToken(); err != nil {
		return "", t, err
	}
	id, err := newID("t-")
	if err != nil {
		return "", t, err
	}
	t = Token{Hash: HashSecret(secret), ID: id, Tenant: tenant, UserID: userID, Name: name, Roles: roles, CreatedAt: now, ExpiresAt: expires.UTC()}
	if expires.IsZero() {
		t.ExpiresAt = time.Time{}
	}
	if err := s.Accounts.PutToken(ctx, t); err != nil {
		return "", t, err
	}
	return secret, t, s.audit(ctx, tenant, "token_issued", by, map[string]any{"token": id, "user": userID, "roles": roles, "expires_at": t.ExpiresAt})
}

// RevokeToken ends a token at once.
func (s *Service) RevokeToken(ctx context.Context, by remedy.Actor, tenant, id string) error {
	if err := s.Accounts.DropToken(ctx, tenant, id); err != nil {
		return err
	}
	return s.audit(ctx, tenant, "token_revoked", by, map[string]any{"token": id})
}

// Bearer returns the principal of a bearer token, or ErrToken.
func (s *Service) Bearer(ctx context.Context, secret string) (Principal, error) {
	if !LooksLikeToken(secret) {
		return Principal{}, ErrToken
	}
	if s.Local != "" && subtle.ConstantTimeCompare([]byte(HashSecret(secret)), []byte(HashSecret(s.Local))) == 1 {
		return Principal{ID: LocalID, Tenant: s.Tenant, Name: "command line", Kind: Machine, Roles: []Role{RoleAdmin}}, nil
	}
	t, err := s.Accounts.TokenByHash(ctx, HashSecret(secret))
	if errors.Is(err, ErrNotFound) {
		return Principal{}, ErrToken
	}
	if err != nil {
		return Principal{}, err
	}
	if !t.ExpiresAt.IsZero() && !s.Now().Before(t.ExpiresAt) {
		return Principal{}, ErrToken
	}
	u, err := s.Accounts.User(ctx, t.Tenant, t.UserID)
	if errors.Is(err, ErrNotFound) || err == nil && u.Disabled {
		return Principal{}, ErrToken
	}
	if err != nil {
		return Principal{}, err
	}
	return Principal{ID: u.ID, Tenant: t.Tenant, Name: u.Name, Kind: Machine, Roles: t.Roles, owner: u.Roles, TokenID: t.ID, TokenName: t.Name}, nil
}
