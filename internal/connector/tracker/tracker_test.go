package tracker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/connector/tracker"
)

func now() time.Time { return time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) }

func TestTracker(t *testing.T) {
	m := &tracker.Memory{}
	tr := tracker.Tracker{Store: m, BaseURL: "https://casement.example", Now: now}
	ctx := t.Context()
	q := connector.TicketRequest{Key: "c1/ticket/1", CaseID: "c1", Project: "SEC", Title: "Public bucket", Body: "Please look.\n", Link: "https://casement.example/cases/c1",
		Fields: map[string]string{"severity": "high"}, Due: now().Add(time.Hour)}
	ref, url, err := tr.Open(ctx, q)
	if err != nil || ref != "T-1" || url != "https://casement.example/tickets/1" {
		t.Fatal(ref, url, err)
	}
	got := m.Tickets()[0]
	if got.Body != "Please look.\n\nCase: https://casement.example/cases/c1" || got.Fields["severity"] != "high" || !got.Due.Equal(q.Due) || got.Status != tracker.StatusOpen {
		t.Errorf("%+v", got)
	}
	if err := m.SetStatus(ctx, 1, tracker.StatusDone, now()); err != nil {
		t.Fatal(err)
	}
	if word, done, err := tr.Status(ctx, ref); word != "done" || !done || err != nil {
		t.Error(word, done, err)
	}
	if err := tr.Reopen(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if word, done, err := tr.Status(ctx, ref); word != "open" || done || err != nil {
		t.Error(word, done, err)
	}
	for range 2 { // finishing twice is finishing once
		if err := tr.Finish(ctx, ref); err != nil {
			t.Fatal(err)
		}
	}
	if word, done, err := tr.Status(ctx, ref); word != "done" || !done || err != nil {
		t.Error(word, done, err)
	}
	for _, bad := range []string{"", "T-", "T-0", "12", "T-9", "JIRA-4"} {
		for doing, err := range map[string]error{"finishing": tr.Finish(ctx, bad), "reopening": tr.Reopen(ctx, bad)} {
			if connector.KindOf(err) != connector.KindRefused || err == nil {
				t.Errorf("%s %q: %v", doing, bad, err)
			}
		}
		if err := tr.Say(ctx, bad, "k", "x"); connector.KindOf(err) != connector.KindRefused || err == nil {
			t.Errorf("say to %q: %v", bad, err)
		}
	}
	if _, _, err := tr.Open(ctx, connector.TicketRequest{Title: "no key"}); connector.KindOf(err) != connector.KindConfig {
		t.Error(err)
	}
}

type broken struct{ tracker.Memory }

func (*broken) Create(context.Context, string, tracker.Ticket) (int64, error) {
	return 0, errors.New("disk full")
}

func TestStoreFailureIsRetryable(t *testing.T) {
	tr := tracker.Tracker{Store: &broken{}, Now: now}
	_, _, err := tr.Open(t.Context(), connector.TicketRequest{Key: "k", Title: "t"})
	if connector.KindOf(err) != connector.KindRetry || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
}

// Whatever is repeated in whatever order: one ticket per key, one comment per
// ticket and key, in the order of the first calls.
func TestOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &tracker.Memory{}
		tr := tracker.Tracker{Store: m, Now: now}
		refs := map[string]string{}
		want := map[string][]string{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			key := fmt.Sprint("k", rapid.IntRange(1, 3).Draw(t, "key"))
			ref, _, err := tr.Open(context.Background(), connector.TicketRequest{Key: key, Title: "t"})
			if err != nil {
				t.Fatal(err)
			}
			if old, ok := refs[key]; ok && old != ref {
				t.Fatalf("key %s: %s, then %s", key, old, ref)
			}
			refs[key] = ref
			line := fmt.Sprint("line ", rapid.IntRange(1, 3).Draw(t, "line"))
			if err := tr.Say(context.Background(), ref, line, line); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(want[ref], line) {
				want[ref] = append(want[ref], line)
			}
		}
		if n := len(m.Tickets()); n != len(refs) {
			t.Fatalf("%d tickets for %d keys", n, len(refs))
		}
		for i, x := range m.Tickets() {
			if got := m.Comments(int64(i + 1)); !slices.Equal(got, want[fmt.Sprint("T-", x.ID)]) {
				t.Fatalf("ticket %d: %v", x.ID, got)
			}
		}
	})
}
