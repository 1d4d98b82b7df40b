package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// replayWindow is how far a signed timestamp may lie from our clock (Standard
// Webhooks recommends five minutes).
const replayWindow = 5 * time.Minute

// verify checks the sender's signature over the raw body.
func verify(src Source, h http.Header, body []byte, now time.Time) error {
	if len(src.Secrets) == 0 {
		return errors.New("the source has no secret: set one in the configuration")
	}
	switch src.Kind {
	case "github":
		return verifyGitHub(src.Secrets, h, body)
	case "standard-webhooks":
		return verifyStandard(src.Secrets, h, body, now)
	}
	return errors.New("the source's kind " + strconv.Quote(src.Kind) + " has no signature check")
}

// verifyGitHub checks X-Hub-Signature-256: "sha256=" and the hex HMAC.
func verifyGitHub(secrets []string, h http.Header, body []byte) error {
	hexSum, ok := strings.CutPrefix(h.Get("X-Hub-Signature-256"), "sha256=")
	got, err := hex.DecodeString(hexSum)
	if !ok || err != nil {
		return errors.New("header X-Hub-Signature-256 is missing or not sha256=<hex>")
	}
	for _, s := range secrets {
		if s != "" && hmac.Equal(got, mac([]byte(s), body)) {
			return nil
		}
	}
	return errors.New("signature does not match")
}

// verifyStandard checks webhook-id, webhook-timestamp and webhook-signature as
// the Standard Webhooks specification defines them.
func verifyStandard(secrets []string, h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if id == "" || err != nil {
		return errors.New("headers webhook-id and webhook-timestamp are missing or malformed")
	}
	if d := now.Sub(time.Unix(sec, 0)); d > replayWindow || d < -replayWindow {
		return errors.New("the signed timestamp lies outside the replay window of five minutes")
	}
	signed := append([]byte(id+"."+stamp+"."), body...)
	for _, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil {
			key = []byte(s)
		}
		if len(key) == 0 {
			continue // anybody could sign with it
		}
		want := mac(key, signed)
		for _, part := range strings.Fields(h.Get("Webhook-Signature")) {
			b64, ok := strings.CutPrefix(part, "v1,")
			got, err := base64.StdEncoding.DecodeString(b64)
			if ok && err == nil && hmac.Equal(got, want) {
				return nil
			}
		}
	}
	return errors.New("signature does not match")
}

func mac(key, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(body)
	return m.Sum(nil)
}
