package storetest

import (
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

func testPostpone(t *testing.T, b Backend) {
	withEffects(t, b, "a", "")
	at := Epoch()
	for range 3 { // a pause costs nothing, however long it is
		l := claim(t, b, at, 1)[0]
		equal(t, "attempt", l.Attempt, 1)
		at = at.Add(time.Hour)
		equal(t, "postpone", b.Postpone(ctx, l, at, "paused"), nil)
		wantErr(t, b.Postpone(ctx, l, at, "again"), record.ErrStale)
		equal(t, "not before", len(claim(t, b, at.Add(-1), 1)), 0)
	}
	equal(t, "release", b.Release(ctx, claim(t, b, at, 1)[0], at, "503"), nil)
	equal(t, "postpone", b.Postpone(ctx, claim(t, b, at, 1)[0], at, "paused"), nil)
	equal(t, "what failed stays counted", claim(t, b, at, 1)[0].Attempt, 2)
}

func testDeadLetter(t *testing.T, b Backend) {
	withEffects(t, b, "a", "", "")
	withEffects(t, b, "b", "")
	now := Epoch()
	l := claim(t, b, now, 1)[0]
	equal(t, "claimed", l.Row.ID, "a/message/0")
	equal(t, "none", summary(t, b), record.DeadSummary{})
	equal(t, "bury", b.Bury(ctx, l, now, now.Add(record.DeadEvery), "panicked"), nil)
	wantErr(t, b.Bury(ctx, l, now, now, "again"), record.ErrStale)
	want := record.DeadLetter{ID: l.Row.ID, Tenant: tenant, CaseID: "a", Kind: "message", Reason: "panicked", Tries: 1, Since: now, NextAt: now.Add(record.DeadEvery),
		Owner: "team-a", Bottleneck: remedy.Bottleneck{Kind: "dead letter", Who: "administrator", Since: now}}
	equal(t, "listed", letters(t, b, ""), []record.DeadLetter{want})
	equal(t, "of the case", letters(t, b, "a"), []record.DeadLetter{want})
	equal(t, "of another", len(letters(t, b, "b")), 0)
	equal(t, "counted", summary(t, b), record.DeadSummary{N: 1, Oldest: now})
	others := claim(t, b, now, 9)
	equal(t, "others go on", claimed(others), []string{"a/message/1", "b/message/0"})
	for _, o := range others {
		must(t, b, outcome(t, b, o, false))
	}

	later := now.Add(record.DeadEvery)
	wantErr(t, b.RetryDeadLetter(ctx, tenant, "b/message/0", now, retried("b/message/0")), record.ErrNotFound)
	wantErr(t, b.RetryDeadLetter(ctx, "other", l.Row.ID, now, retried(l.Row.ID)), record.ErrNotFound)
	again := claim(t, b, later, 1) // by itself
	equal(t, "tried again", claimed(again), []string{l.Row.ID})
	equal(t, "try", again[0].Attempt, 2)
	wantErr(t, b.RetryDeadLetter(ctx, tenant, l.Row.ID, later, retried(l.Row.ID)), record.ErrNotFound) // it runs
	equal(t, "bury again", b.Bury(ctx, again[0], later, later.Add(record.DeadEvery), "still"), nil)
	equal(t, "since the first time", summary(t, b), record.DeadSummary{N: 1, Oldest: now})

	equal(t, "retry", b.RetryDeadLetter(ctx, tenant, l.Row.ID, later.Add(time.Minute), retried(l.Row.ID)), nil)
	events, err := b.Stream(ctx, tenant, store.StreamDeadLetter, 0, -1)
	if err != nil || len(events) != 1 || events[0].By.ID != "u-ann" {
		t.Errorf("who had it tried again is recorded: %v, %v", events, err)
	}
	third := claim(t, b, later.Add(time.Minute), 1)
	equal(t, "by a person", claimed(third), []string{l.Row.ID})
	must(t, b, outcome(t, b, third[0], false))
	equal(t, "it worked", len(letters(t, b, "")), 0)
}

// testStumbled: cases that can't be woken are put off, so that the others are
// due, and are dead letters after record.DeadAfter failures.
func testStumbled(t *testing.T, b Backend) {
	for _, id := range []string{"a", "b", "c"} {
		u := NewCase(id, "key of "+id)
		u.WakeAt = Epoch()
		if id == "c" {
			u.WakeAt = Epoch().Add(time.Millisecond)
		}
		must(t, b, u)
	}
	now := Epoch().Add(time.Second)
	due, err := b.Due(ctx, now, 2)
	equal(t, "error", err, nil)
	equal(t, "the damaged ones come first", due, []string{"a", "b"})
	var at time.Time
	for i := 1; i <= record.DeadAfter; i++ {
		wantAt, wantDead := record.NextTry("clock/a", i)
		var dead bool
		at, dead, err = b.Stumbled(ctx, "a", now, "can't be read")
		equal(t, "error", err, nil)
		equal(t, "dead", dead, wantDead)
		equal(t, "put off until", at, now.Add(wantAt))
		if due, _ := b.Due(ctx, at.Add(-1), 9); len(due) == 0 || due[0] == "a" {
			t.Errorf("due before the time of the damaged one: %v", due)
		}
		equal(t, "letters", len(letters(t, b, "")), map[bool]int{true: 1}[dead])
		if !dead {
			now = at
		}
	}
	want := record.DeadLetter{ID: "clock/a", Tenant: tenant, CaseID: "a", Kind: record.KindClock, Reason: "can't be read", Tries: record.DeadAfter, Since: now, NextAt: at,
		Owner: "team-a", Bottleneck: remedy.Bottleneck{Kind: "dead letter", Who: "administrator", Since: now}}
	equal(t, "listed", letters(t, b, "a"), []record.DeadLetter{want})
	equal(t, "counted", summary(t, b), record.DeadSummary{N: 1, Oldest: now})
	equal(t, "retry", b.RetryDeadLetter(ctx, tenant, "clock/a", now, retried("clock/a")), nil)
	due, err = b.Due(ctx, now, 9)
	equal(t, "error", err, nil)
	equal(t, "due at once", due, []string{"b", "c", "a"})
	must(t, b, Step(load(t, b, "a"), remedy.Acked{}, now)) // it can be stored again
	equal(t, "it is well", len(letters(t, b, "")), 0)
	at, _, err = b.Stumbled(ctx, "a", now, "again")
	wait, _ := record.NextTry("clock/a", 1)
	equal(t, "error", err, nil)
	equal(t, "counts from the first", at, now.Add(wait))
	_, _, err = b.Stumbled(ctx, "nobody", now, "x")
	wantErr(t, err, record.ErrNotFound)
}

func letters(t *testing.T, b Backend, caseID string) []record.DeadLetter {
	t.Helper()
	list, err := b.DeadLetters(ctx, tenant, caseID, 10)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func summary(t *testing.T, b Backend) record.DeadSummary {
	t.Helper()
	s, err := b.DeadSummary(ctx, tenant)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func retried(id string) store.StreamEvent {
	return store.StreamEvent{Tenant: tenant, Stream: store.StreamDeadLetter, Type: "retried", Schema: 1, At: Epoch(), By: remedy.Actor{Kind: remedy.Person, ID: "u-ann"}, Body: []byte(`{"id":"` + id + `"}`)}
}
