package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/casement/casement/internal/finding"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
	"github.com/casement/casement/internal/store/storetest"
)

// common is how many facts, raw records and repeats the cases of a test share.
const common = 400

// TestPostgresOrder: the commits of three nodes meet on facts, raw records,
// keys, repeats, budgets and effects in thousands of orders, with parts
// that fail and have to be taken back, and the database never has to end a
// deadlock between them. It would, after deadlock_timeout, which is a second as
// shipped, and nothing of the group would move until then.
func TestPostgresOrder(t *testing.T) {
	srv, at := emptyPG(t)
	const callers, rounds = 12, 30
	var wg sync.WaitGroup
	var stored, refused sync.Map
	var open []*store.Postgres
	for range 3 {
		s, err := store.OpenPostgres(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	first := storetest.NewCase("cas_first", "key of the first")
	for i := range common {
		first.Findings = append(first.Findings, storetest.Finding(fmt.Sprint("of many ", i)))
	}
	if err := commitOne(open[0], first); err != nil {
		t.Fatal(err)
	}
	for n, s := range open {
		for c := range callers {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(c)))
				for r := range rounds {
					name := fmt.Sprintf("%d-%d-%d", n, c, r)
					units := []record.Unit{meeting(rnd, name+"-a"), meeting(rnd, name+"-b"), meeting(rnd, name+"-c")}
					errs, err := s.Commit(context.Background(), units, repeated(rnd))
					for i, err := range append(errs, err) {
						switch {
						case err == nil:
							stored.Store(fmt.Sprint(name, i), true)
						case errors.Is(err, record.ErrConflict):
							refused.Store(fmt.Sprint(name, i), true)
						default:
							t.Error(err)
						}
					}
					if r%5 == 0 {
						if err := intents(s, rnd); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for _, s := range open {
		if err := s.Close(); err != nil { // its sessions say what they counted when they end
			t.Error(err)
		}
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), srv.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var deadlocks, commits int
	if err := c.QueryRow(t.Context(), "SELECT deadlocks, xact_commit FROM pg_stat_database WHERE datname = $1", path.Base(u.Path)).Scan(&deadlocks, &commits); err != nil {
		t.Fatal(err)
	}
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	t.Logf("%d stored, %d refused in %d transactions, %d deadlocks", count(&stored), count(&refused), commits, deadlocks)
	if deadlocks > 0 || count(&stored) == 0 || count(&refused) == 0 {
		t.Errorf("%d deadlocks, %d stored, %d refused", deadlocks, count(&stored), count(&refused))
	}
}

// meeting is a new case that shares most of what it writes with others; one in
// sixteen has a key that an open one has as well.
func meeting(rnd *rand.Rand, id string) record.Unit {
	key := id
	if rnd.IntN(16) == 0 {
		key = fmt.Sprint("shared ", rnd.IntN(4))
	}
	u := storetest.NewCase("cas_"+id, "key of "+key)
	u.Facts = map[string][]byte{}
	for range 4 {
		u.Facts[fmt.Sprint("fact ", rnd.IntN(common))] = []byte("{}")
		body := fmt.Sprint("raw ", rnd.IntN(common))
		h := sha256.Sum256([]byte(body))
		u.Raws = append(u.Raws, record.Raw{UID: "uid-" + id, Hash: hex.EncodeToString(h[:]), Size: len(body), Body: []byte(body)})
	}
	u.AddEffects = append(u.AddEffects, storetest.Effect(u.Case.ID, "message/2", fmt.Sprint("object ", rnd.IntN(4))))
	return u
}

// repeated are repeats of findings that all know; a third of the commits has some.
func repeated(rnd *rand.Rand) []record.Sighting {
	var list []record.Sighting
	for range rnd.IntN(3) / 2 * 4 {
		list = append(list, record.Sighting{Tenant: finding.DefaultTenant, UID: storetest.Finding(fmt.Sprint("of many ", rnd.IntN(common))).UID, At: storetest.Epoch()})
	}
	return list
}

// intents leases some effects and commits the intent of each, which takes from
// budgets, and its outcome.
func intents(s *store.Postgres, rnd *rand.Rand) error {
	ctx, at := context.Background(), storetest.Epoch().Add(time.Hour)
	leases, err := s.Claim(ctx, at, time.Hour, 4)
	if err != nil {
		return err
	}
	for _, hold := range []bool{true, false} {
		var units []record.Unit
		for _, l := range leases {
			c, err := s.Load(ctx, l.Row.CaseID)
			if err != nil {
				return err
			}
			u := storetest.Step(c, remedy.Acked{}, at)
			u.Done, u.Hold, u.PauseScopes = &l, hold, []string{"all"}
			if hold {
				for range 2 {
					u.Reserve = append(u.Reserve, record.Reservation{Key: fmt.Sprint("budget ", rnd.IntN(4)), N: 1, Limit: 1 << 20, From: at, At: at})
				}
			}
			units = append(units, u)
		}
		errs, err := s.Commit(ctx, units, nil)
		if err := errors.Join(append(errs, err)...); err != nil && !errors.Is(err, record.ErrConflict) && !errors.Is(err, record.ErrStale) {
			return err
		}
	}
	return nil
}
