package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/casement/casement/internal/engine"
)

// TestDatabaseIsAway: people and programs are told to come again, and not that
// nothing was done where that is not known.
func TestDatabaseIsAway(t *testing.T) {
	s := &server{}
	s.Log = slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		err  error
		says string
	}{{engine.ErrUnavailable, "Nothing was done"}, {engine.ErrUnsure, "look before you repeat it"}} {
		p := s.problemOf(t.Context(), http.MethodPost, "/cases/c1", fmt.Errorf("%w: dial tcp 10.1.2.3:5432", c.err))
		if p.Status != http.StatusServiceUnavailable || p.GetHeaders().Get("Retry-After") != "2" || !strings.Contains(p.Detail, c.says) || strings.Contains(p.Error(), "10.1.2.3") {
			t.Errorf("%v: %+v", c.err, p)
		}
	}
}
