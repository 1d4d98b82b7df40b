package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store/storetest"
)

// TestReplayWhileItMoves: a case that goes on while it is verified is not taken
// for one that its events do not make.
func TestReplayWhileItMoves(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	commit(t, s, storetest.NewCase("c1", "k1"))
	var moves sync.WaitGroup
	defer moves.Wait()
	defer cancel()
	moves.Go(func() {
		for ctx.Err() == nil {
			c, err := s.Load(t.Context(), "c1")
			if err != nil {
				t.Error(err)
				return
			}
			commit(t, s, storetest.Step(c, remedy.Commented{Note: "still on it"}, storetest.Epoch()))
		}
	})
	for range 300 {
		if _, err := s.VerifyReplay(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
