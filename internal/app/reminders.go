package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/casement/casement/internal/connector"
	"github.com/casement/casement/internal/engine"
	"github.com/casement/casement/internal/owner"
	"github.com/casement/casement/internal/remedy"
	"github.com/casement/casement/internal/store"
)

// reminders tell people of bodies in quarantine.
type reminders struct{ a *App }

// eventReminded is recorded in the stream of a source whose owner was told.
const eventReminded = "quarantine_reminded"

// routes are the channels for the owner of a source: those of the first route of
// the policy for the owner's team, else all there are.
func (r reminders) routes(who string) []string {
	j := r.a.live.Load().judge
	team := r.owner(who)
	if p, ok := j.Directory.Person(team); ok {
		team = p.Team
	}
	all := sortedNames(r.a.cfg.Notifiers)
	out := slices.DeleteFunc(j.Pack.Channels(team), func(n string) bool { return !slices.Contains(all, n) })
	if len(out) == 0 {
		return all
	}
	return out
}

// owner is who is told: the owner of the source, else whose is what nobody owns.
func (r reminders) owner(who string) string {
	if who != "" {
		return who
	}
	return owner.Resolve(r.a.live.Load().judge.Directory, owner.Question{At: r.a.Store.Now()}).Owner
}

// Reminder implements engine.Reminders.
func (r reminders) Reminder(ctx context.Context, row engine.EffectRow) (connector.Notice, bool, error) {
	source := row.Effect.Action
	q, err := r.a.Store.QuarantineOf(ctx, row.Tenant, source)
	if err != nil || q.Bodies == 0 {
		return connector.Notice{}, false, err
	}
	bodies := "1 body"
	if q.Bodies > 1 {
		bodies = strconv.Itoa(q.Bodies) + " bodies"
	}
	who := r.owner(q.Owner)
	return connector.Notice{Kind: "quarantine", Title: "Alerts of " + source + " can't be read", To: []string{who}, At: r.a.Store.Now(),
		Text:   fmt.Sprintf("%s of source %s can't be read and wait in quarantine since %s. The newest: %s", bodies, source, q.Oldest.Format(time.RFC3339), cut(q.Error)),
		Link:   r.a.cfg.BaseURL + "/quarantine?" + url.Values{"source": {source}}.Encode(),
		Fields: map[string]string{"source": source, "bodies": strconv.Itoa(q.Bodies), "oldest": q.Oldest.Format(time.RFC3339), "owner": who}}, true, nil
}

// cut bounds a reason for a message, at a whole character.
func cut(s string) string {
	const most = 300
	for i := range s {
		if i > most {
			return s[:i] + "…"
		}
	}
	return s
}

// Reminded implements engine.Reminders.
func (r reminders) Reminded(ctx context.Context, l engine.Lease, at time.Time, told bool) error {
	if !told {
		return r.a.Store.QuarantineReminded(ctx, l, store.StreamEvent{})
	}
	body, err := json.Marshal(map[string]string{"route": l.Row.Door, "key": l.Row.ID})
	if err != nil {
		return err
	}
	return r.a.Store.QuarantineReminded(ctx, l, store.StreamEvent{Tenant: l.Row.Tenant, Stream: store.StreamSource + "/" + l.Row.Effect.Action, Type: eventReminded, Schema: 1,
		At: at, By: remedy.Actor{Kind: remedy.System, ID: "engine"}, Body: body})
}
