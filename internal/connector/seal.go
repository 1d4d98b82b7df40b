package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/casement/casement/internal/remedy"
)

// Seal sets time and hash of a plan. The hash covers what will be done (verb,
// target, parameters, data), what the approver reads (text, blast, undo) and
// the state it starts from: if any of them changes, the approval is void.
func Seal(p remedy.Plan, connector, verb string, r Request, now time.Time) remedy.Plan {
	p.At = now
	p.Hash = ""
	b, err := json.Marshal([]any{connector, verb, r.Asset.UID, r.Params, p.Data, p.Text, p.Blast, p.Undo, p.BeforeDigest})
	if err != nil { // strings and a string map: cannot fail
		b = []byte(err.Error())
	}
	h := sha256.Sum256(b)
	p.Hash = hex.EncodeToString(h[:16])
	return p
}

// Digest hashes a before-state for Plan.BeforeDigest.
func Digest(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil { // strings: cannot fail
		b = []byte(err.Error())
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16])
}
