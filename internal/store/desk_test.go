package store_test

import (
	"context"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func body(source, text string) store.InboxItem {
	return store.InboxItem{Tenant: "default", Source: source, ReceivedAt: storetest.Epoch(), Headers: map[string]string{"X-Event": "push"}, Body: []byte(text)}
}

func TestInboxLife(t *testing.T) {
	s, ctx, now := open(t, t.TempDir()), t.Context(), storetest.Epoch()
	next := func(at time.Time) []store.InboxItem {
		list, err := s.InboxNext(ctx, at, time.Minute, 10)
		want(t, err, nil)
		return list
	}
	first, err := s.InboxPut(ctx, body("github", "one"))
	want(t, err, nil)
	second := body("github", "two")
	second.NextAt = now.Add(time.Hour)
	_, err = s.InboxPut(ctx, second)
	want(t, err, nil)
	got := next(now)
	if len(got) != 1 || got[0].ID != first || string(got[0].Body) != "one" || got[0].Headers["X-Event"] != "push" || got[0].Attempts != 1 || !got[0].ReceivedAt.Equal(now) {
		t.Fatalf("claimed %+v", got)
	}
	if len(next(now)) != 0 {
		t.Error("a claimed body was handed out twice")
	}
	again := next(now.Add(time.Minute)) // the claim ran out
	if len(again) != 1 || again[0].Epoch <= got[0].Epoch || again[0].Attempts != 2 {
		t.Fatalf("claimed again: %+v", again)
	}
	want(t, s.InboxDone(ctx, got[0]), record.ErrStale)
	want(t, s.InboxRetry(ctx, again[0], now.Add(30*time.Minute), "no policy"), nil)
	want(t, s.InboxRetry(ctx, again[0], now, "twice"), record.ErrStale)
	if due, err := s.InboxNextDue(ctx); err != nil || !due.Equal(now.Add(30*time.Minute)) {
		t.Errorf("next due %v, %v", due, err)
	}
	third := next(now.Add(30 * time.Minute))
	if len(third) != 1 || third[0].Error != "no policy" {
		t.Fatalf("after the retry: %+v", third)
	}
	want(t, s.InboxDone(ctx, third[0]), nil)
	if waiting, quarantined, err := s.InboxCount(ctx, "default"); err != nil || waiting != 1 || quarantined != 0 {
		t.Errorf("count %d, %d, %v", waiting, quarantined, err)
	}
}

// quarantining is what both stores do for the quarantine.
type quarantining interface {
	QuarantinePut(ctx context.Context, it store.InboxItem, quota int64) (int64, error)
	Quarantine(ctx context.Context, tenant, source string, after int64, n int) ([]store.InboxItem, error)
	QuarantineDue(ctx context.Context, now time.Time, n int) ([]store.InboxItem, error)
	QuarantineRemind(ctx context.Context, tenant, source string, routes []string, now, next time.Time) error
	QuarantineOf(ctx context.Context, tenant, source string) (store.QuarantineSummary, error)
	QuarantineReminded(ctx context.Context, l record.Lease, e store.StreamEvent) error
	QuarantineRelease(ctx context.Context, tenant string, id int64, body []byte, at time.Time, e store.StreamEvent) error
	Quarantined(ctx context.Context, tenant string, id int64) (store.InboxItem, error)
	QuarantineDrop(ctx context.Context, tenant string, id int64, e store.StreamEvent, notes ...record.NoteText) error
	InboxNext(ctx context.Context, now time.Time, lease time.Duration, n int) ([]store.InboxItem, error)
	InboxQuarantine(ctx context.Context, it store.InboxItem, body []byte, at time.Time, owner, reason string) error
	Claim(ctx context.Context, now time.Time, lease time.Duration, n int) ([]record.Lease, error)
	EffectsOf(ctx context.Context, caseID string, n int) ([]store.EffectStatus, error)
	Stream(ctx context.Context, tenant, stream string, seq uint64, n int) ([]store.StoredEvent, error)
}

func TestQuarantine(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testQuarantine(t, open(t, t.TempDir())) })
	t.Run("postgres", func(t *testing.T) {
		_, url := emptyPG(t)
		testQuarantine(t, openPG(t, url))
	})
}

func testQuarantine(t *testing.T, s quarantining) {
	ctx, now := t.Context(), storetest.Epoch()
	it := body("trivy", "sealed")
	it.Error, it.Owner, it.NextAt = "line 1: not JSON", "ops", now.Add(time.Hour)
	id, err := s.QuarantinePut(ctx, it, 10)
	want(t, err, nil)
	_, err = s.QuarantinePut(ctx, it, 10) // 12 bytes
	want(t, err, record.ErrFull)
	other := it
	other.Tenant = "other"
	_, err = s.QuarantinePut(ctx, other, 10)
	want(t, err, nil)
	list, err := s.Quarantine(ctx, "default", "", 0, 10)
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Error != it.Error || list[0].Owner != "ops" {
		t.Fatalf("quarantine %+v, %v", list, err)
	}
	due, err := s.QuarantineDue(ctx, now.Add(time.Hour), 10)
	if err != nil || len(due) != 2 {
		t.Errorf("due %+v, %v", due, err)
	}
	want(t, s.QuarantineRemind(ctx, "default", "trivy", []string{"chat", "mail"}, now.Add(time.Minute), now.Add(48*time.Hour)), nil)
	if es, err := s.EffectsOf(ctx, "", 10); err != nil || len(es) != 0 {
		t.Errorf("reminded before the time came: %+v, %v", es, err)
	}
	remind := func(at time.Time) []record.Lease {
		want(t, s.QuarantineRemind(ctx, "default", "trivy", []string{"chat", "mail"}, at, at.Add(48*time.Hour)), nil)
		ls, err := s.Claim(ctx, at, time.Minute, 10)
		want(t, err, nil)
		return ls
	}
	at := now.Add(time.Hour)
	first := remind(at)
	want(t, s.QuarantineRemind(ctx, "default", "trivy", []string{"chat", "mail"}, at, at.Add(48*time.Hour)), nil) // another node
	if es, err := s.EffectsOf(ctx, "", 10); err != nil || len(es) != 2 || len(first) != 1 || first[0].Row.Effect.Kind != record.EffectReminder || first[0].Row.Effect.Action != "trivy" {
		t.Fatalf("one reminder by each route, one at a time: %+v, %+v, %v", first, es, err)
	}
	if q, err := s.QuarantineOf(ctx, "default", "trivy"); err != nil || q != (store.QuarantineSummary{Bodies: 1, Oldest: it.ReceivedAt, Owner: "ops", Error: it.Error}) {
		t.Errorf("sum %+v, %v", q, err)
	}
	told := store.StreamEvent{Tenant: "default", Stream: store.StreamSource + "/trivy", Type: "quarantine_reminded", Schema: 1, At: at, By: remedy.Actor{Kind: remedy.System, ID: "engine"}, Body: []byte("{}")}
	lost := first[0]
	lost.Epoch--
	want(t, s.QuarantineReminded(ctx, lost, told), record.ErrStale)
	want(t, s.QuarantineReminded(ctx, first[0], told), nil)
	want(t, s.QuarantineReminded(ctx, first[0], told), record.ErrStale)
	// The second route did not arrive in two days: it gets no second reminder, the first does.
	remind(at.Add(48 * time.Hour))
	es, err := s.EffectsOf(ctx, "", 10)
	if err != nil || len(es) != 2 || es[0].Door == es[1].Door {
		t.Errorf("reminders pile up: %+v, %v", es, err)
	}
	if list[0].Body = it.Body; list[0].Size != len(it.Body) {
		t.Errorf("size %d of %q", list[0].Size, it.Body)
	}
	if some, err := s.Quarantine(ctx, "default", "grype", 0, 10); err != nil || len(some) != 0 {
		t.Errorf("of another source %+v, %v", some, err)
	}
	one, err := s.Quarantined(ctx, "default", id)
	if err != nil || string(one.Body) != string(it.Body) {
		t.Errorf("one %+v, %v", one, err)
	}
	_, err = s.Quarantined(ctx, "other", id)
	want(t, err, record.ErrNotFound)
	out := store.StreamEvent{Tenant: "default", Stream: store.StreamSource + "/trivy", Type: "body_released", Schema: 1, At: now, By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, Body: []byte("{}")}
	want(t, s.QuarantineRelease(ctx, "other", id, nil, now, out), record.ErrNotFound)
	want(t, s.QuarantineRelease(ctx, "default", id, []byte("opened"), now, out), nil)
	claimed, err := s.InboxNext(ctx, now, time.Minute, 1)
	if err != nil || len(claimed) != 1 || string(claimed[0].Body) != "opened" {
		t.Fatalf("released %+v, %v", claimed, err)
	}
	want(t, s.InboxQuarantine(ctx, claimed[0], []byte("sealed again"), now.Add(time.Hour), "ops", "still not JSON"), nil)
	e := store.StreamEvent{Tenant: "default", Stream: store.StreamSource + "/trivy", Type: "body_dropped", Schema: 1, At: now, By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, Body: []byte("{}")}
	why := record.NoteText{Hash: "h1", Salt: "00", Text: "a test of the sender"}
	want(t, s.QuarantineDrop(ctx, "default", id, e, why), nil)
	want(t, s.QuarantineDrop(ctx, "default", id, e), record.ErrNotFound)
	if events, err := s.Stream(ctx, "default", e.Stream, 0, -1); err != nil || len(events) != 3 || events[0].Type != "quarantine_reminded" || events[1].Type != "body_released" || events[2].Type != "body_dropped" {
		t.Errorf("events %+v, %v", events, err)
	}
}

func TestAccounts(t *testing.T) {
	s, ctx, now := open(t, t.TempDir()), t.Context(), storetest.Epoch()
	ann := store.User{ID: "u-ann", Tenant: "default", Name: "ann", Mail: "ann@example.test", Roles: []string{"approver", "viewer"}, PasswordHash: "$argon2id$…", CreatedAt: now}
	want(t, s.PutUser(ctx, ann), nil)
	want(t, s.PutUser(ctx, store.User{ID: "u-2", Tenant: "default", Name: "ann"}), store.ErrExists)
	want(t, s.PutUser(ctx, store.User{ID: "u-2", Tenant: "other", Name: "ann", Roles: nil}), nil)
	want(t, s.PutUser(ctx, store.User{}), store.ErrInvalid)
	ann.Disabled = true
	want(t, s.PutUser(ctx, ann), nil)
	got, err := s.UserByName(ctx, "default", "ann")
	if err != nil || !reflect.DeepEqual(got, ann) {
		t.Errorf("user %+v, %v", got, err)
	}
	if list, err := s.Users(ctx, "default"); err != nil || len(list) != 1 {
		t.Errorf("users %v, %v", list, err)
	}
	_, err = s.User(ctx, "nobody")
	want(t, err, record.ErrNotFound)

	tok := store.Token{ID: "t1", Hash: "h1", Tenant: "default", UserID: "u-ann", Name: "ci", Roles: []string{"viewer"}, CreatedAt: now, ExpiresAt: now.Add(time.Hour)}
	want(t, s.PutToken(ctx, tok), nil)
	want(t, s.PutToken(ctx, tok), store.ErrExists)
	want(t, s.TokenUsed(ctx, "t1", now.Add(time.Minute)), nil)
	tok.UsedAt = now.Add(time.Minute)
	if got, err := s.TokenByHash(ctx, "h1"); err != nil || !reflect.DeepEqual(got, tok) {
		t.Errorf("token %+v, %v", got, err)
	}
	want(t, s.DeleteToken(ctx, "other", "t1"), record.ErrNotFound)
	want(t, s.DeleteUser(ctx, "u-ann"), nil)
	if list, err := s.Tokens(ctx, "default"); err != nil || len(list) != 0 {
		t.Errorf("tokens of a deleted user: %v, %v", list, err)
	}
	_, err = s.TokenByHash(ctx, "h1")
	want(t, err, record.ErrNotFound)
}

func TestSessions(t *testing.T) {
	now := storetest.Epoch()
	x := open(t, t.TempDir()).Sessions(func() time.Time { return now })
	want(t, x.Commit("a", []byte("1"), now.Add(time.Minute)), nil)
	want(t, x.Commit("a", []byte("2"), now.Add(2*time.Minute)), nil)
	if b, found, err := x.Find("a"); err != nil || !found || string(b) != "2" {
		t.Errorf("session %q, %v, %v", b, found, err)
	}
	if all, err := x.AllCtx(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("all %v, %v", all, err)
	}
	now = now.Add(2 * time.Minute)
	if _, found, err := x.Find("a"); err != nil || found {
		t.Errorf("an expired session was found: %v", err)
	}
	want(t, x.Commit("b", []byte("3"), now.Add(time.Minute)), nil)
	want(t, x.Delete("b"), nil)
	want(t, x.Delete("b"), nil)
	if all, err := x.AllCtx(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("all %v, %v", all, err)
	}
}

func TestTickets(t *testing.T) {
	s, ctx, now := open(t, t.TempDir()), t.Context(), storetest.Epoch()
	ticket := store.Ticket{Tenant: "default", Project: "SEC", CaseID: "c1", Title: "Fix the bucket", Fields: map[string]string{"package": "x"}, Status: "open", CreatedAt: now}
	made, created, err := s.CreateTicket(ctx, "c1/1", ticket)
	if err != nil || !created || made.Rev != 1 || made.Fields["package"] != "x" {
		t.Fatalf("created %+v, %v, %v", made, created, err)
	}
	again, created, err := s.CreateTicket(ctx, "c1/1", ticket)
	if err != nil || created || again.ID != made.ID {
		t.Errorf("created again %+v, %v, %v", again, created, err)
	}
	if found, err := s.TicketByKey(ctx, "default", "c1/1"); err != nil || found.ID != made.ID {
		t.Errorf("by key %+v, %v", found, err)
	}
	_, err = s.TicketByKey(ctx, "default", "")
	want(t, err, record.ErrNotFound)
	other, _, err := s.CreateTicket(ctx, "", ticket)
	if err != nil || other.ID == made.ID {
		t.Errorf("without a key: %+v, %v", other, err)
	}
	_, _, err = s.CreateTicket(ctx, "", store.Ticket{})
	want(t, err, store.ErrInvalid)
	moved := made
	moved.Status, moved.UpdatedAt = "done", now.Add(time.Hour)
	want(t, s.UpdateTicket(ctx, moved), nil)
	want(t, s.UpdateTicket(ctx, moved), record.ErrConflict)
	if list, err := s.Tickets(ctx, store.TicketFilter{Tenant: "default", Status: "done"}, 10); err != nil || len(list) != 1 || list[0].Rev != 2 {
		t.Errorf("done tickets %+v, %v", list, err)
	}
	if list, err := s.Tickets(ctx, store.TicketFilter{Tenant: "default", After: other.ID}, 10); err != nil || len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("second page %+v, %v", list, err)
	}
	c := store.TicketComment{TicketID: made.ID, By: "u-ann", At: now, Text: "still open"}
	want(t, s.AddTicketComment(ctx, "default", "say/1", c), nil)
	want(t, s.AddTicketComment(ctx, "default", "say/1", c), nil)
	want(t, s.AddTicketComment(ctx, "other", "say/1", c), record.ErrNotFound)
	if list, err := s.TicketComments(ctx, "default", made.ID); err != nil || len(list) != 1 || list[0].Text != c.Text {
		t.Errorf("comments %+v, %v", list, err)
	}
}

func TestSettings(t *testing.T) {
	s, ctx := open(t, t.TempDir()), t.Context()
	_, err := s.Setting(ctx, "default", "k")
	want(t, err, record.ErrNotFound)
	want(t, s.SetSetting(ctx, "default", "k", []byte("1")), nil)
	want(t, s.CompareAndSetSetting(ctx, "default", "k", []byte("0"), []byte("2")), record.ErrConflict)
	want(t, s.CompareAndSetSetting(ctx, "default", "k", nil, []byte("2")), record.ErrConflict)
	want(t, s.CompareAndSetSetting(ctx, "default", "k", []byte("1"), nil), nil)
	want(t, s.CompareAndSetSetting(ctx, "default", "k", []byte("1"), []byte("2")), record.ErrConflict)
	want(t, s.CompareAndSetSetting(ctx, "default", "k", nil, []byte("3")), nil)
	if b, err := s.Setting(ctx, "default", "k"); err != nil || string(b) != "3" {
		t.Errorf("setting %q, %v", b, err)
	}
}

// TestSettingsRace: of several that change one value at once, one succeeds, on
// several nodes too, and the event of a change comes with it or not at all.
func TestSettingsRace(t *testing.T) {
	for _, x := range []struct {
		name string
		open func(*testing.T) []changer
	}{
		{"sqlite", func(t *testing.T) []changer { s := open(t, t.TempDir()); return []changer{s, s, s} }},
		{"postgres", func(t *testing.T) []changer {
			srv, empty := emptyPG(t)
			url := srv.Copy(t, empty)
			return []changer{openPG(t, url), openPG(t, url), openPG(t, url)}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			nodes, ctx := x.open(t), t.Context()
			const each = 20
			event := store.StreamEvent{Tenant: "default", Stream: store.StreamGuardrail, Type: "counted", Schema: 1, At: storetest.Epoch(), By: remedy.Actor{Kind: remedy.Person, ID: "ann"}}
			failed := make(chan error, len(nodes))
			for _, s := range nodes {
				count := func() error {
					for done := 0; done < each; {
						old, err := s.Setting(ctx, "default", "n")
						if err != nil && !errors.Is(err, record.ErrNotFound) {
							return err
						}
						n, _ := strconv.Atoi(string(old)) // nothing is 0
						err = s.ChangeSetting(ctx, "default", "n", old, []byte(strconv.Itoa(n+1)), event)
						if err == nil {
							done++
						} else if !errors.Is(err, record.ErrConflict) {
							return err
						}
					}
					return nil
				}
				go func() { failed <- count() }()
			}
			for range nodes {
				if err := <-failed; err != nil {
					t.Fatal(err)
				}
			}
			b, err := nodes[0].Setting(ctx, "default", "n")
			events, serr := nodes[0].Stream(ctx, "default", store.StreamGuardrail, 0, -1)
			if want := each * len(nodes); err != nil || serr != nil || string(b) != strconv.Itoa(want) || len(events) != want {
				t.Errorf("counted to %s with %d events, want %d: %v, %v", b, len(events), want, err, serr)
			}
		})
	}
}

// changer is what changes settings.
type changer interface {
	Setting(ctx context.Context, tenant, key string) ([]byte, error)
	ChangeSetting(ctx context.Context, tenant, key string, old, value []byte, events ...store.StreamEvent) error
	Stream(ctx context.Context, tenant, stream string, seq uint64, n int) ([]store.StoredEvent, error)
}

func TestStandingExceptions(t *testing.T) {
	s, ctx, now := open(t, t.TempDir()), t.Context(), storetest.Epoch()
	x := store.Exception{ID: "x1", Tenant: "default", Kind: "risk-accepted", Package: "pkg:npm/left-pad", From: now, Until: now.Add(24 * time.Hour), Asked: "u-dev", Approved: "u-ann",
		Reason: record.NoteText{Hash: "h", Salt: "s", Text: "no fix yet"}}
	for name, spoil := range map[string]func(*store.Exception){
		"no end":        func(e *store.Exception) { e.Until = time.Time{} },
		"for all":       func(e *store.Exception) { e.Package = "" },
		"own approval":  func(e *store.Exception) { e.Approved = e.Asked },
		"nobody":        func(e *store.Exception) { e.Approved = "" },
		"without an id": func(e *store.Exception) { e.ID = "" },
	} {
		bad := x
		spoil(&bad)
		if err := s.PutException(ctx, bad, now); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	want(t, s.PutException(ctx, x, now), nil)
	want(t, s.PutException(ctx, x, now), store.ErrExists)
	list, err := s.Exceptions(ctx, "default", now)
	x.ReasonHash = "h"
	if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], x) {
		t.Fatalf("exceptions %+v, %v", list, err)
	}
	if !list[0].Active(now) || list[0].Active(now.Add(24*time.Hour)) || list[0].Active(now.Add(-time.Second)) {
		t.Error("active at the wrong time")
	}
	want(t, s.RevokeException(ctx, "default", "x1", remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, now.Add(time.Hour)), nil)
	want(t, s.RevokeException(ctx, "default", "x1", remedy.Actor{}, now), record.ErrNotFound)
	list, err = s.Exceptions(ctx, "default", now)
	if err != nil || list[0].Active(now.Add(time.Hour)) || !list[0].Active(now.Add(time.Minute)) {
		t.Errorf("after revoking: %+v, %v", list, err)
	}
	events, err := s.Stream(ctx, "default", store.StreamGuardrail, 0, -1)
	if err != nil || len(events) != 2 || events[1].Type != store.EventExceptionRevoked {
		t.Fatalf("events %+v, %v", events, err)
	}
	if strings.Contains(string(events[0].Body), "no fix yet") {
		t.Error("free text of a person is in the ledger")
	}
}
