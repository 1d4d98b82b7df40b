package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/remedy"
)

// maxMerges bounds how far a case is followed through merges.
const maxMerges = 16

// Following returns the case that took a merged case over, or the case itself.
func (e *Engine) Following(ctx context.Context, id string) (remedy.Case, error) {
	for range maxMerges {
		c, err := e.Store.Load(ctx, id)
		if err != nil || c.MergedInto == "" {
			return c, err
		}
		id = c.MergedInto
	}
	return remedy.Case{}, fmt.Errorf("case %s: merged more than %d times: %w", id, maxMerges, ErrNotFound)
}

// TicketSays takes note of what a system of record says of a ticket of ours.
// Done is a claim: verification starts. What is known already, what is not
// done, and a ticket nobody knows change nothing. It reports whether a claim
// was made.
func (e *Engine) TicketSays(ctx context.Context, system string, s connector.TicketState, at time.Time) (bool, error) {
	if !s.Done {
		return false, nil
	}
	c, err := e.Following(ctx, s.CaseID)
	if errors.Is(err, ErrNotFound) {
		return false, nil // of another install, or a label somebody wrote
	}
	if err != nil {
		return false, err
	}
	said, err := e.ticketSays(ctx, c.ID, system, s, at)
	if err != nil || said || c.ID == s.CaseID {
		return said, err
	}
	// A ticket of the case that was merged: the word is noted there, and claimed
	// of the case that goes on.
	if said, err = e.ticketSays(ctx, s.CaseID, system, s, at); err != nil || !said {
		return said, err
	}
	_, err = e.Tell(ctx, c.ID, remedy.Command{At: at, By: remedy.Actor{Kind: remedy.Source, ID: system}, Do: remedy.Claim{From: "ticket " + s.Ref}})
	return true, err
}

// ticketSays tells the case with the ticket; false if it has nothing new to it.
func (e *Engine) ticketSays(ctx context.Context, id, system string, s connector.TicketState, at time.Time) (bool, error) {
	said := false
	_, err := e.tell(ctx, id, func(c remedy.Case) (remedy.Command, error) {
		said = false
		for _, t := range c.Tickets {
			// While we have lines to say, the ticket may be about to be reopened:
			// what it says now is old. Done of what is proven agrees with us, and may
			// be our own word.
			if t.Status == remedy.TicketProven || t.System != system || t.Ref != s.Ref || t.Status == s.Word || t.Said != t.Told {
				continue
			}
			said = true
			return remedy.Command{At: at, By: remedy.Actor{Kind: remedy.Source, ID: system},
				Do: remedy.Claim{From: "ticket " + s.Ref, Ticket: t.N, Status: s.Word}}, nil
		}
		return remedy.Command{}, errNothing
	}, nil)
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return said && err == nil, err
}

// errNothing: there is no command to give.
var errNothing = errors.New("nothing to tell")
