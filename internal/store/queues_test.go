package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/casement/casement/internal/pgtest"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// queued is a store whose queues can be counted.
type queued interface {
	storetest.Backend
	EffectQueues(ctx context.Context, now time.Time) ([]store.EffectQueue, error)
	InboxQueue(ctx context.Context) (store.InboxQueue, error)
	InboxPut(ctx context.Context, it store.InboxItem) (int64, error)
	QuarantinePut(ctx context.Context, it store.InboxItem, quota int64) (int64, error)
	WatchCommits(f func(store.CommitSample))
}

func TestQueues(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { queues(t, open(t, t.TempDir())) })
	t.Run("postgres", func(t *testing.T) {
		s, err := store.OpenPostgres(t.Context(), pgtest.Start(t).Database(t))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		queues(t, s)
	})
}

func queues(t *testing.T, s queued) {
	ctx := t.Context()
	parts := 0
	s.WatchCommits(func(c store.CommitSample) {
		if c.Sync > c.Whole || c.Parts < 1 {
			t.Errorf("%+v", c)
		}
		parts += c.Parts
	})
	begun := storetest.Epoch()
	var units []record.Unit
	for i, door := range []string{"hook", "hook", "s3", ""} {
		id := "c" + string(rune('0'+i))
		u := storetest.NewCase(id, id)
		u.AddEffects[0].Door, u.AddEffects[0].Trace = door, "trace-of-"+id
		if door == "s3" {
			u.AddEffects[0].NotBefore = begun.Add(time.Hour)
		}
		units = append(units, u)
	}
	errs, err := s.Commit(ctx, units, nil)
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	if parts < len(units) {
		t.Errorf("watched %d parts", parts)
	}
	now := begun.Add(time.Minute)
	look := func(now time.Time, want ...store.EffectQueue) {
		t.Helper()
		if got, err := s.EffectQueues(ctx, now); err != nil || !slices.Equal(got, want) {
			t.Errorf("queues\n %+v, want\n %+v %v", got, want, err)
		}
	}
	later := begun.Add(time.Hour)
	look(now, store.EffectQueue{Due: 1, Oldest: begun}, store.EffectQueue{Door: "hook", Due: 2, Oldest: begun}, store.EffectQueue{Door: "s3", Later: 1})
	look(later.Add(time.Second), store.EffectQueue{Due: 1, Oldest: begun}, store.EffectQueue{Door: "hook", Due: 2, Oldest: begun}, store.EffectQueue{Door: "s3", Due: 1, Oldest: later})

	// An effect that fails and fails is told as stuck, and carries its trace.
	for try := 1; try <= store.StuckAfter; try++ {
		leases, err := s.Claim(ctx, now, time.Minute, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			if l.Row.Trace != "trace-of-"+l.Row.CaseID {
				t.Errorf("%s has trace %q", l.Row.ID, l.Row.Trace)
			}
			if l.Row.CaseID == "c0" {
				err = s.Release(ctx, l, now, "no answer")
			} else if try == 1 {
				err = s.Extend(ctx, l, now.Add(time.Hour))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	look(now, store.EffectQueue{Running: 1}, store.EffectQueue{Door: "hook", Due: 1, Oldest: now, Running: 1, Failing: 1, Stuck: 1}, store.EffectQueue{Door: "s3", Later: 1})

	if q, err := s.InboxQueue(ctx); err != nil || q != (store.InboxQueue{}) {
		t.Errorf("%+v %v", q, err)
	}
	it := store.InboxItem{Tenant: "default", Source: "scan", ReceivedAt: begun, Body: []byte("12345"), NextAt: now}
	_, err = s.InboxPut(ctx, it)
	it.ReceivedAt = begun.Add(time.Second)
	if err == nil {
		_, err = s.InboxPut(ctx, it)
	}
	if err == nil {
		it.Tenant = "other"
		_, err = s.QuarantinePut(ctx, it, 100)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := store.InboxQueue{Waiting: 2, Oldest: begun, Quarantined: 1, Bytes: 5, OldestUnread: begun.Add(time.Second)}
	if q, err := s.InboxQueue(ctx); err != nil || q != want {
		t.Errorf("%+v %v", q, err)
	}
}
