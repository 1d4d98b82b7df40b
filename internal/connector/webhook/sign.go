package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of Standard Webhooks (github.com/standard-webhooks/standard-webhooks).
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Secret is a signing key.
type Secret struct{ key []byte }

// ParseSecret reads a "whsec_" secret: base64 of 24 to 64 random bytes. The
// error never shows the value.
func ParseSecret(text string) (Secret, error) {
	rest, ok := strings.CutPrefix(text, "whsec_")
	if !ok {
		return Secret{}, errors.New("a signing secret begins with whsec_")
	}
	key, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		key, err = base64.RawStdEncoding.DecodeString(rest)
	}
	if err != nil {
		return Secret{}, errors.New("what follows whsec_ is not base64")
	}
	if len(key) < 24 || len(key) > 64 {
		return Secret{}, fmt.Errorf("a signing secret has 24 to 64 bytes, this one has %d", len(key))
	}
	return Secret{key}, nil
}

func (s Secret) mac(id, timestamp string, body []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(id + "." + timestamp + "."))
	m.Write(body)
	return m.Sum(nil)
}

// Sign sets the three headers. Several secrets give several signatures, so
// that a receiver can change its secret without missing a message.
func Sign(h http.Header, secrets []Secret, id string, at time.Time, body []byte) {
	ts := strconv.FormatInt(at.Unix(), 10)
	sigs := make([]string, 0, len(secrets))
	for _, s := range secrets {
		sigs = append(sigs, "v1,"+base64.StdEncoding.EncodeToString(s.mac(id, ts, body)))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, ts)
	h.Set(HeaderSignature, strings.Join(sigs, " "))
}

// Tolerance is how far the timestamp of a message may be from the receiver's
// clock.
const Tolerance = 5 * time.Minute

// Verify checks the three headers of a received message against any of the
// secrets and returns its id.
func Verify(h http.Header, secrets []Secret, now time.Time, body []byte) (id string, err error) {
	id, ts := h.Get(HeaderID), h.Get(HeaderTimestamp)
	if id == "" || ts == "" {
		return "", fmt.Errorf("headers %s and %s are missing", HeaderID, HeaderTimestamp)
	}
	sec, err := strconv.ParseInt(ts, 10, 64)
	if err != nil {
		return "", fmt.Errorf("header %s is not a number of seconds", HeaderTimestamp)
	}
	if d := now.Sub(time.Unix(sec, 0)); d > Tolerance || d < -Tolerance {
		return "", fmt.Errorf("the message is %s away from our clock, more than %s", d.Round(time.Second), Tolerance)
	}
	for _, sig := range strings.Fields(h.Get(HeaderSignature)) {
		version, text, _ := strings.Cut(sig, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version != "v1" || err != nil {
			continue
		}
		for _, s := range secrets {
			if hmac.Equal(got, s.mac(id, ts, body)) {
				return id, nil
			}
		}
	}
	return "", errors.New("no signature fits")
}
