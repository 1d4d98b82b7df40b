package store_test

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestRide: what a commit calls for is leased in it, once, no more than wanted,
// and only if it is stored.
func TestRide(t *testing.T) {
	ctx := t.Context()
	s, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := storetest.Epoch()
	room, asked := 2, 0
	var told [][]record.Lease
	s.Ride(func(int) (time.Time, time.Time, int) { asked++; return now, now.Add(time.Minute), room }, func(l []record.Lease) { told = append(told, l) })
	open := func(id string, effects ...record.EffectRow) error {
		u := storetest.NewCase(id, "key of "+id)
		u.AddEffects = effects
		errs, err := s.Commit(ctx, []record.Unit{u}, nil)
		return errors.Join(err, errs[0])
	}
	effect := func(id string) record.EffectRow { return storetest.Effect(id, "message/1", "") }
	later := effect("cas_l")
	later.NotBefore = now.Add(time.Hour)
	if err := errors.Join(open("cas_0"), open("cas_l", later)); err != nil || asked != 0 {
		t.Fatalf("%v; asked %d times though nothing is due", err, asked)
	}
	if err := open("cas_a", effect("cas_a")); err != nil || len(told) != 1 || len(told[0]) != 1 {
		t.Fatalf("%v; told %+v", err, told)
	}
	l := told[0][0]
	if l.Row.ID != "cas_a/message/1" || l.Attempt != 1 || !l.Until.Equal(now.Add(time.Minute)) || l.Epoch == 0 {
		t.Errorf("%+v", l)
	}
	if again, err := s.Claim(ctx, now, time.Minute, 10); err != nil || len(again) != 0 {
		t.Errorf("leased twice: %+v %v", again, err)
	}
	// A case with three effects has one in flight; its outcome leases the next.
	told = nil
	if err := open("cas_b", effect("cas_b"), storetest.Effect("cas_b", "message/2", ""), storetest.Effect("cas_b", "message/3", "")); err != nil || len(told) != 1 || len(told[0]) != 1 {
		t.Fatalf("%v; told %+v", err, told)
	}
	// No more than wanted.
	told, room = nil, 0
	if err := open("cas_c", effect("cas_c")); err != nil || len(told) != 0 {
		t.Fatalf("%v; told %+v though nobody is free", err, told)
	}
	// What is not stored is not leased: two cases of one key in one group, and a
	// group that is done again because of it.
	told, room = nil, 10
	var units []record.Unit
	for i := range 3 {
		u := storetest.NewCase("cas_d"+strconv.Itoa(i), "one key")
		u.AddEffects = []record.EffectRow{effect(u.Case.ID)}
		units = append(units, u)
	}
	errs, err := s.Commit(ctx, units, nil)
	if err != nil || errs[0] != nil || !errors.Is(errs[1], record.ErrConflict) {
		t.Fatal(err, errs)
	}
	var ids []string
	for _, list := range told {
		for _, l := range list {
			ids = append(ids, l.Row.ID)
		}
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{"cas_c/message/1", "cas_d0/message/1"}) {
		t.Errorf("leased %v", ids)
	}
	told = nil
	s.Ride(nil, nil)
	if err := open("cas_e", effect("cas_e")); err != nil || len(told) != 0 {
		t.Errorf("%v; told %+v after the end", err, told)
	}
}
