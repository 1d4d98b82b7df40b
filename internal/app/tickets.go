package app

import (
	"context"
	"errors"
	"time"

	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/remedy"
)

// maxTicketRounds bounds OpenTickets; each round can open the ticket of every
// case whose other effects were put off in the round before.
const maxTicketRounds = 8

// OpenTickets opens the tickets that wait, and does nothing else: for commands
// on a data folder that no server holds. Other effects stay where they are.
func (a *App) OpenTickets(ctx context.Context) error {
	_, copied, err := a.Store.Marked(ctx)
	why, herr := a.Held(ctx)
	if err := errors.Join(err, herr); err != nil {
		return err
	}
	if copied || why != "" {
		return errors.New("the data folder is a restored copy that nobody resumed: start casement serve on it, then casement resume")
	}
	for range maxTicketRounds {
		now := a.Store.Now()
		var others []record.Lease
		opened := 0
		for {
			leases, err := a.Store.Claim(ctx, now, time.Minute, 64)
			if err != nil {
				return err
			}
			if len(leases) == 0 {
				break
			}
			for _, l := range leases {
				if l.Row.Effect.Kind != remedy.EffectTicket {
					others = append(others, l)
					continue
				}
				if err := a.Engine.Do(ctx, l, now); err != nil {
					return err
				}
				opened++
			}
		}
		for _, l := range others {
			// A case has one effect in flight: put this one off for a moment, so
			// that its ticket's turn comes.
			if err := a.Store.Release(ctx, l, now.Add(2*time.Second), "waits for the server"); err != nil && !errors.Is(err, record.ErrStale) {
				return err
			}
		}
		if opened == 0 && len(others) == 0 {
			return nil
		}
	}
	return nil
}
