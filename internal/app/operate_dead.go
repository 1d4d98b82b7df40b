package app

import (
	"context"
	"encoding/json"

	"github.com/casement/casement/internal/auth"
	"github.com/casement/casement/internal/record"
	"github.com/casement/casement/internal/store"
)

const (
	// maxDead bounds a list of dead letters.
	maxDead = 500
	// eventDeadRetried is recorded in the stream of dead letters.
	eventDeadRetried = "dead_letter_retried"
)

// DeadLetters is what failed too often, oldest first.
type DeadLetters struct {
	record.DeadSummary
	Letters []record.DeadLetter `json:"dead_letters" nullable:"false"`
}

// deadQuery selects dead letters.
type deadQuery struct {
	Case string `query:"case" doc:"Only those of this case."`
}

func (a *App) listDead(ctx context.Context, p auth.Principal, in *deadQuery) (out DeadLetters, err error) {
	if out.DeadSummary, err = a.Store.DeadSummary(ctx, p.Tenant); err != nil {
		return out, err
	}
	list, err := a.Store.DeadLetters(ctx, p.Tenant, in.Case, maxDead)
	out.Letters = append([]record.DeadLetter{}, list...)
	return out, err
}

// deadIn names a dead letter; its id holds slashes.
type deadIn struct {
	Body struct {
		ID string `json:"id" minLength:"1" maxLength:"500" doc:"As listed."`
	}
}

// retried is what is tried again now.
type retried struct {
	Retried string `json:"retried"`
}

// retryDead has a dead letter tried again now, and records who wanted it.
func (a *App) retryDead(ctx context.Context, p auth.Principal, in *deadIn) (retried, error) {
	id := in.Body.ID
	body, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return retried{}, err
	}
	now := a.Store.Now()
	err = a.Store.RetryDeadLetter(ctx, p.Tenant, id, now, store.StreamEvent{Tenant: p.Tenant, Stream: store.StreamDeadLetter, Type: eventDeadRetried,
		Schema: 1, At: now, By: p.Actor(), Body: body})
	if err == nil {
		a.hub.poke(p.Tenant, now)
	}
	return retried{id}, err
}
