package intake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/correlate"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/intake"
	"github.com/casement/casement/internal/store"
)

// counts stands for engine and store: it only counts what reaches it.
type counts struct {
	intake.Inbox // what the request path does not call is nil
	findings     []finding.Finding
	quarantined  [][]byte
}

func (c *counts) Observe(_ context.Context, tenant string, fs []finding.Finding, _ engine.Raws, _ time.Time) ([]engine.Placed, error) {
	out := make([]engine.Placed, len(fs))
	for i, f := range fs {
		out[i] = engine.Placed{UID: f.UID, Placement: correlate.Open, CaseID: "cas_1"}
	}
	c.findings = append(c.findings, fs...)
	return out, nil
}

func (c *counts) Repeats(_ context.Context, _ string, rs []engine.Repeat, _ time.Time) ([]engine.Placed, []int, error) {
	var rest []int
	for i := range rs {
		rest = append(rest, i)
	}
	return make([]engine.Placed, len(rs)), rest, nil
}

func (c *counts) QuarantinePut(_ context.Context, it store.InboxItem, quota int64) (int64, error) {
	c.quarantined = append(c.quarantined, it.Body)
	return int64(len(c.quarantined)), nil
}

// FuzzRequest sends anything to the doors: the handler never panics, nothing of
// an unverified sender gets through, and an answer accounts for every record.
// door chooses the way: by token, signed by us, or with the headers as given.
func FuzzRequest(f *testing.F) {
	for door := range uint8(5) {
		f.Add(door, []byte(alert("1")), "application/json", "secret_scanning_alert", "sha256=00", "msg_1", "1793610000")
		f.Add(door, []byte(leaked(1)), "text/plain", "secret_scanning_alert", "v1,AAAA", "", "")
	}
	f.Add(uint8(0), []byte(alert("1")+broken+alert("2")), "", "", "", "", "")
	f.Add(uint8(1), []byte("payload=%7B%22action%22%3A%22created%22%7D"), "application/x-www-form-urlencoded; charset=utf-8", "code_scanning_alert", "", "", "")
	f.Add(uint8(2), []byte{}, "multipart/form-data; boundary=", "ping", "v1,", "\x00", "-9223372036854775808")
	f.Add(uint8(0), []byte(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{}]}]}`), "", "", "", "", "")
	f.Add(uint8(0), bytes.Repeat([]byte("["), 300), "", "", "", "", "")
	f.Fuzz(func(t *testing.T, door uint8, body []byte, kind, event, signature, id, stamp string) {
		now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
		c := &counts{}
		in := intake.New(intake.Config{Engine: c, Inbox: c, Seal: sealer{}, HashSecret: func(string) string { return "hashed" }, Now: func() time.Time { return now },
			Source: source, Token: token, MaxBody: maxBody})
		var path, source string
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("X-GitHub-Event", event)
		r.Header.Set("X-Hub-Signature-256", signature)
		r.Header.Set("webhook-signature", signature)
		r.Header.Set("webhook-id", id)
		r.Header.Set("webhook-timestamp", stamp)
		verified := true
		switch door % 5 {
		case 0:
			path = "/api/v1/alerts"
			r.Header.Set("Authorization", "Bearer "+bearerToken)
		case 1:
			source = "gh"
			r.Header.Set("X-Hub-Signature-256", github(githubSecret, string(body)))
		case 2:
			source = "hook"
			if id == "" {
				id = "msg_1"
			}
			r.Header.Set("webhook-id", id)
			r.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
			r.Header.Set("webhook-signature", signature+" "+standard(hookSecret, id, now, string(body)))
		case 3: // nobody guesses a signature
			source, verified = "gh", false
		case 4:
			source, verified = "hook", false
		}
		w := httptest.NewRecorder()
		if path != "" {
			in.ServeAlerts(w, r)
		} else {
			r.SetPathValue("source", source)
			in.ServeHook(w, r)
		}
		var a intake.Answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatalf("%d: %v in %s", w.Code, err, w.Body)
		}
		stored := len(c.findings)+len(c.quarantined) > 0
		if !verified && (stored || w.Code != http.StatusUnauthorized && len(body) <= maxBody) {
			t.Errorf("not verified: %d, %d findings, %d bodies kept", w.Code, len(c.findings), len(c.quarantined))
		}
		if a.Read != a.Kept+a.Suppressed+a.Refused || a.Kept != len(c.findings) || a.Refused != len(a.Refusal) || a.Kept != len(a.Results) {
			t.Errorf("%d read, %d kept, %d suppressed, %d refused; %d findings, %d refusals, %d results", a.Read, a.Kept, a.Suppressed, a.Refused,
				len(c.findings), len(a.Refusal), len(a.Results))
		}
		switch {
		case w.Code == http.StatusOK && a.Refused > 0 != (a.Quarantine != 0):
			t.Errorf("%d refused, quarantine %d", a.Refused, a.Quarantine)
		case w.Code == http.StatusOK && strings.HasPrefix(a.Error, "the event is not an alert"):
			if a.Stored || stored {
				t.Error("an event that is no alert was stored")
			}
		case w.Code == http.StatusOK && !a.Stored, w.Code == http.StatusUnprocessableEntity && (a.Quarantine == 0 || len(c.quarantined) != 1 || len(c.findings) > 0):
			t.Errorf("%d: stored %v, quarantine %d, %d bodies kept", w.Code, a.Stored, a.Quarantine, len(c.quarantined))
		case w.Code != http.StatusOK && w.Code != http.StatusUnprocessableEntity && (stored || a.Stored):
			t.Errorf("%d and something was stored", w.Code)
		}
		for _, b := range c.quarantined {
			if plain, err := (sealer{}).Open(b); err != nil || !bytes.Equal(plain, body) && kind == "" {
				t.Errorf("what is kept is not what came: %q, %v", plain, err)
			}
		}
		for _, f := range c.findings {
			if f.Tenant != finding.DefaultTenant {
				t.Errorf("the body chose the tenant %q", f.Tenant)
			}
		}
	})
}
