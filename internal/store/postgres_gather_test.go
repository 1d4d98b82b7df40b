package store_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/casement/casement/internal/pgtest"
)

// TestReadsTogether: of many short reads at once each gets its own answer, equal
// ones the same; one that the server refuses fails alone, one whose caller leaves
// takes nobody along, whoever sends, and tells that caller nothing afterwards.
func TestReadsTogether(t *testing.T) {
	s := openPG(t, pgtest.Start(t).Database(t))
	const rounds, callers = 5, 200
	var refused, left, answered atomic.Int64
	for range rounds {
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				text, arg, want := "SELECT CAST(? AS bigint)", any(strconv.Itoa(i/4)), i/4 // four ask for the same
				switch i % 10 {
				case 3:
					text, arg = "SELECT 1 / CAST(? AS bigint)", "0"
				case 7:
					go leave()
				}
				var over atomic.Bool
				var got []int
				err := s.Short(ctx, func(n int) {
					if over.Load() {
						t.Errorf("reader %d is told %d after it left", i, n)
						return
					}
					got = append(got, n)
				}, text, arg)
				over.Store(true)
				_, no := errors.AsType[*pgconn.PgError](err)
				switch {
				case i%10 == 3 && no:
					refused.Add(1)
				case i%10 == 7 && errors.Is(err, context.Canceled):
					left.Add(1)
				case i%10 != 3 && err == nil && len(got) == 1 && got[0] == want:
					answered.Add(1)
				default:
					t.Errorf("reader %d got %v %v, want %d", i, got, err, want)
				}
			})
		}
		all.Wait()
	}
	if refused.Load() != rounds*callers/10 || answered.Load() < rounds*callers*8/10 {
		t.Errorf("%d refused, %d left, %d answered", refused.Load(), left.Load(), answered.Load())
	}
}
