package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// TestPostgresTickets: two nodes make tickets under the same once-keys, in commits
// shared with units, many of which are refused so that the commit is done again.
// Each key has one ticket, which one caller made and all others are told of.
func TestPostgresTickets(t *testing.T) {
	_, at := emptyPG(t)
	const callers, rounds, keys = 8, 20, 60
	var nodes []*store.Postgres
	for range 2 {
		s, err := store.OpenPostgres(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		nodes = append(nodes, s)
	}
	ctx := context.Background()
	var mu sync.Mutex
	ids, made := map[string]map[int64]bool{}, map[string]int{}
	var wg sync.WaitGroup
	for n, s := range nodes {
		for c := range callers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(c)))
				for range rounds {
					u := storetest.NewCase(fmt.Sprint("cas_", rnd.IntN(10)), fmt.Sprint("key ", rnd.IntN(10)))
					if err := commitOne(s, u); err != nil && !errors.Is(err, record.ErrConflict) {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(100+c)))
				for range rounds {
					key := fmt.Sprint("once ", rnd.IntN(keys))
					x, created, err := s.CreateTicket(ctx, key, store.Ticket{Tenant: "default", Project: "p", Title: key, Status: "open", CreatedAt: storetest.Epoch()})
					if err != nil || x.Title != key {
						t.Errorf("ticket %s: %+v, %v", key, x, err)
						return
					}
					mu.Lock()
					if ids[key] == nil {
						ids[key] = map[int64]bool{}
					}
					ids[key][x.ID] = true
					if created {
						made[key]++
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for key, of := range ids {
		if len(of) != 1 || made[key] != 1 {
			t.Errorf("%s: tickets %v, made %d times", key, of, made[key])
		}
	}
	all, err := nodes[0].Tickets(ctx, store.TicketFilter{Tenant: "default"}, 2*keys)
	if err != nil || len(all) != len(ids) {
		t.Errorf("%d tickets for %d keys, %v", len(all), len(ids), err)
	}
}
