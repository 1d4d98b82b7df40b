package ledger

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is what is signed: so many records, with this root, at this time.
type Checkpoint struct {
	// Origin names the tree: the install and its epoch. A restore begins a new
	// epoch and with it a new origin. One line, not empty.
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
	Root   Hash   `json:"root"`
	// At is when it was signed, UTC, to the second.
	At time.Time `json:"at"`
	// Follows is the Digest of the last checkpoint of the epoch before; zero in
	// the first epoch.
	Follows Hash `json:"follows,omitzero"`
}

// Text returns the signed text: origin, size, root in base64 (the form of
// c2sp.org/tlog-checkpoint), then the lines "time" and, if there is an epoch
// before, "follows".
func (c Checkpoint) Text() string {
	s := fmt.Sprintf("%s\n%d\n%s\ntime %s\n", c.Origin, c.Size, encode(c.Root), stamp(c.At))
	if c.Follows != (Hash{}) {
		s += "follows " + encode(c.Follows) + "\n"
	}
	return s
}

// Digest is the SHA-256 of Text, by which a later epoch names this checkpoint.
func (c Checkpoint) Digest() Hash { return sha256.Sum256([]byte(c.Text())) }

// ParseCheckpoint reads what Text writes, and nothing else: a text with several
// readings must not be signed or believed.
func ParseCheckpoint(text string) (Checkpoint, error) {
	bad := func(line int, format string, a ...any) (Checkpoint, error) {
		return Checkpoint{}, fmt.Errorf("checkpoint line %d: "+format, append([]any{line}, a...)...)
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 5 || len(lines) > 6 || lines[len(lines)-1] != "" {
		return bad(1, "want 4 or 5 lines, each ended: origin, size, root, time, follows")
	}
	var c Checkpoint
	var err error
	if c.Origin = lines[0]; strings.TrimSpace(c.Origin) == "" {
		return bad(1, "the origin is empty")
	}
	if c.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.Size < 0 {
		return bad(2, "size %q: want a decimal number", lines[1])
	}
	if c.Root, err = decode(lines[2]); err != nil {
		return bad(3, "root: %w", err)
	}
	at, ok := strings.CutPrefix(lines[3], "time ")
	if c.At, err = time.Parse(time.RFC3339, at); !ok || err != nil {
		return bad(4, "%q: want the word time and an instant such as 2026-01-02T15:04:05Z", lines[3])
	}
	if len(lines) == 6 {
		follows, ok := strings.CutPrefix(lines[4], "follows ")
		if c.Follows, err = decode(follows); !ok || err != nil {
			return bad(5, "%q: want the word follows and a hash", lines[4])
		}
	}
	c.At = c.At.UTC()
	if c.Text() != text {
		return bad(1, "not written in the canonical form")
	}
	return c, nil
}

// Sign returns the checkpoint as a signed note.
func Sign(c Checkpoint, signers ...note.Signer) ([]byte, error) {
	if _, err := ParseCheckpoint(c.Text()); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if len(signers) == 0 {
		return nil, fmt.Errorf("sign checkpoint of %s: no signer was given", c.Origin)
	}
	msg, err := note.Sign(&note.Note{Text: c.Text()}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint of %s: %w", c.Origin, err)
	}
	return msg, nil
}

// Open verifies a signed note with the known keys, of which at least one must
// have signed, and reads its checkpoint.
func Open(msg []byte, known note.Verifiers) (Checkpoint, error) {
	n, err := note.Open(msg, known)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	return ParseCheckpoint(n.Text)
}

func encode(h Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }

func decode(s string) (Hash, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != len(Hash{}) {
		return Hash{}, fmt.Errorf("%q: want 32 bytes in base64", s)
	}
	return Hash(b), nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
