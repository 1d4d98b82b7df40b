package web

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/finding"
)

// shelf holds quarantined bodies for the pages: what is marked readable leaves
// it when it is released.
type shelf struct {
	bodies   []BodyText
	readable bool
	reasons  []string
}

func (s *shelf) Quarantined(_ context.Context, tenant string) (int, error) {
	if tenant != finding.DefaultTenant {
		return 0, nil
	}
	return len(s.bodies), nil
}

func (s *shelf) Bodies(_ context.Context, _ auth.Principal, source string, after int64, n int) ([]Body, error) {
	var out []Body
	for _, b := range s.bodies {
		if b.ID > after && (source == "" || b.Source == source) && len(out) < n {
			out = append(out, b.Body)
		}
	}
	return out, nil
}

func (s *shelf) find(id int64) (int, error) {
	if i := slices.IndexFunc(s.bodies, func(b BodyText) bool { return b.ID == id }); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("body %d: %w", id, engine.ErrNotFound)
}

func (s *shelf) Body(_ context.Context, _ auth.Principal, id int64) (BodyText, error) {
	i, err := s.find(id)
	if err != nil {
		return BodyText{}, err
	}
	return s.bodies[i], nil
}

func (s *shelf) Release(_ context.Context, _ auth.Principal, id int64, mapping string) (Released, error) {
	i, err := s.find(id)
	if err != nil {
		return Released{}, err
	}
	if !s.readable && mapping == "" {
		return Released{ID: id, Stays: true, Why: "no reader knows it"}, nil
	}
	s.bodies = slices.Delete(s.bodies, i, i+1)
	return Released{ID: id, Format: "acme", Read: 3, Kept: 2, Suppressed: 1, Opened: 1, Joined: 1, Cases: []string{"c-invoices"}}, nil
}

func (s *shelf) Drop(_ context.Context, _ auth.Principal, id int64, reason string) error {
	i, err := s.find(id)
	if err == nil {
		s.bodies, s.reasons = slices.Delete(s.bodies, i, i+1), append(s.reasons, reason)
	}
	return err
}

// fill puts n bodies on the shelf.
func (s *shelf) fill(n int) {
	for i := range n {
		b := Body{ID: int64(i + 1), Source: "scanner", ReceivedAt: epoch().Add(-2 * time.Hour), Bytes: 2048, Owner: "Team Storage", Why: "line 1: not <JSON>"}
		if i == 1 {
			b.Source = "gh"
		}
		s.bodies = append(s.bodies, BodyText{Body: b, Size: 2000, Text: "<script>alert(1)</script> the body"})
	}
}

// TestQuarantinePages: the first page leads to what could not be read, people
// see it by their role, and an administrator has it read again or drops it for
// a reason.
func TestQuarantinePages(t *testing.T) {
	w := newWorld(t)
	w.seed()
	if strings.Contains(w.status(200, "vic", "GET", "/cases", ""), `href="/quarantine"`) {
		t.Error("an empty quarantine is told of")
	}
	contains(t, w.status(200, "vic", "GET", "/quarantine", ""), "Nothing waits here")
	w.shelf.fill(pageSize + 1)
	contains(t, w.status(200, "vic", "GET", "/cases", ""), `<a href="/quarantine">51 messages of alert sources can't be read.</a>`)
	list := w.status(200, "vic", "GET", "/quarantine", "")
	contains(t, list, "line 1: not &lt;JSON&gt;", "Team Storage", `href="/quarantine?after=50"`, "50 bodies on this page")
	contains(t, w.status(200, "vic", "GET", "/quarantine?after=50", ""), "1 body on this page", `href="/quarantine"`)
	if one := w.status(200, "vic", "GET", "/quarantine?source=gh", ""); !strings.Contains(one, "/quarantine/2") || strings.Contains(one, "/quarantine/1\"") {
		t.Error("the list of one source")
	}
	w.status(400, "vic", "GET", "/quarantine?after=x", "")

	w.status(403, "vic", "GET", "/quarantine/1", "")
	seen := w.status(200, "lee", "GET", "/quarantine/1", "")
	contains(t, seen, "&lt;script&gt;alert(1)&lt;/script&gt; the body", "An administrator can have it read again")
	if strings.Contains(seen, "<form method=\"post\" action=\"/quarantine/1") {
		t.Error("a form for who may not send it")
	}
	w.status(403, "lee", "POST", "/quarantine/1/release", "mapping=")
	w.status(403, "dana", "POST", "/quarantine/1/drop", "reason=x")
	contains(t, w.status(200, "mara", "GET", "/quarantine/1", ""), `action="/quarantine/1/release"`, `action="/quarantine/1/drop"`)
	contains(t, w.status(422, "mara", "POST", "/quarantine/1/release", "mapping="), "Read again, and it stays here:", "no reader knows it")
	contains(t, w.status(200, "mara", "POST", "/quarantine/1/release", "mapping="+url.QueryEscape("format: acme")),
		"3 records read as acme: 1 case opened, 1 joined, 0 seen before, 1 no findings", `href="/cases/c-invoices"`)
	w.status(404, "mara", "POST", "/quarantine/1/release", "mapping=")
	w.status(404, "mara", "GET", "/quarantine/none", "")
	w.status(422, "mara", "POST", "/quarantine/2/drop", "reason=+")
	rec := w.do("mara", "POST", "/quarantine/2/drop", "reason=a+test+of+the+sender")
	if rec.Code != 303 || rec.Header().Get("Location") != "/quarantine?said=dropped" || len(w.shelf.reasons) != 1 || w.shelf.reasons[0] != "a test of the sender" {
		t.Errorf("dropped: %d %v", rec.Code, w.shelf.reasons)
	}
	contains(t, w.status(200, "mara", "GET", "/quarantine?said=dropped", ""), "The body was dropped; the ledger holds who did it and why.")
}
