package store_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestStatesBehind: most steps don't write the state of their case; whoever reads
// it, alone, in a list or to verify it, gets what all steps made of it.
func TestStatesBehind(t *testing.T) {
	s := open(t, t.TempDir())
	u := storetest.NewCase("c1", "k1")
	commit(t, s, storetest.NewCase("c0", "k0"), u)
	c, written := u.Case, 0
	for n := range 60 {
		at := storetest.Epoch().Add(time.Duration(n) * time.Minute)
		before := state(t, s)
		body := remedy.Body(remedy.AssignedTo{To: "team-" + strconv.Itoa(n)})
		if n == 50 {
			body = remedy.EpisodeClosed{How: remedy.ClosedProven}
		}
		u = storetest.Step(c, body, at)
		if n%3 == 0 {
			second := storetest.Step(u.Case, remedy.Commented{Note: "still on it"}, at)
			second.Before, second.Events = u.Before, append(u.Events, second.Events...)
			u = second
		}
		commit(t, s, u)
		c = u.Case
		if state(t, s) != before {
			written++
		}
		s.Forget()
		got, err := s.Load(t.Context(), "c1")
		want(t, err, nil)
		same(t, got, c)
		list, err := s.States(t.Context(), c.Tenant, time.Time{}, "c0", 9)
		want(t, err, nil)
		if len(list) != 1 {
			t.Fatalf("%d cases", len(list))
		}
		same(t, list[0], c)
		if n, err := s.VerifyReplay(t.Context()); err != nil || n != 2 {
			t.Fatal(n, err)
		}
	}
	if written < 4 || written > 20 {
		t.Errorf("the state was written %d times in 60 steps", written)
	}
}

// TestReplayFindsAnotherState: a state that is behind is compared with what the
// events made until then, and with the version of its row.
func TestReplayFindsAnotherState(t *testing.T) {
	s := open(t, t.TempDir())
	c := storetest.NewCase("c1", "k1").Case
	commit(t, s, storetest.NewCase("c1", "k1"))
	for range 20 {
		u := storetest.Step(c, remedy.Commented{Note: "still on it"}, storetest.Epoch())
		commit(t, s, u)
		c = u.Case
	}
	for _, text := range []string{
		"UPDATE case_state SET state = CAST(replace(CAST(state AS TEXT), 'is public', 'is private') AS BLOB)",
		"UPDATE case_state SET version = version + 1",
		"UPDATE case_state SET version = 5",
	} {
		if _, err := s.VerifyReplay(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := s.Write(t.Context(), func(exec func(string, ...any) error) error {
			return exec(text)
		})
		want(t, err, nil)
		if _, err := s.VerifyReplay(t.Context()); err == nil {
			t.Errorf("after %q nothing was found", text)
		}
		for _, undo := range []string{"UPDATE case_state SET state = CAST(replace(CAST(state AS TEXT), 'is private', 'is public') AS BLOB)", "UPDATE case_state SET version = " + strconv.FormatUint(c.Version, 10)} {
			want(t, s.Write(t.Context(), func(exec func(string, ...any) error) error { return exec(undo) }), nil)
		}
	}
}

func state(t *testing.T, s *store.SQLite) string {
	t.Helper()
	text, err := s.State(t.Context(), "c1")
	want(t, err, nil)
	return text
}

func same(t *testing.T, got, want remedy.Case) {
	t.Helper()
	a, err1 := json.Marshal(got)
	b, err2 := json.Marshal(want)
	if err1 != nil || err2 != nil || string(a) != string(b) {
		t.Fatalf("got %s, want %s (%v, %v)", a, b, err1, err2)
	}
}
